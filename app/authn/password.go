package authn

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"coffer/app/domain"
)

// Limits of a password: twelve characters are out of reach of who may try some
// hundred times a day, and a thief of the control store lacks its key.
const (
	MinPassword = 12   // characters
	MaxPassword = 1024 // bytes

	fewestDifferent = 5 // characters that differ from each other
)

// Argon2id's cost for new passwords: the least that OWASP's Password Storage
// Cheat Sheet recommends. It is paid at each sign-in, a seal's only at a start.
const (
	argonMemory  = 19 << 10 // KiB
	argonPasses  = 2
	argonThreads = 1
	saltSize     = 16
	hashSize     = 32
)

// Passwords makes and compares hashes of passwords, two at a time: however many
// sign in, they take no more than that of the machine.
type Passwords struct {
	turns     chan struct{} // one for each that works
	strangers chan struct{} // of those, the ones from devices that nobody knows
	waiting   chan struct{} // who waits, at most
}

const (
	atOnce      = 2
	mostWaiting = 64
)

// NewPasswords makes the two turns.
func NewPasswords() *Passwords {
	return &Passwords{
		turns: make(chan struct{}, atOnce), strangers: make(chan struct{}, atOnce-1), waiting: make(chan struct{}, mostWaiting),
	}
}

// CheckPassword refuses what cannot be a password.
func CheckPassword(field string, p domain.Secret) error {
	b := p.Reveal()
	switch {
	case len(b) > MaxPassword:
		return domain.Fieldf(field, "longer than %d bytes", MaxPassword)
	case !utf8.Valid(b):
		return domain.Fieldf(field, "broken UTF-8 is not allowed")
	case utf8.RuneCount(b) < MinPassword:
		return domain.Fieldf(field, "shorter than %d characters", MinPassword).WithHint("five random words are easy to type and hard to guess")
	}
	seen := map[rune]bool{}
	for _, r := range string(b) {
		seen[r] = true
	}
	if len(seen) < fewestDifferent {
		return domain.Fieldf(field, "too few different characters").WithHint("five random words are easy to type and hard to guess")
	}
	return nil
}

// Hash makes what is kept of a password, in the PHC string format.
func (p *Passwords) Hash(ctx context.Context, password domain.Secret) (domain.Secret, error) {
	done, err := p.turn(ctx, true)
	if err != nil {
		return domain.Secret{}, err
	}
	defer done()
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails
	key := argon2.IDKey(password.Reveal(), salt, argonPasses, argonMemory, argonThreads, hashSize)
	return encodePHC(phc{argonMemory, argonPasses, argonThreads, salt, key}), nil
}

// Verify compares a password with what was kept. For an empty hash it does the
// same work in vain, so that who has none costs the same time. known says that
// the request comes from a device that signed in before: strangers never hold
// all turns.
func (p *Passwords) Verify(ctx context.Context, kept, password domain.Secret, known bool) (bool, error) {
	h := decoy
	if kept.Len() > 0 {
		var err error
		if h, err = decodePHC(kept); err != nil {
			return false, err
		}
	}
	done, err := p.turn(ctx, known)
	if err != nil {
		return false, err
	}
	defer done()
	got := argon2.IDKey(password.Reveal(), h.salt, h.passes, h.memory, h.threads, uint32(len(h.key)))
	return subtle.ConstantTimeCompare(got, h.key) == 1 && kept.Len() > 0, nil
}

// turn waits until one of the turns is free.
func (p *Passwords) turn(ctx context.Context, known bool) (done func(), err error) {
	if !known {
		// Only strangers can be many: who is known waits for at most one of them.
		select {
		case p.waiting <- struct{}{}:
			defer func() { <-p.waiting }()
		default:
			return nil, domain.Errorf(domain.Limit, "too many are signing in at this moment").WithHint("try again in a few seconds")
		}
		select {
		case p.strangers <- struct{}{}:
		case <-ctx.Done():
			return nil, gaveUp(ctx)
		}
	}
	leave := func() {
		if !known {
			<-p.strangers
		}
	}
	select {
	case p.turns <- struct{}{}:
		return func() { <-p.turns; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, gaveUp(ctx)
	}
}

func gaveUp(ctx context.Context) error {
	return domain.Errorf(domain.Unavailable, "the request was given up while it waited for its turn: %w", ctx.Err()).WithHint("try again")
}

// phc is a password's hash with what it was made with.
type phc struct {
	memory, passes uint32
	threads        uint8
	salt, key      []byte
}

// decoy is compared with where there is nothing to compare with.
var decoy = func() phc {
	b := make([]byte, saltSize+hashSize)
	_, _ = rand.Read(b) // never fails
	return phc{argonMemory, argonPasses, argonThreads, b[:saltSize], b[saltSize:]}
}()

func encodePHC(h phc) domain.Secret {
	b64 := base64.RawStdEncoding.EncodeToString
	return domain.SecretString(fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s",
		argon2.Version, h.memory, h.passes, h.threads, b64(h.salt), b64(h.key)))
}

// Bounds on what is read: a record cannot make the machine work without end.
const (
	maxArgonMemory = 1 << 20 // KiB
	maxArgonPasses = 16
)

// decodePHC reads what encodePHC wrote, now or at another cost.
func decodePHC(s domain.Secret) (h phc, err error) {
	bad := domain.Errorf(domain.Tampered, "the hash of a password is malformed").WithHint("run: coffer doctor; then restore a backup")
	parts := strings.Split(string(s.Reveal()), "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, bad
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.passes, &h.threads); err != nil || n != 3 {
		return h, bad
	}
	if h.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil {
		return h, bad
	}
	if h.key, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil {
		return h, bad
	}
	if h.memory < 8 || h.memory > maxArgonMemory || h.passes < 1 || h.passes > maxArgonPasses || h.threads < 1 ||
		len(h.salt) < 8 || len(h.key) < saltSize || !encodePHC(h).Equal(s) {
		return phc{}, bad
	}
	return h, nil
}
