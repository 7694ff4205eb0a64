package e2e_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestFromSetupLinkToLiveEvent is the main job, from the first start to the first
// event: the printed link, the operator's account, the recovery key, a client with
// a workload and a token, the token used by curl, and its event seen in the
// timeline without a reload. Then the client's own person is invited.
func TestFromSetupLinkToLiveEvent(t *testing.T) {
	c := freshCoffer(t)
	p := c.tab(t)
	operator := p.takesUp(c.ready["setup"], "robin")
	t.Run("a setup link works once", func(t *testing.T) {
		again := c.tab(t)
		again.watcher.allow(400, 401, 403, 404)
		again.open(strings.TrimPrefix(c.ready["setup"], c.origin))
		again.until(`document.querySelector("[data-testid=problem]")`)
	})
	p.t = t

	makeRecoveryKey(t, p)
	token := makeFirstClient(t, p)
	p.leave("Store its first secret")
	p.fill("Path", "stripe/live", "Key", "key", "Value", "sk_live_1")
	p.leave("Store")
	p.sees("stripe/live")

	seeCurlLive(t, c, p, token)
	verifyNow(t, p)
	inviteToClient(t, c, p)

	p.leave("Sign out")
	p.signsIn(operator)
	p.sees("Acme GmbH")
}

// makeRecoveryKey shows the recovery key and types two of its groups back.
func makeRecoveryKey(t *testing.T, p *tab) {
	t.Helper()
	p.open("/seal")
	p.sees("There is no recovery key")
	p.leave("Show a new recovery key")
	confirmRecovery(t, p)
	p.until(`location.pathname === "/seal"`)
	p.sees("A recovery key is confirmed")
}

// confirmRecovery types back the groups that the page asks for.
func confirmRecovery(t *testing.T, p *tab) {
	t.Helper()
	groups := p.texts("[data-testid=groups] code")
	labels := p.texts("[data-testid=confirm] label")
	if len(labels) != 2 || len(groups) < 4 {
		t.Fatalf("%d groups, of which %q are asked back", len(groups), labels)
	}
	numbers := p.texts("[data-testid=groups] .n")
	for _, l := range labels {
		for i, n := range numbers {
			if l == "Group "+n {
				p.fill(l, groups[i])
			}
		}
	}
	p.leave("Confirm the key")
}

// makeFirstClient adds a client in one form, and gives its first token.
func makeFirstClient(t *testing.T, p *tab) string {
	t.Helper()
	p.open("/")
	p.leave("Add the first client")
	p.fill("Name", "Acme GmbH", "Id", "acme")
	p.choose("Keep the log for", "365")
	p.do(chromedp.SendKeys(chromedp.CSS("[name=workload]"), "web"))
	p.tick("read secrets like")
	p.leave("Add the client")
	p.sees("Acme GmbH is ready")
	token := p.text("[data-testid=made-token]")
	if !strings.HasPrefix(token, "cft_") {
		t.Fatalf("the token is %q", token)
	}
	if snippet := strings.Join(p.texts("pre"), "\n"); !strings.Contains(snippet, p.origin) || !strings.Contains(snippet, token) {
		t.Errorf("the snippets name neither address nor token:\n%s", snippet)
	}
	return token
}

// seeCurlLive has curl use the token while the timeline is open.
func seeCurlLive(t *testing.T, c *coffer, p *tab, token string) {
	t.Helper()
	p.open("/clients/acme/audit")
	value[chromedp.Void](p, `window.notReloaded = true`)
	before := len(p.texts("[data-testid=event]"))
	got := c.curl(t, "--fail", "-H", "Authorization: Bearer "+token, c.origin+"/api/v1/tenants/acme/secret?path=stripe/live")
	if !strings.Contains(got, "sk_live_1") {
		t.Fatalf("curl got %s", got)
	}
	p.until(`document.querySelector("[data-testid=fresh]")?.innerText.includes("stripe/live")`)
	if !value[bool](p, `window.notReloaded === true`) {
		t.Error("the page was loaded again")
	}
	if after := len(p.texts("[data-testid=event]")); after <= before {
		t.Errorf("%d events before, %d after", before, after)
	}
	p.hasNot("sk_live_1")
	p.hasNot(token)
}

// verifyNow really verifies.
func verifyNow(t *testing.T, p *tab) {
	t.Helper()
	p.leave("Verify now")
	if got := p.text("[data-testid=verdict]"); !strings.Contains(got, "Verified just now") {
		t.Errorf("the verdict: %s", got)
	}
}

// inviteToClient invites a person of the client, who then sees that client only.
func inviteToClient(t *testing.T, c *coffer, owner *tab) {
	t.Helper()
	owner.open("/new")
	owner.fill("Name", "Other AG", "Id", "other")
	owner.leave("Add the client")
	owner.sees("Other AG is ready")
	owner.open("/clients/acme/people")
	owner.press("Invite by link")
	owner.choose("Role", "analyst")
	owner.fill("For whom", "Dana of Acme")
	owner.leave("Make the link")
	link := owner.text("[data-testid=link-url]")

	p := c.tab(t)
	p.takesUp(link, "dana")
	p.open("/")
	if rows := p.texts("#clients tbody tr th a"); len(rows) != 1 || rows[0] != "Acme GmbH" {
		t.Errorf("the client's person sees %q", rows)
	}
	p.hasNot("Other AG")
	p.watcher.allow(403)
	for _, path := range []string{"/clients/other", "/clients/other/secrets", "/clients/nothere", "/seal", "/new", "/people", "/log"} {
		p.refused(path)
	}
	same := func(path string) string {
		p.open(path)
		return value[string](p, `document.querySelector("main").innerText`)
	}
	if a, b := same("/clients/other"), same("/clients/nothere"); a != b {
		t.Errorf("a foreign and an unknown client differ:\n%s\n%s", a, b)
	}
}

// refused goes to a path by its address, and is refused.
func (p *tab) refused(path string) {
	p.t.Helper()
	if got := p.status(path); got != 403 {
		p.t.Errorf("%s answered %d", path, got)
	}
}

// status goes to a path, and says with which status it was answered.
func (p *tab) status(path string) int64 {
	p.t.Helper()
	r, err := chromedp.Run(p.within(), chromedp.NavigateResponse(p.origin+path))
	if err != nil {
		p.t.Fatalf("%s: %v", path, err)
	}
	return r.Status
}
