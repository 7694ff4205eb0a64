package directory_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/app/store/storetest"
)

func change(tb testing.TB, db *store.Store, fn func(tx *store.Tx) error) error {
	tb.Helper()
	_, err := storetest.Change(tb, db, func(tx *store.Tx) (int, error) { return 0, fn(tx) })
	return err
}

// TestSessionsAgainstModel: texts, idleness, ends and removals, against a naive
// model.
func TestSessionsAgainstModel(t *testing.T) {
	type held struct {
		text  domain.Secret
		s     directory.Session
		seen  time.Time
		ended bool
	}
	db := storetest.New(t, storetest.MemoryDir(t))
	round := 0
	rapid.Check(t, func(r *rapid.T) {
		round++
		people := []string{fmt.Sprintf("p_a%d", round), fmt.Sprintf("p_b%d", round)}
		now := start
		var all []*held
		live := func(h *held) bool {
			return !h.ended && now.Before(h.s.Expires) && (h.s.Idle == 0 || now.Before(h.seen.Add(h.s.Idle)))
		}
		r.Repeat(map[string]func(*rapid.T){
			"begin": func(r *rapid.T) {
				h := &held{s: directory.Session{
					Person: rapid.SampledFrom(people).Draw(r, "person"), Expires: now.Add(time.Duration(rapid.IntRange(1, 24*60).Draw(r, "minutes")) * time.Minute),
					Idle: time.Duration(rapid.SampledFrom([]int{0, 30}).Draw(r, "idle")) * time.Minute,
				}, seen: now}
				must(t, change(t, db, func(tx *store.Tx) (err error) {
					h.text, h.s, err = directory.AddSession(tx, h.s, now)
					return err
				}))
				all = append(all, h)
			},
			"look": func(r *rapid.T) {
				if len(all) == 0 {
					r.Skip()
				}
				h := rapid.SampledFrom(all).Draw(r, "session")
				want := live(h)
				must(t, change(t, db, func(tx *store.Tx) error {
					s, found, err := directory.FindSession(tx, h.text, now)
					if found != want || found && s.Person != h.s.Person {
						r.Fatalf("found %v, want %v: %+v at %v, seen %v", found, want, h.s, now, h.seen)
					}
					if found && s.Ends().After(h.s.Expires) {
						r.Fatalf("it ends at %v, after %v", s.Ends(), h.s.Expires)
					}
					if !found || err != nil {
						return err
					}
					s.Seen, h.seen = now, now
					return directory.PutSession(tx, s)
				}))
			},
			"end": func(r *rapid.T) {
				if len(all) == 0 {
					r.Skip()
				}
				h := rapid.SampledFrom(all).Draw(r, "session")
				must(t, change(t, db, func(tx *store.Tx) error {
					s, found, err := directory.SessionByAccessor(tx, h.s.Person, h.s.Accessor, now)
					if err != nil || !found {
						return err
					}
					h.ended = true
					return directory.EndSession(tx, s)
				}))
			},
			"end all": func(r *rapid.T) {
				person := rapid.SampledFrom(people).Draw(r, "person")
				must(t, change(t, db, func(tx *store.Tx) error {
					_, err := directory.EndSessions(tx, person, "", now)
					return err
				}))
				for _, h := range all {
					h.ended = h.ended || h.s.Person == person
				}
			},
			"sweep": func(*rapid.T) {
				must(t, change(t, db, func(tx *store.Tx) error { return directory.SweepEnded(tx, now, 1000) }))
			},
			"time": func(r *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(1, 90).Draw(r, "minutes")) * time.Minute) },
			"": func(r *rapid.T) {
				for _, person := range people {
					n := 0
					for _, h := range all {
						if h.s.Person == person && live(h) {
							n++
						}
					}
					list := look(t, db, func(tx *store.Tx) ([]directory.Session, error) { return directory.Sessions(tx, person, now) })
					if len(list) != n {
						r.Fatalf("%d live sessions of %s, want %d", len(list), person, n)
					}
				}
			},
		})
	})
}

// TestLinksOnce: a link works once, until it ends, and for nothing else.
func TestLinksOnce(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	add := func(l directory.Link, ttl time.Duration) (text domain.Secret) {
		must(t, change(t, db, func(tx *store.Tx) (err error) {
			text, _, err = directory.AddLink(tx, l, ttl, start)
			return err
		}))
		return text
	}
	use := func(text domain.Secret, now time.Time) (found bool) {
		must(t, change(t, db, func(tx *store.Tx) error {
			l, ok, err := directory.FindLink(tx, text, now)
			found = ok
			if err != nil || !ok {
				return err
			}
			return directory.RemoveLink(tx, l)
		}))
		return found
	}
	for _, l := range []directory.Link{
		{Kind: directory.SetupLink, By: "system"},
		{Kind: directory.InvitationLink, Tenant: "acme", Role: domain.Viewer, By: "p_1"},
		{Kind: directory.RecoverLink, Person: "p_2", By: "p_1"},
	} {
		text := add(l, time.Hour)
		if use(text, start.Add(time.Hour)) {
			t.Errorf("a %s link works after its end", l.Kind)
		}
		if !use(text, start.Add(time.Hour-1)) || use(text, start) {
			t.Errorf("a %s link does not work exactly once", l.Kind)
		}
	}
	for _, text := range []string{"", "cfi_", "cfi_" + as, "cfu_" + as, "cfi_" + as + "a", string(bytes.Repeat([]byte("x"), 5000))} {
		if use(domain.SecretString(text), start) {
			t.Errorf("%.20q is a link", text)
		}
	}
	first, second := add(directory.Link{Kind: directory.SetupLink, By: "system"}, time.Hour), add(directory.Link{Kind: directory.SetupLink, By: "p_1"}, time.Hour)
	must(t, change(t, db, func(tx *store.Tx) error { return directory.RemoveSetupLinks(tx, "system") }))
	if use(first, start) || !use(second, start) {
		t.Error("the wrong setup links were removed")
	}
	invitation := add(directory.Link{Kind: directory.InvitationLink, Tenant: "acme", Role: domain.Viewer, By: "p_1"}, time.Hour)
	must(t, change(t, db, func(tx *store.Tx) error { return directory.RemoveTenant(tx, "acme") }))
	if use(invitation, start) {
		t.Error("an invitation outlives its tenant")
	}
	for range directory.MaxLinks {
		add(directory.Link{Kind: directory.InvitationLink, Tenant: "globex", Role: domain.Viewer, By: "p_1"}, time.Hour)
	}
	wantKind(t, change(t, db, func(tx *store.Tx) error {
		_, _, err := directory.AddLink(tx, directory.Link{Kind: directory.InvitationLink, Tenant: "globex"}, time.Hour, start)
		return err
	}), domain.Limit)
}

