package sqlapi

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"coffer/app/domain"
	"coffer/tenants/sqlite"
)

// TestRequests: what clients send is read, and what does not follow the protocol
// is refused by the name of the member.
func TestRequests(t *testing.T) {
	for _, body := range []string{
		`{}`, `{"baton":null,"requests":[]}`, `{"requests":[{"type":"close","extra":{"a":[1]}}],"more":1}`,
		`{"requests":[{"type":"execute","stmt":{"sql":"SELECT 1","sql_id":null,"args":[],"named_args":[],"want_rows":true,"replication_index":null}}]}`,
		`{"requests":[{"type":"batch","batch":{"steps":[{"condition":null,"stmt":{"sql":"BEGIN"}},{"condition":{"type":"and","conds":[{"type":"ok","step":0},{"type":"not","cond":{"type":"is_autocommit"}}]},"stmt":{"sql_id":3}}]}}]}`,
		`{"requests":[{"type":"store_sql","sql_id":1,"sql":"SELECT 1"},{"type":"sequence","sql_id":1},{"type":"describe","sql":"x"},{"type":"close_sql","sql_id":1},{"type":"get_autocommit"}]}`,
		`{"requests":[{"type":"execute","stmt":{"sql":"?","args":[{"type":"null"},{"type":"integer","value":"-9223372036854775808"},{"type":"float","value":1},{"type":"text","value":"\ud83d\ude00 \\ud800"},{"type":"blob","base64":"AA=="},{"type":"blob","base64":"AA"},{"type":"blob","base64":""}]}}]}`,
	} {
		if _, err := parse(body); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	}
	deep := strings.Repeat(`{"type":"not","cond":`, 40) + `{"type":"is_autocommit"}` + strings.Repeat(`}`, 40)
	for body, field := range map[string]string{
		``: "body", `[]`: "", `{"requests":{}}`: "requests", "{\"baton\":\"\xff\"}": "body", `{"baton":"\ud800"}`: "body", `{"baton":"\udc00x"}`: "body",
		`{"requests":[{"type":"drop"}]}`:                                                                                 "requests[0].type",
		`{"requests":[{"type":"close"},{"type":"execute"}]}`:                                                             "requests[1].stmt",
		`{"requests":[{"type":"execute","stmt":{}}]}`:                                                                    "requests[0].sql",
		`{"requests":[{"type":"execute","stmt":{"sql":"","sql_id":1}}]}`:                                                 "requests[0].sql",
		`{"requests":[{"type":"batch"}]}`:                                                                                "requests[0].batch",
		`{"requests":[{"type":"batch","batch":{"steps":[{}]}}]}`:                                                         "requests[0].steps[0].stmt",
		`{"requests":[{"type":"batch","batch":{"steps":[{"stmt":{"sql":"x"},"condition":{"type":"ok","step":0}}]}}]}`:    "requests[0].condition",
		`{"requests":[{"type":"batch","batch":{"steps":[{"stmt":{"sql":"x"},"condition":` + deep + `}]}}]}`:              "requests[0].condition",
		`{"requests":[{"type":"store_sql","sql":"x"}]}`:                                                                  "requests[0].sql",
		`{"requests":[{"type":"close_sql"}]}`:                                                                            "requests[0].sql_id",
		`{"requests":[{"type":"execute","stmt":{"sql":"x","args":[{"type":"integer","value":1}]}}]}`:                     "args",
		`{"requests":[{"type":"execute","stmt":{"sql":"x","args":[{"type":"integer","value":"9223372036854775808"}]}}]}`: "args",
		`{"requests":[{"type":"execute","stmt":{"sql":"x","args":[{"type":"float","value":"1"}]}}]}`:                     "args",
		`{"requests":[{"type":"execute","stmt":{"sql":"x","args":[{"type":"blob","base64":"*"}]}}]}`:                     "args",
		`{"requests":[{"type":"execute","stmt":{"sql":"x","args":[{"type":"date","value":"x"}]}}]}`:                      "args",
		`{"requests":[` + strings.TrimSuffix(strings.Repeat(`{"type":"close"},`, maxRequests+1), ",") + `]}`:             "requests",
		`{"requests":[{"type":"sequence","sql":"` + strings.Repeat("x", 1_000_001) + `"}]}`:                              "requests[0].sql",
	} {
		_, err := parse(body)
		if domain.KindOf(err) != domain.Invalid {
			t.Errorf("%.80s: %v", body, err)
			continue
		}
		if e, _ := err.(*domain.Error); e == nil || e.Field != field || !strings.HasPrefix(err.Error(), field) {
			t.Errorf("%.80s: %v, want the field %s", body, err, field)
		}
	}
}

