package ui

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/httpd"
	"coffer/audit"
)

// request is one request for a page, with who asks.
type request struct {
	*fiber.Ctx
	ui      *UI
	ctx     context.Context
	cancel  context.CancelFunc
	service *actions.Service
	who     actions.Caller
	me      actions.Self
	action  domain.Action   // of the route
	tenant  domain.TenantID // the client in the path, "" for none
	form    url.Values      // of a POST
}

// begin looks at what every request has.
func (r *request) begin() error {
	r.ctx, r.cancel = httpd.Context()
	r.who.Call = httpd.Call(r.Ctx)
	r.who.Subject = nobody()
	if err := checkOrigin(r.Ctx); err != nil {
		return err
	}
	return r.readForm()
}

func (r *request) end() { r.cancel() }

// nobody is who has not signed in.
func nobody() authz.Subject {
	return authz.Subject{Principal: domain.Principal{Kind: domain.Nobody, ID: "browser"}}
}

// maxFields bounds the fields of a form.
const maxFields = 200

// readForm reads the body of a POST, which is a form or empty.
func (r *request) readForm() error {
	r.form = url.Values{}
	if r.Method() != post || len(r.Body()) == 0 {
		return nil
	}
	if len(r.Request().Header.Peek(fiber.HeaderContentEncoding)) > 0 {
		return domain.Errorf(domain.Invalid, "compressed requests are not read")
	}
	ct, _, _ := strings.Cut(string(r.Request().Header.ContentType()), ";")
	if strings.TrimSpace(ct) != fiber.MIMEApplicationForm {
		return domain.Errorf(domain.Invalid, "the body is not a form")
	}
	form, err := url.ParseQuery(string(r.Body()))
	if err != nil {
		return domain.Errorf(domain.Invalid, "the form cannot be read")
	}
	n := 0
	for name, values := range form {
		n += len(values)
		for _, v := range append(values, name) {
			if !utf8.ValidString(v) {
				return domain.Errorf(domain.Invalid, "the form is not UTF-8")
			}
		}
	}
	if n > maxFields {
		return domain.Errorf(domain.Limit, "a form has at most %d fields", maxFields)
	}
	r.form = form
	return nil
}

// open gives the service behind the gate.
func (r *request) open() (err error) {
	r.service, err = r.ui.gate.Service()
	return err
}

// passkeys says whether passkeys work under the name of this appliance.
func (r *request) passkeys() bool {
	return (r.service != nil || r.open() == nil) && r.service.Passkeys() == nil
}

// signedIn finds out who asks by the session's cookie.
func (r *request) signedIn() error {
	if err := r.open(); err != nil {
		return err
	}
	text := r.ui.cookie(r.Ctx, sessionCookie)
	if text.Len() == 0 {
		if r.Method() == get && r.Get("Sec-Fetch-Site") == "cross-site" {
			return errCameFromElsewhere
		}
		return errSignIn
	}
	if err := r.know(text); err != nil {
		if domain.KindOf(err) == domain.Unauthentic {
			r.ui.dropCookie(r.Ctx, sessionCookie)
			return errSignIn
		}
		return err
	}
	if r.who.Subject.Limited && !forLimited[r.Path()] {
		return errEnrol
	}
	return nil
}

// know is signedIn for one session's text.
func (r *request) know(text domain.Secret) (err error) {
	if r.who.Subject, err = r.service.Session(r.ctx, text, r.who.Call.Source); err != nil {
		r.who.Subject = nobody()
		return err
	}
	r.who.Call.Auth = "session"
	httpd.Vouch(r.Ctx)
	if id := r.Params("tenant"); id != "" {
		if r.tenant, err = domain.ParseTenantID(id); err != nil {
			return errNoPage // not a name that a client can have: there is no such address
		}
	}
	r.me, err = r.service.Self(r.ctx, r.who.Subject, r.tenant)
	return err
}

// forLimited are the pages of a session whose person has no second factor yet.
var forLimited = map[string]bool{
	"/account/second-factor": true, "/account/totp": true, "/account/totp/confirm": true, "/logout": true,
	"/account/passkeys/begin": true, "/account/passkeys": true,
}

// Errors that lead to another page.
var (
	errSignIn = domain.Errorf(domain.Unauthentic, "sign in first")
	// Another site's link comes without the cookie: the page asks for itself again.
	errCameFromElsewhere = domain.Errorf(domain.Unauthentic, "another site led here")

	errEnrol  = domain.Errorf(domain.Denied, "this account has no second factor yet")
	errNoPage = domain.Errorf(domain.NotFound, "there is nothing at this address").WithHint("go back to the clients, or look at how the address is written")
)

// do runs an operation for who asks.
func do[In, Out any](r *request, op actions.Operation[In, Out], in In) (Out, error) {
	out, receipt, err := op.Do(r.ctx, r.service, r.who, in)
	httpd.Receipt(r.Ctx, receipt)
	return out, err
}

// offer says whether the form of an action may be shown.
func (r *request) offer(action domain.Action) error {
	receipt, err := r.service.Offer(r.ctx, r.who, action, string(r.tenant))
	if receipt != (audit.Receipt{}) {
		httpd.Receipt(r.Ctx, receipt)
	}
	return err
}

// text is a field of the form without the white space around it.
func (r *request) text(name string) string { return strings.TrimSpace(r.form.Get(name)) }

// secret is a field of the form that must not be shown again.
func (r *request) secret(name string) domain.Secret { return domain.SecretString(r.form.Get(name)) }

// number is a field that is a whole number, 0 if it is empty.
func (r *request) number(name string) (int, error) {
	text := r.text(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, domain.Fieldf(name, "%.40q is not a whole number", text)
	}
	return n, nil
}

// query is a parameter of the address.
func (r *request) query(name string) string {
	s := r.Query(name)
	if !utf8.ValidString(s) {
		return ""
	}
	return s
}

// seeOther sends the browser on after a change, so that loading again does not
// do it twice. done names a sentence of notices; "" for none.
func (r *request) seeOther(path, done string) error {
	if done != "" {
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		path += sep + "done=" + url.QueryEscape(done)
	}
	return r.Redirect(path, fiber.StatusSeeOther)
}

// lines are the non-empty lines of a field.
func (r *request) lines(name string) (out []string) {
	for line := range strings.Lines(r.form.Get(name)) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}
