package alerts

import (
	"context"
	"strings"
	"sync"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

// maxWaiting is how many different alerts an Inbox holds until they are stored.
// Beyond it, those of a kind lose their tenant rather than be lost.
const maxWaiting = 256

// raised is what an Inbox holds: alerts of one kind and tenant together.
type raised struct {
	kind        Kind
	tenant      domain.TenantID
	text        string
	first, last time.Time
	count       int
}

type key struct {
	kind   Kind
	tenant domain.TenantID
}

// Inbox takes alerts from whoever notices something, without ever waiting. It is
// safe for concurrent use.
type Inbox struct {
	now func() time.Time

	mu      sync.Mutex
	waiting map[key]*raised
	order   []key
	news    chan struct{}
}

// NewInbox makes an empty Inbox. now must never run backwards.
func NewInbox(now func() time.Time) *Inbox {
	return &Inbox{now: now, waiting: map[key]*raised{}, news: make(chan struct{}, 1)}
}

// Raise takes an alert. tenant is "" for one about the whole appliance.
func (b *Inbox) Raise(kind Kind, tenant domain.TenantID, text string) {
	if text = strings.ToValidUTF8(text, "\uFFFD"); len(text) > MaxText {
		text = strings.ToValidUTF8(text[:MaxText], "")
	}
	now := b.now()
	b.add(raised{kind: kind, tenant: tenant, text: text, first: now, last: now, count: 1})
	select {
	case b.news <- struct{}{}:
	default:
	}
}

func (b *Inbox) add(r raised) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := key{r.kind, r.tenant}
	if b.waiting[k] == nil && len(b.waiting) >= maxWaiting {
		k.tenant, r.tenant = "", ""
		r.text = "several tenants; see the operator's log"
	}
	if w := b.waiting[k]; w != nil {
		w.count += r.count
		if !r.last.Before(w.last) {
			w.text, w.last = r.text, r.last
		}
		if r.first.Before(w.first) {
			w.first = r.first
		}
		return
	}
	b.waiting[k] = &r
	b.order = append(b.order, k)
}

// News can be received from once something was raised since the last Store.
func (b *Inbox) News() <-chan struct{} { return b.news }

// Store puts what was raised into the control store. What could not be stored
// stays in the Inbox.
func (b *Inbox) Store(ctx context.Context, db *store.Store) error {
	list := b.take()
	if len(list) == 0 {
		return nil
	}
	_, err := db.Update(ctx, func(tx *store.Tx) error {
		for _, r := range list {
			if err := keep(tx, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		for _, r := range list {
			b.add(r)
		}
	}
	return err
}

func (b *Inbox) take() (list []raised) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range b.order {
		list = append(list, *b.waiting[k])
	}
	clear(b.waiting)
	b.order = nil
	return list
}
