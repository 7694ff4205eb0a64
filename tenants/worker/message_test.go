package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"coffer/app/domain"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

// fill sets every member of a message to something that is not zero, so that one
// that the coder forgets is missed.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[sqlite.Value]() {
			v.Set(reflect.ValueOf([]sqlite.Value{
				sqlite.Text("a\x00\xff"), sqlite.Int(-int64(*n)), sqlite.Float(math.Inf(-1)), sqlite.Blob([]byte{0, 1}), {},
			}[*n%5]))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range 3 {
			fill(v.Index(i), n)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8:
		v.SetUint(1)
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n))
	case reflect.Int, reflect.Int64:
		v.SetInt(-int64(*n))
	default:
		panic(v.Kind().String())
	}
}

var equal = []cmp.Option{
	cmp.Exporter(func(reflect.Type) bool { return true }),
	cmp.Comparer(func(a, b sqlite.Value) bool { return a.Equal(b) }),
}

// TestEveryMemberArrives: what one side says is what the other hears, for every
// message and every member of the types of package guard in it.
func TestEveryMemberArrives(t *testing.T) {
	for k, blank := range messages {
		m, n := blank(), 0
		fill(reflect.ValueOf(m).Elem(), &n)
		b, err := encode(m)
		if err != nil {
			t.Fatalf("kind %d: %v", k, err)
		}
		got, err := receive(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("kind %d: %v", k, err)
		}
		if d := cmp.Diff(m, got, equal...); d != "" {
			t.Errorf("kind %d (-sent +heard):\n%s", k, d)
		}
		if m.kind() != k {
			t.Errorf("kind %d says that it is %d", k, m.kind())
		}
		for i := range b[:len(b)-1] {
			if _, err := receive(bytes.NewReader(b[:i])); err == nil {
				t.Errorf("kind %d: %d of %d bytes are enough", k, i, len(b))
			}
		}
		if _, err := decode(append(bytes.Clone(b[4:]), 0)); err == nil {
			t.Errorf("kind %d: a byte too many is taken", k)
		}
	}
}

func TestBounds(t *testing.T) {
	for what, b := range map[string][]byte{
		"length":                                 {0xff, 0xff, 0xff, 0xff, 1},
		"no kind":                                {0, 0, 0, 0},
		"other kind":                             {0, 0, 0, 1, 99},
		"rows that are promised and do not come": {0, 0, 0, 18, byte(kindRows), 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0x0f, 0xff, 0xff},
		"truth value":                            {0, 0, 0, 10, byte(kindTaken), 0, 0, 0, 1, 0, 0, 0, 1, 2},
		"more columns":                           {0, 0, 0, 14, byte(kindRows), 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0xff, 0xff},
	} {
		if m, err := receive(bytes.NewReader(b)); err == nil {
			t.Errorf("%s: taken as %#v", what, m)
		}
	}
	if _, err := encode(&stream{Request: guard.Request{SQL: string(make([]byte, maxFrame))}}); err == nil {
		t.Error("a message above the bound is sent")
	}
}

// TestErrorsKeepWhatCallersLookAt: kind, words, codes and SQLite's error.
func TestErrorsKeepWhatCallersLookAt(t *testing.T) {
	busy := &sqlite.Error{Code: sqlite.CodeBusy | 2<<8, Message: "database is locked", Offset: -1}
	for _, err := range []error{
		nil,
		errors.New("plain"),
		fmt.Errorf("running it: %w", busy),
		&domain.Error{Kind: domain.Conflict, Msg: "m", Hint: "h", Field: "f", Retry: 3, Err: busy},
		guard.WithCode("SQL_MANY_STATEMENTS", domain.Fieldf("sql", "two").WithHint("one")),
		fmt.Errorf("%w: %w", context.Canceled, busy),
		context.DeadlineExceeded,
		domain.Errorf(domain.Unavailable, "gone: %w", context.Canceled),
	} {
		f := faultOf(err)
		b, eerr := encode(&done{Fault: f})
		if eerr != nil {
			t.Fatal(eerr)
		}
		m, derr := decode(b[4:])
		if derr != nil {
			t.Fatal(derr)
		}
		got := m.(*done).Fault.err()
		if (err == nil) != (got == nil) {
			t.Errorf("%v became %v", err, got)
		}
		if err == nil {
			continue
		}
		if err.Error() != got.Error() || domain.KindOf(err) != domain.KindOf(got) || domain.HintOf(err) != domain.HintOf(got) ||
			guard.Code(err) != guard.Code(got) || sqlite.CodeOf(err) != sqlite.CodeOf(got) {
			t.Errorf("%#v became %#v", err, got)
		}
		for _, end := range []error{context.Canceled, context.DeadlineExceeded} {
			if errors.Is(err, end) != errors.Is(got, end) {
				t.Errorf("%v: %v of it is lost or added", err, end)
			}
		}
	}
}

// FuzzDecode: nothing panics, and exactly one sequence of bytes is each message.
func FuzzDecode(f *testing.F) {
	for _, blank := range messages {
		m, n := blank(), 0
		fill(reflect.ValueOf(m).Elem(), &n)
		for _, m := range []message{m, blank()} {
			b, err := encode(m)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b[4:])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode(b)
		if err != nil {
			return
		}
		again, err := encode(m)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again[4:], b) {
			t.Errorf("%x is read as %x", b, again[4:])
		}
	})
}
