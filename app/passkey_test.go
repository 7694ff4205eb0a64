package app_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const passkeyOrigin = "https://coffer.example.org:8443"

// authenticator is one in software: it makes discoverable credentials (ES256,
// attestation "none") and verifies its user, unless a test lets it misbehave.
type authenticator struct {
	t       *testing.T
	key     *ecdsa.PrivateKey
	id      []byte
	user    []byte
	count   uint32
	flags   byte // of the authenticator data: user present 1, user verified 4
	origin  string
	rp      string // whose hash is signed; the one asked for if empty
	tamper  func(map[string]any)
	badSign bool
}

func newAuthenticator(t *testing.T) *authenticator {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := make([]byte, 32)
	_, _ = rand.Read(id)
	return &authenticator{t: t, key: key, id: id, flags: 5, origin: passkeyOrigin}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// challenge is what the API gives.
type challenge struct {
	Challenge struct {
		PublicKey struct {
			Challenge string
			RPID      string `json:"rpId"`
			RP        struct{ ID string }
			User      struct{ ID string }
		}
	}
	Handle string
}

func (a *authenticator) clientData(kind, challenge string) []byte {
	data := map[string]any{"type": kind, "challenge": challenge, "origin": a.origin, "crossOrigin": false}
	if a.tamper != nil {
		a.tamper(data)
	}
	b, err := json.Marshal(data)
	if err != nil {
		a.t.Fatal(err)
	}
	return b
}

// authData is the authenticator data without what is attested.
func (a *authenticator) authData(rp string, flags byte) []byte {
	if a.rp != "" {
		rp = a.rp
	}
	hash := sha256.Sum256([]byte(rp))
	return binary.BigEndian.AppendUint32(append(hash[:], flags), a.count)
}

// cborHead writes the head of a CBOR item (RFC 8949).
func cborHead(b []byte, major byte, n int) []byte {
	switch {
	case n < 24:
		return append(b, major<<5|byte(n))
	case n < 256:
		return append(b, major<<5|24, byte(n))
	}
	return append(b, major<<5|25, byte(n>>8), byte(n))
}

func cborBytes(b, data []byte) []byte { return append(cborHead(b, 2, len(data)), data...) }
func cborText(b []byte, s string) []byte {
	return append(cborHead(b, 3, len(s)), s...)
}

// publicKey is the COSE_Key: kty EC2, alg ES256, crv P-256.
func (a *authenticator) publicKey() []byte {
	point, err := a.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		a.t.Fatal(err)
	}
	out := []byte{0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21}
	out = cborBytes(out, point[1:33])
	return cborBytes(append(out, 0x22), point[33:])
}

// create answers a challenge to make a passkey.
func (a *authenticator) create(c challenge) object {
	pk := c.Challenge.PublicKey
	user, err := base64.RawURLEncoding.DecodeString(pk.User.ID)
	if err != nil {
		a.t.Fatal(err)
	}
	a.user = user
	auth := a.authData(pk.RP.ID, a.flags|0x40)
	auth = append(auth, make([]byte, 16)...)
	auth = binary.BigEndian.AppendUint16(auth, uint16(len(a.id)))
	auth = append(append(auth, a.id...), a.publicKey()...)
	att := cborHead(nil, 5, 3)
	att = cborText(cborText(att, "fmt"), "none")
	att = cborHead(cborText(att, "attStmt"), 5, 0)
	att = cborBytes(cborText(att, "authData"), auth)
	return object{"id": b64(a.id), "rawId": b64(a.id), "type": "public-key", "clientExtensionResults": object{}, "response": object{
		"clientDataJSON": b64(a.clientData("webauthn.create", pk.Challenge)), "attestationObject": b64(att), "transports": []string{"internal"},
	}}
}

// get answers a challenge to prove.
func (a *authenticator) get(c challenge) object {
	pk := c.Challenge.PublicKey
	a.count++
	client, auth := a.clientData("webauthn.get", pk.Challenge), a.authData(pk.RPID, a.flags)
	hash := sha256.Sum256(client)
	sum := sha256.Sum256(append(bytes.Clone(auth), hash[:]...))
	if a.badSign {
		sum[0] ^= 1
	}
	sig, err := ecdsa.SignASN1(rand.Reader, a.key, sum[:])
	if err != nil {
		a.t.Fatal(err)
	}
	return object{"id": b64(a.id), "rawId": b64(a.id), "type": "public-key", "clientExtensionResults": object{}, "response": object{
		"clientDataJSON": b64(client), "authenticatorData": b64(auth), "signature": b64(sig), "userHandle": b64(a.user),
	}}
}

func (p *peopled) begin(session, path string) (c challenge) {
	p.tb.Helper()
	p.must(session, "POST", path+"/begin", nil, &c)
	return c
}

