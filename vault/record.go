package vault

import "coffer/app/store"

// recordVersion is the version of every JSON record of this package, its first
// member. See FORMAT.md.
const recordVersion = 1

// decodeRecord reads a JSON record strictly; what names it in errors.
func decodeRecord(what string, b []byte, into any) error {
	return store.DecodeRecord(recordVersion, what, b, into)
}
