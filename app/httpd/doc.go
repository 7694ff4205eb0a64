// Package httpd is the ground that every HTTP surface stands on: one hardened
// fiber server (strict routing, immutable values, bounds on headers, bodies and
// time), the listeners, TLS, who a connection belongs to, and an orderly end.
//
// A surface brings routes, each with its action, and the way in which it says
// that something went wrong. What has no action stands in Exempt, the one list
// of routes that are answered without an event.
//
// Invariants:
//
//   - The framework reads whole requests only, one at a time, each of which has
//     one meaning (head.go, chunks.go). What has none is answered by the
//     connection itself and ends it.
//   - No client decides how long it is waited for, nor how many connections,
//     bytes or descriptors it takes.
//   - A good credential is let through whatever anybody else did before.
package httpd
