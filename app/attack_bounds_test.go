package app_test

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"unicode"
)

// TestAttackColumnNames: a column's name is whatever a program made it. The
// terminal of who reads the table must not obey it.
func TestAttackColumnNames(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	name := "a\x1b]0;owned\x07"
	r.must("", http.MethodPost, "/api/v1/tenants/acme/sql", object{"sql": `CREATE TABLE x("` + name + `" TEXT)`}, nil)
	bin, err := exec.LookPath("coffer")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(bin, "sql", "--data", r.data, "-t", "acme", "SELECT * FROM x").Output()
	if err != nil || !strings.Contains(string(out), "owned") {
		t.Fatalf("%v, printed %q", err, out)
	}
	if strings.ContainsFunc(string(out), func(c rune) bool { return c != '\n' && unicode.IsControl(c) }) {
		t.Errorf("printed %q", out)
	}
}
