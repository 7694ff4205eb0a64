package actions

import (
	"context"
	"time"

	"coffer/app/authn"
	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/tenants"
)

// AccountOut is what a person sees of the own account.
type AccountOut struct {
	Person            string           `json:"person"`
	Name              string           `json:"name"`
	Appliance         []domain.Role    `json:"appliance"`
	Password          bool             `json:"password"`
	TOTP              bool             `json:"totp"`
	Passkeys          []AccountPasskey `json:"passkeys"`
	RecoveryCodesLeft int              `json:"recovery_codes_left"`
	Tenants           []AccountTenant  `json:"tenants"`
}

// AccountPasskey is a passkey of the account.
type AccountPasskey struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
}

// AccountTenant is a tenant in which the person is a member.
type AccountTenant struct {
	Tenant domain.TenantID `json:"tenant"`
	Name   string          `json:"name"`
	Role   domain.Role     `json:"role"`
}

// Account shows the caller's own account.
var Account = Operation[Nothing, AccountOut]{
	action: authz.AccountShow,
	ask:    askNothing,
	act: func(ctx context.Context, c *call, _ Nothing) (AccountOut, error) {
		p, keys, err := c.self(ctx)
		if err != nil {
			return AccountOut{}, err
		}
		out := AccountOut{
			Person: p.ID, Name: p.Name, Appliance: append([]domain.Role{}, c.who.Subject.Appliance...),
			Passkeys: []AccountPasskey{}, Tenants: []AccountTenant{},
		}
		for _, k := range keys {
			out.Passkeys = append(out.Passkeys, AccountPasskey{k.ID, k.Name, k.Created})
		}
		err = c.db.View(ctx, func(tx *store.Tx) error {
			a, err := directory.FindAccount(tx, p.ID)
			if err != nil {
				return err
			}
			out.Password, out.TOTP, out.RecoveryCodesLeft = !a.Password.IsZero(), a.TOTP != nil, len(a.Recovery)
			members, err := directory.MembershipsOf(tx, p.ID, c.clock.Now())
			if err != nil {
				return err
			}
			for _, m := range members {
				r, err := tenants.Find(tx, m.Tenant)
				if err != nil {
					return err
				}
				out.Tenants = append(out.Tenants, AccountTenant{m.Tenant, r.Name, m.Role})
			}
			return nil
		})
		return out, err
	},
}

// TOTPSecret is the secret of an app that shows codes, this once: as people type
// it, and as the address that a picture carries.
type TOTPSecret struct {
	Secret domain.Disclosure `json:"secret"`
	URI    domain.Disclosure `json:"uri"`
}

// TOTPBegin makes a secret and shows it. It counts once a code of it came back.
var TOTPBegin = Operation[Nothing, TOTPSecret]{
	action: authz.AccountTOTP,
	ask:    askNothing,
	act: func(ctx context.Context, c *call, _ Nothing) (TOTPSecret, error) {
		p, _, err := c.self(ctx)
		if err != nil {
			return TOTPSecret{}, err
		}
		c.detail["step"] = "shown"
		if err := c.begin(ctx); err != nil {
			return TOTPSecret{}, err
		}
		secret := authn.NewTOTP()
		uri, err := authn.TOTPURI(secret, "Coffer", p.Name)
		if err != nil {
			return TOTPSecret{}, err
		}
		c.door.enrolling.Put(p.ID, secret)
		return TOTPSecret{Secret: domain.DiscloseText(authn.TOTPText(secret)), URI: domain.DiscloseText(uri)}, nil
	},
}

// TOTPConfirmIn is the first code of the app.
type TOTPConfirmIn struct {
	Code domain.Secret `json:"code"`
}

// RecoveryCodesOut is a set of recovery codes, shown this once; none if there are
// some already.
type RecoveryCodesOut struct {
	RecoveryCodes []domain.Disclosure `json:"recovery_codes,omitempty"`
}

