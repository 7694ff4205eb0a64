// Package actions does what Coffer does: one typed Operation for each action of
// the table in app/authz. Every surface, the command line and the web pages
// call these and nothing else.
//
// An Operation always runs the same way (see Operation.Do): read the request,
// authorize it, open a permit, act, close the permit. A change makes its intent
// durable before it begins, and commits the intent's id in the same transaction
// as the change itself, so that after a crash the log can be completed from what
// is there. A read is logged before its answer leaves.
//
// The package knows no surface: no HTTP, no terminal, no JSON beyond the tags of
// its inputs and outputs.
package actions
