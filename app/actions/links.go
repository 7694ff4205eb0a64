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
	"coffer/audit"
	"coffer/tenants"
)

// LinkOut is a new link; its text is shown this once, and belongs into the
// fragment of an address, which browsers send to nobody.
type LinkOut struct {
	Token   domain.Disclosure  `json:"token"`
	ID      string             `json:"id"`
	Kind    directory.LinkKind `json:"kind"`
	Tenant  domain.TenantID    `json:"tenant,omitempty"`
	Role    domain.Role        `json:"role,omitempty"`
	Expires time.Time          `json:"expires"`
	URL     domain.Disclosure  `json:"url,omitzero"` // where it is opened, if browsers reach the appliance
}

func (s *Service) linkOut(text domain.Secret, l directory.Link) LinkOut {
	out := LinkOut{Token: domain.DiscloseText(text), ID: l.ID, Kind: l.Kind, Tenant: l.Tenant, Role: l.Role, Expires: l.Expires}
	if s.door.origin != "" {
		out.URL = domain.DiscloseText(authn.LinkURL(s.door.origin, l.Kind, text))
	}
	return out
}

// SetupLink makes a link with which somebody becomes an operator.
var SetupLink = Operation[Nothing, LinkOut]{
	action:  authz.SetupLink,
	creates: true,
	ask:     askNothing,
	act: func(ctx context.Context, c *call, _ Nothing) (out LinkOut, err error) {
		err = c.change(ctx, func(tx *store.Tx) error {
			text, l, err := directory.AddLink(tx,
				directory.Link{Kind: directory.SetupLink, By: c.who.Subject.Principal.ID}, directory.SetupTTL, c.clock.Now())
			out = c.linkOut(text, l)
			return err
		})
		c.detail["link"] = out.ID
		return out, err
	},
}

// FirstSetupLink makes the link with which the first operator's account is made,
// in place of one before; made is false where there is such an account already.
func (s *Service) FirstSetupLink(ctx context.Context) (out LinkOut, made bool, err error) {
	first := func(tx *store.Tx) error {
		operators, err := directory.Operators(tx)
		made = len(operators) == 0
		return err
	}
	if err := s.db.View(ctx, first); err != nil || !made {
		return out, false, err
	}
	err = s.asSystem(ctx, authz.Request{Action: authz.SetupLink}, func(p *audit.Permit) error {
		intent, err := p.Intent(ctx, audit.Detail{"task": "the first operator"})
		if err != nil {
			return err
		}
		_, err = s.db.Update(ctx, func(tx *store.Tx) error {
			if err := first(tx); err != nil || !made {
				return err
			}
			if err := tx.Put(bucketIntents, intent[:], []byte(p.Action())); err != nil {
				return err
			}
			if err := directory.RemoveSetupLinks(tx, authn.SystemLink); err != nil {
				return err
			}
			text, l, err := directory.AddLink(tx,
				directory.Link{Kind: directory.SetupLink, By: authn.SystemLink}, directory.SetupTTL, s.clock.Now())
			out = s.linkOut(text, l)
			return err
		})
		if err == nil {
			s.finished(intent)
		}
		return err
	})
	return out, made && err == nil, err
}

// LinkHeld names a link by its text, which proves that one holds it.
type LinkHeld struct {
	Token domain.Secret `json:"token"`

	link directory.Link
}

// held finds the link. What is none is counted.
func (s *Service) held(ctx context.Context, who *Caller, text domain.Secret) (l directory.Link, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) (err error) {
		l, err = authn.Link(tx, text, s.clock.Now())
		return err
	})
	if errors.Is(err, authn.ErrLink) {
		s.log.Unauthenticated(who.Call.Source, "link")
	}
	return l, err
}

// holder is who holds a link and is nobody besides.
func holder(who *Caller, l directory.Link) {
	who.Subject, who.Call.Auth = authz.Subject{Principal: domain.Principal{Kind: domain.Nobody, ID: l.ID}}, "link"
}

func askLink(_ context.Context, _ *Service, in LinkHeld) (authz.Request, error) {
	return authz.Request{Tenant: in.link.Tenant, Resource: in.link.ID}, nil
}

// LinkInfo is what a link is for.
type LinkInfo struct {
	Kind       directory.LinkKind `json:"kind"`
	Tenant     domain.TenantID    `json:"tenant,omitempty"`
	TenantName string             `json:"tenant_name,omitempty"`
	Role       domain.Role        `json:"role,omitempty"`
	Name       string             `json:"name,omitempty"` // of the person who recovers
	Expires    time.Time          `json:"expires"`
}

// LinkShow shows what a link that one holds is for. It burns nothing.
var LinkShow = Operation[LinkHeld, LinkInfo]{
	action: authz.LinkShow,
	prove: func(ctx context.Context, s *Service, who *Caller, in *LinkHeld) (err error) {
		in.link, err = s.held(ctx, who, in.Token)
		holder(who, in.link)
		return err
	},
	ask: askLink,
	act: func(ctx context.Context, c *call, in LinkHeld) (LinkInfo, error) {
		l := in.link
		out := LinkInfo{Kind: l.Kind, Tenant: l.Tenant, Role: l.Role, Expires: l.Expires}
		err := c.db.View(ctx, func(tx *store.Tx) error {
			if l.Tenant != "" {
				r, err := tenants.Find(tx, l.Tenant)
				out.TenantName = r.Name
				return err
			}
			p, _, err := directory.PersonByID(tx, noneIfEmpty(l.Person))
			out.Name = p.Name
			return err
		})
		return out, err
	},
}

