package actions

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"coffer/app/authz"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/audit"
	"coffer/tenants"
	"coffer/tenants/migrate"
	"coffer/vault/token"
)

// Bounds of how long a tenant's log is kept, in days.
const (
	MinRetentionDays = 30
	MaxRetentionDays = 3650
)

// TenantCreateIn describes a new tenant. Owner is the name of a person that is
// known; without one it is the caller. Only a caller who is the owner can have a
// workload and a token of it made at once: they are for the owner to give.
type TenantCreateIn struct {
	ID            string       `json:"id" doc:"3 to 40 of a-z, 0-9 and -, a letter first, no - last; never given out again" schema:"pattern=^[a-z][a-z0-9-]*[a-z0-9]$,minLength=3,maxLength=40"`
	Name          string       `json:"name" doc:"a name for people" schema:"maxLength=128"`
	Owner         string       `json:"owner,omitempty" doc:"name of a known person; the caller if empty" schema:"maxLength=64"`
	RetentionDays int          `json:"retention_days,omitempty" doc:"how long its log is kept, 30 to 3650" schema:"default=90"`
	SecretBytes   int64        `json:"secret_bytes,omitempty" doc:"quota of its secrets in bytes" schema:"minimum=0,default=67108864"`
	FileBytes     int64        `json:"file_bytes,omitempty" doc:"quota of its database in bytes" schema:"minimum=0,default=10737418240"`
	Isolation     string       `json:"isolation,omitempty" doc:"shared, or process for a database in a process of its own" schema:"enum=shared|process,default=shared"`
	Workload      *NewWorkload `json:"workload,omitempty" doc:"its first workload; only the owner can have one made"`
	Token         *NewToken    `json:"token,omitempty" doc:"a token of that workload"`
}

// NewWorkload is a tenant's first workload, as WorkloadCreateIn.
type NewWorkload struct {
	Name         string   `json:"name" doc:"unique in the tenant: 1 to 64 of a-z, 0-9 and . _ - between them" schema:"maxLength=64"`
	Grants       []string `json:"grants" doc:"capabilities such as secret:read:stripe/* or sql:analyst, none wider than the caller's" schema:"minItems=1,maxItems=64"`
	TokenTTL     Duration `json:"token_ttl,omitempty" doc:"lifetime of its tokens, 1s to 24h" schema:"default=1h"`
	SecretIDTTL  Duration `json:"secret_id_ttl,omitempty" doc:"lifetime of the first secret id, up to 2160h" schema:"default=720h"`
	SecretIDUses int      `json:"secret_id_uses,omitempty" doc:"logins with the first secret id; any number if 0" schema:"minimum=0,maximum=1000000,default=0"`
}

// NewToken is a token of the first workload, as wide as the workload.
type NewToken struct {
	TTL Duration `json:"ttl,omitempty" doc:"lifetime, 1s to 24h" schema:"default=1h"`
}

// TenantCreated is a new tenant with the credentials that were asked for, which
// are shown this once.
type TenantCreated struct {
	TenantInfo
	Owner       string       `json:"owner,omitempty"` // name
	Migration   string       `json:"migration,omitempty" doc:"file of the last migration with which it begins"`
	Credentials *Credentials `json:"credentials,omitempty"`
	Token       *Issued      `json:"token,omitempty"`
}

// plan is a TenantCreateIn that was read.
type plan struct {
	record   tenants.Record
	workload *directory.Workload
	secretID directory.SecretIDSpec
	tokenTTL time.Duration // 0 for no token
	grants   []string
	set      migrate.Set // of migrations, with which its file begins
}

// plan reads the input.
func (in TenantCreateIn) plan() (p plan, err error) {
	id, err := domain.ParseTenantID(in.ID)
	if err != nil {
		return p, inField("id", err)
	}
	if _, err := domain.ParseText("name", in.Name, domain.MaxDisplayName); err != nil {
		return p, err
	}
	if in.Owner != "" {
		if _, err := domain.ParseName("owner", in.Owner); err != nil {
			return p, err
		}
	}
	days := cmp.Or(in.RetentionDays, audit.DefaultRetentionDays)
	if days < MinRetentionDays || days > MaxRetentionDays {
		return p, domain.Fieldf("retention_days", "%d is not between %d and %d", days, MinRetentionDays, MaxRetentionDays)
	}
	isolation, err := tenants.ParseIsolation(in.Isolation)
	if err != nil {
		return p, err
	}
	p.record = tenants.Record{
		ID: id, Name: in.Name, Log: audit.Ref{Policy: audit.Policy{RetentionDays: uint32(days)}},
		Quota: tenants.Quota{Secrets: in.SecretBytes, File: in.FileBytes}, Isolation: isolation,
	}
	if err := p.record.Quota.Check(); err != nil {
		return p, err
	}
	return p, p.readWorkload(in)
}