// TestBoundsOfAPerson: a further session or device pushes the oldest out, a
// further passkey is refused.
func TestBoundsOfAPerson(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	must(t, change(t, db, func(tx *store.Tx) error {
		var first, device domain.Secret
		for i := range directory.MaxSessions + 1 {
			now := start.Add(time.Duration(i) * time.Second)
			text, _, err := directory.AddSession(tx, directory.Session{Person: "p_1", Expires: now.Add(time.Hour)}, now)
			must(t, err)
			mark, err := directory.AddDevice(tx, "p_1", now)
			must(t, err)
			if i == 0 {
				first, device = text, mark
			}
		}
		all, err := directory.Sessions(tx, "p_1", start)
		must(t, err)
		if _, found, _ := directory.FindSession(tx, first, start); found || len(all) != directory.MaxSessions {
			t.Errorf("%d sessions, the oldest found %v", len(all), found)
		}
		if known, _ := directory.KnowsDevice(tx, "p_1", device, start); known {
			t.Error("the oldest device is known")
		}
		for i := range directory.MaxPasskeys {
			_, err := directory.AddPasskey(tx, "p_1", directory.Passkey{Credential: []byte{byte(i)}}, start)
			must(t, err)
		}
		_, err = directory.AddPasskey(tx, "p_1", directory.Passkey{Credential: []byte("more")}, start)
		wantKind(t, err, domain.Limit)
		_, _, err = directory.AddSession(tx, directory.Session{Person: "p_1", Expires: start.Add(25 * time.Hour)}, start)
		wantKind(t, err, domain.Internal)
		return nil
	}))
}

// TestDisarm: nothing that proved the person does so any more; roles stay.
func TestDisarm(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	must(t, change(t, db, func(tx *store.Tx) error {
		must(t, directory.PutAccount(tx, directory.Account{
			Person: "p_1", Appliance: []domain.Role{domain.Operator}, Password: directory.Seal(domain.SecretString("hash")),
			TOTP: &directory.TOTP{Secret: directory.Seal(domain.SecretString("x"))}, Recovery: [][]byte{{1}},
		}))
		_, err := directory.AddPasskey(tx, "p_1", directory.Passkey{Credential: []byte{1}}, start)
		must(t, err)
		session, _, err := directory.AddSession(tx, directory.Session{Person: "p_1", Expires: start.Add(time.Hour)}, start)
		must(t, err)
		other, _, err := directory.AddSession(tx, directory.Session{Person: "p_2", Expires: start.Add(time.Hour)}, start)
		must(t, err)
		device, err := directory.AddDevice(tx, "p_1", start)
		must(t, err)
		link, _, err := directory.AddLink(tx, directory.Link{Kind: directory.RecoverLink, Person: "p_1"}, time.Hour, start)
		must(t, err)
		n, err := directory.Disarm(tx, "p_1", start)
		must(t, err)
		a, err := directory.FindAccount(tx, "p_1")
		must(t, err)
		factor, err := directory.HasFactor(tx, a)
		must(t, err)
		known, _ := directory.KnowsDevice(tx, "p_1", device, start)
		_, in, _ := directory.FindSession(tx, session, start)
		_, linked, _ := directory.FindLink(tx, link, start)
		if n != 1 || factor || !a.Password.IsZero() || len(a.Recovery) > 0 || known || in || linked || !a.HasRole(domain.Operator) {
			t.Errorf("%d, %v, %+v, %v, %v, %v", n, factor, a, known, in, linked)
		}
		if _, in, _ := directory.FindSession(tx, other, start); !in {
			t.Error("somebody else's session ended")
		}
		return nil
	}))
}

// TestSealedIsNotPrinted: a record of an account shows nothing of what it holds.
func TestSealedIsNotPrinted(t *testing.T) {
	a := directory.Account{Password: directory.Seal(domain.SecretString("canary-hash")), TOTP: &directory.TOTP{Secret: directory.Seal(domain.SecretString("canary-totp"))}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if out := fmt.Sprintf(verb, a) + fmt.Sprintf(verb, a.TOTP); bytes.Contains([]byte(out), []byte("canary")) || bytes.Contains([]byte(out), []byte("63616e617279")) {
			t.Error(out)
		}
	}
}
