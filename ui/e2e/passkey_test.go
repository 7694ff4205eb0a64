package e2e_test

import (
	"testing"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

// withPasskeys plugs in an authenticator that is always touched and always sure
// who touches it.
func (p *tab) withPasskeys() {
	p.t.Helper()
	p.do(
		call(webauthn.Enable, webauthn.EnableParams{}),
		call(webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
		}}),
	)
}

// refusesPasskeys says with which error the browser refuses to make one here.
func (p *tab) refusesPasskeys() string {
	p.t.Helper()
	name, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](`navigator.credentials.create({
		signal: AbortSignal.timeout(3000),
		publicKey: {
			challenge: new Uint8Array(32), rp: {name: "Coffer"}, user: {id: new Uint8Array(16), name: "a", displayName: "a"},
			pubKeyCredParams: [{type: "public-key", alg: -7}, {type: "public-key", alg: -257}],
		},
	}).then(() => "", (e) => e.name + ": " + e.message)`, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatal(err)
	}
	return name
}

// TestPasskeys makes a passkey, signs in with it and proves with it that one is
// still there, under a name whose certificate the browser trusts.
func TestPasskeys(t *testing.T) {
	s := theSeeded(t)
	var link linked
	must(t, s.socket("", "POST", "/tenants/acme/invitations", object{"role": "viewer", "note": "passkeys"}, &link))

	p := s.tab(t)
	p.withPasskeys()
	p.open("/join#" + link.Token)
	p.until(`document.querySelector("[data-testid=accept]")`)
	p.fill("Name", "pia", "Password", password, "Password again", password)
	p.leave("Make the account")
	p.leave("Set up a passkey")
	if p.sees("recovery codes"); len(p.texts("[data-testid=codes] code")) == 0 {
		t.Error("no recovery codes came with the first factor")
	}
	p.leave("I have written them down")
	p.sees("Acme GmbH")

	p.leave("Sign out")
	p.leave("Sign in with a passkey")
	p.sees("Acme GmbH")
	p.open("/account")
	p.sees("Passkeys")
	p.sound()
}

// TestPasskeysAreNotOfferedAtAnAddress looks where browsers make none.
func TestPasskeysAreNotOfferedAtAnAddress(t *testing.T) {
	c := freshCoffer(t, "--name", "127.0.0.1")
	p := c.tab(t)
	p.open("/login")
	p.hasNot("data-passkey")
}
