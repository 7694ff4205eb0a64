package actions

import (
	"context"
	"errors"
	"time"

	"coffer/app/authn"
	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
)

// SignInIn is what somebody shows to sign in, all of it at once. A TTL asks for a
// session that lasts so long and no longer, as programs want; without one it is a
// browser's, which also ends when it is not used.
type SignInIn struct {
	Name     string        `json:"name"`
	Password domain.Secret `json:"password"`
	Code     domain.Secret `json:"code,omitzero"`   // of the app, or a recovery code
	Device   domain.Secret `json:"device,omitzero"` // what a sign-in gave before
	TTL      Duration      `json:"ttl,omitempty"`

	proof *proof
}

// proof is what was found right about somebody who signs in.
type proof struct {
	account directory.Account
	factor  bool // there is a second factor, and it was proven
	known   bool // the device was
	spend   func(*store.Tx) error
}

// SignedIn is a session that began; its text is shown this once.
type SignedIn struct {
	Session  domain.Disclosure `json:"session"`
	Accessor string            `json:"accessor"`
	Expires  time.Time         `json:"expires"`
	Limited  bool              `json:"limited"`         // until the person has a second factor
	Device   domain.Disclosure `json:"device,omitzero"` // for the device to show next time
	Person   string            `json:"person"`
	Name     string            `json:"name"`
}

// ErrSignIn is the answer to every sign-in that fails: an unknown name, a wrong
// password and a wrong code look the same, and take as long.
var ErrSignIn = domain.BadCredential("name, password and code do not belong together").
	WithHint("look at each of them, and at the clocks of the app and of the server; who lost one can be let in again: coffer admin recover NAME")

// SignIn begins a session with name, password and the code of the second factor.
var SignIn = Operation[SignInIn, SignedIn]{
	action: authz.SessionCreate,
	prove: func(ctx context.Context, s *Service, who *Caller, in *SignInIn) (err error) {
		if _, err := domain.ParseName("name", in.Name); err != nil {
			return err
		}
		if _, err := domain.ParseTTL(time.Duration(in.TTL)); err != nil {
			return err
		}
		if in.proof, who.Call.Auth, err = s.signIn(ctx, *who, *in); err != nil {
			return err
		}
		who.Subject = authz.Subject{Principal: domain.Principal{Kind: domain.Person, ID: in.proof.account.Person}}
		return nil
	},
	ask: func(context.Context, *Service, SignInIn) (authz.Request, error) { return authz.Request{}, nil },
	act: func(ctx context.Context, c *call, in SignInIn) (SignedIn, error) {
		return c.signIn(ctx, in.proof, time.Duration(in.TTL))
	},
}

// nobodysID stands for the person where there is none of the name, so that the
// same is looked up.
const nobodysID = "-"

