package ui

import (
	"net/url"
	"time"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
)

// base is what every page shows around its own part. Each page has a view struct
// that embeds it; templates build no address themselves.
type base struct {
	Title   string
	Theme   string // light, dark, or "" for what the system says
	Path    string // of the page, for what leads back to it
	Now     time.Time
	Person  string // who is signed in, "" for nobody
	Limited bool   // signed in, but without a second factor yet
	Nav     []navItem
	Tenant  domain.TenantID // the client that the page is about, "" for none
	Role    domain.Role     // the person's role there
	Tabs    []navItem
	Notice  string // what was just done
	Version string
	Wide    bool // the page needs the whole width
}

// navItem is one place to go to.
type navItem struct {
	Text, Href, Icon string
	Current          bool
}

// base makes the frame of a page.
func (r *request) base(title string) base {
	b := base{
		Title: title, Theme: themeOf(r.Cookies(r.ui.cookieName(themeCookie))), Path: r.Path(), Now: r.ui.opts.Now().UTC(),
		Person: r.me.Name, Limited: r.who.Subject.Limited, Version: r.ui.opts.Version, Notice: notices[r.query("done")],
	}
	if r.who.Subject.Principal.Kind != domain.Person || b.Limited {
		return b
	}
	b.Nav = r.nav()
	if r.tenant != "" {
		b.Tenant, b.Role, b.Tabs = r.tenant, r.me.Role(), r.tabs()
	}
	return b
}

// nav is where the person can go, as far as it leads anywhere.
func (r *request) nav() []navItem {
	all := []struct {
		navItem
		action domain.Action
	}{
		{navItem{Text: "Clients", Href: "/", Icon: "clients"}, authz.TenantMine},
		{navItem{Text: "Alerts", Href: "/alerts", Icon: "bell"}, authz.AlertList},
		{navItem{Text: "People", Href: "/people", Icon: "people"}, authz.PersonList},
		{navItem{Text: "Seal", Href: "/seal", Icon: "key"}, authz.SealAdd},
		{navItem{Text: "Appliance log", Href: "/log", Icon: "log"}, authz.AuditSystem},
	}
	var out []navItem
	for _, item := range all {
		if !r.me.May(item.action) {
			continue
		}
		item.Current = item.Href == r.Path() || item.Href == "/" && r.tenant != ""
		out = append(out, item.navItem)
	}
	return out
}

// tabs are the pages of a client.
func (r *request) tabs() []navItem {
	all := []struct {
		text, sub string
		action    domain.Action
	}{
		{"Overview", "", authz.TenantShow},
		{"Secrets", "secrets", authz.SecretList},
		{"Tokens", "tokens", authz.TokenList},
		{"Workloads", "workloads", authz.WorkloadList},
		{"People", "people", authz.MemberList},
		{"SQL console", "sql", authz.SQLQuery},
		{"Keys", "keys", authz.ClientKeySet},
		{"Timeline", "audit", authz.AuditRead},
	}
	var out []navItem
	for _, tab := range all {
		if !r.me.May(tab.action) {
			continue
		}
		href := clientPath(r.tenant, tab.sub)
		out = append(out, navItem{Text: tab.text, Href: href, Current: href == r.Path()})
	}
	return out
}

// paged is a page of a longer list.
type paged struct{ Next string }

// NextPage is the address of the page after this one, of the page at path.
func (p paged) NextPage(path string) string { return path + "?after=" + url.QueryEscape(p.Next) }

// tenantPage asks for the page of a list of the client that the address names. A
// form that is shown again begins with the first.
func (r *request) tenantPage() actions.TenantPage {
	in := actions.TenantPage{Tenant: string(r.tenant)}
	if r.Method() == get {
		in.After = r.query("after")
	}
	return in
}

// clientPath is the address of a page of a client.
func clientPath(tenant domain.TenantID, sub string) string {
	path := "/clients/" + url.PathEscape(string(tenant))
	if sub != "" {
		path += "/" + sub
	}
	return path
}

// In is the address of a page of the client, for templates.
func (b base) In(sub string) string { return clientPath(b.Tenant, sub) }

// Crumb says whether the page stands under a client.
func (b base) Crumb() bool { return b.Tenant != "" }

// Current is the tab that the page belongs to.
func (b base) Current() string {
	for _, tab := range b.Tabs {
		if tab.Current {
			return tab.Text
		}
	}
	return ""
}

// themeOf reads the cookie of the theme.
func themeOf(cookie string) string {
	if cookie == "light" || cookie == "dark" {
		return cookie
	}
	return ""
}

// notices are the sentences that a page shows after something was done. They are
// named in the address, so that nobody can make a page say something else.
var notices = map[string]string{
	"put":              "The new version is stored.",
	"deleted":          "The version is deleted. It can be brought back.",
	"undeleted":        "The version is back.",
	"destroyed":        "The version is destroyed for good.",
	"token-revoked":    "The token is revoked. It opens nothing from now on.",
	"workload-gone":    "The workload is removed, with its secret ids and tokens.",
	"member-added":     "The person is a member now.",
	"member-role":      "The role is changed. Tokens shrank with it at once.",
	"member-gone":      "The membership has ended, and the tokens with it.",
	"invite-revoked":   "The invitation opens nothing any more.",
	"joined":           "Welcome. You are a member now.",
	"suspended":        "The client is suspended: closed for everybody until it is resumed.",
	"destroyed-client": "The client is destroyed. Its log stays until its retention ends.",
	"resumed":          "The client is open again.",
	"broken-glass":     "You are an owner for an hour at most. The reason stands in the client's log.",
	"key-set":          "The client has a key of its own now. It is open until its time is over; try the key while it is.",
	"key-open":         "The client is open.",
	"key-closed":       "The client is closed: its keys are dropped.",
	"key-removed":      "The client's own key is taken off.",
	"rotating":         "The rotation has begun. It goes on by itself.",
	"acked":            "The alert is acknowledged.",
	"recovery":         "The recovery key is confirmed. From now on it opens this appliance.",
	"slot-added":       "The key slot is added.",
	"rotated":          "The root key is replaced under every slot.",
	"slot-removed":     "The key slot is removed.",
	"password":         "The password is changed.",
	"passkey-added":    "The passkey is added.",
	"passkey-removed":  "The passkey is removed.",
	"session-ended":    "The session has ended.",
	"signed-out":       "You are signed out.",
	"all-signed-out":   "Every session has ended, this one too.",
	"role":             "The role on the appliance is changed.",
	"enrolled":         "The second factor is set up.",
}
