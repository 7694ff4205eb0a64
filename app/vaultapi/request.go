package vaultapi

import (
	"context"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/httpd"
	"coffer/audit"
)

// TokenHeader carries the token; Authorization: Bearer does too.
const TokenHeader = "X-Vault-Token"

// request is what a handler sees.
type request struct {
	place
	service *actions.Service
	who     actions.Caller
	params  map[string]string
	slash   bool          // a slash ended the path
	receipt audit.Receipt // of the event that was logged

	c *fiber.Ctx
}

// do runs an operation for the caller of a request, and keeps its receipt.
func do[In, Out any](ctx context.Context, r *request, o actions.Operation[In, Out], in In) (Out, error) {
	out, receipt, err := o.Do(ctx, r.service, r.who, in)
	if receipt != (audit.Receipt{}) {
		r.receipt = receipt
	}
	return out, err
}

// full is the path as its client sees it, without the namespace.
func (r *request) full() string {
	return strings.Join(append([]string{r.mount}, r.path...), "/")
}

// requestID names the request in its answer and in the log.
func (r *request) requestID() string { return httpd.RequestID(r.c) }

// query is a parameter of the query, "" if it is not there.
func (r *request) query(name string) string { return r.c.Query(name) }

// number is a parameter of the query that counts something, 0 if it is not there.
func (r *request) number(name string) (int, error) {
	text := r.query(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		return 0, domain.Fieldf(name, "not a number that counts something")
	}
	return int(n), nil
}

// fields reads the body.
func (r *request) fields() (fields, error) { return parseFields(r.c.BodyRaw()) }

// caller finds out who asks. Where no token is needed one that comes along is not
// looked at: clients send an old one when they log in.
func caller(ctx context.Context, c *fiber.Ctx, service *actions.Service, open bool) (actions.Caller, error) {
	if open {
		return actions.Caller{Subject: authz.Subject{Principal: domain.Principal{Kind: domain.Nobody, ID: "stranger"}}, Call: httpd.Call(c)}, nil
	}
	return httpd.CallerWith(ctx, c, service, c.Get(TokenHeader))
}
