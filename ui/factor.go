package ui

import (
	"strings"

	"coffer/app/actions"
	"coffer/app/domain"
)

// factorView sets up the second factor: with an app that shows codes, or with a
// passkey where the host name allows it.
type factorView struct {
	base
	form
	First   bool // the account has none yet
	Begun   bool // a secret was made and waits for its first code
	Secret  string
	URI     string
	QR      qrCode
	CanPass bool
}

// Groups is the secret in groups of four, as one types it.
func (v factorView) Groups() string {
	var out []string
	for s := v.Secret; s != ""; {
		n := min(4, len(s))
		out, s = append(out, s[:n]), s[n:]
	}
	return strings.Join(out, " ")
}

func (u *UI) factor(r *request) error { return r.factorPage(factorView{}) }

func (r *request) factorPage(v factorView) error {
	v.base, v.First, v.CanPass = r.base("Set up your second factor"), r.who.Subject.Limited, r.passkeys()
	return r.render(v.status(), "factor", v)
}

func (u *UI) totpBegin(r *request) error {
	out, err := do(r, actions.TOTPBegin, actions.Nothing{})
	if err != nil {
		f, err := r.refused("totp", err)
		if err != nil {
			return err
		}
		return r.factorPage(factorView{form: f})
	}
	v := factorView{Begun: true, Secret: string(out.Secret.Reveal()), URI: string(out.URI.Reveal())}
	if v.QR, err = newQR(out.URI.Secret); err != nil {
		return err
	}
	return r.factorPage(v)
}

func (u *UI) totpConfirm(r *request) error {
	out, err := do(r, actions.TOTPConfirm, actions.TOTPConfirmIn{Code: domain.SecretString(r.text("code"))})
	if err != nil {
		f, err := r.refused("confirm", err)
		if err != nil {
			return err
		}
		return r.factorPage(factorView{form: f, Begun: true})
	}
	return r.codesPage(out.RecoveryCodes)
}

// passkeyAddBegin gives a challenge for a new passkey, as JSON for our script.
func (u *UI) passkeyAddBegin(r *request) error {
	out, err := do(r, actions.PasskeyAddBegin, actions.Nothing{})
	if err != nil {
		return err
	}
	return r.JSON(out)
}

func (u *UI) passkeyAdd(r *request) error {
	out, err := do(r, actions.PasskeyAdd, actions.PasskeyAddIn{
		Handle: r.text("handle"), Name: r.text("name"), Response: []byte(r.form.Get("passkey")),
	})
	if err != nil {
		f, err := r.refused("passkey", err)
		if err != nil {
			return err
		}
		if r.who.Subject.Limited {
			return r.factorPage(factorView{form: f})
		}
		return r.accountPage(f)
	}
	if len(out.RecoveryCodes) == 0 {
		return r.seeOther("/account", "passkey-added")
	}
	return r.codesPage(out.RecoveryCodes)
}

// codesView shows recovery codes, this once.
type codesView struct {
	base
	Codes []string
	Next  string
}

func (u *UI) codesNew(r *request) error {
	out, err := do(r, actions.RecoveryCodesNew, actions.Nothing{})
	if err != nil {
		return r.accountDone("codes", "", err)
	}
	return r.codesPage(out.RecoveryCodes)
}

func (r *request) codesPage(codes []domain.Disclosure) error {
	if len(codes) == 0 {
		return r.seeOther("/account", "enrolled")
	}
	r.who.Subject.Limited = false // the page has its frame from now on
	v := codesView{base: r.base("Your recovery codes"), Next: "/"}
	for _, c := range codes {
		v.Codes = append(v.Codes, string(c.Reveal()))
	}
	return r.show("codes", v)
}
