package app_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const migrationsAPI = "/api/v1/migrations"

// begun begins a run and gives its id.
func (r *running) begun(in object) string {
	r.tb.Helper()
	var out struct {
		Run struct {
			ID string `json:"id"`
		} `json:"run"`
	}
	r.must("", "POST", migrationsAPI+"/run", in, &out)
	return out.Run.ID
}

// TestRunHasOneDriver: a run that was replaced, that ended, or that never was is
// not gone on with.
func TestRunHasOneDriver(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.tenant("globex")
	next := func(run string) answer {
		return r.do("", "POST", migrationsAPI+"/run/continue", object{"run": run})
	}
	if a := next("mr_none"); a.status != http.StatusConflict {
		t.Errorf("no run: %d %s", a.status, a.body)
	}
	r.must("", "PUT", migrationsAPI, migrationFiles(1), nil)
	first := r.begun(object{})
	second := r.begun(object{"canary": []string{"globex"}})
	if a := next(first); a.status != http.StatusConflict || !strings.Contains(string(a.body), "another run was begun since") {
		t.Errorf("the run before: %d %s", a.status, a.body)
	}
	// Several at once: each tenant is brought there once, whoever does it.
	var drivers sync.WaitGroup
	for range 8 {
		drivers.Go(func() {
			for next(second).status == http.StatusOK {
			}
		})
	}
	drivers.Wait()
	for next(second).status == http.StatusOK {
	}
	for _, id := range []string{"acme", "globex"} {
		var out struct{ Number, Pending int }
		r.must("", "GET", "/api/v1/tenants/"+id+"/migrations", nil, &out)
		if out.Number != 1 || out.Pending != 0 {
			t.Errorf("%s: %+v", id, out)
		}
		var log struct {
			Events []struct{ Type, Outcome string }
		}
		r.must("", "GET", "/api/v1/tenants/"+id+"/audit?action=migration.apply", nil, &log)
		if len(log.Events) != 2 {
			t.Errorf("%s: %+v", id, log)
		}
	}
	if a := next(second); a.status != http.StatusConflict || !strings.Contains(string(a.body), "the run is finished") {
		t.Errorf("a finished run: %d %s", a.status, a.body)
	}
}

// TestRunEndsWithItsOperator: who is an operator no more goes on with nothing, and
// a proof that is too old begins none.
func TestRunEndsWithItsOperator(t *testing.T) {
	p := servePeople(t)
	p.tenant("acme")
	olga := p.operator("olga")
	code := p.nextCode(olga)
	p.want(200, "fresh", olga.Session, "POST", "/api/v1/sessions/step-up", object{"code": code})
	p.want(200, "0001", olga.Session, "PUT", migrationsAPI, migrationFiles(1))
	var out struct {
		Run struct{ ID string } `json:"run"`
	}
	p.must(olga.Session, "POST", migrationsAPI+"/run", object{}, &out)
	p.clock.pass(6 * time.Minute)
	p.want(403, "step_up", olga.Session, "POST", migrationsAPI+"/run", object{})
	p.want(403, "step_up", olga.Session, "PUT", migrationsAPI, migrationFiles(2))
	p.want(403, "step_up", olga.Session, "POST", "/api/v1/tenants/acme/migrations/apply", object{})
	token := p.issue("acme", object{}) // of an owner
	p.want(403, "", token, "POST", migrationsAPI+"/run/continue", object{"run": out.Run.ID})
	p.want(200, `"number":0`, token, "GET", "/api/v1/tenants/acme/migrations", nil)
	p.want(200, `"state":"finished"`, olga.Session, "POST", migrationsAPI+"/run/continue", object{"run": out.Run.ID})
}

// TestCreateWhileTheSetChanges: a new tenant has one set or the other, whole, and
// the list says which.
func TestCreateWhileTheSetChanges(t *testing.T) {
	r := serveTemp(t)
	r.must("", "PUT", migrationsAPI, migrationFiles(1), nil)
	var sides sync.WaitGroup
	sides.Go(func() {
		for n := 2; n <= 8; n++ {
			r.must("", "PUT", migrationsAPI, migrationFiles(n), nil)
		}
	})
	made := make([]bool, 12)
	for side := range 2 {
		sides.Go(func() {
			for i := side; i < len(made); i += 2 {
				a := r.do("", "POST", "/api/v1/tenants", object{"id": fmt.Sprintf("t-%02d", i), "name": "T"})
				if made[i] = a.status < 300; !made[i] && (a.status != http.StatusConflict || !strings.Contains(string(a.body), "the set of migrations was replaced meanwhile")) {
					t.Errorf("%d %s", a.status, a.body)
				}
			}
		})
	}
	sides.Wait()
	for i, ok := range made {
		if !ok {
			continue
		}
		id := fmt.Sprintf("t-%02d", i)
		var out struct{ Number int }
		r.must("", "GET", "/api/v1/tenants/"+id+"/migrations", nil, &out)
		var rows struct{ Rows [][]int }
		r.must("", "POST", "/api/v1/tenants/"+id+"/sql", object{"sql": "SELECT count(*) FROM steps"}, &rows)
		if out.Number == 0 || rows.Rows[0][0] != out.Number {
			t.Errorf("%s is listed at %d and has %d", id, out.Number, rows.Rows[0][0])
		}
	}
	r.migrateAll(9)
}

