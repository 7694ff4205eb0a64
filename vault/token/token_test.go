package token_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/app/store"
	"coffer/app/store/storetest"
	"coffer/vault/token"
)

func TestIssueAndLookup(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	capability, err := authz.ParseCapability("secret:read:stripe/*")
	must(t, err)
	s := spec("acme", time.Hour)
	s.Layer = authz.Layer{Capabilities: []authz.Capability{capability}}
	text, made := issue(t, db, s, start)
	if len(text.Reveal()) != len(token.Prefix)+52 || !strings.HasPrefix(string(text.Reveal()), token.Prefix) {
		t.Errorf("the text has another form: %d bytes", text.Len())
	}
	want := token.Token{
		Accessor: made.Accessor, Tenant: "acme", Principal: s.Principal, Layer: s.Layer, IssuedBy: "p_1", Name: "a note",
		Issued: start, Expires: start.Add(time.Hour), Max: start.Add(time.Hour), TTL: time.Hour,
	}
	for _, now := range []time.Time{start, start.Add(time.Hour - 1), start.Add(-time.Hour)} {
		got, err := lookup(t, db, text, now)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(authz.Capability{})); diff != "" || err != nil {
			t.Error(diff, err)
		}
	}
	for _, now := range []time.Time{start.Add(time.Hour), start.Add(1000 * time.Hour)} {
		if got, err := lookup(t, db, text, now); !errors.Is(err, token.ErrUnknown) || !cmp.Equal(got, token.Token{}, cmp.AllowUnexported(authz.Capability{})) {
			t.Errorf("at %v: %+v, %v", now, got, err)
		}
	}
	other, _ := issue(t, db, s, start)
	if other.Equal(text) {
		t.Error("two tokens are one")
	}
}

// TestMaxTokens: a tenant cannot fill the store with tokens.
func TestMaxTokens(t *testing.T) {
	defer token.SetMaxTokens(2)()
	db := storetest.New(t, t.TempDir())
	issue(t, db, spec("acme", time.Hour), start)
	issue(t, db, spec("acme", time.Hour), start)
	_, err := db.Update(t.Context(), func(tx *store.Tx) error {
		_, _, err := token.Issue(tx, spec("acme", time.Hour), start)
		return err
	})
	if domain.KindOf(err) != domain.Limit {
		t.Errorf("a third token: %v", err)
	}
	issue(t, db, spec("globex", time.Hour), start) // another tenant goes on
}

// TestWrongTextsLookAlike: whatever does not hold is the same error.
func TestWrongTextsLookAlike(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	text, made := issue(t, db, spec("acme", time.Hour), start)
	revoked, gone := issue(t, db, spec("acme", time.Hour), start)
	update(t, db, func(tx *store.Tx) error { return second(token.Revoke(tx, gone)) })
	good := string(text.Reveal())
	for _, wrong := range []string{
		"", "x", token.Prefix, good[:len(good)-1], good + "a", strings.ToUpper(good), " " + good, good + "\n",
		good[:10] + "a" + good[10:len(good)-1], token.Prefix + strings.Repeat("a", 52), made.Accessor,
		string(revoked.Reveal()), "hvs_" + good[4:], strings.Repeat("x", 1<<16),
	} {
		if _, err := lookup(t, db, domain.SecretString(wrong), start); err != error(token.ErrUnknown) {
			t.Errorf("%.80q: %v", wrong, err)
		}
	}
	for i := len(token.Prefix); i < len(good); i++ {
		b := []byte(good)
		if b[i]++; b[i] > 'z' {
			b[i] = 'a'
		}
		if _, err := lookup(t, db, domain.NewSecret(b), start); err != error(token.ErrUnknown) {
			t.Errorf("with another character at %d: %v", i, err)
		}
	}
}

func TestTTLBounds(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	rev := db.Revision()
	for _, ttl := range []time.Duration{0, -time.Second, domain.MaxTTL + 1} {
		_, err := db.Update(t.Context(), func(tx *store.Tx) error {
			text, _, err := token.Issue(tx, spec("acme", ttl), start)
			if text.Len() > 0 {
				t.Error("a token beside an error")
			}
			return err
		})
		wantKind(t, err, domain.Internal)
	}
	if db.Revision() != rev {
		t.Error("something was stored")
	}
	issue(t, db, spec("acme", domain.MaxTTL), start)
}

