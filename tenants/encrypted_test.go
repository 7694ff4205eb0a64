package tenants_test

import (
	"testing"

	"coffer/tenants/cryptvfs"
	"coffer/tenants/sqlite"
)

// encrypted makes an encrypted database under a tenant's keys without the pool.
func encrypted(tb testing.TB, id [16]byte, keys cryptvfs.Keys, path, sql string) {
	tb.Helper()
	reg, err := cryptvfs.Register(id, keys)
	must(tb, err)
	defer reg.Close()
	db, err := sqlite.Open(reg.URI(path, cryptvfs.Options{Mode: cryptvfs.Create}), sqlite.Options{Mode: sqlite.Create})
	must(tb, err)
	must(tb, db.Exec(tb.Context(), sql))
	must(tb, db.Close())
}
