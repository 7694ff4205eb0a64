package actions_test

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/app/store/storetest"
	"coffer/audit"
	"coffer/tenants"
	"coffer/tenants/guard"
	"coffer/tenants/sqlite"
	"coffer/vault"
	"coffer/vault/seal"
)

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

type clock struct{}

func (clock) Now() time.Time     { return time.Now() }
func (clock) Trusted() time.Time { return time.Now() }

// kit is a service over real stores in memory.
type kit struct {
	tb      testing.TB
	service *actions.Service
	files   *tenants.Pool
}

func newKit(tb testing.TB, limits actions.StreamLimits) *kit {
	tb.Helper()
	ctx, dir := context.Background(), storetest.MemoryDir(tb)
	keyfile := filepath.Join(dir, "keyfile")
	must(tb, seal.CreateKeyfile(keyfile))
	p, err := seal.NewKeyfile(keyfile, seal.DataDirectory)
	must(tb, err)
	file, root, err := seal.Create(ctx, filepath.Join(dir, "seal.json"), seal.Change{At: time.Now()}, nil, seal.Enrolment{Name: "keyfile", By: p})
	must(tb, err)
	holder := actions.NewKeyholder(file, root, actions.Machine{TPM: "/dev/null", DataKeyfile: keyfile}, time.Now)
	for _, sub := range []string{"vault", "tenants"} {
		must(tb, os.Mkdir(filepath.Join(dir, sub), 0o700))
	}
	v, err := vault.Open(ctx, vault.Options{Dir: filepath.Join(dir, "vault"), Root: holder.Root(), Save: holder.SavePayload})
	must(tb, err)
	db, err := store.Create(filepath.Join(dir, "control.db"), v.ControlAEAD())
	must(tb, err)
	log, err := audit.Open(ctx, audit.Options{
		Dir: filepath.Join(dir, "audit"), Instance: [16]byte{1}, System: audit.Ref{Tag: audit.Tag{2}}, Keys: v.LogKeys(), Space: 1 << 30,
	})
	must(tb, err)
	files, err := tenants.Open(tenants.Options{Dir: filepath.Join(dir, "tenants"), Keys: v})
	must(tb, err)
	k := &kit{tb: tb, files: files}
	k.service, err = actions.New(ctx, actions.Parts{DB: db, Vault: v, Log: log, Files: files, Seal: holder, Clock: clock{}, Door: actions.Door{Wall: time.Now}, Streams: limits})
	must(tb, err)
	tb.Cleanup(func() {
		k.service.CloseStreams()
		if err := errors.Join(files.Close(ctx), log.Close(ctx), db.Close(), v.Close()); err != nil {
			tb.Error(err)
		}
		holder.Close()
	})
	for _, id := range []string{"acme", "globex"} {
		run(k, k.owner(), actions.TenantCreate, actions.TenantCreateIn{ID: id, Name: id})
		run(k, k.owner(), actions.SQL, actions.SQLIn{Tenant: id, SQL: "CREATE TABLE t(id INTEGER PRIMARY KEY, v)"})
	}
	return k
}

// owner is the local user, who owns both tenants.
func (k *kit) owner() actions.Caller {
	k.tb.Helper()
	subject, err := k.service.Socket(k.tb.Context(), 0)
	must(k.tb, err)
	return actions.Caller{Subject: subject, Call: audit.Call{Source: "test", Client: "test", Auth: "socket"}}
}

// bearer is who holds a new token of a role in acme.
func (k *kit) bearer(role domain.Role) actions.Caller {
	k.tb.Helper()
	out := run(k, k.owner(), actions.TokenIssue, actions.TokenIssueIn{Tenant: "acme", Role: string(role)})
	subject, err := k.service.Bearer(k.tb.Context(), out.Token.Secret, "test")
	must(k.tb, err)
	return actions.Caller{Subject: subject, Call: audit.Call{Source: "test", Client: "test", Auth: "token"}}
}

func run[In, Out any](k *kit, who actions.Caller, op actions.Operation[In, Out], in In) Out {
	k.tb.Helper()
	out, _, err := op.Do(context.Background(), k.service, who, in)
	if err != nil {
		k.tb.Fatalf("%s: %v %s", op.Action(), err, domain.HintOf(err))
	}
	return out
}

