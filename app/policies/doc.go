// Package policies reads and keeps ACL policies: texts in Vault's HCL or JSON that
// say what may be done on which paths of a tenant. Reading is strict: whatever
// would not be obeyed is refused, with its line, when the text is written.
//
// Whoever holds policies holds their names. Resolve finds what the names say at
// this moment, so that a change acts at once. What it compiled stays in memory as
// long as the texts are the same.
//
// The package owns its buckets "policies" and "policy-marks"; FORMAT.md describes
// them. It decides nothing about who may; packages authz and actions do.
package policies
