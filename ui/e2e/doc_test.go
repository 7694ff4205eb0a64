// Package e2e_test drives Coffer's pages in a real browser, as people do: it
// builds the binary, serves a temporary directory over TLS, makes Chromium trust
// the authority that Coffer made for itself, and clicks.
//
// One browser serves all tests, each test has a profile of its own in it, and
// every page is watched: a violation of the content security policy, an error on
// the console, a failed request or one to somewhere else fails the test, unless
// the test said that it would come.
package e2e_test
