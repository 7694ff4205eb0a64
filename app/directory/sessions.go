package directory

import (
	"slices"
	"strings"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

// SessionPrefix begins the text of every session, SessionAccessorPrefix the
// accessor that names one and opens nothing.
const (
	SessionPrefix         = "cfu_"
	SessionAccessorPrefix = "us_"
)

// Session is one time that a person signed in, until it ends.
type Session struct {
	Accessor string        `json:"accessor"`
	Person   string        `json:"person"`
	Hash     []byte        `json:"hash"` // SHA-256 of its text
	Created  time.Time     `json:"created"`
	Seen     time.Time     `json:"seen"`           // a minute ago at most, while it is used
	Expires  time.Time     `json:"expires"`        // whatever happens
	Idle     time.Duration `json:"idle,omitempty"` // it ends when it was not seen for so long; 0: for no such reason
	Fresh    time.Time     `json:"fresh,omitzero"` // until when the last proof of the second factor counts
	Local    bool          `json:"local,omitempty"`
	Source   string        `json:"source,omitempty"` // where it began
	Client   string        `json:"client,omitempty"` // the program with which it began
}

// Live says whether the session holds at a time.
func (s Session) Live(now time.Time) bool { return now.Before(s.Ends()) }

// Ends is when it ends if it is not seen again.
func (s Session) Ends() time.Time {
	if s.Idle > 0 && s.Seen.Add(s.Idle).Before(s.Expires) {
		return s.Seen.Add(s.Idle)
	}
	return s.Expires
}

// AddSession begins a session, whose text is returned once and kept nowhere. The
// caller sets the person, Expires, Idle and what is known of where it began.
func AddSession(tx *store.Tx, s Session, now time.Time) (domain.Secret, Session, error) {
	if !now.Before(s.Expires) || s.Expires.Sub(now) > domain.MaxTTL {
		return domain.Secret{}, s, domain.Errorf(domain.Internal, "a session cannot last until %v", s.Expires)
	}
	if err := makeRoom(tx, s.Person, now); err != nil {
		return domain.Secret{}, s, err
	}
	text, hash := newText(SessionPrefix)
	s.Accessor, s.Hash = domain.NewID(SessionAccessorPrefix), hash
	s.Created, s.Seen, s.Expires = now.UTC(), now.UTC(), s.Expires.UTC()
	if err := put(tx, bucketSessionTexts, hash, s.Person+" "+s.Accessor); err != nil {
		return domain.Secret{}, s, err
	}
	return text, s, PutSession(tx, s)
}

// makeRoom removes the person's sessions that ended, and the oldest beyond
// MaxSessions.
func makeRoom(tx *store.Tx, person string, now time.Time) error {
	all, err := scan[Session](tx, bucketSessions, of(person, ""))
	if err != nil || len(all) < MaxSessions {
		return err
	}
	slices.SortFunc(all, func(a, b Session) int { return b.Created.Compare(a.Created) })
	for i, s := range all {
		if i >= MaxSessions-1 || !s.Live(now) {
			if err := EndSession(tx, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// PutSession records what was seen of a session.
func PutSession(tx *store.Tx, s Session) error {
	return put(tx, bucketSessions, of(s.Person, s.Accessor), s)
}

// FindSession finds the live session with this text; found is false for a
// malformed, unknown or ended one alike.
func FindSession(tx *store.Tx, text domain.Secret, now time.Time) (s Session, found bool, err error) {
	if !wellFormed(text, SessionPrefix) {
		return s, false, nil
	}
	// The key is a hash: how long the look-up takes tells nothing of how near a
	// guess came.
	at, found, err := load[string](tx, bucketSessionTexts, hashOf(text))
	if err != nil || !found {
		return s, false, err
	}
	person, accessor, _ := strings.Cut(at, " ")
	return SessionByAccessor(tx, person, accessor, now)
}

// SessionByAccessor finds a person's live session.
func SessionByAccessor(tx *store.Tx, person, accessor string, now time.Time) (s Session, found bool, err error) {
	s, found, err = load[Session](tx, bucketSessions, of(person, accessor))
	if err != nil || !found || !s.Live(now) {
		return Session{}, false, err
	}
	return s, true, nil
}

// Sessions lists a person's live sessions, the newest first.
func Sessions(tx *store.Tx, person string, now time.Time) ([]Session, error) {
	all, err := scan[Session](tx, bucketSessions, of(person, ""))
	all = slices.DeleteFunc(all, func(s Session) bool { return !s.Live(now) })
	slices.SortFunc(all, func(a, b Session) int { return b.Created.Compare(a.Created) })
	return all, err
}

// EndSession ends a session for good.
func EndSession(tx *store.Tx, s Session) error {
	if err := tx.Delete(bucketSessionTexts, s.Hash); err != nil {
		return err
	}
	return tx.Delete(bucketSessions, of(s.Person, s.Accessor))
}

// EndSessions ends all sessions of a person but one ("" for none), and says how
// many live ones there were.
func EndSessions(tx *store.Tx, person, but string, now time.Time) (n int, err error) {
	all, err := scan[Session](tx, bucketSessions, of(person, ""))
	for _, s := range all {
		if s.Accessor == but {
			continue
		}
		if s.Live(now) {
			n++
		}
		if err := EndSession(tx, s); err != nil {
			return n, err
		}
	}
	return n, err
}

// sweepSessions removes at most limit sessions that ended before a time.
func sweepSessions(tx *store.Tx, before time.Time, limit int) (doomed []Session, err error) {
	err = tx.Scan(bucketSessions, nil, nil, func(_, value []byte) error {
		s, err := decode[Session](value)
		if err == nil && s.Expires.Before(before) {
			doomed = append(doomed, s)
		}
		if err == nil && len(doomed) >= limit {
			return store.ErrStop
		}
		return err
	})
	return doomed, err
}
