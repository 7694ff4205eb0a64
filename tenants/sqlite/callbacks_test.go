package sqlite

import "testing"

// TestAddressesAreUsedAgain: SQLite frees the memory of a connection before Close is
// at its end, and another goroutine's new connection may get the same address. Closing
// the old one must not take the new one's authorizer from it.
func TestAddressesAreUsedAgain(t *testing.T) {
	const address = 1 // no memory is there
	before, after := &Conn{db: address}, &Conn{db: address}
	register(before)
	register(after)
	unregister(address, before)
	if connOf(address) != after {
		t.Error("the new connection is forgotten")
	}
	unregister(address, after)
	if connOf(address) != nil {
		t.Error("a closed connection is remembered")
	}
}
