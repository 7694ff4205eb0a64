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
		var files atomic.Int64 // the most descriptors that were open
		each := func(what string, call func(base string, i int)) {
			begun := time.Now()
			var next atomic.Int64
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for i := int(next.Add(1)); i <= fleet; i = int(next.Add(1)) {
						call(fmt.Sprintf("/api/v1/tenants/t%d-x", i), i)
						if i%500 == 0 {
							files.Store(max(files.Load(), int64(descriptors(b, pid))))
						}
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
		b.ReportMetric(float64(files.Load()), "descriptors")
		stop()
		b.ReportMetric(float64(diskUse(b, data))/(1<<20), "MB-disk")
		begun := time.Now()
		stop, _ = start(b, binary, data)
		b.ReportMetric(float64(time.Since(begun).Milliseconds()), "ms/start")
		stop()
	}
}

// descriptors is how many files a process has open.
func descriptors(b *testing.B, pid int) int {
	b.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		b.Fatal(err)
	}
	return len(list)
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
