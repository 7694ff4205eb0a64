package app_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func (w *watched) secrets() {
	path := w.hide("path", "canary-path/live")
	entry := w.hide("entry name", "canary-entry-name")
	value := w.hide("secret value", "canary-secret-value-1")
	other := w.hide("other secret value", "canary-secret-value-2")
	w.coffer(0, value+"\n", []string{"path"}, "secret", "put", "-t", "acme", path, entry+"=-")
	w.coffer(0, "", []string{"path"}, "secret", "put", "-t", "acme", path, entry+"=@"+w.file("value", other), "--cas", "1")
	w.coffer(1, value, nil, "secret", "put", "-t", "acme", path, entry+"=-", "--cas", "1")
	w.quoted("path")
	w.coffer(0, "", []string{"other secret value"}, "secret", "get", "-t", "acme", path, "--field", entry)
	w.coffer(0, "", []string{"secret value", "entry name"}, "secret", "get", "-t", "acme", path, "--version", "1")
	w.coffer(0, "", []string{"path"}, "secret", "list", "-t", "acme")
	w.coffer(0, "", []string{"path"}, "secret", "versions", "-t", "acme", path, "-o", "json")
	w.coffer(0, "", []string{"path"}, "secret", "delete", "-t", "acme", path)
	w.coffer(4, "", nil, "secret", "get", "-t", "acme", path)
	w.quoted("path")
	w.coffer(0, "", []string{"path"}, "secret", "destroy", "-t", "acme", path, "--version", "1")
	w.coffer(2, value+"\xff", nil, "secret", "put", "-t", "acme", path, "k=-")
	w.coffer(2, "", nil, "secret", "put", "-t", "acme", path, "k=@"+w.file("large", strings.Repeat(value, 30_000)))
}

func (w *watched) database() {
	table := w.hide("table", "canary_table")
	text := w.hide("sql text", "canary-sql-text-1")
	w.hide("sql blob", "canary-sql-blob-1")
	sql := func(code int, asked []string, statement string) string {
		return w.coffer(code, statement, asked, "sql", "-t", "acme", "-o", "json")
	}
	sql(0, nil, "CREATE TABLE "+table+" (n INTEGER CHECK (n < 10), s TEXT UNIQUE, b BLOB);")
	sql(0, nil, "INSERT INTO "+table+" VALUES (1, '"+text+"', CAST('canary-sql-blob-1' AS BLOB));")
	w.coffer(0, "", []string{"sql text"}, "sql", "-t", "acme", "SELECT s FROM "+table)
	sql(1, nil, "INSERT INTO "+table+" VALUES (2, '"+text+"', NULL);")
	w.quoted("table") // which names what is UNIQUE
	sql(1, nil, "INSERT INTO "+table+" VALUES (11, '"+text+"-b', NULL);")
	sql(2, nil, "SELECT s FROM "+table+" WHERE s = '"+text)
	sql(2, nil, "SELECT \""+text+"\" FROM no_such_table")
	w.quoted("sql text")
	sql(2, nil, "INSERT INTO "+table+" (s) SELECT json('"+text+"');")
	sql(0, []string{"table"}, "SELECT name FROM sqlite_schema WHERE type = 'table';")
	sql(0, nil, "UPDATE "+table+" SET s = s || 'x';")
	sql(0, nil, "DELETE FROM "+table+";")
}

func (w *watched) tokens() {
	token := w.issued("token", "token", "issue", "-t", "acme")
	w.coffer(0, token, nil, "token", "lookup", "-")
	w.coffer(0, "", nil, "token", "list", "-t", "acme", "-o", "json")
	file := w.file("token", token)
	w.coffer(0, "", []string{"path"}, "secret", "list", "-t", "acme", "--token-file", file)
	w.coffer(3, "", nil, "tenant", "list", "--token-file", file)
	w.coffer(3, "", nil, "secret", "list", "-t", "globex", "--token-file", file)
	wrong := w.hide("wrong token", "cft_canarywrongtoken234567")
	w.coffer(3, "", nil, "secret", "list", "-t", "acme", "--token-file", w.file("wrong", wrong))
	w.coffer(2, "", nil, "secret", "list", "-t", "acme", "--token-file", w.file("wrong", wrong+" "+wrong))
	w.coffer(4, wrong, nil, "token", "lookup", "-")
	w.coffer(4, wrong, nil, "token", "revoke", "-")
	w.coffer(0, token, nil, "token", "revoke", "-")
	w.coffer(3, "", nil, "secret", "list", "-t", "acme", "--token-file", file)
}

// issued runs a command that prints a token bare.
func (w *watched) issued(name string, args ...string) string {
	w.t.Helper()
	token := strings.TrimSpace(w.coffer(0, "", nil, args...))
	w.printed(name)
	return w.hide(name, token)
}

func (w *watched) workloads() {
	out := w.coffer(0, "", nil, "workload", "create", "-t", "acme", "web", "--grant", "sql:analyst")
	w.printed("secret id")
	role, secretID, ok := strings.Cut(strings.TrimSpace(out), "\nsecret_id=")
	if !ok {
		w.t.Fatal("no secret id was printed")
	}
	role = strings.TrimPrefix(role, "role_id=")
	file := w.file("secret-id", w.hide("secret id", secretID))
	w.issued("workload's token", "workload", "login", "--role-id", role, "--secret-id-file", file)
	w.coffer(3, w.hide("wrong secret id", "cfs_canarywrongsecretid"), nil, "workload", "login", "--role-id", role)
	w.coffer(0, "", nil, "workload", "list", "-t", "acme", "-o", "json")
	w.coffer(0, "", nil, "workload", "remove", "-t", "acme", "web")
}

