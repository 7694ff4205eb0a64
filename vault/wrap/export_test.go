package wrap

import "encoding/json"

// Recode decodes a record and encodes it again.
func Recode(b []byte) ([]byte, error) {
	t, err := decode(b)
	if err != nil {
		return nil, err
	}
	return json.Marshal(record{recordVersion, t})
}

// Buckets are those of the package.
var Buckets = []string{bucketWraps, bucketContents, bucketAccessors, bucketExpiries, bucketCounts}

// SetMaxBytes changes the bound for a test and gives what restores it.
func SetMaxBytes(n int) (restore func()) {
	was := maxBytes
	maxBytes = n
	return func() { maxBytes = was }
}
