package store_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"coffer/app/store"
)

const killEnv = "COFFER_TEST_KILL"

// TestKilled kills a process that updates with several callers, again and
// again on the same file, and wants every answered update to be there and the
// file to pass Check.
func TestKilled(t *testing.T) {
	if path := os.Getenv(killEnv); path != "" {
		updateUntilKilled(t, path)
		return
	}
	path := newPath(t)
	mustClose(t, mustCreate(t, path))
	answered := map[string]bool{}
	for round := range 12 {
		for _, key := range killAfter(t, path, 5+round*7) {
			answered[key] = true
		}
		s := mustOpen(t, path)
		got, err := contents(s, "b", "pairs")
		if err != nil {
			t.Fatal(err)
		}
		for key := range answered {
			if got["b/"+key] != key {
				t.Fatalf("round %d: %s was answered and is lost", round, key)
			}
		}
		for name := range got { // both entries of one update, or none
			bucket, key, _ := strings.Cut(name, "/")
			other := map[string]string{"b": "pairs", "pairs": "b"}[bucket]
			if _, ok := got[other+"/"+key]; !ok {
				t.Fatalf("round %d: half an update: %s", round, name)
			}
		}
		if err := s.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
	}
	if len(answered) < 100 {
		t.Errorf("only %d updates were answered", len(answered))
	}
}

// killAfter starts the process, reads n answers, kills it, and gives all
// answers that came out.
func killAfter(t *testing.T, path string, n int) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), killEnv+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var keys []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		key, ok := strings.CutPrefix(lines.Text(), "answered ")
		if !ok || !strings.HasSuffix(key, ".") {
			continue // the last line may be cut
		}
		keys = append(keys, key)
		if len(keys) == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	if len(keys) < n {
		t.Fatalf("the process ended after %d answers", len(keys))
	}
	return keys
}

func updateUntilKilled(t *testing.T, path string) {
	s, err := store.Open(path, testAEAD(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var out sync.Mutex
	var wg sync.WaitGroup
	for c := range 4 {
		wg.Go(func() {
			for i := range 5000 {
				key := fmt.Sprintf("%d-%d-%d.", os.Getpid(), c, i)
				_, err := s.Update(t.Context(), func(tx *store.Tx) error {
					if err := tx.Put("b", []byte(key), []byte(key)); err != nil {
						return err
					}
					return tx.Put("pairs", []byte(key), make([]byte, i%3000))
				})
				if err != nil {
					t.Error(err)
					return
				}
				out.Lock()
				fmt.Printf("answered %s\n", key)
				out.Unlock()
			}
		})
	}
	wg.Wait()
}
