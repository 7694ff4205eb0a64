// Package api is the native JSON API under /api/v1: it parses a request, calls
// one action, and answers.
//
// A route is made from an actions.Operation and cannot be made without one, so
// there is no route without an action. Who asks is either the bearer of a token
// or, on the local socket, the peer's user; a request with a token is judged by
// that token alone, wherever it came from.
//
// Errors are problem details (RFC 9457) with the members kind, hint, field and
// request_id. Every answer about a tenant carries the receipt of its audit event
// in the header Coffer-Audit, as "<sequence>:<leaf hash>".
//
// openapi.json describes every route. It is generated from the routes and the
// types of their operations: the tags path, query and json say where a field
// stands, doc says in a phrase what it is, schema its bounds. The generator and
// what compares its work with the file are in the tests (make docs).
package api
