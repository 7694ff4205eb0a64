package app_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"coffer/app/domain"
)

// breakFile makes a file that this process has open read-only under it: the next
// write fails as on a dying disk.
func breakFile(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	broken := 0
	for _, e := range fds {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if open, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err != nil || open != path || fd == int(f.Fd()) {
			continue
		}
		if err := unix.Dup3(int(f.Fd()), fd, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		broken++
	}
	if broken != 1 {
		t.Fatalf("%s is open %d times", path, broken)
	}
}

// TestStoreStops: when a store cannot be written any more Coffer ends and says
// why, so that whoever watches over it starts it again; and the log does not say
// of the change that was under way that it failed, which nobody knows.
func TestStoreStops(t *testing.T) {
	for name, change := range map[string]func(r *running) answer{
		"control.db": func(r *running) answer {
			return r.do("", http.MethodPut, "/api/v1/tenants/acme/secret?path=stripe/live", object{"data": object{"key": "v2"}})
		},
		"vault/keys.db": func(r *running) answer {
			return r.do("", http.MethodPost, "/api/v1/tenants", object{"id": "globex", "name": "Globex"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := shortDir(t)
			r, ended := serveUntilItEnds(t, data)
			r.tenant("acme")
			breakFile(t, filepath.Join(data, name))
			if a := change(r); a.status != http.StatusServiceUnavailable {
				t.Errorf("%d %s", a.status, a.body)
			}
			if err := <-ended; domain.KindOf(err) != domain.Unavailable || domain.HintOf(err) == "" || !strings.Contains(err.Error(), name) {
				t.Errorf("it ended with %v", err)
			}
			r, stop := serveOn(t, data, nil)
			defer stop()
			r.must("", http.MethodGet, "/api/v1/tenants/acme/secret?path=stripe/live", nil, nil)
			for _, log := range []string{"/api/v1/tenants/acme/audit", "/api/v1/audit"} {
				if a := r.do("", http.MethodGet, log+"?outcome=failed", nil); strings.Contains(string(a.body), `"type":"outcome"`) && name == "control.db" {
					t.Errorf("the log says of a change in doubt that it failed: %s", a.body)
				}
			}
			a := r.do("", http.MethodGet, "/api/v1/tenants/acme/audit?outcome=unknown", nil)
			if name == "control.db" && !strings.Contains(string(a.body), `"action":"secret.put"`) {
				t.Errorf("the log does not say that the outcome is unknown: %s", a.body)
			}
		})
	}
}
