package seal

import (
	"context"
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"coffer/app/domain"
	"coffer/app/durable"
)

// File is one seal.json. Its methods may be called concurrently; that no
// other process writes the file is the caller's business (the appliance's
// lock), but a file that changed on disk is noticed and not overwritten.
type File struct {
	path    string
	changes sync.Mutex // held during a change, from enrolling to the write
	doc     atomic.Pointer[document]
}

// Load reads the file at path. Errors are of Kind domain.NotFound if there is
// none, Tampered if it is damaged, Unavailable if it cannot be read or was
// written by a newer program. Who wrote it is known only after Unlock.
func Load(path string) (*File, error) {
	raw, err := durable.ReadFile(path, MaxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, domain.Errorf(domain.NotFound, "there are no key slots at %s: %w", path, err).
			WithHint("on a first start they are made by coffer serve; otherwise restore a copy of the whole data directory")
	case errors.Is(err, durable.ErrTooLarge), errors.Is(err, durable.ErrNotRegular):
		return nil, damaged(path, err)
	case err != nil:
		return nil, domain.Errorf(domain.Unavailable, "reading the key slots: %w", err).
			WithHint("the file and its directory must belong to the user that runs coffer")
	}
	d, err := decode(raw)
	switch {
	case errors.Is(err, errVersion):
		return nil, domain.Errorf(domain.Unavailable, "%s was written by another version of coffer: %w", path, err).
			WithHint("start the version that wrote it, or a newer one; see: coffer version")
	case err != nil:
		return nil, damaged(path, err)
	}
	f := &File{path: path}
	f.doc.Store(d)
	return f, nil
}

func damaged(path string, err error) error {
	return domain.Errorf(domain.Tampered, "%s is damaged: %w", path, err).
		WithHint("restore a copy of the whole data directory; it was left as it is")
}

// Instance is the random id of this set of key slots, 26 characters a-z2-7,
// fixed when the file was made.
func (f *File) Instance() string { return f.doc.Load().Instance }

// Generation counts the changes of the file, 1 when it was made. A generation
// below one that was seen before means that an older file was put back.
func (f *File) Generation() uint64 { return f.doc.Load().Generation }

// LastChange is the change that made the file what it is. After a crash its ID
// tells whether an announced change happened.
func (f *File) LastChange() Change {
	rec := f.doc.Load().Change
	c := Change{At: rec.At}
	_, _ = hex.Decode(c.ID[:], []byte(rec.ID)) // its form was checked by decode
	return c
}

// Payload is a copy of the caller's bytes beside the slots. They are not
// authentic before Unlock succeeded.
func (f *File) Payload() []byte { return slices.Clone(f.doc.Load().Payload) }

// SlotStatus describes a slot for people; nothing in it is secret.
type SlotStatus struct {
	ID      string        // 26 characters a-z2-7
	Kind    Kind          // how it opens
	Name    string        // chosen by whoever made it
	Created time.Time     // whole seconds, UTC
	Source  KeyfileSource // of a key file; empty for the other kinds
	PCRs    []int         // the registers that a TPM slot is bound to; empty for none
	Detail  string        // the kind's parameters in words
	Warning string        // what must be said at every start, or empty
}

// Status lists the slots in the order in which they were made.
func (f *File) Status() []SlotStatus {
	d := f.doc.Load()
	out := make([]SlotStatus, len(d.Slots))
	for i := range d.Slots {
		out[i] = d.Slots[i].status()
	}
	return out
}

func (s *slot) status() SlotStatus {
	detail, warning := specs[s.Kind].describe(s.Params)
	source, _ := keyfileSource(s)
	return SlotStatus{
		ID: s.ID, Kind: s.Kind, Name: s.Name, Created: s.Created, Source: source, PCRs: tpmPCRs(s),
		Detail: detail, Warning: warning,
	}
}

// Has says whether a slot of the kind exists.
func (f *File) Has(k Kind) bool { return f.doc.Load().has(k) }

func (b *body) has(k Kind) bool {
	return slices.ContainsFunc(b.Slots, func(s slot) bool { return s.Kind == k })
}

// Strongest is the strongest kind that is enrolled; Recovery only if there is
// nothing else.
func (f *File) Strongest() Kind { return f.doc.Load().strongest() }

func (b *body) strongest() Kind {
	best := Recovery
	for _, s := range b.Slots {
		if s.Kind.StrongerThan(best) {
			best = s.Kind
		}
	}
	return best
}

// Unlock tries p on every slot of its kind and gives the root key and the slot
// that opened. The root key is the caller's to Zero. Errors: NotFound if there
// is no slot of that kind, Tampered if the file was changed by somebody who
// did not have the root key, else whatever the protector says.
func (f *File) Unlock(ctx context.Context, p Protector) (domain.Secret, SlotStatus, error) {
	d := f.doc.Load()
	var failed []error
	for i := range d.Slots {
		s := &d.Slots[i]
		if s.Kind != p.Kind() {
			continue
		}
		root, err := openSlot(ctx, d.Instance, s, p)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		if err := d.verify(root); err != nil {
			root.Zero()
			return domain.Secret{}, SlotStatus{}, changedBehind(f.path)
		}
		return root, s.status(), nil
	}
	return domain.Secret{}, SlotStatus{}, unlockError(p.Kind(), failed)
}

// openSlot gives the root key that s wraps, or an error for people.
func openSlot(ctx context.Context, instance string, s *slot, p Protector) (domain.Secret, error) {
	if err := ctx.Err(); err != nil {
		return domain.Secret{}, domain.Errorf(domain.Unavailable, "opening key slot %q was given up: %w", s.Name, err)
	}
	key, err := p.open(ctx, s.Salt, s.Params)
	if err != nil {
		return domain.Secret{}, err
	}
	defer key.Zero()
	root, err := unwrapRoot(key, instance, s)
	if errors.Is(err, errUnwrap) {
		return domain.Secret{}, p.refusal()
	}
	return root, err
}

// unlockError says why none of a kind's slots opened. The newest slot speaks:
// it is the one that is most likely meant; the others stay in the chain.
func unlockError(k Kind, failed []error) error {
	if len(failed) == 0 {
		return domain.Errorf(domain.NotFound, "no %s slot is enrolled", k).
			WithHint("see what is: coffer seal status")
	}
	last := failed[len(failed)-1]
	if len(failed) == 1 {
		return last
	}
	return &domain.Error{
		Kind: domain.KindOf(last), Msg: last.Error(), Hint: domain.HintOf(last),
		Err: errors.Join(failed...),
	}
}

func changedBehind(path string) error {
	return domain.Errorf(domain.Tampered, "%s was changed by somebody who did not have the root key", path).
		WithHint("do not use it; restore a copy of the whole data directory")
}

// Verify proves that the file was last written by somebody with this root key.
func (f *File) Verify(root domain.Secret) error {
	if err := f.doc.Load().verify(root); err != nil {
		return changedBehind(f.path)
	}
	return nil
}

var errMAC = errors.New("the document's MAC does not match")

func (d *document) verify(root domain.Secret) error {
	if root.Len() != RootSize {
		return errMAC
	}
	want, err := documentMAC(root, d.Instance, d.signed)
	if err != nil {
		return err
	}
	if !hmac.Equal(want, d.mac) {
		return errMAC
	}
	return nil
}
