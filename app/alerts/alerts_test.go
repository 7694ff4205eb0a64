package alerts_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"coffer/app/alerts"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/app/store/storetest"
)

var start = time.Date(2026, 11, 18, 9, 0, 0, 0, time.UTC)

// box is an Inbox under a clock of its own, with a store.
type box struct {
	*alerts.Inbox
	tb  testing.TB
	db  *store.Store
	now time.Time
}

func newBox(tb testing.TB) *box {
	b := &box{tb: tb, db: storetest.New(tb, storetest.MemoryDir(tb)), now: start}
	b.Inbox = alerts.NewInbox(func() time.Time { return b.now })
	return b
}

func (b *box) store() {
	b.tb.Helper()
	if err := b.Store(context.Background(), b.db); err != nil {
		b.tb.Fatal(err)
	}
}

func (b *box) list() (out []alerts.Alert) {
	b.tb.Helper()
	if err := b.db.View(context.Background(), func(tx *store.Tx) error {
		return alerts.Each(tx, "", func(a alerts.Alert) error {
			out = append(out, a)
			return nil
		})
	}); err != nil {
		b.tb.Fatal(err)
	}
	return out
}

func (b *box) ack(id string) (alerts.Alert, error) {
	return storetest.Change(b.tb, b.db, func(tx *store.Tx) (alerts.Alert, error) { return alerts.Ack(tx, id, "person:p_1", b.now) })
}

// TestTogether: what repeats itself within an hour is one alert with a count, per
// kind and tenant, until somebody acknowledged it.
func TestTogether(t *testing.T) {
	b := newBox(t)
	for n := range 5 {
		b.Raise(alerts.File, "acme", fmt.Sprintf("page %d", n))
		b.Raise(alerts.File, "globex", "a page")
		b.now = b.now.Add(10 * time.Minute)
		b.store()
	}
	list := b.list()
	if len(list) != 2 || list[0].Count != 5 || list[1].Count != 5 {
		t.Fatalf("%+v", list)
	}
	acme := list[slices.IndexFunc(list, func(a alerts.Alert) bool { return a.Tenant == "acme" })]
	if acme.Text != "page 4" || !acme.First.Equal(start) || !acme.Last.Equal(start.Add(40*time.Minute)) {
		t.Errorf("%+v", acme)
	}
	if a, err := b.ack(acme.ID); err != nil || a.By != "person:p_1" || a.Acked == nil {
		t.Errorf("%+v %v", a, err)
	}
	if _, err := b.ack(acme.ID); domain.KindOf(err) != domain.Conflict {
		t.Errorf("twice: %v", err)
	}
	if _, err := b.ack("al_none"); domain.KindOf(err) != domain.NotFound {
		t.Errorf("none: %v", err)
	}
	b.Raise(alerts.File, "acme", "again")
	b.store()
	if list := b.list(); len(list) != 3 || list[0].Text != "again" || list[0].Count != 1 {
		t.Errorf("after it was acknowledged: %+v", list)
	}
	b.now = b.now.Add(2 * time.Hour)
	b.Raise(alerts.File, "acme", "much later")
	b.store()
	if list := b.list(); len(list) != 4 || list[0].Text != "much later" {
		t.Errorf("newest first: %+v", list)
	}
}

// TestBounded: whatever is raised, the store and the Inbox keep a bounded number,
// and the oldest that were acknowledged go first.
func TestBounded(t *testing.T) {
	b := newBox(t)
	var first, second string
	for n := range alerts.Most {
		b.now = b.now.Add(2 * time.Hour)
		b.Raise(alerts.File, "acme", fmt.Sprint(n))
		b.store()
		if n == 10 || n == 20 {
			id := b.list()[0].ID
			if _, err := b.ack(id); err != nil {
				t.Fatal(err)
			}
			first, second = second, id
		}
	}
	for n := range 3 {
		b.now = b.now.Add(2 * time.Hour)
		b.Raise(alerts.File, "acme", "more")
		b.store()
		list := b.list()
		if len(list) != alerts.Most {
			t.Fatalf("%d are kept", len(list))
		}
		has := func(id string) bool {
			return slices.ContainsFunc(list, func(a alerts.Alert) bool { return a.ID == id })
		}
		if has(first) || has(second) != (n == 0) || (list[len(list)-1].Text == "0") != (n < 2) {
			t.Errorf("after %d more: %v %v, oldest %q", n+1, has(first), has(second), list[len(list)-1].Text)
		}
	}
	b.now = b.now.Add(2 * time.Hour)
	for n := range 2000 { // nobody stores meanwhile
		b.Raise(alerts.File, domain.TenantID(fmt.Sprintf("t-%d", n)), strings.Repeat("\xff", 5000))
	}
	b.store()
	list := b.list()
	sum := 0
	for _, a := range list {
		if len(a.Text) > alerts.MaxText {
			t.Errorf("a text of %d bytes", len(a.Text))
		}
		if a.First.Equal(b.now) {
			sum += a.Count
		}
	}
	if sum != 2000 || len(list) != alerts.Most {
		t.Errorf("%d of 2000 are counted, %d kept", sum, len(list))
	}
}

