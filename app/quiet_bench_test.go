package app_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coffer/app"
)

// How BenchmarkQuietTenant asks: as many requests a second, whether the last
// ones were answered or not, for so long.
const (
	quietRate = 50
	quietTime = 10 * time.Second
)

// loud is what a loud tenant does, on so many connections without a pause.
type loud struct {
	what        string
	connections int
	sql         func(n int) string
	tenant      string
}

const numbers = `WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < %d) `

var louds = []loud{
	{"nothing", 0, nil, ""},
	{"endless-joins", 8, func(n int) string {
		return fmt.Sprintf(`SELECT count(*) FROM big a, big b, big c WHERE a.n + b.n + c.n = %d`, -n)
	}, "loud"},
	{"short-joins", 8, func(n int) string { // each of some 10 ms
		return fmt.Sprintf(`SELECT count(*) FROM big a, big b WHERE a.n < 2 AND a.n + b.n = %d`, -n)
	}, "loud"},
	{"inserts", 8, func(n int) string { return fmt.Sprintf(`INSERT INTO flood VALUES (%d, 'row')`, n) }, "loud"},
	{"mass-changes", 4, func(n int) string {
		return fmt.Sprintf(numbers, 100_000) + fmt.Sprintf(`INSERT INTO flood SELECT n, 'row %d' FROM c`, n)
	}, "loud"},
	{"huge-results", 4, func(int) string { return `SELECT n, s FROM big LIMIT 9000` }, "loud"},
	{"memory-bombs", 8, func(int) string { // 54 MB in one row
		return "SELECT " + strings.Repeat("hex(zeroblob(300000)), ", 90) + "1"
	}, "loud"},
	{"huge-results-isolated", 4, func(int) string { return `SELECT n, s FROM big LIMIT 9000` }, "caged"},
	{"endless-joins-isolated", 8, func(n int) string {
		return fmt.Sprintf(`SELECT count(*) FROM big a, big b, big c WHERE a.n + b.n + c.n = %d`, -n)
	}, "caged"},
	{"mass-changes-isolated", 4, func(n int) string {
		return fmt.Sprintf(numbers, 100_000) + fmt.Sprintf(`INSERT INTO flood SELECT n, 'row %d' FROM c`, n)
	}, "caged"},
}

// BenchmarkQuietTenant measures the point reads of a quiet tenant, sent at a fixed
// rate to the real binary in a process of its own over TLS, while another tenant
// does each of the loud things. A request's time counts from when it was due.
// docs/performance.md has the table.
func BenchmarkQuietTenant(b *testing.B) {
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
	for _, id := range []string{"quiet", "loud", "caged"} {
		local.must("", "POST", "/api/v1/tenants", object{"id": id, "name": id}, nil)
		for _, sql := range []string{
			`CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)`, `CREATE TABLE flood(n, s)`, `CREATE TABLE big(n INTEGER PRIMARY KEY, s TEXT)`,
			fmt.Sprintf(numbers, 1000) + `INSERT INTO t SELECT n, 'row ' || n FROM c`,
			fmt.Sprintf(numbers, 10_000) + `INSERT INTO big SELECT n, hex(zeroblob(500)) FROM c`,
		} {
			local.must("", "POST", "/api/v1/tenants/"+id+"/sql", object{"sql": sql}, nil)
		}
	}
	local.must("", "POST", "/api/v1/tenants/caged/isolate", object{"isolation": "process"}, nil)
	tokens := map[string]string{}
	for _, id := range []string{"quiet", "loud", "caged"} {
		tokens[id] = local.issue(id, object{"role": "owner"})
	}
	for _, l := range louds {
		b.Run(l.what, func(b *testing.B) {
			for b.Loop() {
				stop := l.start(b, d, tokens[l.tenant])
				times := openLoop(b, remote(b, d, 0), tokens["quiet"])
				ok, refused := stop()
				b.ReportMetric(float64(ok)/quietTime.Seconds(), "loud/s")
				b.ReportMetric(float64(refused)/quietTime.Seconds(), "refused/s")
				slices.Sort(times)
				for name, share := range map[string]float64{"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1} {
					at := min(len(times)-1, int(share*float64(len(times))))
					b.ReportMetric(float64(times[at].Microseconds())/1000, name+"-ms")
				}
			}
		})
	}
}

// loudEnv tells the test binary that it is the clients of a loud tenant: which one
// of louds, where Coffer is, its authority and the token.
const loudEnv = "COFFER_TEST_LOUD"

// start has the loud tenant begin, from a process of its own at the lowest
// priority, since such clients are on other machines. stop ends it and counts what was
// answered.
func (l loud) start(b *testing.B, d *served, token string) (stop func() (ok, refused int)) {
	if l.connections == 0 {
		return func() (int, int) { return 0, 0 }
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("nice", "-n", "19", self)
	cmd.Env = append(os.Environ(), strings.Join([]string{loudEnv + "=" + l.what, readyLine(b, d, "url"), filepath.Join(readyLine(b, d, "data"), "ca.crt"), token}, " "))
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	time.Sleep(time.Second) // it is under way
	return func() (ok, refused int) {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
		if _, err := fmt.Sscan(out.String(), &ok, &refused); err != nil {
			b.Errorf("%q: %v", out.String(), err)
		}
		return ok, refused
	}
}

// beLoud is the process that start starts. It ends with its input.
func beLoud(env string) error {
	var what, url, ca, token string
	if _, err := fmt.Sscan(env, &what, &url, &ca, &token); err != nil {
		return err
	}
	l := louds[slices.IndexFunc(louds, func(l loud) bool { return l.what == what })]
	pem, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: l.connections}}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }()
	var ok, refused atomic.Int64
	var wg sync.WaitGroup
	for i := range l.connections {
		wg.Go(func() {
			for n := i + 1; ctx.Err() == nil; n += l.connections {
				body := fmt.Sprintf(`{"sql":%q}`, l.sql(n))
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(url, "/")+"/api/v1/tenants/"+l.tenant+"/sql", strings.NewReader(body))
				if err != nil {
					panic(err)
				}
				req.Header.Set("Authorization", "Bearer "+token)
				req.Header.Set("Content-Type", "application/json")
				resp, err := client.Do(req)
				if err != nil {
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					ok.Add(1)
				} else {
					refused.Add(1)
				}
			}
		})
	}
	wg.Wait()
	fmt.Println(ok.Load(), refused.Load())
	return nil
}

// openLoop sends the quiet tenant's requests when they are due.
func openLoop(b *testing.B, r *running, token string) []time.Duration {
	r.client.Transport.(*http.Transport).MaxIdleConnsPerHost = quietRate
	var mu sync.Mutex
	var wg sync.WaitGroup
	var times []time.Duration
	begin := time.Now()
	for i := range int(quietTime.Seconds() * quietRate) {
		due := begin.Add(time.Duration(i) * time.Second / quietRate)
		time.Sleep(time.Until(due))
		wg.Go(func() {
			a := r.do(token, "POST", "/api/v1/tenants/quiet/sql", object{"sql": "SELECT b FROM t WHERE a = ?", "args": []any{1 + i%1000}})
			took := time.Since(due)
			if a.status != http.StatusOK {
				b.Errorf("a quiet request: %d %s", a.status, a.body)
			}
			mu.Lock()
			defer mu.Unlock()
			times = append(times, took)
		})
	}
	wg.Wait()
	return times
}
