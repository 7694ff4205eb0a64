package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// canary is a text that must stay where it was put.
type canary struct{ name, text string }

// in finds the canary in any of the forms that code gives to bytes.
func (c canary) in(b []byte) bool {
	for _, form := range c.forms() {
		if bytes.Contains(b, form) {
			return true
		}
	}
	return false
}

// forms are the text itself, in hexadecimal, and in base64 wherever in a longer
// text it begins; of the latter without the characters that depend on what stands
// beside it.
func (c canary) forms() [][]byte {
	raw := []byte(c.text)
	upper := strings.ToUpper(hex.EncodeToString(raw))
	out := [][]byte{raw, []byte(hex.EncodeToString(raw)), []byte(upper)}
	for shift := range 3 {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			b := enc.EncodeToString(append(make([]byte, shift), raw...))
			out = append(out, []byte(b[2*shift:len(b)-2]))
		}
	}
	return out
}

func TestCanaryIsFound(t *testing.T) {
	c := canary{"value", "canary-value-7f3a"}
	for _, text := range []string{
		"x" + c.text + "y",
		hex.EncodeToString([]byte("xx" + c.text)),
		base64.StdEncoding.EncodeToString([]byte(c.text)),
		base64.StdEncoding.EncodeToString([]byte("x" + c.text + "yy")),
		base64.URLEncoding.EncodeToString([]byte("xx" + c.text + "y")),
	} {
		if !c.in([]byte(text)) {
			t.Errorf("not found in %q", text)
		}
	}
	if c.in([]byte("canary-value-7f3b")) {
		t.Error("found where it is not")
	}
}

// output is what a process or an answer said, and which canaries it may hold.
type output struct {
	what, text string
	asked      []string
}

// watched is a session whose every word is kept.
type watched struct {
	t        *testing.T
	dir      string // of the session
	data     string // the data directory in it
	env      []string
	daemon   *served
	canaries []canary
	outputs  []output
}

// hide makes a canary of a kind and gives its text.
func (w *watched) hide(name, text string) string {
	w.canaries = append(w.canaries, canary{name, text})
	return text
}

