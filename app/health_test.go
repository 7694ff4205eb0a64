package app_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coffer/app"
	"coffer/app/domain"
)

// TestHealthDoesNotWaitForEver asks one who takes the connection and is silent.
func TestHealthDoesNotWaitForEver(t *testing.T) {
	data, err := os.MkdirTemp("/tmp", "c") // not t.TempDir: a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(data) })
	if err := os.Mkdir(filepath.Join(data, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(data, "run", "coffer.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = app.Health(ctx, data)
	if domain.KindOf(err) != domain.Unavailable || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("health of one who is silent: %v", err)
	}
}

func TestOwnerHintNamesTheDirectoryToChange(t *testing.T) {
	for _, test := range []struct {
		contained bool
		want      string
	}{
		{false, "chown -R 65532:65532 /data"},
		{true, "it must belong to uid 65532, as which Coffer runs in this container; on the host: chown -R 65532:65532 DIR, where DIR is the directory mounted at /data"},
	} {
		if got := app.OwnerHint("/data", 65532, 65532, test.contained); !strings.HasSuffix(got, test.want) {
			t.Errorf("contained %v: %q", test.contained, got)
		}
	}
}
