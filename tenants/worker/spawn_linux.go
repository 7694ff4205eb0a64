package worker

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// spawn starts the process with its end of the socket.
func (p *Process) spawn(o Options) error {
	ours, theirs, err := pair()
	if err != nil {
		return err
	}
	defer func() { _ = theirs.Close() }()
	p.conn = ours
	command := o.Command
	if command == nil {
		command = []string{"/proc/self/exe", "worker"} // the binary that runs, even if it was replaced
	}
	p.cmd = exec.Command(command[0], command[1:]...)
	p.cmd.Env = append([]string{"GOMAXPROCS=1", "GOTRACEBACK=none", memoryEnv + "=" + strconv.FormatInt(o.Memory, 10)}, o.Env...)
	p.cmd.Dir = "/"
	p.cmd.ExtraFiles = []*os.File{theirs}
	p.cmd.Stderr = &firstLine{}
	// Its own process group: what a terminal sends is for the parent, which
	// closes it in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if o.Group != nil {
		leave, err := o.Group.enter(p.cmd.SysProcAttr, o.Memory)
		if err != nil {
			return errors.Join(err, ours.Close())
		}
		defer func() { _ = unix.Close(p.cmd.SysProcAttr.CgroupFD) }()
		p.leave = leave
	}
	p.confined = o.Describe()
	if err := keepFiles(); err != nil {
		p.leave()
		return errors.Join(err, ours.Close())
	}
	if err := p.cmd.Start(); err != nil {
		p.leave()
		return errors.Join(err, ours.Close())
	}
	return nil
}

// keepFiles keeps this process's files from the processes that it starts. Go's own
// are so marked; what whoever started it left open is not.
func keepFiles() error {
	const first, last = 3, math.MaxInt32
	if err := unix.CloseRange(first, last, unix.CLOSE_RANGE_CLOEXEC); !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
		return err
	}
	fds, err := os.ReadDir("/proc/self/fd") // Linux before 5.11
	for _, fd := range fds {
		if n, err := strconv.Atoi(fd.Name()); err == nil && n >= first {
			unix.CloseOnExec(n)
		}
	}
	return err
}

// Describe says in words what the parent does to limit a worker.
func (o Options) Describe() string {
	memory := cmp.Or(o.Memory, DefaultMemory) >> 20
	watched := fmt.Sprintf("killed above %d MiB of resident memory, looked at every %v", memory, watchEvery)
	if o.Group != nil {
		return fmt.Sprintf("a cgroup with cpu.weight %d and memory.max %d MiB; %s", cpuWeight, memory, watched)
	}
	if o.Why != "" {
		return "no cgroup (" + o.Why + "); " + watched
	}
	return "no cgroup; " + watched
}

// pair makes a socket with two ends.
func pair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	mine := os.NewFile(uintptr(fds[0]), "worker")
	theirs = os.NewFile(uintptr(fds[1]), "parent")
	defer func() { _ = mine.Close() }()
	c, err := net.FileConn(mine)
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	ours, ok := c.(*net.UnixConn)
	if !ok {
		return nil, nil, errors.Join(errors.New("not a unix socket"), c.Close(), theirs.Close())
	}
	return ours, theirs, nil
}

// watchEvery is how often the memory of a worker is looked at while it works.
const watchEvery = 25 * time.Millisecond

// watch ends the process when it has more memory than it may have.
func (p *Process) watch(most int64) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	statm := fmt.Sprintf("/proc/%d/statm", p.PID())
	for {
		select {
		case <-p.ended:
			return
		case <-tick.C:
		}
		if p.calls.Load() == 0 {
			continue
		}
		if n, err := resident(statm); err == nil && n > most {
			p.end(fmt.Errorf("it had %d bytes of memory, more than the %d that it may have: %w", n, most, ErrOwnFault))
			return
		}
	}
}

// resident reads the resident bytes of a process from its statm (proc(5)).
func resident(statm string) (int64, error) {
	b, err := os.ReadFile(statm)
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0, errors.New("statm is too short")
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// Resident is the resident memory of the process in bytes, 0 if it is gone.
func (p *Process) Resident() int64 {
	n, err := resident(fmt.Sprintf("/proc/%d/statm", p.PID()))
	if err != nil {
		return 0
	}
	return n
}

// firstLine keeps the beginning of what a process writes, for the reason of its
// end. What follows can hold anything that was in memory.
type firstLine struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write keeps what is of the first line.
func (f *firstLine) Write(b []byte) (int, error) {
	const most = 200
	f.mu.Lock()
	defer f.mu.Unlock()
	if room := most - f.buf.Len(); room > 0 {
		f.buf.Write(b[:min(room, len(b))])
	}
	return len(b), nil
}

// String is the first line.
func (f *firstLine) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	line, _, _ := strings.Cut(f.buf.String(), "\n")
	return strings.TrimSpace(line)
}
