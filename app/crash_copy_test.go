package app_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coffer/app"
)

const (
	copies         = 8  // of the data directory
	answersBetween = 40 // at least, between two copies
)

// TestCopyWhileServing copies the data directory file by file while clients
// work, so that the parts of a copy are of different moments: what a power cut
// or a careless backup leaves, and worse. A start on a copy must either be
// refused as tampered, or serve nothing but what was once written.
func TestCopyWhileServing(t *testing.T) {
	t.Parallel()
	seed := fromEnvironment(t, "COFFER_CRASH_SEED", int(time.Now().UnixNano()%1e9))
	t.Logf("COFFER_CRASH_SEED=%d", seed)
	c := newCampaign(t, uint64(seed), 1<<17)
	c.start()
	defer func() { c.daemon.kill() }()
	c.makeShared()

	var dirs []string
	var over atomic.Bool
	var clients sync.WaitGroup
	answers := make(chan struct{}, 1)
	for _, l := range c.loaders {
		clients.Go(func() {
			for !over.Load() && c.ask(l) {
				select {
				case answers <- struct{}{}:
				default:
				}
			}
		})
	}
	for range copies {
		for range answersBetween {
			select {
			case <-answers:
			case <-c.daemon.done:
				t.Fatalf("the server ended by itself: exit %d: %s", c.daemon.exitCode(), c.daemon.errors())
			}
		}
		dirs = append(dirs, shortDir(t))
		if err := c.copyFiles(dirs[len(dirs)-1]); err != nil {
			t.Error(err)
		}
	}
	over.Store(true)
	clients.Wait()
	c.stop()
	c.settleAll()
	verdicts := map[string]int{}
	for _, dir := range dirs {
		verdicts[c.tryCopy(dir)]++
	}
	t.Logf("%v, %d values compared", verdicts, c.checks.Load())
}

// copyFiles copies the data directory one file after the other, in any order.
// What goes away meanwhile is left out.
func (c *campaign) copyFiles(to string) error {
	var files []string
	err := filepath.WalkDir(c.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type().IsRegular() {
			files = append(files, path)
		}
		return nil // what cannot be read has gone
	})
	c.rng.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	for _, path := range files {
		b, readErr := os.ReadFile(path)
		if errors.Is(readErr, fs.ErrNotExist) {
			continue
		}
		target := filepath.Join(to, strings.TrimPrefix(path, c.data))
		err = errors.Join(err, readErr, os.MkdirAll(filepath.Dir(target), 0o700), os.WriteFile(target, b, 0o600))
	}
	return err
}

// settleAll takes every answer as known: nothing was lost.
func (c *campaign) settleAll() {
	for _, l := range c.loaders {
		for _, r := range l.sent {
			if r.status == 0 {
				c.t.Errorf("no answer from a server that was not killed: %v", r)
			}
		}
	}
}

// exitTampered is the exit code of a start that is refused.
const exitTampered = 6

// tryCopy starts a server on a copy and says what came of it.
func (c *campaign) tryCopy(dir string) string {
	d, err := launch(dir, os.Environ(), "--data", dir, "--seal", "keyfile")
	if err != nil {
		c.t.Fatal(err)
	}
	defer d.kill()
	if err := d.awaitReady(); err != nil {
		if !errors.Is(err, errNotReady) || d.exitCode() != exitTampered {
			c.t.Errorf("a copy is neither refused as tampered nor served: %v", err)
		}
		return "refused"
	}
	c.client = app.SocketClient(dir)
	defer c.client.CloseIdleConnections()
	for _, p := range c.places {
		c.compareCopiedRows(p)
		for _, l := range c.loaders {
			for _, h := range l.shared {
				if h.in == p {
					c.compareCopiedSecrets(h)
				}
			}
		}
	}
	return "served"
}

// compareCopiedRows wants every row that is served to be as it was written.
func (c *campaign) compareCopiedRows(p *place) {
	b, ok := c.copied(&request{
		method: http.MethodPost, path: tenantURL(p.id, "sql"), body: map[string]any{"sql": "SELECT tag, v FROM rows"},
	})
	if !ok {
		return
	}
	var out struct{ Rows [][]string }
	if err := json.Unmarshal(b, &out); err != nil {
		c.t.Error(err)
	}
	for _, row := range out.Rows {
		c.checks.Add(1)
		if row[1] != valueOf(row[0]) {
			c.t.Errorf("the row of %s is %.80q in a copy", row[0], row[1])
		}
	}
}

// compareCopiedSecrets wants every version that is served to be the one that was
// written, and none that was not.
func (c *campaign) compareCopiedSecrets(h *holding) {
	for path, versions := range h.secrets {
		for n := kept(versions) + 1; n <= len(versions)+1; n++ {
			b, ok := c.copied(&request{
				method: http.MethodGet, path: tenantURL(h.in.id, "secret"),
				query: url.Values{"path": {path}, "version": {strconv.Itoa(n)}},
			})
			if !ok {
				continue
			}
			c.checks.Add(1)
			var out struct{ Data map[string]string }
			if err := json.Unmarshal(b, &out); err != nil {
				c.t.Error(err)
			}
			if n > len(versions) || out.Data["v"] != versions[n-1].value {
				c.t.Errorf("version %d of %s in %s is %.80q in a copy", n, path, h.in.id, out.Data["v"])
			}
		}
	}
}

// copied asks a server on a copy. It may say that something is damaged, is older
// or is not there; ok is false then.
func (c *campaign) copied(r *request) (b []byte, ok bool) {
	r.tag = "verify"
	b, err := r.exchange(c.t.Context(), c.client)
	if err != nil {
		c.t.Errorf("a server on a copy gave no answer: %v", err)
		return nil, false
	}
	if r.good() {
		return b, true
	}
	kind, _ := fields(b)["kind"].(string)
	switch kind {
	case "tampered", "not_found", "denied", "invalid":
	default:
		c.t.Errorf("%s: %s", r.path, fmt.Sprintf("%.300s", b))
	}
	return nil, false
}
