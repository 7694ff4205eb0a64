package wrap_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
	"coffer/app/store/storetest"
	"coffer/vault/wrap"
)

var start = time.Date(2026, 11, 18, 9, 0, 0, 0, time.UTC)

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func spec(tenant domain.TenantID, content string) wrap.Spec {
	return wrap.Spec{
		Tenant: tenant, Path: "secret/data/stripe/live", Maker: "person:p_1", Shape: wrap.Envelope, TTL: time.Minute,
		Content: domain.SecretString(content),
	}
}

func create(tb testing.TB, db *store.Store, s wrap.Spec) (text domain.Secret, t wrap.Token) {
	tb.Helper()
	_, err := db.Update(tb.Context(), func(tx *store.Tx) (err error) {
		text, t, err = wrap.Create(tx, s, start)
		return err
	})
	must(tb, err)
	return text, t
}

func burn(tb testing.TB, db *store.Store, text domain.Secret, now time.Time) (content string, err error) {
	tb.Helper()
	_, err = db.Update(tb.Context(), func(tx *store.Tx) error {
		_, c, err := wrap.Burn(tx, text, now)
		content = string(c.Reveal())
		return err
	})
	return content, err
}

func lookup(tb testing.TB, db *store.Store, text domain.Secret, now time.Time) (t wrap.Token, err error) {
	tb.Helper()
	err = db.View(tb.Context(), func(tx *store.Tx) error {
		t, err = wrap.Lookup(tx, text, now)
		return err
	})
	return t, err
}

// TestOnce: of sixteen who come at once one gets the answer, and each of the others
// is known for who came second.
func TestOnce(t *testing.T) {
	db := storetest.New(t, storetest.MemoryDir(t))
	text, made := create(t, db, spec("acme", "a secret"))
	var got, second atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			content, err := burn(t, db, text, start)
			used, is := errors.AsType[*wrap.UsedError](err)
			switch {
			case err == nil && content == "a secret":
				got.Add(1)
			case is && used.Token.Accessor == made.Accessor && content == "":
				second.Add(1)
			default:
				t.Errorf("%q, %v", content, err)
			}
		})
	}
	wg.Wait()
	if got.Load() != 1 || second.Load() != 15 {
		t.Errorf("%d got it, %d came second", got.Load(), second.Load())
	}
	if _, err := lookup(t, db, text, start); !errors.Is(err, wrap.ErrUnknown) {
		t.Error(err)
	}
}

