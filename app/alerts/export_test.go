package alerts

import "encoding/json"

// Recode decodes a record and encodes it again.
func Recode(b []byte) ([]byte, error) {
	a, err := decode(b)
	if err != nil {
		return nil, err
	}
	return json.Marshal(record{recordVersion, a})
}