func (p *plan) readWorkload(in TenantCreateIn) error {
	if in.Workload == nil {
		if in.Token != nil {
			return domain.Fieldf("token", "it is one of the first workload, and none is asked for")
		}
		return nil
	}
	as := WorkloadCreateIn{
		Tenant: in.ID, Name: in.Workload.Name, Grants: in.Workload.Grants, TokenTTL: in.Workload.TokenTTL,
		SecretIDTTL: in.Workload.SecretIDTTL, SecretIDUses: in.Workload.SecretIDUses,
	}
	w, err := as.workload()
	if err != nil {
		return err
	}
	p.workload, p.secretID, p.grants = &w, as.secretID(), in.Workload.Grants
	if in.Token != nil {
		if p.tokenTTL, err = domain.ParseTTL(time.Duration(in.Token.TTL)); err != nil {
			return err
		}
	}
	return p.secretID.Check()
}

// TenantCreate makes a tenant: its keys, its file, its record, its first owner
// and what the owner asked for besides. The record is the commit, in one
// transaction with all that stands in the control store; keys and a file without
// one are removed, here or at the next start. The tenant's own log begins with a
// note that says who made it, for whom, and what was given.
var TenantCreate = Operation[TenantCreateIn, TenantCreated]{
	action:  authz.TenantCreate,
	creates: true,
	ask: func(_ context.Context, _ *Service, in TenantCreateIn) (authz.Request, error) {
		p, err := in.plan()
		return authz.Request{Resource: string(p.record.ID), Lets: in.Workload != nil}, err
	},
	act: func(ctx context.Context, c *call, in TenantCreateIn) (TenantCreated, error) {
		if err := c.seal.TenantsAllowed(); err != nil {
			return TenantCreated{}, err
		}
		p, err := in.plan()
		if err != nil {
			return TenantCreated{}, err
		}
		id := p.record.ID
		c.creating.Lock() // two creations of one id must not share its keys and file
		defer c.creating.Unlock()
		if err := c.db.View(ctx, func(tx *store.Tx) error {
			_, err := c.ownerToBe(tx, in)
			if err = cmp.Or(err, c.free(tx, id)); err == nil {
				p.set, err = migrate.Load(tx)
			}
			return err
		}); err != nil {
			return TenantCreated{}, err
		}
		c.detail["retention_days"] = p.record.Log.Policy.RetentionDays
		if p.workload != nil {
			c.detail["grants"], _ = fitting(p.grants, maxNoted) // the tenant's own log says the same
		}
		if err := c.begin(ctx); err != nil {
			return TenantCreated{}, err
		}
		out, r, err := c.create(ctx, p, in)
		if err != nil {
			return TenantCreated{}, errors.Join(err, c.abandonTenant(context.WithoutCancel(ctx), c.permit, id))
		}
		if err := c.log.Register(r.ID, r.Log); err != nil {
			return TenantCreated{}, err
		}
		return out, c.noteCreated(context.WithoutCancel(ctx), r.ID)
	},
}

// free says before anything is made whether the id can be had.
func (s *Service) free(tx *store.Tx, id domain.TenantID) error {
	_, err := tenants.Find(tx, id)
	if errors.Is(err, tenants.ErrUnknown) {
		return nil
	}
	if err != nil {
		return err
	}
	return domain.Errorf(domain.Conflict, "there is or was a tenant %q, and ids are never given out again", id).
		WithHint("choose another id; see: coffer tenant list")
}

// ownerToBe finds the person who is to own the new tenant, and refuses credentials
// for anybody but that person.
func (c *call) ownerToBe(tx *store.Tx, in TenantCreateIn) (directory.Person, error) {
	me := c.who.Subject.Principal
	if me.Kind != domain.Person {
		return directory.Person{}, domain.Errorf(domain.Denied, "only a person can create a tenant")
	}
	p, found, err := directory.PersonByID(tx, me.ID)
	if err == nil && in.Owner != "" && (!found || in.Owner != p.Name) {
		p, found, err = directory.PersonByName(tx, in.Owner)
	}
	switch {
	case err != nil:
		return p, err
	case !found:
		return p, domain.Fieldf("owner", "nobody of the name %q is known", in.Owner).
			WithHint("create the tenant as its owner, then add and make that person an owner: coffer member add --role owner")
	case p.ID != me.ID && (in.Workload != nil || in.Token != nil):
		return p, domain.Fieldf("workload", "%q is to own the tenant, so only %q can make its workloads and tokens", in.Owner, in.Owner).
			WithHint("leave workload and token out; the owner makes them")
	}
	return p, nil
}

