// Package interop drives a running Coffer over TLS with other people's clients.
// It is a module of its own: what those need is nothing that Coffer needs.
package interop

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	token "coffer-clients"

	"github.com/tursodatabase/libsql-client-go/libsql"
)

// running is a Coffer with the tenants acme and globex, and a workload of acme's
// that may write.
var running struct {
	bin, data, url   string
	roleID, secretID string
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "coffer-interop")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	running.bin, running.data = filepath.Join(dir, "coffer"), filepath.Join(dir, "data")
	build := exec.Command("go", "build", "-o", running.bin, ".")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building: %v\n%s", err, out)
		return 1
	}
	stop, err := serve()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	// Every client trusts Coffer's own authority and no other.
	ca := filepath.Join(running.data, "ca.crt")
	for _, name := range []string{"SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"} {
		os.Setenv(name, ca)
	}
	os.Setenv("SSL_CERT_DIR", dir)
	return m.Run()
}

// serve starts Coffer and makes the tenants.
func serve() (stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return nil, err
	}
	cmd := exec.Command(running.bin, "serve", "--data", running.data, "--seal", "keyfile", "--listen", fmt.Sprintf("127.0.0.1:%d", port))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	}
	for s := bufio.NewScanner(out); s.Scan() && !strings.HasPrefix(s.Text(), "version:"); {
	}
	running.url = fmt.Sprintf("https://localhost:%d", port)
	for _, id := range []string{"acme", "globex"} {
		if _, err := coffer("tenant", "create", id, "--name", id); err != nil {
			return stop, err
		}
	}
	var workload struct {
		RoleID   string `json:"role_id"`
		SecretID string `json:"secret_id"`
	}
	text, err := coffer("workload", "create", "-t", "acme", "app", "--grant", "sql:admin", "-o", "json")
	if err == nil {
		err = json.Unmarshal([]byte(text), &workload)
	}
	running.roleID, running.secretID = workload.RoleID, workload.SecretID
	return stop, err
}

// coffer runs a command as the local user.
func coffer(args ...string) (string, error) {
	cmd := exec.Command(running.bin, args...)
	cmd.Env = append(os.Environ(), "COFFER_DATA="+running.data)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("coffer %s: %w: %s", strings.Join(args[:2], " "), err, &errs)
	}
	return strings.TrimSpace(string(out)), err
}

func must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := coffer(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// issue makes a token in acme.
func issue(t *testing.T, role, ttl string) string {
	t.Helper()
	var out struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal([]byte(must(t, "token", "issue", "-t", "acme", "--role", role, "--ttl", ttl, "-o", "json")), &out); err != nil {
		t.Fatal(err)
	}
	return out.Token
}

// command runs a program of tests and shows what it said if it fails.
func command(t *testing.T, dir string, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", name, err, out)
		return
	}
	t.Logf("%s", lastLines(string(out), 12))
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// TestLibsqlClientGo runs that client's own tests, as they are published, at both
// forms of the address.
func TestLibsqlClientGo(t *testing.T) {
	for _, path := range []string{"/t/acme/db/", "/t/acme"} {
		t.Run(path, func(t *testing.T) {
			command(t, ".", []string{"LIBSQL_TEST_HTTP_DB_URL=" + running.url + path, "LIBSQL_TEST_HTTP_AUTH_TOKEN=" + issue(t, "owner", "15m")},
				"go", "test", "-count=1", "-v", "github.com/tursodatabase/libsql-client-go/tests/http")
		})
	}
}

// TestNode runs the clients of JavaScript, one of which has its core in Rust.
func TestNode(t *testing.T) {
	files, err := filepath.Glob("js/*.test.mjs")
	if err != nil || len(files) == 0 {
		t.Fatal("no tests", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			command(t, "js", []string{
				"COFFER_URL=" + running.url, "COFFER_OWNER_TOKEN=" + issue(t, "owner", "15m"),
				"COFFER_ROLE_ID=" + running.roleID, "COFFER_SECRET_ID=" + running.secretID,
			}, "node", "--test", "--test-reporter=spec", filepath.Base(file))
		})
	}
}

// TestPython runs the helper for Python.
func TestPython(t *testing.T) {
	command(t, "../clients/python", []string{
		"COFFER_URL=" + running.url, "COFFER_ROLE_ID=" + running.roleID, "COFFER_SECRET_ID=" + running.secretID, "PYTHONDONTWRITEBYTECODE=1",
	}, "python3", "-m", "unittest", "-v", "test_coffer_token")
}

// TestGoToken: the helper for Go renews the token of the driver's connections,
// with one login for all that ask at once.
func TestGoToken(t *testing.T) {
	source := token.New(running.url, running.roleID, running.secretID)
	source.TTL = 2 * time.Second
	source.Client = client(t)
	db := sql.OpenDB(source.Connector(func(text string) (driver.Connector, error) {
		return libsql.NewConnector(running.url+"/t/acme/db", libsql.WithAuthToken(text))
	}))
	db.SetConnMaxLifetime(400 * time.Millisecond)
	defer db.Close()
	first, err := source.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{first: true}
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		var one int
		if err := db.QueryRowContext(t.Context(), "SELECT 1").Scan(&one); err != nil || one != 1 {
			t.Fatal(one, err)
		}
		now, err := source.Token(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		seen[now] = true
	}
	if len(seen) < 2 || len(seen) > 4 {
		t.Errorf("%d tokens in three seconds, each of which lives for two", len(seen))
	}
}

