package actions_test

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"sync"
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
		pieces, err := streamed.JSON()
		if got := bytes.Join(pieces, nil); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
}

// TestEveryByteInJSON: each byte at each place of a text is written as the encoder
// writes it.
func TestEveryByteInJSON(t *testing.T) {
	for c := range 256 {
		for at := range 19 {
			text := []byte("0123456789abcdefghi")
			text[at] = byte(c)
			plain, streamed := actions.ResultForTest([][]sqlite.Value{{sqlite.Text(string(text))}})
			want, err := json.Marshal(plain)
			if err != nil {
				t.Fatal(err)
			}
			pieces, err := streamed.JSON()
			if got := bytes.Join(pieces, nil); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %v, want %s", got, err, want)
			}
		}
	}
}

// TestPiecesAreUsedAgain: large results that are made and sent at once, from memory
// of earlier ones, do not get into one another.
func TestPiecesAreUsedAgain(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 8 {
				row := []sqlite.Value{sqlite.Text(strings.Repeat(string(rune('a'+i)), 1000*(n+1)))}
				plain, streamed := actions.ResultForTest(slices.Repeat([][]sqlite.Value{row}, 500))
				want, err := json.Marshal(plain)
				if err != nil {
					t.Error(err)
				}
				pieces, err := streamed.JSON()
				if err != nil || !bytes.Equal(bytes.Join(pieces, nil), want) {
					t.Errorf("a result of %d bytes is another", len(want))
				}
				streamed.Done()
			}
		})
	}
	wg.Wait()
}
