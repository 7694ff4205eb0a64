package cryptvfs_test

import (
	"bytes"
	"database/sql"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"coffer/tenants/cryptvfs"
)

// FuzzOpenUnit: no bytes but the sealed ones are accepted, at no other place,
// and none makes the opener panic or leaves plaintext behind.
func FuzzOpenUnit(f *testing.F) {
	r, err := cryptvfs.Register(fixedID(1), fixedKeys(1))
	if err != nil {
		f.Fatal(err)
	}
	plain := bytes.Repeat([]byte("secret row "), 300)
	sealed := r.PageUnit(9).Seal(plain)
	f.Add(sealed, uint32(9))
	f.Add(sealed, uint32(8))
	f.Add(sealed[1:], uint32(9))
	f.Add(sealed[:len(sealed)-1], uint32(9))
	f.Add([]byte{}, uint32(9))
	f.Add(make([]byte, 31), uint32(0))
	f.Add(make([]byte, 32), uint32(1))
	f.Add(make([]byte, 4096), uint32(1))
	f.Fuzz(func(t *testing.T, unit []byte, number uint32) {
		got, ok := r.PageUnit(number).Open(unit)
		// Not compared with sealed itself: each fuzzing process seals anew.
		if ok && (number != 9 || !bytes.Equal(got, plain)) {
			t.Fatal("accepted what was not sealed here")
		}
		if !ok && number == 9 && bytes.Equal(unit, sealed) {
			t.Fatal("refused what was sealed here")
		}
		if !ok && bytes.Contains(got, []byte("secret row")) {
			t.Fatal("refused, but plaintext is left")
		}
	})
}

// fuzzFile opens a sound database with arbitrary bytes as a file beside it: it
// opens to a state that was committed, or not at all.
func fuzzFile(f *testing.F, suffix string, seeds func(r *cryptvfs.Registration) (path string, states map[int]bool)) {
	r, err := cryptvfs.Register(fixedID(1), fixedKeys(1))
	if err != nil {
		f.Fatal(err)
	}
	path, states := seeds(r)
	db, beside := readFile(f, path), readFile(f, path+suffix)
	f.Add(beside)
	f.Add([]byte{})
	f.Add(beside[:len(beside)/2])
	f.Add(beside[:len(beside)-7])
	for _, at := range []int{0, 3, 9, 16, 24, 33, 37, 45, 60, 4127, 4130, 5000} {
		bad := slices.Clone(beside)
		bad[at%len(bad)] ^= 0x40
		f.Add(bad)
	}
	dir := memoryDir(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, "f.db")
		_ = os.Remove(path + "-shm")
		_ = os.Remove(path + "-wal")
		_ = os.Remove(path + "-journal")
		writeFile(t, path, db)
		writeFile(t, path+suffix, b)
		d, err := sql.Open("sqlite", r.URI(path, cryptvfs.Options{}))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		var sum int
		if err := d.QueryRow("SELECT coalesce(sum(id*length(v)),0) FROM t").Scan(&sum); err == nil && !states[sum] {
			t.Fatalf("opened to a state that never was: %d", sum)
		}
	})
}

func FuzzLog(f *testing.F) {
	fuzzFile(f, "-wal", func(r *cryptvfs.Registration) (string, map[int]bool) {
		path, ends := logged(f, r, 6)
		states, sum := map[int]bool{0: true}, 0
		for i := range ends {
			sum += i * (100 + i%3*5000)
			states[sum] = true
		}
		return path, states
	})
}

func FuzzJournal(f *testing.F) {
	fuzzFile(f, "-journal", func(r *cryptvfs.Registration) (string, map[int]bool) {
		path := memoryDir(f) + "/a.db"
		db := openNew(f, r, path, "journal_mode(persist)")
		mustExec(f, db, fillTable)
		mustExec(f, db, "UPDATE t SET v=v||'x'")
		sum := one[int](f, db, fillSum)
		closeDB(f, db)
		return path, map[int]bool{sum: true}
	})
}
