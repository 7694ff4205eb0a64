// Package cert holds what the TLS port shows: a certificate authority of the
// appliance's own with a leaf for this machine's names, or a pair of files that
// somebody brings.
//
// The authority's private key lies in the control store alone, sealed like
// everything there: who copies the disk cannot make certificates that a browser
// which trusts the authority would take. The leaf's key has to be at hand while
// the appliance is sealed, so it lies in the data directory, for at most the
// leaf's 90 days. The leaf is made again when two thirds of its time are over,
// and whenever the machine's names or addresses changed.
//
// The package owns the bucket "tls" and the files tls/leaf.pem and ca.crt.
// FORMAT.md describes them.
package cert
