package authn

import (
	"sync"
	"time"
)

// Waiting keeps in memory what waits for an answer: challenges, secrets that were
// shown and not confirmed. It holds so many at most; of more the oldest go.
type Waiting[T any] struct {
	now  func() time.Time
	ttl  time.Duration
	most int

	mu    sync.Mutex
	items map[string]waitingItem[T]
}

type waitingItem[T any] struct {
	value T
	since time.Time
}

// NewWaiting makes an empty one.
func NewWaiting[T any](most int, ttl time.Duration, now func() time.Time) *Waiting[T] {
	return &Waiting[T]{now: now, ttl: ttl, most: most, items: map[string]waitingItem[T]{}}
}

// Put keeps a value, in place of one that there is.
func (w *Waiting[T]) Put(key string, value T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if _, there := w.items[key]; !there && len(w.items) >= w.most {
		w.makeRoom(now)
	}
	w.items[key] = waitingItem[T]{value, now}
}

// makeRoom removes those whose time is over, else the oldest.
func (w *Waiting[T]) makeRoom(now time.Time) {
	oldest := ""
	for key, item := range w.items {
		if now.Sub(item.since) > w.ttl {
			delete(w.items, key)
		} else if oldest == "" || item.since.Before(w.items[oldest].since) {
			oldest = key
		}
	}
	if len(w.items) >= w.most {
		delete(w.items, oldest)
	}
}

// Look gives a value that waits and leaves it.
func (w *Waiting[T]) Look(key string) (value T, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	item, ok := w.items[key]
	if !ok || w.now().Sub(item.since) > w.ttl {
		return value, false
	}
	return item.value, true
}

// Take gives a value that waits, once.
func (w *Waiting[T]) Take(key string) (value T, ok bool) {
	value, ok = w.Look(key)
	w.mu.Lock()
	defer w.mu.Unlock()
	_, there := w.items[key]
	delete(w.items, key)
	return value, ok && there
}
