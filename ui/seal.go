package ui

import (
	"strconv"
	"strings"
	"time"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
)

// sealView says what opens the appliance, and makes and takes away key slots.
type sealView struct {
	base
	form
	Kind     string
	Recovery bool // a recovery key is confirmed
	Slots    []slotRow
	Failed   int

	Rotations []rotationRow
	Stopped   bool // one of them stopped or waits
}

type slotRow struct {
	ID, Kind, Name, Detail, Warning string
	Created                         time.Time
	Words                           string // what the kind is
}

// slotWords say what each kind of slot is.
var slotWords = map[string]string{
	"tpm":        "The chip of this machine opens the appliance at every start, without a person.",
	"passphrase": "A person types a passphrase at every start.",
	"keyfile":    "A file opens the appliance at every start. Who has the file and the data has everything.",
	"recovery":   "The printed key opens everything when nothing else does.",
}

func (u *UI) seal(r *request) error {
	if err := r.offer(authz.SealAdd); err != nil {
		return err
	}
	return r.sealPage(form{})
}

func (r *request) sealPage(f form) error {
	state := r.ui.gate.Status()
	v := sealView{
		base: r.base("Seal and recovery"), form: f, Kind: string(state.Kind), Recovery: state.Recovery, Failed: state.FailedAttempts,
	}
	v.Slots = slotRows(state.Slots)
	list, err := do(r, actions.RotateStatus, actions.Nothing{})
	if err != nil {
		return err
	}
	v.Rotations = rotationRows(list.Rotations)
	for _, o := range list.Rotations {
		v.Stopped = v.Stopped || o.State == "failed" || o.State == "waiting"
	}
	return r.render(f.status(), "seal", v)
}

func slotRows(slots []actions.SlotInfo) (out []slotRow) {
	for _, s := range slots {
		out = append(out, slotRow{s.ID, string(s.Kind), s.Name, s.Detail, s.Warning, s.Created, slotWords[string(s.Kind)]})
	}
	return out
}

// sealDone leads back to the page, or shows it with what is wrong.
func (r *request) sealDone(which, done string, err error) error {
	if err != nil {
		f, err := r.refused(which, err)
		if err != nil {
			return err
		}
		return r.sealPage(f)
	}
	return r.seeOther("/seal", done)
}

func (u *UI) slotAdd(r *request) error {
	in := actions.SealAddIn{Kind: r.text("kind"), Name: r.text("name"), Secret: r.secret("secret")}
	if in.Kind == "passphrase" && !in.Secret.Equal(r.secret("again")) {
		return r.sealDone("slot", "", domain.Fieldf("again", "the passphrase was not typed twice the same"))
	}
	_, err := do(r, actions.SealAdd, in)
	return r.sealDone("slot", "slot-added", err)
}

func (u *UI) slotRemove(r *request) error {
	_, err := do(r, actions.SealRemove, actions.SlotRef{Slot: r.text("slot")})
	return r.sealDone("remove", "slot-removed", err)
}

func (u *UI) sealRotate(r *request) error {
	out, err := do(r, actions.SealRotate, actions.SealRotateIn{Secret: r.secret("secret")})
	if err != nil {
		return r.sealDone("rotate", "", err)
	}
	if out.Recovery == nil {
		return r.seeOther("/seal", "rotated")
	}
	return r.recoveryPage(form{}, out.Recovery, true)
}

// recoveryView is the page that is printed: a recovery key, shown this once, and
// the form that asks for two groups of it.
type recoveryView struct {
	base
	form
	Groups   []group // the key; empty when it was typed back wrongly
	First    int
	Second   int
	Rotated  bool // the key holds already: it came of replacing the root key
	Instance string
	Made     time.Time
}

type group struct {
	Number int
	Text   string
	Check  bool // it has to be typed back
}

func (u *UI) recoveryMake(r *request) error {
	out, err := do(r, actions.SealRecovery, actions.Nothing{})
	if err != nil {
		return r.sealDone("recovery", "", err)
	}
	return r.recoveryPage(form{}, &out, false)
}

func (r *request) recoveryPage(f form, out *actions.RecoveryOut, rotated bool) error {
	v := recoveryView{base: r.base("Recovery key"), form: f, Rotated: rotated, Made: r.ui.opts.Now(), Instance: r.ui.opts.URL}
	if out != nil {
		v.First, v.Second = out.Groups[0], out.Groups[1]
		for i, text := range strings.Split(string(out.Key.Reveal()), "-") {
			v.Groups = append(v.Groups, group{i + 1, text, i+1 == v.First || i+1 == v.Second})
		}
	}
	if v.First == 0 {
		v.First, _ = strconv.Atoi(r.text("first"))
		v.Second, _ = strconv.Atoi(r.text("second"))
	}
	return r.render(f.status(), "recovery", v)
}

func (u *UI) recoveryConfirm(r *request) error {
	typed := r.form.Get("characters")
	if typed == "" {
		typed = r.form.Get("group1") + " " + r.form.Get("group2")
	}
	_, err := do(r, actions.SealRecoveryConfirm, actions.RecoveryConfirmIn{Characters: domain.SecretString(typed)})
	if err != nil {
		f, err := r.refused("confirm", err)
		if err != nil {
			return err
		}
		return r.recoveryPage(f, nil, false)
	}
	return r.seeOther("/seal", "recovery")
}
