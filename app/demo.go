package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/audit"
)

// checkEmpty refuses the demo on a directory that holds something.
func checkEmpty(data string) error {
	entries, err := os.ReadDir(data)
	if err == nil && len(entries) > 0 {
		return domain.Errorf(domain.Conflict, "the demo wants an empty data directory, and %s is not", data).
			WithHint("coffer serve --demo --data $(mktemp -d)")
	}
	return nil
}

// demo walks the main job against the running daemon with the command line that
// everybody uses, and compares what comes back with what must.
type demo struct {
	daemon *daemon
	std    Stdio
	step   int
}

// expectation is what a command of the demo must come to.
type expectation struct {
	exit   int
	text   string            // in what it prints, "" for anything
	token  string            // to act with, "" for the local user
	secret bool              // do not show what it prints
	check  func(string) bool // of stdout, nil for none
}

// walk is the demo. It ends at the first step that comes out otherwise.
func walk(ctx context.Context, d *daemon, std Stdio) error {
	w := &demo{daemon: d, std: std}
	for _, part := range []func() error{w.seal, w.clients, w.secrets, w.data, w.tokens, w.isolation, w.logs} {
		if err := part(); err != nil {
			return err
		}
	}
	if err := w.tampering(ctx); err != nil {
		return err
	}
	fmt.Fprintln(std.Out, "\nThat was the whole main job; every step came out as it must.")
	return nil
}

func (w *demo) title(format string, args ...any) {
	w.step++
	fmt.Fprintf(w.std.Out, "\n%d. %s\n", w.step, fmt.Sprintf(format, args...))
}

// run runs one command of the command line, shows it and what came back.
func (w *demo) run(e expectation, args ...string) (string, error) {
	var out, errOut bytes.Buffer
	env := func(name string) string {
		switch name {
		case "COFFER_DATA":
			return w.daemon.cfg.Data
		case "COFFER_TOKEN":
			return e.token
		}
		return ""
	}
	shown := "coffer " + quoteArgs(args)
	if e.token != "" {
		shown = "COFFER_TOKEN=cft_… " + shown
	}
	fmt.Fprintln(w.std.Out, "   $ "+shown)
	exit := Main(append([]string{"coffer"}, args...), Stdio{In: strings.NewReader(""), Out: &out, Err: &errOut, Env: env})
	printed := out.String() + errOut.String()
	for line := range strings.Lines(printed) {
		if e.secret && strings.HasPrefix(line, "cft_") {
			line = "cft_… (shown once)\n"
		}
		fmt.Fprint(w.std.Out, "     "+line)
	}
	if exit != 0 {
		fmt.Fprintf(w.std.Out, "     (exit %d)\n", exit)
	}
	if exit != e.exit || !strings.Contains(printed, e.text) || (e.check != nil && !e.check(out.String())) {
		return "", domain.Errorf(domain.Internal, "the demo went wrong at %q: exit %d, expected %d and %q", shown, exit, e.exit, e.text)
	}
	return strings.TrimSpace(out.String()), nil
}

// all runs several commands with one expectation.
func (w *demo) all(e expectation, commands ...[]string) error {
	for _, args := range commands {
		if _, err := w.run(e, args...); err != nil {
			return err
		}
	}
	return nil
}

func quoteArgs(args []string) string {
	var b strings.Builder
	for i, a := range args {
		if i > 0 {
			b.WriteByte(' ')
		}
		if strings.ContainsAny(a, " *'()?") {
			a = `"` + a + `"`
		}
		b.WriteString(a)
	}
	return b.String()
}

func (w *demo) seal() error {
	w.title("What protects the root key on this machine")
	if err := w.all(expectation{text: "state:        open"}, []string{"seal", "status"}); err != nil {
		return err
	}
	fmt.Fprintln(w.std.Out, "   The recovery key opens everything by itself. Under a TPM there is no first client without it.")
	_, err := w.run(expectation{text: "the recovery key is enrolled"}, "seal", "recovery", "--yes")
	return err
}

func (w *demo) clients() error {
	w.title("Two clients, each with a file, keys and a log of its own")
	return w.all(expectation{text: "you are its first owner"},
		[]string{"tenant", "create", "acme", "--name", "Acme GmbH"},
		[]string{"tenant", "create", "globex", "--name", "Globex Inc"})
}

func (w *demo) secrets() error {
	w.title("A secret, stored and read")
	if err := w.all(expectation{text: "stored version 1"},
		[]string{"secret", "put", "-t", "acme", "stripe/live", "key=sk_demo_acme"},
		[]string{"secret", "put", "-t", "globex", "stripe/live", "key=sk_demo_globex"}); err != nil {
		return err
	}
	_, err := w.run(expectation{check: func(s string) bool { return s == "sk_demo_acme\n" }},
		"secret", "get", "-t", "acme", "stripe/live", "--field", "key")
	return err
}

