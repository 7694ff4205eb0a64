package seal_test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"coffer/app/domain"
	"coffer/vault/seal"
)

// model is a naive picture of a file: who opens, to what, and what lies beside.
type model struct {
	pool []seal.Protector // cheap ones, enrolled or not
	path string

	root       domain.Secret
	slots      []seal.Protector
	payload    []byte
	generation uint64
	names      int
}

// TestModel compares a file with the model under random changes, each made by
// a program that has just loaded it.
func TestModel(t *testing.T) {
	var pool []seal.Protector
	for range 3 {
		_, r := mustRecovery(t)
		pool = append(pool, mustKeyfile(t), r)
	}
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{pool: pool, path: filepath.Join(dir, domain.NewID("")), generation: 1}
		first := m.enrolment(rt)
		_, root, err := seal.Create(context.Background(), m.path, change(1), nil, first)
		if err != nil {
			rt.Fatal(err)
		}
		m.root, m.slots = root, []seal.Protector{first.By}
		rt.Repeat(rapid.StateMachineActions(m))
	})
}

// Check loads the file and compares it with the model.
func (m *model) Check(rt *rapid.T) {
	f := m.load(rt)
	if f.Generation() != m.generation || !bytes.Equal(f.Payload(), m.payload) || len(f.Status()) != len(m.slots) {
		rt.Fatalf("generation %d/%d, payload %x/%x, slots %d/%d", f.Generation(), m.generation, f.Payload(), m.payload, len(f.Status()), len(m.slots))
	}
	for _, p := range m.pool {
		got, _, err := f.Unlock(context.Background(), p)
		if enrolled := slices.Contains(m.slots, p); (err == nil) != enrolled || enrolled && !got.Equal(m.root) {
			rt.Fatalf("opens: %v, enrolled: %v", err == nil, enrolled)
		}
	}
}

func (m *model) Add(rt *rapid.T) {
	e := m.enrolment(rt)
	_, err := m.load(rt).Add(context.Background(), change(2), m.root, e)
	if m.did(rt, err, len(m.slots) < seal.MaxSlots) {
		m.slots = append(m.slots, e.By)
	}
}

func (m *model) Remove(rt *rapid.T) {
	f, i := m.load(rt), m.slot(rt)
	err := f.Remove(change(2), m.root, f.Status()[i].ID)
	if m.did(rt, err, m.count(m.slots[i].Kind()) > 1) {
		m.slots = slices.Delete(m.slots, i, i+1)
	}
}

func (m *model) Replace(rt *rapid.T) {
	f, i, e := m.load(rt), m.slot(rt), m.enrolment(rt)
	_, err := f.Replace(context.Background(), change(2), m.root, f.Status()[i].ID, e)
	if m.did(rt, err, e.By.Kind() == m.slots[i].Kind()) {
		m.slots = append(slices.Delete(m.slots, i, i+1), e.By)
	}
}

func (m *model) SetPayload(rt *rapid.T) {
	p := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(rt, "payload")
	if m.did(rt, m.load(rt).SetPayload(change(2), m.root, p), true) {
		m.payload = p
	}
}

func (m *model) Rotate(rt *rapid.T) {
	a, b := m.enrolment(rt), m.enrolment(rt)
	wrap := func(domain.Secret, string) ([]byte, error) { return m.payload, nil }
	fresh, err := m.load(rt).Rotate(context.Background(), change(2), m.root, wrap, a, b)
	allowed := true
	for _, k := range []seal.Kind{seal.Keyfile, seal.Recovery} {
		allowed = allowed && (m.count(k) == 0 || a.By.Kind() == k || b.By.Kind() == k)
	}
	if m.did(rt, err, allowed) {
		m.root, m.slots = fresh, []seal.Protector{a.By, b.By}
	}
}

// did notes whether the file did what the model expects.
func (m *model) did(rt *rapid.T, err error, allowed bool) bool {
	if (err == nil) != allowed {
		rt.Fatalf("error %v, allowed %v", err, allowed)
	}
	if err == nil {
		m.generation++
	}
	return err == nil
}

func (m *model) load(rt *rapid.T) *seal.File {
	f, err := seal.Load(m.path)
	if err != nil {
		rt.Fatal(err)
	}
	return f
}

func (m *model) slot(rt *rapid.T) int {
	return rapid.IntRange(0, len(m.slots)-1).Draw(rt, "slot")
}

func (m *model) enrolment(rt *rapid.T) seal.Enrolment {
	m.names++
	by := m.pool[rapid.IntRange(0, len(m.pool)-1).Draw(rt, "protector")]
	return seal.Enrolment{Name: fmt.Sprint("n", m.names), By: by}
}

func (m *model) count(k seal.Kind) (n int) {
	for _, s := range m.slots {
		if s.Kind() == k {
			n++
		}
	}
	return n
}
