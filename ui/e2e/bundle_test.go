package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestHtmxUnderStrictPolicy swaps under the policy, with no violation.
func TestHtmxUnderStrictPolicy(t *testing.T) {
	p := openTestPage(t, "/bundles.html")
	p.click("#swap")
	p.sees("swapped")
	if value[bool](p, `"scriptRan" in window`) {
		t.Error("a script in a swapped fragment ran")
	}
	p.accessible(runAxe)
}

// TestHostileFragmentRunsNothing swaps what an attacker would write. The policy
// speaks up; nothing runs and nothing is loaded from elsewhere.
func TestHostileFragmentRunsNothing(t *testing.T) {
	p := openTestPage(t, "/bundles.html")
	p.watcher.allow(404)
	p.click("#hostile")
	p.sees("hostile")
	p.click("#eval")
	p.until(`performance.getEntriesByType("resource").some((e) => e.name.endsWith("nothing.png"))`)
	if value[bool](p, `"scriptRan" in window`) {
		t.Error("a hostile fragment ran something")
	}
	said := strings.Join(p.watcher.take(), "\n")
	for _, want := range []string{"script-src", "frame-src"} {
		if !strings.Contains(said, want) {
			t.Errorf("no violation of %s was seen in:\n%s", want, said)
		}
	}
}

// TestEditorUnderStrictPolicy writes in the editor, in both schemes, with no
// violation: its styles live in a shadow root.
func TestEditorUnderStrictPolicy(t *testing.T) {
	p := openTestPage(t, "/bundles.html")
	for _, s := range []scheme{light, dark} {
		p.look(s, 1280)
		p.until(`window.editor?.dark === ` + map[scheme]string{light: "false", dark: "true"}[s])
		p.accessible(runAxe)
		if got := value[bool](p, `document.querySelector("#editor").shadowRoot.adoptedStyleSheets.length > 0 &&
			!document.querySelector("style")`); !got {
			t.Error("the editor's styles are not in its shadow root")
		}
	}
	value[chromedp.Void](p, `window.editor.text = ""; window.editor.focus()`)
	p.do(call(input.InsertText, input.InsertTextParams{Text: "SELECT 2"}))
	if got := value[string](p, `window.editor.text`); got != "SELECT 2" {
		t.Errorf("the editor holds %q", got)
	}
	p.do(chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(chromedp.ModifierCtrl)))
	if got := value[string](p, `window.ran.join() + "|" + window.heard.at(-1)`); got != "SELECT 2|SELECT 2" {
		t.Errorf("the page heard %q", got)
	}
	value[chromedp.Void](p, `window.editor.readOnly = true`)
	p.do(call(input.InsertText, input.InsertTextParams{Text: "no"}))
	if got := value[string](p, `window.editor.text`); got != "SELECT 2" {
		t.Errorf("read only, the editor holds %q", got)
	}
}

// TestTabLeavesTheEditor keeps the editor from being a trap for the keyboard.
func TestTabLeavesTheEditor(t *testing.T) {
	p := openTestPage(t, "/bundles.html")
	p.until(`window.editor`)
	value[chromedp.Void](p, `window.editor.focus()`)
	p.do(chromedp.KeyEvent(kb.Tab, chromedp.KeyModifiers(chromedp.ModifierShift)))
	if got := value[string](p, `document.activeElement.id`); got != "hostile" {
		t.Errorf("the focus went to %q", got)
	}
}

// TestWatcherSeesWhatMustNotBe is the control: a page with every fault gets every
// complaint, or the other tests would prove nothing.
func TestWatcherSeesWhatMustNotBe(t *testing.T) {
	p := openTestPage(t, "/broken.html")
	p.sees("Broken")
	p.until(`document.readyState === "complete"`)
	found := p.audit(runAxe)
	said := strings.Join(p.watcher.take(), "\n")
	for _, want := range []string{
		"policy violated: style-src-elem blocked inline", "policy violated: script-src-elem blocked inline",
		"policy violated: script-src-elem blocked https://elsewhere.example/lib.js",
		"policy violated: require-trusted-types-for blocked trusted-types-sink",
		"console.error: \"an error on the console\"", "uncaught: Uncaught Error: nobody catches this",
		"/missing.png answered 404",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("nobody said %q in:\n%s", want, said)
		}
	}
	var ids []string
	for _, f := range found {
		ids = append(ids, f.ID)
	}
	for _, want := range []string{"image-alt", "label", "color-contrast"} {
		if !strings.Contains(strings.Join(ids, " "), want) {
			t.Errorf("axe did not find %s, only %v", want, ids)
		}
	}
}

// TestBundlePageIsSound looks at a page that has nothing wrong.
func TestBundlePageIsSound(t *testing.T) {
	p := openTestPage(t, "/bundles.html")
	p.until(`window.editor`)
	p.sound()
}

// TestLookSeesFaults is the control for the looks that need no axe.
func TestLookSeesFaults(t *testing.T) {
	for _, c := range []struct {
		name, want, never string
		look              func(*tab)
	}{
		{"width", `id=\"wide\"`, `id=\"box\"`, (*tab).fits},
		{"focus", `nobody sees the focus on <button id="unseen">`, `id="seen"`, (*tab).walks},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := openTestPage(t, "/narrow.html")
			said := &noting{TB: t}
			p.t = said
			c.look(p)
			if all := strings.Join(said.errors, "\n"); !strings.Contains(all, c.want) || strings.Contains(all, c.never) {
				t.Errorf("said %q", all)
			}
		})
	}
}

// noting is a test that notes its errors instead of failing.
type noting struct {
	testing.TB
	errors []string
}

// Errorf notes.
func (n *noting) Errorf(format string, args ...any) {
	n.errors = append(n.errors, fmt.Sprintf(format, args...))
}

// TestPasskeysNeedATrustedCertificate is what decides when the product offers
// them: Chromium makes none on a site whose certificate it does not trust, nor for
// an address, whatever the person clicks away. A virtual authenticator hides that,
// so there is none here.
func TestPasskeysNeedATrustedCertificate(t *testing.T) {
	s, err := testPages()
	if err != nil {
		t.Fatal(err)
	}
	named := strings.Replace(s.origin, "127.0.0.1", byName, 1)
	untrusting := newSite(named, "")

	p := untrusting.tab(t)
	p.do(call(security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{Ignore: true}))
	p.open("/bundles.html")
	if got := p.refusesPasskeys(); !strings.Contains(got, "TLS certificate errors") {
		t.Errorf("without trust: %q", got)
	}

	p = s.tab(t)
	p.open("/bundles.html")
	if got := p.refusesPasskeys(); !strings.HasPrefix(got, "SecurityError: ") {
		t.Errorf("at an address: %q", got)
	}

	p = s.tabAt(t, named)
	p.withPasskeys()
	p.open("/bundles.html")
	if got := p.refusesPasskeys(); got != "" {
		t.Errorf("with trust, by name: %q", got)
	}
}
