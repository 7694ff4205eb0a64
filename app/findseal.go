package app

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/vault/seal"
)

// findSeal loads the key slots, or makes the first one in a new directory, and
// chooses what opens them now. opener is nil if that needs a person.
func (d *daemon) findSeal(ctx context.Context, first func() (domain.Secret, error)) (*seal.File, seal.Protector, error) {
	file, err := seal.Load(sealPath(d.cfg.Data))
	if domain.KindOf(err) == domain.NotFound && err != nil {
		return d.makeSeal(ctx, first)
	}
	if err != nil {
		return nil, nil, err
	}
	opener, err := d.chooseOpener(ctx, file)
	if domain.KindOf(err) == domain.Sealed {
		d.notice(err.Error())
		d.notice(domain.HintOf(err))
		return file, nil, nil // a person can still open it
	}
	return file, opener, err
}

// chooseOpener applies --seal to slots that exist.
func (d *daemon) chooseOpener(ctx context.Context, file *seal.File) (seal.Protector, error) {
	kind, source := seal.Kind(d.cfg.Seal), d.machine.KeyfileSource()
	if d.cfg.Seal == "auto" {
		plan, err := seal.AutoPlan(file, d.surroundings(ctx))
		if err != nil {
			return nil, err
		}
		for _, n := range plan.Notices {
			d.notice(n)
		}
		kind = plan.Kind
		if len(plan.Sources) > 0 {
			source = plan.Sources[0]
		}
	} else if err := file.Permit(kind); err != nil {
		return nil, err
	}
	return d.opener(kind, source)
}

// opener makes what opens slots of a kind without a person, nil if there is no
// such thing.
func (d *daemon) opener(kind seal.Kind, source seal.KeyfileSource) (seal.Protector, error) {
	switch kind {
	case seal.Recovery:
		return nil, nil
	case seal.Passphrase:
		if d.cfg.PassphraseFile == "" {
			d.notice("the passphrase is wanted: coffer unseal")
			return nil, nil
		}
		p, err := readPassphraseFile(d.cfg.PassphraseFile)
		if err != nil {
			return nil, err
		}
		return d.machine.Protector(kind, p, "")
	case seal.Keyfile:
		if !d.machine.HasKeyfile(source) {
			d.notice("the key file is not in the data directory and none is named: start with --keyfile FILE, or open with: coffer unseal")
			return nil, nil
		}
	}
	return d.machine.Protector(kind, domain.Secret{}, source)
}

func (d *daemon) surroundings(ctx context.Context) seal.Surroundings {
	return seal.Surroundings{TPM: seal.Probe(ctx, d.machine.TPM), Credential: d.machine.Credential != ""}
}

// makeSeal makes the root key and its first slot, in a directory that holds no
// data yet.
func (d *daemon) makeSeal(ctx context.Context, first func() (domain.Secret, error)) (*seal.File, seal.Protector, error) {
	for _, path := range []string{controlPath(d.cfg.Data), keysPath(d.cfg.Data), auditDir(d.cfg.Data), tenantsDir(d.cfg.Data)} {
		if !vacant(path) {
			return nil, nil, domain.Errorf(domain.Tampered, "%s is missing, while %s is there", sealPath(d.cfg.Data), path).
				WithHint("the data is encrypted under a key that only that file holds: put it back, or restore a backup")
		}
	}
	kind, source := seal.Kind(d.cfg.Seal), d.machine.KeyfileSource()
	if d.cfg.Seal == "auto" {
		plan, err := seal.AutoPlan(nil, d.surroundings(ctx))
		if err != nil {
			return nil, nil, err
		}
		for _, n := range plan.Notices {
			if n != seal.WarnKeyfileInDataDirectory || source == seal.DataDirectory {
				d.notice(n)
			}
		}
		if kind = plan.Kind; len(plan.Sources) > 0 && source != seal.External {
			source = plan.Sources[0]
		}
	}
	p, err := d.firstProtector(kind, source, first)
	if err != nil {
		return nil, nil, err
	}
	change := seal.Change{At: time.Now()}
	file, root, err := seal.Create(ctx, sealPath(d.cfg.Data), change, nil, seal.Enrolment{Name: string(kind), By: p})
	root.Zero()
	return file, p, err
}

// vacant says that there is nothing at the path, or an empty directory.
func vacant(path string) bool {
	entries, err := os.ReadDir(path)
	return errors.Is(err, fs.ErrNotExist) || (err == nil && len(entries) == 0)
}

func (d *daemon) firstProtector(kind seal.Kind, source seal.KeyfileSource, first func() (domain.Secret, error)) (seal.Protector, error) {
	var secret domain.Secret
	var err error
	switch {
	case kind == seal.Passphrase && d.cfg.PassphraseFile != "":
		secret, err = readPassphraseFile(d.cfg.PassphraseFile)
	case kind == seal.Passphrase:
		secret, err = first()
	case kind == seal.Keyfile && source == seal.DataDirectory:
		if err = seal.CreateKeyfile(d.machine.DataKeyfile); errors.Is(err, fs.ErrExist) {
			err = nil // of a first start that did not come further
		}
	}
	if err != nil {
		return nil, err
	}
	return d.machine.Protector(kind, secret, source)
}

// maxPassphraseFile bounds a passphrase file, in bytes.
const maxPassphraseFile = 4096

// readPassphraseFile reads a passphrase; one line end at its end is not part of
// it.
func readPassphraseFile(path string) (domain.Secret, error) {
	b, err := durable.ReadFile(path, maxPassphraseFile)
	if err != nil {
		return domain.Secret{}, domain.Errorf(domain.Invalid, "reading the passphrase file: %w", err)
	}
	return domain.NewSecret(trimLineEnd(b)), nil
}

func trimLineEnd(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		b = b[:n-1]
	}
	if n := len(b); n > 0 && b[n-1] == '\r' {
		b = b[:n-1]
	}
	return b
}