// TestLookupBurnsNothing: looking is no use, and shows what the maker said.
func TestLookupBurnsNothing(t *testing.T) {
	db := storetest.New(t, storetest.MemoryDir(t))
	text, made := create(t, db, spec("acme", "x"))
	for range 3 {
		if got, err := lookup(t, db, text, start); err != nil || got != made {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if content, err := burn(t, db, text, start); err != nil || content != "x" {
		t.Errorf("%q, %v", content, err)
	}
}

// TestWhatDoesNotHold is all one answer.
func TestWhatDoesNotHold(t *testing.T) {
	db := storetest.New(t, storetest.MemoryDir(t))
	text, _ := create(t, db, spec("acme", "x"))
	taken, made := create(t, db, spec("acme", "x"))
	_, err := storetest.Change(t, db, func(tx *store.Tx) (wrap.Token, error) { return wrap.Revoke(tx, "acme", made.Accessor, start) })
	must(t, err)
	good := string(text.Reveal())
	for name, c := range map[string]struct {
		text string
		now  time.Time
	}{
		"nothing": {"", start}, "another kind": {"cft_" + good[4:], start}, "shorter": {good[:len(good)-1], start}, "an accessor": {made.Accessor, start},
		"unknown": {wrap.Prefix + strings.Repeat("a", 52), start}, "ended": {good, start.Add(time.Minute)}, "revoked": {string(taken.Reveal()), start},
	} {
		if _, err := burn(t, db, domain.SecretString(c.text), c.now); err == nil || err.Error() != wrap.ErrUnknown.Error() {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := lookup(t, db, domain.SecretString(c.text), c.now); err == nil || err.Error() != wrap.ErrUnknown.Error() {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := storetest.Change(t, db, func(tx *store.Tx) (wrap.Token, error) { return wrap.Revoke(tx, "globex", made.Accessor, start) }); domain.KindOf(err) != domain.NotFound {
		t.Errorf("another tenant's: %v", err)
	}
}

// TestNobodyElseCanRead: what the store holds, opened, gives the answer to nobody
// who lacks the token; and an answer that was moved to another token does not open.
func TestNobodyElseCanRead(t *testing.T) {
	db := storetest.New(t, storetest.MemoryDir(t))
	text, _ := create(t, db, spec("acme", "canary-in-an-answer"))
	other, _ := create(t, db, spec("acme", "another-answer"))
	must(t, db.View(t.Context(), func(tx *store.Tx) error {
		for _, bucket := range wrap.Buckets {
			if err := tx.Scan(bucket, nil, nil, func(key, value []byte) error {
				for _, b := range [][]byte{key, value} {
					if bytes.Contains(b, []byte("canary")) || bytes.Contains(b, text.Reveal()[4:20]) {
						t.Errorf("the bucket %s tells", bucket)
					}
				}
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	}))
	_, err := db.Update(t.Context(), func(tx *store.Tx) error {
		var keys, values [][]byte
		if err := tx.Scan("wrap-contents", nil, nil, func(key, value []byte) error {
			keys, values = append(keys, key), append(values, value)
			return nil
		}); err != nil {
			return err
		}
		return errors.Join(tx.Put("wrap-contents", keys[0], values[1]), tx.Put("wrap-contents", keys[1], values[0]))
	})
	must(t, err)
	for _, text := range []domain.Secret{text, other} {
		if content, err := burn(t, db, text, start); domain.KindOf(err) != domain.Tampered || content != "" {
			t.Errorf("%q, %v", content, err)
		}
	}
}

// TestBounds: a tenant cannot fill the store.
func TestBounds(t *testing.T) {
	defer wrap.SetMaxBytes(1000)()
	db := storetest.New(t, storetest.MemoryDir(t))
	try := func(s wrap.Spec) error {
		_, err := db.Update(t.Context(), func(tx *store.Tx) error {
			_, _, err := wrap.Create(tx, s, start)
			return err
		})
		return err
	}
	text, _ := create(t, db, spec("acme", strings.Repeat("x", 600)))
	if err := try(spec("acme", strings.Repeat("x", 600))); domain.KindOf(err) != domain.Limit {
		t.Error(err)
	}
	must(t, try(spec("globex", strings.Repeat("x", 600))))
	_, err := burn(t, db, text, start)
	must(t, err)
	must(t, try(spec("acme", strings.Repeat("x", 600))))
	if err := try(spec("acme", strings.Repeat("x", wrap.MaxContent+1))); domain.KindOf(err) != domain.Limit {
		t.Error(err)
	}
	s := spec("acme", "x")
	for _, s.TTL = range []time.Duration{0, -1, domain.MaxTTL + 1} {
		if err := try(s); domain.KindOf(err) != domain.Internal {
			t.Errorf("%v: %v", s.TTL, err)
		}
	}
}

// TestGone: sweeping and destroying a tenant leave nothing.
func TestGone(t *testing.T) {
	db := storetest.New(t, storetest.MemoryDir(t))
	rows := func() (n int) {
		must(t, db.View(t.Context(), func(tx *store.Tx) error {
			for _, bucket := range wrap.Buckets {
				c, err := tx.Count(bucket, nil)
				if n += c; err != nil {
					return err
				}
			}
			return nil
		}))
		return n
	}
	used, _ := create(t, db, spec("acme", "x"))
	create(t, db, spec("acme", "y"))
	_, err := burn(t, db, used, start)
	must(t, err)
	for _, want := range []int{0, 1, 1, 0} {
		at := start.Add(time.Hour)
		if want == 0 && rows() > 7 {
			at = start.Add(time.Minute) // they end now, not before
		}
		n, err := storetest.Change(t, db, func(tx *store.Tx) (int, error) { return wrap.Sweep(tx, at, 1) })
		if err != nil || n != want {
			t.Errorf("%d swept, %v, want %d", n, err, want)
		}
	}
	if n := rows(); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	create(t, db, spec("acme", "x"))
	create(t, db, spec("globex", "x"))
	_, err = db.Update(t.Context(), func(tx *store.Tx) error { return wrap.RemoveTenant(tx, "acme") })
	if must(t, err); rows() != 5 {
		t.Errorf("%d rows are left", rows())
	}
}

// TestVectors opens rows as they were written once.
func TestVectors(t *testing.T) {
	db := storetest.New(t, storetest.MemoryDir(t))
	f, err := os.Open("testdata/v1/rows.jsonl")
	must(t, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var l struct{ Bucket, Key, Hex string }
		must(t, json.Unmarshal(lines.Bytes(), &l))
		key, err := hex.DecodeString(l.Key)
		must(t, err)
		value, err := hex.DecodeString(l.Hex)
		must(t, err)
		if l.Bucket == "wraps" {
			if again, err := wrap.Recode(value); err != nil || !bytes.Equal(again, value) {
				t.Errorf("%s is written as %s, %v", value, again, err)
			}
		}
		_, err = db.Update(t.Context(), func(tx *store.Tx) error { return tx.Put(l.Bucket, key, value) })
		must(t, err)
	}
	if content, err := burn(t, db, domain.SecretString("cfw_"+strings.Repeat("a", 52)), start); content != `{"k":"v"}` || err != nil {
		t.Errorf("%q, %v", content, err)
	}
	_, err = burn(t, db, domain.SecretString("cfw_"+strings.Repeat("b", 52)), start)
	if used, is := errors.AsType[*wrap.UsedError](err); !is || !used.Token.Used.Equal(start.Add(time.Second)) {
		t.Error(err)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"version":1,"accessor":"wa_1","tenant":"acme","path":"p","maker":"person:p_1","shape":"envelope","created":"2026-11-18T09:00:00Z","expires":"2026-11-18T10:00:00Z","size":3}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if again, err := wrap.Recode(b); err == nil && !bytes.Equal(again, b) {
			t.Fatalf("%s was accepted, is written as %s", b, again)
		}
	})
}

func BenchmarkCreateAndBurn(b *testing.B) {
	db := storetest.New(b, storetest.MemoryDir(b))
	for b.Loop() {
		text, _ := create(b, db, spec("acme", "a secret"))
		if _, err := burn(b, db, text, start); err != nil {
			b.Fatal(err)
		}
	}
}