// TOTPConfirm makes the app that was shown the secret the second factor, in place
// of one before.
var TOTPConfirm = Operation[TOTPConfirmIn, RecoveryCodesOut]{
	action: authz.AccountTOTP,
	ask:    func(context.Context, *Service, TOTPConfirmIn) (authz.Request, error) { return authz.Request{}, nil },
	act: func(ctx context.Context, c *call, in TOTPConfirmIn) (out RecoveryCodesOut, err error) {
		c.detail["step"] = "confirmed"
		me := c.who.Subject.Principal.ID
		attempt, err := c.door.guesses.Code(me, c.clock.Now())
		if err != nil {
			return out, err
		}
		secret, ok := c.door.enrolling.Look(me)
		if !ok {
			return out, domain.Errorf(domain.Conflict, "no app waits for its first code, or it took too long").WithHint("begin again")
		}
		step, ok := authn.TOTPStep(secret, in.Code, c.door.wall())
		if !ok {
			return out, domain.Fieldf("code", "not the code that the app shows now").
				WithHint("wait for the next one; if none is right, look at the clocks of the app and of the server")
		}
		attempt.Right()
		err = c.change(ctx, func(tx *store.Tx) error {
			a, err := directory.FindAccount(tx, me)
			if err != nil {
				return err
			}
			a.TOTP = &directory.TOTP{Secret: directory.Seal(secret), Step: step, Since: c.clock.Now().UTC()}
			if err := directory.PutAccount(tx, a); err != nil {
				return err
			}
			out.RecoveryCodes, err = c.enrolled(tx, me)
			return err
		})
		if err == nil {
			c.door.enrolling.Take(me)
		}
		return out, err
	},
}

// enrolled is what follows on a new second factor: the session counts as proven,
// and who has no recovery codes gets some.
func (c *call) enrolled(tx *store.Tx, person string) ([]domain.Disclosure, error) {
	if _, err := c.fresh(tx); err != nil {
		return nil, err
	}
	a, err := directory.FindAccount(tx, person)
	if err != nil || len(a.Recovery) > 0 {
		return nil, err
	}
	return newCodes(tx, a)
}

// newCodes gives an account new recovery codes.
func newCodes(tx *store.Tx, a directory.Account) (out []domain.Disclosure, err error) {
	codes, hashes := authn.NewRecoveryCodes()
	for _, code := range codes {
		out = append(out, domain.DiscloseText(code))
	}
	a.Recovery = hashes
	return out, directory.PutAccount(tx, a)
}

// RecoveryCodesNew makes new recovery codes. Those before open nothing any more.
var RecoveryCodesNew = Operation[Nothing, RecoveryCodesOut]{
	action: authz.AccountRecoveryCodes,
	ask:    askNothing,
	act: func(ctx context.Context, c *call, _ Nothing) (out RecoveryCodesOut, err error) {
		err = c.change(ctx, func(tx *store.Tx) error {
			a, err := directory.FindAccount(tx, c.who.Subject.Principal.ID)
			if err != nil {
				return err
			}
			factor, err := directory.HasFactor(tx, a)
			if err != nil {
				return err
			}
			if !factor {
				return domain.Errorf(domain.Conflict, "recovery codes stand in for a second factor, and there is none").WithHint("set one up first")
			}
			out.RecoveryCodes, err = newCodes(tx, a)
			return err
		})
		return out, err
	},
}

// PasswordChangeIn is the password before, empty if there was none, and the new
// one.
type PasswordChangeIn struct {
	Old domain.Secret `json:"old,omitzero"`
	New domain.Secret `json:"new"`
}

// PasswordChange changes the caller's password and ends the other sessions.
var PasswordChange = Operation[PasswordChangeIn, Nothing]{
	action: authz.AccountPassword,
	ask: func(_ context.Context, _ *Service, in PasswordChangeIn) (authz.Request, error) {
		return authz.Request{}, authn.CheckPassword("new", in.New)
	},
	act: func(ctx context.Context, c *call, in PasswordChangeIn) (Nothing, error) {
		me := c.who.Subject.Principal.ID
		attempt, err := c.door.guesses.Code(me, c.clock.Now())
		if err != nil {
			return Nothing{}, err
		}
		var before directory.Account
		if err := c.db.View(ctx, func(tx *store.Tx) (err error) {
			before, err = directory.FindAccount(tx, me)
			return err
		}); err != nil {
			return Nothing{}, err
		}
		if !before.Password.IsZero() {
			right, err := c.door.passwords.Verify(ctx, before.Password.Secret, in.Old, true)
			if err != nil {
				return Nothing{}, err
			}
			if !right {
				return Nothing{}, domain.Fieldf("old", "not your password")
			}
		}
		attempt.Right()
		hash, err := c.door.passwords.Hash(ctx, in.New)
		if err != nil {
			return Nothing{}, err
		}
		return Nothing{}, c.change(ctx, func(tx *store.Tx) error {
			a, err := directory.FindAccount(tx, me)
			if err != nil {
				return err
			}
			if !a.Password.Equal(before.Password.Secret) {
				return domain.Errorf(domain.Conflict, "the password was changed at this moment by somebody else").WithHint("look who that was")
			}
			a.Password = directory.Seal(hash)
			if err := directory.PutAccount(tx, a); err != nil {
				return err
			}
			c.detail["sessions_ended"], err = directory.EndSessions(tx, me, c.who.Subject.Session, c.clock.Now())
			return err
		})
	},
}
