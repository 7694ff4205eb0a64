package ui

import (
	"net/url"
	"strings"
	"time"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
)

// clientsView is the list of the clients that one may see.
type clientsView struct {
	base
	Clients []clientRow
	Query   string // what was searched for
	Next    string // cursor of the page after this one
	MayAdd  bool
	All     bool // the list was not narrowed by a search
}

// clientRow is one client in the list.
type clientRow struct {
	ID        domain.TenantID
	Name      string
	State     status
	Role      domain.Role
	LastEvent *time.Time
	Oldest    *time.Time // the oldest credential that is still used
	OldestBad bool       // it is older than it should be
	Tokens    int
	Workloads int
	Members   int
}

// Href is the address of the client's page.
func (c clientRow) Href() string { return clientPath(c.ID, "") }

// status is a state as people read it: a word and an icon, with a colour that
// only repeats them.
type status struct{ Word, Icon, Tone string }

// stateOf gives a client's state its word.
func stateOf(s string) status {
	switch s {
	case "active":
		return status{"open", "check", "good"}
	case "suspended":
		return status{"suspended", "pause", "warn"}
	case "destroying":
		return status{"being destroyed", "cross", "bad"}
	case "destroyed":
		return status{"destroyed", "cross", "bad"}
	}
	return status{s, "dot", "plain"}
}

// oldCredential is the age from which a credential is pointed out.
const oldCredential = 90 * 24 * time.Hour

// searchPages bounds how many pages of clients one search looks through.
const searchPages = 20

// clients is the first page.
func (u *UI) clients(r *request) error {
	v := clientsView{Query: strings.TrimSpace(r.query("q")), MayAdd: r.me.May(authz.TenantCreate)}
	after := r.query("after")
	for range searchPages {
		out, err := do(r, actions.TenantMine, actions.Page{After: after, Limit: actions.DefaultPage})
		if err != nil {
			return err
		}
		for _, t := range out.Tenants {
			if row := u.clientRow(t); row.matches(v.Query) {
				v.Clients = append(v.Clients, row)
			}
		}
		v.Next, after = out.Next, out.Next
		if out.Next == "" || v.Query == "" || len(v.Clients) >= actions.DefaultPage {
			break
		}
	}
	v.All = v.Query == ""
	v.base = r.base("Clients")
	v.Wide = true
	return r.show("clients", v)
}

func (u *UI) clientRow(t actions.Overview) clientRow {
	row := clientRow{
		ID: t.ID, Name: t.Name, State: stateOf(string(t.State)), Role: t.Role, LastEvent: t.LastEvent, Oldest: t.OldestCredential,
		Tokens: t.Tokens, Workloads: t.Workloads, Members: t.Members,
	}
	row.OldestBad = t.OldestCredential != nil && u.opts.Now().Sub(*t.OldestCredential) > oldCredential
	return row
}

// matches says whether a search finds the client.
func (c clientRow) matches(query string) bool {
	query = strings.ToLower(query)
	return query == "" || strings.Contains(strings.ToLower(c.Name), query) || strings.Contains(string(c.ID), query)
}

// More is the address of the page after this one.
func (v clientsView) More() string {
	q := url.Values{"after": {v.Next}}
	if v.Query != "" {
		q.Set("q", v.Query)
	}
	return "/?" + q.Encode()
}
