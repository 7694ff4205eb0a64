package tenants

// Marks is how many marks of intents a file keeps.
const Marks = marks

// Recode decodes a tenant's record and encodes it again.
func Recode(b []byte) ([]byte, error) {
	r, err := decodeRecord(b)
	if err != nil {
		return nil, err
	}
	return encodeRecord(r)
}
