package e2e_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"coffer/app/domain"
)

// hostile is what somebody writes who wants to run something in our pages. It
// would set a global, which the tests look for.
const hostile = `<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>"'` + "`" + `{{.}}<b>`

// seeded is a Coffer that most tests share: a client with everything in it, one
// without anything, a foreign one, and a person for every role.
type seeded struct {
	*coffer
	operator *person            // the one of the socket: owner of acme too
	people   map[string]*person // by role in acme; "auditor" of the appliance; "foreign" owns nordwind
	hostile  func() error       // makes a client that is full of hostile text, once
}

// members are the people of acme by role.
var members = map[domain.Role]string{
	domain.Owner: "anna", domain.Admin: "ben", domain.Analyst: "chris", domain.Viewer: "dora", domain.ClientAuditor: "erik",
}

var seededOnce = sync.OnceValues(func() (*seeded, error) {
	c, err := startCoffer("--name", byName)
	if err != nil {
		return nil, err
	}
	atEnd(func() { _ = c.stop() })
	s := &seeded{coffer: c, people: map[string]*person{}}
	s.hostile = sync.OnceValue(s.seedHostile)
	for _, step := range []func() error{s.seedOperator, s.seedClients, s.seedPeople, s.seedAcme} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("seeding: %w\n%s", err, c.errors.String())
		}
	}
	return s, nil
})