// TestNeverWaits: raising goes on while the store is slow or broken, and what
// could not be stored comes later.
func TestNeverWaits(t *testing.T) {
	b := newBox(t)
	entered, release := make(chan struct{}), make(chan struct{})
	slow := make(chan error, 1)
	go func() {
		_, err := b.db.Update(context.Background(), func(*store.Tx) error { close(entered); <-release; return nil })
		slow <- err
	}()
	<-entered
	stored := make(chan error, 1)
	b.Raise(alerts.Sweep, "", "one")
	<-b.News()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { stored <- b.Store(ctx, b.db) }()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				b.Raise(alerts.Clock, "", "two")
			}
		})
	}
	group.Wait() // before the store answers
	cancel()
	close(release)
	if err := errors.Join(<-slow); err != nil {
		t.Fatal(err)
	}
	<-stored // stored, or given back
	b.store()
	counts := map[alerts.Kind]int{}
	for _, a := range b.list() {
		counts[a.Kind] += a.Count
	}
	if counts[alerts.Sweep] != 1 || counts[alerts.Clock] != 800 {
		t.Errorf("%v", counts)
	}
}

// TestAgainstModel: ids sort newest first whatever the times, and every alert that
// was raised is counted once.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		b := newBox(t)
		raised := 0
		for range rapid.IntRange(1, 30).Draw(r, "steps") {
			b.now = b.now.Add(time.Duration(rapid.IntRange(0, 90).Draw(r, "minutes")) * time.Minute)
			for range rapid.IntRange(0, 3).Draw(r, "raised") {
				b.Raise(rapid.SampledFrom([]alerts.Kind{alerts.File, alerts.Clock}).Draw(r, "kind"), rapid.SampledFrom([]domain.TenantID{"", "acme"}).Draw(r, "tenant"), "x")
				raised++
			}
			if rapid.Bool().Draw(r, "store") {
				b.store()
			}
			if list := b.list(); len(list) > 0 && list[0].Acked == nil && rapid.IntRange(0, 5).Draw(r, "ack") == 0 {
				if _, err := b.ack(list[0].ID); err != nil {
					r.Fatal(err)
				}
			}
		}
		b.store()
		list, sum := b.list(), 0
		for i, a := range list {
			sum += a.Count
			if a.Last.Before(a.First) {
				r.Errorf("%+v", a)
			}
			if i > 0 && a.First.After(list[i-1].First) {
				r.Errorf("%v comes after %v", a.First, list[i-1].First)
			}
		}
		if sum != raised {
			r.Errorf("%d are counted, %d were raised", sum, raised)
		}
	})
}

// TestVectors: each row decodes, and encodes to the same bytes, for ever; anything
// else is refused.
func TestVectors(t *testing.T) {
	rows, err := os.ReadFile("testdata/v1/rows.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for row := range bytes.Lines(rows) {
		row = bytes.TrimSpace(row)
		again, err := alerts.Recode(row)
		if err != nil || !bytes.Equal(again, row) {
			t.Errorf("%s: %s, %v", row, again, err)
		}
		for _, bad := range [][]byte{append(bytes.Clone(row), ' '), row[:len(row)-1], bytes.Replace(row, []byte(`"id"`), []byte(`"Id"`), 1), bytes.Replace(row, []byte(`{"version":1,`), []byte(`{"version":1,"x":1,`), 1)} {
			if _, err := alerts.Recode(bad); domain.KindOf(err) != domain.Tampered {
				t.Errorf("%s: %v", bad, err)
			}
		}
		if _, err := alerts.Recode(bytes.Replace(row, []byte(`"version":1`), []byte(`"version":2`), 1)); domain.KindOf(err) != domain.Unavailable {
			t.Errorf("another version: %v", err)
		}
	}
}
