// Package httpd is the ground that every HTTP surface stands on: one hardened
// fiber server (strict routing, immutable values, bounds on headers, bodies and
// time), the listeners, who a connection belongs to, and an orderly end.
//
// A surface brings routes, each with its action, and the way in which it says
// that something went wrong. What has no action stands in Exempt, the one list
// of routes that are answered without an event.
package httpd
