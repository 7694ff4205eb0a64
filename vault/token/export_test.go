package token

import (
	"bytes"
	"context"
	"testing"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

// Recode decodes a record and encodes it again, in the version that it has.
func Recode(b []byte) ([]byte, error) {
	t, err := decode(b)
	if err != nil {
		return nil, err
	}
	again, err := encode(t)
	if bytes.HasPrefix(b, []byte(`{"version":1,`)) && err == nil {
		return b, nil // decoded strictly; it is never written any more
	}
	return again, err
}

// The buckets, for tests that take the store apart.
const (
	BucketTokens    = bucketTokens
	BucketAccessors = bucketAccessors
	BucketExpiries  = bucketExpiries
	BucketChildren  = bucketChildren
	BucketCounts    = bucketCounts
	BucketDoomed    = bucketDoomed
	BucketCutoffs   = bucketCutoffs
)

// SetMaxTokens changes the bound for a test and gives what restores it.
func SetMaxTokens(n int) (restore func()) {
	was := maxTokens
	maxTokens = n
	return func() { maxTokens = was }
}

// SetIndexAtOnce changes how many tokens a transaction of Index looks at.
func SetIndexAtOnce(n int) (restore func()) {
	was := indexAtOnce
	indexAtOnce = n
	return func() { indexAtOnce = was }
}

// Issue3 is Issue in a transaction of its own.
func Issue3(tb testing.TB, db *store.Store, s Spec, now time.Time) (text domain.Secret, t Token, err error) {
	tb.Helper()
	_, err = db.Update(context.Background(), func(tx *store.Tx) (err error) {
		text, t, err = Issue(tx, s, now)
		return err
	})
	return text, t, err
}

// Stored says whether a token's record is there.
func Stored(tb testing.TB, db *store.Store, tenant domain.TenantID, accessor string) (is bool) {
	tb.Helper()
	if err := db.View(context.Background(), func(tx *store.Tx) error {
		_, err := tx.Get(bucketAccessors, accessorKey(tenant, accessor))
		is = err == nil
		return nil
	}); err != nil {
		tb.Fatal(err)
	}
	return is
}

// Counted gives how many records a tenant has, by the count that is kept.
func Counted(tb testing.TB, db *store.Store, tenant domain.TenantID) (n int) {
	tb.Helper()
	if err := db.View(context.Background(), func(tx *store.Tx) (err error) {
		n, err = count(tx, tenant)
		return err
	}); err != nil {
		tb.Fatal(err)
	}
	return n
}
