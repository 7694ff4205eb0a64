package policies

import "encoding/json"

// Recode decodes a record and encodes it again.
func Recode(b []byte) ([]byte, error) {
	p, err := decode(b)
	if err != nil {
		return nil, err
	}
	return json.Marshal(record{recordVersion, p})
}
