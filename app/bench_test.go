package app_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"coffer/app"
)

// callers runs a benchmark at 1 and at 16 callers.
func callers(b *testing.B, r *running, what string, call func(n int64)) {
	for _, n := range []int{1, 16} {
		b.Run(fmt.Sprintf("%s/callers=%d", what, n), func(b *testing.B) {
			r.tb = b
			var count atomic.Int64
			if n == 1 {
				for b.Loop() {
					call(count.Add(1))
				}
				return
			}
			b.SetParallelism(max(1, n/runtime.GOMAXPROCS(0)))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					call(count.Add(1))
				}
			})
		})
	}
}

// BenchmarkSocket measures whole requests over the local socket: parse,
// authenticate, authorize, log durably, act, answer.
func BenchmarkSocket(b *testing.B) {
	r := serveTemp(b)
	r.tenant("acme")
	const base = "/api/v1/tenants/acme"
	for i := range 1000 {
		r.must("", "POST", base+"/sql", object{"sql": "INSERT INTO t(a, b) VALUES (?, ?)", "args": []any{i, "row"}}, nil)
	}
	var inserted atomic.Int64
	inserted.Store(1 << 20)
	callers(b, r, "secret-read", func(int64) { r.must("", "GET", base+"/secret?path=stripe/live", nil, nil) })
	callers(b, r, "secret-write", func(n int64) {
		r.must("", "PUT", fmt.Sprintf("%s/secret?path=bench/%d", base, n%100), object{"data": object{"key": "value"}}, nil)
	})
	callers(b, r, "token-issue", func(int64) { r.issue("acme", object{"role": "analyst"}) })
	callers(b, r, "sql-read", func(n int64) {
		r.must("", "POST", base+"/sql", object{"sql": "SELECT b FROM t WHERE a = ?", "args": []any{n % 1000}}, nil)
	})
	callers(b, r, "sql-insert", func(int64) {
		r.must("", "POST", base+"/sql", object{"sql": "INSERT INTO t(a, b) VALUES (?, ?)", "args": []any{inserted.Add(1), "row"}}, nil)
	})
}

// BenchmarkTLS measures the same requests over the port, from a process of their
// own to the real binary, with a token, on 1, 16 and 64 connections.
func BenchmarkTLS(b *testing.B) {
	data := shortDir(b)
	d, err := launch(data, os.Environ(), "--data", data, "--seal", "keyfile", "--listen", "127.0.0.1:0")
	if err == nil {
		err = d.awaitReady()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(d.kill)
	local := &running{tb: b, data: data, client: app.SocketClient(data)}
	local.tenant("acme")
	const base = "/api/v1/tenants/acme"
	for i := range 1000 {
		local.must("", "POST", base+"/sql", object{"sql": "INSERT INTO t(a, b) VALUES (?, ?)", "args": []any{i, "row"}}, nil)
	}
	token := local.issue("acme", object{"role": "owner"})
	var count atomic.Int64
	count.Store(1 << 20)
	for _, tc := range []struct {
		what string
		call func(r *running, n int64)
	}{
		{"secret-read", func(r *running, _ int64) { r.must(token, "GET", base+"/secret?path=stripe/live", nil, nil) }},
		{"secret-write", func(r *running, n int64) {
			r.must(token, "PUT", fmt.Sprintf("%s/secret?path=bench/%d", base, n%100), object{"data": object{"key": "value"}}, nil)
		}},
		{"token-issue", func(r *running, _ int64) {
			r.must(token, "POST", base+"/tokens", object{"role": "analyst", "ttl": "1m"}, nil)
		}},
		{"sql-read", func(r *running, n int64) {
			r.must(token, "POST", base+"/sql", object{"sql": "SELECT b FROM t WHERE a = ?", "args": []any{n % 1000}}, nil)
		}},
		{"sql-insert", func(r *running, n int64) {
			r.must(token, "POST", base+"/sql", object{"sql": "INSERT INTO t(a, b) VALUES (?, ?)", "args": []any{n, "row"}}, nil)
		}},
	} {
		for _, n := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/connections=%d", tc.what, n), func(b *testing.B) {
				r := remote(b, d, n)
				var next atomic.Int64
				next.Store(int64(b.N))
				var wg sync.WaitGroup
				b.ResetTimer()
				for range n {
					wg.Go(func() {
						for next.Add(-1) >= 0 {
							tc.call(r, count.Add(1))
						}
					})
				}
				wg.Wait()
			})
		}
	}
}

// remote is a client of the port of a served Coffer, with so many connections.
func remote(tb testing.TB, d *served, connections int) *running {
	tb.Helper()
	url, data := readyLine(tb, d, "url"), readyLine(tb, d, "data")
	pem, err := os.ReadFile(filepath.Join(data, "ca.crt"))
	if err != nil {
		tb.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &running{tb: tb, data: data, base: strings.TrimSuffix(url, "/"), client: &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections,
	}}}
}

// readyLine is a value of the ready block.
func readyLine(tb testing.TB, d *served, name string) string {
	tb.Helper()
	for line := range strings.Lines(d.out.String()) {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSpace(v)
		}
	}
	tb.Fatalf("there is no %q in the ready block", name)
	return ""
}

// BenchmarkTenantCreate measures a whole tenant: keys, file, record, log.
func BenchmarkTenantCreate(b *testing.B) {
	r := serveTemp(b)
	for n := 0; b.Loop(); n++ {
		r.must("", "POST", "/api/v1/tenants", object{"id": fmt.Sprintf("t%d-x", n), "name": "x"}, nil)
	}
}

// BenchmarkColdStart measures the real binary from exec to its ready block, and
// the memory it then holds, with 0 and with 1,000 tenants.
func BenchmarkColdStart(b *testing.B) {
	binary := filepath.Join(b.TempDir(), "coffer")
	if out, err := exec.Command("go", "build", "-o", binary, "..").CombinedOutput(); err != nil {
		b.Fatalf("building: %v: %s", err, out)
	}
	for _, tenants := range []int{0, 1000} {
		b.Run(fmt.Sprintf("tenants=%d", tenants), func(b *testing.B) {
			data := b.TempDir()
			stop, _ := start(b, binary, data)
			r := &running{tb: b, data: data, client: app.SocketClient(data)}
			for i := range tenants {
				r.must("", "POST", "/api/v1/tenants", object{"id": fmt.Sprintf("t%d-x", i), "name": "x"}, nil)
			}
			stop()
			var total time.Duration
			var rss int64
			runs := 0
			for b.Loop() {
				begun := time.Now()
				stop, pid := start(b, binary, data)
				total += time.Since(begun)
				runs++
				rss = max(rss, resident(b, pid))
				stop()
			}
			b.ReportMetric(float64(total.Milliseconds())/float64(runs), "ms/start")
			b.ReportMetric(float64(rss)/(1<<20), "MB-resident")
		})
	}
}

// start runs the binary until it says that it is ready.
func start(b *testing.B, binary, data string) (stop func(), pid int) {
	b.Helper()
	cmd := exec.Command(binary, "serve", "--data", data, "--seal", "keyfile")
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "version:") {
	}
	return func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			b.Errorf("stopping: %v", err)
		}
	}, cmd.Process.Pid
}

// resident is a process's resident memory in bytes (proc(5)).
func resident(b *testing.B, pid int) int64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			kb, err := strconv.ParseInt(strings.Fields(string(rest))[0], 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return kb << 10
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
