package app_test

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/term"

	"coffer/app"
)

// TestInterruptedLine: Ctrl-C clears the line that is typed and the next one is
// read; the line before comes back with the arrow key.
func TestInterruptedLine(t *testing.T) {
	for _, slow := range []bool{false, true} {
		var in io.Reader = strings.NewReader("SELECT 1;\rDELETE FROM t\x1b[D\x1b[D\x03\x1b[A\rSELECT \x03.quit\r")
		if slow {
			in = iotest.OneByteReader(in)
		}
		keys := app.NewKeys(in)
		terminal := term.NewTerminal(struct {
			io.Reader
			io.Writer
		}{keys, io.Discard}, "")
		terminal.History = app.NewHistory()
		var got []string
		for {
			line, err := terminal.ReadLine()
			if err != nil {
				break
			}
			if keys.TakeInterrupted() {
				line = "^C" + line
			}
			got = append(got, line)
		}
		// A line that came in one piece with a Ctrl-C behind it counts as interrupted.
		want := "SELECT 1;|^C|SELECT 1;|^C|.quit"
		if slow && strings.Join(got, "|") != want {
			t.Errorf("%q, want %q", got, want)
		}
		for _, line := range got {
			if strings.Contains(line, "DELETE") {
				t.Errorf("an interrupted line was read: %q", got)
			}
		}
	}
}
