package app_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// breakWrites makes every descriptor of this process that leads to the file one
// that cannot be written, as a disk that fails would, until repair is called.
func breakWrites(t *testing.T, path string) (broken int, repair func()) {
	t.Helper()
	var repairs []func()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc to find a descriptor in")
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if target, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err != nil || target != path {
			continue
		}
		readOnly, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		good, err := unix.Dup(fd)
		if err != nil {
			t.Fatal(err)
		}
		swap := func(from int) {
			if err := errors.Join(unix.Dup2(from, fd), unix.Close(from)); err != nil {
				t.Error(err)
			}
		}
		swap(readOnly)
		repairs = append(repairs, func() { swap(good) })
	}
	return len(repairs), func() {
		for _, r := range repairs {
			r()
		}
	}
}

// TestCommitThatFailed: whether a COMMIT that the disk refused is on it cannot be
// said, and the log does not.
func TestCommitThatFailed(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	insert := func() answer {
		return r.do("", "POST", "/api/v1/tenants/acme/sql", object{"sql": "INSERT INTO t(b) VALUES ('x')"})
	}
	if a := insert(); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	broken, repair := breakWrites(t, filepath.Join(r.data, "tenants", "acme", "data.db-wal"))
	if broken == 0 {
		t.Fatal("the write-ahead log is not open")
	}
	a := insert()
	repair()
	if a.status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", a.status, a.body)
	}
	for sql, want := range map[string]int{"INSERT INTO t(a) VALUES (1)": http.StatusConflict, "INSERT INTO t(b) VALUES ('y')": http.StatusOK} {
		if a := r.do("", "POST", "/api/v1/tenants/acme/sql", object{"sql": sql}); a.status != want {
			t.Errorf("%s: %d %s", sql, a.status, a.body)
		}
	}
	var outcomes []string
	for deadline := time.Now().Add(patience); len(outcomes) < 5 && time.Now().Before(deadline); { // an outcome follows its answer
		outcomes = nil
		for _, e := range r.events("/api/v1/tenants/acme/audit", "sql.write") {
			if e.Type == "outcome" {
				outcomes = append(outcomes, e.Outcome)
			}
		}
	}
	slices.Sort(outcomes)
	if !slices.Equal(outcomes, []string{"failed", "ok", "ok", "ok", "unknown"}) {
		t.Errorf("the outcomes are %v", outcomes)
	}
}
