package e2e_test

import (
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
)

// The tests name things as people do: a field by its label, a button or a link by
// its words. So they also fail when a label is not bound to its field.

// finders define, in the page, how things are found.
const finders = `(() => {
	const seen = (e) => e.checkVisibility({checkVisibilityCSS: true, checkOpacity: true});
	const clean = (s) => (s ?? "").replace(/\s+/g, " ").trim().toLowerCase();
	const best = (all, name, text) => all.find((e) => clean(text(e)) === clean(name)) ??
		all.find((e) => clean(text(e)).startsWith(clean(name))) ?? all.find((e) => clean(text(e)).includes(clean(name))) ?? null;
	const words = (e) => e.getAttribute("aria-label") || (e.localName === "input" ? e.value : e.innerText);
	return {
		field: (name) => {
			const label = best([...document.querySelectorAll("label")].filter((l) => l.control && (seen(l) || seen(l.control))), name, (l) => l.innerText);
			return label?.control ?? best([...document.querySelectorAll("[aria-label]")].filter((e) => e.matches("input, select, textarea")), name,
				(e) => e.getAttribute("aria-label"));
		},
		press: (name) => best([...document.querySelectorAll("button, a[href], summary, input[type=submit]")].filter((e) => seen(e) && !e.disabled),
			name, words),
	};
})()`

// field finds a field by its label.
func field(label string) chromedp.JSPath {
	return chromedp.JSPath(finders + `.field(` + quote(label) + `)`)
}

// button finds a button, a link or a summary by its words.
func button(words string) chromedp.JSPath {
	return chromedp.JSPath(finders + `.press(` + quote(words) + `)`)
}

// fill types into fields, given as label and text in turn.
func (p *tab) fill(pairs ...string) {
	p.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		f := field(pairs[i])
		steps := []chromedp.Action[chromedp.Void]{
			chromedp.WaitVisible(f), chromedp.Focus(f),
			chromedp.Evaluate[chromedp.Void](`document.activeElement.select?.()`), // what is typed replaces what was there
			call(input.InsertText, input.InsertTextParams{Text: pairs[i+1]}),
		}
		if err := chromedp.Do(p.within(), steps...); err != nil {
			p.t.Fatalf("%s: filling the field %q: %v", p.path(), pairs[i], err)
		}
	}
}

// choose takes an option of a list, by its value.
func (p *tab) choose(label, option string) {
	p.t.Helper()
	if err := chromedp.Do(p.within(), chromedp.WaitVisible(field(label)), chromedp.SetValue(field(label), option)); err != nil {
		p.t.Fatalf("%s: choosing %q in %q: %v", p.path(), option, label, err)
	}
}

// tick clicks on a box, by its label.
func (p *tab) tick(label string) {
	p.t.Helper()
	if err := chromedp.Do(p.within(), chromedp.Click(field(label), chromedp.NodeVisible)); err != nil {
		p.t.Fatalf("%s: ticking %q: %v", p.path(), label, err)
	}
}

// press presses a button, a link or a summary.
func (p *tab) press(words string) {
	p.t.Helper()
	if err := chromedp.Do(p.within(), chromedp.Click(button(words), chromedp.NodeVisible)); err != nil {
		p.t.Fatalf("%s: pressing %q: %v", p.path(), words, err)
	}
}

// leave presses what leads to another document, and waits until it is there.
func (p *tab) leave(words string) {
	p.t.Helper()
	if err := chromedp.Do(p.within(), loads(chromedp.Click(button(words), chromedp.NodeVisible))); err != nil {
		p.t.Fatalf("%s: pressing %q: %v", p.path(), words, err)
	}
}
