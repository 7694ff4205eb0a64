package sqlapi

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"coffer/app/domain"
	"coffer/app/httpd"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// Bounds of a request.
const (
	maxRequests   = 128  // in a pipeline
	maxSteps      = 4096 // in a batch
	maxConditions = 32   // within one another
	maxArgs       = 32_766
)

// pipeline is the body of a request to a pipeline. Members that are not known
// are left out of account, and null is as good as not there.
type pipeline struct {
	Baton    *string         `json:"baton"`
	Requests []streamRequest `json:"requests"`
}

// cursorRequest is the body of a request to the cursor.
type cursorRequest struct {
	Baton *string `json:"baton"`
	Batch *batch  `json:"batch"`
}

// streamRequest is one thing to do on a stream.
type streamRequest struct {
	Type  string  `json:"type"`
	Stmt  *stmt   `json:"stmt"`
	Batch *batch  `json:"batch"`
	SQL   *string `json:"sql"`
	SQLID *int32  `json:"sql_id"`
}

type stmt struct {
	SQL       *string    `json:"sql"`
	SQLID     *int32     `json:"sql_id"`
	Args      []value    `json:"args"`
	NamedArgs []namedArg `json:"named_args"`
	WantRows  *bool      `json:"want_rows"`
}

type namedArg struct {
	Name  string `json:"name"`
	Value value  `json:"value"`
}

type batch struct {
	Steps []step `json:"steps"`
}

type step struct {
	Condition *condition `json:"condition"`
	Stmt      *stmt      `json:"stmt"`
}

// condition says whether a step runs, by how others ended.
type condition struct {
	Type  string      `json:"type"`
	Step  *uint32     `json:"step"`
	Cond  *condition  `json:"cond"`
	Conds []condition `json:"conds"`
}

// value is an argument.
type value struct{ v sqlite.Value }

