// Package plain reads SQLite files of others: not encrypted, and not trusted. It
// runs in a process of its own with limits (Confine), opens a file so that nothing
// can be written, checks it, and says of its schema what a tenant's database takes.
package plain
