package tenants_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"coffer/app/authz"
	"coffer/tenants"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
)

const (
	benchSchema = `CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, score REAL)`
	benchRows   = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) INSERT INTO t SELECT i, 'name ' || i, i / 3.0 FROM n`
	benchRead   = `SELECT name, score FROM t WHERE id = ?`
	benchInsert = `INSERT INTO t(name, score) VALUES ('something', 1.5)`
)

// runner runs a statement as a caller of the pool, or of a plain file, does.
type runner func(ctx context.Context, write bool, sql string, args ...sqlite.Value) error

// pooled is the whole way through the pool, on an encrypted file. The audit
// event, which a request has besides, is measured in package audit.
func pooled(b *testing.B) runner {
	k := newKit(b, 0)
	k.tenant(b, "acme")
	k.mustExec(b, "acme", benchSchema)
	k.mustExec(b, "acme", benchRows)
	read, write := k.permit(b, "acme", authz.SQLQuery, ""), k.intend(b, "acme", authz.SQLWrite, "")
	return func(ctx context.Context, change bool, sql string, args ...sqlite.Value) (err error) {
		if change {
			_, err = k.pool.Exec(ctx, write, guard.Request{SQL: sql, Args: args}, guard.Sink{})
		} else {
			_, err = k.pool.Query(ctx, read, guard.Request{SQL: sql, Args: args}, guard.Sink{})
		}
		return err
	}
}

// plain is the same guard on an unencrypted file, with a writer and as many
// readers as the pool gives a tenant, and nothing besides.
func plain(b *testing.B) runner {
	path := filepath.Join(b.TempDir(), "plain.db")
	open := func(mode sqlite.Mode, role guard.Role) *guard.Guard {
		c, err := sqlite.Open("file:"+path, sqlite.Options{Mode: mode})
		must(b, err)
		b.Cleanup(func() { _ = c.Close() })
		if mode == sqlite.Create {
			must(b, c.Exec(b.Context(), "PRAGMA journal_mode = WAL; "+benchSchema+";"+benchRows))
		}
		must(b, c.Exec(b.Context(), "PRAGMA synchronous = FULL; PRAGMA cache_size = -1024"))
		g, err := guard.New(b.Context(), c, role, guard.Limits{})
		must(b, err)
		return g
	}
	writer, readers := make(chan *guard.Guard, 1), make(chan *guard.Guard, tenants.ReadersPerTenant)
	writer <- open(sqlite.Create, guard.Writer)
	for range cap(readers) {
		readers <- open(sqlite.ReadOnly, guard.Reader)
	}
	return func(ctx context.Context, change bool, sql string, args ...sqlite.Value) error {
		turn := readers
		if change {
			turn = writer
		}
		g := <-turn
		defer func() { turn <- g }()
		_, err := g.Stream(ctx, guard.Request{SQL: sql, Args: args}, guard.Sink{})
		return err
	}
}

func benchmark(b *testing.B, do func(i int, run runner) error) {
	for _, c := range []struct {
		name string
		make func(*testing.B) runner
	}{{"pool", pooled}, {"plain", plain}} {
		for _, callers := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/%d", c.name, callers), func(b *testing.B) {
				run := c.make(b)
				b.ReportAllocs()
				if callers == 1 {
					for i := 0; b.Loop(); i++ {
						must(b, do(i, run))
					}
					return
				}
				b.SetParallelism(callers / 2) // on two cores
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for i := 0; pb.Next(); i++ {
						if err := do(i, run); err != nil {
							b.Error(err)
						}
					}
				})
			})
		}
	}
}

func BenchmarkPointRead(b *testing.B) {
	benchmark(b, func(i int, run runner) error {
		return run(context.Background(), false, benchRead, sqlite.Int(int64(i%10000+1)))
	})
}

func BenchmarkInsert(b *testing.B) {
	benchmark(b, func(_ int, run runner) error { return run(context.Background(), true, benchInsert) })
}

func BenchmarkCreate(b *testing.B) {
	k := newKit(b, 0)
	p := k.intend(b, "", authz.TenantCreate, "acme")
	for b.Loop() {
		_, err := k.v.CreateTenant(b.Context(), p, "acme")
		must(b, err)
		must(b, k.pool.Create(b.Context(), p, "acme"))
	}
}

// What a tenant's first statement costs after its file was evicted.
func BenchmarkOpenFile(b *testing.B) {
	k := newKit(b, 0)
	k.tenant(b, "acme")
	p := k.permit(b, "acme", authz.SQLQuery, "")
	for b.Loop() {
		must(b, k.pool.Bar(b.Context(), "acme"))
		k.pool.Admit("acme")
		_, err := k.pool.Query(b.Context(), p, guard.Request{SQL: "SELECT 1"}, guard.Sink{})
		must(b, err)
	}
}
