package app_test

import (
	"testing"

	"coffer/app"
)

// TestIdentityVector: what FORMAT.md shows is read for ever, and nothing else.
func TestIdentityVector(t *testing.T) {
	const vector = `{"version":1,"instance":"AAECAwQFBgcICQoLDA0ODw==","log_tag":"EBESExQVFhcYGRobHB0eHw==","retention_days":3653,"logged":true}`
	if err := app.DecodeIdentity([]byte(vector)); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{
		"", "{}", vector + " ", vector[:len(vector)-1] + `,"x":1}`,
		`{"version":2,"instance":"AAECAwQFBgcICQoLDA0ODw==","log_tag":"EBESExQVFhcYGRobHB0eHw==","retention_days":3653,"logged":true}`,
		`{"version":1,"instance":"AAEC","log_tag":"EBESExQVFhcYGRobHB0eHw==","retention_days":3653,"logged":true}`,
		`{"version":1,"log_tag":"EBESExQVFhcYGRobHB0eHw==","instance":"AAECAwQFBgcICQoLDA0ODw==","retention_days":3653,"logged":true}`,
	} {
		if err := app.DecodeIdentity([]byte(bad)); err == nil {
			t.Errorf("accepted %s", bad)
		}
	}
}
