package e2e_test

import (
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// narrow is the width of a small phone, in CSS pixels.
const narrow = 360

// fits fails the test when the page, at a small phone's width, has to be scrolled
// sideways; it says which elements stick out.
func (p *tab) fits() {
	p.t.Helper()
	p.look(light, narrow)
	defer p.look(light, 1280)
	if wide := value[[]string](p, `(() => {
		const width = document.documentElement.clientWidth;
		if (document.documentElement.scrollWidth <= width) return [];
		const scrolls = (e) => e && e !== document.body && e !== document.documentElement &&
			(["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
		return [...document.body.querySelectorAll("*")]
			.filter((e) => e.getBoundingClientRect().right > width + 0.5 && !scrolls(e.parentElement))
			.slice(0, 5).map((e) => e.cloneNode(false).outerHTML + " ends at " + Math.round(e.getBoundingClientRect().right))
			.concat("scrollWidth is " + document.documentElement.scrollWidth);
	})()`); len(wide) > 0 {
		p.t.Errorf("%s does not fit %d pixels: %q", p.path(), narrow, wide)
	}
}

// focusables lists what the keyboard has to reach: what can be seen and used, one
// of each group of radio buttons.
const focusables = `[...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")].filter((e) =>
	!e.disabled && e.tabIndex >= 0 && e.type !== "hidden" && e.checkVisibility({checkVisibilityCSS: true}) &&
	!(e.type === "radio" && !e.checked && [...document.querySelectorAll("input[type=radio]")].some(
		(o) => o !== e && o.name === e.name && o.form === e.form && (o.checked || o.compareDocumentPosition(e) & 4))))`

// focused says what has the focus and whether one can see that: an outline, a
// shadow, or another border or background than without it.
const focused = `(() => {
	const e = document.activeElement;
	if (!e || e === document.body) return {at: -1, what: "", seen: true};
	const inner = e.shadowRoot?.activeElement;
	const shown = inner ? (inner.closest(".cm-editor") ?? inner) : e;
	const style = getComputedStyle(shown);
	const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== "none";
	return {at: (window.__focusables ??= ` + focusables + `).indexOf(e), what: e.cloneNode(false).outerHTML, seen};
})()`

// focusAt is what focused gives.
type focusAt struct {
	At   int
	What string
	Seen bool
}

// walks presses Tab through the whole page: everything is reached, the focus can
// be seen wherever it is, and it gets out again.
func (p *tab) walks() {
	p.t.Helper()
	value[chromedp.Void](p, `window.__focusables = `+focusables+`; document.activeElement?.blur(); window.scrollTo(0, 0)`)
	names := value[[]string](p, `window.__focusables.map((e) => e.cloneNode(false).outerHTML)`)
	reached := map[int]bool{}
	for range len(names) + 5 {
		p.do(chromedp.KeyEvent(kb.Tab))
		f := value[focusAt](p, focused)
		if !f.Seen && !reached[f.At] {
			p.t.Errorf("%s: nobody sees the focus on %s", p.path(), f.What)
		}
		if f.At >= 0 {
			reached[f.At] = true
		}
		if len(reached) == len(names) {
			break
		}
	}
	for i, name := range names {
		if !reached[i] {
			p.t.Errorf("%s: the keyboard does not reach %s", p.path(), name)
		}
	}
	if len(names) == 0 {
		p.t.Errorf("%s has nothing that the keyboard could reach", p.path())
	}
}

// sound looks at the page as it stands in every way: both schemes, a phone's
// width, the keyboard.
func (p *tab) sound() {
	p.t.Helper()
	p.look(dark, 1280)
	p.accessible(runColours)
	p.look(light, 1280)
	p.accessible(runAxe)
	p.fits()
	p.walks()
	if got := value[int](p, `document.querySelectorAll("h1").length`); got != 1 {
		p.t.Errorf("%s has %d headings of the first order", p.path(), got)
	}
	if title := value[string](p, `document.title`); title == "" || title == "undefined" {
		p.t.Errorf("%s has no title", p.path())
	}
	p.static()
}

// static fails the test when the document holds what the policy forbids, also
// where nothing triggered it.
func (p *tab) static() {
	p.t.Helper()
	for _, bad := range value[[]string](p, `[...document.querySelectorAll("*")].flatMap((e) => [...e.attributes].filter((a) =>
		a.name === "style" || a.name.startsWith("on") || a.name.startsWith("hx-on") ||
		["hx-vals", "hx-headers", "hx-vars"].includes(a.name) || /^\s*javascript:/i.test(a.value)
	).map((a) => e.localName + " " + a.name + "=" + a.value))`) {
		p.t.Errorf("%s: %s", p.path(), bad)
	}
	if n := value[int](p, `document.querySelectorAll("script:not([src]), style, iframe, object, embed, base").length`); n > 0 {
		p.t.Errorf("%s has %d elements that no page of ours has", p.path(), n)
	}
}
