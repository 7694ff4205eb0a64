package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"testing"
	"time"

	"coffer/app"
	"coffer/app/domain"
	"coffer/audit"
)

const (
	migratedTenants = 20
	migrationKills  = 5
)

// fleetStatus is how far the tenants are.
type fleetStatus struct {
	Tenants []struct {
		Tenant string `json:"tenant"`
		Number int    `json:"number"`
		Failed any    `json:"failed"`
	} `json:"tenants"`
}

// files is a set of n migrations, each of which makes a table and changes rows.
func migrationFiles(n int) object {
	files := []object{}
	for i := 1; i <= n; i++ {
		files = append(files, object{
			"name": fmt.Sprintf("%04d_step.sql", i),
			"sql":  fmt.Sprintf("CREATE TABLE IF NOT EXISTS steps(n INTEGER); CREATE TABLE step%d(x); INSERT INTO steps VALUES (%d); UPDATE steps SET n = n + 0;", i, i),
		})
	}
	return object{"files": files}
}

// TestMigrationsSurviveKills kills the server at moments spread over a run over
// twenty tenants. After each restart every tenant is at the old or the new
// version, as the list and its log say, and the same request goes on.
func TestMigrationsSurviveKills(t *testing.T) {
	t.Parallel()
	kills := max(2, migrationKills*fromEnvironment(t, "COFFER_CRASH_ROUNDS", crashRounds)/crashRounds)
	data := shortDir(t)
	start := func() (*served, *running) {
		d, err := launch(data, os.Environ(), "--data", data, "--seal", "keyfile")
		if err == nil {
			err = d.awaitReady()
		}
		if err != nil {
			t.Fatal(err)
		}
		return d, &running{tb: t, data: data, client: app.SocketClient(data)}
	}
	daemon, r := start()
	defer func() { daemon.kill() }()
	for i := range migratedTenants {
		r.must("", "POST", "/api/v1/tenants", object{"id": fmt.Sprintf("t-%02d", i), "name": "T"}, nil)
	}
	began := time.Now()
	r.migrateAll(1)
	undisturbed := time.Since(began)
	moment, between := 0.0, 0
	for n := 2; n < 2+kills; n++ {
		r.must("", "PUT", "/api/v1/migrations", migrationFiles(n), nil)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			r.driveUntilCut()
		}()
		_, moment = math.Modf(moment + math.Phi)
		<-time.After(time.Duration(moment * float64(undisturbed))) // when to kill is the point
		daemon.kill()
		<-ended
		r.client.CloseIdleConnections()
		daemon, r = start()
		done := r.compareFleet(n-1, n)
		if done > 0 && done < migratedTenants {
			between++
		}
		r.migrateAll(n)
		if done := r.compareFleet(n, n); done != migratedTenants {
			t.Fatalf("%d tenants are at %d after the run that went on", done, n)
		}
	}
	if code, err := daemon.stop(); err != nil || code != 0 {
		t.Fatalf("stopping: %d, %v: %s", code, err, daemon.errors())
	}
	t.Logf("%d kills, %d of them with some tenants at the new version; a run takes %v", kills, between, undisturbed)
	compareMigrationLogs(t, data, 1+kills)
}

// migrateAll brings all tenants to n migrations.
func (r *running) migrateAll(n int) {
	r.tb.Helper()
	r.must("", "PUT", "/api/v1/migrations", migrationFiles(n), nil)
	var out struct {
		Run struct {
			ID    string `json:"id"`
			State string `json:"state"`
			Why   string `json:"why"`
		} `json:"run"`
	}
	r.must("", "POST", "/api/v1/migrations/run", object{"canaries": 2, "parallel": 2}, &out)
	for out.Run.State == "canaries" || out.Run.State == "rest" {
		r.must("", "POST", "/api/v1/migrations/run/continue", object{"run": out.Run.ID}, &out)
	}
	if out.Run.State != "finished" {
		r.tb.Fatalf("the run is %s: %s", out.Run.State, out.Run.Why)
	}
}

// driveUntilCut begins a run and drives it until no answer comes any more.
func (r *running) driveUntilCut() {
	path, in := "run", object{"canaries": 2, "parallel": 2}
	for {
		b, _ := json.Marshal(in)
		resp, err := r.client.Post("http://coffer/api/v1/migrations/"+path, "application/json", bytes.NewReader(b))
		if err != nil {
			return
		}
		var out struct {
			Run struct {
				ID    string `json:"id"`
				State string `json:"state"`
			} `json:"run"`
		}
		err = json.NewDecoder(resp.Body).Decode(&out)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || (out.Run.State != "canaries" && out.Run.State != "rest") {
			return
		}
		path, in = "run/continue", object{"run": out.Run.ID}
	}
}

// compareFleet wants every tenant at one of two versions, in the list as in its
// database, and gives how many are at the later one.
func (r *running) compareFleet(before, after int) (done int) {
	r.tb.Helper()
	var fleet fleetStatus
	r.must("", "GET", "/api/v1/migrations/tenants", nil, &fleet)
	if len(fleet.Tenants) != migratedTenants {
		r.tb.Fatalf("%d tenants are listed", len(fleet.Tenants))
	}
	for _, tenant := range fleet.Tenants {
		var got struct {
			Rows [][]int `json:"rows"`
		}
		r.must("", "POST", "/api/v1/tenants/"+tenant.Tenant+"/sql", object{
			"sql": "SELECT (SELECT count(*) FROM sqlite_schema WHERE name GLOB 'step[0-9]*'), count(*), max(n) FROM steps",
		}, &got)
		want := []int{tenant.Number, tenant.Number, tenant.Number}
		if fmt.Sprint(got.Rows[0]) != fmt.Sprint(want) || (tenant.Number != before && tenant.Number != after) || tenant.Failed != nil {
			r.tb.Errorf("%s is listed at %d, its database has %v, of %d and %d; failed: %v", tenant.Tenant, tenant.Number, got.Rows[0], before, after, tenant.Failed)
		}
		if tenant.Number == after {
			done++
		}
	}
	return done
}

