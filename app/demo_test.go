package app_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coffer/app"
)

// onText is a writer that calls do once, when a text has been written.
type onText struct {
	bytes.Buffer
	text string
	do   func()
}

func (w *onText) Write(b []byte) (int, error) {
	n, err := w.Buffer.Write(b)
	if do := w.do; do != nil && strings.Contains(w.String(), w.text) {
		w.do = nil
		do()
	}
	return n, err
}

// TestDemo walks the demo.
func TestDemo(t *testing.T) {
	var out bytes.Buffer
	if err := app.DemoForTest(t.Context(), filepath.Join(shortDir(t), "d"), &out); err != nil {
		t.Fatalf("%v after:\n%s", err, out.String())
	}
	for _, text := range []string{"sk_demo_acme", "Bolt", "a copy as it is: good", "every step came out as it must"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("it does not print %q:\n%s", text, out.String())
		}
	}
	if strings.Contains(strings.ReplaceAll(out.String(), "cft_…", ""), "cft_") {
		t.Errorf("it prints a token:\n%s", out.String())
	}
}

// TestDemoFails makes each part of the demo come out otherwise than it must. The
// demo must end there with an error.
func TestDemoFails(t *testing.T) {
	for title, wrong := range map[string]func(t *testing.T, r *running){
		"Two clients":           func(_ *testing.T, r *running) { r.tenant("globex") },
		"A secret, stored":      func(_ *testing.T, r *running) { r.must("", "POST", "/api/v1/tenants/globex/suspend", nil, nil) },
		"A table, rows":         func(_ *testing.T, r *running) { r.must("", "POST", "/api/v1/tenants/acme/suspend", nil, nil) },
		"token for each role":   func(_ *testing.T, r *running) { r.sql("acme", "DROP TABLE parts") },
		"tries to reach Globex": func(_ *testing.T, r *running) { r.workload("acme", "shop") },
		"The logs, verified":    func(t *testing.T, r *running) { damage(t, r.data, "audit/wal/0000000000000001.wal", 9000) },
		"flipped in a copy":     func(t *testing.T, r *running) { damage(t, r.data, "tenants/globex/data.db", 4500) },
	} {
		t.Run(title, func(t *testing.T) {
			r := &running{tb: t, data: filepath.Join(shortDir(t), "d")}
			r.client = app.SocketClient(r.data)
			out := &onText{text: title, do: func() { wrong(t, r) }}
			err := app.DemoForTest(t.Context(), r.data, out)
			if err == nil || strings.Contains(out.String(), "every step came out as it must") {
				t.Errorf("%v after:\n%s", err, out.String())
			}
			t.Log(err)
			r.client.CloseIdleConnections()
		})
	}
}

func (r *running) sql(tenant, sql string) {
	r.tb.Helper()
	r.must("", "POST", "/api/v1/tenants/"+tenant+"/sql", object{"sql": sql}, nil)
}

func (r *running) workload(tenant, name string) {
	r.tb.Helper()
	r.must("", "POST", "/api/v1/tenants/"+tenant+"/workloads", object{"name": name, "grants": []string{"sql:analyst"}}, nil)
}

// damage inverts a byte of a file that is open.
func damage(t *testing.T, data, name string, offset int64) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(data, name), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, offset); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0xff
	if _, err := f.WriteAt(b, offset); err != nil {
		t.Fatal(err)
	}
}
