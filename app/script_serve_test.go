package app_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// environment is the script's own, as a process gets it.
func environment(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{
		"PATH", "HOME", "TMPDIR", "WORK", "GORACE", "GOCOVERDIR", "CREDENTIALS_DIRECTORY",
		"COFFER_DATA", "COFFER_SEAL", "COFFER_TPM", "COFFER_KEYFILE", "COFFER_PASSPHRASE_FILE", "COFFER_AUDIT_SPACE", "COFFER_LISTEN",
	} {
		if v := ts.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

func launchIn(ts *testscript.TestScript, args []string) *served {
	d, err := launch(ts.MkAbs("."), environment(ts), args...)
	ts.Check(err)
	return d
}

func serveCommand(ts *testscript.TestScript, neg bool, args []string) {
	s := sessionOf(ts)
	usage(ts, !neg && s.daemon == nil, "serve [FLAG…], when none runs")
	s.daemon = launchIn(ts, args)
	err := s.daemon.awaitReady()
	show(ts, s.daemon)
	if err != nil {
		s.daemon = nil
		ts.Fatalf("%v", err)
	}
}

// show makes what the daemon printed what stdout and stderr look at.
func show(ts *testscript.TestScript, d *served) {
	fmt.Fprint(ts.Stdout(), d.out.String())
	fmt.Fprint(ts.Stderr(), d.errors())
}

func refusedCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 0, "refused CODE [FLAG…]")
	want := wantCode(ts, args)
	d := launchIn(ts, args[1:])
	select {
	case <-d.ready:
		d.kill()
		show(ts, d)
		ts.Fatalf("it serves, although it should refuse with %d", want)
	case <-d.done:
	case <-time.After(patience):
		d.kill()
		show(ts, d)
		ts.Fatalf("it neither serves nor ends")
	}
	show(ts, d)
	if got := d.exitCode(); got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func haltCommand(ts *testscript.TestScript, neg bool, args []string) {
	d := takeDaemon(ts, neg, args, "halt")
	code, err := d.stop()
	ts.Check(err)
	ended(ts, d)
	if code != 0 {
		ts.Fatalf("coffer serve ended with %d after SIGTERM", code)
	}
}

// limitCommand bounds the files that the server writes (RLIMIT_FSIZE, prlimit(2)):
// what goes beyond fails as on a full disk, and needs no file system of its own.
func limitCommand(ts *testscript.TestScript, neg bool, args []string) {
	s := sessionOf(ts)
	usage(ts, !neg && len(args) == 1 && s.daemon != nil, "limit BYTES|none, when one runs")
	lim := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if args[0] != "none" {
		n, err := strconv.ParseUint(args[0], 10, 63)
		ts.Check(err)
		lim.Cur = n
	}
	ts.Check(unix.Prlimit(s.daemon.cmd.Process.Pid, unix.RLIMIT_FSIZE, &lim, nil))
}

func kill9Command(ts *testscript.TestScript, neg bool, args []string) {
	d := takeDaemon(ts, neg, args, "kill9")
	d.kill()
	ended(ts, d)
}

func endsCommand(ts *testscript.TestScript, neg bool, args []string) {
	want := wantCode(ts, args)
	d := takeDaemon(ts, neg, args[1:], "ends CODE")
	got, err := d.awaitEnd()
	ts.Check(err)
	ended(ts, d)
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func takeDaemon(ts *testscript.TestScript, neg bool, args []string, name string) *served {
	s := sessionOf(ts)
	usage(ts, !neg && len(args) == 0 && s.daemon != nil, name+", when one runs")
	d := s.daemon
	s.daemon = nil
	return d
}

// ended keeps what the daemon printed, and adds it to what the test prints.
func ended(ts *testscript.TestScript, d *served) {
	show(ts, d)
	for _, f := range []struct{ name, text string }{{"serve.out", d.out.String()}, {"serve.err", d.errors()}} {
		ts.Check(os.WriteFile(ts.MkAbs(f.name), slices.Clip([]byte(f.text)), 0o600))
	}
}
