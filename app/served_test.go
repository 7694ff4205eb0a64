package app_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a process may take for what takes it less than a second.
// It is for tests that would hang else, and nothing is measured with it.
const patience = time.Minute

// served is a `coffer serve` in a process of its own.
type served struct {
	cmd   *exec.Cmd
	out   lockedText
	err   *os.File      // written by the process itself, so that nothing is under way
	ready chan struct{} // closed when the whole ready block was printed
	done  chan struct{} // closed when the process has ended
}

// launch starts `coffer serve` with more arguments in a directory and with an
// environment. It does not wait; see awaitReady.
func launch(dir string, env []string, args ...string) (*served, error) {
	bin, err := exec.LookPath("coffer")
	if err != nil {
		return nil, err
	}
	// Several servers run at once: unless the test says otherwise each has a port of
	// its own.
	env = append([]string{"COFFER_LISTEN=127.0.0.1:0"}, env...)
	s := &served{cmd: exec.Command(bin, append([]string{"serve"}, args...)...), ready: make(chan struct{}), done: make(chan struct{})}
	if s.err, err = os.CreateTemp("", "stderr"); err != nil {
		return nil, err
	}
	_ = os.Remove(s.err.Name())
	s.cmd.Dir, s.cmd.Env, s.cmd.Stderr = dir, env, s.err
	stdout, err := s.cmd.StdoutPipe()
	if err == nil {
		err = startBound(s.cmd)
	}
	if err != nil {
		return nil, errors.Join(err, s.err.Close())
	}
	go s.watch(stdout)
	return s, nil
}

// startBound starts a process for which file modes hold, also where the test runs
// as root: its bounding set has no CAP_DAC_OVERRIDE (capabilities(7)).
func startBound(cmd *exec.Cmd) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		for _, right := range []uintptr{unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH} {
			// Who may not drop it does not have it.
			_ = unix.Prctl(unix.PR_CAPBSET_DROP, right, 0, 0, 0)
		}
		done <- cmd.Start()
	}()
	return <-done
}

// errors is what the process wrote to stderr so far.
func (s *served) errors() string {
	info, err := s.err.Stat()
	if err != nil {
		return err.Error()
	}
	b := make([]byte, info.Size())
	n, _ := s.err.ReadAt(b, 0)
	return string(b[:n])
}

// watch reads stdout to its end and then waits for the process.
func (s *served) watch(stdout io.Reader) {
	defer close(s.done)
	lines := bufio.NewScanner(stdout)
	for isReady := false; lines.Scan(); {
		fmt.Fprintln(&s.out, lines.Text())
		if !isReady && strings.HasPrefix(lines.Text(), "version: ") { // the last line of the block
			isReady = true
			close(s.ready)
		}
	}
	_ = s.cmd.Wait() // the state says how it ended
}

var errNotReady = errors.New("coffer serve did not become ready")

// awaitReady waits until requests are answered. When the process ended instead,
// the error is errNotReady.
func (s *served) awaitReady() error {
	select {
	case <-s.ready:
		return nil
	case <-s.done:
		return fmt.Errorf("%w: exit %d: %s", errNotReady, s.exitCode(), s.errors())
	case <-time.After(patience):
		s.kill()
		return fmt.Errorf("%w in %v: %s", errNotReady, patience, s.errors())
	}
}

// awaitEnd waits until the process ended by itself and gives its exit code.
func (s *served) awaitEnd() (int, error) {
	select {
	case <-s.done:
		return s.exitCode(), nil
	case <-time.After(patience):
		s.kill()
		return 0, fmt.Errorf("coffer serve did not end in %v", patience)
	}
}

// exitCode is -1 for a process that a signal ended.
func (s *served) exitCode() int { return s.cmd.ProcessState.ExitCode() }

// stop asks the process to end, and gives its exit code.
func (s *served) stop() (int, error) {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	return s.awaitEnd()
}

// kill ends the process as a power cut would, for a process. It is safe twice.
func (s *served) kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// lockedText is what a process wrote so far.
type lockedText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (t *lockedText) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(b)
}

func (t *lockedText) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// shortDir makes a directory for data. Not tb.TempDir: the path of the local
// socket in it has at most 107 bytes.
func shortDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/tmp", "cf")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return dir
}
