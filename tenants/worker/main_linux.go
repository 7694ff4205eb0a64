package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"coffer/app/domain"
)

// socketFD is the descriptor of the socket in the worker.
const socketFD = 3

// memoryEnv tells the worker how much memory it may have, in bytes, for Go's
// collector to know; the parent sees to it.
const memoryEnv = "COFFER_WORKER_MEMORY"

// niceness is the lowest priority there is.
const niceness = 19

// Main is the worker. It returns when the parent has closed the socket. env is
// os.Getenv.
func Main(ctx context.Context, env func(string) string) error {
	conn, err := inherited()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	// The parent alone says when to end; a signal to the terminal's processes is
	// for the parent.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGXFSZ, syscall.SIGPIPE)
	if n, err := strconv.ParseInt(env(memoryEnv), 10, 64); err == nil && n > 0 {
		debug.SetMemoryLimit(n / 2)
	}
	err = serve(context.WithoutCancel(ctx), conn, confine())
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// inherited finds the socket that a parent of the same user has left there. It
// refuses a start by hand.
func inherited() (*net.UnixConn, error) {
	refuse := func() error {
		return domain.Errorf(domain.Invalid, "this command is for Coffer itself: it starts workers with a socket").
			WithHint("see: coffer --help")
	}
	domainOf, err := unix.GetsockoptInt(socketFD, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || domainOf != unix.AF_UNIX {
		return nil, refuse()
	}
	peer, err := unix.GetsockoptUcred(socketFD, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || int(peer.Pid) != os.Getppid() || int(peer.Uid) != os.Geteuid() {
		return nil, refuse()
	}
	f := os.NewFile(socketFD, "parent")
	defer func() { _ = f.Close() }()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("the parent's socket: %w", err)
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(refuse(), c.Close())
	}
	return conn, nil
}

// confine limits this process by what any process may do to itself, and says in
// words what that was.
func confine() string {
	var did []string
	note := func(what string, err error) {
		if err == nil {
			did = append(did, what)
		} else {
			did = append(did, "no "+what+" ("+err.Error()+")")
		}
	}
	note("oom_score_adj 1000", writeFile("/proc/self/oom_score_adj", "1000"))
	note("nice 19", lowerPriority())
	note("RLIMIT_CORE 0", unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}))
	note("RLIMIT_NOFILE 256", unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: maxFiles, Max: maxFiles}))
	note("no new privileges", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	note("not dumpable", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
	did = append(did, fmt.Sprintf("GOMAXPROCS %d", runtime.GOMAXPROCS(0)))
	return strings.Join(did, ", ")
}

// maxFiles are the descriptors of a worker: three for each connection, and
// temporary files.
const maxFiles = 256

func writeFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// lowerPriority sets the niceness of each thread: Linux keeps one for each, and a
// new thread has that of the one that made it. So it is done until no new one
// appears.
func lowerPriority() error {
	for before := 0; ; {
		tasks, err := filepath.Glob("/proc/self/task/*")
		if err != nil || len(tasks) == before {
			return err
		}
		before = len(tasks)
		for _, t := range tasks {
			tid, err := strconv.Atoi(filepath.Base(t))
			if err != nil {
				return err
			}
			if err := unix.Setpriority(unix.PRIO_PROCESS, tid, niceness); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
	}
}