func (p *peopled) finish(session, path string, c challenge, response, more object) answer {
	p.tb.Helper()
	in := object{"handle": c.Handle, "response": response}
	for k, v := range more {
		in[k] = v
	}
	return p.do(session, "POST", path, in)
}

const (
	addKey    = "/api/v1/account/passkeys"
	signInKey = "/api/v1/sessions/passkey"
	stepUpKey = "/api/v1/sessions/step-up/passkey"
)

// withPasskey makes an operator whose one second factor is a passkey.
func withPasskey(t *testing.T) (*peopled, signedIn, *authenticator) {
	t.Helper()
	p := servePeopleAt(t, passkeyOrigin)
	in := p.accept(p.link("/api/v1/setup-link", nil).Token, "olga")
	key := newAuthenticator(t)
	a := p.finish(in.Session, addKey, p.begin(in.Session, addKey), key.create(p.begin(in.Session, addKey)), object{"name": "wrong challenge"})
	if a.status != 403 {
		t.Errorf("an answer to another challenge: %d %s", a.status, a.body)
	}
	c := p.begin(in.Session, addKey)
	a = p.finish(in.Session, addKey, c, key.create(c), object{"name": "the key on my desk"})
	if a.status != 200 || strings.Count(string(a.body), "-") < 20 {
		t.Fatalf("adding: %d %s", a.status, a.body)
	}
	return p, in, key
}

// TestPasskey: added, signed in with, proven again with, removed.
func TestPasskey(t *testing.T) {
	p, first, key := withPasskey(t)
	p.tenant("acme")
	p.want(200, "acme", first.Session, "GET", "/api/v1/tenants", nil) // limited no more
	var in signedIn
	c := p.begin("", signInKey)
	response := key.get(c)
	a := p.finish("", signInKey, c, response, nil)
	if err := json.Unmarshal(a.body, &in); err != nil || a.status != 200 || in.Limited || in.Name != "olga" || in.Device == "" {
		t.Fatalf("signing in: %d %s", a.status, a.body)
	}
	if a := p.finish("", signInKey, c, response, nil); a.status != 401 {
		t.Errorf("the same answer again: %d %s", a.status, a.body)
	}
	const secret = "/api/v1/tenants/acme/secret?path=stripe/live"
	p.want(200, "sk_acme", in.Session, "GET", secret, nil)
	p.clock.pass(6 * time.Minute)
	p.want(403, "step_up", in.Session, "GET", secret, nil)
	c = p.begin(in.Session, stepUpKey)
	if a := p.finish(first.Session, stepUpKey, c, key.get(c), nil); a.status != 200 {
		t.Errorf("one's other session: %d %s", a.status, a.body)
	}
	c = p.begin(in.Session, stepUpKey)
	if a := p.finish(in.Session, stepUpKey, c, key.get(c), nil); a.status != 200 {
		t.Fatalf("proving again: %d %s", a.status, a.body)
	}
	p.want(200, "sk_acme", in.Session, "GET", secret, nil)
	if a := p.do("", "POST", "/api/v1/sessions", object{"name": "olga", "password": goodPassword}); a.status != 401 {
		t.Errorf("a password alone, with a passkey there: %d", a.status)
	}
	var account struct {
		Passkeys []struct{ ID, Name string }
	}
	p.must(in.Session, "GET", "/api/v1/account", nil, &account)
	if len(account.Passkeys) != 1 || account.Passkeys[0].Name != "the key on my desk" {
		t.Fatalf("%+v", account)
	}
	one := "/api/v1/account/passkeys/" + account.Passkeys[0].ID
	p.want(409, "only second factor", in.Session, "DELETE", one, nil)
	p.enrol(in)
	p.want(200, "", in.Session, "DELETE", one, nil)
	p.want(404, "", in.Session, "DELETE", one, nil)
	c = p.begin("", signInKey)
	if a := p.finish("", signInKey, c, key.get(c), nil); a.status != 401 {
		t.Errorf("a removed passkey: %d %s", a.status, a.body)
	}
}

