package actions

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"sync"
	"unicode/utf8"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// Bounds of a statement's input, in numbers and bytes.
const (
	MaxSQLArgs = 1000
	MaxSQLText = guard.DefaultSQL
)

// SQLIn is one statement with its arguments, in order or by name.
type SQLIn struct {
	Tenant string              `path:"tenant" json:"-"`
	SQL    string              `json:"sql" doc:"one statement" schema:"minLength=1,maxLength=1000000"`
	Args   []SQLValue          `json:"args,omitempty" doc:"arguments in the order of the parameters" schema:"maxItems=1000"`
	Named  map[string]SQLValue `json:"named,omitempty" doc:"arguments by the name of the parameter; with args 1000 at most"`

	asJSON bool // see AsJSON
}

// SQLOut is a result. Columns and rows are empty for a statement without any.
type SQLOut struct {
	Columns      []string     `json:"columns"`
	Rows         [][]SQLValue `json:"rows"`
	Affected     int64        `json:"affected"`
	LastInsertID int64        `json:"last_insert_id"`

	encoded [][]byte // the rows as JSON without the outer brackets, in pieces, if they were asked for so
}

// pieceBytes is the size of a piece, and firstPiece what the first begins with: growing one buffer to megabytes would leave
// several times as much to collect.
const (
	pieceBytes = 128 << 10
	firstPiece = 512
)

// AsJSON asks for a result that is made into JSON row by row while the statement
// runs, in its own turn: a large one takes as long to write as to read, and
// statements of others wait for turns alone. The answer has no Rows then.
func (in *SQLIn) AsJSON() { in.asJSON = true }

// JSON is what json.Marshal gives, in pieces: to put megabytes together would take
// as much memory again, and time outside the turn.
func (out SQLOut) JSON() ([][]byte, error) {
	if out.encoded == nil {
		b, err := json.Marshal(out)
		return [][]byte{b}, err
	}
	columns, err := json.Marshal(out.Columns)
	head := append(append([]byte(`{"columns":`), columns...), `,"rows":[`...)
	tail := strconv.AppendInt([]byte(`],"affected":`), out.Affected, 10)
	tail = strconv.AppendInt(append(tail, `,"last_insert_id":`...), out.LastInsertID, 10)
	tail = append(tail, '}')
	return append(append([][]byte{head}, out.encoded...), tail), err
}

// Done says that what JSON gave is not needed any more. Without it nothing is lost
// but time.
func (out SQLOut) Done() {
	for _, piece := range out.encoded {
		if cap(piece) == pieceBytes {
			piecePool.Put((*[pieceBytes]byte)(piece[:pieceBytes]))
		}
	}
}

// piecePool keeps pieces of results that were sent: collecting them takes
// processors from whoever asks meanwhile.
var piecePool = sync.Pool{New: func() any { return new([pieceBytes]byte) }}

// encode collects rows as JSON.
func (out *SQLOut) encode(row []sqlite.Value) (err error) {
	last := len(out.encoded) - 1
	first := last < 0
	if first || len(out.encoded[last]) >= pieceBytes*3/4 {
		piece := make([]byte, 0, firstPiece) // most results are small
		if !first {
			piece = piecePool.Get().(*[pieceBytes]byte)[:0]
		}
		out.encoded = append(out.encoded, piece)
		last++
	}
	b := out.encoded[last]
	if !first {
		b = append(b, ',')
	}
	b = append(b, '[')
	for i, v := range row {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendSQLValue(b, v); err != nil {
			return err
		}
	}
	out.encoded[last] = append(b, ']')
	return nil
}

// appendSQLValue appends what SQLValue.MarshalJSON gives.
func appendSQLValue(b []byte, v sqlite.Value) ([]byte, error) {
	if s := v.Raw(); v.Type() == sqlite.TypeText && plainJSON(s) {
		return append(append(append(b, '"'), s...), '"'), nil
	}
	m, err := SQLValue{v}.MarshalJSON()
	return append(b, m...), err
}

// plainJSON says whether a text needs no escape. It looks at eight bytes at once:
// in a large result this is most of the work.
func plainJSON(s string) bool {
	const tops = ones << 7
	i := 0
	for ; i+8 <= len(s); i += 8 {
		x := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		// The top bit of a byte is set if it is below a space, equal to one of the
		// five, or above 0x7e; that of a byte after such a one may be, too.
		odd := (x-ones*' ')&^x | x | (x + ones)
		odd |= equal(x, '"') | equal(x, '\\') | equal(x, '<') | equal(x, '>') | equal(x, '&')
		if odd&tops != 0 {
			return false
		}
	}
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c < ' ', c >= 0x7f, c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}

const ones = 0x0101010101010101 // in each byte

// equal sets the top bit of the bytes of x that are c.
func equal(x, c uint64) uint64 {
	y := x ^ ones*c
	return (y - ones) &^ y
}

