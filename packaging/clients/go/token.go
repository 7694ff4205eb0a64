// Package token renews the short-lived Coffer token of a workload, for clients of
// libSQL. Copy this file: it needs nothing but the standard library and the
// driver that you use already.
//
//	source := token.New("https://coffer.example:8443", roleID, secretID)
//	db := sql.OpenDB(source.Connector(func(text string) (driver.Connector, error) {
//		return libsql.NewConnector("https://coffer.example:8443/t/acme/db", libsql.WithAuthToken(text))
//	}))
//	db.SetConnMaxLifetime(30 * time.Minute) // shorter than what is left of a token when it is renewed
//
// The driver holds one token for the life of a connection: each new connection
// gets the one that holds then. If Coffer ends a token earlier, database/sql makes
// the request again on a connection with another; a transaction is lost then, and
// its error says so. roleID and secretID come from `coffer workload create`.
package token

import (
	"bytes"
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Source is the token of a workload, renewed when a quarter of its life is left.
// It is safe for concurrent use.
type Source struct {
	URL      string // of Coffer, without a path
	RoleID   string
	SecretID string
	TTL      time.Duration // an hour if 0, a day at most
	Client   *http.Client  // http.DefaultClient if nil

	mu    sync.Mutex
	text  string
	renew time.Time
}

// New makes a source.
func New(url, roleID, secretID string) *Source {
	return &Source{URL: url, RoleID: roleID, SecretID: secretID}
}

// Token is the token that holds now. Who asks while it is renewed waits.
func (s *Source) Token(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.text != "" && time.Now().Before(s.renew) {
		return s.text, nil
	}
	in := map[string]string{"role_id": s.RoleID, "secret_id": s.SecretID}
	if s.TTL > 0 {
		in["ttl"] = s.TTL.String()
	}
	body, err := json.Marshal(in)
	if err != nil {
		return "", err
	}
	asked := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(s.URL, "/")+"/api/v1/login/workload", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	client := s.Client
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("logging the workload in: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("Coffer did not log the workload in: %s %s", resp.Status, answer)
	}
	var issued struct {
		Token   string    `json:"token"`
		Expires time.Time `json:"expires"`
	}
	if err := json.Unmarshal(answer, &issued); err != nil {
		return "", err
	}
	s.text, s.renew = issued.Token, asked.Add(issued.Expires.Sub(asked)*3/4)
	return s.text, nil
}

// refused has another token got, unless that has happened already.
func (s *Source) refused(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.text == text {
		s.renew = time.Time{}
	}
}

// Connector makes each connection of a pool with the token that holds then.
func (s *Source) Connector(open func(token string) (driver.Connector, error)) driver.Connector {
	return connector{s, open}
}

type connector struct {
	source *Source
	open   func(string) (driver.Connector, error)
}

// Connect opens a connection.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	text, err := c.source.Token(ctx)
	if err != nil {
		return nil, err
	}
	inner, err := c.open(text)
	if err != nil {
		return nil, err
	}
	made, err := inner.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{made, c.source, text}, nil
}

// Driver is that of the inner connectors.
func (c connector) Driver() driver.Driver {
	inner, err := c.open("none")
	if err != nil {
		return nil
	}
	return inner.Driver()
}

// conn is a connection that is given up once its token does not hold any more.
type conn struct {
	driver.Conn
	source *Source
	token  string
}

// check marks the error of a request that was refused for its token. Nothing of it
// was done, so that database/sql may make it again elsewhere, which it does outside
// of transactions.
func (c *conn) check(err error) error {
	if err == nil || !strings.Contains(err.Error(), "error code 401") {
		return err
	}
	c.source.refused(c.token)
	return fmt.Errorf("%w: %w", driver.ErrBadConn, err)
}

// ExecContext runs a statement.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	inner, ok := c.Conn.(driver.ExecerContext)
	if !ok {
		return nil, driver.ErrSkip
	}
	out, err := inner.ExecContext(ctx, query, args)
	return out, c.check(err)
}

// QueryContext runs a query.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	inner, ok := c.Conn.(driver.QueryerContext)
	if !ok {
		return nil, driver.ErrSkip
	}
	out, err := inner.QueryContext(ctx, query, args)
	return out, c.check(err)
}

// PrepareContext prepares a statement, which runs as ExecContext and QueryContext do.
func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	inner, ok := c.Conn.(driver.ConnPrepareContext)
	if !ok {
		out, err := c.Conn.Prepare(query)
		return out, c.check(err)
	}
	made, err := inner.PrepareContext(ctx, query)
	if err != nil {
		return nil, c.check(err)
	}
	return &stmt{made, c, query}, nil
}

// BeginTx begins a transaction.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	inner, ok := c.Conn.(driver.ConnBeginTx)
	if !ok {
		return nil, errors.New("the driver has no BeginTx")
	}
	out, err := inner.BeginTx(ctx, opts)
	return out, c.check(err)
}

// ResetSession is called between two uses of the connection.
func (c *conn) ResetSession(ctx context.Context) error {
	if inner, ok := c.Conn.(driver.SessionResetter); ok {
		return inner.ResetSession(ctx)
	}
	return nil
}

type stmt struct {
	driver.Stmt
	conn  *conn
	query string
}

// ExecContext runs the statement.
func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.conn.ExecContext(ctx, s.query, args)
}

// QueryContext runs the query.
func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.conn.QueryContext(ctx, s.query, args)
}
