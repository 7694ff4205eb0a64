package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coffer/app"
	"coffer/app/actions"
	"coffer/app/httpd"
)

// TestUploads: each request is a whole set that fits, each text goes once, and what
// the server has does not go at all.
func TestUploads(t *testing.T) {
	dir := t.TempDir()
	sizes := []int{100, 500 << 10, 400 << 10, 300 << 10, 10, 200 << 10}
	for i, n := range sizes {
		text := fmt.Sprintf("-- %d\n%s\nSELECT 1;\n", i, strings.Repeat("-", n))
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d_a.sql", i+1)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte("no migration"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := serveTemp(t)
	var kept actions.MigrationSetOut
	steps, err := app.Uploads(dir, kept)
	if err != nil || len(steps) != 3 {
		t.Fatalf("%d requests, %v", len(steps), err)
	}
	sent := map[string]bool{}
	for _, in := range steps {
		size := 0
		for _, f := range in.Files {
			if size += len(f.SQL); f.SQL != "" && sent[f.Name] {
				t.Errorf("%s is sent twice", f.Name)
			}
			sent[f.Name] = sent[f.Name] || f.SQL != ""
		}
		if size > httpd.MaxBody*2/3 {
			t.Errorf("%d bytes in one request", size)
		}
		r.must("", "PUT", "/api/v1/migrations", in, nil)
	}
	r.must("", "GET", "/api/v1/migrations", nil, &kept)
	if len(kept.Migrations) != len(sizes) {
		t.Errorf("%d migrations are kept", len(kept.Migrations))
	}
	steps, err = app.Uploads(dir, kept)
	if err != nil || len(steps) != 1 || steps[0].Files[1].SQL != "" {
		t.Errorf("again: %d requests, %v", len(steps), err)
	}
	r.must("", "PUT", "/api/v1/migrations", steps[0], nil)
	// A text that was left out and is not there, and one that is not what was said.
	for _, f := range []object{
		{"name": "0001_a.sql", "sha256": strings.Repeat("0", 64)},
		{"name": "0001_a.sql"},
		{"name": "0001_b.sql", "sha256": kept.Migrations[0].SHA256},
		{"name": "0001_a.sql", "sha256": strings.Repeat("0", 64), "sql": "SELECT 1"},
	} {
		if a := r.do("", "PUT", "/api/v1/migrations", object{"files": []object{f}}); a.status != 400 {
			t.Errorf("%v: %d %s", f, a.status, a.body)
		}
	}
}

func TestBar(t *testing.T) {
	var b strings.Builder
	app.ShowRuns(&b, actions.MigrationRunInfo{}, actions.MigrationRunInfo{Total: 4}, actions.MigrationRunInfo{Total: 4, Done: 1, Failures: 1}, actions.MigrationRunInfo{Total: 2, Done: 3})
	want := "\r[" + strings.Repeat(".", 30) + "] 0 of 4, 0 failed \r[" + strings.Repeat("#", 15) + strings.Repeat(".", 15) +
		"] 1 of 4, 1 failed \r[" + strings.Repeat("#", 30) + "] 3 of 2, 0 failed \n"
	if b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}
