package authn

import (
	"context"
	"strings"
	"time"

	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
)

// How long sessions last.
const (
	BrowserTTL  = 12 * time.Hour
	BrowserIdle = 30 * time.Minute
	FreshFor    = 5 * time.Minute // how long a proof of the second factor counts

	seenEvery = time.Minute // how often it is recorded that a session is used
)

// ErrSession is the answer to every session that does not hold: malformed,
// unknown, signed out and ended look the same.
var ErrSession = domain.BadCredential("the session is not valid: it may have ended").
	WithHint("sign in again; at the command line: coffer login")

// IsSession says whether a bearer's text is meant to be a session's.
func IsSession(text domain.Secret) bool {
	return strings.HasPrefix(string(text.Reveal()), directory.SessionPrefix)
}

// Session says whose session it is. What the person holds in a tenant is asked
// with Again, once the tenant is known.
func Session(ctx context.Context, db *store.Store, text domain.Secret, now time.Time) (subject authz.Subject, err error) {
	var s directory.Session
	err = db.View(ctx, func(tx *store.Tx) error {
		var found bool
		if s, found, err = directory.FindSession(tx, text, now); err != nil {
			return err
		}
		if !found {
			return ErrSession
		}
		subject, err = SessionSubject(tx, s)
		return err
	})
	if err == nil && now.Sub(s.Seen) >= seenEvery {
		see(ctx, db, s, now)
	}
	return subject, err
}

// see records that a session is used. One that ended meanwhile stays ended. If it
// cannot be recorded, on a full disk, the session ends the earlier.
func see(ctx context.Context, db *store.Store, s directory.Session, now time.Time) {
	_, _ = db.Update(ctx, func(tx *store.Tx) error {
		again, found, err := directory.SessionByAccessor(tx, s.Person, s.Accessor, now)
		if err != nil || !found || !again.Seen.Before(now) {
			return err
		}
		again.Seen = now.UTC()
		return directory.PutSession(tx, again)
	})
}

// SessionSubject gives the subject of a live session, with what the person is on
// the appliance at this moment.
func SessionSubject(tx *store.Tx, s directory.Session) (authz.Subject, error) {
	if _, found, err := directory.PersonByID(tx, s.Person); err != nil || !found {
		if err == nil {
			err = ErrSession
		}
		return authz.Subject{}, err
	}
	a, err := directory.FindAccount(tx, s.Person)
	if err != nil {
		return authz.Subject{}, err
	}
	factor, err := directory.HasFactor(tx, a)
	if err != nil {
		return authz.Subject{}, err
	}
	subject := authz.Subject{
		Principal: domain.Principal{Kind: domain.Person, ID: s.Person}, Session: s.Accessor,
		Appliance: a.Appliance, Fresh: s.Fresh, Limited: !factor,
	}
	if s.Local {
		// It was begun at the socket, and carries what the socket proves: an
		// operator, who is asked for a second factor once there is one.
		subject.Appliance, subject.Limited = []domain.Role{domain.Operator}, false
		if !factor {
			subject.Fresh = s.Expires
		}
	}
	return subject, nil
}
