package tenants

import (
	"cmp"

	"coffer/app/domain"
)

// Quota is how many bytes a tenant may keep. Zero means the default.
type Quota struct {
	Secrets int64 // of its secrets' values, as they are sealed, all versions together
	File    int64 // of its database file
}

// Defaults and bounds of a Quota, in bytes.
const (
	DefaultSecretBytes = 64 << 20
	DefaultFileBytes   = 10 << 30

	MinSecretBytes = 1 << 20 // a secret of the largest size and its predecessor
	MaxSecretBytes = 1 << 30 // they are all in control.db
	MinFileBytes   = 1 << 20
	MaxFileBytes   = 1 << 40
)

// pageSize is that of tenants' files, in bytes.
const pageSize = 4096

// Check refuses quotas that cannot be.
func (q Quota) Check() error {
	if q.Secrets != 0 && (q.Secrets < MinSecretBytes || q.Secrets > MaxSecretBytes) {
		return domain.Fieldf("secret_bytes", "%d is not between %d and %d", q.Secrets, MinSecretBytes, MaxSecretBytes)
	}
	if q.File != 0 && (q.File < MinFileBytes || q.File > MaxFileBytes) {
		return domain.Fieldf("file_bytes", "%d is not between %d and %d", q.File, MinFileBytes, MaxFileBytes)
	}
	return nil
}

// WithDefaults is the quota with its defaults filled in.
func (q Quota) WithDefaults() Quota {
	return Quota{Secrets: cmp.Or(q.Secrets, DefaultSecretBytes), File: cmp.Or(q.File, DefaultFileBytes)}
}

// pages is the quota of the file in pages.
func (q Quota) pages() int64 { return q.WithDefaults().File / pageSize }
