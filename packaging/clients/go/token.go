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
// gets the one that holds then. roleID and secretID come from `coffer workload
// create`.
package token

import (
	"bytes"
	"context"
	"database/sql/driver"
	"encoding/json"
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
	return inner.Connect(ctx)
}

// Driver is that of the inner connectors.
func (c connector) Driver() driver.Driver {
	inner, err := c.open("none")
	if err != nil {
		return nil
	}
	return inner.Driver()
}
