package directory

import (
	"encoding/hex"
	"slices"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

// DevicePrefix begins the text of every device mark.
const DevicePrefix = "cfd_"

// DeviceTTL is how long a browser is known after it signed in.
const DeviceTTL = 365 * 24 * time.Hour

// Device is a browser in which a person signed in before. It opens nothing: who
// shows it is slowed down apart from everybody else.
type Device struct {
	Hash    []byte    `json:"hash"` // SHA-256 of its text
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
}

// AddDevice marks a device of a person, whose text is returned once and kept
// nowhere.
func AddDevice(tx *store.Tx, person string, now time.Time) (domain.Secret, error) {
	all, err := scan[Device](tx, bucketDevices, of(person, ""))
	if err != nil {
		return domain.Secret{}, err
	}
	slices.SortFunc(all, func(a, b Device) int { return b.Created.Compare(a.Created) })
	for i, d := range all {
		if i >= MaxDevices-1 || !now.Before(d.Expires) {
			if err := tx.Delete(bucketDevices, deviceKey(person, d.Hash)); err != nil {
				return domain.Secret{}, err
			}
		}
	}
	text, hash := newText(DevicePrefix)
	d := Device{Hash: hash, Created: now.UTC(), Expires: now.Add(DeviceTTL).UTC()}
	return text, put(tx, bucketDevices, deviceKey(person, hash), d)
}

// KnowsDevice says whether a text marks a device of this person.
func KnowsDevice(tx *store.Tx, person string, text domain.Secret, now time.Time) (bool, error) {
	if !wellFormed(text, DevicePrefix) {
		return false, nil
	}
	d, found, err := load[Device](tx, bucketDevices, deviceKey(person, hashOf(text)))
	return found && now.Before(d.Expires), err
}

func deviceKey(person string, hash []byte) []byte { return of(person, hex.EncodeToString(hash)) }
