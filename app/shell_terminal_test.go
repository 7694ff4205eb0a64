package app_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// typist sits at a pseudo terminal.
type typist struct {
	tb   testing.TB
	hand *os.File
	all  bytes.Buffer // everything that the terminal showed
	seen int          // of all, by a wait
}

// sitDown starts a command at a pseudo terminal of its own, which sends Ctrl-C to
// it as a terminal does.
func sitDown(tb testing.TB, cmd *exec.Cmd) *typist {
	tb.Helper()
	hand, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		tb.Skip("no pseudo terminals here:", err)
	}
	tb.Cleanup(func() { _ = hand.Close() })
	if err := unix.IoctlSetPointerInt(int(hand.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		tb.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(hand.Fd()), unix.TIOCGPTN)
	if err != nil {
		tb.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(hand.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 60}); err != nil {
		tb.Fatal(err)
	}
	// Fd makes it block, and what blocks has no deadlines.
	if err := unix.SetNonblock(int(hand.Fd()), true); err != nil {
		tb.Fatal(err)
	}
	screen, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = screen.Close() }()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = screen, screen, screen
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	return &typist{tb: tb, hand: hand}
}

func (t *typist) types(text string) {
	t.tb.Helper()
	if _, err := t.hand.WriteString(text); err != nil {
		t.tb.Fatal(err)
	}
}

// shows reads until the terminal shows a text behind the last one, or until the
// time is over.
func (t *typist) shows(text string, within time.Duration) bool {
	t.tb.Helper()
	if err := t.hand.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.tb.Fatal(err)
	}
	for b := make([]byte, 4096); ; {
		if i := bytes.Index(t.all.Bytes()[t.seen:], []byte(text)); i >= 0 {
			t.seen += i + len(text)
			return true
		}
		n, err := t.hand.Read(b)
		t.all.Write(b[:n])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return false
		case err != nil:
			t.tb.Fatalf("waiting for %q: %v, shown: %q", text, err, t.all.Bytes())
		}
	}
}

func (t *typist) wait(text string) {
	t.tb.Helper()
	if !t.shows(text, patience) {
		t.tb.Fatalf("no %q, shown: %q", text, t.all.Bytes())
	}
}

// interrupt presses Ctrl-C until the statement is given up. While a line is read
// the key clears it, so the terminal must send signals again; and the first press
// can still come before the statement began.
func (t *typist) interrupt() {
	t.tb.Helper()
	for end := time.Now().Add(patience); ; {
		state, err := unix.IoctlGetTermios(int(t.hand.Fd()), unix.TCGETS)
		if err == nil {
			err = unix.SetNonblock(int(t.hand.Fd()), true)
		}
		if err != nil || time.Now().After(end) {
			t.tb.Fatalf("the terminal stays as it is: %v", err)
		}
		if state.Lflag&unix.ISIG != 0 {
			break
		}
		runtime.Gosched()
	}
	for range 300 {
		t.types("\x03")
		if t.shows("interrupted before the answer came", patience/300) {
			return
		}
	}
	t.tb.Fatalf("Ctrl-C did not end it, shown: %q", t.all.Bytes())
}

// TestShellAtTerminal: Ctrl-C ends one statement and not what comes after it, and
// no value speaks to the terminal in any mode.
func TestShellAtTerminal(t *testing.T) {
	if testing.Short() {
		t.Skip("what is interrupted runs to its end in Coffer, for seconds")
	}
	const endless = "SELECT count(*) FROM (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) SELECT n FROM c);\r"
	r := serveTemp(t)
	r.tenant("acme")
	r.sql("acme", "CREATE TABLE kept(a)")
	file := filepath.Join(t.TempDir(), "f.sql")
	if err := os.WriteFile(file, []byte("SELECT 'from' || 'file';\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bin, err := exec.LookPath("coffer")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "sql", "--data", r.data, "-t", "acme")
	s := sitDown(t, cmd)
	s.wait("acme> ")
	s.types(endless)
	s.interrupt()
	s.wait("acme> ")
	for line, want := range map[string]string{".schema kept\r": "CREATE TABLE kept(a);\r\n", ".read " + file + "\r": "fromfile\r\n"} {
		s.types(line)
		s.wait(want)
		s.wait("acme> ")
	}
	for _, mode := range []string{"table", "line", "csv", "json"} {
		s.types(".mode " + mode + "\r")
		s.wait("acme> ")
		s.types("SELECT char(27) || ']0;evil' || char(7) || char(155) || '31m' || 'en' || 'd' AS a;\r")
		s.wait("end")
		s.wait("acme> ")
	}
	if shown := s.all.String(); strings.ContainsAny(shown, "\a\u009b") || strings.Contains(shown, "\x1b]") {
		t.Errorf("a value spoke to the terminal: %q", shown)
	}
	s.types(".mode table\r")
	s.wait("acme> ")
	s.types("SELECT printf('%.200c', 'x') AS a, printf('%.200c', 'y') AS b, 'la' || 'st' AS c;\r")
	s.wait("… ")
	s.wait("last\r\n")
	s.wait("acme> ")
	s.types("BEGIN;\r")
	s.wait("acme*> ")
	s.types(endless)
	s.interrupt()
	if !strings.Contains(s.all.String(), "the transaction is lost") {
		t.Errorf("shown: %q", s.all.Bytes())
	}
	s.wait("acme> ")
	s.types("\x04")
	if err := cmd.Wait(); err != nil {
		t.Errorf("Ctrl-D: %v", err)
	}
}

// TestShellLongStatement: a statement of many lines takes no longer than its
// length says.
func TestShellLongStatement(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.sql("acme", "CREATE TABLE kept(a)")
	bin, err := exec.LookPath("coffer")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, "sql", "--data", r.data, "-t", "acme")
	cmd.Stdin = strings.NewReader("INSERT INTO kept VALUES (0)\n" + strings.Repeat(",(1)\n", 40_000) + ";\n/* no;\nstatement */\n.tables\nSELECT 1; /* nor\nthis */ SELECT 'l' || 'ast';\n")
	// Looking at all of it after every line would take minutes.
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "40001 rows changed") || !strings.Contains(string(out), "kept\n") || !strings.HasSuffix(string(out), "\nlast\n") {
		t.Errorf("%v, printed %q", err, out)
	}
}

// TestAttackStoredText: what an analyst stored is shown to others at their
// terminals.
func TestAttackStoredText(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.must("", http.MethodPut, "/api/v1/tenants/acme/queries/h", object{"sql": "SELECT 1 -- \x1b]0;evil\a\u009b31m\n", "shared": true}, nil)
	bin, err := exec.LookPath("coffer")
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range [][]string{nil, {"-o", "json"}} {
		// h is a name too.
		out, err := exec.Command(bin, append([]string{"query", "show", "--data", r.data, "-t", "acme", "h"}, more...)...).Output()
		if err != nil || !strings.Contains(string(out), "evil") || strings.ContainsAny(string(out), "\x1b\a\u009b") {
			t.Errorf("%v: %v, printed %q", more, err, out)
		}
	}
}
