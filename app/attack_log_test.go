package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestAttackCrowdedEvent reads a table together with so many long names that the
// event's detail would be too large. The table must stand in the log.
func TestAttackCrowdedEvent(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	var columns []string
	for i := range 200 {
		columns = append(columns, fmt.Sprintf("%s_%d", strings.Repeat("c", 100), i))
	}
	sql := "/api/v1/tenants/acme/sql"
	r.must("", http.MethodPost, sql, object{"sql": "CREATE TABLE zz(" + strings.Join(columns, ",") + ")"}, nil)
	r.must("", http.MethodPost, sql, object{"sql": "SELECT * FROM t, zz"}, nil)
	var out struct {
		Events []struct {
			Detail struct {
				Tables    []string
				Truncated bool
			}
		}
	}
	a := r.do("", http.MethodGet, "/api/v1/tenants/acme/audit?action=sql.query", nil)
	if err := json.Unmarshal(a.body, &out); err != nil || len(out.Events) != 1 {
		t.Fatalf("%v: %s", err, a.body)
	}
	if d := out.Events[0].Detail; len(d.Tables) != 2 || !d.Truncated {
		t.Errorf("the event says %+v", d)
	}
}
