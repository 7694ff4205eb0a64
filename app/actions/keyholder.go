package actions

import (
	"context"
	"sync"
	"time"

	"coffer/app/domain"
	"coffer/audit"
	"coffer/vault/seal"
)

// Machine says where this machine keeps what opens key slots without a person.
type Machine struct {
	TPM         string // path of the TPM
	DataKeyfile string // the key file in the data directory
	Credential  string // the systemd credential, "" if there is none
	Keyfile     string // any other key file that the operator named, "" if none
}

// keyfilePath is where the key file of a source is on this machine.
func (m Machine) keyfilePath(source seal.KeyfileSource) string {
	switch source {
	case seal.DataDirectory:
		return m.DataKeyfile
	case seal.Credential:
		return m.Credential
	}
	return m.Keyfile
}

// HasKeyfile says whether the machine was told where the key file of a source is.
func (m Machine) HasKeyfile(source seal.KeyfileSource) bool { return m.keyfilePath(source) != "" }

// KeyfileSource is the source of the key file that this machine has.
func (m Machine) KeyfileSource() seal.KeyfileSource {
	switch {
	case m.Keyfile != "":
		return seal.External
	case m.Credential != "":
		return seal.Credential
	}
	return seal.DataDirectory
}

// Protector makes what opens slots of a kind. secret is what a person typed for
// the kinds that need a person, source is for key files.
func (m Machine) Protector(kind seal.Kind, secret domain.Secret, source seal.KeyfileSource) (seal.Protector, error) {
	switch kind {
	case seal.TPM:
		return seal.NewTPM(m.TPM)
	case seal.Passphrase:
		return seal.NewPassphrase(secret)
	case seal.Keyfile:
		return seal.NewKeyfile(m.keyfilePath(source), source)
	case seal.Recovery:
		key, err := seal.ParseRecoveryKey(secret)
		if err != nil {
			return nil, err
		}
		return seal.NewRecovery(key)
	}
	return nil, domain.Errorf(domain.Internal, "no protector for %q", kind)
}

// pendingFor is how long a recovery key that was shown waits to be typed back.
const pendingFor = 15 * time.Minute

// Keyholder keeps the root key in memory while the appliance is unsealed, for
// the changes of vault/seal.json that need it.
type Keyholder struct {
	file    *seal.File
	machine Machine
	now     func() time.Time

	mu      sync.Mutex
	root    domain.Secret
	pending seal.RecoveryKey
	shown   time.Time // when pending was made
}

// NewKeyholder takes the root key over.
func NewKeyholder(file *seal.File, root domain.Secret, m Machine, now func() time.Time) *Keyholder {
	return &Keyholder{file: file, root: root, machine: m, now: now}
}

// File is the seal file.
func (k *Keyholder) File() *seal.File { return k.file }

// Root is the root key; it stays the Keyholder's.
func (k *Keyholder) Root() domain.Secret {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.root
}

// Close zeroes the root key.
func (k *Keyholder) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.root.Zero()
	k.pending.Zero()
}

// SavePayload makes the vault's payload durable.
func (k *Keyholder) SavePayload(_ context.Context, b []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.file.SetPayload(seal.Change{At: k.now()}, k.root, b)
}

// Changed says whether the last change of the seal file is this one.
func (k *Keyholder) Changed(id audit.IntentID) bool {
	return k.file.LastChange().ID == seal.ChangeID(id)
}

// TenantsAllowed is nil once the recovery key was shown and typed back, or if
// the seal is a key file, under which it is a standing warning instead.
func (k *Keyholder) TenantsAllowed() error {
	if k.file.Has(seal.Recovery) || k.file.Strongest() == seal.Keyfile {
		return nil
	}
	return domain.Errorf(domain.Conflict, "there is no recovery key yet: if the %s is lost, everything is", k.file.Strongest()).
		WithHint("make and confirm it first: coffer seal recovery")
}

// change runs fn with the root key and the mark of the call's intent.
func (k *Keyholder) change(c *call, fn func(seal.Change, domain.Secret) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return fn(seal.Change{ID: seal.ChangeID(c.intent), At: k.now()}, k.root)
}

// propose makes a recovery key that waits to be typed back.
func (k *Keyholder) propose() seal.RecoveryKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pending.Zero()
	k.pending, k.shown = seal.NewRecoveryKey(), k.now()
	return k.pending
}

// confirmed gives the recovery key that was typed back correctly, once.
func (k *Keyholder) confirmed(typed domain.Secret) (seal.RecoveryKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if age := k.now().Sub(k.shown); age < 0 || age > pendingFor {
		k.pending.Zero()
		k.pending = seal.RecoveryKey{}
	}
	if err := k.pending.Confirm(typed); err != nil {
		return seal.RecoveryKey{}, err
	}
	key := k.pending
	k.pending = seal.RecoveryKey{}
	return key, nil
}

// reenrol lists what must be enrolled again under a new root key: the same kinds
// under the same names, and a new recovery key in place of the old one.
func (k *Keyholder) reenrol(ctx context.Context, passphrase domain.Secret) ([]seal.Enrolment, *seal.RecoveryKey, error) {
	var out []seal.Enrolment
	var recovery *seal.RecoveryKey
	for _, s := range k.file.Status() {
		var p seal.Protector
		var err error
		switch s.Kind {
		case seal.Recovery:
			key := seal.NewRecoveryKey()
			recovery = &key
			p, err = seal.NewRecovery(key)
		case seal.Passphrase:
			if passphrase.Len() == 0 {
				return nil, nil, domain.Fieldf("secret", "the slot %q needs its passphrase to be enrolled again", s.Name).
					WithHint("coffer seal rotate --passphrase-file FILE")
			}
			if p, err = k.machine.Protector(s.Kind, passphrase, ""); err == nil {
				err = k.opens(ctx, p, s)
			}
		case seal.TPM: // bound to what it was bound to, as that is today
			p, err = seal.NewTPM(k.machine.TPM, seal.WithPCRs(s.PCRs...))
		default:
			p, err = k.machine.Protector(s.Kind, domain.Secret{}, s.Source)
		}
		if err != nil {
			return nil, nil, err
		}
		out = append(out, seal.Enrolment{Name: s.Name, By: p})
	}
	return out, recovery, nil
}

// opens is nil if the protector opens this slot today: a passphrase that was
// mistyped must not become the one that is needed at the next start, nor one
// slot's that of another.
func (k *Keyholder) opens(ctx context.Context, p seal.Protector, s seal.SlotStatus) error {
	root, opened, err := k.file.Unlock(ctx, p)
	root.Zero()
	if err == nil && opened.ID != s.ID {
		err = domain.Errorf(domain.Conflict, "the passphrase is that of the slot %q, and the slot %q needs its own", opened.Name, s.Name).
			WithHint("remove one of them first, and add it again afterwards: coffer seal remove %s", s.Name)
	}
	return err
}

// rotate replaces the root key under all slots in one write.
func (k *Keyholder) rotate(ctx context.Context, c *call, slots []seal.Enrolment) error {
	var adopt func()
	return k.change(c, func(ch seal.Change, root domain.Secret) error {
		wrap := func(fresh domain.Secret, _ string) (payload []byte, err error) {
			payload, adopt, err = c.vault.Rewrapped(root, fresh)
			return payload, err
		}
		fresh, err := k.file.Rotate(ctx, ch, root, wrap, slots...)
		if err != nil {
			return err
		}
		adopt()
		k.root.Zero()
		k.root = fresh
		return nil
	})
}
