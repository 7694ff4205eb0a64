package authn

import (
	"time"

	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/store"
)

// ErrLink is the answer to every link that does not hold: malformed, unknown,
// used and ended look the same.
var ErrLink = domain.BadCredential("the link is not valid: it may have been used, or have ended").
	WithHint("ask whoever gave it to you for another; on the machine: coffer setup-link, or coffer admin recover NAME")

// SystemLink is who made a link that the appliance made by itself.
const SystemLink = "system"

// Link finds a live link by its text. It holds only as long as who made it could
// make it: nobody lets others in after leaving.
func Link(tx *store.Tx, text domain.Secret, now time.Time) (directory.Link, error) {
	l, found, err := directory.FindLink(tx, text, now)
	if err != nil {
		return l, err
	}
	if !found {
		return l, ErrLink
	}
	may, err := mayLink(tx, l, now)
	if err == nil && !may {
		err = ErrLink
	}
	return l, err
}

// LinkURL is where a link is opened. What opens stands in the fragment, which
// browsers send to nobody.
func LinkURL(origin string, kind directory.LinkKind, text domain.Secret) domain.Secret {
	page := "/setup#"
	if kind == directory.InvitationLink {
		page = "/join#"
	}
	return domain.SecretString(origin + page + string(text.Reveal()))
}

// mayLink says whether who made the link could make it today.
func mayLink(tx *store.Tx, l directory.Link, now time.Time) (bool, error) {
	switch {
	case l.By == SystemLink:
		return true, nil
	case l.Kind == directory.InvitationLink:
		m, found, err := directory.Membership(tx, l.Tenant, l.By, now)
		return found && m.Role == domain.Owner && m.Expires == nil, err
	}
	p, found, err := directory.PersonByID(tx, l.By)
	if err != nil || !found || p.UID != nil { // at the socket one is an operator
		return found, err
	}
	a, err := directory.FindAccount(tx, l.By)
	return a.HasRole(domain.Operator), err
}
