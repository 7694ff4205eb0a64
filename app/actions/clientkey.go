package actions

import (
	"cmp"
	"context"
	"errors"
	"time"

	"coffer/app/alerts"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/vault"
)

// How long a client-held key opens.
const (
	DefaultClientOpen = 8 * time.Hour
	MaxClientOpen     = 24 * time.Hour
	minClientOpen     = time.Minute
)

// ClientKeyWords have to be typed by whoever closes a tenant under a key that
// nobody can replace.
const ClientKeyWords = "if this key is lost, everything in it is lost"

// ClientKeyWarning says beforehand, and afterwards again, what that means.
const ClientKeyWarning = "Coffer does not keep this key. Without it nobody opens the tenant again: no operator, no recovery key, no backup. " +
	"Keep two copies in two places. Backups from before still open without it, until they are gone."

// ClientKeyOut is what can be shown of a tenant's client-held key.
type ClientKeyOut struct {
	Tenant domain.TenantID `json:"tenant"`
	State  string          `json:"state" doc:"none, closed or open"`
	Form   string          `json:"form,omitempty" doc:"passphrase or keyfile"`
	Set    *time.Time      `json:"set,omitempty"`
	By     string          `json:"by,omitempty" doc:"principal who set it"`
	Until  *time.Time      `json:"until,omitempty" doc:"when it closes again, while it is open"`
	Idle   *Duration       `json:"idle,omitempty" doc:"it closes too when it was not used for so long"`
	Words  string          `json:"words,omitempty" doc:"what it means, for people"`
}

func (s *Service) clientKeyOut(id domain.TenantID) ClientKeyOut {
	k := s.vault.ClientKey(id)
	out := ClientKeyOut{Tenant: id, State: clientState(k), Form: string(k.Form), By: k.By}
	if k.Form == "" {
		return out
	}
	out.Set, out.Words = &k.Set, ClientKeyWarning
	if k.Open {
		out.Until = &k.Until
		if k.Idle > 0 {
			idle := Duration(k.Idle)
			out.Idle = &idle
		}
	}
	return out
}

func clientState(k vault.ClientState) string {
	switch {
	case k.Form == "":
		return "none"
	case k.Open:
		return "open"
	}
	return "closed"
}

// ClientOpenFor says for how long a key opens.
type ClientOpenFor struct {
	For  Duration `json:"for,omitempty" doc:"how long it opens: 1m to 24h, 8h if not given"`
	Idle Duration `json:"idle,omitempty" doc:"it closes too when it was not used for so long; never if not given"`
}

func (o ClientOpenFor) check() error {
	if d := time.Duration(o.For); d != 0 && (d < minClientOpen || d > MaxClientOpen) {
		return domain.Fieldf("for", "%v is not between %v and %v", d, minClientOpen, MaxClientOpen)
	}
	if d := time.Duration(o.Idle); d != 0 && (d < minClientOpen || d > MaxClientOpen) {
		return domain.Fieldf("idle", "%v is not between %v and %v", d, minClientOpen, MaxClientOpen)
	}
	return nil
}

func (o ClientOpenFor) opening(now time.Time) vault.Opening {
	return vault.Opening{Until: now.Add(cmp.Or(time.Duration(o.For), DefaultClientOpen)), Idle: time.Duration(o.Idle)}
}

// ClientKeySetIn closes a tenant under a key. Who does it types the tenant's id
// and what it means.
type ClientKeySetIn struct {
	Tenant  string        `path:"tenant" json:"-"`
	Form    string        `json:"form" doc:"what the key is" schema:"enum=passphrase|keyfile"`
	Key     domain.Secret `json:"key" doc:"the passphrase, 12 characters or more; of a key file its 32 to 65536 bytes in base64"`
	Confirm string        `json:"confirm" doc:"the tenant's id once more"`
	Words   string        `json:"words" doc:"the sentence: if this key is lost, everything in it is lost"`
	ClientOpenFor
}

