package packaging_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"coffer/vault/seal/sealtest"
)

// hardened are the arguments under which the README and the compose file run it.
// Podman would lay memory over /tmp and /run, where docker does not.
var hardened = []string{"--read-only", "--read-only-tmpfs=false", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"}

// start runs the image in the background, waits until it is ready and gives the
// ready block.
func (e *engine) start(t *testing.T, name string, args ...string) map[string]string {
	t.Helper()
	e.must(t, "podman", append(append([]string{"run", "-d", "--name", name}, hardened...), args...)...)
	return e.ready(t, name, 1)
}

// ready follows the logs until the container has printed its nth ready block.
func (e *engine) ready(t *testing.T, name string, n int) map[string]string {
	t.Helper()
	cmd, cancel := e.command("podman", "logs", "-f", name)
	defer cancel()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	block := map[string]string{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		block[name] = value
		if name == "version" { // the last line of the block
			if n--; n == 0 {
				return block
			}
		}
	}
	t.Fatalf("%s printed no ready block: %v", name, e.run("podman", "logs", name))
	return nil
}

// terminate asks the process to end, as every engine does, and gives how long
// that took: without the engine's own time, of which a busy machine makes much.
func (e *engine) terminate(t *testing.T, name string) time.Duration {
	t.Helper()
	pid, err := strconv.Atoi(e.must(t, "podman", "inspect", "-f", "{{.State.Pid}}", name))
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	began := time.Now()
	if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil {
		t.Fatal(err)
	}
	for { // readable once the process has ended
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience.Milliseconds()))
		if n == 1 {
			break
		}
		if err != unix.EINTR {
			t.Fatalf("%s does not end: %v", name, err)
		}
	}
	took := time.Since(began)
	if code := e.must(t, "podman", "wait", name); code != "0" {
		t.Errorf("%s ended with %s: %v", name, code, e.run("podman", "logs", name))
	}
	return took
}

// stop ends a container by the engine's own command.
func (e *engine) stop(t *testing.T, name string) {
	t.Helper()
	e.must(t, "podman", "stop", name)
	if code := e.must(t, "podman", "inspect", "-f", "{{.State.ExitCode}}", name); code != "0" {
		t.Errorf("%s ended with %s: %v", name, code, e.run("podman", "logs", name))
	}
}

func (e *engine) remove(t *testing.T, name string) {
	t.Helper()
	e.must(t, "podman", "rm", "--force", "--time", "0", name)
}

// confined checks what the kernel says of the process.
func confined(t *testing.T, e *engine, name string) {
	t.Helper()
	pid := e.must(t, "podman", "inspect", "-f", "{{.State.Pid}}", name)
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Uid:\t65532\t65532\t65532\t65532", "Gid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"} {
		if !strings.Contains(string(status), want+"\n") {
			t.Errorf("the process of %s has no %q:\n%s", name, want, status)
		}
	}
}

// bindMount uses a directory of the host: refused while it is root's, with the
// command that helps, and good after that.
func bindMount(t *testing.T, e *engine) {
	data := e.path("bind")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	r := e.run("podman", append(append([]string{"run", "--rm"}, hardened...), "-v", data+":/data", "coffer")...)
	hint := regexp.MustCompile(`(?m)^hint:  .* uid 65532, .* on the host: (chown -R 65532:65532) DIR, where DIR is the directory mounted at /data$`).FindStringSubmatch(r.err)
	if r.code != 5 || hint == nil || r.out != "" {
		t.Fatalf("a directory that is root's: %v", r)
	}
	e.must(t, "sh", "-c", hint[1]+" "+data)
	e.start(t, "bind", "-v", data+":/data", "coffer")
	defer e.remove(t, "bind")
	if r := e.coffer("bind", "", "health", "--ready"); r.code != 0 {
		t.Errorf("health: %v", r)
	}
	if info, err := os.Stat(filepath.Join(data, "control.db")); err != nil || info.Mode() != 0o600 {
		t.Errorf("the control store on the host: %v, %v", info, err)
	}
}

