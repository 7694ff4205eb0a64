package authn

import (
	"bytes"
	"context"
	"encoding/json"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
)

// Bounds on what waits for an authenticator's answer.
const (
	challengeTTL   = 5 * time.Minute
	mostChallenges = 4096     // of people who are signed in
	maxResponse    = 32 << 10 // bytes
)

// Passkeys are WebAuthn credentials. User verification is required, so one is two
// factors at once: what one has, and what one knows or is.
type Passkeys struct {
	rp      *webauthn.WebAuthn
	refusal error              // why there can be none here; nil if there can
	waiting *Waiting[ceremony] // of people who are signed in
	signing *challenges        // of whoever wants to sign in
}

// ceremony is what one challenge was made for.
type ceremony struct {
	kind   ceremonyKind
	person string
	data   webauthn.SessionData
}

type ceremonyKind int

const (
	registering ceremonyKind = iota
	steppingUp
)

// Challenge is what the browser hands to the authenticator; the handle names it.
type Challenge struct {
	Options json.RawMessage
	Handle  string
}

// NewPasskeys makes passkeys for an origin such as https://coffer.example:8443,
// under which browsers reach the appliance; "" for none. Where browsers would not
// take them, each use is refused with the reason.
func NewPasskeys(origin string, now func() time.Time) *Passkeys {
	p := &Passkeys{waiting: NewWaiting[ceremony](mostChallenges, challengeTTL, now), signing: newChallenges(now)}
	host, err := passkeyHost(origin)
	if err == nil {
		p.rp, err = webauthn.New(&webauthn.Config{
			RPID: host, RPDisplayName: "Coffer", RPOrigins: []string{origin},
			AttestationPreference: protocol.PreferNoAttestation,
			AuthenticatorSelection: protocol.AuthenticatorSelection{
				ResidentKey: protocol.ResidentKeyRequirementRequired, RequireResidentKey: protocol.ResidentKeyRequired(),
				UserVerification: protocol.VerificationRequired,
			},
		})
	}
	if err != nil {
		p.refusal = domain.Errorf(domain.Conflict, "passkeys do not work here: %s", err.Error()).
			WithHint("reach Coffer over https under a domain name, such as coffer.example.org; codes of an app work everywhere")
	}
	return p
}

// passkeyHost is the name for which passkeys are made, if browsers make any.
func passkeyHost(origin string) (string, error) {
	if origin == "" {
		return "", domain.Errorf(domain.Conflict, "Coffer is not reached over the network")
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return "", domain.Errorf(domain.Conflict, "the address is malformed")
	}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err == nil {
		return "", domain.Errorf(domain.Conflict, "they need a name, and the address is a number")
	}
	if host != "localhost" && !strings.Contains(strings.Trim(host, "."), ".") {
		return "", domain.Errorf(domain.Conflict, "they need a name with a dot in it")
	}
	if u.Scheme != "https" && host != "localhost" {
		return "", domain.Errorf(domain.Conflict, "they need https")
	}
	return host, nil
}

// Available is nil where passkeys work.
func (p *Passkeys) Available() error { return p.refusal }

// owner is a person as the library wants one.
type owner struct {
	id, name string
	keys     []directory.Passkey
}

// WebAuthnID is the user handle: the random id, which says nothing.
func (o owner) WebAuthnID() []byte { return []byte(o.id) }

// WebAuthnName is what the authenticator shows.
func (o owner) WebAuthnName() string { return o.name }

// WebAuthnDisplayName is the same.
func (o owner) WebAuthnDisplayName() string { return o.name }

// WebAuthnCredentials are those that there are.
func (o owner) WebAuthnCredentials() (out []webauthn.Credential) {
	for _, k := range o.keys {
		out = append(out, webauthn.Credential{
			ID: k.Credential, PublicKey: k.PublicKey,
			Flags:         webauthn.NewCredentialFlags(protocol.AuthenticatorFlags(k.Flags)),
			Authenticator: webauthn.Authenticator{SignCount: k.Count},
		})
	}
	return out
}

// wait keeps a challenge until its answer comes.
func (p *Passkeys) wait(kind ceremonyKind, person string, options any, data *webauthn.SessionData) (Challenge, error) {
	b, err := json.Marshal(options)
	if err != nil {
		return Challenge{}, err
	}
	handle := domain.NewID("ch_")
	p.waiting.Put(handle, ceremony{kind, person, *data})
	return Challenge{b, handle}, nil
}

// take gives the challenge that was kept for this, once.
func (p *Passkeys) take(handle string, kind ceremonyKind, person string) (ceremony, error) {
	c, ok := p.waiting.Take(handle)
	if !ok || c.kind != kind || c.person != person {
		return ceremony{}, ErrPasskey
	}
	return c, nil
}

// ErrPasskey is the answer to every passkey that does not prove anything.
var ErrPasskey = domain.Errorf(domain.Denied, "the passkey was not accepted, or took too long").WithHint("try again")

// BeginAdd begins to add a passkey to a person.
func (p *Passkeys) BeginAdd(person directory.Person, keys []directory.Passkey) (Challenge, error) {
	if p.refusal != nil {
		return Challenge{}, p.refusal
	}
	o := owner{person.ID, person.Name, keys}
	var have []protocol.CredentialDescriptor
	for _, c := range o.WebAuthnCredentials() {
		have = append(have, c.Descriptor())
	}
	options, data, err := p.rp.BeginRegistration(o, webauthn.WithExclusions(have))
	if err != nil {
		return Challenge{}, domain.Errorf(domain.Internal, "beginning to add a passkey: %w", err)
	}
	return p.wait(registering, person.ID, options, data)
}

