package app_test

import (
	"fmt"
	"testing"
)

// BenchmarkMigrations measures a run over 100 tenants, each with 1,000 rows, of a
// migration that adds a column and an index: events, snapshot, transaction and
// all.
func BenchmarkMigrations(b *testing.B) {
	const tenants = 100
	r := serveTemp(b)
	set := []object{{"name": "0001_t.sql", "sql": `CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);
		WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 1000) INSERT INTO t SELECT i, 'row ' || i FROM n`}}
	r.must("", "PUT", "/api/v1/migrations", object{"files": set}, nil)
	for i := range tenants {
		r.must("", "POST", "/api/v1/tenants", object{"id": fmt.Sprintf("t-%03d", i), "name": "T"}, nil)
	}
	for _, parallel := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("parallel=%d", parallel), func(b *testing.B) {
			r.tb = b
			for b.Loop() {
				n := len(set) + 1
				set = append(set, object{
					"name": fmt.Sprintf("%04d_more.sql", n), "sql": fmt.Sprintf("ALTER TABLE t ADD COLUMN c%d TEXT; CREATE INDEX i%d ON t(b, c%d); UPDATE t SET c%d = b WHERE a <= 10", n, n, n, n),
				})
				r.must("", "PUT", "/api/v1/migrations", object{"files": set}, nil)
				var out struct {
					Run struct {
						ID    string `json:"id"`
						State string `json:"state"`
						Done  int    `json:"done"`
					} `json:"run"`
				}
				r.must("", "POST", "/api/v1/migrations/run", object{"canaries": 1, "parallel": parallel}, &out)
				for out.Run.State != "finished" {
					r.must("", "POST", "/api/v1/migrations/run/continue", object{"run": out.Run.ID}, &out)
				}
				if out.Run.Done != tenants {
					b.Fatalf("%d tenants were migrated", out.Run.Done)
				}
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/tenants*1000, "ms/tenant")
		})
	}
}
