package seal

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"

	"coffer/app/domain"
)

// Hooks for the external tests.

// Decode runs the strict decoder of seal.json alone.
func Decode(raw []byte) error {
	_, err := decode(raw)
	return err
}

// Reencode decodes and signs again, which must give the same bytes.
func Reencode(raw []byte, root domain.Secret) ([]byte, error) {
	d, err := decode(raw)
	if err != nil {
		return nil, err
	}
	return encode(d.body, root)
}

// Forge decodes a file, lets edit change its body as JSON members, and signs
// it under root with a right checksum, without the checks of a writer.
func Forge(raw []byte, root domain.Secret, edit func(*Body)) ([]byte, error) {
	d, err := decode(raw)
	if err != nil {
		return nil, err
	}
	edit(&d.body)
	return encode(d.body, root)
}

// Names of what is not exported.
type (
	Body = body
	Slot = slot
)

// CheckParams is the strict check of a kind's parameters.
func CheckParams(k Kind, params json.RawMessage) error { return specs[k].check(params) }

// Explain turns an error of the TPM into one for people.
var Explain = explain

// ErrOwnerAuth and its like are causes that the TPM itself does not give.
var (
	ErrOwnerAuth  = errOwnerAuth
	ErrAnotherTPM = errAnotherTPM
)

// SlotKey opens the key of the first slot of p's kind, which no caller of the
// package ever sees.
func SlotKey(ctx context.Context, raw []byte, p Protector) (domain.Secret, error) {
	d, err := decode(raw)
	if err != nil {
		return domain.Secret{}, err
	}
	for i := range d.Slots {
		if d.Slots[i].Kind == p.Kind() {
			return p.open(ctx, d.Slots[i].Salt, d.Slots[i].Params)
		}
	}
	return domain.Secret{}, errors.New("no such slot")
}

// SealedPEM is the PEM text in the parameters of a TPM slot.
func SealedPEM(params json.RawMessage) (string, error) {
	p, _, err := parseTPM(params)
	return p.Key, err
}

// RecoveryBytes are the 32 bytes of a recovery key.
func RecoveryBytes(k RecoveryKey) []byte { return k.raw.secret().Reveal() }

// ParseDER parses a sealed object as a TPM slot's PEM text would.
func ParseDER(der []byte) error {
	_, err := parseBlob(string(pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})))
	return err
}
