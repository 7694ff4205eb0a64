package ui

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"coffer/ui/assets"
)

//go:embed templates/*.html
var templates embed.FS

// pages are the templates: each page of templates/ together with the parts whose
// names begin with an underscore.
type pages struct{ byName map[string]*template.Template }

// parsePages parses every template. One that does not parse is a fault in Coffer
// and panics.
func parsePages() *pages {
	parts := template.Must(template.New("").Funcs(functions).ParseFS(templates, "templates/_*.html"))
	p := &pages{byName: map[string]*template.Template{}}
	names, err := fs.Glob(templates, "templates/*.html")
	if err != nil {
		panic(err)
	}
	for _, file := range names {
		base := path.Base(file)
		if strings.HasPrefix(base, "_") {
			continue
		}
		t := template.Must(template.Must(parts.Clone()).ParseFS(templates, file))
		p.byName[strings.TrimSuffix(base, ".html")] = t.Option("missingkey=error")
	}
	return p
}

// names lists the pages.
func (p *pages) names() []string { return slices.Sorted(maps.Keys(p.byName)) }

var functions = template.FuncMap{
	"asset": assets.Path,
	"age":   ageText, "when": whenText, "stamp": stampText, "day": dayText,
	"plural": plural, "short": short, "join": strings.Join,
	"args": func(v ...any) []any { return v },
}

// execute runs a page, or a named part of it.
func (p *pages) execute(name, part string, v any) ([]byte, error) {
	t := p.byName[name]
	if t == nil {
		return nil, fmt.Errorf("there is no page %q", name)
	}
	var b bytes.Buffer
	err := t.ExecuteTemplate(&b, part, v)
	return b.Bytes(), err
}

// render answers with a page under a status.
func (r *request) render(status int, name string, v any) error {
	return r.send(status, name, "page", v)
}

// show answers with a page.
func (r *request) show(name string, v any) error { return r.render(fiber.StatusOK, name, v) }

// send answers with a part of a page. It is executed as a whole before anything
// is sent.
func (r *request) send(status int, name, part string, v any) error {
	b, err := r.ui.pages.execute(name, part, v)
	if err != nil {
		return fmt.Errorf("making the page %s: %w", name, err)
	}
	r.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	return r.Status(status).Send(b)
}
