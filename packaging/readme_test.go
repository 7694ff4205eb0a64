package packaging_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// readme runs the commands of the README's section one by one.
func readme(t *testing.T, e *engine) {
	for _, line := range readmeCommands(t) {
		switch {
		case line == "make image": // done
		case strings.Contains(line, "seal recovery"):
			recovery(t, e, line)
		default:
			// The port is any; nothing else is changed.
			e.must(t, "sh", "-c", strings.Replace(line, "-p 8443:8443", "-p 127.0.0.1::8443", 1))
		}
		if strings.HasPrefix(line, "docker run") {
			answers(t, e, "coffer", e.ready(t, "coffer", 1))
		}
	}
	defer e.remove(t, "coffer")
	e.must(t, "podman", "start", "coffer") // the last command stopped it
	e.ready(t, "coffer", 2)
	confined(t, e, "coffer")
	e.must(t, "podman", "healthcheck", "run", "coffer")

	fastest := time.Hour
	for n := 3; n <= 5; n++ { // the machine may be busy with other tests
		fastest = min(fastest, e.terminate(t, "coffer"))
		e.must(t, "podman", "start", "coffer")
		e.ready(t, "coffer", n)
	}
	if fastest >= time.Second {
		t.Errorf("an idle Coffer takes %s to stop", fastest)
	}
	if r := e.coffer("coffer", "", "audit", "verify", "-t", "acme"); r.code != 0 {
		t.Errorf("the log after restarts: %v", r)
	}
	// Killed, it keeps what it said it did.
	if r := e.coffer("coffer", "sk_1", "secret", "put", "-t", "acme", "stripe/live", "key=-"); r.code != 0 {
		t.Fatalf("putting a secret: %v", r)
	}
	e.must(t, "podman", "kill", "coffer")
	e.must(t, "podman", "wait", "coffer")
	e.must(t, "podman", "start", "coffer")
	e.ready(t, "coffer", 6)
	if r := e.coffer("coffer", "", "secret", "get", "-t", "acme", "stripe/live", "--field", "key"); strings.TrimSpace(r.out) != "sk_1" {
		t.Errorf("the secret after a kill: %v", r)
	}
}

// readmeSection is the README's "In a container".
func readmeSection(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(b), "\n## In a container\n")
	if !found {
		t.Fatal("the README has no section on containers")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	return section
}

// readmeCommands are those of the section's first block, without comments.
func readmeCommands(t *testing.T) (out []string) {
	t.Helper()
	block := regexp.MustCompile(`(?m)(^    .+\n)+`).FindString(readmeSection(t))
	for line := range strings.Lines(block) {
		line, _, _ = strings.Cut(line, "  #")
		out = append(out, strings.TrimSpace(line))
	}
	if len(out) < 5 {
		t.Fatalf("the README's commands: %q", out)
	}
	return out
}

// recovery makes the recovery key at a terminal and types it back.
func recovery(t *testing.T, e *engine, line string) {
	t.Helper()
	d := e.typed(t, "sh", "-c", line)
	shown := d.see(" of it: ")
	ask := regexp.MustCompile(`\n    (\S+)\r?\n[^$]*Type groups (\d+) and (\d+) of it`).FindStringSubmatch(shown)
	if ask == nil {
		t.Fatalf("the terminal shows:\n%s", shown)
	}
	groups := strings.Split(ask[1], "-")
	var answer strings.Builder
	for _, n := range ask[2:] {
		i, err := strconv.Atoi(n)
		if err != nil || i < 1 || i > len(groups) {
			t.Fatalf("there is no group %s in a key of %d", n, len(groups))
		}
		fmt.Fprint(&answer, groups[i-1])
	}
	d.enter(answer.String())
	if code := d.end(); code != 0 || !strings.Contains(d.shown, "the recovery key is enrolled") {
		t.Errorf("seal recovery ended with %d:\n%s", code, d.shown)
	}
}
