package ui

import (
	"net/url"
	"time"

	"coffer/app/actions"
	"coffer/app/domain"
)

// loginView is the page on which people sign in.
type loginView struct {
	base
	form
	Next     string // where to go then
	Passkeys bool
	Clock    time.Time // of the server: codes depend on it
}

func (u *UI) login(r *request) error { return r.loginPage(form{}, localPath(r.query("next"))) }

func (r *request) loginPage(f form, next string) error {
	now := r.ui.opts.Now().UTC()
	v := loginView{base: r.base("Sign in"), form: f, Next: next, Passkeys: r.passkeys(), Clock: now}
	return r.render(f.status(), "login", v)
}

func (u *UI) signIn(r *request) error {
	if err := r.open(); err != nil {
		return err
	}
	next := localPath(r.text("next"))
	out, err := do(r, actions.SignIn, actions.SignInIn{
		Name: r.text("name"), Password: r.secret("password"), Code: domain.SecretString(r.text("code")), Device: u.cookie(r.Ctx, deviceCookie),
	})
	return r.signInDone(out, err, next)
}

// signInDone begins the session, or says why there is none.
func (r *request) signInDone(out actions.SignedIn, err error, next string) error {
	if err != nil {
		f, err := r.refused("login", err)
		if err != nil {
			return err
		}
		return r.loginPage(f, next)
	}
	r.beginSession(out)
	if out.Limited {
		return r.seeOther("/account/second-factor", "")
	}
	return r.seeOther(next, "")
}

// beginSession gives the browser the new session. Whatever session it brought is
// ended: nobody goes on with one that somebody else put there.
func (r *request) beginSession(out actions.SignedIn) {
	if old := r.ui.cookie(r.Ctx, sessionCookie); old.Len() > 0 {
		if r.know(old) == nil {
			_, _ = do(r, actions.SignOut, actions.Nothing{}) // it ends by itself else
		}
	}
	r.ui.setCookie(r.Ctx, sessionCookie, string(out.Session.Reveal()), 0)
	if out.Device.Len() > 0 {
		r.ui.setCookie(r.Ctx, deviceCookie, string(out.Device.Reveal()), deviceAge)
	}
}

func (u *UI) signOut(r *request) error {
	if _, err := do(r, actions.SignOut, actions.Nothing{}); err != nil {
		return err
	}
	u.forget(r)
	return r.seeOther("/login", "signed-out")
}

// forget makes the browser drop the session and what it keeps of pages.
func (u *UI) forget(r *request) {
	u.dropCookie(r.Ctx, sessionCookie)
	r.Set("Clear-Site-Data", `"cache"`)
}

// passkeyBegin gives a challenge for signing in, as JSON for our script.
func (u *UI) passkeyBegin(r *request) error {
	if err := r.open(); err != nil {
		return err
	}
	out, err := do(r, actions.PasskeySignInBegin, actions.Nothing{})
	if err != nil {
		return err
	}
	return r.JSON(out)
}

func (u *UI) passkeySignIn(r *request) error {
	if err := r.open(); err != nil {
		return err
	}
	out, err := do(r, actions.PasskeySignIn, actions.PasskeySignInIn{
		Handle: r.text("handle"), Response: []byte(r.form.Get("passkey")), Device: u.cookie(r.Ctx, deviceCookie),
	})
	return r.signInDone(out, err, localPath(r.text("next")))
}

// proofPasskeyBegin gives a challenge for the second factor of who is signed in.
func (u *UI) proofPasskeyBegin(r *request) error {
	out, err := do(r, actions.PasskeyStepUpBegin, actions.Nothing{})
	if err != nil {
		return err
	}
	return r.JSON(out)
}

// loginPath is the address of the sign-in page that leads on to another.
func loginPath(next string) string { return "/login?next=" + url.QueryEscape(localPath(next)) }