// TestGoTokenRevoked: what is asked after Coffer ended a token is asked again with
// another, and a transaction is not.
func TestGoTokenRevoked(t *testing.T) {
	source := token.New(running.url, running.roleID, running.secretID)
	source.Client = client(t)
	db := sql.OpenDB(source.Connector(func(text string) (driver.Connector, error) {
		return libsql.NewConnector(running.url+"/t/acme/db", libsql.WithAuthToken(text))
	}))
	defer db.Close()
	at := table(t)
	get := func() string {
		t.Helper()
		text, err := source.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	prepared, err := db.PrepareContext(t.Context(), "INSERT INTO "+at+" VALUES (?, 'once')")
	if err != nil {
		t.Fatal(err)
	}
	for id := range 3 {
		if _, err := prepared.ExecContext(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		old := get()
		revoke(t, old)
		if _, err := db.ExecContext(t.Context(), "INSERT INTO "+at+" VALUES (?, 'once')", 10+id); err != nil {
			t.Fatal(err)
		}
		if get() == old {
			t.Error("the token that was revoked is still in use")
		}
	}
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "DELETE FROM "+at); err != nil {
		t.Fatal(err)
	}
	revoke(t, get())
	if _, err := tx.ExecContext(t.Context(), "DELETE FROM "+at); err == nil || !strings.Contains(err.Error(), "not valid") {
		t.Errorf("in a transaction: %v", err)
	}
	_ = tx.Rollback()
	if n := count(t, db, at); n != 6 {
		t.Errorf("%d rows are left of 6", n)
	}
}

// TestGo asks what the client's own tests do not: what becomes of a transaction
// whose token ends, and what its user may not do.
func TestGo(t *testing.T) {
	owner := open(t, "acme", issue(t, "owner", "15m"))
	t.Run("values", func(t *testing.T) {
		var i int64
		var f float64
		var s string
		var b []byte
		var n sql.NullString
		row := owner.QueryRowContext(t.Context(), "SELECT :i, :f, :s, :b, :n",
			sql.Named("i", int64(math.MaxInt64)), sql.Named("f", 1.5), sql.Named("s", "Grüße 😀"), sql.Named("b", []byte{0, 255, 1}), sql.Named("n", nil))
		if err := row.Scan(&i, &f, &s, &b, &n); err != nil || i != math.MaxInt64 || f != 1.5 || s != "Grüße 😀" || !bytes.Equal(b, []byte{0, 255, 1}) || n.Valid {
			t.Error(err, i, f, s, b, n)
		}
	})
	for _, end := range []string{"revoked", "expired"} {
		t.Run(end, func(t *testing.T) {
			at, ttl := table(t), "15m"
			if end == "expired" {
				ttl = "1s"
			}
			text := issue(t, "admin", ttl)
			db := open(t, "acme", text)
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.ExecContext(t.Context(), "INSERT INTO "+at+" VALUES (1, 'a')"); err != nil {
				t.Fatal(err)
			}
			if end == "revoked" {
				revoke(t, text)
			} else {
				time.Sleep(1200 * time.Millisecond) // that is what a second takes
			}
			if err := tx.Commit(); err == nil || !strings.Contains(err.Error(), "not valid") {
				t.Errorf("commit: %v", err)
			}
			if err := ask(t, db); err == nil || !strings.Contains(err.Error(), "not valid") {
				t.Errorf("the next request: %v", err)
			}
			if _, err := owner.ExecContext(t.Context(), "INSERT INTO "+at+" VALUES (2, 'b')"); err != nil { // waits for the rollback
				t.Fatal(err)
			}
			if n := count(t, owner, at); n != 1 {
				t.Errorf("%d rows instead of the one that was written afterwards", n)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		at := table(t)
		reader := open(t, "acme", issue(t, "analyst", "15m"))
		if _, err := reader.ExecContext(t.Context(), "DELETE FROM "+at); err == nil || !strings.Contains(err.Error(), "not allowed") {
			t.Errorf("an analyst writes: %v", err)
		}
		if err := ask(t, open(t, "globex", issue(t, "owner", "15m"))); err == nil || !strings.Contains(err.Error(), "no such tenant") {
			t.Errorf("in another's database: %v", err)
		}
		held, err := owner.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer held.Close()
		if _, err := held.ExecContext(t.Context(), "BEGIN TRANSACTION READONLY"); err != nil {
			t.Fatal(err)
		}
		if _, err := held.ExecContext(t.Context(), "DELETE FROM "+at); err == nil || !strings.Contains(err.Error(), "may only read") {
			t.Errorf("within READONLY: %v", err)
		}
	})
}

// open is a pool of that client's connections to a tenant.
func open(t *testing.T, tenant, text string) *sql.DB {
	t.Helper()
	c, err := libsql.NewConnector(running.url+"/t/"+tenant+"/db", libsql.WithAuthToken(text))
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

var tables int

// table makes a table of its own for a test.
func table(t *testing.T) string {
	t.Helper()
	tables++
	name := fmt.Sprintf("go_%d", tables)
	if _, err := open(t, "acme", issue(t, "admin", "15m")).ExecContext(t.Context(), "CREATE TABLE "+name+"(id INTEGER PRIMARY KEY, v)"); err != nil {
		t.Fatal(err)
	}
	return name
}

// ask is a request; the driver's Ping makes none.
func ask(t *testing.T, db *sql.DB) error {
	t.Helper()
	var one int
	return db.QueryRowContext(t.Context(), "SELECT 1").Scan(&one)
}

func count(t *testing.T, db *sql.DB, at string) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+at).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// revoke gives a token back before its end.
func revoke(t *testing.T, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, running.url+"/api/v1/token/revoke", strings.NewReader(`{"token":"`+text+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+text)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		t.Fatal(resp.Status)
	}
}

// client trusts Coffer's authority.
func client(t *testing.T) *http.Client {
	t.Helper()
	ca, err := os.ReadFile(filepath.Join(running.data, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
}
