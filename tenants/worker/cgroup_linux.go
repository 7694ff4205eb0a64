package worker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// cpuWeight is a worker's share of the processor against 100 of the others.
const cpuWeight = 10

// own is the cgroup below its own to which a process moves that makes others
// there: a cgroup with controllers for its children has no processes itself.
const own = "coffer-main"

// Group is a cgroup of version 2 below which each worker gets one of its own.
type Group struct {
	dir  string
	last atomic.Uint64
}

// Delegated prepares the cgroup of this process for workers. It works where
// the cgroup is this process's alone and may be written, as under systemd's
// Delegate=yes; the error says why not, and then everything is as it was.
func Delegated() (*Group, error) {
	const root = "/sys/fs/cgroup"
	var fs unix.Statfs_t
	if err := unix.Statfs(root, &fs); err != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
		return nil, errors.New("there are no cgroups of version 2 here")
	}
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	path, ok := strings.CutPrefix(strings.TrimSpace(string(b)), "0::")
	if !ok || strings.Contains(path, "\n") {
		return nil, errors.New("this process is in cgroups of version 1")
	}
	return delegated(filepath.Join(root, path))
}

func delegated(dir string) (_ *Group, err error) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return nil, err
	}
	have := strings.Fields(string(b))
	for _, c := range []string{"cpu", "memory"} {
		if !slices.Contains(have, c) {
			return nil, fmt.Errorf("the controller %s is not there for this cgroup", c)
		}
	}
	main := filepath.Join(dir, own)
	if err := os.Mkdir(main, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	pid := strconv.Itoa(os.Getpid())
	if err := writeFile(filepath.Join(main, "cgroup.procs"), pid); err != nil {
		return nil, errors.Join(err, os.Remove(main))
	}
	if err := writeFile(filepath.Join(dir, "cgroup.subtree_control"), "+cpu +memory"); err != nil {
		back := writeFile(filepath.Join(dir, "cgroup.procs"), pid)
		return nil, errors.Join(fmt.Errorf("the cgroup is not Coffer's alone: %w", err), back, os.Remove(main))
	}
	return &Group{dir: dir}, nil
}

// enter makes a cgroup with limits and has the process be started in it.
func (g *Group) enter(attr *syscall.SysProcAttr, memory int64) (leave func(), err error) {
	dir := filepath.Join(g.dir, fmt.Sprintf("coffer-worker-%d-%d", os.Getpid(), g.last.Add(1)))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	leave = func() { _ = os.Remove(dir) } // it is empty once the process is gone
	for _, s := range [][2]string{
		{"cpu.weight", strconv.Itoa(cpuWeight)},
		{"memory.max", strconv.FormatInt(memory, 10)},
		{"memory.oom.group", "1"},
	} {
		if err := writeFile(filepath.Join(dir, s[0]), s[1]); err != nil {
			leave()
			return nil, err
		}
	}
	_ = writeFile(filepath.Join(dir, "memory.swap.max"), "0") // there may be no swap to speak of
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		leave()
		return nil, err
	}
	attr.UseCgroupFD, attr.CgroupFD = true, fd
	return leave, nil
}
