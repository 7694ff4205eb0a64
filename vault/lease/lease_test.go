package lease_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
	"coffer/vault/lease"
)

// TestLife: a lease is made, renewed up to its maximum, and what it is for goes
// when it ends.
func TestLife(t *testing.T) {
	k := newKit(t)
	s := spec("acme", "ta_1", time.Hour)
	s.MaxTTL = 3 * time.Hour
	l := k.grant(t, s)
	if got, err := k.find(t, l); err != nil || got.State != lease.Live || string(got.Data) != nameOf(l.ID) || theFiles.left(t) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if n := k.run(t); n != 0 {
		t.Errorf("%d were taken back at once", n)
	}
	for _, c := range []struct {
		increment time.Duration
		owner     time.Time
		want      time.Time
	}{
		{0, time.Time{}, start.Add(time.Hour)}, {2 * time.Hour, time.Time{}, start.Add(2 * time.Hour)},
		{100 * time.Hour, time.Time{}, start.Add(3 * time.Hour)}, {2 * time.Hour, start.Add(time.Minute), start.Add(time.Minute)},
	} {
		if until, err := l.Until(c.increment, c.owner, start); err != nil || !until.Equal(c.want) {
			t.Errorf("renewed by %v: %v, %v", c.increment, until, err)
		}
	}
	until, err := l.Until(100*time.Hour, time.Time{}, start)
	must(t, err)
	must(t, l.Extend(t.Context(), until))
	k.update(t, func(tx *store.Tx) error {
		_, err := lease.Renew(tx, l, until, start)
		return err
	})
	k.pass(2 * time.Hour)
	if n := k.run(t); n != 0 || theFiles.left(t) != 1 {
		t.Errorf("%d were taken back before they ended", n)
	}
	k.pass(time.Hour)
	if _, err := k.find(t, l); !errors.Is(err, lease.ErrUnknown) {
		t.Error(err)
	}
	if n := k.run(t); n != 1 || theFiles.left(t) != 0 || k.rows(t) != 0 || k.events != 1 {
		t.Errorf("%d taken back, %d files, %d rows, %d events", n, theFiles.left(t), k.rows(t), k.events)
	}
}

// TestMakeFails: what could not be finished is taken back, and what took too long.
func TestMakeFails(t *testing.T) {
	k := newKit(t)
	_, err := lease.Grant(t.Context(), k.db, spec("acme", "", time.Hour), k.clock, func(ctx context.Context, l lease.Lease) ([]byte, error) {
		_, err := theFiles.make(ctx, l)
		return nil, errors.Join(err, errors.New("and then it failed"))
	})
	if err == nil || theFiles.left(t) != 1 {
		t.Fatal(err)
	}
	if n := k.run(t); n != 1 || theFiles.left(t) != 0 || k.rows(t) != 0 {
		t.Errorf("%d taken back, %d files", n, theFiles.left(t))
	}
	_, err = lease.Grant(t.Context(), k.db, spec("acme", "ta_1", time.Hour), k.clock, func(ctx context.Context, l lease.Lease) ([]byte, error) {
		k.pass(time.Hour) // so long that a sweep takes it back before it is there
		if n := k.run(t); n != 1 {
			t.Errorf("%d taken back", n)
		}
		return theFiles.make(ctx, l)
	})
	if domain.KindOf(err) != domain.Conflict || theFiles.left(t) != 1 {
		t.Errorf("%v, %d files", err, theFiles.left(t))
	}
	if n := k.run(t); n != 1 || theFiles.left(t) != 0 || k.rows(t) != 0 {
		t.Errorf("%d taken back, %d files, %d rows", n, theFiles.left(t), k.rows(t))
	}
}

// TestTriedAgain: what cannot be taken back is tried ever more rarely, is overdue
// after some attempts, and goes once it can.
func TestTriedAgain(t *testing.T) {
	k := newKit(t)
	bad, good := k.grant(t, spec("acme", "", time.Minute)), k.grant(t, spec("acme", "", time.Minute))
	theFiles.fail[bad.ID] = errors.New("the other system is away")
	k.pass(time.Minute)
	if n := k.run(t); n != 1 || theFiles.left(t) != 1 {
		t.Errorf("%d taken back", n)
	}
	if _, err := k.find(t, good); !errors.Is(err, lease.ErrUnknown) {
		t.Error(err)
	}
	if n := k.run(t); n != 0 || k.events != 2 {
		t.Errorf("it was tried again at once: %d events", k.events)
	}
	waited := time.Duration(0)
	for len(k.overdue) == 0 {
		k.pass(5 * time.Second)
		waited += 5 * time.Second
		k.run(t)
	}
	if k.events != lease.OverdueAfter+1 || waited > 10*time.Minute {
		t.Errorf("overdue after %d attempts, %v", k.events-1, waited)
	}
	k.pass(24 * time.Hour)
	k.run(t)
	if len(k.overdue) != 2 {
		t.Errorf("it is told %d times", len(k.overdue))
	}
	delete(theFiles.fail, bad.ID)
	k.pass(time.Hour)
	if n := k.run(t); n != 1 || theFiles.left(t) != 0 || k.rows(t) != 0 {
		t.Errorf("%d taken back, %d files, %d rows", n, theFiles.left(t), k.rows(t))
	}
	for n, last := 1, time.Duration(0); n < 200; n++ {
		if d := lease.Backoff(n); d < last || d > time.Hour || d <= 0 {
			t.Fatalf("after %d attempts %v", n, d)
		} else {
			last = d
		}
	}
}

