package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"coffer/app/domain"
)

var _ = register(spec{kind: Passphrase, rank: 2, attended: true, check: checkPassphrase, describe: describePassphrase})

// Limits of a passphrase, in bytes of UTF-8. The least is for something that a
// thief of the disk can try without end.
const (
	MinPassphrase = 12
	MaxPassphrase = 1024
)

// Argon2id's cost. What is written is the second recommended choice of RFC
// 9106 section 4; what is read may lie between OWASP's least memory and a
// bound that keeps a forged file from exhausting the machine.
const (
	argonMemory, argonMinMemory, argonMaxMemory    = 64 << 10, 19 << 10, 1 << 20 // KiB
	argonPasses, argonMinPasses, argonMaxPasses    = 3, 2, 16
	argonThreads, argonMinThreads, argonMaxThreads = 4, 1, 16
)

type argonParams struct {
	Algorithm string `json:"algorithm"` // "argon2id"
	Version   int    `json:"version"`   // 19, that is 0x13
	Memory    uint32 `json:"memory_kib"`
	Passes    uint32 `json:"passes"`
	Threads   uint8  `json:"threads"`
}

// newArgon is what is written today.
func newArgon() argonParams {
	return argonParams{
		Algorithm: "argon2id", Version: argon2.Version,
		Memory: argonMemory, Passes: argonPasses, Threads: argonThreads,
	}
}

type passphraseProtector struct{ passphrase veiled }

// NewPassphrase protects with what a person types: 12 to 1024 bytes of UTF-8
// without control characters, taken exactly as given. p must stay intact while
// the protector is in use.
func NewPassphrase(p domain.Secret) (Protector, error) {
	b := p.Reveal()
	switch {
	case len(b) < MinPassphrase:
		return nil, domain.Fieldf("passphrase", "shorter than %d characters", MinPassphrase).
			WithHint("five random words are easy to type and hard to guess")
	case len(b) > MaxPassphrase:
		return nil, domain.Fieldf("passphrase", "longer than %d bytes", MaxPassphrase)
	case !utf8.Valid(b) || bytes.ContainsFunc(b, unicode.IsControl):
		return nil, domain.Fieldf("passphrase", "control characters and broken UTF-8 are not allowed").
			WithHint("leave out the line end")
	}
	return &passphraseProtector{veil(p)}, nil
}

func (*passphraseProtector) Kind() Kind { return Passphrase }

func (p *passphraseProtector) enrol(ctx context.Context, salt []byte) (any, domain.Secret, error) {
	params := newArgon()
	key, err := p.derive(ctx, salt, params)
	return params, key, err
}

func (p *passphraseProtector) open(ctx context.Context, salt []byte, raw json.RawMessage) (domain.Secret, error) {
	params, err := decodeParams[argonParams](raw)
	if err != nil {
		return domain.Secret{}, err
	}
	return p.derive(ctx, salt, params)
}

func (*passphraseProtector) refusal() *domain.Error {
	return domain.Errorf(domain.Unauthentic, "the passphrase does not open").
		WithHint("try again, or open with the recovery key: coffer unseal")
}

// argonTurn lets one derivation at a time have its memory.
var argonTurn = make(chan struct{}, 1)

func (p *passphraseProtector) derive(ctx context.Context, salt []byte, a argonParams) (domain.Secret, error) {
	select {
	case argonTurn <- struct{}{}:
		defer func() { <-argonTurn }()
	case <-ctx.Done():
		return domain.Secret{}, domain.Errorf(domain.Unavailable, "opening with the passphrase was given up: %w", ctx.Err())
	}
	key := argon2.IDKey(p.passphrase.secret().Reveal(), salt, a.Passes, a.Memory, a.Threads, slotKeySize)
	return domain.NewSecret(key), nil
}

func checkPassphrase(raw json.RawMessage) error {
	a, err := strict[argonParams](raw)
	switch {
	case err != nil:
		return err
	case a.Algorithm != "argon2id" || a.Version != argon2.Version:
		return fmt.Errorf("algorithm %.20q version %d is not argon2id version %d", a.Algorithm, a.Version, argon2.Version)
	case a.Memory < argonMinMemory || a.Memory > argonMaxMemory:
		return fmt.Errorf("memory of %d KiB is not between %d and %d", a.Memory, argonMinMemory, argonMaxMemory)
	case a.Passes < argonMinPasses || a.Passes > argonMaxPasses:
		return fmt.Errorf("%d passes are not between %d and %d", a.Passes, argonMinPasses, argonMaxPasses)
	case a.Threads < argonMinThreads || a.Threads > argonMaxThreads:
		return fmt.Errorf("%d threads are not between %d and %d", a.Threads, argonMinThreads, argonMaxThreads)
	}
	return nil
}

func describePassphrase(raw json.RawMessage) (detail, warning string) {
	a, err := strict[argonParams](raw)
	if err != nil {
		return "", ""
	}
	return fmt.Sprintf("Argon2id, %d MiB, %d passes, %d lanes", a.Memory>>10, a.Passes, a.Threads), ""
}
