package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/chromedp/chromedp"
)

// axe is the program that looks for what keeps people out of a page.
var axe = sync.OnceValues(func() ([]byte, error) {
	return os.ReadFile(filepath.Join("testdata", "axe", "axe.min.js"))
})

// finding is one of its findings.
type finding struct {
	ID, Impact, Help string
	Nodes            []struct{ HTML, FailureSummary string }
}

// runAxe looks at the page as it stands, with all rules or with those that the
// colours can break.
const (
	runAxe     = `axe.run(document, {resultTypes: ["violations"]})` + axeFindings
	runColours = `axe.run(document, {resultTypes: ["violations"], runOnly: ["color-contrast", "link-in-text-block"]})` + axeFindings
)

const axeFindings = `.then((r) => r.violations.map((v) => ({
	id: v.id, impact: v.impact, help: v.help,
	nodes: v.nodes.slice(0, 4).map((n) => ({html: n.html, failureSummary: n.failureSummary})),
})))`

// audit is what axe finds that is serious or critical.
func (p *tab) audit(run string) (out []finding) {
	p.t.Helper()
	code, err := axe()
	if err != nil {
		p.t.Fatal(err)
	}
	if !value[bool](p, `typeof axe === "object"`) {
		p.do(chromedp.Evaluate[chromedp.Void](string(code)))
	}
	for _, f := range value[[]finding](p, run) {
		if f.Impact == "serious" || f.Impact == "critical" {
			out = append(out, f)
		}
	}
	return out
}

// accessible fails the test with each of those findings.
func (p *tab) accessible(run string) {
	p.t.Helper()
	for _, f := range p.audit(run) {
		var where strings.Builder
		for _, n := range f.Nodes {
			where.WriteString("\n\t" + n.HTML + "\n\t" + strings.ReplaceAll(n.FailureSummary, "\n", "\n\t"))
		}
		p.t.Errorf("%s: %s (%s): %s%s", p.path(), f.ID, f.Impact, f.Help, where.String())
	}
}
