package vault

import "encoding/binary"

// rewrapped are the buckets of the control store whose values a tenant's secrets
// keyset seals, and the associated data of each value as its key gives it. Whatever
// goes through all that a tenant has sealed goes through these. Every value must
// have been sealed in the transaction that puts it, so that none under an old key
// comes after the last scan of a rotation.
var rewrapped = []struct {
	bucket string
	ad     func(k *tenantKeys, key []byte) []byte
}{
	{bucketSecrets, func(k *tenantKeys, key []byte) []byte { return k.associate("secret-meta", key[UIDSize:], 0) }},
	{bucketVersions, func(k *tenantKeys, key []byte) []byte {
		name, number := key[UIDSize:len(key)-4], key[len(key)-4:]
		return k.associate("secret-value", name, int(binary.BigEndian.Uint32(number)))
	}},
}
