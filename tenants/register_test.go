package tenants_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"coffer/app/domain"
	"coffer/app/store"
	"coffer/app/store/storetest"
	"coffer/audit"
	"coffer/tenants"
)

func add(tb testing.TB, db *store.Store, id domain.TenantID) (tenants.Record, error) {
	tb.Helper()
	return storetest.Change(tb, db, func(tx *store.Tx) (tenants.Record, error) {
		return tenants.Add(tx, tenants.Record{
			ID: id, Name: "The " + string(id), Created: start, CreatedBy: "person:p_1", UID: [16]byte(tagOf("uid" + string(id))),
			Log: audit.Ref{Tag: tagOf(string(id)), Policy: audit.Policy{RetentionDays: 90}},
		})
	})
}

func setState(tb testing.TB, db *store.Store, id domain.TenantID, to tenants.State, now time.Time) error {
	tb.Helper()
	_, err := storetest.Change(tb, db, func(tx *store.Tx) (tenants.Record, error) { return tenants.SetState(tx, id, to, now) })
	return err
}

func find(tb testing.TB, db *store.Store, id domain.TenantID) (r tenants.Record, err error) {
	tb.Helper()
	err = db.View(context.Background(), func(tx *store.Tx) error {
		r, err = tenants.Find(tx, id)
		return err
	})
	return r, err
}

func TestRegister(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	made, err := add(t, db, "acme")
	must(t, err)
	want := tenants.Record{
		ID: "acme", Name: "The acme", State: tenants.Active, Created: start, Changed: start, CreatedBy: "person:p_1",
		UID: [16]byte(tagOf("uidacme")), Log: audit.Ref{Tag: tagOf("acme"), Slot: 1, Policy: audit.Policy{RetentionDays: 90}},
	}
	got, err := find(t, db, "acme")
	if diff := cmp.Diff(want, got); diff != "" || err != nil || !cmp.Equal(made, got) {
		t.Error(diff, err)
	}
	_, err = add(t, db, "acme")
	wantKind(t, err, domain.Conflict)
	_, err = find(t, db, "nobody")
	wantKind(t, err, domain.NotFound)
	wantKind(t, setState(t, db, "nobody", tenants.Suspended, start), domain.NotFound)
	for slot, id := range []domain.TenantID{"acme", "bbb", "ccc", "ddd"} {
		if slot == 0 {
			continue
		}
		if r, err := add(t, db, id); err != nil || r.Log.Slot != uint32(slot+1) {
			t.Errorf("slot %d, %v", r.Log.Slot, err)
		}
	}
	pages := func(after domain.TenantID, limit int) (ids []domain.TenantID) {
		must(t, db.View(t.Context(), func(tx *store.Tx) error {
			page, err := tenants.List(tx, after, limit)
			for _, r := range page {
				ids = append(ids, r.ID)
			}
			return err
		}))
		return ids
	}
	for _, c := range []struct {
		after domain.TenantID
		limit int
		want  []domain.TenantID
	}{
		{"", 10, []domain.TenantID{"acme", "bbb", "ccc", "ddd"}},
		{"", 2, []domain.TenantID{"acme", "bbb"}},
		{"bbb", 2, []domain.TenantID{"ccc", "ddd"}},
		{"ddd", 2, nil},
		{"bb", 1, []domain.TenantID{"bbb"}},
	} {
		if diff := cmp.Diff(c.want, pages(c.after, c.limit)); diff != "" {
			t.Errorf("after %q: %s", c.after, diff)
		}
	}
}

// TestStates: every change of state that is not in the table is refused, and an
// id is never given out again.
func TestStates(t *testing.T) {
	all := []tenants.State{tenants.Active, tenants.Suspended, tenants.Destroying, tenants.Destroyed}
	allowed := map[[2]tenants.State]bool{
		{tenants.Active, tenants.Suspended}: true, {tenants.Active, tenants.Destroying}: true,
		{tenants.Suspended, tenants.Active}: true, {tenants.Suspended, tenants.Destroying}: true,
		{tenants.Destroying, tenants.Destroyed}: true,
	}
	db := storetest.New(t, storetest.MemoryDir(t))
	rapid.Check(t, func(r *rapid.T) {
		id := domain.TenantID("t" + rapid.StringMatching(`[a-z]{12}`).Draw(r, "id"))
		if _, err := add(t, db, id); domain.KindOf(err) == domain.Conflict {
			r.Skip("drawn before")
		}
		state, now, changed := tenants.Active, start, start
		r.Repeat(map[string]func(*rapid.T){
			"set": func(r *rapid.T) {
				to := rapid.SampledFrom(append(all, "nonsense")).Draw(r, "to")
				now = now.Add(time.Minute)
				err := setState(t, db, id, to, now)
				if ok := allowed[[2]tenants.State{state, to}]; ok != (err == nil) || !ok && domain.KindOf(err) != domain.Conflict {
					r.Fatalf("from %s to %s: %v", state, to, err)
				}
				if err == nil {
					state, changed = to, now
				}
			},
			"add": func(r *rapid.T) {
				if _, err := add(t, db, id); domain.KindOf(err) != domain.Conflict {
					r.Fatalf("added again while %s: %v", state, err)
				}
			},
			"": func(r *rapid.T) {
				if got, err := find(t, db, id); err != nil || got.State != state || !got.Changed.Equal(changed) || got.Name != "The "+string(id) {
					r.Fatalf("%+v, %v; want %s since %v", got, err, state, changed)
				}
			},
		})
	})
}

