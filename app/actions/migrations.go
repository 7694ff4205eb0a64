package actions

import (
	"context"
	"errors"
	"slices"
	"time"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/tenants"
	"coffer/tenants/migrate"
)

// MigrationFile is one file of a set. Its text may be left out if the set that is
// kept has it.
type MigrationFile struct {
	Name   string `json:"name" doc:"four digits, _, a name and .sql, as in 0001_customers.sql" schema:"maxLength=80"`
	SHA256 string `json:"sha256,omitempty" doc:"of the file's bytes, in hexadecimal" schema:"pattern=^[0-9a-f]{64}$"`
	SQL    string `json:"sql,omitempty" doc:"the file's text; may be left out if the set has a file with this name and sum" schema:"maxLength=524288"`
}

// MigrationFilesIn is a whole set.
type MigrationFilesIn struct {
	Files []MigrationFile `json:"files" doc:"all files of the set, from 0001 on without gaps" schema:"maxItems=9999"`
}

// MigrationInfo is what can be shown of a migration. Its text is not shown.
type MigrationInfo struct {
	Number int        `json:"number"`
	Name   string     `json:"name"`
	SHA256 string     `json:"sha256"`
	Bytes  int        `json:"bytes"`
	New    bool       `json:"new,omitempty" doc:"the set that is kept does not have it, or has another text"`
	Put    *time.Time `json:"put,omitempty"`
	By     string     `json:"by,omitempty" doc:"principal who put it"`
}

func migrationInfo(m migrate.Migration) MigrationInfo {
	return MigrationInfo{Number: m.Number, Name: m.Name, SHA256: m.Sum.String(), Bytes: len(m.SQL)}
}

// MigrationSetOut is the set, and the last run of it.
type MigrationSetOut struct {
	Migrations []MigrationInfo   `json:"migrations"`
	Run        *MigrationRunInfo `json:"run,omitempty" doc:"the last one"`
}

// set makes a set of the files, with the texts that are left out from the set
// that is kept.
func (in MigrationFilesIn) set(kept migrate.Set) (migrate.Set, error) {
	files := make([]migrate.File, len(in.Files))
	for i, f := range in.Files {
		if f.SQL == "" {
			at := slices.IndexFunc(kept, func(m migrate.Migration) bool { return m.Name == f.Name && m.Sum.String() == f.SHA256 })
			if at < 0 {
				return nil, domain.Fieldf("files", "the text of %.100q is missing", f.Name)
			}
			f.SQL = kept[at].SQL
		}
		if f.SHA256 != "" && migrate.SumOf(f.SQL).String() != f.SHA256 {
			return nil, domain.Fieldf("files", "the text of %.100q has another SHA-256 than was said", f.Name)
		}
		files[i] = migrate.File{Name: f.Name, SQL: f.SQL}
	}
	return migrate.Parse(files)
}

// judge makes the set that is asked for, and refuses one that cannot take the
// place of the one that is kept, or with which no tenant could start.
func (c *call) judge(ctx context.Context, in MigrationFilesIn) (kept, set migrate.Set, err error) {
	err = c.db.View(ctx, func(tx *store.Tx) error {
		if kept, err = migrate.Load(tx); err != nil {
			return err
		}
		if set, err = in.set(kept); err != nil {
			return err
		}
		return replaceable(tx, kept, set)
	})
	if err != nil {
		return nil, nil, err
	}
	if err := tenants.TryMigrations(ctx, set); err != nil {
		e := *asDomain(err)
		e.Msg = "on an empty database, as a new tenant has it: " + e.Msg
		return nil, nil, &e
	}
	return kept, set, nil
}

func replaceable(tx *store.Tx, kept, set migrate.Set) error {
	applied, err := migrate.Highest(tx)
	if err != nil {
		return err
	}
	return kept.Replace(set, applied)
}

// newIn lists the migrations of a set with what is new about it.
func newIn(kept, set migrate.Set) (out []MigrationInfo, news []string) {
	out = make([]MigrationInfo, len(set))
	for i, m := range set {
		out[i] = migrationInfo(m)
		if out[i].New = i >= len(kept) || kept[i].Name != m.Name || kept[i].Sum != m.Sum; out[i].New {
			news = append(news, m.Name+" "+m.Sum.String())
		}
	}
	return out, news
}

// MigrationPut replaces the set. What was applied somewhere stays as it is; what
// was not can be changed or left out. New tenants start from it at once.
var MigrationPut = Operation[MigrationFilesIn, MigrationSetOut]{
	action: authz.MigrationPut,
	ask:    askFiles,
	act: func(ctx context.Context, c *call, in MigrationFilesIn) (MigrationSetOut, error) {
		kept, set, err := c.judge(ctx, in)
		if err != nil {
			return MigrationSetOut{}, err
		}
		if !c.migrating.TryLock() {
			return MigrationSetOut{}, domain.Errorf(domain.Conflict, "migrations are being applied").WithHint("try again in a moment")
		}
		defer c.migrating.Unlock()
		defer c.set.Store(nil) // whatever became of the change
		out, news := newIn(kept, set)
		c.detail["files"] = len(set)
		c.detail["new"], _ = fitting(news, maxNoted)
		err = c.change(ctx, func(tx *store.Tx) error {
			now, err := migrate.Load(tx)
			if err != nil {
				return err
			}
			if err := replaceable(tx, now, set); err != nil {
				return err
			}
			return migrate.Save(tx, set, c.permit.Grant().Principal().String(), c.clock.Now())
		})
		return MigrationSetOut{Migrations: out}, err
	},
}

