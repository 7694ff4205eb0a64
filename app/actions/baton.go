package actions

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/tenants/guard"
)

// A baton names a stream to whoever holds it: 1 byte that says what its loss
// would mean, 16 random bytes of the stream, 16 random bytes of this turn, and 16
// bytes of a hash of the tenant and the principal that it was given to. It is a
// name, no credential: every request shows one besides.
const (
	batonIdle  byte = 1 // nothing is lost with the stream: it may be replaced by a new one
	batonHolds byte = 2 // a transaction, or stored texts
	batonSize       = 1 + 16 + 16 + 16
)

type baton [batonSize]byte

type streamID [16]byte

func (b baton) kind() byte   { return b[0] }
func (b baton) id() streamID { return streamID(b[1:17]) }
func (b baton) String() string {
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// newBaton makes the baton of a stream's next turn.
func newBaton(kind byte, id streamID, tenant domain.TenantID, who authz.Subject) (b baton) {
	b[0] = kind
	copy(b[1:], id[:])
	_, _ = rand.Read(b[17:33]) // does not fail, see crypto/rand
	bound := boundTo(tenant, who)
	copy(b[33:], bound[:])
	return b
}

// boundTo is what a baton carries of the tenant and the principal.
func boundTo(tenant domain.TenantID, who authz.Subject) [16]byte {
	sum := sha256.Sum256([]byte("coffer baton\x00" + string(tenant) + "\x00" + who.Principal.String()))
	return [16]byte(sum[:])
}

// parseBaton reads a baton that came back. One that was given to somebody else,
// or for another tenant, is as good as none.
func parseBaton(text string, tenant domain.TenantID, who authz.Subject) (b baton, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != batonSize || raw[0] != batonIdle && raw[0] != batonHolds {
		return b, false
	}
	b = baton(raw)
	bound := boundTo(tenant, who)
	return b, subtle.ConstantTimeCompare(b[33:], bound[:]) == 1
}

// codeExpired is the code of a stream that is not there any more.
const codeExpired = "STREAM_EXPIRED"

// errExpired is about a stream that ended, that never was, or that is somebody
// else's: the caller cannot tell.
func errExpired() error {
	return guard.WithCode(codeExpired, domain.Fieldf("baton", "the stream has ended; a transaction that was open on it was rolled back").
		WithHint("open a new one and begin the transaction again; one that waits for its client ends after a few seconds"))
}

// StreamCode is the code of an error about a stream as a whole, for clients of the
// wire protocol; "" for other errors.
func StreamCode(err error) string { return guard.Code(err) }
