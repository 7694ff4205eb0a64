package migrate

import "encoding/json"

// Recode decodes a row of a bucket and encodes it again.
func Recode(bucket string, b []byte) ([]byte, error) {
	switch bucket {
	case bucketSet:
		r, err := decodeMigration(b)
		if err != nil {
			return nil, err
		}
		return json.Marshal(r)
	case bucketStates:
		s, err := decodeState(b)
		if err != nil {
			return nil, err
		}
		return json.Marshal(stateRecord{recordVersion, s.Number, s.Changed, s.Failed})
	}
	r, err := decodeRun(b)
	if err != nil {
		return nil, err
	}
	return r.encode()
}