func TestAccessors(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	_, a := issue(t, db, spec("acme", time.Hour), start)
	_, b := issue(t, db, spec("globex", time.Hour), start)
	by := func(tenant domain.TenantID, accessor string, now time.Time) (got token.Token, err error) {
		err = view(t, db, func(tx *store.Tx) error {
			got, err = token.ByAccessor(tx, tenant, accessor, now)
			return err
		})
		return got, err
	}
	if got, err := by("acme", a.Accessor, start); err != nil || got.Accessor != a.Accessor {
		t.Error(got, err)
	}
	for name, err := range map[string]error{
		"foreign": second(by("acme", b.Accessor, start)), "expired": second(by("acme", a.Accessor, start.Add(time.Hour))),
		"unknown": second(by("acme", "ta_x", start)), "empty": second(by("acme", "", start)),
		"another tenant's by name": second(by("acm", "e\x00"+a.Accessor, start)),
	} {
		if domain.KindOf(err) != domain.NotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(list(t, db, "acme", start)) != 1 || len(list(t, db, "acm", start)) != 0 || len(list(t, db, "acme", start.Add(time.Hour))) != 0 {
		t.Error("the list shows others, or ended ones")
	}
	wantKind(t, second(db.Update(t.Context(), func(tx *store.Tx) error {
		return second(token.Revoke(tx, token.Token{Tenant: "acme", Accessor: b.Accessor}))
	})), domain.NotFound)
	if len(list(t, db, "globex", start)) != 1 {
		t.Error("a foreign token was revoked")
	}
}

func second[T any](_ T, err error) error { return err }

func TestSweep(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	for i := range 6 {
		issue(t, db, spec("acme", time.Duration(i+1)*time.Hour), start)
	}
	any := func(before time.Time) (found bool) {
		must(t, view(t, db, func(tx *store.Tx) (err error) {
			found, err = token.AnyExpired(tx, before)
			return err
		}))
		return found
	}
	sweep := func(before time.Time, limit int) (n int) {
		update(t, db, func(tx *store.Tx) (err error) {
			n, err = token.Sweep(tx, before, limit)
			return err
		})
		return n
	}
	if any(start.Add(time.Hour)) || sweep(start.Add(time.Hour), 10) != 0 {
		t.Error("a token was swept at its end, not after it")
	}
	at := start.Add(4*time.Hour + 1)
	if !any(at) || sweep(at, 3) != 3 || !any(at) || sweep(at, 3) != 1 || any(at) || sweep(at, 3) != 0 {
		t.Error("the sweep removes others than those that ended")
	}
	if n := len(list(t, db, "acme", start)); n != 2 {
		t.Errorf("%d tokens are left", n)
	}
	must(t, view(t, db, func(tx *store.Tx) error {
		for _, bucket := range []string{token.BucketTokens, token.BucketAccessors, token.BucketExpiries} {
			if n, err := tx.Count(bucket, nil); n != 2 || err != nil {
				t.Errorf("%d rows in %s, %v", n, bucket, err)
			}
		}
		return nil
	}))
}

// TestOnlyHashesInTheStore: neither the file nor what it holds when opened gives
// a token.
func TestOnlyHashesInTheStore(t *testing.T) {
	dir := t.TempDir()
	db := storetest.New(t, dir)
	text, made := issue(t, db, spec("acme", time.Hour), start)
	secret := text.Reveal()
	hash := sha256.Sum256(secret)
	rows := 0
	must(t, view(t, db, func(tx *store.Tx) error {
		for _, bucket := range []string{token.BucketTokens, token.BucketAccessors} {
			if err := tx.Scan(bucket, nil, nil, func(key, value []byte) error {
				rows++
				for _, b := range [][]byte{key, value} {
					if bytes.Contains(b, secret) || bytes.Contains(b, secret[len(token.Prefix):len(token.Prefix)+12]) {
						t.Errorf("the bucket %s holds the token", bucket)
					}
				}
				return nil
			}); err != nil {
				return err
			}
		}
		if b, err := tx.Get(token.BucketTokens, hash[:]); err != nil || !bytes.Contains(b, []byte(made.Accessor)) {
			t.Errorf("the record does not stand under the hash: %v", err)
		}
		return nil
	}))
	if rows != 2 {
		t.Errorf("%d rows", rows)
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
		for _, canary := range [][]byte{secret, []byte("a note"), []byte("p_1")} {
			if bytes.Contains(b, canary) {
				t.Errorf("%s holds %q", e.Name(), canary)
			}
		}
	}
}

// TestClockSetBack: by the appliance's clock a token that has ended stays ended,
// whatever the wall clock says afterwards, over a restart too.
func TestClockSetBack(t *testing.T) {
	dir := t.TempDir()
	db := storetest.New(t, dir)
	wall, mono := start, time.Duration(0)
	clockFile := filepath.Join(dir, "clock")
	open := func() *durable.Clock {
		c, err := durable.OpenClock(clockFile, func() time.Time { return wall }, func() time.Duration { return mono })
		must(t, err)
		return c
	}
	clock := open()
	text, _ := issue(t, db, spec("acme", time.Hour), clock.Now())
	wall, mono = wall.Add(59*time.Minute), mono+59*time.Minute
	if _, err := lookup(t, db, text, clock.Now()); err != nil {
		t.Fatal(err)
	}
	wall = start.Add(-24 * time.Hour) // set back a day
	mono += 30 * time.Second
	if _, err := lookup(t, db, text, clock.Now()); err != nil {
		t.Errorf("ended half a minute too early: %v", err)
	}
	mono += time.Minute
	if _, err := lookup(t, db, text, clock.Now()); !errors.Is(err, token.ErrUnknown) {
		t.Errorf("setting the clock back made the token live on: %v", err)
	}
	must(t, clock.Close())
	mono = 0 // another boot, and the wall clock is still wrong
	clock = open()
	if _, err := lookup(t, db, text, clock.Now()); !errors.Is(err, token.ErrUnknown) {
		t.Errorf("a restart revived the token: %v", err)
	}
	if len(list(t, db, "acme", clock.Now())) != 0 {
		t.Error("a restart brought the token back into the list")
	}
	// Setting the clock a year ahead ends tokens but erases nothing.
	wall = start.Add(365 * 24 * time.Hour)
	if _, err := lookup(t, db, text, clock.Now()); !errors.Is(err, token.ErrUnknown) {
		t.Error(err)
	}
	update(t, db, func(tx *store.Tx) error {
		n, err := token.Sweep(tx, clock.Trusted().Add(-48*time.Hour), 10)
		if n != 0 {
			t.Errorf("%d tokens were erased by a clock set ahead", n)
		}
		return err
	})
}

// TestDamagedRecords: what is not as it was written is an error everywhere, and
// no token.
func TestDamagedRecords(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(tx *store.Tx, hash, accessor []byte) error
		kind   domain.Kind
	}{
		"not JSON": {func(tx *store.Tx, hash, _ []byte) error { return tx.Put(token.BucketTokens, hash, []byte("x")) }, domain.Tampered},
		"trailing data": {func(tx *store.Tx, hash, _ []byte) error {
			b, err := tx.Get(token.BucketTokens, hash)
			return errors.Join(err, tx.Put(token.BucketTokens, hash, append(b, ' ')))
		}, domain.Tampered},
		"a later version": {func(tx *store.Tx, hash, _ []byte) error {
			b, err := tx.Get(token.BucketTokens, hash)
			return errors.Join(err, tx.Put(token.BucketTokens, hash, bytes.Replace(b, []byte(`"version":2`), []byte(`"version":3`), 1)))
		}, domain.Unavailable},
		"an accessor to nothing": {func(tx *store.Tx, hash, _ []byte) error { return tx.Delete(token.BucketTokens, hash) }, domain.Tampered},
	} {
		t.Run(name, func(t *testing.T) {
			db := storetest.New(t, t.TempDir())
			text, made := issue(t, db, spec("acme", time.Hour), start)
			hash := sha256.Sum256(text.Reveal())
			update(t, db, func(tx *store.Tx) error { return c.damage(tx, hash[:], []byte("acme\x00"+made.Accessor)) })
			if name != "an accessor to nothing" {
				wantKind(t, second(lookup(t, db, text, start)), c.kind)
			}
			must(t, view(t, db, func(tx *store.Tx) error {
				wantKind(t, second(token.List(tx, "acme", start)), c.kind)
				return nil
			}))
			_, err := db.Update(t.Context(), func(tx *store.Tx) error { return second(token.Sweep(tx, start.Add(99*time.Hour), 9)) })
			wantKind(t, err, c.kind)
			_, err = db.Update(t.Context(), func(tx *store.Tx) error {
				return second(token.RevokeWhere(tx, "acme", func(token.Token) bool { return true }))
			})
			wantKind(t, err, c.kind)
		})
	}
}
