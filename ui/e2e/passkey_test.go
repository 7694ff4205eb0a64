package e2e_test

import (
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