func askFiles(_ context.Context, _ *Service, in MigrationFilesIn) (authz.Request, error) {
	if len(in.Files) > migrate.MaxNumber {
		return authz.Request{}, domain.Fieldf("files", "%d are more than %d", len(in.Files), migrate.MaxNumber)
	}
	return authz.Request{}, nil
}

// MigrationPlan says what a set would change, and keeps nothing of it.
var MigrationPlan = Operation[MigrationFilesIn, MigrationSetOut]{
	action: authz.MigrationPlan,
	ask:    askFiles,
	act: func(ctx context.Context, c *call, in MigrationFilesIn) (MigrationSetOut, error) {
		kept, set, err := c.judge(ctx, in)
		if err != nil {
			return MigrationSetOut{}, err
		}
		out, news := newIn(kept, set)
		c.detail["files"], c.detail["new"] = len(set), len(news)
		return MigrationSetOut{Migrations: out}, nil
	},
}

// MigrationList shows the set and the last run.
var MigrationList = Operation[Nothing, MigrationSetOut]{
	action: authz.MigrationList,
	ask:    askNothing,
	act: func(ctx context.Context, c *call, _ Nothing) (MigrationSetOut, error) {
		out := MigrationSetOut{Migrations: []MigrationInfo{}}
		err := c.db.View(ctx, func(tx *store.Tx) error {
			stored, err := migrate.List(tx)
			if err != nil {
				return err
			}
			for _, m := range stored {
				info := migrationInfo(m.Migration)
				info.Put, info.By = &m.Put, m.By
				out.Migrations = append(out.Migrations, info)
			}
			run, found, err := migrate.Current(tx)
			if found {
				info := runInfo(run)
				out.Run = &info
			}
			return err
		})
		return out, err
	},
}

// MigrationFailure is what went wrong with the last attempt in a tenant. Its text
// has nothing in it that was made of rows.
type MigrationFailure struct {
	Number int       `json:"number,omitempty" doc:"of the migration"`
	Text   string    `json:"text"`
	Time   time.Time `json:"time"`
}

// TenantMigration is how far one tenant has come.
type TenantMigration struct {
	Tenant  domain.TenantID   `json:"tenant"`
	State   tenants.State     `json:"state"`
	Number  int               `json:"number" doc:"of the last migration that it has, 0 for none"`
	Pending int               `json:"pending" doc:"migrations of the set that it lacks"`
	Changed *time.Time        `json:"changed,omitempty"`
	Failed  *MigrationFailure `json:"failed,omitempty" doc:"the last attempt, if it failed"`
}

func tenantMigration(tx *store.Tx, r tenants.Record, top int) (TenantMigration, error) {
	s, err := migrate.Find(tx, r.ID)
	out := TenantMigration{Tenant: r.ID, State: r.State, Number: s.Number, Pending: max(0, top-s.Number)}
	if !s.Changed.IsZero() {
		out.Changed = &s.Changed
	}
	if f := s.Failed; f != nil {
		out.Failed = &MigrationFailure{f.Number, f.Text, f.Time}
	}
	return out, err
}

// living says whether a tenant has a database.
func living(s tenants.State) bool { return s == tenants.Active || s == tenants.Suspended }

// MigrationFleetOut is a page of tenants; Next is the cursor of the one after it.
type MigrationFleetOut struct {
	Tenants []TenantMigration `json:"tenants"`
	Next    string            `json:"next,omitempty"`
}

// MigrationFleet lists how far each tenant has come, by id.
var MigrationFleet = Operation[Page, MigrationFleetOut]{
	action: authz.MigrationList,
	ask: func(_ context.Context, _ *Service, in Page) (authz.Request, error) {
		return authz.Request{}, in.check()
	},
	act: func(ctx context.Context, c *call, in Page) (MigrationFleetOut, error) {
		out := MigrationFleetOut{Tenants: []TenantMigration{}}
		err := c.db.View(ctx, func(tx *store.Tx) error {
			top, err := migrate.Top(tx)
			if err != nil {
				return err
			}
			page, err := tenants.List(tx, domain.TenantID(in.After), in.size()+1)
			if err != nil {
				return err
			}
			page, out.Next = cut(page, in.size(), func(r tenants.Record) string { return string(r.ID) })
			for _, r := range page {
				if !living(r.State) {
					continue
				}
				t, err := tenantMigration(tx, r, top)
				if err != nil {
					return err
				}
				out.Tenants = append(out.Tenants, t)
			}
			return nil
		})
		c.detail["count"] = len(out.Tenants)
		return out, err
	},
}

// asDomain is the error as one of ours.
func asDomain(err error) *domain.Error {
	if e, ok := errors.AsType[*domain.Error](err); ok {
		return e
	}
	return domain.Errorf(domain.Internal, "%w", err)
}
