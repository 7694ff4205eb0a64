package actions

import (
	"context"
	"encoding/json"
	"errors"

	"coffer/app/authn"
	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
)

// PasskeyChallenge is what a browser hands to the authenticator. Handle comes
// back with the answer.
type PasskeyChallenge struct {
	Challenge json.RawMessage `json:"challenge"`
	Handle    string          `json:"handle"`
}

func challengeOut(c authn.Challenge, err error) (PasskeyChallenge, error) {
	return PasskeyChallenge{Challenge: c.Options, Handle: c.Handle}, err
}

// PasskeyResponse is the authenticator's answer to a challenge.
type PasskeyResponse struct {
	Handle   string          `json:"handle"`
	Response json.RawMessage `json:"response"`
}

// PasskeySignInBegin gives a challenge to sign in with. It is the one operation of
// which no event is written: anybody can ask for it, and it is worth nothing
// without a passkey.
var PasskeySignInBegin = Operation[Nothing, PasskeyChallenge]{
	action: authz.SessionCreate,
	answer: func(_ context.Context, s *Service, _ Caller) (PasskeyChallenge, error) {
		return challengeOut(s.door.passkeys.BeginSignIn())
	},
}

// PasskeySignInIn is the authenticator's answer, and the device.
type PasskeySignInIn struct {
	Handle   string          `json:"handle"`
	Response json.RawMessage `json:"response"`
	Device   domain.Secret   `json:"device,omitzero"`

	proof *proof
}

// PasskeySignIn begins a browser's session with a passkey alone, which is two
// factors at once.
var PasskeySignIn = Operation[PasskeySignInIn, SignedIn]{
	action: authz.SessionCreate,
	prove: func(ctx context.Context, s *Service, who *Caller, in *PasskeySignInIn) error {
		shown, err := s.door.passkeys.FinishSignIn(ctx, s.db, in.Handle, in.Response)
		if errors.Is(err, authn.ErrPasskey) {
			s.log.Unauthenticated(who.Call.Source, "sign-in")
			return domain.BadCredential("the passkey was not accepted, or took too long").WithHint("try again, or sign in with name, password and code")
		}
		if err != nil {
			return err
		}
		p := &proof{factor: true, spend: shown.Spend}
		err = s.db.View(ctx, func(tx *store.Tx) error {
			if p.account, err = directory.FindAccount(tx, shown.Person); err != nil {
				return err
			}
			p.known, err = directory.KnowsDevice(tx, shown.Person, in.Device, s.clock.Now())
			return err
		})
		in.proof, who.Call.Auth = p, "passkey"
		who.Subject = authz.Subject{Principal: domain.Principal{Kind: domain.Person, ID: shown.Person}}
		return err
	},
	ask: func(context.Context, *Service, PasskeySignInIn) (authz.Request, error) { return authz.Request{}, nil },
	act: func(ctx context.Context, c *call, in PasskeySignInIn) (SignedIn, error) {
		return c.signIn(ctx, in.proof, 0)
	},
}

// self finds the caller with the passkeys.
func (c *call) self(ctx context.Context) (p directory.Person, keys []directory.Passkey, err error) {
	err = c.db.View(ctx, func(tx *store.Tx) error {
		var found bool
		if p, found, err = directory.PersonByID(tx, c.who.Subject.Principal.ID); err != nil || !found {
			return errors.Join(err, domain.Errorf(domain.Denied, "only a person has an account"))
		}
		keys, err = directory.Passkeys(tx, p.ID)
		return err
	})
	return p, keys, err
}

// PasskeyAddBegin gives a challenge for a further passkey.
var PasskeyAddBegin = Operation[Nothing, PasskeyChallenge]{
	action: authz.AccountPasskey,
	ask:    askNothing,
	act: func(ctx context.Context, c *call, _ Nothing) (PasskeyChallenge, error) {
		p, keys, err := c.self(ctx)
		if err != nil {
			return PasskeyChallenge{}, err
		}
		out, err := challengeOut(c.door.passkeys.BeginAdd(p, keys))
		if err != nil {
			return out, err
		}
		c.detail["step"] = "begun"
		return out, c.begin(ctx)
	},
}

// PasskeyAddIn is the authenticator's answer, with a name for people.
type PasskeyAddIn struct {
	Handle   string          `json:"handle"`
	Name     string          `json:"name"`
	Response json.RawMessage `json:"response"`
}

