package packaging_test

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// dialogue is a command at a terminal, and the person before it.
type dialogue struct {
	t      *testing.T
	screen *os.File
	shown  string
	read   int // of shown
	done   chan result
}

// typed starts a command at a new terminal (pts(4)).
func (e *engine) typed(t *testing.T, name string, args ...string) *dialogue {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	cmd, cancel := e.command(name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d := &dialogue{t: t, screen: master, done: make(chan result, 1)}
	go func() {
		defer cancel()
		_ = cmd.Wait()
		d.done <- result{code: cmd.ProcessState.ExitCode()}
	}()
	return d
}

// see reads until a text is on the screen, and gives all since the last time.
func (d *dialogue) see(text string) string {
	d.t.Helper()
	buf := make([]byte, 4096)
	for {
		if i := strings.Index(d.shown[d.read:], text); i >= 0 {
			since := d.shown[d.read : d.read+i+len(text)]
			d.read += len(since)
			return since
		}
		n, err := d.screen.Read(buf)
		d.shown += string(buf[:n])
		if err != nil {
			d.t.Fatalf("the terminal never showed %q: %v\n%s", text, err, d.shown)
		}
	}
}

// enter types a line.
func (d *dialogue) enter(line string) {
	d.t.Helper()
	if _, err := d.screen.WriteString(line + "\r"); err != nil {
		d.t.Fatal(err)
	}
}

// end waits for the command and gives its exit code.
func (d *dialogue) end() int {
	rest, _ := io.ReadAll(d.screen) // EIO when the other side is closed
	d.shown += string(rest)
	return (<-d.done).code
}
