package cryptvfs_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"coffer/tenants/cryptvfs"
)

// The vectors of format version 1 were made once and must be readable for
// ever. They are only ever added to; -write-vectors refuses to touch a file
// that exists.
var writeVectors = flag.Bool("write-vectors", false, "make the files of testdata/v1 that are missing")

const vectors = "testdata/v1"

func vectorRegistration(t *testing.T) *cryptvfs.Registration {
	return register(t, fixedID(0x11), fixedKeys(0x42))
}

const vectorDump = "SELECT group_concat(id || '=' || length(v) || substr(v,1,12), ' ') FROM t"

// The databases: what is in each of them after recovery.
var vectorDatabases = map[string]string{
	"plainly-closed": "1=19row 1 of sto 2=9000000000000000 3=9row three",
	"with-log":       "1=19row 1 of sto 2=9000000000000000 3=9row three 4=21row 4 in the",
	"hot-journal":    "1=19row 1 of sto 2=9000000000000000 3=9row three",
}

func TestVectorDatabases(t *testing.T) {
	if *writeVectors {
		makeVectorDatabases(t)
	}
	for name, want := range vectorDatabases {
		t.Run(name, func(t *testing.T) {
			r := vectorRegistration(t)
			source := filepath.Join(vectors, name+".db")
			for suffix, with := range map[string]string{"-wal": "with-log", "-journal": "hot-journal"} {
				if _, err := os.Stat(source + suffix); (err == nil) != (with == name) {
					t.Errorf("%s%s: %v", source, suffix, err)
				}
			}
			path := copyDB(t, source)
			if name != "hot-journal" { // whose database is amid a transaction
				if err := cryptvfs.Verify(context.Background(), path, r); err != nil {
					t.Error(err)
				}
			}
			db := openOld(t, r, path)
			if diff := cmp.Diff(want, one[string](t, db, vectorDump)); diff != "" {
				t.Error(diff)
			}
			checkIntegrity(t, db)
			if r.AuthFailures() != 0 {
				t.Errorf("%d authentication failures", r.AuthFailures())
			}
		})
	}
}

func makeVectorDatabases(t *testing.T) {
	r := vectorRegistration(t)
	dir := t.TempDir()
	save := func(name string) {
		path := copyDB(t, filepath.Join(dir, "a.db"))
		for _, suffix := range []string{"", "-wal", "-journal"} {
			if b, err := os.ReadFile(path + suffix); err == nil && len(b) > 0 {
				addVector(t, name+".db"+suffix, b)
			}
		}
	}
	db := openNew(t, r, dir+"/a.db", "journal_mode(delete)", "cache_size(2)")
	mustExec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
	mustExec(t, db, "INSERT INTO t VALUES(1, 'row 1 of stored row'), (2, printf('%09000d', 7)), (3, 'row three')")
	save("plainly-closed")
	mustExec(t, db, "BEGIN")
	for range 4 {
		mustExec(t, db, "UPDATE t SET v=v||printf('%05000d', 1)")
	}
	save("hot-journal")
	mustExec(t, db, "ROLLBACK")
	mustExec(t, db, "PRAGMA journal_mode=wal")
	mustExec(t, db, "INSERT INTO t VALUES(4, 'row 4 in the log only')")
	save("with-log")
}

func addVector(t *testing.T, name string, b []byte) {
	t.Helper()
	path := filepath.Join(vectors, name)
	if _, err := os.Stat(path); err == nil {
		t.Logf("%s stays as it is", path)
		return
	}
	if err := os.MkdirAll(vectors, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// The units: one page, one WAL frame's page and one journal block, in
// hexadecimal, with the plaintext that is in them.
func TestVectorUnits(t *testing.T) {
	r := vectorRegistration(t)
	pagePlain := bytes.Repeat([]byte("page 3. "), 508)
	units := map[string]struct {
		unit  *cryptvfs.Unit
		plain []byte
	}{
		"page.hex":  {r.PageUnit(3), pagePlain},
		"frame.hex": {r.FrameUnit(3, 7, 9, [8]byte{1, 2, 3, 4, 5, 6, 7, 8}), pagePlain},
		"short.hex": {r.PageUnit(4), []byte("short")},
	}
	for name, v := range units {
		if *writeVectors {
			addVector(t, name, []byte(hex.EncodeToString(v.unit.Seal(v.plain))+"\n"))
		}
		b, err := hex.DecodeString(strings.TrimSpace(string(readFile(t, filepath.Join(vectors, name)))))
		if err != nil {
			t.Fatal(err)
		}
		got, ok := v.unit.Open(b)
		if !ok || !bytes.Equal(got, v.plain) {
			t.Errorf("%s: opened %v, %d bytes", name, ok, len(got))
		}
		for bit := 0; bit < 8*len(b); bit += 61 {
			bad := slices.Clone(b)
			bad[bit/8] ^= 1 << (bit % 8)
			if _, ok := v.unit.Open(bad); ok {
				t.Errorf("%s: bit %d flipped and accepted", name, bit)
			}
		}
	}
}
