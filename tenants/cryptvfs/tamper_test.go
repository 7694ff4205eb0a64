package cryptvfs_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"coffer/app/domain"
	"coffer/tenants/cryptvfs"
)

const fillTable = `CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);
	WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM s WHERE i<300)
	INSERT INTO t SELECT i, printf('row %d %0500d', i, i) FROM s`

// readAll reads every page that the table and its schema use.
func readAll(r *cryptvfs.Registration, path string) (rows int, err error) {
	db, err := sql.Open("sqlite", r.URI(path, cryptvfs.Options{}))
	if err != nil {
		return 0, err
	}
	defer db.Close()
	var sum int
	err = db.QueryRow("SELECT count(*), sum(length(v)) FROM t").Scan(&rows, &sum)
	return rows, err
}

func resultCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()
	}
	return 0
}

// filled makes a closed database of a few dozen pages.
func filled(t testing.TB, r *cryptvfs.Registration, name string) string {
	t.Helper()
	path := filepath.Join(memoryDir(t), name)
	db := openNew(t, r, path)
	mustExec(t, db, fillTable)
	closeDB(t, db)
	return path
}

// TestFlippedByte flips one bit in every part of every page.
func TestFlippedByte(t *testing.T) {
	r := register(t, fixedID(1), randomKeys())
	path := filled(t, r, "a.db")
	sound := readFile(t, path)
	if err := cryptvfs.Verify(context.Background(), path, r); err != nil {
		t.Fatal(err)
	}
	if n, err := readAll(r, path); n != 300 || err != nil {
		t.Fatal(n, err)
	}
	places := []int{0, 16, 20, 24, 28, 99, 100, 4063, 4064, 4079, 4080, 4091, 4092, 4095} // in a page
	for page := range len(sound) / cryptvfs.PageSize {
		for i, in := range places {
			if page > 2 && (page+i)%5 != 0 {
				continue
			}
			bad := slices.Clone(sound)
			bad[page*cryptvfs.PageSize+in] ^= 1 << (i % 8)
			writeFile(t, path, bad)
			before := r.AuthFailures()
			_, err := readAll(r, path)
			want := sqlite3.SQLITE_IOERR_DATA
			if page == 0 {
				want = sqlite3.SQLITE_NOTADB
			}
			if resultCode(err) != want {
				t.Fatalf("page %d byte %d: %v", page+1, in, err)
			}
			if r.AuthFailures() == before {
				t.Fatalf("page %d byte %d: not counted", page+1, in)
			}
			err = cryptvfs.Verify(context.Background(), path, r)
			if domain.KindOf(err) != domain.Tampered || !strings.Contains(err.Error(), fmt.Sprintf("page %d of", page+1)) || domain.HintOf(err) == "" {
				t.Fatalf("page %d byte %d: Verify: %v", page+1, in, err)
			}
		}
	}
}

func page(b []byte, n int) []byte { return b[(n-1)*cryptvfs.PageSize : n*cryptvfs.PageSize] }

