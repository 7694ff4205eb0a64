// Package packaging_test builds what is handed out and uses it as its users do.
package packaging_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// patience is how long anything may take here. Nothing is measured with it.
const patience = 4 * time.Minute

// engine builds and runs containers apart from those of the machine: with
// storage, settings and a network of its own, and without any registry. It needs
// neither a service nor systemd. Where containers cannot be run at all, the test
// fails: an image that nobody started is not one that starts.
type engine struct {
	dir string
	env []string
}

// newEngine makes an engine; the test's cleanup removes it with all containers.
func newEngine(t *testing.T) *engine {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "cfi") // not t.TempDir: sockets have short paths
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{dir: dir}
	path := e.path("bin") + ":" + os.Getenv("PATH") + ":/usr/sbin:/sbin" // where iptables is
	for _, v := range os.Environ() {
		switch name, _, _ := strings.Cut(v, "="); name {
		case "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES": // of the make that runs this test
		case "DOCKER_HOST", "CONTAINER_HOST", "PATH", "COFFER_DATA", "COFFER_TOKEN":
		default:
			e.env = append(e.env, v)
		}
	}
	e.env = append(e.env, "PATH="+path, "CONTAINERS_CONF="+e.path("containers.conf"), "CONTAINERS_STORAGE_CONF="+e.path("storage.conf"),
		"CONTAINERS_REGISTRIES_CONF="+e.path("registries.conf"))
	e.write(t, "storage.conf", 0o644, fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n", e.path("graph"), e.path("run")))
	// Whatever is pulled is an error.
	e.write(t, "registries.conf", 0o644, "unqualified-search-registries = []\n[[registry]]\nlocation = \"docker.io\"\nblocked = true\n")
	// The README's docker commands are run with podman, which takes the same ones.
	e.write(t, "bin/docker", 0o755, "#!/bin/sh\nexec podman \"$@\"\n")
	e.settings(t, "podman")
	t.Cleanup(func() {
		e.run("podman", "rm", "--all", "--force", "--time", "0")
		e.run("podman", "unmount", "--all")
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	// A bridge and addresses that no other run of this test on the machine has.
	n := os.Getpid()
	e.must(t, "podman", "network", "create", "--disable-dns", "--subnet", fmt.Sprintf("10.%d.%d.0/24", 192+n>>8%32, n%256), "coffer-test")
	bridge := regexp.MustCompile(`"network_interface": *"[^"]*"`)
	network, err := os.ReadFile(e.path("networks/coffer-test.json"))
	if err != nil || !bridge.Match(network) {
		t.Fatalf("the network: %s, %v", network, err)
	}
	e.write(t, "networks/coffer-test.json", 0o644, bridge.ReplaceAllString(string(network), fmt.Sprintf(`"network_interface": "cf%d"`, n)))
	e.settings(t, "coffer-test")
	return e
}

// settings are those without systemd, cgroups of one's own and raised limits.
func (e *engine) settings(t *testing.T, network string) {
	t.Helper()
	e.write(t, "containers.conf", 0o644, fmt.Sprintf(`[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
lock_type = "file"
tmp_dir = %q
[network]
network_backend = "netavark"
network_config_dir = %q
default_network = %q
`, e.path("tmp"), e.path("networks"), network))
}

// path is one in the engine's directory.
func (e *engine) path(name string) string { return filepath.Join(e.dir, name) }

func (e *engine) write(t *testing.T, name string, mode fs.FileMode, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(e.path(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(e.path(name), []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// result is how a command ended.
type result struct {
	out, err string
	code     int
}

func (r result) String() string { return fmt.Sprintf("code %d\n%s%s", r.code, r.out, r.err) }

// command prepares a command of the engine.
func (e *engine) command(name string, args ...string) (*exec.Cmd, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	// By a shell, because the PATH is the engine's.
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", `exec "$0" "$@"`, name}, args...)...)
	cmd.Env, cmd.Dir = e.env, e.dir
	return cmd, cancel
}

func finish(cmd *exec.Cmd) result {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	r := result{out.String(), errs.String(), 0}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		r.code = exit.ExitCode()
	} else if err != nil {
		r.code, r.err = -1, r.err+err.Error()
	}
	return r
}

// run runs a command.
func (e *engine) run(name string, args ...string) result {
	cmd, cancel := e.command(name, args...)
	defer cancel()
	return finish(cmd)
}

// must runs a command that has to succeed, and gives what it printed.
func (e *engine) must(t *testing.T, name string, args ...string) string {
	t.Helper()
	r := e.run(name, args...)
	if r.code != 0 {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), r)
	}
	return strings.TrimSpace(r.out)
}

// coffer runs a command of Coffer in a container, with input.
func (e *engine) coffer(container, in string, args ...string) result {
	cmd, cancel := e.command("podman", append([]string{"exec", "-i", container, "/coffer"}, args...)...)
	defer cancel()
	cmd.Stdin = strings.NewReader(in)
	return finish(cmd)
}

// copyTree copies the sources to a new directory, as a checkout elsewhere.
func copyTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel("..", path)
		to := filepath.Join(dir, rel)
		switch {
		case err != nil:
			return err
		case rel == ".git" || rel == "dist" || rel == "bin" || rel == "coffer-data":
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case d.IsDir():
			return os.MkdirAll(to, 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, info.Mode())
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
