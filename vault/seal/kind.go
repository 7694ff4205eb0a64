package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"coffer/app/domain"
)

// Kind names a way of protecting the root key. The names stand in seal.json.
type Kind string

// The kinds of key slots, strongest first.
const (
	// TPM seals to the machine's TPM 2.0; opens unattended on that machine only.
	TPM Kind = "tpm"
	// Passphrase is typed by a person at every start.
	Passphrase Kind = "passphrase"
	// Keyfile is a file with random bytes: a path, a container secret or a
	// systemd credential; opens unattended wherever the file is.
	Keyfile Kind = "keyfile"
	// Recovery is the one printed key that opens everything by itself.
	Recovery Kind = "recovery"
)

// Protector opens the slots of one kind and makes new ones. The constructors
// of this package (NewTPM, NewPassphrase, NewKeyfile, NewRecovery) give them.
// A Protector may be used by several goroutines.
type Protector interface {
	// Kind is the kind of slots that this protector opens and makes.
	Kind() Kind

	// enrol makes the parameters of a new slot and the slot's key, 32 bytes.
	enrol(ctx context.Context, salt []byte) (params any, key domain.Secret, err error)

	// open finds the slot's key again. A wrong secret need not be noticed
	// here: unwrapping fails then, and says refusal().
	open(ctx context.Context, salt []byte, params json.RawMessage) (domain.Secret, error)

	// refusal is the error for a key that opens nothing.
	refusal() *domain.Error
}

// veiled holds a secret where fmt cannot look: fields of other types that are
// not exported are shown by it without asking their methods, a function never.
type veiled func() domain.Secret

func veil(s domain.Secret) veiled { return func() domain.Secret { return s } }

// secret is empty for the zero value.
func (v veiled) secret() domain.Secret {
	if v == nil {
		return domain.Secret{}
	}
	return v()
}

// spec is what the registry knows of a kind without having a protector.
type spec struct {
	kind Kind
	// rank orders kinds by strength; 0 is outside the order (recovery), which
	// is never chosen by itself.
	rank int
	// attended is true if a person types something to open.
	attended bool
	// check refuses parameters that no protector of the kind writes.
	check func(params json.RawMessage) error
	// describe puts checked parameters into words, and a warning if there is
	// something that a person should be told at every start.
	describe func(params json.RawMessage) (detail, warning string)
}

var specs = map[Kind]spec{}

func register(s spec) struct{} {
	if _, twice := specs[s.kind]; twice {
		panic("seal: kind " + string(s.kind) + " is registered twice")
	}
	specs[s.kind] = s
	return struct{}{}
}

// Kinds lists every kind, strongest first; Recovery, which is outside that
// order, is last.
func Kinds() []Kind {
	out := make([]Kind, 0, len(specs))
	for k := range specs {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b Kind) int { return specs[b].rank - specs[a].rank })
	return out
}

// ParseKind checks the name of a kind that came from outside.
func ParseKind(s string) (Kind, error) {
	if _, ok := specs[Kind(s)]; !ok {
		return "", domain.Fieldf("seal", "%.40q is not a kind of seal", s).
			WithHint("one of %v", Kinds())
	}
	return Kind(s), nil
}

// StrongerThan says whether k protects better than o. Recovery compares as
// weaker than every other kind: it is for people, not for starting with.
func (k Kind) StrongerThan(o Kind) bool { return specs[k].rank > specs[o].rank }

var errNotCanonical = errors.New("not in canonical form")

// strict decodes JSON into a T that must encode to the very same (compacted)
// bytes: no unknown, repeated or differently spelt field, nothing after it.
func strict[T any](raw []byte) (T, error) {
	var v T
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return v, errors.New("data after the end")
	}
	again, err := json.Marshal(v)
	if err != nil {
		return v, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return v, err
	}
	if !bytes.Equal(again, compact.Bytes()) {
		return v, errNotCanonical
	}
	return v, nil
}

// decodeParams is strict for parameters that were checked when the file was
// loaded: an error now is a fault of ours.
func decodeParams[T any](raw json.RawMessage) (T, error) {
	v, err := strict[T](raw)
	if err != nil {
		return v, fmt.Errorf("decoding the slot's parameters: %w", err)
	}
	return v, nil
}
