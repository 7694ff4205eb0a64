package ui_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/app/httpd"
	"coffer/app/store"
	"coffer/app/store/storetest"
	"coffer/audit"
	"coffer/tenants"
	"coffer/ui"
	"coffer/vault"
	"coffer/vault/seal"
)

// site is an appliance in this process, with its pages on a port of loopback.
type site struct {
	tb      testing.TB
	gate    *actions.Gate
	service *actions.Service
	ui      *ui.UI
	url     string
	clock   *clock
}

// clock is time that tests move.
type clock struct{ ahead time.Duration }

func (c *clock) Now() time.Time     { return time.Now().Add(c.ahead) }
func (c *clock) Trusted() time.Time { return c.Now() }

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// newSite makes an open appliance.
func newSite(tb testing.TB) *site {
	tb.Helper()
	s := sealedSite(tb)
	file := s.gate.File()
	p, err := seal.NewKeyfile(filepath.Join(filepath.Dir(sealPath(tb, file)), "keyfile"), seal.DataDirectory)
	must(tb, err)
	if _, err := s.gate.Open(tb.Context(), p); err != nil {
		tb.Fatal(err)
	}
	s.service, err = s.gate.Service()
	must(tb, err)
	return s
}

// dirs are the directories of the sites by their seal file.
var dirs = map[*seal.File]string{}

func sealPath(tb testing.TB, f *seal.File) string {
	tb.Helper()
	return filepath.Join(dirs[f], "seal.json")
}

// sealedSite makes an appliance that nobody has opened yet.
func sealedSite(tb testing.TB) *site {
	tb.Helper()
	dir := storetest.MemoryDir(tb)
	s := &site{tb: tb, clock: &clock{}}
	keyfile := filepath.Join(dir, "keyfile")
	must(tb, seal.CreateKeyfile(keyfile))
	p, err := seal.NewKeyfile(keyfile, seal.DataDirectory)
	must(tb, err)
	file, root, err := seal.Create(tb.Context(), filepath.Join(dir, "seal.json"), seal.Change{At: time.Now()}, nil, seal.Enrolment{Name: "keyfile", By: p})
	must(tb, err)
	root.Zero()
	dirs[file] = dir
	machine := actions.Machine{TPM: "/dev/null", DataKeyfile: keyfile}
	s.gate = actions.NewGate(file, machine, func(ctx context.Context, root domain.Secret) (*actions.Service, error) {
		return s.open(ctx, dir, file, root, machine)
	})
	s.serve(defaults(true, s))
	return s
}

// defaults are the options of a site, over TLS or in the clear.
func defaults(plain bool, s *site) ui.Options {
	return ui.Options{Plain: plain, URL: "https://coffer.example:8443", Version: "test", Now: s.clock.Now, CA: authority}
}

// authority is a certificate authority for show.
func authority() ([]byte, string) {
	return []byte("-----BEGIN CERTIFICATE-----\n"), strings.TrimSuffix(strings.Repeat("AB:", 32), ":")
}

// open is what the gate does with the root key.
func (s *site) open(ctx context.Context, dir string, file *seal.File, root domain.Secret, m actions.Machine) (*actions.Service, error) {
	holder := actions.NewKeyholder(file, root, m, s.clock.Now)
	for _, sub := range []string{"vault", "tenants"} {
		must(s.tb, os.Mkdir(filepath.Join(dir, sub), 0o700))
	}
	v, err := vault.Open(ctx, vault.Options{Dir: filepath.Join(dir, "vault"), Root: holder.Root(), Save: holder.SavePayload})
	must(s.tb, err)
	db, err := store.Create(filepath.Join(dir, "control.db"), v.ControlAEAD())
	must(s.tb, err)
	log, err := audit.Open(ctx, audit.Options{
		Dir: filepath.Join(dir, "audit"), Instance: [16]byte{1}, System: audit.Ref{Tag: audit.Tag{2}}, Keys: v.LogKeys(), Space: 1 << 30,
	})
	must(s.tb, err)
	files, err := tenants.Open(tenants.Options{
		Dir: filepath.Join(dir, "tenants"), Keys: v, Alarm: func(domain.TenantID, string) {},
	})
	must(s.tb, err)
	s.tb.Cleanup(func() {
		ctx := context.Background()
		if err := errors.Join(files.Close(ctx), log.Close(ctx), db.Close(), v.Close()); err != nil {
			s.tb.Error(err)
		}
		holder.Close()
	})
	return actions.New(ctx, actions.Parts{DB: db, Vault: v, Log: log, Files: files, Seal: holder, Clock: s.clock, Door: actions.Door{Wall: s.clock.Now}})
}

