package actions

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/vault/seal"
)

// SealAddIn asks for another key slot.
type SealAddIn struct {
	Kind   string        `json:"kind" doc:"what opens the slot" schema:"enum=tpm|passphrase|keyfile"`
	Name   string        `json:"name,omitempty" doc:"the kind if empty" schema:"maxLength=64"`
	Secret domain.Secret `json:"secret,omitzero" doc:"the passphrase, for that kind"`
	Source string        `json:"source,omitempty" doc:"where the key file is; the one that this machine has if empty" schema:"enum=data-directory|credential|external"`
	PCRs   []int         `json:"pcrs,omitempty" doc:"of a TPM: it opens only while these registers are as they are now"`
}

func (in SealAddIn) slotName() string {
	if in.Name == "" {
		return in.Kind
	}
	return in.Name
}

func (in SealAddIn) checkSource() error {
	known := []seal.KeyfileSource{"", seal.DataDirectory, seal.Credential, seal.External}
	if !slices.Contains(known, seal.KeyfileSource(in.Source)) {
		return domain.Fieldf("source", "%.40q is not where a key file can be", in.Source).WithHint("one of %v", known[1:])
	}
	return nil
}

// SealAdd enrols another slot. A key file in the data directory is made if there
// is none.
var SealAdd = Operation[SealAddIn, SlotInfo]{
	action:  authz.SealAdd,
	creates: true,
	ask: func(_ context.Context, _ *Service, in SealAddIn) (authz.Request, error) {
		kind, err := seal.ParseKind(in.Kind)
		if err != nil {
			return authz.Request{}, err
		}
		if kind == seal.Recovery {
			return authz.Request{}, domain.Fieldf("kind", "a recovery key is made, not given").WithHint("run: coffer seal recovery")
		}
		if err := in.checkSource(); err != nil {
			return authz.Request{}, err
		}
		if len(in.PCRs) > 0 && kind != seal.TPM {
			return authz.Request{}, domain.Fieldf("pcrs", "only a TPM has such registers")
		}
		_, err = domain.ParseName("name", in.slotName())
		return authz.Request{Resource: in.slotName()}, err
	},
	act: func(ctx context.Context, c *call, in SealAddIn) (out SlotInfo, err error) {
		source := cmp.Or(seal.KeyfileSource(in.Source), c.seal.machine.KeyfileSource())
		p, err := c.seal.machine.Protector(seal.Kind(in.Kind), in.Secret, source)
		if len(in.PCRs) > 0 {
			p, err = seal.NewTPM(c.seal.machine.TPM, seal.WithPCRs(in.PCRs...))
		}
		if err != nil {
			return SlotInfo{}, err
		}
		if err := c.begin(ctx); err != nil {
			return SlotInfo{}, err
		}
		if seal.Kind(in.Kind) == seal.Keyfile && source == seal.DataDirectory {
			// As at a first start: the slot's own warning says what it is worth.
			if err := seal.CreateKeyfile(c.seal.machine.DataKeyfile); err != nil && !errors.Is(err, fs.ErrExist) {
				return SlotInfo{}, err
			}
		}
		err = c.changeSeal(ctx, func() error {
			return c.seal.change(c, func(ch seal.Change, root domain.Secret) error {
				s, err := c.seal.file.Add(ctx, ch, root, seal.Enrolment{Name: in.slotName(), By: p})
				out = slotInfo(s)
				return err
			})
		})
		return out, err
	},
}

// SlotRef names a key slot.
type SlotRef struct {
	Slot string `path:"slot" json:"-"` // id or name
}

// SealRemove removes a slot.
var SealRemove = Operation[SlotRef, SlotInfo]{
	action: authz.SealRemove,
	ask: func(_ context.Context, _ *Service, in SlotRef) (authz.Request, error) {
		_, err := domain.ParseName("slot", in.Slot)
		return authz.Request{Resource: in.Slot}, err
	},
	act: func(ctx context.Context, c *call, in SlotRef) (SlotInfo, error) {
		slots := c.seal.file.Status()
		i := slices.IndexFunc(slots, func(s seal.SlotStatus) bool { return s.ID == in.Slot || s.Name == in.Slot })
		if i < 0 {
			return SlotInfo{}, domain.Errorf(domain.NotFound, "there is no key slot %q", in.Slot).WithHint("see: coffer seal status")
		}
		if err := c.begin(ctx); err != nil {
			return SlotInfo{}, err
		}
		err := c.seal.change(c, func(ch seal.Change, root domain.Secret) error {
			return c.seal.file.Remove(ch, root, slots[i].ID)
		})
		return slotInfo(slots[i]), err
	},
}

