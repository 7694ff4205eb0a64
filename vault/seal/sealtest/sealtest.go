// Package sealtest gives tests a TPM 2.0: a real swtpm process with its own
// state, reached through a Unix socket. It is for tests only and depends on
// nothing of ours. A missing swtpm fails the test: a security test that was
// skipped looks like one that passed.
package sealtest

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TPM is one emulated TPM. It serves one client at a time, has no resource
// manager, and forgets transient objects at Restart. Its methods are for the
// test's own goroutine.
type TPM struct {
	tb   testing.TB
	dir  string
	proc *exec.Cmd
	log  bytes.Buffer
}

// StartTPM starts a new TPM with fresh state; tb's cleanup ends it.
func StartTPM(tb testing.TB) *TPM {
	tb.Helper()
	return start(tb, "")
}

// StartTPMFrom starts a TPM with a copy of the state in a file that an swtpm
// wrote (tpm2-00.permall).
func StartTPMFrom(tb testing.TB, state string) *TPM {
	tb.Helper()
	return start(tb, state)
}

func start(tb testing.TB, state string) *TPM {
	tb.Helper()
	// Not tb.TempDir: a socket's path has at most 108 bytes.
	dir, err := os.MkdirTemp("/tmp", "c")
	if err != nil {
		tb.Fatalf("making a directory for swtpm: %v", err)
	}
	t := &TPM{tb: tb, dir: dir}
	tb.Cleanup(func() {
		t.Stop()
		if tb.Failed() && t.log.Len() > 0 {
			tb.Logf("swtpm said:\n%s", t.log.String())
		}
		_ = os.RemoveAll(dir)
	})
	if err := os.Mkdir(t.StateDir(), 0o700); err != nil {
		tb.Fatal(err)
	}
	if state != "" {
		b, err := os.ReadFile(state)
		if err != nil {
			tb.Fatalf("reading the TPM's state: %v", err)
		}
		if err := os.WriteFile(filepath.Join(t.StateDir(), "tpm2-00.permall"), b, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	t.run()
	return t
}

// Path is what seal.NewTPM takes: "unix:/tmp/…".
func (t *TPM) Path() string { return "unix:" + t.Socket() }

// Socket is the path of the Unix socket.
func (t *TPM) Socket() string { return filepath.Join(t.dir, "s") }

// StateDir is where swtpm keeps what survives a power cut.
func (t *TPM) StateDir() string { return filepath.Join(t.dir, "state") }

// Stop kills the TPM, as a power cut would. Its socket is gone then.
func (t *TPM) Stop() {
	if t.proc == nil {
		return
	}
	_ = t.proc.Process.Kill()
	_ = t.proc.Wait()
	t.proc = nil
	_ = os.Remove(t.Socket())
}

// Restart is a power cut and a start with the same state.
func (t *TPM) Restart() {
	t.tb.Helper()
	t.Stop()
	t.run()
}

// Clear is TPM2_Clear under the platform hierarchy: what a person does in the
// firmware's setup. Keys made before are gone for good.
func (t *TPM) Clear() {
	t.tb.Helper()
	// Tag with sessions, size, TPM_CC_Clear, TPM_RH_PLATFORM, 9 bytes of
	// authorization: TPM_RS_PW, no nonce, no attributes, no password.
	t.Command([]byte{
		0x80, 0x02, 0, 0, 0, 27, 0, 0, 0x01, 0x26, 0x40, 0, 0, 0x0c,
		0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0,
	})
}

// Command sends one raw command and fails the test unless it succeeds.
func (t *TPM) Command(command []byte) []byte {
	t.tb.Helper()
	c, err := net.Dial("unix", t.Socket())
	if err != nil {
		t.tb.Fatalf("connecting to swtpm: %v", err)
	}
	defer c.Close()
	if _, err := c.Write(command); err != nil {
		t.tb.Fatalf("sending a command: %v", err)
	}
	response := make([]byte, 10)
	if _, err := io.ReadFull(c, response); err != nil {
		t.tb.Fatalf("reading a response: %v", err)
	}
	if code := binary.BigEndian.Uint32(response[6:]); code != 0 {
		t.tb.Fatalf("the TPM answered with code %#x", code)
	}
	rest := make([]byte, binary.BigEndian.Uint32(response[2:])-10)
	if _, err := io.ReadFull(c, rest); err != nil {
		t.tb.Fatalf("reading a response: %v", err)
	}
	return append(response, rest...)
}

// run starts swtpm on a socket that listens already, so that there is nothing
// to wait for: clients queue until it accepts.
func (t *TPM) run() {
	t.tb.Helper()
	bin, err := exec.LookPath("swtpm")
	if err != nil {
		t.tb.Fatalf("swtpm is needed for this test (apt-get install swtpm): %v", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: t.Socket(), Net: "unix"})
	if err != nil {
		t.tb.Fatalf("listening for swtpm: %v", err)
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	f, err := l.File()
	if err != nil {
		t.tb.Fatalf("listening for swtpm: %v", err)
	}
	defer f.Close()
	t.proc = exec.Command(bin, "socket", "--tpm2", "--tpmstate", "dir="+t.StateDir(),
		"--server", "type=unixio,fd=3", "--flags", "not-need-init,startup-clear")
	t.proc.ExtraFiles = []*os.File{f}
	t.proc.Stdout, t.proc.Stderr = &t.log, &t.log
	if err := t.proc.Start(); err != nil {
		t.proc = nil
		t.tb.Fatalf("starting swtpm: %v", err)
	}
}
