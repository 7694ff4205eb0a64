package cert

import (
	"net/netip"
	"slices"
)

// Recode decodes an authority's record and encodes it again.
func Recode(b []byte) ([]byte, error) {
	a, err := decodeAuthority(b)
	if err != nil {
		return nil, err
	}
	return a.encode()
}

// Wanted are the names that a certificate gets.
func Wanted(machine Names, extra []string) (hosts []string, addresses []netip.Addr) {
	w := wanted(machine, slices.Clone(extra))
	return w.Hosts, w.Addresses
}

// LookEvery is how often brought files are looked at.
const LookEvery = lookEvery
