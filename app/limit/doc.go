// Package limit counts what happens too often, by whom, in bounded memory: a
// token bucket a key.
//
// It is for what is counted after the fact, such as failed sign-ins: whoever has
// a good credential is let through before anything is counted, so that nobody
// can use up what another needs.
package limit