// signIn looks at all that was shown, whatever is wrong with it.
func (s *Service) signIn(ctx context.Context, who Caller, in SignInIn) (*proof, string, error) {
	p := &proof{}
	now := s.clock.Now()
	err := s.db.View(ctx, func(tx *store.Tx) error {
		person, found, err := directory.PersonByName(tx, in.Name)
		if err != nil {
			return err
		}
		if !found {
			person.ID = nobodysID
		}
		if p.account, err = directory.FindAccount(tx, person.ID); err != nil {
			return err
		}
		if p.factor, err = directory.HasFactor(tx, p.account); err != nil {
			return err
		}
		p.known, err = directory.KnowsDevice(tx, person.ID, in.Device, now)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	var attempt authn.Attempt
	if p.known {
		attempt, err = s.door.guesses.Device(p.account.Person, in.Device, now)
	} else {
		attempt, err = s.door.guesses.Stranger(who.Call.Source, in.Name, now)
	}
	if err != nil {
		s.log.Unauthenticated(who.Call.Source, "sign-in, too many attempts")
		return nil, "", err
	}
	right, err := s.door.passwords.Verify(ctx, p.account.Password.Secret, in.Password, p.known)
	if err != nil {
		return nil, "", err
	}
	spent, shown := authn.CheckCode(p.account, in.Code, s.door.wall())
	if !right || p.factor && !shown {
		s.log.Unauthenticated(who.Call.Source, "sign-in")
		return nil, "", ErrSignIn
	}
	attempt.Right()
	auth := "password"
	if p.factor {
		p.spend, auth = spent.Spend, auth+"+"+spent.Method
	}
	return p, auth, nil
}

// signIn begins the session of somebody who was proven, unless what proved it was
// used or changed since.
func (c *call) signIn(ctx context.Context, p *proof, ttl time.Duration) (out SignedIn, err error) {
	err = c.change(ctx, func(tx *store.Tx) error {
		a, err := directory.FindAccount(tx, p.account.Person)
		if err != nil {
			return err
		}
		factor, err := directory.HasFactor(tx, a)
		if err != nil {
			return err
		}
		if factor != p.factor || !a.Password.Equal(p.account.Password.Secret) {
			return ErrSignIn
		}
		if p.spend != nil {
			if err := p.spend(tx); err != nil {
				return errors.Join(ErrSignIn, err)
			}
		}
		out, err = c.newSession(tx, p.account.Person, ttl, p.known)
		return err
	})
	if err == nil {
		c.detail["session"], c.detail["expires"] = out.Accessor, out.Expires
	}
	return out, err
}

// newSession begins a person's session. Whatever proved the person proved the
// second factor, if there is one.
func (c *call) newSession(tx *store.Tx, id string, ttl time.Duration, known bool) (out SignedIn, err error) {
	now := c.clock.Now()
	p, found, err := directory.PersonByID(tx, id)
	if err != nil || !found {
		return out, errors.Join(err, ErrSignIn)
	}
	a, err := directory.FindAccount(tx, id)
	if err != nil {
		return out, err
	}
	a.SignedIn = now.UTC()
	if err := directory.PutAccount(tx, a); err != nil {
		return out, err
	}
	factor, err := directory.HasFactor(tx, a)
	if err != nil {
		return out, err
	}
	s := directory.Session{Person: id, Expires: now.Add(ttl), Source: c.who.Call.Source, Client: c.who.Call.Client}
	if ttl == 0 {
		s.Expires, s.Idle = now.Add(authn.BrowserTTL), authn.BrowserIdle
	}
	if factor {
		s.Fresh = now.Add(authn.FreshFor).UTC()
	}
	text, s, err := directory.AddSession(tx, s, now)
	if err != nil {
		return out, err
	}
	out = SignedIn{Session: domain.DiscloseText(text), Accessor: s.Accessor, Expires: s.Expires, Limited: !factor, Person: id, Name: p.Name}
	if !known && ttl == 0 { // programs keep none, and would push the browsers' out
		var device domain.Secret
		device, err = directory.AddDevice(tx, id, now)
		out.Device = domain.DiscloseText(device)
	}
	return out, err
}

// SessionIssueIn asks for a session at the socket.
type SessionIssueIn struct {
	TTL Duration `json:"ttl,omitempty"` // 1 h if zero, 24 h at most
}

// SessionIssue begins a session of the person at the socket, for the command line
// elsewhere. It is an operator's, as one is at the socket, and asks for the second
// factor once the person has one.
var SessionIssue = Operation[SessionIssueIn, SignedIn]{
	action: authz.SessionIssue,
	ask: func(_ context.Context, _ *Service, in SessionIssueIn) (authz.Request, error) {
		_, err := domain.ParseTTL(time.Duration(in.TTL))
		return authz.Request{}, err
	},
	act: func(ctx context.Context, c *call, in SessionIssueIn) (out SignedIn, err error) {
		ttl, err := domain.ParseTTL(time.Duration(in.TTL))
		if err != nil {
			return out, err
		}
		err = c.change(ctx, func(tx *store.Tx) error {
			now := c.clock.Now()
			p, found, err := directory.PersonByID(tx, c.who.Subject.Principal.ID)
			if err != nil || !found {
				return errors.Join(err, domain.Errorf(domain.Denied, "only a person can have a session"))
			}
			text, s, err := directory.AddSession(tx, directory.Session{
				Person: p.ID, Expires: now.Add(ttl), Local: true, Source: c.who.Call.Source, Client: c.who.Call.Client,
			}, now)
			out = SignedIn{Session: domain.DiscloseText(text), Accessor: s.Accessor, Expires: s.Expires, Person: p.ID, Name: p.Name}
			return err
		})
		c.detail["session"], c.detail["expires"] = out.Accessor, out.Expires
		return out, err
	},
}
