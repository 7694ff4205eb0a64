package vault

import (
	"encoding/json"
	"testing"

	"coffer/app/domain"
)

// TestMerge: the examples of RFC 7396, appendix A, that begin with an object, and
// what it does to numbers.
func TestMerge(t *testing.T) {
	for _, c := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`{"n":12345678901234567890.10}`, `{"a":1e400}`, `{"a":1e400,"n":12345678901234567890.10}`},
	} {
		was, err := decodeAny(domain.SecretString(c[0]))
		if err != nil {
			t.Fatal(err)
		}
		patch, err := decodeAny(domain.SecretString(c[1]))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(merge(was, patch)); err != nil || string(got) != c[2] {
			t.Errorf("%s with %s: %s, %v; want %s", c[0], c[1], got, err, c[2])
		}
	}
}