// TestPasskeyRefusals: an authenticator, a page or a thief that does one thing
// wrong proves nothing.
func TestPasskeyRefusals(t *testing.T) {
	p, first, good := withPasskey(t)
	c := p.begin("", signInKey)
	if a := p.finish("", signInKey, c, good.get(c), nil); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for name, spoil := range map[string]func(k *authenticator){
		"another origin":                 func(k *authenticator) { k.origin = "https://evil.example.org:8443" },
		"another port":                   func(k *authenticator) { k.origin = "https://coffer.example.org:9999" },
		"plain http":                     func(k *authenticator) { k.origin = "http://coffer.example.org:8443" },
		"another site's key":             func(k *authenticator) { k.rp = "example.org" },
		"no user verification":           func(k *authenticator) { k.flags = 1 },
		"no user":                        func(k *authenticator) { k.flags = 4 },
		"a wrong signature":              func(k *authenticator) { k.badSign = true },
		"a counter that stands still":    func(k *authenticator) { k.count-- },
		"a counter that went back":       func(k *authenticator) { k.count = 0 },
		"another key under the id":       func(k *authenticator) { k.key = newAuthenticator(t).key },
		"an unknown id":                  func(k *authenticator) { k.id = []byte("unknown") },
		"somebody else's handle":         func(k *authenticator) { k.user = []byte("p_somebodyelse") },
		"no handle":                      func(k *authenticator) { k.user = nil },
		"a long handle":                  func(k *authenticator) { k.user = bytes.Repeat([]byte("p"), 4000) },
		"another type":                   func(k *authenticator) { k.tamper = func(m map[string]any) { m["type"] = "webauthn.create" } },
		"another challenge":              func(k *authenticator) { k.tamper = func(m map[string]any) { m["challenge"] = b64(make([]byte, 32)) } },
		"a page in somebody else's page": func(k *authenticator) { k.tamper = func(m map[string]any) { m["crossOrigin"] = true } },
	} {
		bad := *good
		spoil(&bad)
		p.clock.pass(time.Minute)
		c := p.begin("", signInKey)
		if a := p.finish("", signInKey, c, bad.get(c), nil); a.status != 401 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	for name, body := range map[string]any{
		"nothing": object{}, "a text": "x", "null": nil, "a list": []int{1}, "much": strings.Repeat("x", 100_000),
		"another kind": object{"id": "x", "rawId": "x", "type": "password", "response": object{}},
	} {
		c := p.begin("", signInKey)
		if a := p.do("", "POST", signInKey, object{"handle": c.Handle, "response": body}); a.status != 401 && a.status != 400 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	c = p.begin("", signInKey)
	p.clock.pass(6 * time.Minute)
	if a := p.finish("", signInKey, c, good.get(c), nil); a.status != 401 {
		t.Errorf("an answer after five minutes: %d", a.status)
	}
	// A challenge is for what it was made for, and for whom.
	in := p.accept(p.link("/api/v1/setup-link", nil).Token, "otto")
	other := newAuthenticator(t)
	c = p.begin(in.Session, addKey)
	if a := p.finish(first.Session, addKey, c, other.create(c), object{"name": "stolen"}); a.status != 403 {
		t.Errorf("somebody else's challenge: %d %s", a.status, a.body)
	}
	c = p.begin("", signInKey)
	if a := p.finish(first.Session, stepUpKey, c, good.get(c), nil); a.status != 403 {
		t.Errorf("a challenge to sign in, used to prove: %d %s", a.status, a.body)
	}
	weak := newAuthenticator(t)
	weak.flags = 1
	c = p.begin(in.Session, addKey)
	if a := p.finish(in.Session, addKey, c, weak.create(c), object{"name": "weak"}); a.status != 403 {
		t.Errorf("a passkey that verifies nobody: %d %s", a.status, a.body)
	}
	// A passkey that is somebody's is nobody else's to add with another key.
	c = p.begin(in.Session, addKey)
	if a := p.finish(in.Session, addKey, c, other.create(c), object{"name": ""}); a.status != 400 {
		t.Errorf("no name: %d", a.status)
	}
}

// TestPasskeyChallengesLockNobodyOut: however many an outsider asks for, they
// cause no event and push nobody's out; a handle that was changed is none.
func TestPasskeyChallengesLockNobodyOut(t *testing.T) {
	p, _, key := withPasskey(t)
	c := p.begin("", signInKey)
	for range 500 {
		if a := p.do("", "POST", signInKey+"/begin", nil); a.status != 200 || a.receipt != "" {
			t.Fatalf("%d, receipt %q", a.status, a.receipt)
		}
	}
	response := key.get(c)
	for _, handle := range []string{"", c.Handle + "A", "A" + c.Handle[1:], c.Handle[:len(c.Handle)-1], p.begin("", signInKey).Handle} {
		bad := c
		bad.Handle = handle
		if a := p.finish("", signInKey, bad, response, nil); a.status != 401 {
			t.Errorf("the handle %.10q: %d %s", handle, a.status, a.body)
		}
	}
	var in atomic.Int32
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if p.finish("", signInKey, c, response, nil).status == 200 {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	if in.Load() != 1 {
		t.Errorf("one answer let %d in", in.Load())
	}
}

// TestPasskeysNeedAName: under a number each use says why it does not work.
func TestPasskeysNeedAName(t *testing.T) {
	p := servePeopleAt(t, "https://192.0.2.1:8443")
	in := p.accept(p.link("/api/v1/setup-link", nil).Token, "olga")
	p.want(409, "need a name", in.Session, "POST", addKey+"/begin", nil)
	p.want(409, "need a name", "", "POST", signInKey+"/begin", nil)
}
