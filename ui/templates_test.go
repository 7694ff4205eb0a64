package ui_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// forbidden is what html/template does not understand, or the content security
// policy would stop. An address that htmx asks for is one field or method of the
// view, which escaped it.
var forbidden = map[string]*regexp.Regexp{
	"an attribute that htmx evaluates":        regexp.MustCompile(`hx-(on|vals|vars|headers|ext|include|params|request|disinherit)\b`),
	"a trigger with a filter":                 regexp.MustCompile(`hx-trigger="[^"]*\[`),
	"a handler in an attribute":               regexp.MustCompile(`(?i)\son[a-z]+\s*=`),
	"a style in an attribute":                 regexp.MustCompile(`(?i)\sstyle\s*=`),
	"a style or script in the page":           regexp.MustCompile(`(?i)<style|<script(>|\s[^>]*>\s*[^<\s])`),
	"an address put together in the template": regexp.MustCompile(`hx-(get|post|put|patch|delete)="(\{\{\.[A-Za-z]+\}\}[^"]|[^{"])`),
	"an address of another site":              regexp.MustCompile(`(href|src|action)="(https?:)?//`),
	"a value in an attribute without quotes":  regexp.MustCompile(`\s[a-z-]+=\{\{`),
	"JSON made in an attribute":               regexp.MustCompile(`='[^']*\{\{`),
}

var method = regexp.MustCompile(`<form [^>]*method="(post|get)"`)

// TestTemplatesForbid looks for it in every template.
func TestTemplatesForbid(t *testing.T) {
	files, err := filepath.Glob("templates/*.html")
	must(t, err)
	if len(files) < 20 {
		t.Fatalf("only %d templates", len(files))
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		must(t, err)
		for n, line := range strings.Split(string(b), "\n") {
			for what, pattern := range forbidden {
				if found := pattern.FindString(line); found != "" {
					t.Errorf("%s:%d: %s: %s", file, n+1, what, found)
				}
			}
			if strings.Contains(line, "<form ") && !method.MatchString(line) {
				t.Errorf("%s:%d: a form that does not say how it is sent", file, n+1)
			}
		}
	}
}

// TestFormsLeadSomewhere: every address that a form is sent to, or a script asks
// for, has a route of that method.
func TestFormsLeadSomewhere(t *testing.T) {
	s := newSite(t)
	routes := map[string]bool{}
	for _, r := range s.ui.Routes() {
		routes[r.Method+" "+strings.ReplaceAll(r.Path, "/clients/:tenant/", "IN ")] = true
	}
	fixed := regexp.MustCompile(`method="(post|get)"[^>]* action="(/[^"{]*)"`)
	inside := regexp.MustCompile(`method="(post|get)"[^>]* action="\{\{\$?\.?In "([^"]*)"\}\}"`)
	begun := regexp.MustCompile(`data-begin="(/[^"]*)"`)
	files, err := filepath.Glob("templates/*.html")
	must(t, err)
	seen := 0
	check := func(file, route string) {
		if seen++; !routes[route] {
			t.Errorf("%s: a form is sent to %q, which there is not", file, route)
		}
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		must(t, err)
		for _, m := range fixed.FindAllStringSubmatch(string(b), -1) {
			check(file, strings.ToUpper(m[1])+" "+m[2])
		}
		for _, m := range inside.FindAllStringSubmatch(string(b), -1) {
			check(file, strings.ToUpper(m[1])+" IN "+m[2])
		}
		for _, m := range begun.FindAllStringSubmatch(string(b), -1) {
			check(file, "POST "+m[1])
		}
	}
	if seen < 40 {
		t.Errorf("only %d forms were found", seen)
	}
}
