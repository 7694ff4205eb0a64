package vault

import (
	"context"
	"encoding/base64"

	"coffer/app/store"
)

// KeysRevision counts the changes of keys.db.
func KeysRevision(v *Vault) store.Revision { return v.keys.Revision() }

// OpenTenants is how many tenants' unwrapped keys are in memory.
func OpenTenants(v *Vault) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.tenants)
}

// Recode decodes a record of a kind ("payload", "tenant", "transit", "secret") and gives
// what it was decoded to.
func Recode(kind string, b []byte) (any, error) {
	switch kind {
	case "payload":
		var p payload
		return p, decodeRecord(kind, b, &p)
	case "tenant":
		var r tenantRecord
		return r, decodeRecord(kind, b, &r)
	case "transit":
		var r transitRecord
		return r, decodeRecord(kind, b, &r)
	}
	var r secretRecord
	return r, decodeRecord(kind, b, &r)
}

// The buckets, for tests that take stores apart.
const (
	BucketSecrets  = bucketSecrets
	BucketVersions = bucketVersions

	BucketTransit     = bucketTransit
	BucketTransitKeys = bucketTransitKeys
)

// OnStep is called after each step of a change of keys.
func OnStep(fn func(string)) { crash = fn }

// TransitText is how what a version made begins.
func TransitText(version int) string { return transitText(version, base64.StdEncoding, nil) }

// UpdateKeys changes keys.db behind the vault's back.
func UpdateKeys(v *Vault, fn func(*store.Tx) error) (store.Revision, error) {
	return v.keys.Update(context.Background(), fn)
}

// SetMaxSecrets changes the bound for a test and gives what restores it.
func SetMaxSecrets(n int) (restore func()) {
	was := maxSecrets
	maxSecrets = n
	return func() { maxSecrets = was }
}
