// Package domain is Coffer's vocabulary: the words that every other package
// uses with one meaning. It imports nothing of ours and does no I/O.
//
// Values that come from outside are parsed once, at the edge, by the Parse
// functions here; a TenantID, SecretPath or Role that exists is therefore
// valid. Values that must not be seen live in a Secret, which cannot be
// printed, logged or marshalled by accident.
package domain
