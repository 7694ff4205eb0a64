package once

// Bucket is for tests that put records themselves.
const Bucket = bucket

// Recode decodes a record and encodes it again.
func Recode(b []byte) ([]byte, error) {
	r, err := decode(b)
	if err != nil {
		return nil, err
	}
	return encode(r)
}

// SetMaxKeys changes the bound for a test and gives what restores it.
func SetMaxKeys(n int) (restore func()) {
	was := maxKeys
	maxKeys = n
	return func() { maxKeys = was }
}