// UnmarshalJSON reads {"type": …} with what belongs to the type.
func (v *value) UnmarshalJSON(b []byte) error {
	var raw struct {
		Type   string          `json:"type"`
		Value  json.RawMessage `json:"value"`
		Base64 *string         `json:"base64"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return errValue
	}
	switch raw.Type {
	case "null":
		v.v = sqlite.Value{}
	case "integer":
		var s string
		if json.Unmarshal(raw.Value, &s) != nil || raw.Value == nil {
			return errValue
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return errValue
		}
		v.v = sqlite.Int(n)
	case "float":
		var f *float64
		if json.Unmarshal(raw.Value, &f) != nil || f == nil {
			return errValue
		}
		v.v = sqlite.Float(*f)
	case "text":
		var s *string
		if json.Unmarshal(raw.Value, &s) != nil || s == nil {
			return errValue
		}
		v.v = sqlite.Text(*s)
	case "blob":
		if raw.Base64 == nil {
			return errValue
		}
		bytes, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(*raw.Base64, "="))
		if err != nil {
			return errValue
		}
		v.v = sqlite.Blob(bytes)
	default:
		return errValue
	}
	return nil
}

var errValue = protocolError("args", "a value is none of null, integer (a decimal string of 64 bits), float, text and blob (base64)")

// protocolError is a request that does not follow the protocol.
func protocolError(field, format string, args ...any) *domain.Error {
	return domain.Fieldf(field, format, args...).WithHint("see docs/sql.md for what is spoken here")
}

// decode reads a body strictly in its types: no text is altered on the way.
func decode(body []byte, into any) error {
	if !httpd.ValidText(body) {
		return protocolError("body", "not UTF-8, or an escape is half a character")
	}
	err := json.Unmarshal(body, into)
	if ours, ok := errors.AsType[*domain.Error](err); ok {
		return ours
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return protocolError(wrong.Field, "not a %s", wrong.Type.Kind())
	}
	if err != nil {
		return protocolError("body", "not JSON as the protocol has it")
	}
	return nil
}

// check refuses what is malformed or too much, before anything runs, and collects
// the texts and the ids of stored ones.
func (p pipeline) check() (t texts, err error) {
	if len(p.Requests) > maxRequests {
		return t, protocolError("requests", "%d are more than %d", len(p.Requests), maxRequests)
	}
	for i, r := range p.Requests {
		if err := r.check(&t); err != nil {
			err.Field = "requests[" + strconv.Itoa(i) + "]." + err.Field
			err.Msg = err.Field + err.Msg[strings.IndexByte(err.Msg+":", ':'):]
			return t, err
		}
	}
	return t, nil
}

// texts are the SQL of a request, as far as it stands in it.
type texts struct {
	sql    []string
	stored []int32
}

func (t *texts) add(sql *string, id *int32) *domain.Error {
	switch {
	case (sql == nil) == (id == nil):
		return protocolError("sql", "one of sql and sql_id is wanted")
	case sql != nil && len(*sql) > guard.DefaultSQL:
		return protocolError("sql", "%d bytes are more than %d", len(*sql), guard.DefaultSQL)
	case sql != nil:
		t.sql = append(t.sql, *sql)
	default:
		t.stored = append(t.stored, *id)
	}
	return nil
}

func (r streamRequest) check(t *texts) *domain.Error {
	switch r.Type {
	case "execute":
		if r.Stmt == nil {
			return protocolError("stmt", "missing")
		}
		return r.Stmt.check(t)
	case "batch":
		if r.Batch == nil {
			return protocolError("batch", "missing")
		}
		return r.Batch.check(t)
	case "sequence", "describe":
		return t.add(r.SQL, r.SQLID)
	case "store_sql":
		if r.SQL == nil || r.SQLID == nil {
			return protocolError("sql", "sql and sql_id are wanted")
		}
		return t.add(r.SQL, nil)
	case "close_sql":
		if r.SQLID == nil {
			return protocolError("sql_id", "missing")
		}
		return nil
	case "close", "get_autocommit":
		return nil
	}
	return protocolError("type", "not one of execute, batch, sequence, describe, store_sql, close_sql, close and get_autocommit")
}

func (s stmt) check(t *texts) *domain.Error {
	if len(s.Args)+len(s.NamedArgs) > maxArgs {
		return protocolError("args", "%d are more than %d", len(s.Args)+len(s.NamedArgs), maxArgs)
	}
	return t.add(s.SQL, s.SQLID)
}

func (b batch) check(t *texts) *domain.Error {
	if len(b.Steps) > maxSteps {
		return protocolError("steps", "%d are more than %d", len(b.Steps), maxSteps)
	}
	for i, s := range b.Steps {
		if s.Stmt == nil {
			return protocolError("steps["+strconv.Itoa(i)+"].stmt", "missing")
		}
		if err := s.Stmt.check(t); err != nil {
			return err
		}
		if s.Condition != nil {
			if err := s.Condition.check(i, maxConditions); err != nil {
				return err
			}
		}
	}
	return nil
}

// check refuses a condition on a step that has not run yet.
func (c condition) check(at, depth int) *domain.Error {
	if depth == 0 {
		return protocolError("condition", "more than %d are within one another", maxConditions)
	}
	switch c.Type {
	case "ok", "error":
		if c.Step == nil || int64(*c.Step) >= int64(at) {
			return protocolError("condition", "of step %d is about one that comes no earlier, or about none", at)
		}
		return nil
	case "not":
		if c.Cond == nil {
			return protocolError("condition", "not has no cond")
		}
		return c.Cond.check(at, depth-1)
	case "and", "or":
		for _, one := range c.Conds {
			if err := one.check(at, depth-1); err != nil {
				return err
			}
		}
		return nil
	case "is_autocommit":
		return nil
	}
	return protocolError("condition", "not one of ok, error, not, and, or and is_autocommit")
}

// request is the statement as the guard takes it.
func (s stmt) request(sql string) guard.Request {
	r := guard.Request{SQL: sql, Args: make([]sqlite.Value, len(s.Args))}
	for i, a := range s.Args {
		r.Args[i] = a.v
	}
	for _, a := range s.NamedArgs {
		r.Named = append(r.Named, guard.Named{Name: a.Name, Value: a.Value.v})
	}
	return r
}
