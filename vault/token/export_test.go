package token

// Recode decodes a record and encodes it again.
func Recode(b []byte) ([]byte, error) {
	t, err := decode(b)
	if err != nil {
		return nil, err
	}
	return encode(t)
}

// The buckets, for tests that take the store apart.
const (
	BucketTokens    = bucketTokens
	BucketAccessors = bucketAccessors
)

// SetMaxTokens changes the bound for a test and gives what restores it.
func SetMaxTokens(n int) (restore func()) {
	was := maxTokens
	maxTokens = n
	return func() { maxTokens = was }
}