// FinishAdd gives the passkey that the authenticator made.
func (p *Passkeys) FinishAdd(person directory.Person, handle string, response []byte) (directory.Passkey, error) {
	if p.refusal != nil {
		return directory.Passkey{}, p.refusal
	}
	c, err := p.take(handle, registering, person.ID)
	if err != nil {
		return directory.Passkey{}, err
	}
	if len(response) > maxResponse {
		return directory.Passkey{}, ErrPasskey
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return directory.Passkey{}, ErrPasskey
	}
	made, err := p.rp.CreateCredential(owner{id: person.ID, name: person.Name}, c.data, parsed)
	if err != nil {
		return directory.Passkey{}, ErrPasskey
	}
	return directory.Passkey{
		Credential: made.ID, PublicKey: made.PublicKey, Count: made.Authenticator.SignCount, Flags: byte(made.Flags.ProtocolValue()),
	}, nil
}

// BeginSignIn begins to sign in with whatever passkey the browser has. Nothing is
// kept for it; see challenges.
func (p *Passkeys) BeginSignIn() (Challenge, error) {
	if p.refusal != nil {
		return Challenge{}, p.refusal
	}
	challenge, handle := p.signing.make()
	options, _, err := p.rp.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired), webauthn.WithChallenge(challenge))
	if err != nil {
		return Challenge{}, domain.Errorf(domain.Internal, "beginning to sign in with a passkey: %w", err)
	}
	b, err := json.Marshal(options)
	return Challenge{b, handle}, err
}

// BeginStepUp begins to prove a person again who is signed in.
func (p *Passkeys) BeginStepUp(person directory.Person, keys []directory.Passkey) (Challenge, error) {
	if p.refusal != nil {
		return Challenge{}, p.refusal
	}
	if len(keys) == 0 {
		return Challenge{}, domain.Errorf(domain.Conflict, "you have no passkey").WithHint("prove yourself with a code")
	}
	options, data, err := p.rp.BeginLogin(owner{person.ID, person.Name, keys}, webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return Challenge{}, domain.Errorf(domain.Internal, "beginning to prove a passkey: %w", err)
	}
	return p.wait(steppingUp, person.ID, options, data)
}

// Shown is a passkey that proved its person.
type Shown struct {
	Person  string
	passkey directory.Passkey
}

// FinishSignIn finds out whose passkey answered.
func (p *Passkeys) FinishSignIn(ctx context.Context, db *store.Store, handle string, response []byte) (Shown, error) {
	if p.refusal != nil {
		return Shown{}, p.refusal
	}
	challenge, ok := p.signing.of(handle)
	parsed, err := parseAnswer(response)
	if !ok || err != nil {
		return Shown{}, ErrPasskey
	}
	o, err := ownerOf(ctx, db, string(parsed.Response.UserHandle))
	if err != nil {
		return Shown{}, err
	}
	data := webauthn.SessionData{
		Challenge: challenge, RelyingPartyID: p.rp.Config.RPID, UserVerification: protocol.VerificationRequired,
	}
	find := func(_, _ []byte) (webauthn.User, error) { return o, nil }
	_, used, err := p.rp.ValidatePasskeyLogin(find, data, parsed)
	if err != nil || !p.signing.spend(handle) {
		return Shown{}, ErrPasskey
	}
	return o.shown(used)
}

// FinishStepUp finds out whether a passkey of the person answered.
func (p *Passkeys) FinishStepUp(ctx context.Context, db *store.Store, person, handle string, response []byte) (Shown, error) {
	if p.refusal != nil {
		return Shown{}, p.refusal
	}
	c, err := p.take(handle, steppingUp, person)
	if err != nil {
		return Shown{}, err
	}
	parsed, err := parseAnswer(response)
	if err != nil {
		return Shown{}, err
	}
	o, err := ownerOf(ctx, db, person)
	if err != nil {
		return Shown{}, err
	}
	used, err := p.rp.ValidateLogin(o, c.data, parsed)
	if err != nil {
		return Shown{}, ErrPasskey
	}
	return o.shown(used)
}

func parseAnswer(response []byte) (*protocol.ParsedCredentialAssertionData, error) {
	if len(response) > maxResponse {
		return nil, ErrPasskey
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return nil, ErrPasskey
	}
	return parsed, nil
}

// maxHandle is the most bytes of a user handle (WebAuthn, section 5.4.3).
const maxHandle = 64

// ownerOf finds the passkeys of a person; an unknown one has none.
func ownerOf(ctx context.Context, db *store.Store, person string) (o owner, err error) {
	if person == "" || len(person) > maxHandle {
		return o, ErrPasskey
	}
	o.id = person
	err = db.View(ctx, func(tx *store.Tx) (err error) {
		o.keys, err = directory.Passkeys(tx, person)
		return err
	})
	return o, err
}

// shown is the passkey that answered, with what was seen of it. One whose counter
// did not move on may be a copy.
func (o owner) shown(used *webauthn.Credential) (Shown, error) {
	for _, k := range o.keys {
		if bytes.Equal(k.Credential, used.ID) && !used.Authenticator.CloneWarning {
			k.Count, k.Flags = used.Authenticator.SignCount, byte(used.Flags.ProtocolValue())
			return Shown{o.id, k}, nil
		}
	}
	return Shown{}, ErrPasskey
}

// Spend records what was seen of the passkey. One that was removed since, or whose
// counter somebody else moved on, is refused: it may be a copy.
func (s Shown) Spend(tx *store.Tx) error {
	keys, err := directory.Passkeys(tx, s.Person)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.ID != s.passkey.ID {
			continue
		}
		if k.Count >= s.passkey.Count && s.passkey.Count+k.Count > 0 {
			return ErrPasskey
		}
		return directory.PutPasskey(tx, s.Person, s.passkey)
	}
	return ErrPasskey
}
