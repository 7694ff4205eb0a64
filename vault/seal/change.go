package seal

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"coffer/app/domain"
	"coffer/app/durable"
)

// ChangeID is the id of the caller's announcement of a change, for example of
// its event in an audit log. The zero id is for a change that was not
// announced, such as that of a first start.
type ChangeID [24]byte

// Change is stored with what it changed.
type Change struct {
	ID ChangeID
	At time.Time // kept in whole seconds
}

// Enrolment asks for one slot.
type Enrolment struct {
	Name string // unique among the slots, see domain.ParseName
	By   Protector
}

// Wrap encrypts the caller's payload under a new root key. The result may be
// at most MaxPayload bytes. It must not keep root.
type Wrap func(root domain.Secret, instance string) (payload []byte, err error)

// Create makes a root key, wraps it in the slots, and writes the file at path,
// which must not exist (Conflict). wrap may be nil for no payload. Call it only
// in a data directory that holds nothing yet: data there is encrypted under
// another root key, and stays so. The root key is the caller's to Zero.
func Create(ctx context.Context, path string, c Change, wrap Wrap, slots ...Enrolment) (*File, domain.Secret, error) {
	root := domain.NewSecret(randomBytes(RootSize))
	d, err := create(ctx, root, c, wrap, slots)
	if err == nil {
		err = writeError(durable.CreateFile(path, d.raw))
	}
	if err != nil {
		root.Zero()
		return nil, domain.Secret{}, fmt.Errorf("making the key slots: %w", err)
	}
	f := &File{path: path}
	f.doc.Store(d)
	return f, root, nil
}

func create(ctx context.Context, root domain.Secret, c Change, wrap Wrap, slots []Enrolment) (*document, error) {
	b := body{Version: formatVersion, Instance: domain.NewID("")}
	if err := fill(ctx, &b, root, c, wrap, slots); err != nil {
		return nil, err
	}
	return seal(b, root, c)
}

// fill gives b new slots and a payload under root.
func fill(ctx context.Context, b *body, root domain.Secret, c Change, wrap Wrap, slots []Enrolment) error {
	b.Slots, b.Payload = nil, []byte{}
	for _, e := range slots {
		if err := b.enrol(ctx, e, root, c); err != nil {
			return err
		}
	}
	if wrap == nil {
		return nil
	}
	payload, err := wrap(root, b.Instance)
	if err != nil {
		return fmt.Errorf("wrapping the payload: %w", err)
	}
	return b.setPayload(payload)
}

// Add makes another slot for the root key.
func (f *File) Add(ctx context.Context, c Change, root domain.Secret, e Enrolment) (SlotStatus, error) {
	d, err := f.change(c, root, root, func(b *body) error { return b.enrol(ctx, e, root, c) })
	if err != nil {
		return SlotStatus{}, fmt.Errorf("adding key slot %q: %w", e.Name, err)
	}
	return d.Slots[len(d.Slots)-1].status(), nil
}

// Replace exchanges a slot for a new one of the same kind in one write: a new
// passphrase, a TPM slot after the boot state changed, a new recovery key.
func (f *File) Replace(ctx context.Context, c Change, root domain.Secret, id string, e Enrolment) (SlotStatus, error) {
	d, err := f.change(c, root, root, func(b *body) error {
		old, err := b.cut(id)
		if err != nil {
			return err
		}
		if old.Kind != e.By.Kind() {
			return domain.Errorf(domain.Invalid, "a %s slot cannot take the place of a %s slot", e.By.Kind(), old.Kind).
				WithHint("add the new slot first, then remove the old one: coffer seal add, coffer seal remove")
		}
		return b.enrol(ctx, e, root, c)
	})
	if err != nil {
		return SlotStatus{}, fmt.Errorf("replacing a key slot: %w", err)
	}
	return d.Slots[len(d.Slots)-1].status(), nil
}

