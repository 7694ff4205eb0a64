package e2e_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// unproven gives a session whose second factor was never proven, as the machine's
// own user gets for the command line.
func (s *seeded) unproven(t testing.TB) *person {
	t.Helper()
	h := *s.operator
	var in struct {
		Session string `json:"session"`
	}
	must(t, s.socket("", "POST", "/sessions/issue", object{"ttl": "10m"}, &in))
	h.Session = in.Session
	return &h
}

// TestRevealWithStepUp shows a secret's value: the second factor is asked for
// first, a wrong code opens nothing, and the value stands in that one answer only.
func TestRevealWithStepUp(t *testing.T) {
	s := theSeeded(t)
	p := s.tab(t)
	h := s.unproven(t)
	p.as(h)
	p.watcher.allow(401, 403)
	p.open("/clients/acme/secret?path=stripe/live")
	p.hasNot("sk_live_seeded")
	p.leave("Reveal version 2")
	p.sees("Is it you?")
	p.hasNot("sk_live_seeded")
	p.sound()

	p.fill("Code", "000000")
	p.leave("Go on")
	p.sees("Is it you?")
	p.hasNot("sk_live_seeded")

	p.fill("Code", s.operator.code(t))
	p.leave("Go on")
	p.sees("sk_live_seeded_2")

	p.hasNotInAddress("sk_live_seeded")
	p.sound()
	p.leave("Hide")
	p.hasNot("sk_live_seeded")

	// The proof holds for five minutes.
	p.leave("Reveal version 1")
	p.sees("sk_live_seeded")
	value[chromedp.Void](p, `history.back()`)
	p.until(`!document.querySelector("[data-testid=value]")`)
	p.hasNot("sk_live_seeded")

	p.open("/clients/acme/audit")
	if all := strings.Join(p.texts("[data-testid=event]"), "\n"); !strings.Contains(all, "robin read the secret stripe/live (version 2)") {
		t.Errorf("the timeline does not tell of the look:\n%.2000s", all)
	}
}

// TestWrongCodesOpenNothing tries the codes that are wrong in a way of their own.
func TestWrongCodesOpenNothing(t *testing.T) {
	s := theSeeded(t)
	used := s.operator.code(t)
	must(t, s.socket(s.unproven(t).Session, "POST", "/sessions/step-up", object{"code": used}, nil))
	for name, code := range map[string]string{"used before": used, "somebody else's": s.people["owner"].code(t), "empty": ""} {
		t.Run(name, func(t *testing.T) {
			p := s.tab(t)
			p.watcher.allow(400, 401, 403)
			p.as(s.unproven(t))
			p.open("/clients/acme/secret?path=stripe/live")
			p.leave("Reveal version 2")
			if code != "" {
				p.fill("Code", code)
			}
			p.leave("Go on")
			p.sees("Is it you?")
			p.hasNot("sk_live_seeded")
		})
	}
}

// TestWithoutScripts signs in and stores a secret with scripts switched off.
func TestWithoutScripts(t *testing.T) {
	s := theSeeded(t)
	p := s.tab(t)
	p.withoutScripts(true)
	p.signsIn(s.people["owner"])
	p.open("/clients/acme/secrets/new")
	p.fill("Path", "plain/form", "Key", "key", "Value", "typed without scripts")
	p.leave("Store")
	p.sees("plain/form")
	p.leave("Reveal version 1")
	p.sees("typed without scripts")
}