// answer is what one request on a stream gave: of each statement its first
// value, or the code of its error.
type answer struct {
	baton  string
	values []string
	err    error
}

// send runs statements in one request on a stream.
func (k *kit) send(who actions.Caller, baton string, sql ...string) (a answer) {
	in := actions.SQLStreamIn{Tenant: "acme", Baton: baton, Texts: sql, Run: func(ctx context.Context, s *actions.Stream) error {
		for _, one := range sql {
			value := ""
			_, err := s.Execute(ctx, guard.Request{SQL: one}, guard.Sink{Row: func(r []sqlite.Value) error { value = r[0].String(); return nil }})
			if err != nil {
				value = guard.Code(err)
			}
			a.values = append(a.values, value)
		}
		return nil
	}}
	out, _, err := actions.SQLStream.Do(context.Background(), k.service, who, in)
	a.baton, a.err = out.Baton, err
	return a
}

func (a answer) want(tb testing.TB, values ...string) string {
	tb.Helper()
	if a.err != nil || !slices.Equal(a.values, values) || a.baton == "" {
		tb.Fatalf("%q %v, want %q", a.values, a.err, values)
	}
	return a.baton
}

const count = "SELECT count(*) FROM t"

// TestStreamTransactions: what happens on a stream is seen by others when it is
// committed.
func TestStreamTransactions(t *testing.T) {
	k := newKit(t, actions.StreamLimits{})
	who := k.owner()
	b := k.send(who, "", "BEGIN", "INSERT INTO t VALUES (1, 'a')", "SELECT last_insert_rowid()").want(t, "", "", "1")
	k.send(who, "", count).want(t, "0")
	b = k.send(who, b, count, "BEGIN", "COMMIT").want(t, "1", "SQLITE_ERROR", "")
	b = k.send(who, b, "SELECT last_insert_rowid()", "COMMIT", "ROLLBACK").want(t, "1", "SQLITE_ERROR", "SQLITE_ERROR")
	b = k.send(who, b, "BEGIN IMMEDIATE", "DELETE FROM t", "SAVEPOINT s", "INSERT INTO t VALUES (9, 9)", "ROLLBACK TO s", "RELEASE s", count, "ROLLBACK", count).
		want(t, "", "", "", "", "", "", "0", "", "1")
	k.send(who, b, "BEGIN TRANSACTION READONLY", "INSERT INTO t VALUES (2, 'b')", count, "END").want(t, "", "SQLITE_READONLY", "1", "")
	k.send(who, "", "INSERT INTO t VALUES (2, 'b')", "INSERT INTO t VALUES (2, 'c')", count).want(t, "", "SQLITE_CONSTRAINT", "2")
	if a := k.send(who, "", "BEGIN; DELETE FROM t", count); a.want(t, "SQL_INPUT_ERROR", "2") == "" {
		t.Error("no baton")
	}
}

// TestStreamForeignKeys: they are off for the stream that said so, and for no other.
func TestStreamForeignKeys(t *testing.T) {
	k := newKit(t, actions.StreamLimits{})
	who := k.owner()
	k.send(who, "", "CREATE TABLE child(p REFERENCES t(id))").want(t, "")
	b := k.send(who, "", "PRAGMA foreign_keys", "PRAGMA foreign_keys=off", "PRAGMA foreign_keys", "INSERT INTO child VALUES (7)").want(t, "1", "", "0", "")
	k.send(who, "", "INSERT INTO child VALUES (8)").want(t, "SQLITE_CONSTRAINT")
	b = k.send(who, b, "BEGIN", "PRAGMA foreign_keys=on", "INSERT INTO child VALUES (9)", "COMMIT").want(t, "", "", "", "")
	k.send(who, b, "PRAGMA foreign_keys=on", "INSERT INTO child VALUES (10)", "SELECT count(*) FROM child").want(t, "", "SQLITE_CONSTRAINT", "2")
	if a := k.send(k.bearer(domain.Analyst), "", "PRAGMA foreign_keys=off"); domain.KindOf(a.err) != domain.Denied {
		t.Errorf("%q %v", a.values, a.err)
	}
}

