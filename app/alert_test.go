package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"coffer/app"
	"coffer/app/actions"
	"coffer/app/alerts"
	"coffer/app/domain"
)

func find(list []actions.AlertInfo, kind alerts.Kind, tenant domain.TenantID) (actions.AlertInfo, bool) {
	i := slices.IndexFunc(list, func(a actions.AlertInfo) bool { return a.Kind == kind && a.Tenant == tenant })
	if i < 0 {
		return actions.AlertInfo{}, false
	}
	return list[i], true
}

// TestAlertsStand: conditions that stand are found out each time, and go with
// their cause; nobody acknowledges them.
func TestAlertsStand(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.must("", "POST", "/api/v1/tenants/acme/workloads", object{"name": "short", "grants": []string{"sql:analyst"}, "secret_id_ttl": "48h"}, nil)
	r.must("", "POST", "/api/v1/tenants/acme/workloads", object{"name": "long", "grants": []string{"sql:analyst"}}, nil)
	r.tenant("first")
	r.must("", "POST", "/api/v1/tenants/first/members", object{"name": "bob", "role": "viewer"}, nil)
	r.must("", "POST", "/api/v1/tenants", object{"id": "globex", "name": "Globex", "owner": "bob"}, nil)
	r.must("", "POST", "/api/v1/tenants/globex/break-glass", object{"reason": "the owner asked"}, nil)
	var out actions.AlertListOut
	r.must("", "GET", "/api/v1/alerts", nil, &out)
	for _, want := range []struct {
		kind   alerts.Kind
		tenant domain.TenantID
		words  string
	}{
		{actions.NoRecoveryKey, "", "coffer seal recovery"},
		{actions.SlotWarning, "", "key slot"},
		{actions.SecretIDsEnd, "acme", "1 secret ids of acme end within 7 days, the first, of workload short"},
		{actions.BreakGlassOpen, "globex", "the owner asked"},
	} {
		a, found := find(out.Alerts, want.kind, want.tenant)
		if !found || !a.Standing || !strings.Contains(a.Text, want.words) || a.Acked != nil {
			t.Errorf("%s: %+v", want.kind, a)
		}
		if a := r.do("", "POST", "/api/v1/alerts/"+a.ID+"/ack", nil); a.status != http.StatusConflict {
			t.Errorf("acknowledging %s: %d %s", want.kind, a.status, a.body)
		}
	}
	if len(out.Alerts) != 4 {
		t.Errorf("%+v", out.Alerts)
	}
	// In pages of one, the same.
	var ids []string
	for after := ""; ; {
		var page actions.AlertListOut
		r.must("", "GET", "/api/v1/alerts?limit=1&after="+after, nil, &page)
		for _, a := range page.Alerts {
			ids = append(ids, a.ID)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	for i, a := range out.Alerts {
		if i >= len(ids) || ids[i] != a.ID {
			t.Errorf("in pages: %v", ids)
		}
	}
	r.must("", "DELETE", "/api/v1/tenants/acme/workloads/short", nil, nil)
	r.must("", "GET", "/api/v1/alerts", nil, &out)
	if _, found := find(out.Alerts, actions.SecretIDsEnd, "acme"); found {
		t.Errorf("the workload is gone: %+v", out.Alerts)
	}
}

// TestAlertsRaised: a tenant's file that was changed raises an alert, which its
// owner sees and nobody of another tenant; acknowledging is an event.
func TestAlertsRaised(t *testing.T) {
	data := t.TempDir()
	r, stop := serveOn(t, data, nil)
	for _, id := range []string{"acme", "globex"} {
		r.tenant(id)
	}
	stop()
	path := filepath.Join(data, "tenants", "acme", "data.db")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 6000; at < len(b); at += 4096 { // every page but the first
		b[at] ^= 1
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r, stop = serveOn(t, data, nil)
	defer stop()
	r.do("", "POST", "/api/v1/tenants/acme/sql", object{"sql": "SELECT * FROM t"})
	r.do("", "POST", "/api/v1/tenants/acme/sql", object{"sql": "CREATE TABLE u(a)"})
	var raised actions.AlertInfo
	for deadline := time.Now().Add(patience); ; {
		var out actions.AlertListOut
		r.must("", "GET", "/api/v1/alerts", nil, &out)
		var found bool
		if raised, found = find(out.Alerts, alerts.File, "acme"); found {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", out)
		}
	}
	if raised.Standing || raised.Acked != nil {
		t.Errorf("%+v", raised)
	}
	owner, viewer := r.issue("acme", object{"role": "owner"}), r.issue("acme", object{"role": "viewer"})
	auditor := r.issue("acme", object{"role": "client-auditor"})
	stranger := r.issue("globex", object{"role": "owner"})
	for _, tc := range []struct {
		what, token, method, path string
		status                    int
		sees                      bool
	}{
		{"the owner", owner, "GET", "/api/v1/tenants/acme/alerts", 200, true},
		{"the client's auditor", auditor, "GET", "/api/v1/tenants/acme/alerts", 200, true},
		{"the operator", "", "GET", "/api/v1/tenants/acme/alerts", 200, true},
		{"the operator, elsewhere", "", "GET", "/api/v1/tenants/globex/alerts", 200, false},
		{"a viewer", viewer, "GET", "/api/v1/tenants/acme/alerts", 403, false},
		{"a stranger", stranger, "GET", "/api/v1/tenants/acme/alerts", 403, false},
		{"a stranger at home, with the id as a cursor", stranger, "GET", "/api/v1/tenants/globex/alerts?after=al_", 200, false},
		{"the owner, of all", owner, "GET", "/api/v1/alerts", 403, false},
		{"the owner, acknowledging", owner, "POST", "/api/v1/alerts/" + raised.ID + "/ack", 403, false},
		{"a stranger, acknowledging", stranger, "POST", "/api/v1/alerts/" + raised.ID + "/ack", 403, false},
	} {
		a := r.do(tc.token, tc.method, tc.path, nil)
		if a.status != tc.status || strings.Contains(string(a.body), raised.ID) != tc.sees {
			t.Errorf("%s: %d %s", tc.what, a.status, a.body)
		}
	}
	for id, want := range map[string]int{"al_none": 404, "x%2f..": 400, raised.ID: 200} {
		if a := r.do("", "POST", "/api/v1/alerts/"+id+"/ack", nil); a.status != want {
			t.Errorf("%s: %d %s", id, a.status, a.body)
		}
	}
	if a := r.do("", "POST", "/api/v1/alerts/"+raised.ID+"/ack", nil); a.status != http.StatusConflict {
		t.Errorf("twice: %d %s", a.status, a.body)
	}
	if e := r.events("/api/v1/audit", "alert.ack"); len(e) < 2 || !slices.ContainsFunc(e, func(e actions.Event) bool { return e.Resource == raised.ID && e.Type == "intent" }) {
		t.Errorf("%+v", e)
	}
	var out actions.AlertListOut
	r.must(owner, "GET", "/api/v1/tenants/acme/alerts", nil, &out)
	if a, found := find(out.Alerts, alerts.File, "acme"); found && a.ID == raised.ID && (a.Acked == nil || !strings.HasPrefix(a.AckedBy, "p_")) {
		t.Errorf("%+v", a)
	}
}

// TestAlertsOfDestruction: one that was decided and not carried out is said to the
// operator, and in the tenant's own list.
func TestAlertsOfDestruction(t *testing.T) {
	o := opened(t, nil)
	op := operatorOf(t, o)
	for _, id := range []string{"acme", "globex"} {
		do(t, o, op, actions.TenantCreate, actions.TenantCreateIn{ID: id, Name: `"state":"destroying"`})
	}
	if err := o.Doom(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	for _, list := range []actions.AlertListOut{
		do(t, o, op, actions.AlertList, actions.Page{}), do(t, o, op, actions.AlertTenant, actions.TenantPage{Tenant: "acme"}),
	} {
		if _, found := find(list.Alerts, actions.DestroyUnfinished, "acme"); !found {
			t.Errorf("%+v", list)
		}
		if _, found := find(list.Alerts, actions.DestroyUnfinished, "globex"); found {
			t.Errorf("a name is not a state: %+v", list)
		}
	}
}

// TestAlertsOfClock: a year ahead is an alert, and a condition until it is trusted.
func TestAlertsOfClock(t *testing.T) {
	data := t.TempDir()
	r, stop := serveOn(t, data, nil)
	r.tenant("acme")
	stop()
	r, stop = serveOn(t, data, shifted(365*day))
	defer stop()
	for deadline := time.Now().Add(patience); ; {
		var out actions.AlertListOut
		r.must("", "GET", "/api/v1/alerts", nil, &out)
		jump, jumped := find(out.Alerts, alerts.Clock, "")
		_, untrusted := find(out.Alerts, actions.ClockUntrusted, "")
		if jumped && untrusted && strings.Contains(jump.Text, "8760h") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", out)
		}
	}
}

// TestAlertsOfCertificate: one that was brought and cannot be used is an alert.
func TestAlertsOfCertificate(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(day),
	}
	leaf, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(path string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf}))
	write(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	o, reload, err := app.OpenWithCertificate(t.Context(), t.TempDir(), certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}()
	write(certFile, []byte("no certificate"))
	reload()
	o.StoreAlerts(t.Context())
	out := do(t, o, operatorOf(t, o), actions.AlertList, actions.Page{})
	if a, found := find(out.Alerts, alerts.Certificate, ""); !found || !strings.Contains(a.Text, certFile) {
		t.Errorf("%+v", out)
	}
}

// TestAlertsInPages: every alert that was raised comes once, also beside others.
func TestAlertsInPages(t *testing.T) {
	o := opened(t, nil)
	op := operatorOf(t, o)
	do(t, o, op, actions.TenantCreate, actions.TenantCreateIn{ID: "acme", Name: "Acme"})
	want := map[string]int{}
	for _, kind := range []alerts.Kind{"k1", "k2", "k3", "k4", "k5"} {
		for _, tenant := range []domain.TenantID{"", "acme", "globex"} {
			if err := o.Raise(t.Context(), kind, tenant, string(kind)+string(tenant)); err != nil {
				t.Fatal(err)
			}
			want[string(kind)+string(tenant)]++
		}
	}
	for limit := 1; limit < 8; limit++ {
		got, n := map[string]int{}, 0
		for after := ""; ; {
			page := do(t, o, op, actions.AlertList, actions.Page{After: after, Limit: limit})
			for _, a := range page.Alerts {
				if !a.Standing && !strings.HasPrefix(string(a.Kind), "new") {
					got[a.Text]++
				}
			}
			if after = page.Next; after == "" {
				break
			}
			if n++; n == 2 { // newer ones come before the cursor
				if err := o.Raise(t.Context(), alerts.Kind("new"+string(rune('0'+limit))), "acme", "new"); err != nil {
					t.Fatal(err)
				}
			}
		}
		for text := range want {
			if got[text] != 1 {
				t.Errorf("limit %d: %s came %d times", limit, text, got[text])
			}
		}
		acme := do(t, o, op, actions.AlertTenant, actions.TenantPage{Tenant: "acme"})
		for _, a := range acme.Alerts {
			if a.Tenant != "acme" {
				t.Errorf("%+v", a)
			}
		}
	}
}
