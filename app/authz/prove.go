package authz

import (
	"time"

	"coffer/app/domain"
)

// Prove says whether how the caller proved who it is suffices for an action that
// it may do: a person who has no second factor yet can do nothing but set one up,
// and what is hard to undo wants the factor to have been proven lately. A refusal
// is a *Denied, of kind StepUp where another proof would help.
//
// factor says, for somebody at the socket, whether the person has a second factor.
func Prove(s Subject, r Request, factor bool, now time.Time) error {
	info := byAction[r.Action]
	if s.Limited {
		if info.Limited {
			return nil
		}
		return &Denied{Subject: s, Request: r, err: domain.Errorf(domain.Denied, "this account has no second factor yet").
			WithHint("set one up first: an app that shows codes, or a passkey")}
	}
	asked := s.Session != "" || info.Always && s.AtSocket() && factor
	if !info.StepUp && !r.Lets || !asked || now.Before(s.Fresh) {
		return nil
	}
	return &Denied{Subject: s, Request: r, err: domain.Errorf(domain.StepUp, "%s wants your second factor", r.Action).
		WithHint("prove it again, then ask again; at the command line: --code CODE")}
}

// AsksSocket says whether an action can ask somebody at the socket for a proof.
func AsksSocket(a domain.Action) bool { return byAction[a].Always }

// Because gives the refusal another reason.
func (d *Denied) Because(err *domain.Error) *Denied {
	return &Denied{Subject: d.Subject, Request: d.Request, Foreign: d.Foreign, err: err}
}
