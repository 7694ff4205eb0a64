package audit

import (
	"context"
	"fmt"
	"sync"
	"time"

	"coffer/app/domain"
	"coffer/audit/record"
)

// defaultKeyCache is how many period keys are held ready. One takes about a
// kilobyte.
const defaultKeyCache = 4_096

// keyring holds the ciphers of period keys. The key bytes themselves are
// zeroed as soon as the cipher is made; an evicted cipher is left to the
// garbage collector.
type keyring struct {
	source   Keys
	instance [16]byte
	limit    int

	mu   sync.Mutex
	held map[keyName]*heldKey
}

type keyName struct {
	tag    Tag
	period string
}

type heldKey struct {
	ready chan struct{} // closed when key or err is set
	key   *record.Key
	err   error
}

func newKeyring(source Keys, instance [16]byte, limit int) *keyring {
	if limit <= 0 {
		limit = defaultKeyCache
	}
	return &keyring{source: source, instance: instance, limit: limit, held: map[keyName]*heldKey{}}
}

// key gives a period's key; concurrent callers for one key ask the source once.
func (k *keyring) key(ctx context.Context, tag Tag, period string) (*record.Key, error) {
	name := keyName{tag, period}
	k.mu.Lock()
	h, found := k.held[name]
	if !found {
		k.evict()
		h = &heldKey{ready: make(chan struct{})}
		k.held[name] = h
	}
	k.mu.Unlock()
	if !found {
		// Others wait for this answer: it must not end with this caller.
		h.key, h.err = k.fetch(context.WithoutCancel(ctx), tag, period)
		if h.err != nil {
			k.forget(name, h)
		}
		close(h.ready)
	}
	select {
	case <-h.ready:
		return h.key, h.err
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for a log key: %w", ctx.Err())
	}
}

// ready gives a key if it is held, nil else. It never waits.
func (k *keyring) ready(tag Tag, period string) *record.Key {
	k.mu.Lock()
	h := k.held[keyName{tag, period}]
	k.mu.Unlock()
	if h == nil {
		return nil
	}
	select {
	case <-h.ready:
		return h.key
	default:
		return nil
	}
}

// evict makes room for one more; k.mu is held. Which key goes does not matter:
// it can be had again.
func (k *keyring) evict() {
	for name := range k.held {
		if len(k.held) < k.limit {
			return
		}
		delete(k.held, name)
	}
}

func (k *keyring) forget(name keyName, h *heldKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held[name] == h {
		delete(k.held, name)
	}
}

func (k *keyring) fetch(ctx context.Context, tag Tag, period string) (*record.Key, error) {
	secret, err := k.source.PeriodKey(ctx, tag, period)
	if err != nil {
		return nil, fmt.Errorf("opening the key of log %s for %s: %w", tag, period, err)
	}
	defer secret.Zero()
	key, err := record.NewKey(k.instance, secret.Reveal())
	if err != nil {
		return nil, fmt.Errorf("opening the key of log %s for %s: %w", tag, period, err)
	}
	return key, nil
}

// committed gives the key to which a log committed, and refuses another.
func (k *keyring) committed(ctx context.Context, tag Tag, s record.KeyState) (*record.Key, error) {
	key, err := k.key(ctx, tag, s.Period)
	if err != nil {
		return nil, err
	}
	if key.Commitment() != s.Commitment {
		return nil, errOtherKey(tag, s.Period)
	}
	return key, nil
}

func errOtherKey(tag Tag, period string) error {
	return domain.Errorf(domain.Tampered, "the key of log %s for %s is not the one to which the log committed", tag, period).
		WithHint("restore vault/keys.db from a backup of the same time as the log")
}

// clear forgets all keys.
func (k *keyring) clear() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.held)
}

// period is the one whose key a record of now goes under. It never goes back:
// after a clock was set back the open key stays in use.
func (t *tenantLog) period(now time.Time) string {
	period := record.Period(now, t.retention)
	open := t.open.Load()
	if open == nil || open.Period == period || !later(open.Period, period) {
		return period
	}
	return open.Period
}

// later says whether period a starts after period b.
func later(a, b string) bool {
	as, errA := record.PeriodStart(a)
	bs, errB := record.PeriodStart(b)
	return errA == nil && errB == nil && as.After(bs)
}
