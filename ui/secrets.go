package ui

import (
	"net/url"
	"strings"
	"time"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
)

// secretsView lists a client's secrets: paths and ages, no values.
type secretsView struct {
	base
	Secrets []secretRow
	Prefix  string
	Next    string
	MayPut  bool
}

type secretRow struct {
	Path     string
	Current  int
	Versions int
	Updated  time.Time
	Old      bool
	Deleted  bool
	Href     string
}

// More is the address of the page after this one.
func (v secretsView) More() string {
	return v.In("secrets") + "?" + url.Values{"prefix": {v.Prefix}, "after": {v.Next}}.Encode()
}

func (u *UI) secrets(r *request) error {
	in := actions.SecretListIn{Tenant: string(r.tenant), Prefix: r.query("prefix"), Page: actions.Page{After: r.query("after")}}
	out, err := do(r, actions.SecretList, in)
	if err != nil {
		return err
	}
	v := secretsView{base: r.base("Secrets"), Prefix: in.Prefix, Next: out.Next, MayPut: r.me.May(authz.SecretPut)}
	for _, s := range out.Secrets {
		v.Secrets = append(v.Secrets, secretRow{
			Path: s.Path, Current: s.Current, Versions: s.Versions, Updated: s.Updated, Deleted: s.Deleted,
			Old: u.opts.Now().Sub(s.Updated) > oldCredential, Href: secretPath(r.tenant, s.Path),
		})
	}
	return r.show("secrets", v)
}

// secretPath is the address of a secret's page. The path stands in the query: it
// is no secret, but has slashes.
func secretPath(tenant domain.TenantID, path string) string {
	return clientPath(tenant, "secret") + "?path=" + url.QueryEscape(path)
}

// secretNewView is the form for a new secret, or a new version of one.
type secretNewView struct {
	base
	form
	SecretPath string // of the secret that gets a version, "" for a new one
	Rows       []int  // numbers of the lines of the form
}

// firstRows is how many lines of key and value the form has without scripts.
const firstRows = 3

func (u *UI) secretNew(r *request) error {
	if err := r.offer(authz.SecretPut); err != nil {
		return err
	}
	return r.secretNewPage(form{}, r.query("path"))
}

func (r *request) secretNewPage(f form, path string) error {
	v := secretNewView{base: r.base("New secret"), form: f, SecretPath: path, Rows: []int{0, 1, 2}[:firstRows]}
	if path != "" {
		v.Title = "New version of " + path
	}
	return r.render(f.status(), "secret-new", v)
}

func (u *UI) secretPut(r *request) error {
	path := r.text("path")
	data, err := r.secretData()
	if err == nil {
		defer data.Zero()
		in := actions.SecretPutIn{Tenant: string(r.tenant), Path: path, Data: domain.JSON{Secret: data}}
		if r.form.Has("fresh") {
			none := 0
			in.CAS = &none // the form is for a new secret: it must not replace one
		}
		_, err = do(r, actions.SecretPut, in)
	}
	if err != nil {
		f, err := r.refused("put", err)
		if err != nil {
			return err
		}
		known := path
		if r.form.Has("fresh") {
			known = ""
		}
		return r.secretNewPage(f, known)
	}
	return r.seeOther(secretPath(r.tenant, path), "put")
}

// secretData reads the keys and values of the form into the JSON object that a
// secret is.
func (r *request) secretData() (domain.Secret, error) {
	keys, values := r.form["key"], r.form["value"]
	if len(keys) != len(values) {
		return domain.Secret{}, domain.Errorf(domain.Invalid, "the form has other numbers of keys and values")
	}
	var entries []entry
	seen := map[string]bool{}
	for i, key := range keys {
		key = strings.TrimSpace(key)
		switch {
		case key == "" && values[i] == "":
			continue
		case key == "":
			return domain.Secret{}, domain.Fieldf("key", "a value without a key").WithHint("for example: password")
		case seen[key]:
			return domain.Secret{}, domain.Fieldf("key", "%.40q stands there twice", key)
		}
		seen[key] = true
		entries = append(entries, entry{key, values[i]})
	}
	if len(entries) == 0 {
		return domain.Secret{}, domain.Fieldf("key", "a secret needs at least one key with a value")
	}
	return encodeEntries(entries)
}

