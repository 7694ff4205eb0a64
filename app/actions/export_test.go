package actions

import "coffer/tenants/sqlite"

// ResultForTest is a result of one column or more, as values and as JSON.
func ResultForTest(rows [][]sqlite.Value) (plain, streamed SQLOut) {
	plain = SQLOut{Columns: []string{"a<b"}, Rows: [][]SQLValue{}, Affected: 3, LastInsertID: -7}
	streamed = plain
	for _, row := range rows {
		values := make([]SQLValue, len(row))
		for i, v := range row {
			values[i] = SQLValue{v}
		}
		plain.Rows = append(plain.Rows, values)
		_ = streamed.encode(row)
	}
	return plain, streamed
}
