package app_test

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"coffer/app"
)

// TestMain makes the test binary be "coffer" where a test runs it under that
// name; testscript puts it into PATH.
func TestMain(m *testing.M) {
	if os.Getenv("GORACE") == "" {
		// With -race every process sleeps a second at its end, and here are
		// hundreds of them. testscript hands the variable on.
		if err := os.Setenv("GORACE", "atexit_sleep_ms=10"); err != nil {
			panic(err)
		}
	}
	if os.Getenv("COFFER_LISTEN") == "" { // tests run side by side
		if err := os.Setenv("COFFER_LISTEN", "127.0.0.1:0"); err != nil {
			panic(err)
		}
	}
	if env := os.Getenv(loudEnv); env != "" {
		if err := beLoud(env); err != nil {
			panic(err)
		}
		os.Exit(0)
	}
	if len(os.Args) == 2 && os.Args[1] == "worker" { // a Coffer in a test's own process started it
		os.Exit(app.Main([]string{"coffer", "worker"}, app.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.Getenv}))
	}
	testscript.Main(m, map[string]func(){
		"coffer": func() {
			os.Exit(app.Main(os.Args, app.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: remoteEnv}))
		},
	})
}

// remoteEnv is the environment of a command. In a session over the network (see
// TestScriptsOverTheNetwork) the data directory is another machine's, and who
// brings no token acts with the session that stands for the local user.
func remoteEnv(name string) string {
	v, remote := os.Getenv(name), os.Getenv("REMOTE_SESSION")
	switch {
	case remote == "":
	case name == "COFFER_DATA":
		return "elsewhere"
	case name == "COFFER_TOKEN" && v == "":
		return remote
	}
	return v
}
