package app_test

import (
	"fmt"
	"net/http"
	"testing"
)

// TestAttackForeignShare: a stranger cannot fill another tenant's log.
func TestAttackForeignShare(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.tenant("globex")
	token := r.issue("acme", object{"role": "viewer"})
	count := func() int {
		var log struct {
			Events []any `json:"events"`
		}
		r.must("", "GET", "/api/v1/tenants/globex/audit?limit=1000", nil, &log)
		return len(log.Events)
	}
	before := count()
	for i := range 200 {
		if a := r.do(token, "GET", fmt.Sprintf("/api/v1/tenants/globex/secret?path=a/%d", i), nil); a.status != http.StatusForbidden || a.receipt == "" {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if grown := count() - before; grown < 2 || grown > 25 { // two minutes can touch
		t.Errorf("200 attempts left %d records in the other tenant's log", grown)
	}
}