func (w *watched) people() {
	name := w.hide("person's name", "canary-person-name")
	reason := w.hide("reason", "canary reason of the glass")
	w.coffer(0, "", nil, "tenant", "create", "globex")
	w.coffer(0, "", []string{"person's name"}, "member", "add", "-t", "globex", name, "--role", "owner")
	w.coffer(1, "", nil, "member", "add", "-t", "globex", name, "--role", "owner")
	w.quoted("person's name")
	w.coffer(0, "", []string{"person's name"}, "member", "list", "-t", "globex")
	w.coffer(0, "", nil, "sql", "-t", "globex", "CREATE TABLE t (s TEXT)")
	w.coffer(0, "INSERT INTO t VALUES ('canary-sql-text-1');", nil, "sql", "-t", "globex")
	me := "uid-" + strconv.Itoa(os.Geteuid())
	w.coffer(0, "", nil, "member", "remove", "-t", "globex", me)
	w.coffer(0, "", nil, "break-glass", "-t", "globex", "--reason", reason)
}

// created makes tenants with their first credentials, and for somebody else.
func (w *watched) created() {
	out := w.coffer(0, "", nil, "tenant", "create", "initech", "--workload", "web", "--grant", "sql:analyst", "--token-ttl", "15m")
	w.printed("first secret id", "first token")
	for _, line := range strings.Split(out, "\n") {
		if text, ok := strings.CutPrefix(line, "secret_id="); ok {
			w.hide("first secret id", text)
		}
		if text, ok := strings.CutPrefix(line, "token="); ok {
			w.hide("first token", text)
		}
	}
	w.coffer(0, "", []string{"person's name"}, "tenant", "create", "hooli", "--owner", "canary-person-name")
	w.coffer(2, "", nil, "tenant", "create", "wonka", "--owner", "canary-person-name", "--workload", "web", "--grant", "sql:analyst")
	w.quoted("person's name")
	w.coffer(0, "", []string{"reason"}, "alert", "list") // of the glass that is broken
}

// malformed sends what no client of ours would.
func (w *watched) malformed() {
	value := w.hide("malformed value", "canary-malformed-1")
	for _, body := range []string{
		`{"data": "` + value + `"}`, `{"data": ["` + value + `"]}`, `{"data": {"k": "` + value + `"`,
		`{"data": {"k": ` + value + `}}`, `{"cas": "` + value + `", "data": {}}`, value,
		`{"data": {"k": "v", "k": "` + value + `"}}`, `{"data": {"k": "v"}} "` + value + `"`,
	} {
		w.post("PUT", "/tenants/acme/secret?path=a", body)
	}
	w.post("POST", "/token/lookup", `{"token": ["`+value+`"]}`)
	w.post("POST", "/token/lookup", `{"token": {"x": "`+value+`"}}`)
	w.post("POST", "/token/revoke", `{"token": "`+value+`"}`)
	w.post("POST", "/login/workload", `{"role_id": "w_x", "secret_id": "`+value+`", "ttl": soon"}`)
	w.post("POST", "/seal/unseal", `{"kind": "passphrase", "secret": "`+value+`"}`)
	w.post("POST", "/seal/slots", `{"kind": "passphrase", "name": "x y", "secret": "`+value+`"}`)
	w.post("POST", "/seal/recovery/confirm", `{"characters": "`+value+`"}`)
	w.post("POST", "/tenants/acme/sql", `{"sql": "SELECT ?", "args": [{"base64": "`+value+`"}]}`)
	w.post("POST", "/tenants/acme/sql", `{"sql": "SELECT nosuch, ?", "args": ["`+value+`"]}`)
}

func (w *watched) readLogs() {
	for _, args := range [][]string{
		{"audit", "tail", "-t", "acme", "--last", "1000", "-o", "json"},
		{"audit", "query", "-t", "acme", "-o", "json"},
		{"audit", "query", "-t", "acme"},
		{"audit", "query", "-t", "globex", "-o", "json"},
		{"audit", "query", "--system", "-o", "json"},
		{"audit", "tail", "--system", "--last", "1000"},
	} {
		if out := w.coffer(0, "", nil, args...); len(out) < 500 {
			w.t.Errorf("%v printed %d bytes only", args, len(out))
		}
		w.printed(logged...)
	}
	w.coffer(0, "", nil, "audit", "verify", "-t", "acme")
	w.coffer(0, "", nil, "doctor")
	w.coffer(0, "", nil, "seal", "status", "-o", "json")
}

// damaged lets the server complain about a file.
func (w *watched) damaged(passphrase string) {
	path := filepath.Join(w.data, "tenants", "globex", "data.db")
	b, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	b[len(b)-2000] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.serve("--passphrase-file", passphrase)
	w.coffer(6, "", nil, "sql", "-t", "globex", "SELECT * FROM t")
	w.coffer(6, "", nil, "doctor")
	w.coffer(0, "", nil, "audit", "query", "-t", "globex", "-o", "json")
	w.printed(logged...)
	w.stop()
	if !strings.Contains(w.daemon.errors(), "tenant file alarm") {
		w.t.Error("the server said nothing of the damaged file")
	}
}

// crash makes the server print all its goroutines with what they work on.
func (w *watched) crash(passphrase string) {
	w.serve("--passphrase-file", passphrase)
	w.coffer(0, "", []string{"path"}, "secret", "list", "-t", "acme")
	if err := w.daemon.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.daemon.awaitEnd(); err != nil {
		w.t.Fatal(err)
	}
	if !strings.Contains(w.daemon.errors(), "goroutine ") {
		w.t.Error("there is no dump")
	}
	w.ended()
}