// Remove takes a slot away. The last slot that is not a recovery key stays, or
// no start would be possible without somebody who types that key in; so does
// the last recovery key, which can only be replaced. Whoever has a copy of the
// file from before can still open that copy with the removed slot: after a
// leak use Rotate.
func (f *File) Remove(c Change, root domain.Secret, id string) error {
	_, err := f.change(c, root, root, func(b *body) error {
		old, err := b.cut(id)
		switch {
		case err != nil:
			return err
		case old.Kind == Recovery && !b.has(Recovery):
			return domain.Errorf(domain.Conflict, "slot %q is the only recovery key", old.Name).
				WithHint("make a new one in its place: coffer seal recovery")
		case old.Kind != Recovery && b.strongest() == Recovery:
			return domain.Errorf(domain.Conflict, "slot %q is the last one beside the recovery key; without it every start would need that key", old.Name).
				WithHint("add another slot first: coffer seal add")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("removing a key slot: %w", err)
	}
	return nil
}

// SetPayload replaces the payload, at most MaxPayload bytes.
func (f *File) SetPayload(c Change, root domain.Secret, payload []byte) error {
	_, err := f.change(c, root, root, func(b *body) error { return b.setPayload(payload) })
	if err != nil {
		return fmt.Errorf("replacing the payload of the key slots: %w", err)
	}
	return nil
}

// Rotate exchanges the root key, all slots and the payload in one write and
// gives the new root key, which is the caller's to Zero. The new slots must be
// at least as strong as the old ones and include a recovery key if there was
// one (Conflict): a slot cannot be carried over without its protector.
func (f *File) Rotate(ctx context.Context, c Change, root domain.Secret, wrap Wrap, slots ...Enrolment) (domain.Secret, error) {
	fresh := domain.NewSecret(randomBytes(RootSize))
	_, err := f.change(c, root, fresh, func(b *body) error {
		strongest, recovery := b.strongest(), b.has(Recovery)
		if err := fill(ctx, b, fresh, c, wrap, slots); err != nil {
			return err
		}
		if strongest.StrongerThan(b.strongest()) || recovery && !b.has(Recovery) {
			return domain.Errorf(domain.Conflict, "a %s slot and a recovery key that were enrolled must be enrolled again with the new root key", strongest).
				WithHint("see what is enrolled: coffer seal status")
		}
		return nil
	})
	if err != nil {
		fresh.Zero()
		return domain.Secret{}, fmt.Errorf("exchanging the root key: %w", err)
	}
	return fresh, nil
}

// change applies edit to a copy, signs it under sign and writes it. Nothing is
// changed if it fails, unless the write itself failed: then the next change
// finds the file different from what it knows and refuses.
func (f *File) change(c Change, root, sign domain.Secret, edit func(*body) error) (*document, error) {
	f.changes.Lock()
	defer f.changes.Unlock()
	d := f.doc.Load()
	if err := d.verify(root); err != nil {
		return nil, domain.Errorf(domain.Denied, "this is not the root key of %s", f.path)
	}
	if onDisk, err := durable.ReadFile(f.path, MaxFile); err != nil || !bytes.Equal(onDisk, d.raw) {
		return nil, domain.Errorf(domain.Conflict, "%s changed on disk since it was read", f.path).
			WithHint("restart coffer, then look at it: coffer seal status")
	}
	b := d.body
	b.Slots = slices.Clone(b.Slots)
	if err := edit(&b); err != nil {
		return nil, err
	}
	next, err := seal(b, sign, c)
	if err != nil {
		return nil, err
	}
	if err := writeError(durable.WriteFile(f.path, next.raw)); err != nil {
		return nil, err
	}
	f.doc.Store(next)
	return next, nil
}

// writeError says why the file could not be written. The path is in err.
func writeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrExist):
		return domain.Errorf(domain.Conflict, "there are key slots already: %w", err).
			WithHint("more are added with: coffer seal add")
	default:
		return domain.Errorf(domain.Unavailable, "the key slots could not be written: %w", err).
			WithHint("make room on the disk and let the user that runs coffer write there, then restart coffer")
	}
}

// seal finishes b into a document. What was encoded is decoded again: what
// this package would refuse to read is never written.
func seal(b body, root domain.Secret, c Change) (*document, error) {
	b.Generation++
	b.Change = changeRecord{ID: hex.EncodeToString(c.ID[:]), At: storedTime(c.At)}
	raw, err := encode(b, root)
	if err != nil {
		return nil, err
	}
	d, err := decode(raw)
	if err != nil {
		return nil, fmt.Errorf("checking what would be written: %w", err)
	}
	return d, d.verify(root)
}

// enrol appends a slot for root and proves that it opens.
func (b *body) enrol(ctx context.Context, e Enrolment, root domain.Secret, c Change) error {
	name, err := domain.ParseName("slot", e.Name)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(b.Slots, func(s slot) bool { return s.Name == name }) {
		return domain.Errorf(domain.Conflict, "there is a key slot %q already", name).
			WithHint("choose another name; see: coffer seal status")
	}
	if len(b.Slots) >= MaxSlots {
		return domain.Errorf(domain.Limit, "there are %d key slots already, and no more are possible", MaxSlots).
			WithHint("remove one: coffer seal remove")
	}
	s := slot{ID: domain.NewID(""), Kind: e.By.Kind(), Name: name, Created: storedTime(c.At), Salt: randomBytes(saltSize)}
	params, key, err := e.By.enrol(ctx, s.Salt)
	if err != nil {
		return err
	}
	defer key.Zero()
	if s.Params, err = json.Marshal(params); err != nil {
		return fmt.Errorf("encoding the slot's parameters: %w", err)
	}
	if s.Wrapped, err = wrapRoot(root, key, b.Instance, &s); err != nil {
		return err
	}
	opened, err := openSlot(ctx, b.Instance, &s, e.By)
	if err != nil {
		return fmt.Errorf("opening the new slot: %w", err)
	}
	defer opened.Zero()
	if !opened.Equal(root) {
		return errors.New("the new slot opened to another key")
	}
	b.Slots = append(b.Slots, s)
	return nil
}

// cut takes the slot with the id out of b.
func (b *body) cut(id string) (slot, error) {
	i := slices.IndexFunc(b.Slots, func(s slot) bool { return s.ID == id })
	if i < 0 {
		return slot{}, domain.Errorf(domain.NotFound, "there is no key slot with the id %.40q", id).
			WithHint("see the ids: coffer seal status")
	}
	s := b.Slots[i]
	b.Slots = slices.Delete(b.Slots, i, i+1)
	return s, nil
}

func (b *body) setPayload(p []byte) error {
	if len(p) > MaxPayload {
		return domain.Errorf(domain.Limit, "%d bytes are more than the %d that fit beside the key slots", len(p), MaxPayload)
	}
	b.Payload = append([]byte{}, p...)
	return nil
}
