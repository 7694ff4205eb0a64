package app_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"coffer/vault/seal/sealtest"
)

// TestScripts runs the scripts under testdata/script: sessions at the command
// line, each command a process, against a data directory that another process
// serves. Besides the commands of testscript they have:
//
//	serve [FLAG…]               start `coffer serve` and wait until it answers; its output is in
//	                            serve.out and serve.err once it ended, and is what stdout and stderr see
//	refused CODE [FLAG…]        `coffer serve` must end by itself with the exit code
//	halt                        SIGTERM; it must end with 0
//	kill9                       SIGKILL
//	ends CODE                   it must end by itself with the exit code
//	limit BYTES|none            no file that the server writes may reach beyond it: a full disk
//	exits CODE COMMAND…         run a command, which must end with the exit code
//	until CODE COMMAND…         run a command until it ends with the exit code
//	jsonget VAR FILE PATH       set a variable from a JSON document; PATH is like rows.0.1, or rows.len
//	jsonis FILE PATH VALUE      compare a value of a JSON document
//	write FILE TEXT…            write the texts as lines
//	fill FILE BYTES TEXT        write the text again and again until the file has so many bytes
//	lines FILE COUNT TEXT       write so many lines, in each of which {n} is its number
//	flip FILE OFFSET            invert one bit; an offset below zero counts from the end, and
//	                            "live" is one that is in use in a control.db or keys.db
//	mark, unchanged             remember the bytes of the data directory; compare with them
//	field VAR FILE NAME         set a variable from a "name: value" line
//	port VAR URL                set a variable to the port of a URL
//	database FILE SQLFILE       make a plain SQLite file
//	lacks PATH TEXT             no file at or under the path has the text
//	tpm start|stop|restart|clear|swap
//	                            a TPM of the script's own, at $TPM
//
// The condition [remote] says that commands go over the network.
//
// COFFER_DATA names the data directory. Where no TPM was started none is found,
// also on a machine that has one.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	if testing.Short() {
		scripts = slices.DeleteFunc(scripts, func(path string) bool { return !inShort[strings.TrimSuffix(filepath.Base(path), ".txtar")] })
	}
	runScripts(t, scripts, false)
}

// inShort are the scripts for the race detector, under which each start of the
// program takes a second: those with the most of what runs at once. The others
// are made of single commands.
var inShort = map[string]bool{"demo": true, "network": true, "members": true}

// local are the scripts about what there is at the local socket alone: unsealing,
// health, the socket itself, what only it may.
var local = map[string]bool{
	"first_start": true, "passphrase": true, "keyfile": true, "seal_slots": true, "tpm_lost": true, "held": true, "health": true, "network": true, "people": true,
}

// TestScriptsOverTheNetwork runs the same scripts with a client that knows an
// address, the authority's certificate and a session, and no data directory.
func TestScriptsOverTheNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector has enough of TestScripts")
	}
	scripts, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	scripts = slices.DeleteFunc(scripts, func(path string) bool { return local[strings.TrimSuffix(filepath.Base(path), ".txtar")] })
	runScripts(t, scripts, true)
}

func runScripts(t *testing.T, scripts []string, remote bool) {
	t.Helper()
	testscript.Run(t, testscript.Params{
		Files: scripts, RequireExplicitExec: false, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error { return newSession(env, remote) },
		Condition: func(name string) (bool, error) {
			if name != "remote" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return remote, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": serveCommand, "refused": refusedCommand, "halt": haltCommand, "kill9": kill9Command, "ends": endsCommand, "limit": limitCommand,
			"exits": exitsCommand, "until": untilCommand,
			"field": fieldCommand, "port": portCommand,
			"jsonget": jsongetCommand, "jsonis": jsonisCommand,
			"write": writeCommand, "fill": fillCommand, "lines": linesCommand, "flip": flipCommand,
			"mark": markCommand, "unchanged": unchangedCommand, "lacks": lacksCommand,
			"tpm": tpmCommand, "database": databaseCommand,
		},
	})
}

// session is what one script has.
type session struct {
	tb     testing.TB
	daemon *served // nil if none runs
	tpm    *sealtest.TPM
	marked map[string][32]byte
	remote bool // commands go over the network
}

type sessionKey struct{}

func newSession(env *testscript.Env, remote bool) error {
	tb, ok := env.T().(testing.TB)
	if !ok {
		return errors.New("testscript gives no testing.TB")
	}
	s := &session{tb: tb, remote: remote}
	env.Values[sessionKey{}] = s
	env.Setenv("COFFER_DATA", filepath.Join(shortDir(tb), "d"))
	env.Setenv("COFFER_LISTEN", "127.0.0.1:0")
	env.Setenv("UID", strconv.Itoa(os.Geteuid())) // the name of the one at the socket is uid-$UID
	env.Setenv("COFFER_LISTEN", "127.0.0.1:0")    // scripts run side by side
	env.Setenv("COFFER_TPM", filepath.Join(env.WorkDir, "no-tpm"))
	env.Defer(func() {
		if s.daemon != nil {
			s.daemon.kill()
		}
	})
	return nil
}

func sessionOf(ts *testscript.TestScript) *session { return ts.Value(sessionKey{}).(*session) }

// usage ends the script unless the command is used as its usage says.
func usage(ts *testscript.TestScript, ok bool, usage string) {
	if !ok {
		ts.Fatalf("usage: %s", usage)
	}
}

// wantCode reads an exit code.
func wantCode(ts *testscript.TestScript, args []string) int {
	usage(ts, len(args) > 0, "CODE …")
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	return n
}

func exitsCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 1, "exits CODE COMMAND…")
	if want, got := wantCode(ts, args), runCode(ts, args[1:]); got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// runCode runs a command in the foreground and gives its exit code.
func runCode(ts *testscript.TestScript, args []string) int {
	err := ts.Exec(args[0], args[1:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

// untilCommand waits for what only time brings about, such as the end of a
// token. What it runs takes its own time, so that nothing has to sleep.
func untilCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 1, "until CODE COMMAND…")
	want := wantCode(ts, args)
	for end := time.Now().Add(patience); runCode(ts, args[1:]) != want; {
		if time.Now().After(end) {
			ts.Fatalf("exit code %d did not come in %v", want, patience)
		}
	}
}

func tpmCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "tpm start|stop|restart|clear|swap")
	s := sessionOf(ts)
	switch args[0] {
	case "start", "swap": // another chip, which knows nothing of the first
		if s.tpm != nil {
			s.tpm.Stop()
		}
		s.tpm = sealtest.StartTPM(s.tb)
		ts.Setenv("TPM", s.tpm.Path())
	case "stop":
		s.tpm.Stop()
	case "restart":
		s.tpm.Restart()
	case "clear":
		s.tpm.Clear()
	default:
		ts.Fatalf("unknown: tpm %s", args[0])
	}
}
