package app_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestAttackQueriesOfOthers: what a person keeps to themselves is neither seen,
// run, changed nor shared by others who may do the same with what is theirs.
func TestAttackQueriesOfOthers(t *testing.T) {
	if testing.Short() {
		t.Skip("people sign in, which takes seconds under the race detector")
	}
	p := servePeople(t)
	p.operator("olga")
	p.tenant("acme")
	const at = "/api/v1/tenants/acme/queries/"
	anna, ben, vera := p.member("acme", "anna", "analyst"), p.member("acme", "ben", "analyst"), p.member("acme", "vera", "viewer")
	query := func(sql string, shared bool) object { return object{"sql": sql, "shared": shared} }
	p.want(200, `"mine"`, anna.Session, "PUT", at+"mine", query("SELECT 'private' AS a", false))
	p.want(200, `"open"`, anna.Session, "PUT", at+"open", query("SELECT 'shared' AS a", true))
	p.want(200, "private", anna.Session, "POST", at+"mine/run", object{})

	for _, other := range []somebody{ben, vera} {
		hidden := p.want(404, "", other.Session, "POST", at+"mine/run", object{})
		if none := p.want(404, "", other.Session, "POST", at+"none/run", object{}); none.words() != hidden.words() {
			t.Errorf("%s is told of a query that is there, %s, and of none, %s", other.Name, hidden.words(), none.words())
		}
		p.want(404, "", other.Session, "GET", at+"mine", nil)
		p.want(403, "", other.Session, "PUT", at+"mine", query("SELECT 2", true))
		p.want(403, "", other.Session, "PUT", at+"open", query("SELECT 2", true))
		p.want(403, "", other.Session, "DELETE", at+"mine", nil)
		p.want(403, "", other.Session, "DELETE", at+"open", nil)
		if list := p.want(200, `"open"`, other.Session, "GET", strings.TrimSuffix(at, "/"), nil); strings.Contains(string(list.body), "mine") {
			t.Errorf("%s sees %s", other.Name, list.body)
		}
		p.want(200, "shared", other.Session, "POST", at+"open/run", object{})
	}
	// A dashboard is no way to look at it either.
	p.want(400, "no shared query", ben.Session, "PUT", "/api/v1/tenants/acme/dashboards/d", object{"queries": []string{"mine"}})
	p.want(403, "", vera.Session, "PUT", "/api/v1/tenants/acme/dashboards/d", object{"queries": []string{"open"}})
	// Nor are the bounds of its fields: each of these would be another value once
	// it is stored, or fail whenever it is run.
	for field, value := range map[string]string{"refresh": "4294967356", "params": `[{"name": "x", "default": 1e999}]`} {
		body := []byte(fmt.Sprintf(`{"sql": "SELECT :x AS a", %q: %s}`, field, value))
		p.want(400, field, anna.Session, "PUT", at+"wrong", body)
	}
}
