package app_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coffer/app"
)

// BenchmarkFleet makes 10,000 tenants in the real binary, writes and reads a row in
// each, and says what that takes: run it with -benchtime 1x. COFFER_FLEET is
// another number of tenants.
func BenchmarkFleet(b *testing.B) {
	fleet := 10_000
	if text := os.Getenv("COFFER_FLEET"); text != "" {
		if _, err := fmt.Sscan(text, &fleet); err != nil {
			b.Fatal(err)
		}
	}
	binary := filepath.Join(b.TempDir(), "coffer")
	if out, err := exec.Command("go", "build", "-o", binary, "..").CombinedOutput(); err != nil {
		b.Fatalf("building: %v: %s", err, out)
	}
	for range b.N {
		data := b.TempDir()
		stop, pid := start(b, binary, data)
		r := &running{tb: b, data: data, client: app.SocketClient(data)}
		files := watchDescriptors(b, pid)
		each := func(what string, call func(base string, i int)) {
			begun := time.Now()
			var next atomic.Int64
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for i := int(next.Add(1)); i <= fleet; i = int(next.Add(1)) {
						call(fmt.Sprintf("/api/v1/tenants/t%d-x", i), i)
					}
				})
			}
			wg.Wait()
			b.ReportMetric(time.Since(begun).Seconds(), "s/"+what)
		}
		each("create", func(base string, i int) {
			r.must("", "POST", "/api/v1/tenants", object{"id": fmt.Sprintf("t%d-x", i), "name": "x"}, nil)
		})
		b.ReportMetric(float64(resident(b, pid))/(1<<20), "MB-after-create")
		each("write", func(base string, i int) {
			r.must("", "POST", base+"/sql", object{"sql": "CREATE TABLE t AS SELECT 1 AS a"}, nil)
		})
		each("read", func(base string, _ int) {
			r.must("", "POST", base+"/sql", object{"sql": "SELECT a FROM t"}, nil)
		})
		b.ReportMetric(float64(resident(b, pid))/(1<<20), "MB-after-all")
		b.ReportMetric(float64(files()), "descriptors")
		stop()
		b.ReportMetric(float64(diskUse(b, data))/(1<<20), "MB-disk")
		begun := time.Now()
		stop, _ = start(b, binary, data)
		b.ReportMetric(float64(time.Since(begun).Milliseconds()), "ms/start")
		stop()
	}
}

// watchDescriptors looks every few milliseconds how many files a process has open,
// until most is called, which gives the most that it had. Below the pool's bound
// that number changes slowly: files are closed only to make room for others.
func watchDescriptors(b *testing.B, pid int) (most func() int) {
	seen, done, stopped := 0, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
			if err != nil {
				b.Error(err)
				return
			}
			seen = max(seen, len(list))
			select {
			case <-tick.C:
			case <-done:
				tick.Stop()
				return
			}
		}
	}()
	return func() int {
		close(done)
		<-stopped
		return seen
	}
}

// diskUse is what a directory's files hold, in bytes.
func diskUse(b *testing.B, dir string) (n int64) {
	b.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".sock") {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}
