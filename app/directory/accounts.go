package directory

import (
	"bytes"
	"slices"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

// Bounds on what one person can have.
const (
	MaxPasskeys = 20
	MaxSessions = 50 // a further one ends the oldest
	MaxDevices  = 20 // a further one forgets the oldest
)

// Account is how a person proves to be one over the network, and what the person
// is on the whole appliance. Who is known only at the local socket has none.
type Account struct {
	Person    string        `json:"person"`
	Appliance []domain.Role `json:"appliance,omitempty"` // roles on the whole appliance, sorted
	Password  Sealed        `json:"password,omitzero"`   // argon2id in the PHC string format
	TOTP      *TOTP         `json:"totp,omitempty"`      //
	Recovery  [][]byte      `json:"recovery,omitempty"`  // SHA-256 of each code that is left
	SignedIn  time.Time     `json:"signed_in,omitzero"`  // the last time
}

// TOTP is the shared secret of an app that shows codes (RFC 6238).
type TOTP struct {
	Secret Sealed    `json:"secret"`
	Step   int64     `json:"step"` // of the last code that was used
	Since  time.Time `json:"since"`
}

// Passkey is a WebAuthn credential of a person.
type Passkey struct {
	ID         string    `json:"id"`   // names it for people, and opens nothing
	Name       string    `json:"name"` // by its owner
	Credential []byte    `json:"credential"`
	PublicKey  []byte    `json:"public_key"` // COSE_Key
	Count      uint32    `json:"count"`      // signature counter, as last seen
	Flags      byte      `json:"flags"`      // of the authenticator data, as last seen
	Created    time.Time `json:"created"`
}

// HasRole says whether the account has a role on the whole appliance.
func (a Account) HasRole(r domain.Role) bool { return slices.Contains(a.Appliance, r) }

// FindAccount finds a person's account. For a person without one it is empty.
func FindAccount(tx *store.Tx, person string) (Account, error) {
	a, found, err := load[Account](tx, bucketAccounts, []byte(person))
	if !found {
		a.Person = person
	}
	return a, err
}

// PutAccount records an account.
func PutAccount(tx *store.Tx, a Account) error {
	slices.Sort(a.Appliance)
	return put(tx, bucketAccounts, []byte(a.Person), a)
}

// Passkeys lists a person's passkeys.
func Passkeys(tx *store.Tx, person string) ([]Passkey, error) {
	return scan[Passkey](tx, bucketPasskeys, of(person, ""))
}

// AddPasskey records a passkey under a new id.
func AddPasskey(tx *store.Tx, person string, k Passkey, now time.Time) (Passkey, error) {
	all, err := Passkeys(tx, person)
	if err != nil {
		return k, err
	}
	if len(all) >= MaxPasskeys {
		return k, domain.Errorf(domain.Limit, "there are %d passkeys, and more are not kept", len(all)).WithHint("remove one that is not used any more")
	}
	if slices.ContainsFunc(all, func(o Passkey) bool { return bytes.Equal(o.Credential, k.Credential) }) {
		return k, domain.Errorf(domain.Conflict, "this passkey is there already")
	}
	k.ID, k.Created = domain.NewID("pk_"), now.UTC()
	return k, PutPasskey(tx, person, k)
}

// PutPasskey records what was seen of a passkey.
func PutPasskey(tx *store.Tx, person string, k Passkey) error {
	return put(tx, bucketPasskeys, of(person, k.ID), k)
}

// RemovePasskey removes a passkey by its id.
func RemovePasskey(tx *store.Tx, person, id string) error {
	if _, found, err := load[Passkey](tx, bucketPasskeys, of(person, id)); err != nil || !found {
		if err == nil {
			err = domain.Errorf(domain.NotFound, "there is no such passkey")
		}
		return err
	}
	return tx.Delete(bucketPasskeys, of(person, id))
}

// HasFactor says whether a person has a second factor: an app that shows codes,
// or a passkey. Recovery codes alone are none.
func HasFactor(tx *store.Tx, a Account) (bool, error) {
	if a.TOTP != nil {
		return true, nil
	}
	keys, err := Passkeys(tx, a.Person)
	return len(keys) > 0, err
}

// CanSignIn says whether the account opens anything over the network.
func CanSignIn(tx *store.Tx, a Account) (bool, error) {
	if !a.Password.IsZero() {
		return true, nil
	}
	keys, err := Passkeys(tx, a.Person)
	return len(keys) > 0, err
}

// Operators lists the people who can sign in over the network as operators.
func Operators(tx *store.Tx) (out []string, err error) {
	all, err := scan[Account](tx, bucketAccounts, nil)
	for _, a := range all {
		if !a.HasRole(domain.Operator) {
			continue
		}
		can, err := CanSignIn(tx, a)
		if err != nil {
			return nil, err
		}
		if can {
			out = append(out, a.Person)
		}
	}
	return out, err
}

// Disarm takes everything from a person that proves to be that person: password,
// second factors, recovery codes, sessions, device marks and links to recover.
// Roles stay.
func Disarm(tx *store.Tx, person string, now time.Time) (sessions int, err error) {
	a, err := FindAccount(tx, person)
	if err != nil {
		return 0, err
	}
	if err := PutAccount(tx, Account{Person: person, Appliance: a.Appliance, SignedIn: a.SignedIn}); err != nil {
		return 0, err
	}
	for _, bucket := range []string{bucketPasskeys, bucketDevices} {
		if err := removeUnder(tx, bucket, of(person, "")); err != nil {
			return 0, err
		}
	}
	if err := removeLinks(tx, "", func(l Link) bool { return l.Kind == RecoverLink && l.Person == person }); err != nil {
		return 0, err
	}
	return EndSessions(tx, person, "", now)
}

// of joins a person's id with what is the person's.
func of(person, id string) []byte { return within(domain.TenantID(person), id) }