func (w *demo) data() error {
	w.title("A table, rows, a query: each client in an encrypted SQLite file of its own")
	if err := w.all(expectation{text: "rows changed"},
		[]string{"sql", "-t", "acme", "CREATE TABLE parts (name TEXT, price INTEGER)"},
		[]string{"sql", "-t", "acme", "INSERT INTO parts VALUES ('Bolt', 12), ('Nut', 7)"},
		[]string{"sql", "-t", "globex", "CREATE TABLE parts (name TEXT, price INTEGER)"},
		[]string{"sql", "-t", "globex", "INSERT INTO parts VALUES ('Orbit', 99)"}); err != nil {
		return err
	}
	_, err := w.run(expectation{text: "Bolt"}, "sql", "-t", "acme", "SELECT * FROM parts ORDER BY price DESC")
	return err
}

func (w *demo) tokens() error {
	w.title("A short-lived token for each role, and what SQLite itself lets it do")
	for _, c := range []struct {
		role        string
		read, write int
	}{{"owner", exitOK, exitOK}, {"admin", exitOK, exitOK}, {"analyst", exitOK, exitDenied}, {"viewer", exitDenied, exitDenied}} {
		token, err := w.run(expectation{text: "token for acme (" + c.role + ")", secret: true},
			"token", "issue", "-t", "acme", "--role", c.role, "--ttl", "5m")
		if err != nil {
			return err
		}
		if _, err := w.run(expectation{exit: c.read, token: token}, "sql", "-t", "acme", "SELECT count(*) FROM parts"); err != nil {
			return err
		}
		if _, err := w.run(expectation{exit: c.write, token: token}, "sql", "-t", "acme", "UPDATE parts SET price = price + 1"); err != nil {
			return err
		}
	}
	return nil
}

func (w *demo) isolation() error {
	w.title("Acme's own program, with a token that is good, tries to reach Globex")
	if _, err := w.run(expectation{text: "secret_id="}, "workload", "create", "-t", "acme", "shop",
		"--grant", "secret:read:stripe/*", "--grant", "sql:analyst"); err != nil {
		return err
	}
	token, err := w.run(expectation{text: "token for acme", secret: true}, "token", "issue", "-t", "acme", "--workload", "shop", "--ttl", "5m")
	if err != nil {
		return err
	}
	if _, err := w.run(expectation{token: token, text: "sk_demo_acme"}, "secret", "get", "-t", "acme", "stripe/live"); err != nil {
		return err
	}
	const same = "not allowed, or there is no such tenant"
	if err := w.all(expectation{exit: exitDenied, token: token, text: same},
		[]string{"secret", "get", "-t", "globex", "stripe/live"},
		[]string{"sql", "-t", "globex", "SELECT * FROM parts"},
		[]string{"sql", "-t", "nobody", "SELECT * FROM parts"}); err != nil {
		return err
	}
	fmt.Fprintln(w.std.Out, "   Both refusals stand in Acme's log, and without a name in that of Globex:")
	role, err := w.workload()
	if err != nil {
		return err
	}
	if _, err := w.run(expectation{check: lines(4)}, "audit", "query", "-t", "acme", "--outcome", "refused", "--actor", "workload:"+role); err != nil {
		return err
	}
	_, err = w.run(expectation{check: lines(3)}, "audit", "query", "-t", "globex", "--outcome", "refused", "--actor", "anonymous")
	return err
}

// workload is the role id of Acme's workload.
func (w *demo) workload() (string, error) {
	out, err := w.run(expectation{}, "workload", "list", "-t", "acme", "-o", "json")
	if err != nil {
		return "", err
	}
	var list actions.WorkloadListOut
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Workloads) != 1 {
		return "", domain.Errorf(domain.Internal, "the demo went wrong: there is not one workload: %w", err)
	}
	return list.Workloads[0].RoleID, nil
}

// lines checks how many lines were printed, the heading included.
func lines(n int) func(string) bool {
	return func(out string) bool { return strings.Count(out, "\n") == n }
}

func (w *demo) logs() error {
	w.title("The logs, verified from the first record to the last")
	return w.all(expectation{text: "good: "},
		[]string{"audit", "verify", "-t", "acme"}, []string{"audit", "verify", "-t", "globex"}, []string{"audit", "verify", "--system"})
}

