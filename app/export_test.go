package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/term"

	"coffer/app/actions"
	"coffer/app/alerts"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/audit"
	"coffer/tenants"
	"coffer/vault/lease"
	"coffer/vault/token"
)

// ServeForTest runs a Coffer on a data directory until the context ends. ready
// is called once requests are answered.
// wall is its wall clock, nil for the machine's.
func ServeForTest(ctx context.Context, data string, wall func() time.Time, ready func()) (err error) {
	return ServeAtForTest(ctx, data, "", wall, ready)
}

// ServeAtForTest is ServeForTest under an address for browsers.
func ServeAtForTest(ctx context.Context, data, url string, wall func() time.Time, ready func()) (err error) {
	cfg := Config{Data: data, Seal: "keyfile", TPM: "/dev/null", AuditSpace: 1 << 30, Listen: "127.0.0.1:0", TLS: true, url: url, wall: wall}
	d, err := startDaemon(ctx, cfg, cfg.machine(Stdio{Env: func(string) string { return "" }}), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return err
	}
	runErr := d.run(ctx, ready)
	if closeErr := d.close(context.WithoutCancel(ctx)); closeErr != nil {
		return closeErr
	}
	return runErr
}

// DemoForTest serves a new data directory, walks the demo on it, and stops.
func DemoForTest(ctx context.Context, data string, out io.Writer) (err error) {
	cfg := Config{Data: data, Seal: "keyfile", TPM: "/dev/null", AuditSpace: 1 << 30}
	std := Stdio{Out: out, Err: out, Env: func(string) string { return "" }}
	d, err := startDaemon(ctx, cfg, cfg.machine(std), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var walkErr error
	var walking sync.WaitGroup
	runErr := d.run(ctx, func() {
		walking.Go(func() {
			walkErr = walk(ctx, d, std)
			stop()
		})
	})
	walking.Wait()
	return errors.Join(walkErr, runErr, d.close(context.WithoutCancel(ctx)))
}

// SocketClient is an HTTP client for the local socket of a data directory.
func SocketClient(data string) *http.Client { return newClient(socketPath(data), domain.Secret{}).http }

// DecodeIdentity reads an identity record.
func DecodeIdentity(b []byte) error {
	var id identity
	return decodeIdentity(b, &id)
}

// Opened is an appliance that is open but not served.
type Opened struct {
	*actions.Service
	a     *appliance
	Close func() error
}

// OpenForTest opens the appliance of a data directory under a wall clock.
func OpenForTest(ctx context.Context, data string, wall func() time.Time) (*Opened, error) {
	cfg := Config{Data: data, Seal: "keyfile", TPM: "/dev/null", AuditSpace: 1 << 30, Listen: noPort, wall: wall}
	d, err := startDaemon(ctx, cfg, cfg.machine(Stdio{Env: func(string) string { return "" }}), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return nil, err
	}
	return &Opened{d.appliance.service, d.appliance, func() error { return d.close(context.WithoutCancel(ctx)) }}, nil
}

// OpenWithCertificate is OpenForTest with a port and a certificate that is brought;
// reload takes up another one.
func OpenWithCertificate(ctx context.Context, data, certFile, keyFile string) (o *Opened, reload func(), err error) {
	cfg := Config{
		Data: data, Seal: "keyfile", TPM: "/dev/null", AuditSpace: 1 << 30,
		Listen: "127.0.0.1:0", TLS: true, TLSCert: certFile, TLSKey: keyFile,
	}
	d, err := startDaemon(ctx, cfg, cfg.machine(Stdio{Env: func(string) string { return "" }}), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return nil, nil, err
	}
	return &Opened{d.appliance.service, d.appliance, func() error { return d.close(context.WithoutCancel(ctx)) }}, func() {
		if err := d.net.brought.Reload(); err != nil {
			d.net.badPair(err)
		}
	}, nil
}

// StoreAlerts stores what was raised.
func (o *Opened) StoreAlerts(ctx context.Context) { o.a.storeAlerts(ctx) }

// Grant makes something elsewhere with a lease.
func (o *Opened) Grant(ctx context.Context, s lease.Spec, make func(ctx context.Context, l lease.Lease) ([]byte, error)) (lease.Lease, error) {
	return lease.Grant(ctx, o.a.db, s, o.a.clock.Now, make)
}

// Fill makes n tenants without keys and files, each with members, workloads and
// tokens, for what only looks at the control store and the log.
func (o *Opened) Fill(ctx context.Context, n, credentials int, member string) error {
	now := o.a.clock.Now()
	var made []tenants.Record
	_, err := o.a.db.Update(ctx, func(tx *store.Tx) error {
		for i := range n {
			r := tenants.Record{
				ID: domain.TenantID(fmt.Sprintf("t-%05d", i)), Name: "Tenant", Created: now.UTC(), CreatedBy: "person:p_x", UID: [16]byte{1, byte(i >> 8), byte(i)},
				Log: audit.Ref{Tag: audit.Tag{2, byte(i >> 8), byte(i)}, Policy: audit.Policy{RetentionDays: 90}},
			}
			r, err := tenants.Add(tx, r)
			if err != nil {
				return err
			}
			made = append(made, r)
			for _, p := range []string{member, "p_other1", "p_other2"} {
				if err := directory.SetMember(tx, directory.Member{Tenant: r.ID, Person: p, Role: domain.Owner}, now); err != nil {
					return err
				}
			}
			for k := range credentials {
				w, err := directory.AddWorkload(tx, directory.Workload{Tenant: r.ID, Name: fmt.Sprintf("w%d", k), CreatedBy: member}, now)
				if err != nil {
					return err
				}
				if _, _, err := directory.AddSecretID(tx, w, directory.SecretIDSpec{}, now); err != nil {
					return err
				}
				if _, _, err := token.Issue(tx, token.Spec{
					Tenant: r.ID, Principal: domain.Principal{Kind: domain.Workload, ID: w.ID}, IssuedBy: member, TTL: time.Hour,
				}, now); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for _, r := range made {
		if err == nil {
			err = o.a.journal.Register(r.ID, r.Log)
		}
		if err == nil {
			_, err = o.a.journal.Note(ctx, r.ID, "test.filled", nil)
		}
	}
	return err
}

// Doom decides a tenant's destruction and leaves it at that.
func (o *Opened) Doom(ctx context.Context, id domain.TenantID) error {
	_, err := o.a.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tenants.SetState(tx, id, tenants.Destroying, o.a.clock.Now())
		return err
	})
	return err
}

// Raise raises an alert and stores it.
func (o *Opened) Raise(ctx context.Context, kind alerts.Kind, tenant domain.TenantID, text string) error {
	o.a.alerts.Raise(kind, tenant, text)
	return o.a.alerts.Store(ctx, o.a.db)
}

// Health asks whether the server of a data directory answers.
func Health(ctx context.Context, data string) error {
	_, err := health(ctx, newClient(socketPath(data), domain.Secret{}))
	return err
}

// OwnerHint says whose the data directory must be.
func OwnerHint(data string, uid, gid int, contained bool) string {
	return ownerHint(data, uid, gid, contained)
}

// ReadTyped reads a line as a raw terminal gives it.
var ReadTyped = readTyped

// ShowRuns draws the bar of a run, one state after the other.
func ShowRuns(w io.Writer, runs ...actions.MigrationRunInfo) {
	b := &bar{w}
	for _, r := range runs {
		b.show(r)
	}
	b.end()
	b.end()
}

// Uploads are the requests that hand over the files of a directory.
var Uploads = uploads

// Keys is what reads a terminal's keys.
type Keys = keys

// NewKeys reads keys from r.
func NewKeys(r io.Reader) *Keys { return &keys{in: r} }

// NewHistory is what brings lines back.
func NewHistory() term.History { return &history{} }

// TakeInterrupted says whether Ctrl-C was among them since the last call.
func (k *keys) TakeInterrupted() bool {
	was := k.interrupted
	k.interrupted = false
	return was
}
