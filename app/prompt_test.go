package app_test

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"coffer/app"
	"coffer/app/domain"
)

func TestReadTyped(t *testing.T) {
	for typed, want := range map[string]string{
		"correct horse\r":           "correct horse",
		"correct horse\nnext":       "correct horse",
		"\r":                        "",
		"paß\x7fss\r":               "pass", // the whole letter is taken back
		"\x7f\bab\r":                "ab",
		"wrong\x15right\r":          "right",
		"ended\x04":                 "ended",
		"cut off":                   "cut off",
		"\xff\xfe not UTF-8 \x1b\r": "\xff\xfe not UTF-8 \x1b",
	} {
		if got, err := app.ReadTyped(strings.NewReader(typed)); string(got) != want || err != nil {
			t.Errorf("%q typed: %q, %v; want %q", typed, got, err, want)
		}
	}
	for typed, want := range map[string]domain.Kind{"secr\x03et\r": domain.Invalid, strings.Repeat("x", 4097) + "\r": domain.Limit} {
		if got, err := app.ReadTyped(strings.NewReader(typed)); got != nil || domain.KindOf(err) != want {
			t.Errorf("%.10q typed: %q, %v; want the kind %v", typed, got, err, want)
		}
	}
	if _, err := app.ReadTyped(strings.NewReader("\x04")); err != io.EOF {
		t.Errorf("the end of the input typed: %v", err)
	}
	if _, err := app.ReadTyped(iotest.ErrReader(io.ErrClosedPipe)); err != io.ErrClosedPipe {
		t.Errorf("a terminal that is gone: %v", err)
	}
	// The next prompt's line is left where it is.
	r := strings.NewReader("one\rtwo\r")
	first, _ := app.ReadTyped(r)
	if second, err := app.ReadTyped(r); string(first) != "one" || string(second) != "two" || err != nil {
		t.Errorf("two lines: %q, %q, %v", first, second, err)
	}
}
