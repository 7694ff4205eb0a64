package e2e_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// testTime is how long one test may drive its page.
const testTime = 3 * time.Minute

// tab is one page in a profile of its own, watched for what must not happen.
type tab struct {
	t       testing.TB
	ctx     context.Context
	origin  string
	watcher *watcher
}

// site is what a browser looks at: an origin, and the browser that trusts it.
type site struct {
	origin  string
	browser func() (*browser, error) // started when the first test needs it
}

func newSite(origin, ca string) *site {
	return &site{origin, sync.OnceValues(func() (*browser, error) { return startBrowser(ca) })}
}

// tab opens a page for a test.
func (s *site) tab(t testing.TB) *tab { t.Helper(); return s.tabAt(t, s.origin) }

// tabAt is tab for another of the site's names.
func (s *site) tabAt(t testing.TB, origin string) *tab {
	t.Helper()
	b, err := s.browser()
	if err != nil {
		t.Fatalf("starting Chromium: %v", err)
	}
	w := newWatcher(origin)
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(w.hear))
	ctx, cancelTime := context.WithTimeout(ctx, testTime)
	p := &tab{t, ctx, origin, w}
	t.Cleanup(func() {
		if t.Failed() {
			p.show()
		}
		for _, c := range w.take() {
			t.Errorf("the page: %s", c)
		}
		cancelTime()
		cancel()
	})
	// The page lives as long as the context of its first step.
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("opening a page: %v", err)
	}
	p.do(
		call(runtime.AddBinding, runtime.AddBindingParams{Name: violationBinding}),
		call(page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: reportViolations}),
	)
	p.look(light, 1280)
	return p
}

// stepTime is how long one step may take, so that a test that waits for what does
// not come says what that was.
const stepTime = 30 * time.Second

// within is the page for one step.
func (p *tab) within() context.Context {
	ctx, cancel := context.WithTimeout(p.ctx, stepTime)
	p.t.Cleanup(cancel)
	return ctx
}

// do runs steps, which have to work.
func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.within(), steps...); err != nil {
		p.t.Fatalf("in the page: %v", err)
	}
}

// value is what an expression in the page gives.
func value[T any](p *tab, expression string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.within(), chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("evaluating %.200s: %v", expression, err)
	}
	return v
}

// open goes to a path, as by the address bar.
func (p *tab) open(path string) {
	p.t.Helper()
	p.do(chromedp.Navigate(p.origin + path))
}

// click clicks on what a CSS selector finds, when it can be seen.
func (p *tab) click(selector string) {
	p.t.Helper()
	p.do(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// loads is a step and the page that it loads.
func loads(step chromedp.Action[chromedp.Void]) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := chromedp.WaitEvent(page.LoadEventFired, nil, step)(ctx, t)
		return err
	})
}

// text is what a person reads in the first element that a selector finds.
func (p *tab) text(selector string) string {
	p.t.Helper()
	s, err := chromedp.Run(p.within(), chromedp.Text(chromedp.CSS(selector), chromedp.NodeVisible))
	if err != nil {
		p.t.Fatalf("reading %s: %v", selector, err)
	}
	return strings.TrimSpace(s)
}

// path is where the page is, "?" if it cannot say.
func (p *tab) path() string {
	ctx, cancel := context.WithTimeout(p.ctx, time.Second)
	defer cancel()
	path, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.pathname + location.search`))
	if err != nil {
		return "?"
	}
	return path
}

// sees waits until the page shows a text.
func (p *tab) sees(text string) {
	p.t.Helper()
	p.until(`document.body.innerText.includes(` + quote(text) + `)`)
}

// hasNot fails when the page holds a text anywhere, seen or not.
func (p *tab) hasNot(text string) {
	p.t.Helper()
	if value[bool](p, `document.documentElement.outerHTML.includes(`+quote(text)+`)`) {
		p.t.Errorf("%s holds %q", p.path(), text)
	}
}

// until waits until an expression in the page holds, over loads of new documents.
func (p *tab) until(expression string) {
	p.t.Helper()
	deadline := time.Now().Add(stepTime)
	for {
		ok, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool](`Boolean(`+expression+`)`))
		switch {
		case err == nil && ok:
			return
		case time.Now().After(deadline) || p.ctx.Err() != nil:
			p.t.Fatalf("waiting for %s: %v", expression, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// scheme is a colour scheme.
type scheme string

const (
	light scheme = "light"
	dark  scheme = "dark"
)

// look makes the page be shown in a colour scheme, without movement, at a width.
func (p *tab) look(s scheme, width int64) {
	p.t.Helper()
	p.do(call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: string(s)}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}}), chromedp.EmulateViewport(width, 900))
}

// withoutScripts switches the page's own scripts off or on.
func (p *tab) withoutScripts(off bool) {
	p.t.Helper()
	p.do(call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: off}))
}

// show keeps a picture of a page that a test failed on, and logs what it says.
func (p *tab) show() {
	var where, said string
	ctx, cancel := context.WithTimeout(p.ctx, 2*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, t *chromedp.Target) (err error) {
		if where, err = chromedp.Location()(ctx, t); err == nil {
			said, err = chromedp.Evaluate[string](`document.body.innerText`)(ctx, t)
		}
		return err
	})); err != nil {
		p.t.Logf("the page cannot be shown: %v", err)
		return
	}
	p.t.Logf("the page was at %s and said:\n%.1500s", where, said)
	picture, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	if dir := os.Getenv("COFFER_E2E_FAILURES"); err == nil && dir != "" {
		name := filepath.Join(dir, strings.ReplaceAll(p.t.Name(), "/", "_")+".png")
		p.t.Logf("picture: %s (%v)", name, os.WriteFile(name, picture, 0o600))
	}
}
