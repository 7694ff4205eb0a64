package store

import "sync"

// Bounds of what is remembered: values in number, and of each the bytes.
const (
	maxRemembered      = 4096
	maxRememberedBytes = 4096
)

// memo is what values of the store decode to. Most requests read the same few
// records again, and to decode one strictly costs more than to open it.
type memo struct {
	mu    sync.RWMutex
	known map[any]any // memoKey[T] → T
}

// memoKey is a value and, as its type, what it decodes to.
type memoKey[T any] struct{ value string }

// Remember gives what decode makes of a value that was read in the transaction, and
// remembers it. There is one decode for each T, its answer depends on the value
// alone, and nobody changes what it points to: others are given the same. Errors are
// not remembered, and with the store everything is forgotten.
func Remember[T any](tx *Tx, value []byte, decode func([]byte) (T, error)) (T, error) {
	if len(value) > maxRememberedBytes {
		return decode(value)
	}
	key, m := memoKey[T]{string(value)}, &tx.h.memo
	m.mu.RLock()
	known, found := m.known[key]
	m.mu.RUnlock()
	if found {
		return known.(T), nil
	}
	out, err := decode(value)
	if err != nil {
		return out, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil || len(m.known) >= maxRemembered {
		m.known = map[any]any{}
	}
	m.known[key] = out
	return out, nil
}
