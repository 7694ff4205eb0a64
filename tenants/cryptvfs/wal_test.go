package cryptvfs_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coffer/app/domain"
	"coffer/tenants/cryptvfs"
)

const (
	walHeader = 32
	walFrame  = 24 + cryptvfs.PageSize
)

// logged makes a database with n acknowledged transactions in its log, each of
// one or more frames, and gives a copy as a kill would leave it, with the
// number of the last frame of each transaction.
func logged(t testing.TB, r *cryptvfs.Registration, n int) (path string, ends []int) {
	t.Helper()
	dir := memoryDir(t)
	db := openNew(t, r, dir+"/a.db", "synchronous(FULL)", "journal_mode(wal)", "wal_autocheckpoint(0)")
	mustExec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
	mustExec(t, db, "PRAGMA wal_checkpoint(TRUNCATE)")
	for i := range n {
		mustExec(t, db, "INSERT INTO t VALUES(?, printf('%0*d', ?, 7))", i, 100+i%3*5000)
		ends = append(ends, (len(readFile(t, dir+"/a.db-wal"))-walHeader)/walFrame)
	}
	path = copyDB(t, dir+"/a.db")
	closeDB(t, db)
	return path, ends
}

// recovered opens a database and gives how many transactions of logged it has.
func recovered(t testing.TB, r *cryptvfs.Registration, path string) int {
	t.Helper()
	db := openOld(t, r, path)
	defer closeDB(t, db)
	checkIntegrity(t, db)
	n := one[int](t, db, "SELECT count(*) FROM t")
	if n > 0 {
		if last := one[int](t, db, "SELECT max(id) FROM t"); last != n-1 {
			t.Fatalf("%d transactions, but the last is %d", n, last)
		}
	}
	return n
}

// TestTornLog cuts the log off at any byte, and fills the end with zeros,
// garbage, or old frames: all transactions before are there, and none half.
func TestTornLog(t *testing.T) {
	r := register(t, fixedID(1), randomKeys())
	path, ends := logged(t, r, 40)
	db, wal := readFile(t, path), readFile(t, path+"-wal")
	for i := range 300 {
		at := walHeader + 1 + i*(len(wal)-walHeader-1)/300
		torn := slices.Clone(wal[:at])
		switch i % 4 {
		case 1:
			torn = append(torn, make([]byte, 4200)...)
		case 2:
			garbage := make([]byte, 6000)
			_, _ = rand.Read(garbage)
			torn = append(torn, garbage...)
		case 3: // the frame is there, but a sector of it is not
			torn = slices.Clone(wal[:min(len(wal), at+walFrame)])
			clear(torn[at:min(len(torn), at+512)])
		}
		writeFile(t, path, db)
		writeFile(t, path+"-wal", torn)
		whole := (at - walHeader) / walFrame // frames before the damage
		want := 0
		for want < len(ends) && ends[want] <= whole {
			want++
		}
		before, tails := r.AuthFailures(), r.TornTails()
		if got := recovered(t, r, path); got != want {
			t.Fatalf("log cut at %d (case %d): %d transactions, want %d", at, i%4, got, want)
		}
		if certain := (r.AuthFailures() - before) - (r.TornTails() - tails); certain != 0 && i%4 != 3 {
			t.Fatalf("log cut at %d (case %d): %d certain failures", at, i%4, certain)
		}
	}
}

// TestLogTampering damages one frame in the middle of a log. SQLite then drops
// all transactions from there on without a word; we do not.
func TestLogTampering(t *testing.T) {
	r := register(t, fixedID(1), randomKeys())
	path, ends := logged(t, r, 30)
	db, wal := readFile(t, path), readFile(t, path+"-wal")
	frame := func(b []byte, n int) []byte { return b[walHeader+(n-1)*walFrame:][:walFrame] }
	middle := ends[15] // a commit
	inside := ends[16] + 1
	other, _ := logged(t, r, 30)
	foreign := readFile(t, other+"-wal")
	tests := map[string]struct {
		change  func(b []byte)
		certain bool // what is left proves that it was not a crash
	}{
		"page number":            {func(b []byte) { frame(b, middle)[3] ^= 1 }, true},
		"commit size":            {func(b []byte) { frame(b, middle)[7] ^= 1 }, true},
		"commit mark taken away": {func(b []byte) { clear(frame(b, middle)[4:8]) }, true},
		"masked salts":           {func(b []byte) { frame(b, middle)[9] ^= 1 }, true},
		"masked checksum":        {func(b []byte) { frame(b, middle)[17] ^= 1 }, true},
		"masked part of another": {func(b []byte) { copy(frame(b, middle)[8:24], frame(b, middle-1)[8:24]) }, true},
		"page":                   {func(b []byte) { frame(b, middle)[1000] ^= 1 }, true},
		"page in a transaction":  {func(b []byte) { frame(b, inside)[1000] ^= 1 }, true},
		"tag":                    {func(b []byte) { frame(b, middle)[24+4064] ^= 1 }, true},
		"nonce":                  {func(b []byte) { frame(b, middle)[24+4080] ^= 1 }, true},
		"epoch":                  {func(b []byte) { frame(b, middle)[24+4095] ^= 1 }, true},
		"zero frame":             {func(b []byte) { clear(frame(b, middle)) }, true},
		"frames swapped":         {func(b []byte) { f := slices.Clone(frame(b, 3)); copy(frame(b, 3), frame(b, 4)); copy(frame(b, 4), f) }, true},
		"frame of another log":   {func(b []byte) { copy(frame(b, middle), frame(foreign, middle)) }, true},
		"last frame":             {func(b []byte) { frame(b, ends[29])[500] ^= 1 }, false},
		"log header":             {func(b []byte) { b[13] ^= 1 }, true},
		"log header magic":       {func(b []byte) { b[0] ^= 1 }, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, by := range []string{"opening", "Verify"} {
				bad := slices.Clone(wal)
				test.change(bad)
				writeFile(t, path, db)
				writeFile(t, path+"-wal", bad)
				before, tails := r.AuthFailures(), r.TornTails()
				if by == "Verify" {
					err := cryptvfs.Verify(context.Background(), path, r)
					if domain.KindOf(err) != domain.Tampered || !strings.Contains(err.Error(), "frame") {
						t.Errorf("Verify: %v", err)
					}
				} else if got := recovered(t, r, path); got >= 30 {
					t.Errorf("opening gives %d transactions", got)
				}
				if r.AuthFailures() == before {
					t.Errorf("%s: not counted", by)
				}
				if certain := r.AuthFailures()-before > r.TornTails()-tails; certain != test.certain {
					t.Errorf("%s: certain %v, want %v", by, certain, test.certain)
				}
			}
		})
	}
}

