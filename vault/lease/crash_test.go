package lease_test

import (
	"bufio"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
	"coffer/vault/lease"
)

const crashDir = "COFFER_LEASE_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		makeUntilKilled(dir)
		return
	}
	os.Exit(m.Run())
}

// fixed is AES-256-GCM under a key that two processes know.
type fixed struct{ cipher.AEAD }

func newFixed() fixed {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return fixed{aead}
}

func (f fixed) Encrypt(plain, with []byte) ([]byte, error)  { return f.Seal(nil, nil, plain, with), nil }
func (f fixed) Decrypt(sealed, with []byte) ([]byte, error) { return f.Open(nil, nil, sealed, with) }

// makeUntilKilled makes and takes back files from several goroutines, and says a
// line for each.
func makeUntilKilled(dir string) {
	db, err := store.Open(filepath.Join(dir, "control.db"), newFixed())
	if err != nil {
		panic(err)
	}
	theFiles.dir, theFiles.fail = filepath.Join(dir, "files"), map[string]error{}
	k := &kit{db: db, now: start, dead: map[string]bool{}}
	k.sweeper = k.newSweeper()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				l, err := lease.Grant(context.Background(), db, spec("acme", fmt.Sprintf("ta_%d", i), time.Hour), k.clock, theFiles.make)
				if err == nil && n%3 == 0 {
					_, err = db.Update(context.Background(), func(tx *store.Tx) error { return lease.End(tx, "acme", l.ID, k.clock()) })
					err = errors.Join(err, k.sweeper.One(context.Background(), "acme", l.ID))
				}
				if err != nil {
					panic(err)
				}
				fmt.Println(l.ID)
			}
		})
	}
	wg.Wait()
}

// TestKill9: whenever the process is killed, each file that is there has a lease,
// and once the leases have ended nothing is left of either.
func TestKill9(t *testing.T) {
	dir := t.TempDir()
	theFiles.mu.Lock()
	theFiles.dir, theFiles.fail = filepath.Join(dir, "files"), map[string]error{}
	theFiles.mu.Unlock()
	must(t, os.Mkdir(theFiles.dir, 0o700))
	db, err := store.Create(filepath.Join(dir, "control.db"), newFixed())
	must(t, err)
	must(t, db.Close())
	rounds := 4
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		killAfter(t, dir, 7+13*round)
	}
	db, err = store.Open(filepath.Join(dir, "control.db"), newFixed())
	must(t, err)
	defer func() { must(t, errors.Join(db.Check(context.Background()), db.Close())) }()
	must(t, db.View(t.Context(), func(tx *store.Tx) error {
		known, err := lease.Page(tx, "acme", "", "", 1<<20, func(lease.Lease) bool { return true })
		must(t, err)
		names := map[string]bool{}
		for _, l := range known {
			names[nameOf(l.ID)] = true
		}
		entries, err := os.ReadDir(theFiles.dir)
		for _, e := range entries {
			if !names[e.Name()] {
				t.Errorf("%s has no lease", e.Name())
			}
		}
		if len(entries) == 0 {
			t.Error("nothing was made")
		}
		return err
	}))
	k := &kit{db: db, now: start.Add(domain.MaxTTL), dead: map[string]bool{}}
	k.sweeper = k.newSweeper()
	k.run(t)
	if theFiles.left(t) != 0 || k.rows(t) != 0 {
		t.Errorf("%d files and %d rows are left", theFiles.left(t), k.rows(t))
	}
}

// killAfter runs makeUntilKilled in a process and kills it after so many lines.
func killAfter(t *testing.T, dir string, lines int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	var failed strings.Builder
	cmd.Stderr = &failed
	must(t, cmd.Start())
	r := bufio.NewReader(out)
	for range lines {
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatalf("the process ended: %v %s", err, failed.String())
		}
	}
	must(t, cmd.Process.Kill())
	_, _ = io.Copy(io.Discard, r)
	_ = cmd.Wait()
}
