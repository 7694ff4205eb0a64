package e2e_test

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// sight is one page to look at: whose it is, how one gets there, and what is to be
// seen there.
type sight struct {
	name string // of the picture, "" for none
	who  string // "" for somebody who is not signed in
	path string
	then func(*tab) // what is done there first
	sees string
}

// sights are all pages, with something in them and with nothing.
var sights = []sight{
	{"sign-in", "", "/login", nil, "Sign in"},
	{"", "", "/trust", nil, "Trust this appliance"},
	{"", "", "/setup", nil, "Set up your account"},
	{"", "", "/join", nil, "You are invited"},
	{"clients", "operator", "/", nil, "Acme GmbH"},
	{"", "owner", "/", nil, "Acme GmbH"},
	{"", "operator", "/new", nil, "Add a client"},
	{"", "operator", "/new", func(p *tab) { p.fill("Name", "x", "Id", "v1"); p.leave("Add the client") }, "Add a client"},
	{"client-added", "operator", "/new", addsClient, "is ready"},
	{"", "viewer", "/roles?role=owner", nil, "What each role may do"},
	{"", "operator", "/alerts", nil, "Alerts"},
	{"", "operator", "/people", nil, "People of this appliance"},
	{"", "operator", "/log", nil, "log"},
	{"seal", "operator", "/seal", nil, "Seal and recovery"},
	{"", "owner", "/account", nil, "Where you are signed in"},
	{"recovery-key", "operator", "/seal", func(p *tab) { p.leave("Show a new recovery key") }, "Type two groups back"},
	{"", "owner", "/account/second-factor", nil, "second factor"},
	{"client", "owner", "/clients/acme", nil, "Connect"},
	{"", "operator", "/clients/acme", nil, "Operate"},
	{"secrets", "owner", "/clients/acme/secrets", nil, "stripe/live"},
	{"", "owner", "/clients/empty/secrets", nil, "Not allowed"},
	{"", "operator", "/clients/empty/secrets", nil, "No secrets yet"},
	{"", "owner", "/clients/acme/secrets/new", nil, "Keys and values"},
	{"", "owner", "/clients/acme/secret?path=stripe/live", nil, "Versions"},
	{"", "owner", "/clients/acme/tokens", nil, "nightly export"},
	{"", "owner", "/clients/acme/tokens", issuesToken, "A new token"},
	{"", "operator", "/clients/empty/tokens", nil, "No token is live"},
	{"", "owner", "/clients/acme/workloads", nil, "nightly-export"},
	{"", "owner", "/clients/acme/workloads", addsWorkload, "can log in"},
	{"", "operator", "/clients/empty/workloads", nil, "No workload yet"},
	{"", "owner", "/clients/acme/people", nil, "the bookkeeper"},
	{"", "owner", "/clients/acme/people", invites, "A link for the new"},
	{"console", "owner", "/clients/acme/sql", func(p *tab) { p.runs("SELECT * FROM orders ORDER BY amount DESC") }, "Kowalski"},
	{"", "analyst", "/clients/acme/sql", nil, "not write"},
	{"", "owner", "/clients/acme/keys", nil, "A key that only you have"},
	{"timeline", "owner", "/clients/acme/audit", nil, "Verify now"},
	{"", "operator", "/clients/empty/audit", func(p *tab) { p.leave("Verify now") }, "Verified just now"},
	{"", "foreign", "/clients/acme", nil, "Not allowed"},
	{"", "viewer", "/nothing/here", nil, "Nothing here"},
}

// TestEveryPage looks at every page in both schemes, at a phone's width and with
// the keyboard.
func TestEveryPage(t *testing.T) {
	s := theSeeded(t)
	for _, v := range sights {
		t.Run(v.who+v.path, func(t *testing.T) {
			t.Parallel()
			p := s.as(t, v.who)
			p.watcher.allow(400, 403, 404)
			p.open(v.path)
			if v.then != nil {
				v.then(p)
			}
			p.sees(v.sees)
			p.sound()
			if v.name != "" {
				p.picture(v.name)
			}
			if v.name == "clients" {
				p.take(v.name+"-narrow", light, narrow)
			}
		})
	}
}

// addsClient fills the form for a client, its first workload and token.
func addsClient(p *tab) {
	p.fill("Name", "Bäckerei Krug")
	p.do(chromedp.SendKeys(chromedp.CSS("[name=workload]"), "web"))
	p.tick("read secrets like")
	p.leave("Add the client")
}

func issuesToken(p *tab) {
	p.press("Issue a token")
	p.fill("What it is for", "looking at the page")
	p.leave("Issue")
}

func addsWorkload(p *tab) {
	p.press("Add a workload")
	p.fill("Name", "looked-at")
	p.tick("read data with SQL")
	p.leave("Add")
}

func invites(p *tab) {
	p.press("Invite by link")
	p.leave("Make the link")
}

// runs writes a statement into the console's editor and runs it.
func (p *tab) runs(statement string) {
	p.t.Helper()
	p.until(`document.querySelector("#editor")?.shadowRoot?.querySelector(".cm-content")`)
	value[chromedp.Void](p, `document.querySelector("#editor").shadowRoot.querySelector(".cm-content").focus()`)
	p.types(statement)
	p.leave("Run")
}
