package alerts

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

// bucket holds the alerts, id → record. Ids begin with the time, counted
// downwards, so that the newest come first.
const bucket = "alerts"

const recordVersion = 1

type record struct {
	Version int `json:"version"`
	Alert
}

// IDPrefix begins every id of a stored alert.
const IDPrefix = "al_"

// newID gives an id that sorts before those of earlier times. Its random end says
// nothing about how many there are.
func newID(at time.Time) string {
	return fmt.Sprintf("%s%016x%s", IDPrefix, ^uint64(at.UnixNano()), strings.ToLower(rand.Text()[:10]))
}

func put(tx *store.Tx, a Alert) error {
	b, err := json.Marshal(record{recordVersion, a})
	if err != nil {
		return err
	}
	return tx.Put(bucket, []byte(a.ID), b)
}

func decode(b []byte) (Alert, error) {
	var r record
	err := store.DecodeRecord(recordVersion, "an alert", b, &r)
	return r.Alert, err
}

// Each calls fn with the alerts, newest first, from the one after the id `after`
// on, until it returns store.ErrStop.
func Each(tx *store.Tx, after string, fn func(Alert) error) error {
	return tx.Scan(bucket, nil, []byte(after), func(_, value []byte) error {
		a, err := decode(value)
		if err != nil {
			return err
		}
		return fn(a)
	})
}

// Find gives the alert with an id.
func Find(tx *store.Tx, id string) (Alert, error) {
	b, err := tx.Get(bucket, []byte(id))
	if errors.Is(err, store.ErrNotFound) {
		return Alert{}, domain.Errorf(domain.NotFound, "there is no such alert").WithHint("see: coffer alert list")
	}
	if err != nil {
		return Alert{}, err
	}
	return decode(b)
}

// Ack says that somebody looked at an alert.
func Ack(tx *store.Tx, id, by string, now time.Time) (Alert, error) {
	a, err := Find(tx, id)
	if err != nil {
		return Alert{}, err
	}
	if a.Acked != nil {
		return Alert{}, domain.Errorf(domain.Conflict, "the alert was acknowledged already").WithHint("see: coffer alert list")
	}
	at := now.UTC()
	a.Acked, a.By = &at, by
	return a, put(tx, a)
}

// keep stores what was raised: in the alert of the same kind and tenant if there
// is a recent one that nobody acknowledged, else as a new one.
func keep(tx *store.Tx, r raised) error {
	recent, found, err := recentLike(tx, r)
	if err != nil {
		return err
	}
	if !found {
		recent = Alert{ID: newID(r.first), Kind: r.kind, Tenant: r.tenant, First: r.first.UTC()}
	}
	recent.Text, recent.Last = r.text, r.last.UTC()
	recent.Count += r.count
	if err := put(tx, recent); err != nil || found {
		return err
	}
	return bound(tx)
}

func recentLike(tx *store.Tx, r raised) (like Alert, found bool, err error) {
	err = Each(tx, "", func(a Alert) error {
		switch {
		case r.last.Sub(a.First) > Together: // so are all that follow
			return store.ErrStop
		case a.Kind == r.kind && a.Tenant == r.tenant && a.Acked == nil:
			like, found = a, true
			return store.ErrStop
		}
		return nil
	})
	return like, found, err
}

// bound removes what is beyond Most: the oldest that was acknowledged, else the
// oldest.
func bound(tx *store.Tx) error {
	n, err := tx.Count(bucket, nil)
	if err != nil || n <= Most {
		return err
	}
	var all []Alert // oldest last
	if err := Each(tx, "", func(a Alert) error {
		all = append(all, a)
		return nil
	}); err != nil {
		return err
	}
	for ; n > Most; n-- {
		at := len(all) - 1
		for i := len(all) - 1; i >= 0; i-- {
			if all[i].Acked != nil {
				at = i
				break
			}
		}
		if err := tx.Delete(bucket, []byte(all[at].ID)); err != nil {
			return err
		}
		all = append(all[:at], all[at+1:]...)
	}
	return nil
}
