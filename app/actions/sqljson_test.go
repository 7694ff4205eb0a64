package actions_test

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"

	"coffer/app/actions"
	"coffer/tenants/sqlite"
)

// TestResultsAsJSON: a result that is made into JSON row by row is what the encoder
// would have made of it.
func TestResultsAsJSON(t *testing.T) {
	one := []sqlite.Value{sqlite.Int(math.MinInt64)}
	odd := []sqlite.Value{
		sqlite.Text("<é&\u2028\x00"), sqlite.Text("\xff"), {}, sqlite.Float(1.5), sqlite.Float(math.Inf(1)), sqlite.Blob([]byte{1}), sqlite.Blob(nil), sqlite.Text(""),
	}
	for _, rows := range [][][]sqlite.Value{nil, {one}, {odd, odd}, {{}, one}} {
		plain, streamed := actions.ResultForTest(rows)
		want, err := json.Marshal(plain)
		if err != nil {
			t.Fatal(err)
		}
		got, err := streamed.AppendJSON([]byte("x"))
		if err != nil || !bytes.Equal(got[1:], want) {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
}
