package once

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

// Keep is how long a key is remembered. Times are trusted ones (durable.Clock),
// which a clock set ahead moves by a day at most: what is promised, a day, holds
// whatever the clock does.
const Keep = 48 * time.Hour

// MaxKeys is how many keys of one principal are remembered at a time.
const MaxKeys = 1000

var maxKeys = MaxKeys

// Find looks for what was done under the claim and reads its answer into out.
// found is false if nothing was done yet; an error says why there is no answer.
func Find(tx *store.Tx, c Claim, now time.Time, out any) (found bool, err error) {
	r, found, err := load(tx, c.name)
	if err != nil || !found || r.ended(now) {
		return false, err
	}
	switch {
	case subtle.ConstantTimeCompare(r.Request, c.request) != 1:
		e := domain.Errorf(domain.Conflict, "%s: another request was sent under this key", Header).
			WithHint("a key is for one request, sent again unchanged; take a fresh key for a new one")
		e.Field = Header
		return true, e
	case subtle.ConstantTimeCompare(r.Standing, c.standing[:]) != 1:
		return true, domain.Errorf(domain.Denied, "not allowed: what you held when this was done is not what you hold now").
			WithHint("it was done once, and is in the log; ask for something new under a fresh key")
	case len(r.Answer) == 0:
		return true, ErrLost
	}
	return true, c.open(r, out)
}

// ErrLost says that a request was done and its answer cannot be given again:
// look at what is there before asking for it anew.
var ErrLost = domain.Errorf(domain.Conflict, "the request under this key was done, but its answer was lost").
	WithHint("look at what it made (the log names it); if a token or a secret id was lost with the answer, revoke it and ask for another under a fresh key")

// ErrUnderWay says that the request is being done at this moment.
var ErrUnderWay = domain.Errorf(domain.Conflict, "the request under this key is still under way").
	WithHint("send it again in a moment").WithRetry(time.Second)

// Begin marks that the request is done with the transaction. A mark that ended
// is replaced.
func Begin(tx *store.Tx, c Claim, intent IntentID, now time.Time) error {
	live, oldest := 0, now
	err := tx.Scan(bucket, append([]byte(c.principal), 0), nil, func(_, b []byte) error {
		r, err := decode(b)
		if err == nil && !r.ended(now) {
			live++
			if r.Begun.Before(oldest) {
				oldest = r.Begun
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	if live >= maxKeys {
		return domain.Errorf(domain.Limit, "%d idempotency keys of yours are remembered already", live).
			WithHint("each is for %v; create without a key, or later", Keep).WithRetry(oldest.Add(Keep).Sub(now))
	}
	return put(tx, c.name, record{
		Version: recordVersion, Begun: now.UTC(), Intent: intent[:],
		Request: c.request, Standing: c.standing[:], Salt: newSalt(),
	})
}

// Answer keeps the answer to what Begin marked, as JSON.
func Answer(tx *store.Tx, c Claim, answer any) error {
	r, found, err := load(tx, c.name)
	if err != nil {
		return err
	}
	if !found {
		return domain.Errorf(domain.Internal, "an answer without a request")
	}
	if err := c.seal(&r, answer); err != nil {
		return err
	}
	return put(tx, c.name, r)
}

// Drop forgets a mark after all, because nothing was done.
func Drop(tx *store.Tx, c Claim) error { return tx.Delete(bucket, c.name) }

// DropIntent is Drop for whoever knows only the intent: the start after a crash.
func DropIntent(tx *store.Tx, intent IntentID) error {
	return dropWhere(tx, -1, func(r record) bool { return bytes.Equal(r.Intent, intent[:]) })
}

// AnyEnded says whether Sweep has something to do.
func AnyEnded(tx *store.Tx, now time.Time) (any bool, err error) {
	err = tx.Scan(bucket, nil, nil, func(_, b []byte) error {
		r, err := decode(b)
		if err == nil && r.ended(now) {
			any, err = true, store.ErrStop
		}
		return err
	})
	return any, err
}

// Sweep forgets at most limit keys that ended.
func Sweep(tx *store.Tx, now time.Time, limit int) error {
	return dropWhere(tx, limit, func(r record) bool { return r.ended(now) })
}

func dropWhere(tx *store.Tx, limit int, doomed func(record) bool) error {
	var keys [][]byte
	err := tx.Scan(bucket, nil, nil, func(key, b []byte) error {
		if len(keys) == limit {
			return store.ErrStop
		}
		r, err := decode(b)
		if err == nil && doomed(r) {
			keys = append(keys, bytes.Clone(key))
		}
		return err
	})
	for _, key := range keys {
		err = errors.Join(err, tx.Delete(bucket, key))
	}
	return err
}

func (r record) ended(now time.Time) bool { return !now.Before(r.Begun.Add(Keep)) }

func load(tx *store.Tx, name []byte) (r record, found bool, err error) {
	b, err := tx.Get(bucket, name)
	if errors.Is(err, store.ErrNotFound) {
		return record{}, false, nil
	}
	if err == nil {
		r, err = decode(b)
	}
	return r, err == nil, err
}

func put(tx *store.Tx, name []byte, r record) error {
	b, err := encode(r)
	if err != nil {
		return err
	}
	return tx.Put(bucket, name, b)
}
