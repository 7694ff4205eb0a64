package policies_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/policies"
	"coffer/app/store"
	"coffer/app/store/storetest"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		`path "secret/data/*" { capabilities = ["read"] }`:                                                        "secret/data/* [read]",
		"# who reads\npath \"secret/data/a\" {\n  capabilities = [\"create\", \"update\",]\n}\n":                  "secret/data/a [create update]",
		`path "/secret/+/a" { capabilities = ["deny", "read"] }`:                                                  "secret/+/a [deny]",
		"name = \"p\"\npath \"sys/leases/renew\" {\n  policy = \"write\"\n}":                                      "sys/leases/renew [create delete list read update]",
		`{"path": {"secret/data/*": {"capabilities": ["list", "read"]}}}`:                                         "secret/data/* [list read]",
		`{"path": [{"a": {"capabilities": ["sudo"]}}, {"b": {"policy": "read"}}]}`:                                "a [sudo] b [list read]",
		"path \"a\" { capabilities = [\"read\"] }\n/* and */ // again\npath \"a\" { capabilities = [\"patch\"] }": "a [read] a [patch]",
	} {
		rules, err := policies.Parse("p", text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var got []string
		for _, r := range rules {
			got = append(got, fmt.Sprint(r.Path, " ", r.Powers.Names()))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// TestRefuses: what would not be obeyed is refused, with its line.
func TestRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"": "empty", "#": "no path", `path "a" {}`: "no capabilities", `path "a" { capabilities = [] }`: "empty", "{}": "no path",
		"\n\npath \"a\" { capabilities = [\"raed\"] }":                                            "line 3, column 28",
		`path "a" { capabilities = "read" }`:                                                      "not a list",
		`path "a" { capabilities = ["read" }`:                                                     "line 1",
		`path "a" { capabilities = ["read"], }`:                                                   "line 1",
		`path "a" "b" { capabilities = ["read"] }`:                                                "line 1",
		`path { capabilities = ["read"] }`:                                                        "line 1",
		`paths "a" { capabilities = ["read"] }`:                                                   "line 1",
		`path "a" { capabilities = [upper("read")] }`:                                             "not a text",
		`path "a" { capabilities = ["${read}"] }`:                                                 "templates",
		`path "a" { capabilities = [for x in ["read"]: x] }`:                                      "not a list",
		`path "a" { capabilities = ["read"], capabilities = ["deny"] }`:                           "line 1",
		"path \"a\" {\n capabilities = [\"read\"]\n capabilities = [\"deny\"]\n}":                 "line 3",
		"path \"a\" {\n capabilities = [\"read\"]\n policy = \"deny\"\n}":                         "not both",
		"path \"a\" {\n capabilities = [\"read\"]\n more = 1\n}":                                  "line 3",
		"path \"a\" {\n capabilities = [\"update\"]\n allowed_parameters = {\n \"x\" = []\n }\n}": "allowed_parameters is not supported",
		"path \"a\" {\n capabilities = [\"update\"]\n min_wrapping_ttl = \"1m\"\n}":               "min_wrapping_ttl is not supported",
		`{"path": {"a": {"capabilities": ["read"], "denied_parameters": {"x": []}}}}`:             "denied_parameters is not supported",
		`{"path": {"a": {"capabilities": ["read"], "capabilities": ["deny"]}}}`:                   "line 1",
		`{"path": {"a": {"capabilities": [["read"]]}}}`:                                           "not a text",
		"name = \"q\"\npath \"a\" { capabilities = [\"read\"] }":                                  "another name",
		`path "secret/{{identity.entity.id}}/*" { capabilities = ["read"] }`:                      "template",
		`path "a/../b" { capabilities = ["read"] }`:                                               "..", `path "a//b" { capabilities = ["read"] }`: "empty segment",
		`path "a/*/b" { capabilities = ["read"] }`: "write +", `path "a/+*" { capabilities = ["read"] }`: "+*", `path "a%2fb" { capabilities = ["read"] }`: "character",
		`path "a+/b" { capabilities = ["read"] }`:                                      "segment of its own",
		"path \"a\u200bb\" { capabilities = [\"read\"] }":                              "character",
		`path "a" { capabilities = ["read"] }` + strings.Repeat(" ", policies.MaxText): "more than",
		`path "a" { capabilities = ` + strings.Repeat("[", 60_000):                     "brackets",
		strings.Repeat("path \"a\" { capabilities = [\"read\"] }\n", 1001):             "more than the 1000",
		"\xff": "UTF-8",
	} {
		_, err := policies.Parse("p", text)
		if domain.KindOf(err) != domain.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: %v, want %q", text, err, want)
		}
	}
}

func put(t *testing.T, db *store.Store, tenant domain.TenantID, name, text string) error {
	t.Helper()
	_, err := storetest.Change(t, db, func(tx *store.Tx) (policies.Policy, error) {
		return policies.Save(tx, tenant, policies.Policy{Name: name, Text: text, By: "p_1", Changed: time.Unix(1, 0).UTC()})
	})
	return err
}