// compareMigrationLogs wants each announced migration to have one outcome, and as
// many that went well as there are versions.
func compareMigrationLogs(t *testing.T, data string, versions int) {
	t.Helper()
	intents, outcomes := map[string]map[uint64]string{}, map[string]int{}
	if err := app.ReadLogs(t.Context(), data, func(tenant domain.TenantID, e audit.Entry) error {
		id := string(tenant)
		if intents[id] == nil {
			intents[id] = map[uint64]string{}
		}
		switch kind := e.Header.Type.String(); {
		case kind == "intent":
			intents[id][e.Header.Seq] = ""
		case kind == "outcome":
			if was, announced := intents[id][*e.Event.Intent]; !announced || was != "" {
				t.Errorf("the log of %q has an outcome too many: %s", id, e.Event.Action)
			}
			intents[id][*e.Event.Intent] = e.Event.Outcome
			if e.Event.Action == "migration.apply" && e.Event.Outcome == "ok" {
				outcomes[id]++
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for id, list := range intents {
		for seq, outcome := range list {
			if outcome == "" {
				t.Errorf("record %d of the log of %q has no outcome", seq, id)
			}
		}
		if id != "" && outcomes[id] != versions {
			t.Errorf("the log of %s says that %d migrations went well, not %d", id, outcomes[id], versions)
		}
	}
	if len(intents) != migratedTenants+1 {
		t.Errorf("%d logs", len(intents))
	}
}

// TestRestoreSurvivesKills kills the server while a snapshot is put back. After
// the restart the database is what it was or what the snapshot was, whole, and
// the log says which.
func TestRestoreSurvivesKills(t *testing.T) {
	t.Parallel()
	kills := max(2, migrationKills*fromEnvironment(t, "COFFER_CRASH_ROUNDS", crashRounds)/crashRounds)
	data := shortDir(t)
	start := func() (*served, *running) {
		d, err := launch(data, os.Environ(), "--data", data, "--seal", "keyfile")
		if err == nil {
			err = d.awaitReady()
		}
		if err != nil {
			t.Fatal(err)
		}
		return d, &running{tb: t, data: data, client: app.SocketClient(data)}
	}
	daemon, r := start()
	defer func() { daemon.kill() }()
	const base = "/api/v1/tenants/acme"
	r.must("", "POST", "/api/v1/tenants", object{"id": "acme", "name": "Acme"}, nil)
	r.migrateAll(1)
	before := func() (id string) { // a snapshot from before the migration
		var status struct {
			Snapshots []struct {
				ID     string
				Number int
			}
		}
		r.must("", "GET", base+"/migrations", nil, &status)
		for _, s := range status.Snapshots {
			if s.Number == 0 {
				id = s.ID
			}
		}
		return id
	}
	restore := func(id string) {
		b, _ := json.Marshal(object{"snapshot": id})
		resp, err := r.client.Post("http://coffer"+base+"/migrations/restore?confirm=acme", "application/json", bytes.NewReader(b))
		if err == nil {
			_ = resp.Body.Close()
		}
	}
	began := time.Now()
	restore(before())
	undisturbed := time.Since(began)
	moment, put := 0.0, 0
	for n := range kills {
		r.migrateAll(1) // one table, or the set again after it was put back
		r.must("", "POST", base+"/sql", object{"sql": "CREATE TABLE IF NOT EXISTS since(n); "}, nil)
		id, ended := before(), make(chan struct{})
		go func() {
			defer close(ended)
			restore(id)
		}()
		_, moment = math.Modf(moment + math.Phi)
		<-time.After(time.Duration(moment * float64(undisturbed))) // when to kill is the point
		daemon.kill()
		<-ended
		r.client.CloseIdleConnections()
		daemon, r = start()
		var rows struct{ Rows [][]int }
		r.must("", "POST", base+"/sql", object{"sql": "SELECT sum(name = 'since'), sum(name = 'step1') FROM sqlite_schema"}, &rows)
		var status struct{ Number int }
		r.must("", "GET", base+"/migrations", nil, &status)
		var log struct {
			Events []struct{ Type, Outcome string }
		}
		r.must("", "GET", base+"/audit?action=migration.restore", nil, &log)
		last := log.Events[len(log.Events)-1]
		back := len(rows.Rows) > 0 && rows.Rows[0][0] == 0
		if back {
			put++
		}
		if want := map[bool]int{true: 0, false: 1}[back]; status.Number != want || rows.Rows[0][1] != want {
			t.Errorf("kill %d: listed at %d, the database has %v", n, status.Number, rows.Rows[0])
		}
		if last.Type != "outcome" || (last.Outcome == "ok") != back {
			// The request may never have come to be announced.
			if back || last.Outcome != "ok" {
				t.Errorf("kill %d: put back: %v, the log says %+v", n, back, last)
			}
		}
	}
	if a := r.do("", "POST", "/api/v1/check", nil); !bytes.Contains(a.body, []byte(`"ok":true`)) {
		t.Errorf("%s", a.body)
	}
	t.Logf("%d kills, %d of them with the snapshot put back; undisturbed it takes %v", kills, put, undisturbed)
}