// line is one of testdata/v1/rows.jsonl: a row of the control store. Kept for
// ever.
type line struct {
	Bucket string          `json:"bucket"`
	Key    string          `json:"key"`
	JSON   json.RawMessage `json:"json,omitempty"`
	Bytes  []byte          `json:"bytes,omitempty"`
}

func vectors(tb testing.TB) (all []line) {
	tb.Helper()
	f, err := os.Open("testdata/v1/rows.jsonl")
	must(tb, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var l line
		must(tb, json.Unmarshal(lines.Bytes(), &l))
		all = append(all, l)
	}
	return all
}

func TestVectors(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	for _, l := range vectors(t) {
		value := l.Bytes
		if value == nil {
			value = l.JSON
			if again, err := tenants.Recode(value); err != nil || !bytes.Equal(again, value) {
				t.Errorf("%s is written as %s, %v", value, again, err)
			}
		}
		_, err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.Put(l.Bucket, []byte(l.Key), value) })
		must(t, err)
	}
	var tag, uid [16]byte
	for i := range tag {
		uid[i], tag[i] = byte(i), byte(0xf0+i)
	}
	for _, want := range []tenants.Record{
		{
			ID: "acme", Name: "Acme <GmbH> & Söhne", State: tenants.Suspended, Created: start, CreatedBy: "person:p_1", UID: uid,
			Log: audit.Ref{Tag: tag, Slot: 1, Policy: audit.Policy{RetentionDays: 90}}, Changed: start.Add(time.Nanosecond),
		},
		{
			ID: "globex", Name: "Globex", State: tenants.Destroyed, Created: start, CreatedBy: "system:system", UID: tag,
			Log: audit.Ref{Tag: uid, Slot: 4294967294, Policy: audit.Policy{RetentionDays: 3653}}, Changed: start.Add(time.Hour),
		},
		{
			ID: "hooli", Name: "Acme <GmbH> & Söhne", State: tenants.Suspended, Created: start, CreatedBy: "person:p_1", UID: uid,
			Log: audit.Ref{Tag: tag, Slot: 1, Policy: audit.Policy{RetentionDays: 90}}, Changed: start.Add(time.Nanosecond), Isolation: tenants.Process,
		},
	} {
		got, err := find(t, db, want.ID)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Error(diff, err)
		}
	}
	if r, err := add(t, db, "third"); err != nil || r.Log.Slot != 258 {
		t.Errorf("slot %d, %v", r.Log.Slot, err)
	}
}

// TestOtherForms: each record has one form.
func TestOtherForms(t *testing.T) {
	for _, l := range vectors(t) {
		if l.JSON == nil {
			continue
		}
		form := string(l.JSON)
		for name, other := range map[string]string{
			"a blank": form[:1] + " " + form[1:], "trailing data": form + "{}", "cut": form[:len(form)-1], "nothing": "",
			"an unknown member": form[:len(form)-1] + `,"x":1}`, "a member twice": `{"version":1,` + form[1:],
			"an unknown isolation": form[:len(form)-1] + `,"isolation":"shared"}`,
			"an unknown state":     string(bytes.Replace(l.JSON, []byte(`"state":"`), []byte(`"state":"x`), 1)),
			"a short number":       string(bytes.Replace(l.JSON, []byte(`"uid":"`), []byte(`"uid":"AAAA`), 1)),
		} {
			_, err := tenants.Recode([]byte(other))
			if domain.KindOf(err) != domain.Tampered {
				t.Errorf("%s with %s: %v", l.Key, name, err)
			}
		}
		_, err := tenants.Recode([]byte(`{"version":2` + form[len(`{"version":1`):]))
		wantKind(t, err, domain.Unavailable)
	}
	db := storetest.New(t, t.TempDir())
	_, err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.Put("tenant-slots", []byte("next"), []byte{1}) })
	must(t, err)
	_, err = add(t, db, "acme")
	wantKind(t, err, domain.Tampered)
	_, err = db.Update(t.Context(), func(tx *store.Tx) error { return tx.Put("tenants", []byte("acme"), []byte("{}")) })
	must(t, err)
	must(t, db.View(t.Context(), func(tx *store.Tx) error {
		_, err := tenants.List(tx, "", 9)
		wantKind(t, err, domain.Unavailable)
		return nil
	}))
}

func FuzzRecord(f *testing.F) {
	for _, l := range vectors(f) {
		f.Add([]byte(l.JSON))
	}
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := tenants.Recode(b)
		if err != nil {
			if k := domain.KindOf(err); k != domain.Tampered && k != domain.Unavailable {
				t.Fatalf("%v is of kind %v", err, k)
			}
			return
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("%s was accepted, is written as %s", b, again)
		}
	})
}