// TestCatchUp: after a long time without Coffer all that ended goes, some at once
// and never more than a few.
func TestCatchUp(t *testing.T) {
	k := newKit(t)
	for range 200 {
		k.grant(t, spec("acme", "ta_1", time.Minute))
	}
	k.grant(t, spec("globex", "", 24*time.Hour))
	k.pass(20 * time.Hour)
	if n := k.newSweeper(); true {
		done, err := n.Run(t.Context())
		if err != nil || done != 200 || theFiles.left(t) != 1 || theFiles.most > 8 {
			t.Errorf("%d taken back, %v, %d left, %d at once", done, err, theFiles.left(t), theFiles.most)
		}
	}
}

// TestOrders: each order revokes what it names, in steps however small, and nothing
// that was made after it.
func TestOrders(t *testing.T) {
	defer lease.SetStepSize(2)()
	for name, c := range map[string]struct {
		order func(tx *store.Tx, now time.Time) error
		dead  string
		want  int
	}{
		"prefix":        {func(tx *store.Tx, now time.Time) error { return lease.RevokePrefix(tx, "acme", "files/creds/ro", now) }, "", 6},
		"longer prefix": {func(tx *store.Tx, now time.Time) error { return lease.RevokePrefix(tx, "acme", "files/other", now) }, "", 3},
		"all":           {func(tx *store.Tx, now time.Time) error { return lease.RevokePrefix(tx, "acme", "", now) }, "", 9},
		"principal":     {func(tx *store.Tx, now time.Time) error { return lease.RevokePrincipal(tx, "acme", "p_2", now) }, "", 3},
		"gone":          {func(tx *store.Tx, now time.Time) error { return lease.OwnersGone(tx, "acme", now) }, "ta_2", 3},
		"none gone":     {func(tx *store.Tx, now time.Time) error { return lease.OwnersGone(tx, "acme", now) }, "ta_x", 0},
		"nobody's":      {func(tx *store.Tx, now time.Time) error { return lease.RevokePrincipal(tx, "initech", "p_2", now) }, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			var all []lease.Lease
			for range 3 {
				other, third := spec("acme", "ta_2", time.Hour), spec("acme", "ta_3", time.Hour)
				other.Principal, third.Prefix = "p_2", "files/other"
				all = append(all, k.grant(t, spec("acme", "ta_1", time.Hour)), k.grant(t, other), k.grant(t, third))
				k.grant(t, spec("globex", "ta_2", time.Hour))
			}
			k.pass(time.Second)
			k.dead[c.dead] = true
			k.update(t, func(tx *store.Tx) error { return c.order(tx, k.clock()) })
			k.pass(time.Second)
			k.grant(t, spec("acme", "ta_1", time.Hour)) // after the order
			dead := 0
			for _, l := range all {
				if _, err := k.find(t, l); err != nil {
					dead++
				}
			}
			if name != "gone" && dead != c.want {
				t.Errorf("%d are dead before the order is worked off, want %d", dead, c.want)
			}
			if n := k.run(t); n != c.want || theFiles.left(t) != 13-c.want {
				t.Errorf("%d taken back, %d left", n, theFiles.left(t))
			}
		})
	}
}

// TestRefused: what cannot be is not stored.
func TestRefused(t *testing.T) {
	k := newKit(t)
	for name, spoil := range map[string]func(*lease.Spec){
		"no time": func(s *lease.Spec) { s.TTL = 0 }, "too long": func(s *lease.Spec) { s.TTL = domain.MaxTTL + 1 },
		"maximum": func(s *lease.Spec) { s.MaxTTL = domain.MaxTTL + 1 }, "no prefix": func(s *lease.Spec) { s.Prefix = "" },
	} {
		s := spec("acme", "", time.Hour)
		spoil(&s)
		_, err := lease.Grant(t.Context(), k.db, s, k.clock, theFiles.make)
		if domain.KindOf(err) != domain.Internal || theFiles.left(t) != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	fixed := spec("acme", "", time.Hour)
	fixed.Renewable = false
	if _, err := k.grant(t, fixed).Until(0, time.Time{}, start); !errors.Is(err, lease.ErrNotRenewable) {
		t.Error(err)
	}
	bounded := spec("acme", "ta_1", time.Hour)
	bounded.Until = start.Add(time.Minute)
	if l := k.grant(t, bounded); !l.Expires.Equal(bounded.Until) {
		t.Errorf("it outlives its owner: %v", l.Expires)
	}
	foreign := k.grant(t, spec("globex", "", time.Hour))
	foreign.Tenant = "acme"
	if _, err := k.find(t, foreign); !errors.Is(err, lease.ErrUnknown) {
		t.Errorf("another tenant's: %v", err)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"version":1,"id":"a/b","tenant":"acme","kind":"files","principal":"p_1","issued":"2026-11-18T09:00:00Z","expires":"2026-11-18T10:00:00Z","max":"2026-11-18T10:00:00Z","ttl":1,"state":"live","due":"2026-11-18T10:00:00Z","data":"eA=="}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if again, err := lease.Recode(b); err == nil && !bytes.Equal(again, b) {
			t.Fatalf("%s was accepted, is written as %s", b, again)
		}
	})
}