// RecoveryOut is a recovery key, shown this once, and the two groups of it that
// have to be typed back.
type RecoveryOut struct {
	Key    domain.Disclosure `json:"recovery_key" doc:"the recovery key, shown this once"`
	Groups [2]int            `json:"check_groups" doc:"the groups of it to type back, counted from 1"`
}

// Nothing is an empty input or output.
type Nothing struct{}

// SealRecovery makes a recovery key and shows it. It opens nothing until its
// check characters are typed back.
var SealRecovery = Operation[Nothing, RecoveryOut]{
	action: authz.SealRecovery,
	ask:    askNothing,
	act: func(ctx context.Context, c *call, _ Nothing) (RecoveryOut, error) {
		c.detail["step"] = "shown"
		if err := c.begin(ctx); err != nil {
			return RecoveryOut{}, err
		}
		return recoveryOut(c.seal.propose()), nil
	},
}

func recoveryOut(k seal.RecoveryKey) RecoveryOut {
	a, b := k.CheckGroups()
	return RecoveryOut{Key: domain.DiscloseText(k.Text()), Groups: [2]int{a, b}}
}

func askNothing(context.Context, *Service, Nothing) (authz.Request, error) {
	return authz.Request{}, nil
}

// RecoveryConfirmIn is what was typed back.
type RecoveryConfirmIn struct {
	Characters domain.Secret `json:"characters" doc:"the characters of the check groups"`
}

// SealRecoveryConfirm enrols the recovery key that was shown. A former one stops
// to open.
var SealRecoveryConfirm = Operation[RecoveryConfirmIn, SlotInfo]{
	action: authz.SealRecovery,
	ask: func(context.Context, *Service, RecoveryConfirmIn) (authz.Request, error) {
		return authz.Request{Resource: string(seal.Recovery)}, nil
	},
	act: func(ctx context.Context, c *call, in RecoveryConfirmIn) (out SlotInfo, err error) {
		c.detail["step"] = "confirmed"
		key, err := c.seal.confirmed(in.Characters)
		if err != nil {
			return SlotInfo{}, err
		}
		defer key.Zero()
		p, err := seal.NewRecovery(key)
		if err != nil {
			return SlotInfo{}, err
		}
		if err := c.begin(ctx); err != nil {
			return SlotInfo{}, err
		}
		err = c.seal.change(c, func(ch seal.Change, root domain.Secret) error {
			s, err := enrolRecovery(ctx, c.seal.file, ch, root, p)
			out = slotInfo(s)
			return err
		})
		return out, err
	},
}

// enrolRecovery adds the recovery slot or replaces the one there is.
func enrolRecovery(ctx context.Context, f *seal.File, ch seal.Change, root domain.Secret, p seal.Protector) (seal.SlotStatus, error) {
	e := seal.Enrolment{Name: string(seal.Recovery), By: p}
	for _, s := range f.Status() {
		if s.Kind == seal.Recovery {
			return f.Replace(ctx, ch, root, s.ID, e)
		}
	}
	return f.Add(ctx, ch, root, e)
}

// SealRotateIn asks for a new root key. The passphrase is needed if there is a
// passphrase slot, since nothing else can wrap the new key for it.
type SealRotateIn struct {
	Secret domain.Secret `json:"secret,omitzero" doc:"the passphrase, if a slot has one"`
}

// SealRotateOut shows the new recovery key, if there was an old one, this once.
type SealRotateOut struct {
	Slots    []SlotInfo   `json:"slots"`
	Recovery *RecoveryOut `json:"recovery,omitempty"`
}

// SealRotate replaces the root key under all slots. Copies of the old seal file
// open nothing of what is written from then on.
var SealRotate = Operation[SealRotateIn, SealRotateOut]{
	action: authz.SealRotate,
	ask: func(context.Context, *Service, SealRotateIn) (authz.Request, error) {
		return authz.Request{Resource: "all"}, nil
	},
	act: func(ctx context.Context, c *call, in SealRotateIn) (out SealRotateOut, err error) {
		c.rekeying.Lock()
		defer c.rekeying.Unlock()
		slots, recovery, err := c.seal.reenrol(ctx, in.Secret)
		if err != nil {
			return out, err
		}
		if err := c.begin(ctx); err != nil {
			return out, err
		}
		err = c.seal.rotate(ctx, c, slots)
		if err != nil {
			return out, err
		}
		for _, s := range c.seal.file.Status() {
			out.Slots = append(out.Slots, slotInfo(s))
		}
		if recovery != nil {
			r := recoveryOut(*recovery)
			out.Recovery = &r
		}
		return out, nil
	},
}