func parse(body string) (pipeline, error) {
	var p pipeline
	if err := decode([]byte(body), &p); err != nil {
		return p, err
	}
	_, err := p.check()
	return p, err
}

// TestValues: a value comes back as it went, and what JSON cannot carry is said.
func TestValues(t *testing.T) {
	for v, want := range map[sqlite.Value]string{
		{}:                                    `{"type":"null"}`,
		sqlite.Int(math.MinInt64):             `{"type":"integer","value":"-9223372036854775808"}`,
		sqlite.Float(1):                       `{"type":"float","value":1}`,
		sqlite.Float(1e300):                   `{"type":"float","value":1e+300}`,
		sqlite.Float(0.1):                     `{"type":"float","value":0.1}`,
		sqlite.Float(math.Inf(-1)):            `{"type":"null"}`,
		sqlite.Text("2020-01-01"):             `{"type":"text","value":"2020-01-01"}`,
		sqlite.Text("a\"\\\x00\n\x7f😀\u2028"): "{\"type\":\"text\",\"value\":\"a\\\"\\\\\\u0000\\n\x7f😀\u2028\"}",
		sqlite.Text("\xff"):                   `{"type":"blob","base64":"/w"}`,
		sqlite.Blob([]byte("hello")):          `{"type":"blob","base64":"aGVsbG8"}`,
		sqlite.Blob(nil):                      `{"type":"blob","base64":""}`,
	} {
		got := string(appendValue(nil, v))
		if got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
		var back value
		if err := json.Unmarshal([]byte(got), &back); err != nil {
			t.Errorf("%s: %v", got, err)
		} else if same := back.v == v; !same && got != `{"type":"null"}` && v != sqlite.Text("\xff") {
			t.Errorf("%v came back as %v", v, back.v)
		}
	}
}

// FuzzRequest: whatever comes, reading it ends in a request within the bounds or
// in an error that names a member, never in a panic.
func FuzzRequest(f *testing.F) {
	f.Add(`{"baton":"x","requests":[{"type":"batch","batch":{"steps":[{"condition":{"type":"or","conds":[]},"stmt":{"sql":"SELECT ?","args":[{"type":"blob","base64":"AA"}]}}]}}]}`)
	f.Add(`{"requests":[{"type":"execute","stmt":{"sql_id":-1,"named_args":[{"name":":a","value":{"type":"float","value":1e400}}]}}]}`)
	f.Add(`{"requests":[{"type":"\ud800\udc00"}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		p, err := parse(body)
		if err != nil {
			if domain.KindOf(err) != domain.Invalid || err.Error() == "" {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		if len(p.Requests) > maxRequests {
			t.Fatalf("%d requests", len(p.Requests))
		}
	})
}

// FuzzText: what is written is JSON, and read as the same text.
func FuzzText(f *testing.F) {
	f.Add("a\"\\\x00\n\x1f\x7f\u2028😀")
	f.Add("\xff\xc0\x80\xed\xa0\x80")
	f.Fuzz(func(t *testing.T, s string) {
		var back string
		if err := json.Unmarshal(appendText(nil, s), &back); err != nil || back != strings.ToValidUTF8(s, "\uFFFD") && back != string([]rune(s)) {
			t.Fatalf("%q came back as %q: %v", s, back, err)
		}
		var v value
		if err := json.Unmarshal(appendValue(nil, sqlite.Text(s)), &v); err != nil || v.v.Raw() != s {
			t.Fatalf("%q came back as %v: %v", s, v.v, err)
		}
	})
}

// BenchmarkRow measures how fast rows are written; the limit is copying them.
func BenchmarkRow(b *testing.B) {
	row := []sqlite.Value{sqlite.Int(123456), sqlite.Text("a text of some length, as rows have them"), sqlite.Float(1.25), {}, sqlite.Blob(make([]byte, 32))}
	a := answer{budget: new(budget)}
	b.ReportAllocs()
	for b.Loop() {
		a.buf = a.buf[:0]
		if err := a.row(row); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(a.buf)))
}
