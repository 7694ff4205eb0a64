package seal_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"coffer/app/domain"
	"coffer/vault/seal"
	"coffer/vault/seal/sealtest"
)

func TestTPMPathIsChecked(t *testing.T) {
	for _, bad := range []string{"", "unix:", "tcp:", "tcp:host", "tpmrm0", "http://x", "file:/dev/tpmrm0"} {
		if _, err := seal.NewTPM(bad); domain.KindOf(err) != domain.Invalid || domain.HintOf(err) == "" {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, good := range []string{seal.DefaultTPM, "unix:/x", "tcp:localhost:2321", "tcp:[::1]:2321"} {
		if _, err := seal.NewTPM(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

func TestTPMMissing(t *testing.T) {
	c := newTPMCase(t)
	c.tpm.Stop()
	gone := t.TempDir() + "/tpmrm0"
	for _, path := range []string{gone, "unix:" + gone, c.tpm.Path(), "tcp:" + closedPort(t)} {
		c.refused(t, mustTPM(t, path), domain.Unavailable, "no TPM here")
		wantError(t, seal.Probe(context.Background(), path), domain.Unavailable, "no TPM here")
	}
}

func closedPort(tb testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestTPMThroughTCP reaches a TPM by host and port.
func TestTPMThroughTCP(t *testing.T) {
	c := newTPMCase(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	defer done.Wait()
	defer l.Close()
	relay := &tap{}
	done.Go(func() {
		if client, err := l.Accept(); err == nil {
			relay.serve(client, c.tpm.Socket())
		}
	})
	opens(t, c.path, mustTPM(t, "tcp:"+l.Addr().String()), c.root)
}

func TestTPMPermission(t *testing.T) {
	c := newTPMCase(t)
	device, _ := openPTY(t)
	for _, f := range []string{c.tpm.Socket(), device} {
		if err := os.Chmod(f, 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{c.tpm.Path(), device} {
		var err error
		asNobody(t, func() { err = seal.Probe(context.Background(), path) })
		wantError(t, err, domain.Unavailable, "permission to use the TPM")
		if hint := domain.HintOf(err); !strings.Contains(hint, "--group-add $(stat -c %g "+strings.TrimPrefix(path, "unix:")+")") {
			t.Errorf("hint %q", hint)
		}
		f := mustLoad(t, c.path)
		var root domain.Secret
		asNobody(t, func() { root, _, err = f.Unlock(context.Background(), mustTPM(t, path)) })
		wantError(t, err, domain.Unavailable, "permission to use the TPM")
		if root.Len() != 0 {
			t.Error("it opened")
		}
	}
	opens(t, c.path, c.recovery, c.root)
}

// TestTPMNotPassedOn: the kernel answers EPERM where a container's device list
// forbids the device, which needs a control group; only the words are checked.
func TestTPMNotPassedOn(t *testing.T) {
	err := seal.Explain(seal.DefaultTPM, &os.PathError{Op: "open", Path: seal.DefaultTPM, Err: syscall.EPERM})
	wantError(t, err, domain.Unavailable, "not permitted")
	if hint := domain.HintOf(err); !strings.Contains(hint, "--device /dev/tpmrm0`, not `-v`") {
		t.Errorf("hint %q", hint)
	}
}

// asNobody runs f on a thread whose file accesses are those of another user.
// The thread ends with it.
func asNobody(tb testing.TB, f func()) {
	tb.Helper()
	var done sync.WaitGroup
	done.Go(func() {
		if os.Geteuid() == 0 {
			runtime.LockOSThread() // and never unlock: the thread ends with this goroutine
			if err := unix.Setfsuid(65534); err != nil {
				tb.Errorf("changing the user: %v", err)
				return
			}
		}
		f()
	})
	done.Wait()
}

func TestTPMIsSomethingElse(t *testing.T) {
	c := newTPMCase(t)
	file := filepath.Join(t.TempDir(), "tpmrm0")
	mustWrite(t, file, []byte("not a device"))
	silent, garbage := serveOnce(t, ""), serveOnce(t, "HTTP/1.1 400 Bad Request\r\n\r\n")
	for _, path := range []string{file, "/dev/null", silent, garbage} {
		c.refused(t, mustTPM(t, path), domain.Unavailable, "cannot be used as a TPM 2.0")
	}
}

// serveOnce listens, reads a command, answers it with words and hangs up.
func serveOnce(tb testing.TB, words string) string {
	return serve(tb, func(c net.Conn) {
		_, _ = readMessage(c)
		_, _ = io.WriteString(c, words)
	})
}

func serve(tb testing.TB, f func(net.Conn)) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/tmp", "c")
	if err != nil {
		tb.Fatal(err)
	}
	l, err := net.Listen("unix", dir+"/s")
	if err != nil {
		tb.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f(c)
			c.Close()
		}
	})
	tb.Cleanup(func() { l.Close(); done.Wait(); _ = os.RemoveAll(dir) })
	return "unix:" + dir + "/s"
}

// TestTPMDoesNotAnswer: whoever gave up is not kept waiting.
func TestTPMDoesNotAnswer(t *testing.T) {
	c := newTPMCase(t)
	asked := make(chan struct{}, 1)
	ignore := func(r io.Reader) {
		_, _ = io.ReadFull(r, make([]byte, 1))
		asked <- struct{}{}
		_, _ = io.Copy(io.Discard, r)
	}
	hung := serve(t, func(c net.Conn) { ignore(c) })
	device, master := openPTY(t)
	go ignore(master) // until the test's end closes it
	for _, path := range []string{hung, device} {
		ctx, giveUp := context.WithCancel(context.Background())
		go func() { <-asked; giveUp() }()
		root, _, err := mustLoad(t, c.path).Unlock(ctx, mustTPM(t, path))
		wantError(t, err, domain.Unavailable, "did not answer in time")
		if root.Len() != 0 {
			t.Error("it opened")
		}
	}
}

// TestTPMDevice drives the code for character devices: a pseudo-terminal in
// raw mode passes commands on to an swtpm.
func TestTPMDevice(t *testing.T) {
	tpm := sealtest.StartTPM(t)
	device, master := openPTY(t)
	relay := &tap{}
	var done sync.WaitGroup
	done.Go(func() {
		server, err := net.Dial("unix", tpm.Socket())
		if err != nil {
			return
		}
		defer server.Close()
		for {
			command, err := readMessage(master)
			if err != nil {
				return
			}
			if _, err := server.Write(command); err != nil {
				return
			}
			response, err := readMessage(server)
			if err != nil || relay.answer(master, command, response) != nil {
				return
			}
		}
	})
	t.Cleanup(func() { master.Close(); done.Wait() })

	p := mustTPM(t, device, seal.WithPCRs(7))
	_, root, path := mustCreate(t, p)
	opens(t, path, p, root)
	if relay.recorded() == 0 {
		t.Error("nothing went through the device")
	}
}

// openPTY makes a character device and gives its path and its other end.
func openPTY(tb testing.TB) (device string, master *os.File) {
	tb.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { master.Close() })
	raw, err := master.SyscallConn()
	if err != nil {
		tb.Fatal(err)
	}
	var n int
	cerr := raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if cerr != nil || err != nil {
		tb.Fatal(cerr, err)
	}
	device = "/dev/pts/" + strconv.Itoa(n)
	// An open slave keeps the raw mode and lets the master outlive clients.
	slave, err := os.OpenFile(device, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { slave.Close() })
	termios, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		tb.Fatal(err)
	}
	termios.Iflag, termios.Oflag, termios.Lflag = 0, 0, 0
	termios.Cflag = unix.CS8 | unix.CREAD
	termios.Cc[unix.VMIN], termios.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(slave.Fd()), unix.TCSETS, termios); err != nil {
		tb.Fatal(err)
	}
	return device, master
}
