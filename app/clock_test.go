package app_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"coffer/app/domain"
)

func shifted(by time.Duration) func() time.Time {
	return func() time.Time { return time.Now().Add(by) }
}

const day = 24 * time.Hour

// TestClockSetBack: what has ended stays ended, over a restart too.
func TestClockSetBack(t *testing.T) {
	data := t.TempDir()
	r, stop := serveOn(t, data, nil)
	r.tenant("acme")
	token := r.issue("acme", object{"ttl": "1h"})
	stop()

	r, stop = serveOn(t, data, shifted(2*time.Hour))
	if a := r.do(token, "GET", "/api/v1/tenants/acme/secrets", nil); a.status != http.StatusUnauthorized {
		t.Errorf("an hour after its end: %d", a.status)
	}
	stop()

	r, stop = serveOn(t, data, nil) // the clock is set back by two hours
	defer stop()
	if a := r.do(token, "GET", "/api/v1/tenants/acme/secrets", nil); a.status != http.StatusUnauthorized {
		t.Errorf("a clock that was set back revived a token: %d", a.status)
	}
	fresh := r.issue("acme", object{"ttl": "1h"})
	if a := r.do(fresh, "GET", "/api/v1/tenants/acme/secrets", nil); a.status != http.StatusOK {
		t.Errorf("a new token after that: %d %s", a.status, a.body)
	}
}

// TestClockSetAhead: a year ahead ends tokens, is reported, and erases nothing.
func TestClockSetAhead(t *testing.T) {
	data := t.TempDir()
	r, stop := serveOn(t, data, nil)
	r.tenant("acme")
	r.issue("acme", object{"ttl": "24h"})
	stop()

	r, stop = serveOn(t, data, shifted(365*day))
	defer stop()
	a := r.do("", "GET", "/api/v1/audit?last=50", nil)
	if !strings.Contains(string(a.body), `"type":"clock"`) {
		t.Errorf("the jump is not in the appliance's log: %s", a.body)
	}
	var got struct {
		Data map[string]string `json:"data"`
	}
	r.must("", "GET", "/api/v1/tenants/acme/secret?path=stripe/live", nil, &got)
	if got.Data["key"] != "sk_acme" {
		t.Errorf("the secret is %v", got.Data)
	}
	var log struct {
		Events []struct{ Action domain.Action } `json:"events"`
	}
	r.must("", "GET", "/api/v1/tenants/acme/audit?limit=1000", nil, &log)
	if len(log.Events) < 6 {
		t.Errorf("the log has %d records left", len(log.Events))
	}
	r.must("", "POST", "/api/v1/tenants/acme/audit/verify", nil, nil)
}
