package cryptvfs_test

import (
	"bufio"
	"database/sql"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"coffer/tenants/cryptvfs"
)

// childEnv makes the test binary a process that writes to a database. Its
// value is the role, the journal mode and the path.
const childEnv = "CRYPTVFS_TEST_CHILD"

func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		if err := child(strings.SplitN(spec, " ", 3)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	if checks := flag.Lookup("rapid.checks"); raceDetector && checks.Value.String() == checks.DefValue {
		_ = checks.Value.Set("10") // each is twenty times as slow
	}
	os.Exit(m.Run())
}

// child runs in the other process: "forever" acknowledges transactions on
// stdout until it is killed, "some" makes some and ends.
func child(spec []string) error {
	role, mode, path := spec[0], spec[1], spec[2]
	r, err := cryptvfs.Register(fixedID(5), fixedKeys(5))
	if err != nil {
		return err
	}
	defer r.Close()
	db, err := sql.Open("sqlite", r.URI(path, cryptvfs.Options{Mode: cryptvfs.Create, Params: pragmas(
		"busy_timeout(20000)", "synchronous(FULL)", "journal_mode("+mode+")", "cache_size(5)", "wal_autocheckpoint(20)")}))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(ackTable); err != nil {
		return err
	}
	for i := 0; role == "forever" || i < some(); i++ {
		n, err := acknowledge(db, func() { fmt.Println(amid) })
		if err != nil {
			return err
		}
		fmt.Println(n)
	}
	return nil
}

// some is how many transactions are enough; with the race detector each takes
// twenty times as long.
func some() int {
	if raceDetector {
		return 20
	}
	return 100
}

const ackTable = "CREATE TABLE IF NOT EXISTS t(n INTEGER, part INTEGER, v TEXT); CREATE INDEX IF NOT EXISTS ti ON t(v)"

// amid is what a child prints inside a transaction that has spilled.
const amid = "amid"

// acknowledge makes one transaction of 12 rows, larger than the page cache,
// that also changes rows of the one before, calls amid inside, and gives its
// number.
func acknowledge(db *sql.DB, amid func()) (n int, err error) {
	tx, err := db.Begin()
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	// Write first: two processes then wait for each other and do not collide.
	if _, err := tx.Exec("INSERT INTO t SELECT coalesce(max(n),0)+1, 0, printf('%01500d', 0) FROM t"); err != nil {
		return 0, err
	}
	if err := tx.QueryRow("SELECT max(n) FROM t").Scan(&n); err != nil {
		return 0, err
	}
	for part := 1; part < 12; part++ {
		if _, err := tx.Exec("INSERT INTO t VALUES(?, ?, printf('%01500d', ?))", n, part, n*part); err != nil {
			return 0, err
		}
	}
	if _, err := tx.Exec("UPDATE t SET v=v||'x' WHERE n=?", n-1); err != nil {
		return 0, err
	}
	amid()
	return n, tx.Commit()
}

func childCommand(t *testing.T, role, mode, path string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"="+role+" "+mode+" "+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// TestKill kills a writing process again and again, each time at another place.
func TestKill(t *testing.T) {
	for _, mode := range []string{"wal", "delete"} {
		t.Run(mode, func(t *testing.T) {
			path := memoryDir(t) + "/a.db"
			r := register(t, fixedID(5), fixedKeys(5))
			hot, acked := 0, 0
			for round := range 20 {
				acked = killOnce(t, mode, path, acked, round)
				if _, err := os.Stat(path + "-journal"); err == nil {
					hot++
				}
				db := openOld(t, r, path)
				checkIntegrity(t, db)
				n := one[int](t, db, "SELECT max(n) FROM t")
				if n < acked || n > acked+1 {
					t.Fatalf("round %d: %d transactions, %d were acknowledged", round, n, acked)
				}
				if bad := one[int](t, db, "SELECT count(*) FROM (SELECT n FROM t GROUP BY n HAVING count(*)<>12)"); bad != 0 {
					t.Fatalf("round %d: %d transactions are there in part", round, bad)
				}
				acked = n
				closeDB(t, db)
			}
			t.Logf("%d transactions, %d hot journals", acked, hot)
			if mode == "delete" && hot < 2 {
				t.Errorf("%d kills left a hot journal: the test kills at the wrong moments", hot)
			}
			if r.AuthFailures() != r.TornTails() {
				t.Errorf("%d certain authentication failures", r.AuthFailures()-r.TornTails())
			}
		})
	}
}

// killOnce lets a child make a few transactions, kills it amid the next, and
// gives the number of the last one that it acknowledged.
func killOnce(t *testing.T, mode, path string, acked, round int) int {
	t.Helper()
	cmd := childCommand(t, "forever", mode, path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	// Kill after the number of a transaction, or inside one.
	for i := 0; i <= round%9+1 && lines.Scan(); i++ {
		if lines.Text() != amid {
			acked = number(t, lines.Text())
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // acknowledged before the kill came through
		if lines.Text() != amid {
			acked = number(t, lines.Text())
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
	return acked
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestTwoProcesses writes to one file from two processes at once.
func TestTwoProcesses(t *testing.T) {
	for _, mode := range []string{"wal", "delete"} {
		t.Run(mode, func(t *testing.T) {
			path := memoryDir(t) + "/a.db"
			r := register(t, fixedID(5), fixedKeys(5))
			db := openNew(t, r, path, "busy_timeout(20000)", "synchronous(FULL)", "journal_mode("+mode+")", "cache_size(5)")
			mustExec(t, db, ackTable)
			cmd := childCommand(t, "some", mode, path)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for range some() {
				if _, err := acknowledge(db, func() {}); err != nil {
					t.Error(err)
					break
				}
			}
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
			if n := one[int](t, db, "SELECT count(DISTINCT n) FROM t"); n != 2*some() {
				t.Errorf("%d transactions of %d", n, 2*some())
			}
			checkIntegrity(t, db)
			if r.AuthFailures() != 0 {
				t.Errorf("%d authentication failures", r.AuthFailures())
			}
		})
	}
}

// TestReadersAndWriter reads through four connections while one writes. Each
// reader sees whole transactions only.
func TestReadersAndWriter(t *testing.T) {
	for _, mode := range []string{"wal", "truncate"} {
		t.Run(mode, func(t *testing.T) {
			path := memoryDir(t) + "/a.db"
			r := register(t, fixedID(5), fixedKeys(5))
			pragma := []string{"busy_timeout(20000)", "journal_mode(" + mode + ")", "cache_size(5)", "wal_autocheckpoint(15)"}
			db := openNew(t, r, path, pragma...)
			mustExec(t, db, ackTable)
			done := make(chan struct{})
			var group sync.WaitGroup
			for range 4 {
				reader := openOld(t, r, path, pragma...)
				group.Go(func() {
					for {
						var bad int
						err := reader.QueryRow("SELECT count(*) FROM (SELECT n FROM t GROUP BY n HAVING count(*)<>12 OR min(length(v))<1500)").Scan(&bad)
						if err != nil || bad != 0 {
							t.Errorf("a reader sees %d transactions in part, %v", bad, err)
							return
						}
						select {
						case <-done:
							return
						default:
						}
					}
				})
			}
			for range some() / 2 {
				if _, err := acknowledge(db, func() {}); err != nil {
					t.Error(err)
					break
				}
			}
			close(done)
			group.Wait()
			checkIntegrity(t, db)
			if r.AuthFailures() != 0 {
				t.Errorf("%d authentication failures", r.AuthFailures())
			}
		})
	}
}
