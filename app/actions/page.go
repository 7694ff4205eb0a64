package actions

import (
	"context"
	"errors"
	"strconv"

	"coffer/app/authz"
	"coffer/app/domain"
)

// Bounds of a page of a list.
const (
	DefaultPage = 100
	MaxPage     = 1000
	maxCursor   = 1024
)

// Page asks for a part of a list: at most Limit entries after the cursor.
type Page struct {
	After string `query:"after" json:"-" doc:"cursor: the \"next\" of the page before" schema:"maxLength=1024"`
	Limit int    `query:"limit" json:"-" doc:"entries of the page, at most" schema:"minimum=1,maximum=1000,default=100"`
}

func (p Page) check() error {
	switch {
	case p.Limit < 0 || p.Limit > MaxPage:
		return domain.Fieldf("limit", "%d is not between 1 and %d", p.Limit, MaxPage)
	case len(p.After) > maxCursor:
		return domain.Fieldf("after", "not a cursor: use the \"next\" of the page before")
	}
	return nil
}

func (p Page) size() int {
	if p.Limit == 0 {
		return DefaultPage
	}
	return p.Limit
}

// inField names the member of the input that holds a value which is checked under
// another name: errors name what the caller can correct.
func inField(name string, err error) error {
	e, ok := errors.AsType[*domain.Error](err)
	if !ok || e.Kind != domain.Invalid {
		return err
	}
	named := *e
	named.Field = name
	return &named
}

// cursor and parseCursor are the text form of a place in a log.
func cursor(seq uint64) string { return strconv.FormatUint(seq, 10) }

func parseCursor(s string) (uint64, error) {
	if s == "" {
		return 0, nil
	}
	seq, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, domain.Fieldf("after", "not a cursor: use the \"next\" of the page before")
	}
	return seq, nil
}

// TenantPage asks for a part of a list of a tenant.
type TenantPage struct {
	Tenant string `path:"tenant" json:"-"`
	Page
}

func askTenantPage(_ context.Context, _ *Service, in TenantPage) (authz.Request, error) {
	tenant, err := domain.ParseTenantID(in.Tenant)
	if err == nil {
		err = in.Page.check()
	}
	return authz.Request{Tenant: tenant}, err
}

// cut gives the first of at most limit+1 entries, and the cursor of the next page:
// the name of the last one that is shown, "" if it is the last page.
func cut[T any](list []T, limit int, name func(T) string) ([]T, string) {
	if len(list) <= limit {
		return list, ""
	}
	return list[:limit], name(list[limit-1])
}
