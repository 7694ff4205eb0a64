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

// seeded is a Coffer that most tests share: two clients with everything in them,
// one without anything, and a person for every role.
type seeded struct {
	*coffer
	operator *person            // the one of the socket: owner of acme too
	people   map[string]*person // by role in acme; "auditor" of the appliance; "foreign" owns other
}

// roles are the roles that a person has in a client.
var roles = []domain.Role{domain.Owner, domain.Admin, domain.Analyst, domain.Viewer, domain.ClientAuditor}

var seededOnce = sync.OnceValues(func() (*seeded, error) {
	c, err := startCoffer("--name", byName)
	if err != nil {
		return nil, err
	}
	atEnd(func() { _ = c.stop() })
	s := &seeded{coffer: c, people: map[string]*person{}}
	for _, step := range []func() error{s.seedOperator, s.seedClients, s.seedPeople, s.seedAcme, s.seedHostile} {
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
	if err := c.socket(h.Session, "POST", "/account/totp", nil, &app); err != nil {
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
	err = c.socket(h.Session, "POST", "/account/totp/confirm", object{"code": code}, &codes)
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
	for id, name := range map[string]string{"acme": "Acme GmbH", "other": "Other AG", "empty": "Empty Ltd", "hostile": hostile} {
		if err := s.socket("", "POST", "/tenants", object{"id": id, "name": name}, nil); err != nil {
			return err
		}
	}
	return nil
}

func (s *seeded) seedPeople() error {
	join := func(tenant, role, name string) (*person, error) {
		var l linked
		if err := s.socket("", "POST", "/tenants/"+tenant+"/invitations", object{"role": role, "note": name}, &l); err != nil {
			return nil, err
		}
		return s.enrol(l, name)
	}
	var err error
	for _, role := range roles {
		if s.people[string(role)], err = join("acme", string(role), "the-"+string(role)); err != nil {
			return err
		}
	}
	if s.people["foreign"], err = join("other", "owner", "foreign"); err != nil {
		return err
	}
	var l linked
	if err := s.socket("", "POST", "/setup-link", object{}, &l); err != nil {
		return err
	}
	if s.people["auditor"], err = s.enrol(l, "the-auditor"); err != nil {
		return err
	}
	return s.socket("", "PATCH", "/people/the-auditor", object{"roles": []string{"auditor"}}, nil)
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
	return s.socket("", "PUT", "/tenants/acme/secret?path=stripe/live", object{"data": object{"key": "sk_live_seeded_2"}}, nil)
}

// seedHostile puts hostile text wherever somebody can put text.
func (s *seeded) seedHostile() error {
	steps := []struct {
		path string
		body object
	}{
		{"/tokens", object{"name": hostile, "role": "analyst"}},
		{"/invitations", object{"role": "viewer", "note": hostile}},
		{"/sql", object{"sql": "CREATE TABLE t(" + `"` + strings.ReplaceAll(hostile, `"`, `""`) + `" TEXT)`}},
		{"/sql", object{"sql": "INSERT INTO t VALUES ('" + strings.ReplaceAll(hostile, "'", "''") + "')"}},
		{"/break-glass", object{"reason": hostile, "ttl": "15m"}},
	}
	for _, step := range steps {
		if err := s.socket("", "POST", "/tenants/hostile"+step.path, step.body, nil); err != nil {
			return err
		}
	}
	return s.socket("", "PUT", "/tenants/hostile/secret?path=a/b", object{"data": object{"key": hostile, hostile: "x"}}, nil)
}