// SQL runs one statement in the tenant's database: as sql.query on a connection
// that cannot write if its text means to read, else as sql.write.
var SQL = Operation[SQLIn, SQLOut]{
	action: authz.SQLQuery,
	also:   authz.SQLWrite,
	ask: func(_ context.Context, _ *Service, in SQLIn) (authz.Request, error) {
		tenant, err := domain.ParseTenantID(in.Tenant)
		if err != nil {
			return authz.Request{}, err
		}
		switch {
		case in.SQL == "":
			return authz.Request{}, domain.Fieldf("sql", "missing")
		case len(in.SQL) > MaxSQLText:
			return authz.Request{}, domain.Fieldf("sql", "%d bytes are more than %d", len(in.SQL), MaxSQLText)
		case len(in.Args)+len(in.Named) > MaxSQLArgs:
			return authz.Request{}, domain.Fieldf("args", "%d arguments are more than %d", len(in.Args)+len(in.Named), MaxSQLArgs)
		}
		r := authz.Request{Tenant: tenant, Action: authz.SQLWrite}
		if guard.OnlyReads(in.SQL) {
			r.Action = authz.SQLQuery
		}
		return r, nil
	},
	act: runSQL,
}

func runSQL(ctx context.Context, c *call, in SQLIn) (SQLOut, error) {
	out := SQLOut{Columns: []string{}, Rows: [][]SQLValue{}}
	request := guard.Request{SQL: in.SQL}
	for _, a := range in.Args {
		request.Args = append(request.Args, a.v)
	}
	for name, a := range in.Named {
		request.Named = append(request.Named, guard.Named{Name: name, Value: a.v})
	}
	sink := collect(&out.Columns, &out.Rows)
	if in.asJSON {
		sink.Row = out.encode
	}
	var done guard.Outcome
	var err error
	if c.permit.Action() == authz.SQLQuery {
		done, err = c.files.Query(ctx, c.permit, request, sink)
	} else if err = c.begin(ctx); err == nil {
		done, err = c.files.Exec(ctx, c.permit, request, sink)
	}
	out.Affected, out.LastInsertID = done.Affected, done.LastInsertRowID
	c.describe(done.Report)
	return out, err
}

// describe says in the event what was touched, never a value.
func (c *call) describe(r guard.Report) {
	// A detail that is too large is left out as a whole: long names must not be
	// a way to touch a table without its name in the log.
	tables, left := fitting(r.Tables, maxDescribed)
	columns, _ := fitting(r.Columns, left)
	c.detail["statement"] = string(r.Kind)
	c.detail["tables"], c.detail["columns"] = tables, columns
	c.detail["rows_in"], c.detail["rows_out"] = r.RowsIn, r.RowsOut
	if r.Truncated || len(tables) < len(r.Tables) || len(columns) < len(r.Columns) {
		c.detail["truncated"] = true
	}
}

// maxDescribed bounds the names in an event, in bytes of JSON; the rest of the
// detail is small.
const maxDescribed = audit.MaxDetail - 1<<10

// fitting gives the names that fit into so many bytes of JSON, and what is left.
func fitting(names []string, room int) ([]string, int) {
	for i, name := range names {
		b, err := json.Marshal(name)
		if err != nil || len(b)+1 > room {
			return names[:i], room
		}
		room -= len(b) + 1
	}
	return names, room
}

// SQLValue is one value on the wire: null, a number, a string, or for a blob
// (and for text that is not UTF-8) {"base64": "…"}.
type SQLValue struct{ v sqlite.Value }

// NewSQLValue is a value for the wire.
func NewSQLValue(v sqlite.Value) SQLValue { return SQLValue{v} }

// Value is the value itself.
func (v SQLValue) Value() sqlite.Value { return v.v }

type blobJSON struct {
	Base64 *string `json:"base64"`
}

// MarshalJSON writes the wire form. Integers are written in full; what reads
// JSON numbers as floats loses digits beyond 2^53.
func (v SQLValue) MarshalJSON() ([]byte, error) {
	switch v.v.Type() {
	case sqlite.TypeInteger:
		return strconv.AppendInt(nil, v.v.Int64(), 10), nil
	case sqlite.TypeFloat:
		if f := v.v.Float64(); math.IsInf(f, 0) {
			return json.Marshal(strconv.FormatFloat(f, 'g', -1, 64))
		}
		return json.Marshal(v.v.Float64())
	case sqlite.TypeText:
		if utf8.ValidString(v.v.Raw()) {
			return json.Marshal(v.v.Raw())
		}
		fallthrough
	case sqlite.TypeBlob:
		text := base64.StdEncoding.EncodeToString(v.v.Bytes())
		return json.Marshal(blobJSON{&text})
	}
	return []byte("null"), nil
}

// UnmarshalJSON reads the wire form; true and false become 1 and 0.
func (v *SQLValue) UnmarshalJSON(b []byte) error {
	bad := domain.Errorf(domain.Invalid, "an argument is neither null, a number, a string, a boolean nor {\"base64\": …}")
	switch {
	case len(b) == 0:
		return bad
	case b[0] == 'n':
		v.v = sqlite.Value{}
	case b[0] == 't':
		v.v = sqlite.Int(1)
	case b[0] == 'f':
		v.v = sqlite.Int(0)
	case b[0] == '"':
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return bad
		}
		v.v = sqlite.Text(s)
	case b[0] == '{':
		var blob blobJSON
		if err := json.Unmarshal(b, &blob); err != nil || blob.Base64 == nil {
			return bad
		}
		raw, err := base64.StdEncoding.DecodeString(*blob.Base64)
		if err != nil {
			return bad
		}
		v.v = sqlite.Blob(raw)
	default:
		return v.unmarshalNumber(string(b), bad)
	}
	return nil
}

func (v *SQLValue) unmarshalNumber(s string, bad error) error {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		v.v = sqlite.Int(n)
		return nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return bad
	}
	v.v = sqlite.Float(f)
	return nil
}
