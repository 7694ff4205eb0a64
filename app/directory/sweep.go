package directory

import (
	"time"

	"coffer/app/store"
)

// AnyEnded says whether SweepEnded has something to do.
func AnyEnded(tx *store.Tx, before time.Time) (bool, error) {
	sessions, err := sweepSessions(tx, before, 1)
	if err != nil || len(sessions) > 0 {
		return len(sessions) > 0, err
	}
	links, err := sweepLinks(tx, before, 1)
	return len(links) > 0, err
}

// SweepEnded removes at most limit sessions, and as many links, that ended before
// a time. They are refused since they ended; callers pass a trusted time, so that
// a clock set ahead erases nothing.
func SweepEnded(tx *store.Tx, before time.Time, limit int) error {
	sessions, err := sweepSessions(tx, before, limit)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		if err := EndSession(tx, s); err != nil {
			return err
		}
	}
	links, err := sweepLinks(tx, before, limit)
	if err != nil {
		return err
	}
	for _, l := range links {
		if err := RemoveLink(tx, l); err != nil {
			return err
		}
	}
	return nil
}