// TestResolve: names say what the policies say now, and a removed one nothing.
func TestResolve(t *testing.T) {
	db := storetest.New(t, storetest.MemoryDir(t))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	read := authz.Route{Path: "secret/data/a", Powers: authz.MayRead}
	allows := func(tenant domain.TenantID, names ...string) (ok bool) {
		t.Helper()
		must(db.View(t.Context(), func(tx *store.Tx) error {
			l, err := policies.Resolve(tx, tenant, authz.Layer{Policies: names})
			ok = l.ACL.Allows(read)
			return err
		}))
		return ok
	}
	must(put(t, db, "acme", "reader", `path "secret/data/*" { capabilities = ["read"] }`))
	must(put(t, db, "acme", "never", `path "secret/data/a" { capabilities = ["deny"] }`))
	for _, tc := range []struct {
		tenant domain.TenantID
		names  []string
		want   bool
	}{
		{"acme", []string{"reader"}, true}, {"acme", []string{"never", "reader"}, false}, {"acme", []string{"none"}, false},
		{"globex", []string{"reader"}, false}, {"acme", nil, false}, {"acme", []string{"Reader"}, false},
	} {
		if got := allows(tc.tenant, tc.names...); got != tc.want {
			t.Errorf("%s %v: %v", tc.tenant, tc.names, got)
		}
	}
	must(put(t, db, "acme", "reader", `path "secret/data/*" { capabilities = ["list"] }`))
	if allows("acme", "reader") {
		t.Error("a policy that was changed gives what it gave")
	}
	must(put(t, db, "acme", "reader", `path "secret/data/*" { capabilities = ["read"] }`))
	_, err := storetest.Change(t, db, func(tx *store.Tx) (policies.Policy, error) { return policies.Remove(tx, "acme", "reader") })
	must(err)
	if allows("acme", "reader") {
		t.Error("a policy that was removed gives what it gave")
	}
	for _, name := range []string{"owner", "default", "root", "operator", "A b", ""} {
		if err := put(t, db, "acme", name, `path "a" { capabilities = ["read"] }`); domain.KindOf(err) != domain.Invalid {
			t.Errorf("%q was written: %v", name, err)
		}
	}
}

// TestBuiltIns: what is shown of a role is a policy, and gives no less than is said.
func TestBuiltIns(t *testing.T) {
	for _, role := range append(domain.TenantRoles(), authz.DefaultPolicy) {
		text, ok := authz.BuiltInText(string(role))
		if _, err := policies.Parse(string(role), text); !ok || err != nil && role != domain.Viewer && role != domain.ClientAuditor {
			t.Errorf("%s: %v\n%s", role, err, text)
		}
	}
}

// TestVectors: each row decodes, and encodes to the same bytes, for ever.
func TestVectors(t *testing.T) {
	rows, err := os.ReadFile("testdata/v1/rows.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for row := range bytes.Lines(rows) {
		row = bytes.TrimSpace(row)
		if again, err := policies.Recode(row); err != nil || !bytes.Equal(again, row) {
			t.Errorf("%s: %s, %v", row, again, err)
		}
		for _, bad := range [][]byte{append(bytes.Clone(row), ' '), row[:len(row)-1], bytes.Replace(row, []byte(`"name"`), []byte(`"Name"`), 1), bytes.Replace(row, []byte("capabilities"), []byte("abilities"), 1)} {
			if _, err := policies.Recode(bad); domain.KindOf(err) != domain.Tampered {
				t.Errorf("%s: %v", bad, err)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`path "secret/data/*" { capabilities = ["read"] }`, `{"path":{"a":{"capabilities":["deny"]}}}`, `path "a" { policy = "sudo" }`, "path \"a\" {\n capabilities = <<E\nE\n}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := policies.Parse("p", text)
		if (err == nil) == (len(rules) == 0) {
			t.Fatalf("%d rules, %v", len(rules), err)
		}
		for _, r := range rules {
			if _, err := authz.ParseRulePath(r.Path); err != nil || r.Powers == 0 {
				t.Fatalf("%+v: %v", r, err)
			}
		}
	})
}

func BenchmarkResolve(b *testing.B) {
	db := storetest.New(b, b.TempDir())
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, "path \"secret/data/a%d/*\" { capabilities = [\"read\"] }\n", i)
	}
	if _, err := storetest.Change(b, db, func(tx *store.Tx) (policies.Policy, error) {
		return policies.Save(tx, "acme", policies.Policy{Name: "p", Text: text.String(), By: "p_1"})
	}); err != nil {
		b.Fatal(err)
	}
	err := db.View(b.Context(), func(tx *store.Tx) error {
		for b.Loop() {
			l, err := policies.Resolve(tx, "acme", authz.Layer{Policies: []string{"p"}})
			if err != nil || !l.ACL.Allows(authz.Route{Path: "secret/data/a7/x", Powers: authz.MayRead}) {
				b.Fatal(err)
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
