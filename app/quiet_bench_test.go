package app_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
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
	{"short-joins", 8, func(n int) string { // each of some milliseconds
		return fmt.Sprintf(`SELECT count(*) FROM big a, big b WHERE a.n < 8 AND a.n + b.n = %d`, -n)
	}, "loud"},
	{"inserts", 8, func(n int) string { return fmt.Sprintf(`INSERT INTO flood VALUES (%d, 'row')`, n) }, "loud"},
	{"mass-changes", 4, func(n int) string {
		return fmt.Sprintf(numbers, 100_000) + fmt.Sprintf(`INSERT INTO flood SELECT n, 'row %d' FROM c`, n)
	}, "loud"},
	{"huge-results", 4, func(int) string { return `SELECT n, s FROM big LIMIT 9000` }, "loud"},
	{"memory-bombs", 8, func(n int) string {
		return fmt.Sprintf(numbers, 2000) + fmt.Sprintf(`SELECT max(length(group_concat(x))) FROM (SELECT n %% 120 AS k, hex(randomblob(200000 + %d %% 7)) AS x FROM c) GROUP BY k`, n)
	}, "loud"},
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
				stop, done := l.start(b, remote(b, d, max(1, l.connections)), tokens[l.tenant])
				times := openLoop(b, remote(b, d, 0), tokens["quiet"])
				b.ReportMetric(float64(stop())/quietTime.Seconds(), "loud/s")
				done()
				slices.Sort(times)
				for name, share := range map[string]float64{"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1} {
					at := min(len(times)-1, int(share*float64(len(times))))
					b.ReportMetric(float64(times[at].Microseconds())/1000, name+"-ms")
				}
			}
		})
	}
}

// start has the loud tenant begin. stop counts what was answered and ends it; done
// waits for that.
func (l loud) start(b *testing.B, r *running, token string) (stop func() int, done func()) {
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	answered := 0
	for i := range l.connections {
		wg.Go(func() {
			for n := i + 1; ctx.Err() == nil; n += l.connections {
				body := fmt.Sprintf(`{"sql":%q}`, l.sql(n))
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.base+"/api/v1/tenants/"+l.tenant+"/sql", strings.NewReader(body))
				if err != nil {
					b.Error(err)
					return
				}
				req.Header.Set("Authorization", "Bearer "+token)
				req.Header.Set("Content-Type", "application/json")
				resp, err := r.client.Do(req)
				if err != nil {
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				mu.Lock()
				answered++
				mu.Unlock()
			}
		})
	}
	if l.connections > 0 {
		time.Sleep(time.Second) // it is under way
	}
	return func() int { cancel(); mu.Lock(); defer mu.Unlock(); return answered }, wg.Wait
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
