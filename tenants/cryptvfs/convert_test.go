package cryptvfs_test

import (
	"bytes"
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"modernc.org/sqlite"

	"coffer/tenants/cryptvfs"
)

const fillSum = "SELECT sum(id*length(v)) FROM t"

// TestVacuum rewrites a database in place, into another encrypted one, and
// into a plain one.
func TestVacuum(t *testing.T) {
	r, other := register(t, fixedID(1), randomKeys()), register(t, fixedID(2), randomKeys())
	path := filled(t, r, "a.db")
	dir := filepath.Dir(path)
	db := openOld(t, r, path)
	mustExec(t, db, "DELETE FROM t WHERE id%2=0")
	before := len(readFile(t, path))
	mustExec(t, db, "VACUUM")
	if after := len(readFile(t, path)); after >= before {
		t.Errorf("VACUUM left %d of %d bytes", after, before)
	}
	checkIntegrity(t, db)
	want := one[int](t, db, fillSum)

	encrypted := dir + "/encrypted.db"
	mustExec(t, db, "VACUUM INTO ?", other.URI(encrypted, cryptvfs.Options{Mode: cryptvfs.Create}))
	if got := one[int](t, openOld(t, other, encrypted), fillSum); got != want {
		t.Errorf("encrypted copy: %d, want %d", got, want)
	}
	if err := cryptvfs.Verify(context.Background(), encrypted, other); err != nil {
		t.Error(err)
	}
	if _, err := readAll(r, encrypted); err == nil {
		t.Error("the copy opens under the keys of the original")
	}

	plain := dir + "/plain.db"
	mustExec(t, db, "VACUUM INTO ?", "file:"+plain+"?vfs=unix")
	if got := one[int](t, openDSN(t, "file:"+plain), fillSum); got != want {
		t.Errorf("plain copy: %d, want %d", got, want)
	}
	if !bytes.HasPrefix(readFile(t, plain), []byte("SQLite format 3\x00")) {
		t.Error("the plain copy is not plain")
	}
}

// backuper is what the driver's connection offers.
type backuper interface {
	NewBackup(dsn string) (*sqlite.Backup, error)
}

// TestBackup copies with SQLite's online backup, to encrypted and to plain.
func TestBackup(t *testing.T) {
	r, other := register(t, fixedID(1), randomKeys()), register(t, fixedID(2), randomKeys())
	path := filled(t, r, "a.db")
	dir := filepath.Dir(path)
	db := openOld(t, r, path)
	want := one[int](t, db, fillSum)
	backup := func(db *sql.DB, dsn string) error {
		conn, err := db.Conn(context.Background())
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.Raw(func(c any) error {
			b, err := c.(backuper).NewBackup(dsn)
			if err != nil {
				return err
			}
			for more := true; more; {
				if more, err = b.Step(7); err != nil {
					_ = b.Finish()
					return err
				}
			}
			return b.Finish()
		})
	}
	if err := backup(db, other.URI(dir+"/b.db", cryptvfs.Options{Mode: cryptvfs.Create})); err != nil {
		t.Fatal(err)
	}
	if got := one[int](t, openOld(t, other, dir+"/b.db"), fillSum); got != want {
		t.Errorf("encrypted backup: %d, want %d", got, want)
	}
	if err := backup(db, "file:"+dir+"/p.db"); err != nil {
		t.Fatal(err)
	}
	if got := one[int](t, openDSN(t, "file:"+dir+"/p.db"), fillSum); got != want {
		t.Errorf("plain backup: %d, want %d", got, want)
	}

	// From a plain database without reserved bytes there is no way: its pages
	// are full. It must be refused and nothing of it written.
	plain := openDSN(t, "file:"+dir+"/reserve0.db")
	mustExec(t, plain, fillTable)
	if err := backup(plain, other.URI(dir+"/c.db", cryptvfs.Options{Mode: cryptvfs.Create})); err == nil {
		t.Error("a backup of a database without reserved bytes succeeded")
	}
	if b := readFile(t, dir+"/c.db"); bytes.Contains(b, []byte("SQLite format 3")) || bytes.Contains(b, []byte("row 1")) {
		t.Error("plaintext was written")
	}
	// The way is to attach it and copy.
	into := openNew(t, other, dir+"/d.db")
	mustExec(t, into, "ATTACH ? AS plain", "file:"+dir+"/reserve0.db?vfs=unix")
	mustExec(t, into, "CREATE TABLE t AS SELECT * FROM plain.t")
	if got := one[int](t, into, fillSum); got != want {
		t.Errorf("copy: %d, want %d", got, want)
	}
}