// passphrase makes the seal at a terminal and opens it at each start.
func passphrase(t *testing.T, e *engine) {
	const phrase = "correct-horse-battery-staple"
	serve := append(append([]string{"run", "--rm", "-it"}, hardened...), "-v", "phrase:/data", "coffer", "serve", "--seal", "passphrase")
	hesitant := e.typed(t, "podman", serve...)
	hesitant.see("New passphrase: ")
	hesitant.enter("\x03")
	if code := hesitant.end(); code != 2 || !strings.Contains(hesitant.shown, "interrupted at the prompt") {
		t.Errorf("Ctrl-C at the prompt ended with %d:\n%s", code, hesitant.shown)
	}
	first := e.typed(t, "podman", serve...)
	first.see("New passphrase: ")
	first.enter(phrase)
	first.see("Again: ")
	first.enter(phrase)
	first.see("version: ")
	first.enter("\x03")
	if code := first.end(); code != 0 || strings.Contains(first.shown, phrase) {
		t.Fatalf("ended with %d:\n%s", code, first.shown)
	}

	block := e.start(t, "phrase", "-v", "phrase:/data", "coffer")
	defer e.remove(t, "phrase")
	if !strings.HasPrefix(block["seal"], "passphrase (sealed") {
		t.Errorf("seal: %s", block["seal"])
	}
	if r := e.coffer("phrase", "", "health"); r.code != 0 || r.out != "sealed\n" {
		t.Errorf("health of what is sealed: %v", r)
	}
	if r := e.coffer("phrase", "", "health", "--ready"); r.code == 0 {
		t.Errorf("ready while it is sealed: %v", r)
	}
	if r := e.coffer("phrase", "wrong-horse-battery-staple\n", "unseal", "--passphrase-file", "-"); r.code != 3 {
		t.Errorf("a wrong passphrase: %v", r)
	}
	second := e.typed(t, "podman", "exec", "-it", "phrase", "/coffer", "unseal")
	second.see("Passphrase: ")
	second.enter(phrase)
	if code := second.end(); code != 0 || strings.Contains(second.shown, phrase) || !strings.Contains(second.shown, "Coffer is open") {
		t.Errorf("unseal at the terminal ended with %d:\n%s", code, second.shown)
	}
	if r := e.coffer("phrase", "", "health", "--ready"); r.code != 0 {
		t.Errorf("health of what is open: %v", r)
	}

	e.must(t, "podman", "restart", "phrase")
	e.ready(t, "phrase", 2)
	if r := e.coffer("phrase", phrase+"\n", "unseal", "--passphrase-file", "-"); r.code != 0 {
		t.Errorf("unseal from stdin: %v", r)
	}
}

// softwareTPM passes the socket of one in; it opens by itself from then on.
func softwareTPM(t *testing.T, e *engine) {
	tpm := sealtest.StartTPM(t)
	dir := filepath.Dir(tpm.Socket())
	for _, path := range []string{dir, tpm.Socket()} { // for uid 65532
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	block := e.start(t, "tpm", "-v", "tpm:/data", "-v", dir+":/tpm", "-e", "COFFER_TPM=unix:/tpm/"+filepath.Base(tpm.Socket()), "coffer")
	defer e.remove(t, "tpm")
	if block["seal"] != "tpm" {
		t.Errorf("seal: %s: %v", block["seal"], e.run("podman", "logs", "tpm"))
	}
	e.must(t, "podman", "restart", "tpm")
	if block := e.ready(t, "tpm", 2); block["seal"] != "tpm" {
		t.Errorf("seal after a restart: %s", block["seal"])
	}
	if r := e.coffer("tpm", "", "health", "--ready"); r.code != 0 {
		t.Errorf("health: %v", r)
	}
}

// answers asks the published port, with no trust but in the CA that was copied
// out.
func answers(t *testing.T, e *engine, name string, block map[string]string) {
	t.Helper()
	if block["url"] == "" {
		t.Fatal("the ready block has no url")
	}
	address := e.must(t, "podman", "port", name, "8443/tcp")
	e.must(t, "podman", "cp", name+":/data/ca.crt", e.path("ca.crt"))
	ca, err := os.ReadFile(e.path("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	resp, err := client.Get("https://" + address + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("/healthz by the published port: %s", resp.Status)
	}
}

// freePort is one of this machine that nobody has yet.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// compose brings up the compose file as it stands.
func compose(t *testing.T, e *engine) {
	file, err := filepath.Abs("compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	e.must(t, "sh", "-c", `COFFER_PORT=127.0.0.1:$1 exec podman-compose -f "$0" up -d`, file, freePort(t))
	defer e.remove(t, "coffer")
	answers(t, e, "coffer", e.ready(t, "coffer", 1))
	confined(t, e, "coffer")
	inspect := "{{.HostConfig.ReadonlyRootfs}} {{range .Mounts}}{{.Name}}:{{.Destination}} {{end}}{{.HostConfig.RestartPolicy.Name}}"
	if got := e.must(t, "podman", "inspect", "-f", inspect, "coffer"); got != "true coffer:/data unless-stopped" {
		t.Errorf("the container: %s", got)
	}
	// The check that the image brings is not overridden by one that does not work.
	e.must(t, "podman", "healthcheck", "run", "coffer")
	e.stop(t, "coffer")
	// The volume is that of the README's docker run: its tenant is there.
	e.must(t, "podman", "start", "coffer")
	e.ready(t, "coffer", 2)
	if r := e.coffer("coffer", "", "tenant", "list"); r.code != 0 || !strings.HasPrefix(r.out[strings.Index(r.out, "\n")+1:], "acme ") {
		t.Errorf("tenants: %v", r)
	}
}
