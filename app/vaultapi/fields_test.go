package vaultapi

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

// TestFields: values are taken in the forms in which clients send them.
func TestFields(t *testing.T) {
	f, err := parseFields([]byte(` {"s":"a","n":5,"ns":"5","b":true,"bs":"false","d":"1h0m0s","ds":60,"dd":"2d","l":["a","b"],"lc":"a, b,","vs":["3",4],"p":{"k":"v","m":1},"null":null,"o":{}} `))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		got  func() (any, error)
		want any
	}{
		"text":              {func() (any, error) { return f.text("s") }, "a"},
		"a number as text":  {func() (any, error) { return f.text("n") }, "5"},
		"no text":           {func() (any, error) { return f.text("none") }, ""},
		"null":              {func() (any, error) { return f.text("null") }, ""},
		"number":            {func() (any, error) { return f.number("n") }, 5},
		"a number's text":   {func() (any, error) { return f.number("ns") }, 5},
		"flag":              {func() (any, error) { return f.flag("b", false) }, true},
		"a flag's text":     {func() (any, error) { return f.flag("bs", true) }, false},
		"no flag":           {func() (any, error) { return f.flag("none", true) }, true},
		"duration":          {func() (any, error) { return f.duration("d") }, time.Hour},
		"seconds":           {func() (any, error) { return f.duration("ds") }, time.Minute},
		"days":              {func() (any, error) { return f.duration("dd") }, 48 * time.Hour},
		"list":              {func() (any, error) { return f.list("l") }, []string{"a", "b"}},
		"a list's text":     {func() (any, error) { return f.list("lc") }, []string{"a", "b"}},
		"versions":          {func() (any, error) { return f.numbers("vs") }, []int{3, 4}},
		"pairs":             {func() (any, error) { return f.pairs("p") }, map[string]string{"k": "v", "m": "1"}},
		"an object as text": {func() (any, error) { _, err := f.text("o"); return err != nil, nil }, true},
		"a list as number":  {func() (any, error) { _, err := f.number("l"); return err != nil, nil }, true},
		"a negative time":   {func() (any, error) { _, ok := parseDuration("-1s"); return ok, nil }, false},
		"an endless time":   {func() (any, error) { _, ok := parseDuration("9223372036854775807"); return ok, nil }, false},
	} {
		if got, err := c.got(); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, c.want)
		}
	}
}

// TestBodies: what decoders read differently is refused.
func TestBodies(t *testing.T) {
	for _, body := range []string{
		`[]`, `"x"`, `{`, `{}{}`, `{"a":1,"a":2}`, `{"a":{"b":1,"b":2}}`, `{"a":[{"b":1,"b":2}]}`, "{\"a\":\"\xff\"}", `{"a":"\ud800"}`, `{"a":NaN}`, `nul`,
	} {
		if f, err := parseFields([]byte(body)); err == nil {
			t.Errorf("%s: %v", body, f)
		}
	}
	for _, body := range []string{``, ` `, `null`, `{}`, `{"unknown":[{}]}`, `{"a":1,"A":2}`} {
		if _, err := parseFields([]byte(body)); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// FuzzFields: what is taken is JSON with the same members for every reader.
func FuzzFields(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":"c"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := parseFields(body)
		if err != nil || len(got) == 0 {
			return
		}
		var other map[string]any
		if err := json.Unmarshal(body, &other); err != nil || len(other) != len(got) {
			t.Errorf("%q: %d members, %d to another reader: %v", body, len(got), len(other), err)
		}
	})
}

// FuzzSplit: segments are what was asked for, and none is empty or goes up.
func FuzzSplit(f *testing.F) {
	f.Add("/v1/secret/data/a%20b/")
	f.Fuzz(func(t *testing.T, path string) {
		segments, _, err := split(path)
		if err != nil {
			return
		}
		for _, s := range segments {
			if s == "" {
				t.Errorf("%q: %q", path, segments)
			}
		}
	})
}
