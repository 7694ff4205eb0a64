package app_test

import (
	"net/http"
	"sync"
	"testing"
)

// TestSuspendAndResumeTogether suspends and resumes a tenant from several sides
// at once. Whatever the order came out to be, the tenant's file must be open if
// the tenant is.
func TestSuspendAndResumeTogether(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	query := map[string]any{"sql": "SELECT 1"}
	for range 100 {
		var sides sync.WaitGroup
		for _, verb := range []string{"/suspend", "/resume", "/suspend", "/resume"} {
			sides.Go(func() { r.do("", http.MethodPost, "/api/v1/tenants/acme"+verb, nil) })
		}
		sides.Wait()
		r.do("", http.MethodPost, "/api/v1/tenants/acme/resume", nil) // a conflict if it is open already
		if a := r.do("", http.MethodPost, "/api/v1/tenants/acme/sql", query); a.status != http.StatusOK {
			t.Fatalf("an open tenant answers %d: %s", a.status, a.body)
		}
	}
}
