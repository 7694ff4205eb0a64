// Package cert gives the TLS port its certificate: one of Coffer's own, or one
// that the operator brought.
//
// Coffer's own authority lives ten years. Its private key exists only sealed in
// the control store, bucket "tls", so that a thief of the disk cannot make
// certificates that the clients trust. The certificate of the port, the leaf,
// lives 90 days and stands with its key in tls/ of the data directory, so that
// the port answers while Coffer is sealed too; it is made again at two thirds of
// its life and when the names of the machine change. FORMAT.md describes both.
//
// Certificates go by the wall clock, not by the clock that never runs backwards:
// clients look at theirs.
package cert