// TestLogReadDamaged damages a frame after the index over the log was made.
func TestLogReadDamaged(t *testing.T) {
	r := register(t, fixedID(1), randomKeys())
	dir := memoryDir(t)
	db := openNew(t, r, dir+"/a.db", "journal_mode(wal)", "wal_autocheckpoint(0)", "cache_size(1)")
	mustExec(t, db, fillTable)
	wal := readFile(t, dir+"/a.db-wal")
	for n := range (len(wal) - walHeader) / walFrame {
		wal[walHeader+n*walFrame+2000] ^= 4
	}
	writeFile(t, dir+"/a.db-wal", wal)
	var sum int
	if err := db.QueryRow("SELECT sum(length(v)) FROM t").Scan(&sum); err == nil {
		t.Error("reading damaged frames succeeded")
	}
	if r.AuthFailures() == 0 {
		t.Error("not counted")
	}
}

// TestQuietCrashes makes sure that what a kill leaves is not called tampering:
// unfinished and rolled back transactions, old generations, pages rewritten in
// one transaction.
func TestQuietCrashes(t *testing.T) {
	r := register(t, fixedID(1), randomKeys())
	dir := memoryDir(t)
	db := openNew(t, r, dir+"/a.db", "journal_mode(wal)", "wal_autocheckpoint(0)", "cache_size(3)")
	mustExec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
	want := 0
	check := func(moment string) {
		t.Helper()
		if got := recovered(t, r, copyDB(t, dir+"/a.db")); got != want {
			t.Fatalf("%s: %d rows, want %d", moment, got, want)
		}
		if r.AuthFailures() != 0 {
			t.Fatalf("%s: %d authentication failures", moment, r.AuthFailures())
		}
	}
	insert := func(d execer) { mustExec(t, d, "INSERT INTO t SELECT (SELECT count(*) FROM t), printf('%09000d', 1)") }
	for range 3 {
		ctx := context.Background()
		conn, err := db.Conn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		mustExec(t, conn, "BEGIN")
		for range 30 {
			insert(conn) // spills, and rewrites pages in the log
			mustExec(t, conn, "UPDATE t SET v=substr(v,1,8990)||id")
		}
		check("in a transaction that spilled")
		mustExec(t, conn, "ROLLBACK")
		check("rolled back")
		insert(conn)
		want++
		check("committed over what was rolled back")
		mustExec(t, conn, "BEGIN")
		for range 30 {
			insert(conn)
			mustExec(t, conn, "UPDATE t SET v=substr(v,1,8990)||id")
		}
		mustExec(t, conn, "COMMIT")
		want += 30
		check("committed a transaction that spilled")
		mustExec(t, conn, "PRAGMA wal_checkpoint(RESTART)")
		insert(conn)
		want++
		check("log begun anew over older frames")
		_ = conn.Close()
	}
	checkIntegrity(t, db)
}

// TestOldGeneration puts a frame of an earlier generation of the log back in
// its place.
func TestOldGeneration(t *testing.T) {
	r := register(t, fixedID(1), randomKeys())
	dir := memoryDir(t)
	db := openNew(t, r, dir+"/a.db", "journal_mode(wal)", "wal_autocheckpoint(0)", "cache_size(1)")
	mustExec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
	mustExec(t, db, "INSERT INTO t VALUES(1, 'old')")
	old := readFile(t, dir+"/a.db-wal")
	mustExec(t, db, "PRAGMA wal_checkpoint(RESTART)")
	mustExec(t, db, "UPDATE t SET v='new'")
	now := readFile(t, dir+"/a.db-wal")
	if binary.BigEndian.Uint32(now[16:]) == binary.BigEndian.Uint32(old[16:]) {
		t.Fatal("the log was not begun anew")
	}
	copy(now[walHeader:walHeader+walFrame], old[walHeader+2*walFrame:]) // a frame of the same page
	writeFile(t, filepath.Join(dir, "a.db-wal"), now)
	reader := openOld(t, r, dir+"/a.db")
	var v string
	if err := reader.QueryRow("SELECT v FROM t").Scan(&v); err == nil {
		t.Errorf("read %q", v)
	}
	if r.AuthFailures() == 0 {
		t.Error("not counted")
	}
}