// file puts a text into a file outside of the data directory.
func (w *watched) file(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func (w *watched) serve(args ...string) {
	w.t.Helper()
	d, err := launch(w.dir, w.env, append([]string{"--data", w.data}, args...)...)
	if err == nil {
		err = d.awaitReady()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.daemon = d
	w.t.Cleanup(d.kill)
	w.cmdline()
}

// ended keeps what a server said that has ended.
func (w *watched) ended() {
	w.outputs = append(w.outputs,
		output{"the server's stdout", w.daemon.out.String(), []string{"setup link"}}, output{"the server's log", w.daemon.errors(), nil})
	w.files()
}

func (w *watched) stop() {
	w.t.Helper()
	if code, err := w.daemon.stop(); err != nil || code != 0 {
		w.t.Fatalf("stopping: exit %d, %v", code, err)
	}
	w.ended()
}

// cmdline is what everybody on the machine sees of the server.
func (w *watched) cmdline() {
	w.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", w.daemon.cmd.Process.Pid))
	if err != nil {
		w.t.Fatal(err)
	}
	w.outputs = append(w.outputs, output{"the server's command line", string(b), nil})
}

// files looks into every file that the server has or had, at once: what is there
// only for a while counts too.
func (w *watched) files() {
	w.t.Helper()
	count := 0
	for _, root := range []string{w.data, filepath.Join(w.dir, "tmp")} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			count++
			for _, c := range w.canaries {
				if c.in(b) || c.in([]byte(path)) {
					w.t.Errorf("%s stands in %s", c.name, path)
				}
			}
			return err
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	if count < 6 {
		w.t.Errorf("only %d files were looked into", count)
	}
}

// coffer runs a command that must end with a code. asked names the canaries that
// it was asked to print, each of which must be there unless it failed.
func (w *watched) coffer(code int, stdin string, asked []string, args ...string) string {
	w.t.Helper()
	bin, err := exec.LookPath("coffer")
	if err != nil {
		w.t.Fatal(err)
	}
	var out, errs strings.Builder
	cmd := exec.Command(bin, append([]string{"--data", w.data}, args...)...)
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = w.dir, w.env, strings.NewReader(stdin), &out, &errs
	_ = cmd.Run() // the state says how it ended
	if got := cmd.ProcessState.ExitCode(); got != code {
		w.t.Fatalf("coffer %s: exit %d, want %d: %s", strings.Join(args, " "), got, code, errs.String())
	}
	what := "coffer " + strings.Join(args, " ")
	w.outputs = append(w.outputs, output{what, out.String(), asked}, output{what + " (stderr)", errs.String(), nil})
	for _, c := range w.canaries {
		if code == 0 && slices.Contains(asked, c.name) && !strings.Contains(out.String(), c.text) {
			w.t.Errorf("%s does not print %s", what, c.name)
		}
	}
	return out.String()
}

// printed says which canaries the last command was asked to print, where that is
// known only from what it printed.
func (w *watched) printed(names ...string) { w.outputs[len(w.outputs)-2].asked = names }

// quoted says which canaries the message of the last command may name, because
// its caller typed them.
func (w *watched) quoted(names ...string) { w.outputs[len(w.outputs)-1].asked = names }

// post sends a body as it is to the native API.
func (w *watched) post(method, path, body string) {
	w.t.Helper()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(w.data, "run", "coffer.sock"))
	}
	c := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(w.t.Context(), method, "http://coffer/api/v1"+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var text strings.Builder
	if err := resp.Write(&text); err != nil {
		w.t.Fatal(err)
	}
	if resp.StatusCode < 400 {
		w.t.Errorf("%s %s was taken: %s", method, path, resp.Status)
	}
	w.outputs = append(w.outputs, output{method + " " + path, text.String(), nil})
}

// judge looks for every canary in everything that was said.
func (w *watched) judge() {
	for _, o := range w.outputs {
		for _, c := range w.canaries {
			if !slices.Contains(o.asked, c.name) && c.in([]byte(o.text)) {
				w.t.Errorf("%s stands in the output of: %s", c.name, o.what)
			}
		}
	}
}

// logged are the canaries that a reader of the log asks for: what was done on
// what. Names of people, values and credentials are not among them.
var logged = []string{"path", "table", "reason"}

// newWatched makes a session with a passphrase, so that no key lies in the data.
func newWatched(t *testing.T) *watched {
	dir := shortDir(t)
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	return &watched{t: t, dir: dir, data: filepath.Join(dir, "d"), env: []string{
		"PATH=" + os.Getenv("PATH"), "TMPDIR=" + filepath.Join(dir, "tmp"), "COFFER_TPM=" + filepath.Join(dir, "no-tpm"),
		"GOTRACEBACK=all", "COFFER_LISTEN=127.0.0.1:0", "GORACE=" + os.Getenv("GORACE"),
	}}
}

// TestCanaries runs a whole session with known secrets, the ways in which it goes
// wrong included, and fails if one of them is anywhere that it was not asked for:
// in what commands print, in the server's log and its dump when it crashes, in a
// file, in the audit log, on a command line.
func TestCanaries(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	passphrase := w.file("passphrase", w.hide("passphrase", "canary-passphrase-blue-anvil")+"\n")
	w.serve("--seal", "passphrase", "--passphrase-file", passphrase)
	recovery := w.recovery(w.coffer(0, "", nil, "seal", "recovery", "--yes"), "recovery key")
	w.coffer(0, "", nil, "tenant", "create", "acme", "--name", w.hide("display name", "Canary Display Name"))
	w.coffer(0, "", []string{"display name"}, "tenant", "list")
	w.secrets()
	w.database()
	w.tokens()
	w.workloads()
	w.people()
	w.accounts()
	w.created()
	w.malformed()
	w.readLogs()
	w.files() // while it runs

	w.daemon.kill()
	w.ended()
	w.serve()
	wrong := w.hide("wrong passphrase", "canary-wrong-passphrase-1")
	w.coffer(3, wrong+"\n", nil, "unseal", "--passphrase-file", "-")
	w.coffer(2, recovery[:len(recovery)-4]+"ZZZZ", nil, "unseal", "--recovery-file", "-")
	w.coffer(0, recovery, nil, "unseal", "--recovery-file", "-")
	w.coffer(0, "", nil, "seal", "add", "passphrase", "--name", "second",
		"--passphrase-file", w.file("second", w.hide("second passphrase", "canary-second-passphrase")))
	w.coffer(0, "", nil, "seal", "remove", "second")
	rotated := w.coffer(0, "", nil, "seal", "rotate", "--passphrase-file", passphrase)
	w.recovery(rotated[strings.Index(rotated, "\n")+1:], "new recovery key")
	w.readLogs()
	w.stop()

	w.damaged(passphrase)
	w.crash(passphrase)
	w.judge()
}

// recovery takes a recovery key that a command has just printed.
func (w *watched) recovery(printed, name string) string {
	w.t.Helper()
	key := strings.TrimSpace(printed)
	if strings.Count(key, "-") != 13 {
		w.t.Fatal("no recovery key was printed")
	}
	w.printed(name, name+" without dashes")
	w.hide(name+" without dashes", strings.ReplaceAll(key, "-", ""))
	return w.hide(name, key)
}