func (in ClientKeySetIn) check() error {
	if in.Confirm != in.Tenant {
		return domain.Fieldf("confirm", "type the tenant's id to close it under a key that nobody can replace").
			WithHint("coffer client-key set -t %s --confirm %s", in.Tenant, in.Tenant)
	}
	if in.Words != ClientKeyWords {
		return domain.Fieldf("words", "type what it means: %s", ClientKeyWords).WithHint("%s", ClientKeyWarning)
	}
	if _, err := vault.ReadClientKey(in.Form, in.Key); err != nil {
		return err
	}
	return in.ClientOpenFor.check()
}

// ClientKeySet closes a tenant under a key that the appliance does not keep. It
// stays open for the time that is asked for, so that work goes on.
var ClientKeySet = Operation[ClientKeySetIn, ClientKeyOut]{
	action: authz.ClientKeySet,
	ask: func(ctx context.Context, s *Service, in ClientKeySetIn) (authz.Request, error) {
		if err := in.check(); err != nil {
			return authz.Request{}, err
		}
		r, err := askTenant(ctx, s, TenantRef{Tenant: in.Tenant})
		r.Resource = in.Form
		return r, err
	},
	act: func(ctx context.Context, c *call, in ClientKeySetIn) (ClientKeyOut, error) {
		key, err := vault.ReadClientKey(in.Form, in.Key)
		if err != nil {
			return ClientKeyOut{}, err
		}
		id, o := c.permit.Tenant(), in.opening(c.clock.Now())
		c.detail["until"] = o.Until.UTC()
		err = c.changeKeys(ctx, func(ctx context.Context) error { return c.vault.SetClientKey(ctx, c.permit, key, o) })
		if err == nil {
			err = c.followState(ctx)
		}
		if err == nil && c.raise != nil {
			c.raise(alerts.ClientKey, id, string(id)+" was closed under a key that only the client has")
		}
		return c.clientKeyOut(id), err
	},
}

// changeKeys runs a change of vault/keys.db, which holds the mark of the intent.
func (c *call) changeKeys(ctx context.Context, fn func(ctx context.Context) error) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	if err := c.stillMay(ctx); err != nil {
		return err
	}
	c.rekeying.Lock()
	defer c.rekeying.Unlock()
	ctx = context.WithoutCancel(ctx) // begun is begun: a caller who goes away does not leave it half done
	err := fn(ctx)
	if changed, lookErr := c.vault.Changed(ctx, c.intent); lookErr == nil && changed {
		c.changed = true
	}
	return err
}

// stillMay is what a change of the control store asks in its transaction.
func (c *call) stillMay(ctx context.Context) error {
	return c.db.View(ctx, func(tx *store.Tx) error {
		if err := c.checkStill(tx); err != nil {
			return err
		}
		if c.permit.Tenant() == "" || worksWhileClosed[c.permit.Action()] {
			return nil
		}
		return c.checkActive(tx)
	})
}

// ClientKeyOpenIn presents a key.
type ClientKeyOpenIn struct {
	Tenant string        `path:"tenant" json:"-"`
	Form   string        `json:"form" doc:"what the key is" schema:"enum=passphrase|keyfile"`
	Key    domain.Secret `json:"key" doc:"as it was set"`
	ClientOpenFor
}

// ClientKeyOpen opens a tenant for a while with the key that the client presents.
// Presented again while it is open, the time begins anew.
var ClientKeyOpen = Operation[ClientKeyOpenIn, ClientKeyOut]{
	action: authz.ClientKeyOpen,
	ask: func(ctx context.Context, s *Service, in ClientKeyOpenIn) (authz.Request, error) {
		if _, err := vault.ReadClientKey(in.Form, in.Key); err != nil {
			return authz.Request{}, err
		}
		if err := in.ClientOpenFor.check(); err != nil {
			return authz.Request{}, err
		}
		r, err := askTenant(ctx, s, TenantRef{Tenant: in.Tenant})
		r.Resource = in.Form
		return r, err
	},
	act: func(ctx context.Context, c *call, in ClientKeyOpenIn) (out ClientKeyOut, err error) {
		key, err := vault.ReadClientKey(in.Form, in.Key)
		if err != nil {
			return out, err
		}
		id, o := c.permit.Tenant(), in.opening(c.clock.Now())
		attempt, err := c.door.guesses.ClientKey(string(id), c.clock.Now())
		if err != nil {
			return out, err
		}
		c.detail["until"] = o.Until.UTC()
		if err := c.begin(ctx); err != nil {
			return out, err
		}
		if err := c.stillMay(ctx); err != nil {
			return out, err
		}
		err = c.vault.OpenClient(ctx, c.permit, key, o)
		if errors.Is(err, vault.ErrWrongClientKey) {
			c.detail["wrong_key"] = true
			if c.raise != nil {
				c.raise(alerts.ClientKey, id, "a key that does not open "+string(id)+" was presented by "+c.who.Subject.Principal.String())
			}
			return out, err
		}
		attempt.Right()
		if err == nil {
			err = c.followState(ctx)
			c.wakeRotations() // one may wait for this
		}
		return c.clientKeyOut(id), err
	},
}

