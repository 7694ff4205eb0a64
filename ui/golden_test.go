package ui

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"coffer/app/actions"
	"coffer/app/authz"
)

var update = flag.Bool("update", false, "write the golden pages again")

// views are the view structs of all pages, with the part of the template that
// each is for.
var views = map[string]any{
	"account": &accountView{}, "alerts": &alertsView{}, "bounce": &bounceView{}, "client": &clientView{}, "client-made": &clientMadeView{},
	"client-new": &clientNewView{}, "clients": &clientsView{}, "codes": &codesView{}, "factor": &factorView{}, "fail": &failView{},
	"keys": &keysView{},
	"link": &linkView{}, "login": &loginView{}, "members": &membersView{}, "persons": &personsView{}, "proof": &proofView{},
	"recovery": &recoveryView{}, "roles": &rolesView{}, "seal": &sealView{}, "secret": &secretView{}, "secret-new": &secretNewView{},
	"secrets": &secretsView{}, "sql": &sqlView{}, "timeline": &timelineView{}, "tokens": &tokensView{}, "trust": &trustView{},
	"workloads": &workloadsView{},
}

// moment is the time of every golden page.
var moment = time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)

// fill fills every field of a view, so that each part of a page is there. Texts
// are made by name; those of list items differ.
func fill(v reflect.Value, name, suffix string, text func(name string) string) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		if name != "now" {
			v.Set(reflect.ValueOf(moment.Add(-26 * time.Hour)))
			return
		}
		v.Set(reflect.ValueOf(moment))
		return
	case v.Type() == reflect.TypeFor[status]():
		v.Set(reflect.ValueOf(status{text("word"), "check", "good"}))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), name, suffix, text)
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.IsExported() || f.Anonymous {
				fill(settable(v.Field(i)), strings.ToLower(f.Name), suffix, text)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), name, fmt.Sprintf("%s-%d", suffix, i+1), text)
		}
	case reflect.String:
		v.SetString(text(name) + suffix)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(numberOf(suffix)))
	case reflect.Uint64:
		v.SetUint(numberOf(suffix))
	}
}

// numberOf makes a number of a list item's place, 7 outside of lists.
func numberOf(suffix string) uint64 {
	n, err := strconv.ParseUint(strings.ReplaceAll(suffix, "-", ""), 10, 32)
	if err != nil {
		return 7
	}
	return n
}

// settable makes an embedded struct of an unexported type settable.
func settable(v reflect.Value) reflect.Value {
	return reflect.NewAt(v.Type(), v.Addr().UnsafePointer()).Elem()
}

// filled gives a page's view with every field filled.
func filled(page string, text func(string) string) any {
	v := reflect.New(reflect.TypeOf(views[page]).Elem())
	fill(v.Elem(), page, "", text)
	return v.Interface()
}

func plainText(name string) string { return name }

// hostile is a text that would run, or break out of where it stands.
func hostile(name string) string {
	return name + `"'><script>alert(1)</script><img src=x onerror=alert(2)>` + "`{{.}}"
}

// TestGolden executes every page with a full and an empty view.
func TestGolden(t *testing.T) {
	p := parsePages()
	for _, name := range p.names() {
		if views[name] == nil {
			t.Errorf("the page %s has no view struct here", name)
			continue
		}
		for kind, v := range map[string]any{"full": filled(name, plainText), "empty": views[name]} {
			got, err := p.execute(name, "page", v)
			if err != nil {
				t.Errorf("%s, %s: %v", name, kind, err)
				continue
			}
			checkPage(t, name+" "+kind, string(got))
			golden(t, name+"."+kind+".html", digests.ReplaceAllString(string(got), "/assets/DIGEST/"))
		}
	}
	if len(views) != len(p.names()) {
		t.Errorf("%d views for %d pages", len(views), len(p.names()))
	}
}

// digests are what changes whenever any asset does.
var digests = regexp.MustCompile(`/assets/[0-9a-f]{16}/`)

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is another page than before; look at it, then run: go test ./ui -run TestGolden -update\n%s", name, diff)
	}
}

var (
	ids     = regexp.MustCompile(`\sid="([^"]*)"`)
	refs    = regexp.MustCompile(`\s(?:for|aria-labelledby|aria-describedby|data-copy|data-filter|list)="([^"]*)"`)
	anchors = regexp.MustCompile(`href="#([^"]+)"`)
	inputs  = regexp.MustCompile(`<(?:input|select|textarea)\s[^>]*>`)
)

// checkPage looks for what people with a screen reader would stumble over, and
// for what the content security policy would stop.
func checkPage(t *testing.T, page, html string) {
	t.Helper()
	known := map[string]int{}
	for _, m := range ids.FindAllStringSubmatch(html, -1) {
		known[m[1]]++
		if known[m[1]] > 1 {
			t.Errorf("%s: the id %q stands there twice", page, m[1])
		}
	}
	for _, pattern := range []*regexp.Regexp{refs, anchors} {
		for _, m := range pattern.FindAllStringSubmatch(html, -1) {
			for _, id := range strings.Fields(m[1]) {
				if known[id] == 0 && !strings.Contains(page, "problem") && id != "clients" && id != "secrets" && !strings.HasPrefix(id, "which-") {
					t.Errorf("%s: %q leads to no id", page, m[0])
				}
			}
		}
	}
	labelled := map[string]bool{}
	for _, m := range regexp.MustCompile(`<label[^>]*\sfor="([^"]*)"`).FindAllStringSubmatch(html, -1) {
		labelled[m[1]] = true
	}
	for _, tag := range inputs.FindAllString(html, -1) {
		m := ids.FindStringSubmatch(tag)
		hidden := strings.Contains(tag, `type="hidden"`) || strings.Contains(tag, `type="checkbox"`) // ticks stand in their labels
		if !hidden && (m == nil || !labelled[m[1]]) {
			t.Errorf("%s: nothing labels %s", page, tag)
		}
	}
	if n := strings.Count(html, "<h1"); n != 1 {
		t.Errorf("%s: %d headings of the first rank", page, n)
	}
	if m := regexp.MustCompile(`(?i)\s(style|on[a-z]+)=|<style|javascript:|<script>`).FindString(html); m != "" {
		t.Errorf("%s: %q would be stopped", page, m)
	}
}

// TestHostileTexts puts markup into every field that a page shows.
func TestHostileTexts(t *testing.T) {
	p := parsePages()
	for _, name := range p.names() {
		got, err := p.execute(name, "page", filled(name, hostile))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, bad := range []string{"<script>alert", "<img src=x", `"'>`, "onerror=alert(2)>"} {
			if i := strings.Index(string(got), bad); i >= 0 {
				t.Errorf("%s shows %q as it is: …%s", name, bad, got[max(0, i-80):min(len(got), i+80)])
			}
		}
	}
}

// TestEveryActionHasWords: no event is shown without a sentence of its own.
func TestEveryActionHasWords(t *testing.T) {
	for _, info := range authz.Actions() {
		if verbs[info.Action] == "" {
			t.Errorf("%s has no verb", info.Action)
		}
		for _, outcome := range []string{"ok", "failed", "refused", "unknown", ""} {
			e := actions.Event{Action: string(info.Action), Outcome: outcome, Actor: "person:p_1", Type: "event"}
			if s := wordsOf(e, map[string]string{"person:p_1": "maria"}).String(); !strings.HasPrefix(s, "maria ") || len(s) < 12 {
				t.Errorf("%s, %s: %q", info.Action, outcome, s)
			}
		}
	}
}
