package ui

import (
	"errors"
	"maps"
	"slices"

	"github.com/gofiber/fiber/v2"

	"coffer/app/actions"
	"coffer/app/domain"
)

// proofView asks for the second factor again before something that deserves it.
// The page sends the form that was refused once more, with the code, to where it
// was sent before: nothing is kept on the server, and what was secret in it is
// asked for again.
type proofView struct {
	base
	form
	Action   string   // where the form goes
	Words    string   // what is about to be done
	Hidden   []hidden // what was typed, without secrets
	Again    []field  // secrets, to be typed again
	Passkeys bool
	Back     string
}

type hidden struct{ Name, Value string }

// Fields of the proof beside those of the form itself.
const (
	proofCode    = "proof-code"
	proofHandle  = "proof-handle"
	proofPasskey = "proof-passkey"
)

// againLabels are the labels of secrets that may have to be typed again.
var againLabels = map[string]string{
	"old": "Your password now", "new": "The new password", "again": "The new password again",
	"secret": "Passphrase", "characters": "The two groups of the recovery key", "code": "Code of the new device",
	"group1": "First group of the recovery key", "group2": "Second group of the recovery key",
}

// withProof runs the handler of a form. With a code the second factor is proven
// first; without one, an action that wants it leads to the page that asks for it.
func (u *UI) withProof(handle func(*request) error) func(*request) error {
	return func(r *request) error {
		if err := r.prove(); err != nil {
			return r.askProof(err)
		}
		err := handle(r)
		if domain.KindOf(err) == domain.StepUp && r.Method() == post {
			return r.askProof(nil)
		}
		return err
	}
}

// prove proves the second factor if the form has a code or a passkey's answer.
func (r *request) prove() error {
	code, passkey, handle := r.text(proofCode), r.form.Get(proofPasskey), r.form.Get(proofHandle)
	given := code != "" || passkey != ""
	tried := r.form.Has(proofCode)
	r.form.Del(proofCode)
	r.form.Del(proofPasskey)
	r.form.Del(proofHandle)
	var err error
	switch {
	case passkey != "":
		_, err = do(r, actions.PasskeyStepUp, actions.PasskeyResponse{Handle: handle, Response: []byte(passkey)})
	case code != "":
		_, err = do(r, actions.StepUp, actions.StepUpIn{Code: domain.SecretString(code)})
	case tried && !given:
		return domain.Fieldf("code", "type the code that your app shows")
	}
	if err != nil {
		return err
	}
	return r.know(r.ui.cookie(r.Ctx, sessionCookie)) // what it may now
}

// askProof answers with the page that asks for the second factor.
func (r *request) askProof(wrong error) error {
	v := proofView{
		Action: r.Path(), Words: proofWords[r.Route().Path], Back: refererPath(r.Ctx), Passkeys: r.passkeys(),
		form: form{Which: "proof"},
	}
	if wrong != nil {
		p, ok := problem(wrong)
		if !ok && (!errors.As(wrong, &p) || p.Kind != domain.Denied) {
			return wrong
		}
		v.form = form{Which: "proof", Msg: sentenceOf(p), Hint: domain.HintOf(wrong), Wrong: proofCode}
	}
	for _, name := range slices.Sorted(maps.Keys(r.form)) {
		for _, value := range r.form[name] {
			if label, secret := againLabels[name]; secret {
				v.Again = append(v.Again, v.Secret(name, label, "off").Required())
			} else if !secretFields[name] {
				v.Hidden = append(v.Hidden, hidden{name, value})
			}
		}
	}
	v.base = r.base("Is it you?")
	return r.render(fiber.StatusForbidden, "proof", v)
}

// proofWords say what the second factor is asked for, by route.
var proofWords = map[string]string{
	"/clients/:tenant/secret/reveal":  "to show a secret's value",
	"/clients/:tenant/secret/destroy": "to destroy a version for good",
	"/clients/:tenant/people":         "to make somebody a member",
	"/clients/:tenant/people/role":    "to change a role",
	"/clients/:tenant/people/remove":  "to remove a member",
	"/clients/:tenant/invitations":    "to invite somebody",
	"/clients/:tenant/destroy":        "to destroy a client for good",
	"/clients/:tenant/break-glass":    "to break the glass",
	"/seal/slots":                     "to add a key slot",
	"/seal/slots/remove":              "to remove a key slot",
	"/seal/rotate":                    "to replace the root key",
	"/seal/recovery":                  "to make a recovery key",
	"/seal/recovery/confirm":          "to confirm the recovery key",
	"/people/role":                    "to change a role on the appliance",
	"/account/password":               "to change your password",
	"/account/totp":                   "to set up another device",
	"/account/totp/confirm":           "to set up another device",
	"/account/passkeys":               "to add a passkey",
	"/account/passkeys/remove":        "to remove a passkey",
	"/account/recovery-codes":         "to make new recovery codes",
}
