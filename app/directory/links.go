package directory

import (
	"slices"
	"strings"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

// LinkPrefix begins the text of every link.
const LinkPrefix = "cfi_"

// LinkKind says what a link is for.
type LinkKind string

// The kinds of links.
const (
	SetupLink      LinkKind = "setup"      // makes an operator's account
	InvitationLink LinkKind = "invitation" // makes a member of a tenant
	RecoverLink    LinkKind = "recover"    // gives a person a new password
)

// How long links last, and how many of a tenant, or of the appliance, may wait.
const (
	SetupTTL      = 30 * time.Minute
	RecoverTTL    = time.Hour
	InvitationTTL = 72 * time.Hour
	MaxLinks      = 200
)

// Link can be taken up once by whoever holds its text.
type Link struct {
	ID      string          `json:"id"`
	Hash    []byte          `json:"hash"` // SHA-256 of its text
	Kind    LinkKind        `json:"kind"`
	Tenant  domain.TenantID `json:"tenant,omitempty"` // of an invitation
	Role    domain.Role     `json:"role,omitempty"`   // of an invitation
	Person  string          `json:"person,omitempty"` // who recovers
	Note    string          `json:"note,omitempty"`   // for people
	By      string          `json:"by"`               // principal id of who made it
	Created time.Time       `json:"created"`
	Expires time.Time       `json:"expires"`
}

// Live says whether the link holds at a time.
func (l Link) Live(now time.Time) bool { return now.Before(l.Expires) }

// AddLink makes a link, whose text is returned once and kept nowhere. The caller
// sets what it is for and who made it.
func AddLink(tx *store.Tx, l Link, ttl time.Duration, now time.Time) (domain.Secret, Link, error) {
	live, err := Links(tx, l.Tenant, now)
	if err != nil {
		return domain.Secret{}, l, err
	}
	if len(live) >= MaxLinks {
		return domain.Secret{}, l, domain.Errorf(domain.Limit, "%d links wait to be taken up, and more are not made", len(live)).
			WithHint("revoke some, or wait until they end")
	}
	text, hash := newText(LinkPrefix)
	l.ID, l.Hash = domain.NewID("li_"), hash
	l.Created, l.Expires = now.UTC(), now.Add(ttl).UTC()
	if err := put(tx, bucketLinkTexts, hash, string(l.Tenant)+" "+l.ID); err != nil {
		return domain.Secret{}, l, err
	}
	return text, l, put(tx, bucketLinks, within(l.Tenant, l.ID), l)
}

// FindLink finds the live link with this text; found is false for a malformed,
// unknown, used or ended one alike.
func FindLink(tx *store.Tx, text domain.Secret, now time.Time) (l Link, found bool, err error) {
	if !wellFormed(text, LinkPrefix) {
		return l, false, nil
	}
	at, found, err := load[string](tx, bucketLinkTexts, hashOf(text))
	if err != nil || !found {
		return l, false, err
	}
	tenant, id, _ := strings.Cut(at, " ")
	l, found, err = load[Link](tx, bucketLinks, within(domain.TenantID(tenant), id))
	if err != nil || !found || !l.Live(now) {
		return Link{}, false, err
	}
	return l, true, nil
}

// Links lists the live links of a tenant, "" for those of the appliance, the
// newest first.
func Links(tx *store.Tx, tenant domain.TenantID, now time.Time) ([]Link, error) {
	all, err := scan[Link](tx, bucketLinks, within(tenant, ""))
	all = slices.DeleteFunc(all, func(l Link) bool { return !l.Live(now) })
	slices.SortFunc(all, func(a, b Link) int { return b.Created.Compare(a.Created) })
	return all, err
}

// RemoveLink burns a link.
func RemoveLink(tx *store.Tx, l Link) error {
	if err := tx.Delete(bucketLinkTexts, l.Hash); err != nil {
		return err
	}
	return tx.Delete(bucketLinks, within(l.Tenant, l.ID))
}

// RemoveSetupLinks burns the setup links that somebody made.
func RemoveSetupLinks(tx *store.Tx, by string) error {
	return removeLinks(tx, "", func(l Link) bool { return l.Kind == SetupLink && l.By == by })
}

func removeLinks(tx *store.Tx, tenant domain.TenantID, pick func(Link) bool) error {
	all, err := scan[Link](tx, bucketLinks, within(tenant, ""))
	if err != nil {
		return err
	}
	for _, l := range all {
		if pick(l) {
			if err := RemoveLink(tx, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// sweepLinks finds at most limit links that ended before a time.
func sweepLinks(tx *store.Tx, before time.Time, limit int) (doomed []Link, err error) {
	err = tx.Scan(bucketLinks, nil, nil, func(_, value []byte) error {
		l, err := decode[Link](value)
		if err == nil && l.Expires.Before(before) {
			doomed = append(doomed, l)
		}
		if err == nil && len(doomed) >= limit {
			return store.ErrStop
		}
		return err
	})
	return doomed, err
}
