package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"coffer/app"
	"coffer/app/actions"
)

// rotations looks at a list of rotations until it is as wanted.
func (r *running) rotations(path string, until func([]actions.RotationInfo) bool) []actions.RotationInfo {
	r.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		var out actions.RotationsOut
		r.must("", "GET", path, nil, &out)
		if until(out.Rotations) {
			return out.Rotations
		}
		if ctx.Err() != nil {
			r.tb.Fatalf("rotations after %v: %+v", patience, out.Rotations)
		}
	}
}

func allEnded(list []actions.RotationInfo) bool {
	for _, o := range list {
		if o.State == "running" {
			return false
		}
	}
	return true
}

// allDone wants every rotation to have ended well.
func (r *running) allDone() {
	r.tb.Helper()
	for _, o := range r.rotations("/api/v1/rotations", allEnded) {
		if o.State != "done" || o.Done != o.Total {
			r.tb.Errorf("%+v", o)
		}
	}
}

var allKinds = []string{"root", "table", "control", "kek", "secrets"}

// TestRotateEverything rotates every kind of key while tenants are read and
// written, and finds everything as before, also after a restart.
func TestRotateEverything(t *testing.T) {
	dir := t.TempDir()
	r, stop := serveOn(t, dir, nil)
	for _, id := range []string{"acme", "globex", "initech"} {
		r.tenant(id)
	}
	for i := range 30 {
		r.must("", "PUT", "/api/v1/tenants/acme/secret?path=s/"+strconv.Itoa(i), object{"data": object{"n": strconv.Itoa(i)}}, nil)
	}
	done := make(chan struct{})
	var load sync.WaitGroup
	load.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			path := "/api/v1/tenants/acme/secret?path=s/" + strconv.Itoa(i%30)
			r.must("", "PUT", path, object{"data": object{"n": strconv.Itoa(i % 30)}}, nil)
			if a := r.do("", "GET", path, nil); a.status != 200 || !strings.Contains(string(a.body), fmt.Sprintf(`"n":"%d"`, i%30)) {
				t.Errorf("reading under a rotation: %d %s", a.status, a.body)
			}
			r.must("", "POST", "/api/v1/tenants/globex/sql", object{"sql": "INSERT INTO t(b) VALUES ('x')"}, nil)
		}
	})
	for _, kind := range allKinds {
		r.must("", "POST", "/api/v1/rotations", object{"kind": kind}, nil)
	}
	r.allDone()
	close(done)
	load.Wait()
	r.must("", "POST", "/api/v1/tenants/acme/rotations", object{"kind": "secrets"}, nil)
	own := r.rotations("/api/v1/tenants/acme/rotations", allEnded)
	if len(own) != 1 || own[0].Total < 31 || own[0].Done != own[0].Total {
		t.Errorf("of acme: %+v", own)
	}
	r.wants(400, "kind", "", "POST", "/api/v1/rotations", object{"kind": "pages"})
	r.wants(400, "appliance", "", "POST", "/api/v1/tenants/acme/rotations", object{"kind": "root"})
	log := r.wants(200, "sealing secrets anew, then removing the old key", "", "GET", "/api/v1/tenants/acme/audit?limit=1000", nil)
	if n := strings.Count(string(log.body), `"rotate.tenant"`); n < 6 {
		t.Errorf("the tenant's log has %d events of rotations", n)
	}
	r.wants(200, "removing the old key", "", "GET", "/api/v1/audit?limit=1000", nil)
	r.wants(200, `"ok":true`, "", "POST", "/api/v1/check", nil)
	stop()

	r, stop = serveOn(t, dir, nil)
	defer stop()
	for i := range 30 {
		r.wants(200, fmt.Sprintf(`"n":"%d"`, i), "", "GET", "/api/v1/tenants/acme/secret?path=s/"+strconv.Itoa(i), nil)
	}
	r.wants(200, `"ok":true`, "", "POST", "/api/v1/check", nil)
	r.must("", "POST", "/api/v1/seal/rotate", object{}, nil) // and the root key itself, on top
	r.wants(200, `"ok":true`, "", "POST", "/api/v1/check", nil)
}