// TestForeignPages puts authentic pages where they do not belong.
func TestForeignPages(t *testing.T) {
	keys := randomKeys()
	r := register(t, fixedID(1), keys)
	other := register(t, fixedID(2), keys)            // same keys, other file
	stranger := register(t, fixedID(1), randomKeys()) // same file id, other tenant's keys
	again := register(t, fixedID(1), keys)            // the same, in another session
	path := filled(t, r, "a.db")
	sound := readFile(t, path)
	foreign := func(r *cryptvfs.Registration) []byte { return readFile(t, filled(t, r, "b.db")) }
	tests := map[string]struct {
		change func(b []byte) []byte
		ok     bool
	}{
		"nothing": {func(b []byte) []byte { return b }, true},
		"two pages swapped": {func(b []byte) []byte {
			p := slices.Clone(page(b, 4))
			copy(page(b, 4), page(b, 5))
			copy(page(b, 5), p)
			return b
		}, false},
		"page repeated":        {func(b []byte) []byte { copy(page(b, 7), page(b, 8)); return b }, false},
		"page of other file":   {func(b []byte) []byte { copy(page(b, 4), page(foreign(other), 4)); return b }, false},
		"page of other tenant": {func(b []byte) []byte { copy(page(b, 4), page(foreign(stranger), 4)); return b }, false},
		"zero page":            {func(b []byte) []byte { clear(page(b, 4)); return b }, false},
		"plain page":           {func(b []byte) []byte { copy(page(b, 4), strings.Repeat("plain", 900)); return b }, false},
		"cut by a page":        {func(b []byte) []byte { return b[:len(b)-cryptvfs.PageSize] }, false},
		"cut inside a page":    {func(b []byte) []byte { return b[:len(b)-100] }, false},
		"cut to nothing":       {func(b []byte) []byte { return b[:0] }, false},
		// Not detectable in the file, and documented: the same page of the
		// same file, sealed at another time.
		"older version of a page": {func(b []byte) []byte { copy(page(b, 4), page(foreign(again), 4)); return b }, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			writeFile(t, path, test.change(slices.Clone(sound)))
			rows, err := readAll(r, path)
			if test.ok != (err == nil && rows == 300) {
				t.Errorf("reading gives %d rows, %v", rows, err)
			}
			err = cryptvfs.Verify(context.Background(), path, r)
			if test.ok != (err == nil) || err != nil && domain.KindOf(err) != domain.Tampered {
				t.Errorf("Verify: %v", err)
			}
		})
	}
}

func TestWrongKeys(t *testing.T) {
	keys := randomKeys()
	r := register(t, fixedID(1), keys)
	path := filled(t, r, "a.db")
	for name, other := range map[string]*cryptvfs.Registration{
		"other keys": register(t, fixedID(1), randomKeys()),
		"other file": register(t, fixedID(2), keys),
	} {
		if _, err := readAll(other, path); resultCode(err) != sqlite3.SQLITE_NOTADB {
			t.Errorf("%s: %v", name, err)
		}
		if err := cryptvfs.Verify(context.Background(), path, other); domain.KindOf(err) != domain.Tampered {
			t.Errorf("%s: Verify: %v", name, err)
		}
	}
	again := register(t, fixedID(1), keys)
	if rows, err := readAll(again, path); rows != 300 || err != nil {
		t.Errorf("the same keys registered again: %d rows, %v", rows, err)
	}
	if again.AuthFailures() != 0 {
		t.Errorf("%d failures with the right keys", again.AuthFailures())
	}
}