// noneIfEmpty makes an id that nobody has of an empty one.
func noneIfEmpty(id string) string {
	if id == "" {
		return nobodysID
	}
	return id
}

// LinkAcceptIn is the link with what the account will be signed in to.
type LinkAcceptIn struct {
	Token    domain.Secret `json:"token"`
	Name     string        `json:"name"` // may be empty to recover
	Password domain.Secret `json:"password"`

	link directory.Link
}

// LinkAccept makes an account, or gives one a new password, and begins a session
// that can set up the second factor. Of two that come at once one finds the link
// burnt.
var LinkAccept = Operation[LinkAcceptIn, SignedIn]{
	action: authz.LinkAccept,
	prove: func(ctx context.Context, s *Service, who *Caller, in *LinkAcceptIn) (err error) {
		in.link, err = s.held(ctx, who, in.Token)
		holder(who, in.link)
		return err
	},
	ask: func(_ context.Context, _ *Service, in LinkAcceptIn) (authz.Request, error) {
		if in.link.Kind != directory.RecoverLink || in.Name != "" {
			if _, err := domain.ParseName("name", in.Name); err != nil {
				return authz.Request{}, err
			}
		}
		return authz.Request{Tenant: in.link.Tenant, Resource: in.link.ID}, authn.CheckPassword("password", in.Password)
	},
	act: func(ctx context.Context, c *call, in LinkAcceptIn) (out SignedIn, err error) {
		c.detail["kind"] = string(in.link.Kind)
		hash, err := c.door.passwords.Hash(ctx, in.Password)
		if err != nil {
			return out, err
		}
		err = c.change(ctx, func(tx *store.Tx) error {
			l, err := authn.Link(tx, in.Token, c.clock.Now())
			if err != nil {
				return err
			}
			if err := directory.RemoveLink(tx, l); err != nil {
				return err
			}
			p, err := c.personOf(tx, l, in.Name)
			if err != nil {
				return err
			}
			a, err := directory.FindAccount(tx, p.ID)
			if err != nil {
				return err
			}
			a.Password = directory.Seal(hash)
			if l.Kind == directory.SetupLink && !a.HasRole(domain.Operator) {
				a.Appliance = append(a.Appliance, domain.Operator)
			}
			if err := directory.PutAccount(tx, a); err != nil {
				return err
			}
			out, err = c.newSession(tx, p.ID, 0, false)
			return err
		})
		if err == nil {
			c.detail["person"], c.detail["session"] = out.Person, out.Accessor
		}
		return out, err
	},
}

// personOf finds or makes the person for whom a link is.
func (c *call) personOf(tx *store.Tx, l directory.Link, name string) (p directory.Person, err error) {
	now := c.clock.Now()
	switch l.Kind {
	case directory.SetupLink:
		return c.operatorOf(tx, name)
	case directory.InvitationLink:
		if p, err = newPerson(tx, name, nil, now); err == nil {
			err = directory.SetMember(tx, directory.Member{Tenant: l.Tenant, Person: p.ID, Role: l.Role}, now)
		}
		return p, err
	}
	p, found, err := directory.PersonByID(tx, l.Person)
	switch {
	case err != nil:
		return p, err
	case !found:
		return p, authn.ErrLink
	case name != "" && name != p.Name:
		return p, domain.Fieldf("name", "the link is for somebody else").WithHint("leave the name out, or ask for another link")
	}
	return p, nil
}

// newPerson makes a person. Nobody becomes one that there is by knowing the name.
func newPerson(tx *store.Tx, name string, uid *uint32, now time.Time) (directory.Person, error) {
	p, err := directory.AddPerson(tx, name, uid, now)
	if domain.KindOf(err) == domain.Conflict {
		return p, domain.Fieldf("name", "%q is taken", name).WithHint("choose another; if it is you, sign in and open the link then")
	}
	return p, err
}

// operatorOf makes an operator. The first one is the person whom the local socket
// knows as the user that runs the appliance, so that both are one; whoever has an
// account stays who that is.
func (c *call) operatorOf(tx *store.Tx, name string) (p directory.Person, err error) {
	now := c.clock.Now()
	operators, err := directory.Operators(tx)
	if err != nil {
		return p, err
	}
	if len(operators) > 0 {
		return newPerson(tx, name, nil, now)
	}
	if err := directory.RemoveSetupLinks(tx, authn.SystemLink); err != nil {
		return p, err
	}
	p, found, err := directory.PersonByUID(tx, c.door.uid)
	if err != nil {
		return p, err
	}
	if !found {
		return newPerson(tx, name, &c.door.uid, now)
	}
	a, err := directory.FindAccount(tx, p.ID)
	if err != nil {
		return p, err
	}
	if can, err := directory.CanSignIn(tx, a); err != nil || can {
		if err == nil {
			p, err = newPerson(tx, name, nil, now)
		}
		return p, err
	}
	p, err = directory.RenamePerson(tx, p, name)
	if domain.KindOf(err) == domain.Conflict {
		err = domain.Fieldf("name", "%q is taken", name).WithHint("choose another")
	}
	return p, err
}