// TestStreamRoles: an analyst reads, in transactions too, and takes no lock.
func TestStreamRoles(t *testing.T) {
	k := newKit(t, actions.StreamLimits{})
	who := k.bearer(domain.Analyst)
	b := k.send(who, "", "BEGIN", count).want(t, "", "0")
	k.send(k.owner(), "", "INSERT INTO t VALUES (1, 'a')").want(t, "") // nobody is in its way
	k.send(who, b, count, "COMMIT", count).want(t, "0", "", "1")
	for _, sql := range []string{"INSERT INTO t VALUES (2, 'b')", "BEGIN IMMEDIATE", "SELECT 1; DELETE FROM t", "EXPLAIN DELETE FROM t"} {
		if a := k.send(who, "", sql); domain.KindOf(a.err) != domain.Denied {
			t.Errorf("%s: %q %v", sql, a.values, a.err)
		}
	}
	// What passes the door as reading and is not is refused inside.
	k.send(who, "", "WITH x AS (SELECT 1) SELECT 1 FROM x; DELETE FROM t")
	if a := k.send(k.bearer(domain.Viewer), "", count); domain.KindOf(a.err) != domain.Denied {
		t.Errorf("a viewer: %q %v", a.values, a.err)
	}
}

// TestBatons: a baton works once, for who got it, in its tenant.
func TestBatons(t *testing.T) {
	k := newKit(t, actions.StreamLimits{})
	who, other := k.bearer(domain.Owner), k.bearer(domain.Owner)
	expired := func(a answer) {
		t.Helper()
		if actions.StreamCode(a.err) != "STREAM_EXPIRED" || domain.KindOf(a.err) != domain.Invalid || len(a.values) > 0 {
			t.Errorf("%q %v", a.values, a.err)
		}
	}
	b := k.send(who, "", "BEGIN", "INSERT INTO t VALUES (1, 'a')").want(t, "", "")
	old := b
	b = k.send(who, b, count).want(t, "1")
	expired(k.send(who, old, "COMMIT"))                 // used before
	expired(k.send(other, b, "COMMIT"))                 // another token of the same person
	expired(k.send(k.bearer(domain.Analyst), b, count)) // likewise, with less
	expired(k.send(who, "garbage", count))              //
	expired(k.send(who, b[:len(b)-4]+"AAAA", count))    // bound to somebody else
	expired(k.send(who, strings.ToUpper(b), count))     //
	raw, err := base64.RawURLEncoding.DecodeString(b)
	must(t, err)
	raw[0] = 1
	expired(k.send(who, base64.RawURLEncoding.EncodeToString(raw), count)) // said to hold nothing
	foreign := actions.SQLStreamIn{Tenant: "globex", Baton: b, Texts: []string{count}, Run: func(context.Context, *actions.Stream) error { t.Error("it ran"); return nil }}
	_, _, err = actions.SQLStream.Do(context.Background(), k.service, k.owner(), foreign)
	if actions.StreamCode(err) != "STREAM_EXPIRED" {
		t.Error(err)
	}
	b = k.send(who, b, "COMMIT").want(t, "")

	// With nothing to lose a stream is replaced by a new one without a word: for
	// a new token of the same person, and when it is gone.
	k.send(other, b, count).want(t, "1")
	raw, err = base64.RawURLEncoding.DecodeString(b)
	must(t, err)
	raw[5] ^= 1
	k.send(who, base64.RawURLEncoding.EncodeToString(raw), count).want(t, "1")
}

// TestStreamExpires: a transaction whose client went away is rolled back, others
// go on, the log says so, and its baton is an error; a stream without one is
// replaced silently.
func TestStreamExpires(t *testing.T) {
	k := newKit(t, actions.StreamLimits{Idle: 20 * time.Millisecond})
	who := k.owner()
	idle := k.send(who, "", "INSERT INTO t VALUES (5, 'x')").want(t, "")
	b := k.send(who, "", "BEGIN IMMEDIATE", "INSERT INTO t VALUES (1, 'a')").want(t, "", "")
	k.send(who, "", "INSERT INTO t VALUES (2, 'b')").want(t, "") // waits for the rollback
	k.send(who, "", count).want(t, "2")
	if a := k.send(who, b, "COMMIT"); actions.StreamCode(a.err) != "STREAM_EXPIRED" {
		t.Errorf("%q %v", a.values, a.err)
	}
	k.send(who, idle, count).want(t, "2")
	events := run(k, who, actions.AuditRead, actions.AuditQuery{Tenant: "acme", Action: "sql.rollback"}).Events
	if len(events) != 1 || events[0].Outcome != "ok" || !strings.Contains(string(events[0].Detail), `"wrote":true`) || events[0].Actor != "system:system" {
		t.Errorf("%+v", events)
	}
}

