package authn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
)

// Socket says who the local user with this uid is: an operator. What the person
// holds in a tenant is asked with Again, once the tenant is known. The surface
// has checked already that the uid may use the socket. A uid seen for the first
// time becomes a person.
func Socket(ctx context.Context, db *store.Store, uid uint32, now time.Time) (authz.Subject, error) {
	s, err := socketSubject(ctx, db, uid)
	if !errors.Is(err, errNewUID) {
		return s, err
	}
	_, err = db.Update(ctx, func(tx *store.Tx) error {
		if _, found, err := directory.PersonByUID(tx, uid); err != nil || found {
			return err
		}
		name := fmt.Sprintf("uid-%d", uid)
		if _, taken, err := directory.PersonByName(tx, name); err != nil {
			return err
		} else if taken { // an owner of a tenant can give anybody that name; it must not keep this user out
			name = domain.NewID(name + "-")
		}
		_, err := directory.AddPerson(tx, name, &uid, now)
		return err
	})
	if err != nil {
		return authz.Subject{}, fmt.Errorf("recording uid %d: %w", uid, err)
	}
	return socketSubject(ctx, db, uid)
}

var errNewUID = errors.New("no person is recorded for the uid")

func socketSubject(ctx context.Context, db *store.Store, uid uint32) (s authz.Subject, err error) {
	err = db.View(ctx, func(tx *store.Tx) error {
		p, found, err := directory.PersonByUID(tx, uid)
		if err != nil {
			return err
		}
		if !found {
			return errNewUID
		}
		s = authz.Subject{
			Principal: domain.Principal{Kind: domain.Person, ID: p.ID},
			Appliance: []domain.Role{domain.Operator},
		}
		return nil
	})
	return s, err
}
