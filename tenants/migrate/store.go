package migrate

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

// recordVersion is the version of the records. See FORMAT.md.
const recordVersion = 1

const (
	bucketSet    = "migrations"    // number, four digits → a migration
	bucketStates = "migrated"      // tenant id → State
	bucketRun    = "migration-run" // "run" → Run
)

// Stored is a migration with who handed it over.
type Stored struct {
	Migration
	Put time.Time
	By  string // principal
}

type setRecord struct {
	Version int       `json:"version"`
	Name    string    `json:"name"`
	SQL     string    `json:"sql"`
	Sum     Sum       `json:"sha256"`
	Put     time.Time `json:"put"`
	By      string    `json:"by"`
}

// Load reads the set.
func Load(tx *store.Tx) (Set, error) {
	stored, err := List(tx)
	set := make(Set, len(stored))
	for i, m := range stored {
		set[i] = m.Migration
	}
	return set, err
}

// Top is the number of the last migration of the set.
func Top(tx *store.Tx) (n int, err error) {
	err = tx.Keys(bucketSet, nil, nil, func([]byte) error { n++; return nil })
	return n, err
}

// List reads the set with who handed it over. It is what Parse makes of it: a
// store that holds anything else was changed.
func List(tx *store.Tx) (out []Stored, err error) {
	const what = "a migration"
	var files []File
	err = tx.Scan(bucketSet, nil, nil, func(key, value []byte) error {
		r, err := decodeMigration(value)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(r.Name, string(key)+"_") {
			return store.MalformedRecord(what, errors.New("another number than its place has"))
		}
		files = append(files, File{r.Name, r.SQL})
		out = append(out, Stored{Put: r.Put, By: r.By})
		return nil
	})
	if err != nil {
		return nil, err
	}
	set, err := Parse(files)
	if err != nil {
		return nil, store.MalformedRecord("the set of migrations", err)
	}
	for i := range out {
		out[i].Migration = set[i]
	}
	return out, nil
}

func decodeMigration(b []byte) (r setRecord, err error) {
	const what = "a migration"
	if err := store.DecodeRecord(recordVersion, what, b, &r); err != nil {
		return r, err
	}
	if SumOf(r.SQL) != r.Sum {
		return r, store.MalformedRecord(what, errors.New("another sum than its text has"))
	}
	return r, nil
}

// Save puts a set in place of the one that is there. What did not change stays
// as it was put.
func Save(tx *store.Tx, set Set, by string, now time.Time) error {
	old, err := List(tx)
	if err != nil {
		return err
	}
	for _, m := range old[min(len(set), len(old)):] {
		if err := tx.Delete(bucketSet, []byte(Number(m.Number))); err != nil {
			return err
		}
	}
	for i, m := range set {
		if i < len(old) && old[i].Name == m.Name && old[i].Sum == m.Sum {
			continue
		}
		b, err := json.Marshal(setRecord{recordVersion, m.Name, m.SQL, m.Sum, now.UTC(), by})
		if err != nil {
			return err
		}
		if err := tx.Put(bucketSet, []byte(Number(m.Number)), b); err != nil {
			return err
		}
	}
	return nil
}

// State is how far a tenant has come.
type State struct {
	Number  int // of the last migration that it has, 0 for none
	Changed time.Time
	Failed  *Failure // of the last attempt, nil if it went well
}

// Failure is what went wrong.
type Failure struct {
	Number int       `json:"number"` // of the migration, 0 if it came to none
	Text   string    `json:"text"`
	Time   time.Time `json:"time"`
	Run    string    `json:"run"` // in which run, "" for none
}

type stateRecord struct {
	Version int       `json:"version"`
	Number  int       `json:"number"`
	Changed time.Time `json:"changed"`
	Failed  *Failure  `json:"failed,omitempty"`
}

// Find reads how far a tenant has come; the zero State for one without migrations.
func Find(tx *store.Tx, id domain.TenantID) (State, error) {
	b, err := tx.Get(bucketStates, []byte(id))
	if errors.Is(err, store.ErrNotFound) {
		return State{}, nil
	}
	if err != nil {
		return State{}, err
	}
	return decodeState(b)
}

func decodeState(b []byte) (State, error) {
	const what = "a tenant's migrations"
	var r stateRecord
	if err := store.DecodeRecord(recordVersion, what, b, &r); err != nil {
		return State{}, err
	}
	if r.Number < 0 || r.Number > MaxNumber {
		return State{}, store.MalformedRecord(what, errors.New("a number that is out of bounds"))
	}
	return State{r.Number, r.Changed, r.Failed}, nil
}

// Set records how far a tenant has come.
func (s State) Set(tx *store.Tx, id domain.TenantID) error {
	b, err := json.Marshal(stateRecord{recordVersion, s.Number, s.Changed.UTC(), s.Failed})
	if err != nil {
		return err
	}
	return tx.Put(bucketStates, []byte(id), b)
}

// Forget removes what is known of a tenant that is destroyed.
func Forget(tx *store.Tx, id domain.TenantID) error {
	err := tx.Delete(bucketStates, []byte(id))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// Highest is the largest number that a tenant has.
func Highest(tx *store.Tx) (most int, err error) {
	err = tx.Scan(bucketStates, nil, nil, func(_, value []byte) error {
		s, err := decodeState(value)
		most = max(most, s.Number)
		return err
	})
	return most, err
}
