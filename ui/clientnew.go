package ui

import (
	"regexp"
	"strings"
	"time"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
)

// clientNewView is the form that makes a client.
type clientNewView struct {
	base
	form
	Owner string // who is suggested
}

// clientMadeView shows what a client was made with. Its secrets are shown this
// once.
type clientMadeView struct {
	base
	ID         domain.TenantID
	Name       string
	Token      string
	TokenEnds  time.Time
	Workload   string
	RoleID     string
	SecretID   string
	SecretEnds time.Time
	Snippets   []snippet
	Inside     bool // the one who made it is a member
}

// Href is the address of the client's page.
func (v clientMadeView) Href() string { return clientPath(v.ID, "") }

// snippet is a text to copy into another program.
type snippet struct{ ID, Title, Text string }

func (u *UI) clientNew(r *request) error {
	if err := r.offer(authz.TenantCreate); err != nil {
		return err
	}
	return r.clientNewPage(form{})
}

func (r *request) clientNewPage(f form) error {
	return r.render(f.status(), "client-new", clientNewView{base: r.base("Add a client"), form: f, Owner: r.me.Name})
}

func (u *UI) clientCreate(r *request) error {
	in, err := r.clientIn()
	var out actions.TenantCreated
	if err == nil {
		out, err = do(r, actions.TenantCreate, in)
	}
	if err != nil {
		f, err := r.refused("new", err)
		if err != nil {
			return err
		}
		return r.clientNewPage(f)
	}
	r.tenant = out.ID
	if r.me, err = r.service.Self(r.ctx, r.who.Subject, r.tenant); err != nil {
		return err
	}
	v := clientMadeView{base: r.base(out.Name), ID: out.ID, Name: out.Name, Inside: r.me.Role() != ""}
	if c := out.Credentials; c != nil {
		v.Workload, v.RoleID, v.SecretID, v.SecretEnds = c.Workload, c.RoleID, string(c.SecretID.Reveal()), c.Expires
	}
	if out.Token != nil {
		v.Token, v.TokenEnds = string(out.Token.Token.Reveal()), out.Token.Expires
	}
	v.Snippets = u.snippets(out.ID, v.Token, v.RoleID, v.SecretID)
	return r.show("client-made", v)
}

// clientIn reads the form.
func (r *request) clientIn() (in actions.TenantCreateIn, err error) {
	in = actions.TenantCreateIn{ID: r.text("id"), Name: r.text("name"), Owner: r.text("owner")}
	if in.ID == "" {
		in.ID = suggestID(in.Name)
	}
	if in.RetentionDays, err = r.number("retention_days"); err != nil {
		return in, err
	}
	if name := r.text("workload"); name != "" {
		in.Workload = &actions.NewWorkload{Name: name, Grants: r.grants()}
	}
	// The token is the workload's: its box is ticked before anybody names one.
	if in.Workload != nil && r.form.Has("with_token") {
		ttl, err := parseSpan("ttl", r.text("ttl"))
		if err != nil {
			return in, err
		}
		in.Token = &actions.NewToken{TTL: ttl}
	}
	return in, nil
}

// grants are the capabilities in a form: those that were ticked, and lines.
func (r *request) grants() []string {
	var out []string
	for _, g := range r.form["grant"] {
		if g = strings.TrimSpace(g); g != "" {
			out = append(out, g)
		}
	}
	return append(out, r.lines("grants")...)
}

// parseSpan reads a lifetime such as 1h; "" is the default of the operation.
func parseSpan(field, s string) (actions.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, domain.Fieldf(field, "%.40q is not a time span", s).WithHint("write it like 15m, 8h or 1h30m")
	}
	return actions.Duration(d), nil
}

var notInID = regexp.MustCompile(`[^a-z0-9]+`)

// suggestID makes an id from a name, as the script on the page does.
func suggestID(name string) string {
	umlauts := strings.NewReplacer("ä", "ae", "ö", "oe", "ü", "ue", "ß", "ss", "é", "e", "è", "e", "à", "a", "ç", "c", "ñ", "n")
	id := notInID.ReplaceAllString(umlauts.Replace(strings.ToLower(name)), "-")
	id = strings.TrimLeft(id, "-0123456789")
	return strings.Trim(id[:min(len(id), 40)], "-")
}

// snippets are how programs come to the client's secrets and data.
func (u *UI) snippets(id domain.TenantID, token, roleID, secretID string) []snippet {
	url, tenant := u.opts.URL, string(id)
	hold := token
	if hold == "" {
		hold = "cft_…"
	}
	out := []snippet{
		{"env", "Environment", "export COFFER_ADDR=" + url + "\nexport COFFER_TENANT=" + tenant + "\nexport COFFER_TOKEN=" + hold +
			"\nexport COFFER_CACERT=ca.crt"},
		{"cli", "Command line", "coffer secret list -t " + tenant + "\ncoffer secret get -t " + tenant + " stripe/live --field key"},
		{"curl", "curl", "curl --cacert ca.crt -H 'Authorization: Bearer " + hold + "' \\\n  '" + url + "/api/v1/tenants/" + tenant + "/secrets'"},
	}
	if roleID != "" {
		out = append(out, snippet{"login", "A workload logs in", "curl --cacert ca.crt -H 'Content-Type: application/json' \\\n  -d '" +
			`{"role_id":"` + roleID + `","secret_id":"` + secretID + `"}` + "' \\\n  '" + url + "/api/v1/login/workload'"})
	}
	return out
}