// theSeeded is the shared Coffer.
func theSeeded(t testing.TB) *seeded {
	t.Helper()
	s, err := seededOnce()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// as opens a page for one of the people.
func (s *seeded) as(t testing.TB, who string) *tab {
	t.Helper()
	p := s.tab(t)
	switch who {
	case "":
	case "operator":
		p.as(s.operator)
	default:
		p.as(s.people[who])
	}
	return p
}

// linked is what the operations that make links give.
type linked struct {
	Token string `json:"token"`
}

// enrol makes an account behind a link, with an authenticator app.
func (c *coffer) enrol(link linked, name string) (*person, error) {
	h := &person{Name: name}
	var in struct {
		Session string `json:"session"`
	}
	if err := c.socket("", "POST", "/links/accept", object{"token": link.Token, "name": name, "password": password}, &in); err != nil {
		return nil, err
	}
	h.Session = in.Session
	var app struct {
		Secret string `json:"secret"`
	}
	if err := c.socket(h.Session, "POST", "/account/totp/begin", nil, &app); err != nil {
		return nil, err
	}
	h.Secret = app.Secret
	var codes struct {
		Codes []string `json:"recovery_codes"`
	}
	code, err := h.nextCode()
	if err != nil {
		return nil, err
	}
	err = c.socket(h.Session, "POST", "/account/totp", object{"code": code}, &codes)
	h.Codes = codes.Codes
	return h, err
}

func (s *seeded) seedOperator() error {
	_, token, _ := strings.Cut(s.ready["setup"], "#")
	var err error
	s.operator, err = s.enrol(linked{token}, "robin")
	return err
}

func (s *seeded) seedClients() error {
	for id, name := range map[string]string{"acme": "Acme GmbH", "nordwind": "Nordwind Logistik AG", "empty": "Studio Lindner"} {
		if err := s.socket("", "POST", "/tenants", object{"id": id, "name": name}, nil); err != nil {
			return err
		}
	}
	return nil
}

func (s *seeded) seedPeople() error {
	var err error
	for role, name := range members {
		if s.people[string(role)], err = s.invite("acme", role, name); err != nil {
			return err
		}
	}
	if s.people["foreign"], err = s.invite("nordwind", domain.Owner, "omar"); err != nil {
		return err
	}
	if s.people["auditor"], err = s.anotherOperator("petra"); err != nil {
		return err
	}
	return s.socket(s.operator.Session, "PATCH", "/people/petra", object{"roles": []string{"auditor"}}, nil)
}

// invite makes somebody a member of a client, by a link.
func (s *seeded) invite(tenant string, role domain.Role, name string) (*person, error) {
	var l linked
	if err := s.socket("", "POST", "/tenants/"+tenant+"/invitations", object{"role": role, "note": name}, &l); err != nil {
		return nil, err
	}
	return s.enrol(l, name)
}

// anotherOperator makes a further operator, by a link.
func (s *seeded) anotherOperator(name string) (*person, error) {
	var l linked
	if err := s.socket("", "POST", "/setup-link", object{}, &l); err != nil {
		return nil, err
	}
	return s.enrol(l, name)
}

// seedAcme gives a client something of everything.
func (s *seeded) seedAcme() error {
	for path, key := range map[string]string{"stripe/live": "sk_live_seeded", "stripe/test": "sk_test_seeded", "mail/smtp": "hunter2", "deploy/key": "k1"} {
		if err := s.socket("", "PUT", "/tenants/acme/secret?path="+path, object{"data": object{"key": key}}, nil); err != nil {
			return err
		}
	}
	steps := []struct {
		path string
		body object
	}{
		{"/workloads", object{"name": "web", "grants": []string{"secret:read:stripe/*", "sql:analyst"}}},
		{"/workloads", object{"name": "nightly-export", "grants": []string{"sql:analyst"}}},
		{"/tokens", object{"name": "nightly export", "role": "analyst"}},
		{"/sql", object{"sql": "CREATE TABLE orders(id INTEGER PRIMARY KEY, customer TEXT, amount REAL, note BLOB)"}},
		{"/sql", object{"sql": "INSERT INTO orders(customer, amount, note) VALUES ('Berger & Söhne', 129.5, NULL), ('Kowalski', 42, x'00ff'), ('Nguyen', 7.25, NULL)"}},
		{"/invitations", object{"role": "viewer", "note": "the bookkeeper"}},
	}
	for _, step := range steps {
		if err := s.socket("", "POST", "/tenants/acme"+step.path, step.body, nil); err != nil {
			return err
		}
	}
	if err := s.socket("", "PUT", "/tenants/acme/secret?path=stripe/live", object{"data": object{"key": "sk_live_seeded_2"}}, nil); err != nil {
		return err
	}
	var l linked // the token of a program, which reads a secret with it and is refused another
	if err := s.socket("", "POST", "/tenants/acme/tokens", object{"name": "web shop", "workload": "web"}, &l); err != nil {
		return err
	}
	_ = s.socket(l.Token, "GET", "/tenants/acme/secret?path=mail/smtp", nil, nil)
	return s.socket(l.Token, "GET", "/tenants/acme/secret?path=stripe/live", nil, nil)
}

// seedHostile puts hostile text wherever somebody can put text.
func (s *seeded) seedHostile() error {
	if err := s.socket("", "POST", "/tenants", object{"id": "hostile", "name": hostile}, nil); err != nil {
		return err
	}
	mallory, err := s.anotherOperator("mallory") // no member, who breaks the glass for a reason that others read
	if err != nil {
		return err
	}
	if err := s.socket(mallory.Session, "POST", "/tenants/hostile/break-glass", object{"reason": hostile, "ttl": "15m"}, nil); err != nil {
		return err
	}
	steps := []struct {
		path string
		body object
	}{
		{"/tokens", object{"name": hostile, "role": "analyst"}},
		{"/invitations", object{"role": "viewer", "note": hostile}},
		{"/sql", object{"sql": "CREATE TABLE t(" + `"` + strings.ReplaceAll(hostile, `"`, `""`) + `" TEXT)`}},
		{"/sql", object{"sql": "INSERT INTO t VALUES ('" + strings.ReplaceAll(hostile, "'", "''") + "')"}},
	}
	for _, step := range steps {
		if err := s.socket("", "POST", "/tenants/hostile"+step.path, step.body, nil); err != nil {
			return err
		}
	}
	return s.socket("", "PUT", "/tenants/hostile/secret?path=a/b", object{"data": object{"key": hostile, hostile: "x"}}, nil)
}