// TestRotateWaitsForTheClient: what needs a tenant's keys waits until its owner
// opens it, and a rotation of all tenants names whom it left out.
func TestRotateWaitsForTheClient(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.tenant("globex")
	r.setKey(nil)
	const acme = "/api/v1/tenants/acme"
	r.must("", "POST", acme+"/client-key/close", nil, nil)
	r.wants(403, underKey, "", "POST", acme+"/rotations", object{"kind": "secrets"}) // begun by nobody while it is closed
	r.must("", "POST", "/api/v1/rotations", object{"kind": "kek"}, nil)
	all := r.rotations("/api/v1/rotations", allEnded)
	if len(all) != 1 || all[0].State != "done" || all[0].Skipped != 1 || !strings.Contains(all[0].Why, "acme") || all[0].Done != 2 {
		t.Errorf("%+v", all)
	}
	r.must("", "POST", "/api/v1/rotations", object{"kind": "root"}, nil)
	r.rotations("/api/v1/rotations", allEnded)
	r.must("", "POST", acme+"/client-key/open", object{"form": "keyfile", "key": walkKey}, nil)
	r.wants(200, "sk_acme", "", "GET", acme+"/secret?path=stripe/live", nil)
	r.must("", "POST", acme+"/rotations", object{"kind": "kek"}, nil)
	r.must("", "POST", acme+"/rotations", object{"kind": "secrets"}, nil)
	r.allDoneOf(acme)
	r.must("", "POST", acme+"/client-key/close", nil, nil)
	r.must("", "POST", acme+"/client-key/open", object{"form": "keyfile", "key": walkKey}, nil)
	r.wants(200, "sk_acme", "", "GET", acme+"/secret?path=stripe/live", nil)
	r.must("", "DELETE", acme+"?confirm=acme", nil, nil)
	if left := r.rotations("/api/v1/rotations", allEnded); len(left) != 2 {
		t.Errorf("after the tenant is gone: %+v", left)
	}
}

func (r *running) allDoneOf(tenant string) {
	r.tb.Helper()
	for _, o := range r.rotations(tenant+"/rotations", allEnded) {
		if o.State != "done" {
			r.tb.Errorf("%+v", o)
		}
	}
}

// TestRotateSurvivesKills kills a server that rotates everything, again and again,
// each time a little later. The rotations go on by themselves and nothing is lost.
func TestRotateSurvivesKills(t *testing.T) {
	dir := t.TempDir()
	rounds, secrets := 8, 150
	if testing.Short() {
		rounds, secrets = 2, 20
	}
	start := func() (*served, *running) {
		s, err := launch(dir, []string{"COFFER_DATA=" + dir + "/d"}, "--seal", "keyfile")
		if err == nil {
			err = s.awaitReady()
		}
		if err != nil {
			t.Fatal(err)
		}
		return s, &running{tb: t, data: dir + "/d", client: app.SocketClient(dir + "/d")}
	}
	s, r := start()
	r.tenant("acme")
	r.tenant("globex")
	for i := range secrets {
		r.must("", "PUT", "/api/v1/tenants/acme/secret?path=s/"+strconv.Itoa(i), object{"data": object{"n": strconv.Itoa(i)}}, nil)
	}
	steps := map[string]bool{}
	for round := range rounds {
		for _, kind := range allKinds {
			a := r.do("", "POST", "/api/v1/rotations", object{"kind": kind})
			if a.status != http.StatusOK && a.status != http.StatusConflict { // one goes on already
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		for range round * 3 { // a look at it, in place of a pause
			var out actions.RotationsOut
			r.must("", "GET", "/api/v1/rotations", nil, &out)
			for _, o := range out.Rotations {
				if o.State == "running" {
					steps[o.Kind+" "+o.Step] = true
				}
			}
		}
		s.kill()
		s, r = start()
	}
	t.Logf("killed at some of: %v", steps)
	began := time.Now()
	r.allDone()
	t.Logf("what was left took %v", time.Since(began))
	r.wants(200, `"ok":true`, "", "POST", "/api/v1/check", nil)
	for i := range secrets {
		r.wants(200, fmt.Sprintf(`"n":"%d"`, i), "", "GET", "/api/v1/tenants/acme/secret?path=s/"+strconv.Itoa(i), nil)
	}
	r.wants(200, "sk_globex", "", "GET", "/api/v1/tenants/globex/secret?path=stripe/live", nil)
	var log struct {
		Events []json.RawMessage `json:"events"`
	}
	r.must("", "GET", "/api/v1/audit?limit=1000", nil, &log)
	if _, err := s.stop(); err != nil {
		t.Error(err)
	}
}