// TestMigrateWhileWriting: what is acknowledged while migrations and restorations
// come and go is there, or in the snapshot that a restoration set aside.
func TestMigrateWhileWriting(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	stop := make(chan struct{})
	var writers sync.WaitGroup
	var acknowledged sync.Map
	for side := range 2 {
		writers.Go(func() {
			for i := side; ; i += 2 {
				select {
				case <-stop:
					return
				default:
				}
				a := r.do("", "POST", "/api/v1/tenants/acme/sql", object{"sql": "INSERT INTO t(a, b) VALUES (?, 'x')", "args": []any{i}})
				if a.status == 200 {
					acknowledged.Store(i, true)
				} else if a.status != http.StatusServiceUnavailable {
					t.Errorf("%d %s", a.status, a.body)
				}
			}
		})
	}
	for n := 1; n <= 6; n++ {
		r.migrateAll(n)
	}
	close(stop)
	writers.Wait()
	var rows struct{ Rows [][]int }
	r.must("", "POST", "/api/v1/tenants/acme/sql", object{"sql": "SELECT a FROM t"}, &rows)
	there := map[int]bool{}
	for _, row := range rows.Rows {
		there[row[0]] = true
	}
	n := 0
	acknowledged.Range(func(key, _ any) bool {
		n++
		if !there[key.(int)] {
			t.Errorf("row %v was acknowledged and is not there", key)
		}
		return true
	})
	t.Logf("%d rows were written meanwhile", n)
}

// TestRestoreOfSuspended: an operator who closed a tenant because of a migration
// can put it back before it is opened again; it stays closed.
func TestRestoreOfSuspended(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.migrateAll(1)
	r.must("", "POST", "/api/v1/tenants/acme/suspend", nil, nil)
	const restore = "/api/v1/tenants/acme/migrations/restore?confirm=acme"
	r.must("", "POST", restore, object{"snapshot": "000001-0000"}, nil)
	if a := r.do("", "POST", "/api/v1/tenants/acme/sql", object{"sql": "SELECT 1"}); a.status != http.StatusForbidden {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := r.do("", "POST", "/api/v1/tenants/acme/migrations/apply", object{}); a.status != http.StatusForbidden {
		t.Errorf("applying while it is suspended: %d %s", a.status, a.body)
	}
	r.must("", "POST", "/api/v1/tenants/acme/resume", nil, nil)
	if a := r.do("", "POST", "/api/v1/tenants/acme/sql", object{"sql": "SELECT * FROM steps"}); a.status != http.StatusBadRequest {
		t.Errorf("the migration is still there: %d %s", a.status, a.body)
	}
	r.must("", "DELETE", "/api/v1/tenants/acme?confirm=acme", nil, nil)
	if a := r.do("", "POST", restore, object{"snapshot": "000002-0001"}); a.status != http.StatusConflict {
		t.Errorf("a destroyed tenant: %d %s", a.status, a.body)
	}
}

// TestMigrationOnAFailingDisk: whether a COMMIT that the disk refused is on it
// cannot be said, and neither the log nor the list says it. The snapshot stays,
// and the next attempt finds out.
func TestMigrationOnAFailingDisk(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.must("", "PUT", migrationsAPI, migrationFiles(1), nil)
	broken, repair := breakWrites(t, filepath.Join(r.data, "tenants", "acme", "data.db-wal"))
	if broken == 0 {
		t.Fatal("the write-ahead log is not open")
	}
	a := r.do("", "POST", "/api/v1/tenants/acme/migrations/apply", object{})
	repair()
	if a.status < 500 {
		t.Errorf("%d %s", a.status, a.body)
	}
	type status struct {
		Number    int
		Failed    *struct{ Text string }
		Snapshots []any
	}
	var out status
	r.must("", "GET", "/api/v1/tenants/acme/migrations", nil, &out)
	if out.Number != 0 || out.Failed == nil || len(out.Snapshots) != 1 {
		t.Errorf("%+v", out)
	}
	r.must("", "POST", "/api/v1/tenants/acme/migrations/apply", object{}, nil)
	out = status{}
	r.must("", "GET", "/api/v1/tenants/acme/migrations", nil, &out)
	if out.Number != 1 || out.Failed != nil || len(out.Snapshots) != 2 {
		t.Errorf("%+v", out)
	}
	var outcomes []string
	for deadline := time.Now().Add(patience); len(outcomes) < 2 && time.Now().Before(deadline); { // an outcome follows its answer
		outcomes = nil
		for _, e := range r.events("/api/v1/tenants/acme/audit", "migration.apply") {
			if e.Type == "outcome" {
				outcomes = append(outcomes, e.Outcome)
			}
		}
	}
	if !slices.Equal(outcomes, []string{"unknown", "ok"}) {
		t.Errorf("the outcomes are %v", outcomes)
	}
}