// create makes keys and file, and commits.
func (c *call) create(ctx context.Context, p plan, in TenantCreateIn) (out TenantCreated, r tenants.Record, err error) {
	now := c.clock.Now().UTC()
	r = p.record
	r.Created, r.CreatedBy = now, c.who.Subject.Principal.String()
	if r.UID, err = c.vault.CreateTenant(ctx, c.permit, r.ID); err != nil {
		return out, r, err
	}
	if err := c.files.Create(ctx, c.permit, r.ID, p.set...); err != nil {
		return out, r, fmt.Errorf("making the file of tenant %q: %w", r.ID, err)
	}
	_, _ = rand.Read(r.Log.Tag[:]) // never fails: it would end the process first
	err = c.change(ctx, func(tx *store.Tx) error {
		owner, err := c.ownerToBe(tx, in)
		if err != nil {
			return err
		}
		if r, err = tenants.Add(tx, r); err != nil {
			return err
		}
		out.TenantInfo, out.Owner = tenantInfo(r), owner.Name
		if err := directory.SetMember(tx, directory.Member{Tenant: r.ID, Person: owner.ID, Role: domain.Owner}, now); err != nil {
			return err
		}
		note := creationNote{
			Version: recordVersion, By: r.CreatedBy, Owner: domain.Principal{Kind: domain.Person, ID: owner.ID}.String(),
			RetentionDays: r.Log.Policy.RetentionDays, Grants: p.grants,
		}
		if note.Migration, err = beginsWith(tx, r, p.set); err != nil {
			return err
		}
		out.Migration = note.Migration
		if p.workload != nil {
			if err := c.firstCredentials(tx, p, now, &out, &note); err != nil {
				return err
			}
		}
		c.detail["owner"] = note.Owner
		return note.save(tx, r.ID)
	})
	return out, r, err
}

// beginsWith records with which migrations a new tenant's file was made, and gives
// the name of the last one. The set must still be that one.
func beginsWith(tx *store.Tx, r tenants.Record, set migrate.Set) (last string, err error) {
	now, err := migrate.Load(tx)
	if err != nil || len(set) == 0 && len(now) == 0 {
		return "", err
	}
	if !slices.Equal(now, set) {
		return "", domain.Errorf(domain.Conflict, "the set of migrations was replaced meanwhile").WithHint("try again")
	}
	return set[len(set)-1].Name, migrate.State{Number: set.Top(), Changed: r.Created}.Set(tx, r.ID)
}

// firstCredentials makes the first workload, its secret id and a token of it. The
// caller is the owner.
func (c *call) firstCredentials(tx *store.Tx, p plan, now time.Time, out *TenantCreated, note *creationNote) error {
	w := *p.workload
	w.CreatedBy = c.who.Subject.Principal.ID
	owner := authz.Subject{
		Principal: c.who.Subject.Principal,
		Tenants:   map[domain.TenantID][]authz.Layer{w.Tenant: {{Role: domain.Owner}}},
	}
	if err := authz.MayDelegate(owner, w.Tenant, authz.Layer{Capabilities: w.Capabilities}); err != nil {
		return err
	}
	w, err := directory.AddWorkload(tx, w, now)
	if err != nil {
		return err
	}
	credentials, err := c.newSecretID(tx, w, p.secretID)
	if err != nil {
		return err
	}
	out.Credentials = &credentials
	note.Workload, note.WorkloadName, note.SecretID = w.ID, w.Name, credentials.Accessor
	if p.tokenTTL == 0 {
		return nil
	}
	text, t, err := token.Issue(tx, token.Spec{
		Tenant: w.Tenant, Principal: domain.Principal{Kind: domain.Workload, ID: w.ID},
		Layer: authz.Layer{Capabilities: w.Capabilities}, IssuedBy: w.CreatedBy, TTL: p.tokenTTL,
	}, now)
	if err != nil {
		return err
	}
	made := issued(text, t)
	out.Token, note.Token, note.TokenExpires = &made, t.Accessor, &t.Expires
	return nil
}
