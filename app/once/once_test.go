package once_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"coffer/app/domain"
	"coffer/app/once"
	"coffer/app/store"
	"coffer/app/store/storetest"
)

var (
	start  = time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)
	alice  = domain.Principal{Kind: domain.Person, ID: "p_alice"}
	bob    = domain.Principal{Kind: domain.Person, ID: "p_bob"}
	intent = once.IntentID{1, 2, 3}
)

const key = "5f0c7f2e-9f6b-4a57-8f0e-3c1d2b4a5968"

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func claim(tb testing.TB, text, request string, p domain.Principal, standing string) once.Claim {
	tb.Helper()
	k, err := once.ParseKey(text, []byte("POST"), []byte(request))
	must(tb, err)
	c, err := k.For(p, []byte(standing))
	must(tb, err)
	return c
}

func update(tb testing.TB, db *store.Store, fn func(tx *store.Tx) error) {
	tb.Helper()
	_, err := db.Update(tb.Context(), fn)
	must(tb, err)
}

// do begins a claim and answers it.
func do(tb testing.TB, db *store.Store, c once.Claim, answer string, now time.Time) {
	tb.Helper()
	update(tb, db, func(tx *store.Tx) error { return once.Begin(tx, c, intent, now) })
	update(tb, db, func(tx *store.Tx) error { return once.Answer(tx, c, json.RawMessage(answer)) })
}

func find(tb testing.TB, db *store.Store, c once.Claim, now time.Time) (answer string, found bool, err error) {
	tb.Helper()
	err = db.View(tb.Context(), func(tx *store.Tx) error {
		var text json.RawMessage
		found, err = once.Find(tx, c, now, &text)
		answer = string(text)
		return err
	})
	return answer, found, err
}

