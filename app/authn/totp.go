package authn

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"

	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
)

// The parameters that every app knows (RFC 6238, RFC 4226).
const (
	totpPeriod = 30 * time.Second
	totpSkew   = 1 // steps before and after that count too: clocks differ
	totpDigits = 6
	totpSize   = 20 // bytes of the secret
)

// NewTOTP makes the secret of an app that shows codes.
func NewTOTP() domain.Secret {
	b := make([]byte, totpSize)
	_, _ = rand.Read(b) // never fails
	return domain.NewSecret(b)
}

// TOTPText is the secret as people type it.
func TOTPText(secret domain.Secret) domain.Secret {
	return domain.SecretString(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret.Reveal()))
}

// TOTPURI is the secret as apps read it from a picture.
func TOTPURI(secret domain.Secret, issuer, name string) (domain.Secret, error) {
	key, err := totp.Generate(totp.GenerateOpts{
		Issuer: issuer, AccountName: name, Secret: secret.Reveal(), Period: uint(totpPeriod / time.Second), Digits: otp.DigitsSix,
	})
	if err != nil {
		return domain.Secret{}, domain.Errorf(domain.Internal, "making the address of a secret for an app that shows codes")
	}
	return domain.SecretString(key.URL()), nil
}

// TOTPStep finds the step of which this is the code, at a time by the wall clock:
// the clock that never runs backwards would stay ahead of every app once it was
// set wrong. Every step is compared, in constant time each.
func TOTPStep(secret, code domain.Secret, wall time.Time) (step int64, ok bool) {
	digits := bytes.TrimSpace(code.Reveal())
	now := wall.Unix() / int64(totpPeriod/time.Second)
	text := string(TOTPText(secret).Reveal())
	for s := now - totpSkew; s <= now+totpSkew; s++ {
		want, err := hotp.GenerateCodeCustom(text, uint64(max(s, 0)), hotp.ValidateOpts{Digits: otp.DigitsSix})
		if err == nil && subtle.ConstantTimeCompare([]byte(want), digits) == 1 {
			step, ok = s, true
		}
	}
	return step, ok
}

// Spent is a code that was found right: what has to be recorded so that it works
// once.
type Spent struct {
	Method   string // "totp" or "recovery-code"
	person   string
	step     int64
	recovery []byte
}

// noTOTP is computed with where there is none.
var noTOTP = NewTOTP()

// CheckCode looks at a code, of the app or a recovery code. It does the same work
// whatever the person has.
func CheckCode(a directory.Account, code domain.Secret, wall time.Time) (Spent, bool) {
	secret, last := noTOTP, int64(0)
	if a.TOTP != nil {
		secret, last = a.TOTP.Secret.Secret, a.TOTP.Step
	}
	step, shown := TOTPStep(secret, code, wall)
	hash, printed := findRecovery(a.Recovery, code)
	switch {
	case shown && a.TOTP != nil && step > last:
		return Spent{Method: "totp", person: a.Person, step: step}, true
	case printed:
		return Spent{Method: "recovery-code", person: a.Person, recovery: hash}, true
	}
	return Spent{}, false
}

// ErrCode is the answer to every code that does not hold: wrong, too old and used
// already look the same.
var ErrCode = domain.Errorf(domain.Denied, "the code is not right, or was used already").
	WithHint("wait for the next one; if none is right, look at the clocks of the app and of the server")

// Spend records that the code was used, or gives ErrCode if somebody else used it
// since it was looked at.
func (s Spent) Spend(tx *store.Tx) error {
	a, err := directory.FindAccount(tx, s.person)
	if err != nil {
		return err
	}
	switch {
	case s.recovery != nil:
		left := without(a.Recovery, s.recovery)
		if len(left) == len(a.Recovery) {
			return ErrCode
		}
		a.Recovery = left
	case a.TOTP == nil || a.TOTP.Step >= s.step:
		return ErrCode
	default:
		a.TOTP.Step = s.step
	}
	return directory.PutAccount(tx, a)
}