// TestStreamEvents: an event says which kinds of statements ran, on which tables
// and columns, with how many rows, and never a value.
func TestStreamEvents(t *testing.T) {
	k := newKit(t, actions.StreamLimits{})
	who := k.owner()
	b := k.send(who, "", "BEGIN", "INSERT INTO t VALUES (1, 'canary-value')", "INSERT INTO t VALUES (2, 'canary-value')", "SELECT v FROM t WHERE v = 'canary-value'").
		want(t, "", "", "", `"canary-value"`)
	k.send(who, b, "COMMIT").want(t, "")
	var details []string
	for i := 0; i < 20 && len(details) < 2; i++ { // an outcome follows its answer; a reading is durable only after it
		details = nil
		for _, e := range run(k, who, actions.AuditRead, actions.AuditQuery{Tenant: "acme", Action: "sql.write", Outcome: "ok"}).Events {
			if strings.Contains(string(e.Detail), `"stream"`) {
				details = append(details, string(e.Detail))
			}
		}
	}
	if len(details) != 2 {
		t.Fatalf("%q", details)
	}
	for i, want := range []string{
		`"statement":"BEGIN, INSERT ×2, SELECT"`, `"transaction":"open"`, `"tables":["t"]`, `"columns":["t.v"]`, `"rows_in":2`, `"rows_out":2`,
	} {
		if !strings.Contains(details[0], want) {
			t.Errorf("%d: no %s in %s", i, want, details[0])
		}
	}
	if !strings.Contains(details[1], `"statement":"COMMIT"`) || !strings.Contains(details[1], `"transaction":"committed"`) {
		t.Error(details[1])
	}
	if strings.Contains(strings.Join(details, ""), "canary") {
		t.Errorf("a value is in the log: %s", details)
	}
}

// TestRevokedTokenEndsItsStreams: at once, and nobody waits for them.
func TestRevokedTokenEndsItsStreams(t *testing.T) {
	k := newKit(t, actions.StreamLimits{Idle: time.Hour})
	who := k.bearer(domain.Owner)
	k.send(who, "", "BEGIN IMMEDIATE", "INSERT INTO t VALUES (1, 'a')").want(t, "", "")
	run(k, k.owner(), actions.TokenRevoke, actions.TokenRevokeIn{TokenRef: actions.TokenRef{Tenant: "acme", Accessor: who.Subject.Token}})
	k.send(k.owner(), "", "INSERT INTO t VALUES (2, 'b')", count).want(t, "", "1")
}

// TestStreamsAreBounded: a tenant's streams are, and those with nothing to lose
// make room.
func TestStreamsAreBounded(t *testing.T) {
	k := newKit(t, actions.StreamLimits{Idle: time.Hour})
	who := k.bearer(domain.Analyst)
	store := func(ctx context.Context, s *actions.Stream) error { return s.Store(1, "SELECT 1") }
	open := func() error {
		_, _, err := actions.SQLStream.Do(context.Background(), k.service, who, actions.SQLStreamIn{Tenant: "acme", Run: store})
		return err
	}
	for range actions.MaxStreams - 1 {
		must(t, open())
	}
	for range 3 {
		k.send(who, "", count).want(t, "0")
	}
	must(t, open())
	if err := open(); domain.KindOf(err) != domain.Limit {
		t.Errorf("one more than allowed: %v", err)
	}
}

// TestSuspendEndsStreams: a suspended tenant has no open transaction.
func TestSuspendEndsStreams(t *testing.T) {
	k := newKit(t, actions.StreamLimits{})
	who := k.owner()
	b := k.send(who, "", "BEGIN IMMEDIATE", "INSERT INTO t VALUES (1, 'a')").want(t, "", "")
	run(k, who, actions.TenantSuspend, actions.TenantRef{Tenant: "acme"})
	if a := k.send(who, b, "COMMIT"); domain.KindOf(a.err) != domain.Denied {
		t.Errorf("%q %v", a.values, a.err)
	}
	run(k, who, actions.TenantResume, actions.TenantRef{Tenant: "acme"})
	k.send(who, "", count).want(t, "0")
}
