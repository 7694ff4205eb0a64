package vault

import "encoding/binary"

// rewrapped are the buckets of the control store whose values a tenant's secrets
// keyset seals, and the associated data of each value as its key gives it: a rotation
// seals them anew, and they go with the tenant. Every value must have been sealed in
// the transaction that put it, so that none under an old key comes after the last
// scan of a rotation.
var rewrapped = []struct {
	bucket string
	ad     func(k *tenantKeys, key []byte) []byte
}{
	{bucketSecrets, func(k *tenantKeys, key []byte) []byte { return k.associate("secret-meta", key[UIDSize:], 0) }},
	{bucketVersions, func(k *tenantKeys, key []byte) []byte {
		name, number := key[UIDSize:len(key)-4], key[len(key)-4:]
		return k.associate("secret-value", name, int(binary.BigEndian.Uint32(number)))
	}},
	{bucketTransit, func(k *tenantKeys, key []byte) []byte { return k.associate(transitMeta, key[UIDSize:], 0) }},
	{bucketTransitKeys, func(k *tenantKeys, key []byte) []byte {
		last := len(key) - 1
		name, number := key[UIDSize:last-4], key[last-4:last]
		return k.associate(transitUse(key[last]).purpose(), name, int(binary.BigEndian.Uint32(number)))
	}},
}
