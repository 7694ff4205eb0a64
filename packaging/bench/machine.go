package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// printFlush measures what no durable change can do without: one flush of a
// page to the disk on which the data will be.
func printFlush(dir string) error {
	f, err := os.CreateTemp(dir, "flush-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	const pages, size = 2000, 8 << 10
	page := make([]byte, size)
	for i := range pages {
		if _, err := f.WriteAt(page, int64(i)*size); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	var times []time.Duration
	for i := range pages {
		began := time.Now()
		if _, err := f.WriteAt(page, int64(i)*size); err != nil {
			return err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return err
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	fmt.Printf("one fdatasync of 8 KiB into a file of that size: p50 %s ms, p99 %s ms\n", ms(times[pages/2]), ms(times[pages*99/100]))
	return nil
}

// tick is the unit of the times in /proc (proc(5)); Linux shows the same one to
// programs on every machine.
const tick = time.Second / 100

// processorTime is what the processes of a system used so far, those that ended
// included.
func processorTime(s system) (sum time.Duration, err error) {
	pids, err := s.Processes()
	if err != nil {
		return 0, err
	}
	for i, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it ended, and its parent has its time
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)[11:15] // utime stime cutime cstime
		if i > 0 {
			fields = fields[:2] // what a parent waited for stands with the first
		}
		for _, field := range fields {
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0, err
			}
			sum += time.Duration(n) * tick
		}
	}
	return sum, nil
}

// others watches what processes use that are no part of the measurement.
type others struct {
	systems []system
	busy    time.Duration
	own     time.Duration
}

// watchOthers begins to watch.
func watchOthers(systems []system) (o others, err error) {
	o.systems = systems
	o.busy, o.own, err = o.now()
	return o, err
}

// used is what others used since.
func (o others) used() (time.Duration, error) {
	busy, own, err := o.now()
	return busy - o.busy - (own - o.own), err
}

// now gives the time that all processors were busy, and for this process and all
// systems.
func (o others) now() (busy, own time.Duration, err error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	for i, field := range strings.Fields(line)[1:8] { // user nice system idle iowait irq softirq
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, 0, err
		}
		if i != 3 && i != 4 {
			busy += time.Duration(n) * tick
		}
	}
	var self syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &self); err != nil {
		return 0, 0, err
	}
	own = time.Duration(self.Utime.Nano() + self.Stime.Nano())
	for _, s := range o.systems {
		used, err := processorTime(s)
		if err != nil {
			return 0, 0, err
		}
		own += used
	}
	return busy, own, nil
}

// withChildren are a process and its children, the process first.
func withChildren(parent int) ([]int, error) {
	pids := []int{parent}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it ended
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				return nil, err
			}
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// printMemory prints the row of a system: its resident memory, and its
// proportional one, in which pages that several processes share count once.
func printMemory(s system) error {
	pids, err := s.Processes()
	if err != nil {
		return err
	}
	var resident, proportional int64
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 2 {
				continue
			}
			kib, _ := strconv.ParseInt(fields[1], 10, 64) // other lines have words there
			switch fields[0] {
			case "Rss:":
				resident += kib
			case "Pss:":
				proportional += kib
			}
		}
	}
	fmt.Printf("| %s | %d MB | %d MB | %d |\n", s.Name(), resident>>10, proportional>>10, len(pids))
	return nil
}

// printDisk prints the row of a system: what its files take up on the disk.
func printDisk(s system, each time.Duration) error {
	dir, log := s.Data()
	all, err := diskUse(dir)
	if err != nil {
		return err
	}
	logs, err := diskUse(log)
	if err != nil {
		return err
	}
	fmt.Printf("| %s | %s ms | %d MB | %d MB |\n", s.Name(), ms(each), all>>20, logs>>20)
	return nil
}

// diskUse is what the files under a directory take up, in bytes.
func diskUse(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			n += stat.Blocks * 512
		}
		return nil
	})
	return n, err
}