// ClientKeyClose closes a tenant at once: its keys are dropped, its file is
// closed, transactions that are open are rolled back.
var ClientKeyClose = Operation[TenantRef, ClientKeyOut]{
	action: authz.ClientKeyClose,
	ask:    askTenant,
	act: func(ctx context.Context, c *call, _ TenantRef) (ClientKeyOut, error) {
		id := c.permit.Tenant()
		if c.vault.ClientKey(id).Form == "" {
			return ClientKeyOut{}, domain.Errorf(domain.Conflict, "%s has no client-held key", id).
				WithHint("set one first: coffer client-key set -t %s", id)
		}
		if err := c.change(ctx, func(*store.Tx) error { return nil }); err != nil {
			return ClientKeyOut{}, err
		}
		c.detail["was_open"] = c.vault.CloseClient(id)
		err := c.followState(context.WithoutCancel(ctx))
		return c.clientKeyOut(id), err
	},
}

// ClientKeyRemoveIn names the tenant twice.
type ClientKeyRemoveIn struct {
	Tenant  string `path:"tenant" json:"-"`
	Confirm string `query:"confirm" json:"-" doc:"the tenant's id once more: the appliance alone opens it from then on" schema:"required"`
}

// ClientKeyRemove takes the client-held key off a tenant that is open.
var ClientKeyRemove = Operation[ClientKeyRemoveIn, ClientKeyOut]{
	action: authz.ClientKeyRemove,
	ask: func(ctx context.Context, s *Service, in ClientKeyRemoveIn) (authz.Request, error) {
		if in.Confirm != in.Tenant {
			return authz.Request{}, domain.Fieldf("confirm", "type the tenant's id to take its client-held key off").
				WithHint("coffer client-key remove -t %s --confirm %s", in.Tenant, in.Tenant)
		}
		return askTenant(ctx, s, TenantRef{Tenant: in.Tenant})
	},
	act: func(ctx context.Context, c *call, _ ClientKeyRemoveIn) (ClientKeyOut, error) {
		id := c.permit.Tenant()
		err := c.changeKeys(ctx, func(ctx context.Context) error { return c.vault.RemoveClientKey(ctx, c.permit) })
		if err == nil {
			err = c.followState(ctx)
		}
		return c.clientKeyOut(id), err
	},
}

// ClientKeyStatus says whether a tenant has a client-held key, and whether it is
// open.
var ClientKeyStatus = Operation[TenantRef, ClientKeyOut]{
	action: authz.ClientKeyStatus,
	ask:    askTenant,
	act: func(_ context.Context, c *call, _ TenantRef) (ClientKeyOut, error) {
		return c.clientKeyOut(c.permit.Tenant()), nil
	},
}

// clientClosedAction stands in a tenant's log when an opening ended by itself.
const clientClosedAction domain.Action = "clientkey.closed"

// CloseLapsed closes the files of tenants whose client-held key opened them for a
// time that is over. Their keys are refused from that moment on by the vault.
func (s *Service) CloseLapsed(ctx context.Context) error {
	var errs []error
	for _, id := range s.vault.ExpiredClients() {
		errs = append(errs, s.follow(ctx, id))
		_, err := s.log.Note(ctx, id, clientClosedAction, map[string]any{"text": "the time for which the client's key opened is over"})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
