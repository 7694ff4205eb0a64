package seal

import (
	"fmt"
	"slices"

	"coffer/app/domain"
)

// Surroundings are what AutoPlan needs to know of the machine. The caller
// finds it out: this package reads no environment.
type Surroundings struct {
	TPM        error // what Probe said: nil if a usable TPM answers
	Credential bool  // systemd provided a key file
}

// Plan says how a start has to open the file.
type Plan struct {
	Kind    Kind            // the protector to use
	Sources []KeyfileSource // for Kind Keyfile: where key files are, each once
	Enrol   bool            // first start: there are no slots yet, make one
	Notices []string        // what to tell the operator, a sentence each
}

// AutoPlan is the rule of `--seal auto`. f is nil on a first start: then a TPM
// is used if a usable one answers, else a systemd credential, else a key file
// in the data directory, with a warning. Afterwards the strongest enrolled kind
// is used or nothing: if that is a TPM which does not answer, the error says
// why, and a weaker slot is not tried. People may open with such a slot, by
// naming it.
func AutoPlan(f *File, s Surroundings) (Plan, error) {
	if f == nil {
		return firstPlan(s), nil
	}
	kind := f.Strongest()
	if kind == TPM && s.TPM != nil {
		return Plan{}, &domain.Error{
			Kind: domain.Sealed,
			Msg:  fmt.Sprintf("the key slots are sealed to a TPM: %v", s.TPM),
			Hint: orElse(domain.HintOf(s.TPM), "open with the recovery key: coffer unseal"),
			Err:  s.TPM,
		}
	}
	p := Plan{Kind: kind}
	d := f.doc.Load()
	for i := range d.Slots {
		if d.Slots[i].Kind != kind {
			continue
		}
		if w := d.Slots[i].status().Warning; w != "" && !slices.Contains(p.Notices, w) {
			p.Notices = append(p.Notices, w)
		}
		if src, ok := keyfileSource(&d.Slots[i]); ok && !slices.Contains(p.Sources, src) {
			p.Sources = append(p.Sources, src)
		}
	}
	if TPM.StrongerThan(kind) && s.TPM == nil {
		p.Notices = append(p.Notices, "a TPM answers here and is not used; enrol it: coffer seal add tpm")
	}
	return p, nil
}

func firstPlan(s Surroundings) Plan {
	switch {
	case s.TPM == nil:
		return Plan{Kind: TPM, Enrol: true}
	case s.Credential:
		return Plan{Kind: Keyfile, Sources: []KeyfileSource{Credential}, Enrol: true, Notices: []string{"no TPM is used: " + s.TPM.Error()}}
	default:
		return Plan{Kind: Keyfile, Sources: []KeyfileSource{DataDirectory}, Enrol: true, Notices: []string{
			"no TPM is used: " + s.TPM.Error(), WarnKeyfileInDataDirectory,
		}}
	}
}

// Permit refuses to start unattended with a kind that is weaker than the
// strongest one enrolled (Conflict). Kinds for which a person types something
// are permitted always: nothing happens silently then.
func (f *File) Permit(k Kind) error {
	if best := f.Strongest(); !specs[k].attended && best.StrongerThan(k) {
		return domain.Errorf(domain.Conflict, "a %s slot is enrolled, and %s is weaker", best, k).
			WithHint("start with --seal %s, or open with the recovery key: coffer unseal", best)
	}
	return nil
}

func orElse(s, fallback string) string {
	if s != "" {
		return s
	}
	return fallback
}