// serve puts the pages on a port.
func (s *site) serve(o ui.Options) {
	// What is told to the operator's log stands in that of the test.
	s.ui = ui.New(s.gate, slog.New(slog.NewTextHandler(testLog{s.tb}, nil)), o)
	server := httpd.New(slog.New(slog.DiscardHandler), httpd.Options{}, s.ui)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(s.tb, err)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	s.tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(server.Shutdown(ctx), <-done); err != nil {
			s.tb.Error(err)
		}
	})
	s.url = "http://" + l.Addr().String()
}

// testLog is the log of a test.
type testLog struct{ tb testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.tb.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// operator is the local user of the appliance.
func (s *site) operator() actions.Caller {
	s.tb.Helper()
	subject, err := s.service.Socket(s.tb.Context(), 0)
	must(s.tb, err)
	return actions.Caller{Subject: subject, Call: audit.Call{Source: "test", Client: "test", Auth: "socket"}}
}

// run runs an operation that has to work.
func run[In, Out any](s *site, who actions.Caller, op actions.Operation[In, Out], in In) Out {
	s.tb.Helper()
	out, _, err := op.Do(s.tb.Context(), s.service, who, in)
	if err != nil {
		s.tb.Fatalf("%s: %v %s", op.Action(), err, domain.HintOf(err))
	}
	return out
}

// client makes a client with a secret, a table and a workload.
func (s *site) client(id string) {
	s.tb.Helper()
	op := s.operator()
	run(s, op, actions.TenantCreate, actions.TenantCreateIn{ID: id, Name: strings.ToUpper(id[:1]) + id[1:] + " GmbH"})
	run(s, op, actions.SecretPut, actions.SecretPutIn{Tenant: id, Path: "stripe/live", Data: domain.JSON{Secret: domain.SecretString(`{"key":"sk_` + id + `"}`)}})
	run(s, op, actions.SQL, actions.SQLIn{Tenant: id, SQL: "CREATE TABLE orders(id INTEGER PRIMARY KEY, what TEXT)"})
	run(s, op, actions.WorkloadCreate, actions.WorkloadCreateIn{Tenant: id, Name: "shop", Grants: []string{"sql:analyst"}})
}

// browser is somebody's browser.
type browser struct {
	s    *site
	http *http.Client
}

// browser opens a new one without cookies. It does not follow redirects.
func (s *site) browser() *browser {
	jar, err := cookiejar.New(nil)
	must(s.tb, err)
	return &browser{s, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// page is an answer.
type page struct {
	status int
	body   string
	header http.Header
}

// to is where a redirect leads.
func (p page) to() string { return p.header.Get("Location") }

// get opens an address.
func (b *browser) get(path string) page {
	b.s.tb.Helper()
	req, err := http.NewRequest("GET", b.s.url+path, nil)
	must(b.s.tb, err)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.send(req)
}

// post sends a form as a browser sends one from a page of ours.
func (b *browser) post(path string, fields ...string) page {
	b.s.tb.Helper()
	req := b.form(path, fields...)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	req.Header.Set("Origin", b.s.url)
	return b.send(req)
}

// form is a form without what the browser says of where it comes from.
func (b *browser) form(path string, fields ...string) *http.Request {
	b.s.tb.Helper()
	v := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		v.Add(fields[i], fields[i+1])
	}
	req, err := http.NewRequest("POST", b.s.url+path, strings.NewReader(v.Encode()))
	must(b.s.tb, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req
}

func (b *browser) send(req *http.Request) page {
	b.s.tb.Helper()
	resp, err := b.http.Do(req)
	if err != nil {
		b.s.tb.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	must(b.s.tb, err)
	return page{resp.StatusCode, string(body), resp.Header}
}
