package app

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"coffer/app/domain"
	"coffer/tenants/sqlite"
)

// sqlStream is a stream of statements in a tenant's database, over the protocol of
// libSQL (Hrana 3 in JSON): transactions go on from one call to the next.
type sqlStream struct {
	client *client
	path   string
	baton  string
	open   bool // a transaction is
}

func newSQLStream(c *client, tenant string) *sqlStream {
	return &sqlStream{client: c, path: "/t/" + url.PathEscape(tenant) + "/v3/pipeline"}
}

// sqlStatement is one statement with its arguments.
type sqlStatement struct {
	SQL   string
	Args  []sqlite.Value
	Quiet bool // its rows are not wanted
}

// sqlResult is what a statement gave.
type sqlResult struct {
	Columns      []string
	Rows         [][]sqlite.Value
	Affected     int64
	LastInsertID int64
}

// sqlError is an error of a statement, with the code of the protocol.
type sqlError struct {
	Code string
	err  *domain.Error
}

func (e *sqlError) Error() string { return e.err.Error() }
func (e *sqlError) Unwrap() error { return e.err }

// The wire forms, as far as they are used here; docs/sql.md names the protocol.
type wireValue struct {
	Type   string          `json:"type"`
	Value  json.RawMessage `json:"value,omitempty"`
	Base64 *string         `json:"base64,omitempty"`
}

type wireStatement struct {
	SQL      string      `json:"sql"`
	Args     []wireValue `json:"args,omitempty"`
	WantRows bool        `json:"want_rows"`
}

type wireRequest struct {
	Type string         `json:"type"`
	Stmt *wireStatement `json:"stmt,omitempty"`
}

type wireError struct {
	Message string `json:"message"`
	Code    string `json:"code"`
}

type wireAnswer struct {
	Baton   *string `json:"baton"`
	Results []struct {
		Type     string    `json:"type"`
		Error    wireError `json:"error"`
		Response struct {
			Autocommit *bool `json:"is_autocommit"`
			Result     struct {
				Cols []struct {
					Name *string `json:"name"`
				} `json:"cols"`
				Rows     [][]wireValue `json:"rows"`
				Affected int64         `json:"affected_row_count"`
				LastID   *string       `json:"last_insert_rowid"`
			} `json:"result"`
		} `json:"response"`
	} `json:"results"`
}

// execute runs statements in one request, in order, also behind one that fails;
// errs has the error of each, nil for none. The error is about the request.
func (s *sqlStream) execute(ctx context.Context, statements ...sqlStatement) (results []sqlResult, errs []error, err error) {
	var requests []wireRequest
	for _, st := range statements {
		wire := &wireStatement{SQL: st.SQL, WantRows: !st.Quiet}
		for _, v := range st.Args {
			wire.Args = append(wire.Args, toWire(v))
		}
		requests = append(requests, wireRequest{"execute", wire})
	}
	answer, err := s.send(ctx, append(requests, wireRequest{Type: "get_autocommit"}))
	if err != nil {
		return nil, nil, err
	}
	if len(answer.Results) != len(statements)+1 {
		return nil, nil, domain.Errorf(domain.Unavailable, "the answer of %s is not Coffer's", s.client.where())
	}
	for _, r := range answer.Results[:len(statements)] {
		if r.Type == "error" {
			results, errs = append(results, sqlResult{}), append(errs, statementError(r.Error))
			continue
		}
		out := sqlResult{Affected: r.Response.Result.Affected}
		if id := r.Response.Result.LastID; id != nil {
			out.LastInsertID, _ = strconv.ParseInt(*id, 10, 64)
		}
		for _, c := range r.Response.Result.Cols {
			out.Columns = append(out.Columns, text(c.Name))
		}
		for _, row := range r.Response.Result.Rows {
			values := make([]sqlite.Value, len(row))
			for i, v := range row {
				if values[i], err = v.value(); err != nil {
					return nil, nil, err
				}
			}
			out.Rows = append(out.Rows, values)
		}
		results, errs = append(results, out), append(errs, nil)
	}
	if auto := answer.Results[len(statements)].Response.Autocommit; auto != nil {
		s.open = !*auto
	}
	return results, errs, nil
}

// one runs one statement.
func (s *sqlStream) one(ctx context.Context, sql string, args ...sqlite.Value) (sqlResult, error) {
	results, errs, err := s.execute(ctx, sqlStatement{SQL: sql, Args: args})
	if err != nil {
		return sqlResult{}, err
	}
	return results[0], errs[0]
}

// fate says what became of a transaction that the stream lost with an error.
// Without an answer that has a baton nobody can go on with it or end it, and what
// was asked last may run still, to the end of its time.
func (s *sqlStream) fate(err error) string {
	if e, ok := errors.AsType[*sqlError](err); s.baton != "" || ok && e.Code == "STREAM_EXPIRED" {
		return "the transaction was rolled back"
	}
	return "the transaction is lost; Coffer rolls it back within 10 seconds, and until then it may keep others from writing"
}

