package migrate

import (
	"encoding/json"
	"errors"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

// RunState says what became of a run.
type RunState string

// The states. A run that goes on when a crash comes still goes on afterwards:
// whoever started it asks for the rest.
const (
	Canaries RunState = "canaries" // the canaries are under way
	Rest     RunState = "rest"     // the others are
	Stopped  RunState = "stopped"  // because of failures
	Finished RunState = "finished" // every tenant was visited
)

// Run is one walk over all tenants.
type Run struct {
	ID          string            `json:"id"`
	By          string            `json:"by"` // principal
	Started     time.Time         `json:"started"`
	Changed     time.Time         `json:"changed"`
	To          int               `json:"to"` // number of the last migration that it applies
	Canaries    []domain.TenantID `json:"canaries"`
	Parallel    int               `json:"parallel"`
	MaxFailures int               `json:"max_failures"` // it stops at so many
	State       RunState          `json:"state"`
	Why         string            `json:"why"`   // it stopped
	After       domain.TenantID   `json:"after"` // tenants up to this one were visited
	Total       int               `json:"total"` // tenants that had something pending when it began
	Done        int               `json:"done"`
	Failures    int               `json:"failures"`
}

// Going says whether there is more to do.
func (r Run) Going() bool { return r.State == Canaries || r.State == Rest }

type runRecord struct {
	Version int `json:"version"`
	Run
}

var runKey = []byte("run")

// Current reads the last run; found is false if there never was one.
func Current(tx *store.Tx) (r Run, found bool, err error) {
	b, err := tx.Get(bucketRun, runKey)
	if errors.Is(err, store.ErrNotFound) {
		return Run{}, false, nil
	}
	if err != nil {
		return Run{}, false, err
	}
	r, err = decodeRun(b)
	return r, err == nil, err
}

func decodeRun(b []byte) (Run, error) {
	const what = "the run of migrations"
	var stored runRecord
	if err := store.DecodeRecord(recordVersion, what, b, &stored); err != nil {
		return Run{}, err
	}
	switch stored.State {
	case Canaries, Rest, Stopped, Finished:
		return stored.Run, nil
	}
	return Run{}, store.MalformedRecord(what, errors.New("an unknown state"))
}

func (r Run) encode() ([]byte, error) { return json.Marshal(runRecord{recordVersion, r}) }

// Save records the run in place of the one before.
func (r Run) Save(tx *store.Tx) error {
	b, err := r.encode()
	if err != nil {
		return err
	}
	return tx.Put(bucketRun, runKey, b)
}
