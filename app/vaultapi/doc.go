// Package vaultapi is the surface for clients of Vault and OpenBao: their HTTP API
// under /v1/, with each tenant a namespace. CLIs, SDKs, agents, templates and CI
// runners work unmodified.
//
// The web framework sees one route for each method. Behind it stands a table of
// endpoints, one file a family, each of which declares its action; New refuses one
// that does not. A request goes through these steps:
//
//	path.go       the path becomes canonical segments, the method an operation
//	namespace.go  whose namespace it is, and which kind of mount
//	endpoint.go   the endpoint that answers there
//	request.go    who asks, and what; fields.go reads the body
//	sys.go …      the handler calls an operation of package actions
//	reply.go      the envelope
//	errors.go     what a failure looks like
//
// Statuses and texts are those of Vault, for clients look at them.
package vaultapi