// secretView is one secret with its versions, and with the value of one of them
// if it was asked for.
type secretView struct {
	base
	form
	SecretPath string
	Created    time.Time
	Versions   []versionRow // newest first
	Shown      *shown
	May        struct{ Read, Put, Delete, Undelete, Destroy bool }
}

type versionRow struct {
	Number  int
	Created time.Time
	By      string
	State   status
	Current bool
	Live    bool
	Deleted bool // can be brought back
	Gone    bool
}

// shown is a value that was asked for, in the answer to that request alone.
type shown struct {
	Version int
	Entries []entry
}

type entry struct{ Key, Value string }

// Back is the address of the page without the value.
func (v secretView) Back() string { return secretPath(v.Tenant, v.SecretPath) }

// NewVersion is the address of the form for another version.
func (v secretView) NewVersion() string {
	return v.In("secrets/new") + "?path=" + url.QueryEscape(v.SecretPath)
}

func (u *UI) secret(r *request) error { return r.secretPage(form{}, r.query("path"), nil) }

func (r *request) secretPage(f form, path string, value *shown) error {
	out, err := do(r, actions.SecretVersions, actions.SecretRef{Tenant: string(r.tenant), Path: path})
	if err != nil {
		return err
	}
	v := secretView{base: r.base(path), form: f, SecretPath: path, Created: out.Created, Shown: value}
	v.Tabs = markTab(v.Tabs, "Secrets")
	var ids []string
	for _, version := range out.Versions {
		ids = append(ids, version.By)
	}
	names, err := r.service.Names(r.ctx, r.tenant, ids)
	if err != nil {
		return err
	}
	for i := len(out.Versions) - 1; i >= 0; i-- {
		version := out.Versions[i]
		row := versionRow{
			Number: version.Number, Created: version.Created, By: named(names, version.By), Current: version.Number == out.Current,
			Live: version.Live(), Deleted: version.Deleted != nil && version.Destroyed == nil, Gone: version.Destroyed != nil,
			State: status{"readable", "check", "good"},
		}
		switch {
		case row.Gone:
			row.State = status{"destroyed", "cross", "bad"}
		case row.Deleted:
			row.State = status{"deleted", "pause", "warn"}
		}
		v.Versions = append(v.Versions, row)
	}
	v.May.Read, v.May.Put = r.me.May(authz.SecretRead), r.me.May(authz.SecretPut)
	v.May.Delete, v.May.Undelete, v.May.Destroy = r.me.May(authz.SecretDelete), r.me.May(authz.SecretUndelete), r.me.May(authz.SecretDestroy)
	return r.render(f.status(), "secret", v)
}

// markTab marks the tab of a page that stands below it.
func markTab(tabs []navItem, text string) []navItem {
	for i := range tabs {
		tabs[i].Current = tabs[i].Text == text
	}
	return tabs
}

// secretRef is the version that a form names.
func (r *request) secretRef() (actions.SecretRef, error) {
	n, err := r.number("version")
	return actions.SecretRef{Tenant: string(r.tenant), Path: r.form.Get("path"), Version: n}, err
}

func (u *UI) secretReveal(r *request) error {
	ref, err := r.secretRef()
	var out actions.SecretValue
	if err == nil {
		out, err = do(r, actions.SecretRead, ref)
	}
	if err != nil {
		return r.secretRefused(ref, err)
	}
	entries, err := decodeEntries(out.Data.Secret)
	if err != nil {
		return err
	}
	return r.secretPage(form{}, ref.Path, &shown{out.Number, entries})
}

func (r *request) secretRefused(ref actions.SecretRef, err error) error {
	f, err := r.refused("version", err)
	if err != nil {
		return err
	}
	return r.secretPage(f, ref.Path, nil)
}

// onSecret makes the handler of a form that changes one version.
func onSecret(op actions.Operation[actions.SecretRef, actions.SecretVersion], done string) func(*request) error {
	return func(r *request) error {
		ref, err := r.secretRef()
		if err == nil {
			_, err = do(r, op, ref)
		}
		if err != nil {
			return r.secretRefused(ref, err)
		}
		return r.seeOther(secretPath(r.tenant, ref.Path), done)
	}
}