func TestParseKey(t *testing.T) {
	for text, ok := range map[string]bool{
		"": false, "short": false, strings.Repeat("a", 15): false, strings.Repeat("a", 16): true, strings.Repeat("a", 128): true,
		strings.Repeat("a", 129): false, key: true, `"` + key + `"`: true, `"` + key: false, key + `\`: false,
		"sixteen or more with blanks": false, "käse-käse-käse-käse": false, "a\x00bbbbbbbbbbbbbbbbbb": false, `""""""""""""""""""`: false,
	} {
		_, err := once.ParseKey(text)
		if (err == nil) != ok {
			t.Errorf("%q: %v, want ok %v", text, err, ok)
		}
		var ours *domain.Error
		if err != nil && (!errors.As(err, &ours) || ours.Field != once.Header || strings.Contains(err.Error(), "käse")) {
			t.Errorf("%q: %v names no field, or the key", text, err)
		}
	}
}

// TestClaims: who asks again, and how, decides what is found.
func TestClaims(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	mine := claim(t, key, "/tenants", alice, "owner")
	if _, found, err := find(t, db, mine, start); found || err != nil {
		t.Fatal(found, err)
	}
	update(t, db, func(tx *store.Tx) error { return once.Begin(tx, mine, intent, start) })
	if _, _, err := find(t, db, mine, start); !errors.Is(err, once.ErrLost) {
		t.Errorf("begun and not answered: %v", err)
	}
	do(t, db, mine, `{"token":"cft_once"}`, start)
	end := start.Add(once.Keep)
	for _, tc := range []struct {
		what  string
		claim once.Claim
		at    time.Time
		found bool
		kind  domain.Kind // if found and no answer
	}{
		{"again", mine, end.Add(-1), true, -1},
		{"quoted", claim(t, `"`+key+`"`, "/tenants", alice, "owner"), start, true, -1},
		{"ended", mine, end, false, 0},
		{"another request", claim(t, key, "/members", alice, "owner"), start, true, domain.Conflict},
		{"another standing", claim(t, key, "/tenants", alice, "viewer"), start, true, domain.Denied},
		{"another principal", claim(t, key, "/tenants", bob, "owner"), start, false, 0},
		{"another key", claim(t, key+"x", "/tenants", alice, "owner"), start, false, 0},
	} {
		answer, found, err := find(t, db, tc.claim, tc.at)
		switch {
		case found != tc.found:
			t.Errorf("%s: found %v, %v", tc.what, found, err)
		case found && tc.kind < 0 && (err != nil || answer != `{"token":"cft_once"}`):
			t.Errorf("%s: %q, %v", tc.what, answer, err)
		case found && tc.kind >= 0 && (err == nil || domain.KindOf(err) != tc.kind || answer != ""):
			t.Errorf("%s: %q, %v", tc.what, answer, err)
		}
	}
}

func TestBoundAndSweep(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	defer once.SetMaxKeys(2)()
	for i, at := range []time.Time{start, start.Add(time.Hour)} {
		do(t, db, claim(t, key+string(rune('a'+i)), "/x", alice, ""), "1", at)
	}
	do(t, db, claim(t, key, "/x", bob, ""), "1", start)
	third := claim(t, key+"c", "/x", alice, "")
	_, err := db.Update(t.Context(), func(tx *store.Tx) error { return once.Begin(tx, third, intent, start.Add(2*time.Hour)) })
	var limit *domain.Error
	if !errors.As(err, &limit) || limit.Kind != domain.Limit || limit.Retry != once.Keep-2*time.Hour {
		t.Errorf("a third key: %v", err)
	}
	do(t, db, third, "1", start.Add(once.Keep)) // the first one ended
	any := func(now time.Time) (yes bool) {
		must(t, db.View(t.Context(), func(tx *store.Tx) (err error) { yes, err = once.AnyEnded(tx, now); return err }))
		return yes
	}
	if any(start.Add(once.Keep-1)) || !any(start.Add(once.Keep)) {
		t.Error("what ended is not what ended")
	}
	left := func() (n int) {
		must(t, db.View(t.Context(), func(tx *store.Tx) error {
			return tx.Scan(once.Bucket, nil, nil, func(_, _ []byte) error { n++; return nil })
		}))
		return n
	}
	for _, want := range []int{3, 2, 2} { // two had ended, one at a time
		update(t, db, func(tx *store.Tx) error { return once.Sweep(tx, start.Add(once.Keep), 1) })
		if got := left(); got != want {
			t.Errorf("%d left, want %d", got, want)
		}
	}
	update(t, db, func(tx *store.Tx) error { return once.DropIntent(tx, intent) })
	if left() != 0 {
		t.Error("an intent's mark stayed")
	}
}

// TestAnswerIsSealed: a record holds neither key nor answer, and an answer opens
// in its own record only.
func TestAnswerIsSealed(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	one, two := claim(t, key, "/x", alice, ""), claim(t, key+"2", "/x", alice, "")
	do(t, db, one, `"cft_canary"`, start)
	do(t, db, two, `"cft_other"`, start)
	var names, values [][]byte
	must(t, db.View(t.Context(), func(tx *store.Tx) error {
		return tx.Scan(once.Bucket, nil, nil, func(k, v []byte) error {
			names, values = append(names, bytes.Clone(k)), append(values, bytes.Clone(v))
			if bytes.Contains(v, []byte("canary")) || bytes.Contains(k, []byte(key)) || bytes.Contains(v, []byte(key)) {
				t.Error("the key or the answer stands in the store")
			}
			return nil
		})
	}))
	swap := func(member string) []byte { // the first record with one member of the second
		var a, b map[string]json.RawMessage
		must(t, json.Unmarshal(values[0], &a))
		must(t, json.Unmarshal(values[1], &b))
		return bytes.Replace(values[0], a[member], b[member], 1)
	}
	for _, member := range []string{"salt", "answer"} {
		update(t, db, func(tx *store.Tx) error { return tx.Put(once.Bucket, names[0], swap(member)) })
		for _, c := range []once.Claim{one, two} {
			if string(names[0]) != c.Name() {
				continue
			}
			if answer, _, err := find(t, db, c, start); domain.KindOf(err) != domain.Tampered || answer != "" {
				t.Errorf("with the %s of another: %q, %v", member, answer, err)
			}
		}
	}
}

// vector is one of testdata/v1/records.jsonl. Kept for ever.
type vector struct {
	Key      string          `json:"key"`
	Kind     string          `json:"kind"`
	ID       string          `json:"id"`
	Request  []string        `json:"request"`
	Standing string          `json:"standing"`
	Name     []byte          `json:"name"`
	Record   json.RawMessage `json:"record"`
	Answer   string          `json:"answer"`
}

func TestVectors(t *testing.T) {
	db := storetest.New(t, t.TempDir())
	f, err := os.Open("testdata/v1/records.jsonl")
	must(t, err)
	defer f.Close()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		var v vector
		must(t, json.Unmarshal(lines.Bytes(), &v))
		var parts [][]byte
		for _, p := range v.Request {
			parts = append(parts, []byte(p))
		}
		k, err := once.ParseKey(v.Key, parts...)
		must(t, err)
		c, err := k.For(domain.Principal{Kind: domain.PrincipalKind(v.Kind), ID: v.ID}, []byte(v.Standing))
		must(t, err)
		if c.Name() != string(v.Name) {
			t.Errorf("the record of %s is called %q", v.Key, c.Name())
		}
		update(t, db, func(tx *store.Tx) error { return tx.Put(once.Bucket, v.Name, v.Record) })
		answer, found, err := find(t, db, c, start)
		if !found || answer != v.Answer || (err != nil) != (v.Answer == "") || err != nil && !errors.Is(err, once.ErrLost) {
			t.Errorf("%s: %q, %v, %v", v.Key, answer, found, err)
		}
		if again, err := once.Recode(v.Record); err != nil || !bytes.Equal(again, v.Record) {
			t.Errorf("%s is written as %s, %v", v.Record, again, err)
		}
	}
	if n != 2 {
		t.Errorf("%d vectors", n)
	}
}

// FuzzRecord: what is read is written again byte for byte, or refused.
func FuzzRecord(f *testing.F) {
	b, err := os.ReadFile("testdata/v1/records.jsonl")
	must(f, err)
	for _, l := range bytes.Split(bytes.TrimSpace(b), []byte("\n")) {
		var v vector
		must(f, json.Unmarshal(l, &v))
		f.Add([]byte(v.Record))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := once.Recode(b)
		if err == nil && !bytes.Equal(again, b) {
			t.Fatalf("%q became %q", b, again)
		}
		if kind := domain.KindOf(err); err != nil && kind != domain.Tampered && kind != domain.Unavailable {
			t.Fatal(err)
		}
	})
}