// PasskeyAdded is a new passkey, with recovery codes if there were none, which
// are shown this once.
type PasskeyAdded struct {
	ID            string              `json:"id"`
	Name          string              `json:"name"`
	RecoveryCodes []domain.Disclosure `json:"recovery_codes,omitempty"`
}

// PasskeyAdd adds the passkey that the authenticator made.
var PasskeyAdd = Operation[PasskeyAddIn, PasskeyAdded]{
	action: authz.AccountPasskey,
	ask: func(_ context.Context, _ *Service, in PasskeyAddIn) (authz.Request, error) {
		_, err := domain.ParseText("name", in.Name, domain.MaxDisplayName)
		return authz.Request{}, err
	},
	act: func(ctx context.Context, c *call, in PasskeyAddIn) (out PasskeyAdded, err error) {
		p, _, err := c.self(ctx)
		if err != nil {
			return out, err
		}
		key, err := c.door.passkeys.FinishAdd(p, in.Handle, in.Response)
		if err != nil {
			return out, err
		}
		if key.Name, err = domain.ParseText("name", in.Name, domain.MaxDisplayName); err != nil {
			return out, err
		}
		err = c.change(ctx, func(tx *store.Tx) error {
			k, err := directory.AddPasskey(tx, p.ID, key, c.clock.Now())
			if err != nil {
				return err
			}
			out = PasskeyAdded{ID: k.ID, Name: k.Name}
			out.RecoveryCodes, err = c.enrolled(tx, p.ID)
			return err
		})
		c.detail["step"], c.detail["passkey"] = "added", out.ID
		return out, err
	},
}

// PasskeyRef names a passkey of the caller.
type PasskeyRef struct {
	ID string `path:"id" json:"-"`
}

// PasskeyRemove removes a passkey, but never the last second factor.
var PasskeyRemove = Operation[PasskeyRef, Nothing]{
	action: authz.AccountPasskey,
	ask: func(_ context.Context, _ *Service, in PasskeyRef) (authz.Request, error) {
		_, err := parseRef("id", in.ID, "pk_")
		return authz.Request{Resource: in.ID}, err
	},
	act: func(ctx context.Context, c *call, in PasskeyRef) (Nothing, error) {
		c.detail["step"] = "removed"
		return Nothing{}, c.change(ctx, func(tx *store.Tx) error {
			me := c.who.Subject.Principal.ID
			if err := directory.RemovePasskey(tx, me, in.ID); err != nil {
				return err
			}
			a, err := directory.FindAccount(tx, me)
			if err != nil {
				return err
			}
			factor, err := directory.HasFactor(tx, a)
			if err == nil && !factor {
				err = domain.Errorf(domain.Conflict, "this is your only second factor").WithHint("set another one up first")
			}
			return err
		})
	},
}

// PasskeyStepUpBegin gives a challenge to prove oneself again with.
var PasskeyStepUpBegin = Operation[Nothing, PasskeyChallenge]{
	action: authz.SessionStepUp,
	ask:    askNothing,
	act: func(ctx context.Context, c *call, _ Nothing) (PasskeyChallenge, error) {
		if _, err := c.session(); err != nil {
			return PasskeyChallenge{}, err
		}
		p, keys, err := c.self(ctx)
		if err != nil {
			return PasskeyChallenge{}, err
		}
		out, err := challengeOut(c.door.passkeys.BeginStepUp(p, keys))
		if err != nil {
			return out, err
		}
		c.detail["step"] = "begun"
		return out, c.begin(ctx)
	},
}

// PasskeyStepUp proves the second factor again with a passkey.
var PasskeyStepUp = Operation[PasskeyResponse, Fresh]{
	action: authz.SessionStepUp,
	ask: func(context.Context, *Service, PasskeyResponse) (authz.Request, error) {
		return authz.Request{}, nil
	},
	act: func(ctx context.Context, c *call, in PasskeyResponse) (Fresh, error) {
		c.detail["method"] = "passkey"
		shown, err := c.door.passkeys.FinishStepUp(ctx, c.db, c.who.Subject.Principal.ID, in.Handle, in.Response)
		if err != nil {
			return Fresh{}, err
		}
		return c.refresh(ctx, shown.Spend)
	},
}