// close ends the stream; a transaction that is open is rolled back. A stream
// without one is left to end by itself: there is nothing to say about it.
func (s *sqlStream) close(ctx context.Context) error {
	if s.baton == "" || !s.open {
		return nil
	}
	_, err := s.send(ctx, []wireRequest{{Type: "close"}})
	return err
}

func (s *sqlStream) send(ctx context.Context, requests []wireRequest) (answer wireAnswer, err error) {
	body := struct {
		Baton    string        `json:"baton,omitempty"`
		Requests []wireRequest `json:"requests"`
	}{s.baton, requests}
	s.baton, s.open = "", false // what goes wrong ends the stream
	if err := s.client.send(ctx, http.MethodPost, s.path, nil, body, &answer); err != nil {
		return answer, err
	}
	s.baton = text(answer.Baton)
	return answer, nil
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// kindsByCode turns the codes of statements' errors into what the caller can do.
var kindsByCode = map[string]domain.Kind{
	"SQLITE_CONSTRAINT": domain.Conflict, "SQLITE_AUTH": domain.Denied, "SQLITE_READONLY": domain.Denied, "BLOCKED": domain.Denied,
	"SQLITE_BUSY": domain.Unavailable, "SQLITE_INTERRUPT": domain.Limit, "SQLITE_FULL": domain.Limit, "SQLITE_NOMEM": domain.Limit,
	"SQLITE_TOOBIG": domain.Limit, "RESPONSE_TOO_LARGE": domain.Limit, "TRANSACTION_TIMEOUT": domain.Conflict, "STREAM_EXPIRED": domain.Conflict,
	"SEALED": domain.Sealed,
}

func statementError(e wireError) error {
	kind, known := kindsByCode[e.Code]
	if !known {
		kind = domain.Invalid
	}
	message, hint, _ := strings.Cut(strings.TrimPrefix(e.Message, "SQLite error: "), "; ")
	err := domain.Errorf(kind, "%s (%s)", message, e.Code)
	if hint != "" {
		err = err.WithHint("%s", hint)
	}
	return &sqlError{e.Code, err}
}

// wireFailure is an error of a request of the protocol, which has another shape
// than those of the native API; nil if it is none.
func wireFailure(status int, body []byte) error {
	var e wireError
	if json.Unmarshal(body, &e) != nil || e.Code == "" {
		return nil
	}
	kinds := map[int]domain.Kind{
		http.StatusUnauthorized: domain.Unauthentic, http.StatusForbidden: domain.Denied, http.StatusNotFound: domain.NotFound,
		http.StatusTooManyRequests: domain.Limit, http.StatusServiceUnavailable: domain.Unavailable, http.StatusInternalServerError: domain.Internal,
	}
	kind, known := kindsByCode[e.Code]
	if !known {
		if kind, known = kinds[status]; !known {
			kind = domain.Invalid
		}
	}
	message, hint, _ := strings.Cut(e.Message, "; ")
	err := domain.Errorf(kind, "%s", message)
	if hint != "" {
		err = err.WithHint("%s", hint)
	}
	return &sqlError{e.Code, err}
}

func toWire(v sqlite.Value) wireValue {
	quoted := func(s string) json.RawMessage {
		b, _ := json.Marshal(s) // a string always is
		return b
	}
	switch v.Type() {
	case sqlite.TypeInteger:
		return wireValue{Type: "integer", Value: quoted(strconv.FormatInt(v.Int64(), 10))}
	case sqlite.TypeFloat:
		return wireValue{Type: "float", Value: json.RawMessage(strconv.FormatFloat(v.Float64(), 'g', -1, 64))}
	case sqlite.TypeText:
		return wireValue{Type: "text", Value: quoted(v.Raw())}
	case sqlite.TypeBlob:
		b := base64.RawStdEncoding.EncodeToString(v.Bytes())
		return wireValue{Type: "blob", Base64: &b}
	}
	return wireValue{Type: "null"}
}

func (w wireValue) value() (sqlite.Value, error) {
	bad := fmt.Errorf("reading the answer: a value of type %q", w.Type)
	switch w.Type {
	case "null":
		return sqlite.Value{}, nil
	case "integer":
		var s string
		if json.Unmarshal(w.Value, &s) != nil {
			return sqlite.Value{}, bad
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return sqlite.Value{}, bad
		}
		return sqlite.Int(n), nil
	case "float":
		var f float64
		if json.Unmarshal(w.Value, &f) != nil {
			return sqlite.Value{}, bad
		}
		return sqlite.Float(f), nil
	case "text":
		var s string
		if json.Unmarshal(w.Value, &s) != nil {
			return sqlite.Value{}, bad
		}
		return sqlite.Text(s), nil
	case "blob":
		if b, err := base64.RawStdEncoding.DecodeString(text(w.Base64)); err == nil {
			return sqlite.Blob(b), nil
		}
	}
	return sqlite.Value{}, bad
}