// tampering flips one byte in three copies of the data directory and opens each.
func (w *demo) tampering(ctx context.Context) error {
	w.title("One byte flipped in a copy: of the log, of a client's file, of the control store")
	// What is found in a copy must come from the flip and not from the copying.
	found, err := w.openCopy(ctx, func(string) error { return nil })
	if err != nil {
		return err
	}
	if found != nil {
		return domain.Errorf(domain.Internal, "the demo went wrong: a copy in which nothing was flipped is not good: %w", found)
	}
	fmt.Fprintln(w.std.Out, "   a copy as it is: good")
	for _, c := range []struct {
		what string
		file string
		at   func([]byte) []int // candidates; the first that is in force must be found
	}{
		{"the log", "audit/wal/0000000000000001.wal", middleByte},
		{"Acme's file", "tenants/acme/data.db", secondPage},
		{"the control store", "control.db", acmeRecord},
	} {
		if err := w.flip(ctx, c.what, c.file, c.at); err != nil {
			return err
		}
	}
	return nil
}

// middleByte is one in the middle of what was written so far.
func middleByte(b []byte) []int {
	used := len(bytes.TrimRight(b, "\x00"))
	i := used / 2
	for i > 0 && b[i] == 0 {
		i--
	}
	return []int{i}
}

// secondPage is a byte of the ciphertext of page 2.
func secondPage([]byte) []int { return []int{4096 + 100} }

// acmeRecord finds the sealed record of the tenant behind its key. Older copies
// of it stand in pages that are free; a change there is harmless and not found.
func acmeRecord(b []byte) (at []int) {
	for end := len(b); ; {
		i := bytes.LastIndex(b[:end], []byte("acme"))
		if i < 0 {
			return at
		}
		at, end = append(at, i+len("acme")+20), i
	}
}

// flip flips a byte in a copy of the data directory and shows who finds it.
func (w *demo) flip(ctx context.Context, what, file string, at func([]byte) []int) error {
	original, err := os.ReadFile(filepath.Join(w.daemon.cfg.Data, file))
	if err != nil {
		return err
	}
	for _, offset := range at(original) {
		found, err := w.openCopy(ctx, func(dir string) error { return flipByte(filepath.Join(dir, file), offset) })
		if err != nil {
			return err
		}
		if found != nil && strings.Contains(found.Error(), file) {
			fmt.Fprintf(w.std.Out, "   %s, byte %d of %s: found\n     %s\n", what, offset, file, clean(found.Error()))
			return nil
		}
	}
	return domain.Errorf(domain.Internal, "the demo went wrong: a flipped byte of %s was not found", file)
}

// flipByte inverts the lowest bit of a byte.
func flipByte(path string, offset int) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[offset] ^= 1
	return durable.WriteFile(path, b)
}

// openCopy starts a second Coffer on a copy that was changed, lets it check
// everything, and gives what it finds.
func (w *demo) openCopy(ctx context.Context, change func(dir string) error) (found, err error) {
	dir, err := os.MkdirTemp("", "coffer-demo-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.CopyFS(filepath.Join(dir, "d"), dataFiles{os.DirFS(w.daemon.cfg.Data)}); err != nil {
		return nil, err
	}
	cfg, m := w.daemon.cfg, w.daemon.machine
	cfg.Data = filepath.Join(dir, "d")
	m.DataKeyfile = filepath.Join(cfg.Data, "vault", "seal.key")
	if err := change(cfg.Data); err != nil {
		return nil, err
	}
	d, err := startDaemon(ctx, cfg, m, slog.New(slog.DiscardHandler), nil)
	if domain.KindOf(err) == domain.Tampered {
		return err, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.close(ctx)) }()
	return d.firstDamage(ctx)
}

// firstDamage is the first part that does not pass the check of everything.
func (d *daemon) firstDamage(ctx context.Context) (found, err error) {
	service, err := d.gate.Service()
	if err != nil {
		return nil, err
	}
	who := actions.Caller{Call: audit.Call{Source: "demo", Client: "coffer", Auth: "socket"}}
	if who.Subject, err = service.Socket(ctx, uint32(os.Geteuid())); err != nil {
		return nil, err
	}
	out, _, err := actions.CheckStores.Do(ctx, service, who, actions.Nothing{})
	for _, p := range out.Parts {
		if !p.OK {
			return domain.Errorf(domain.Tampered, "%s", p.Problem), err
		}
	}
	return nil, err
}

// dataFiles is a data directory without its socket and lock.
type dataFiles struct{ fs.FS }

// ReadDir leaves out what belongs to the running process.
func (f dataFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(f.FS, name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return e.Name() == "coffer.lock" || !e.IsDir() && !e.Type().IsRegular()
	}), err
}
