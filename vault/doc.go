// Package vault holds the key tree and what is encrypted under it: the root
// keyset, the appliance's own keys, one key-encryption key per tenant with that
// tenant's keysets, and the tenants' versioned secrets.
//
//	root key ──▶ root keyset ──▶ tenant KEK ──▶ secrets · pages · names
//	                        └──▶ appliance keysets: control store, log heads, log periods
//
// A tenant's keys are reached only through a Coffer, and a Coffer is made only
// for an open audit permit that names the tenant: no permit, no key. A Coffer's
// methods fail once its permit has ended.
//
// The package owns vault/keys.db (wrapped keysets, apart from the data they
// open) and the payload of vault/seal.json (the root keyset under the root key).
// FORMAT.md describes both, and the records of secrets in the control store.
// Everything cryptographic is Tink's.
package vault