// TestUnknownKeyID makes sure that nothing is opened or made without keys.
func TestUnknownKeyID(t *testing.T) {
	r := register(t, fixedID(1), randomKeys())
	dir := t.TempDir()
	for _, dsn := range []string{
		"file:" + dir + "/n.db?vfs=coffer",
		"file:" + dir + "/n.db?vfs=coffer&kid=",
		"file:" + dir + "/n.db?vfs=coffer&kid=ABCDEFGHIJKLMNOPQRSTUVWXYZ",
	} {
		db := openDSN(t, dsn)
		if _, err := db.Exec("CREATE TABLE t(v)"); resultCode(err)&0xff != sqlite3.SQLITE_CANTOPEN {
			t.Errorf("%s: %v", dsn, err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("files were made: %v", entries)
	}
	// A database attached without a key id does not take that of the main one.
	db := openNew(t, r, dir+"/a.db")
	if _, err := db.Exec("ATTACH ? AS b", dir+"/b.db"); resultCode(err)&0xff != sqlite3.SQLITE_CANTOPEN {
		t.Errorf("attached without key id: %v", err)
	}
}

func TestPlaintextDatabase(t *testing.T) {
	r := register(t, fixedID(1), randomKeys())
	path := filepath.Join(t.TempDir(), "plain.db")
	plain := openDSN(t, "file:"+path)
	mustExec(t, plain, fillTable)
	closeDB(t, plain)
	if _, err := readAll(r, path); resultCode(err) != sqlite3.SQLITE_NOTADB {
		t.Errorf("reading: %v", err)
	}
	db := openOld(t, r, path)
	if _, err := db.Exec("DELETE FROM t"); err == nil {
		t.Error("writing succeeded")
	}
}

func TestMissingAndEmptyFile(t *testing.T) {
	r := register(t, fixedID(1), randomKeys())
	path := filepath.Join(t.TempDir(), "a.db")
	for _, mode := range []cryptvfs.Mode{cryptvfs.ReadOnly, cryptvfs.ReadWrite} {
		for _, make := range []bool{false, true} {
			if make {
				writeFile(t, path, nil)
			}
			db := openDSN(t, r.URI(path, cryptvfs.Options{Mode: mode}))
			if _, err := db.Exec("SELECT * FROM sqlite_schema"); resultCode(err)&0xff != sqlite3.SQLITE_CANTOPEN {
				t.Errorf("mode %q, empty %v: %v", mode, make, err)
			}
			_ = os.Remove(path)
		}
	}
	if err := cryptvfs.Verify(context.Background(), path, r); domain.KindOf(err) != domain.NotFound {
		t.Errorf("Verify of a missing file: %v", err)
	}
}

func TestReadOnly(t *testing.T) {
	r := register(t, fixedID(1), randomKeys())
	path := filled(t, r, "a.db")
	db := openDSN(t, r.URI(path, cryptvfs.Options{Mode: cryptvfs.ReadOnly}))
	if n := one[int](t, db, "SELECT count(*) FROM t"); n != 300 {
		t.Error(n)
	}
	if _, err := db.Exec("DELETE FROM t"); resultCode(err)&0xff != sqlite3.SQLITE_READONLY {
		t.Errorf("writing: %v", err)
	}
}

// TestCloseRegistration closes the keys under open handles.
func TestCloseRegistration(t *testing.T) {
	keys := randomKeys()
	r, err := cryptvfs.Register(fixedID(1), keys)
	if err != nil {
		t.Fatal(err)
	}
	path := filled(t, r, "a.db")
	db := openOld(t, r, path, "cache_size(1)")
	if n := one[int](t, db, "SELECT count(*) FROM t"); n != 300 {
		t.Fatal(n)
	}
	r.Close()
	r.Close()
	if err := db.QueryRow("SELECT sum(length(v)) FROM t").Scan(new(int)); err == nil {
		t.Error("reading through an open handle succeeded")
	}
	if _, err := db.Exec("DELETE FROM t"); err == nil {
		t.Error("writing through an open handle succeeded")
	}
	if _, err := readAll(r, path); err == nil {
		t.Error("opening again succeeded")
	}
	if err := cryptvfs.Verify(context.Background(), path, r); domain.KindOf(err) != domain.Sealed {
		t.Errorf("Verify: %v", err)
	}
	_ = db.Close()
	if rows, err := readAll(register(t, fixedID(1), keys), path); rows != 300 || err != nil {
		t.Errorf("afterwards: %d rows, %v", rows, err)
	}
}

// failingKeys fails, or gives too few bytes.
type failingKeys struct{ short bool }

func (k failingKeys) Derive([]byte, int) ([]byte, error) {
	if k.short {
		return make([]byte, 16), nil
	}
	return nil, errors.New("sealed")
}

func TestRegisterRefuses(t *testing.T) {
	for _, keys := range []cryptvfs.Keys{nil, failingKeys{}, failingKeys{short: true}} {
		if _, err := cryptvfs.Register(fixedID(1), keys); err == nil {
			t.Errorf("%#v was accepted", keys)
		}
	}
}

// TestPageSizeStays tries to bring other page sizes to the disk.
func TestPageSizeStays(t *testing.T) {
	r := register(t, fixedID(1), randomKeys())
	path := filled(t, r, "a.db")
	db := openOld(t, r, path)
	mustExec(t, db, "PRAGMA page_size=8192")
	_, _ = db.Exec("VACUUM") // may fail, must not damage
	closeDB(t, db)
	db = openOld(t, r, path)
	if n := one[int](t, db, "PRAGMA page_size"); n != cryptvfs.PageSize {
		t.Errorf("page size is %d", n)
	}
	checkIntegrity(t, db)
	closeDB(t, db)
	if err := cryptvfs.Verify(context.Background(), path, r); err != nil {
		t.Error(err)
	}
}
