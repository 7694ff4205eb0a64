package queries

import "encoding/json"

// RecodeQuery decodes a record and encodes it again.
func RecodeQuery(b []byte) ([]byte, error) {
	q, err := decodeQuery(b)
	if err != nil {
		return nil, err
	}
	return json.Marshal(queryRecord{recordVersion, q})
}

// RecodeDashboard is RecodeQuery for dashboards.
func RecodeDashboard(b []byte) ([]byte, error) {
	d, err := decodeDashboard(b)
	if err != nil {
		return nil, err
	}
	return json.Marshal(dashboardRecord{recordVersion, d})
}
