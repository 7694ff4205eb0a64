// Package authn answers one question: who is this? Each way of proving it has a
// file of its own: the local socket's peer, a bearer token, a workload's role id
// and secret id; of people a password, the code of an app, a recovery code, a
// passkey, a link, and the session that came of one of these.
//
// The answer is an authz.Subject that holds what the principal holds at this
// moment, read from the directory in the same transaction; authz decides what it
// may do. Whatever does not prove to be right is the same error, so that a
// prober learns nothing from it.
package authn
