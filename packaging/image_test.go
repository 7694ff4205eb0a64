package packaging_test

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const testVersion = "v0.0.0-test"

// TestImage builds the image once and uses it in many ways.
func TestImage(t *testing.T) {
	e, tree := newEngine(t), copyTree(t)
	e.must(t, "make", "-C", tree, "image", "BUILDER=buildah", "VERSION="+testVersion)
	binaries := hashes(t, tree)

	t.Run("binaries are the same everywhere", func(t *testing.T) { sameBinaries(t, e, binaries) })
	t.Run("from source it is the same binary", func(t *testing.T) { sameFromSource(t, e, tree, binaries) })
	t.Run("without a builder", func(t *testing.T) { noBuilder(t, e, tree) })
	t.Run("configuration", func(t *testing.T) { configuration(t, e) })
	t.Run("holds one file", func(t *testing.T) { contents(t, e) })
	t.Run("README without a network", func(t *testing.T) { airGap(t, e, tree) })
	t.Run("README", func(t *testing.T) { readme(t, e) })
	t.Run("compose", func(t *testing.T) { compose(t, e) })
	t.Run("bind mount", func(t *testing.T) { bindMount(t, e) })
	t.Run("passphrase", func(t *testing.T) { passphrase(t, e) })
	t.Run("TPM", func(t *testing.T) { softwareTPM(t, e) })
}

var arches = []string{"amd64", "arm64"}

// hashes are those of the binaries that a tree built.
func hashes(t *testing.T, tree string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, arch := range arches {
		out[arch] = hash(t, filepath.Join(tree, "dist", "image", arch, "coffer"))
	}
	return out
}

func hash(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

// sameBinaries builds them in another directory, by somebody with other habits.
func sameBinaries(t *testing.T, e *engine, want map[string]string) {
	tree := copyTree(t)
	e.must(t, "sh", "-c", `umask 077; export GOAMD64=v3 GOARM64=v8.1 GOFLAGS=-tags=netgo CGO_ENABLED=1; exec make -C "$0" binaries VERSION=`+testVersion, tree)
	if diff := cmp.Diff(want, hashes(t, tree)); diff != "" {
		t.Errorf("another build gave other bytes (-first +second):\n%s", diff)
	}
	for name, want := range map[string]os.FileMode{"coffer": 0o755, "own/data": 0o700 | os.ModeDir} {
		info, err := os.Stat(filepath.Join(tree, "dist", "image", runtime.GOARCH, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want the mode %v", name, info, err, want)
		}
	}
}

// sameFromSource builds in the stage that has a Go image under it. None is at
// hand without a network, so this machine's own Go is put into an empty one.
func sameFromSource(t *testing.T, e *engine, tree string, want map[string]string) {
	goenv := map[string]string{}
	if err := json.Unmarshal([]byte(e.must(t, "go", "env", "-json", "GOROOT", "GOCACHE", "GOMODCACHE")), &goenv); err != nil {
		t.Fatal(err)
	}
	e.write(t, "go/Dockerfile", 0o644, fmt.Sprintf("FROM scratch\nENV PATH=%s/bin:/usr/bin:/bin GOCACHE=%s GOMODCACHE=%s GOPROXY=off\nWORKDIR /tmp\n",
		goenv["GOROOT"], goenv["GOCACHE"], goenv["GOMODCACHE"]))
	build := []string{"bud", "--isolation", "chroot", "--format", "docker"}
	e.must(t, "buildah", append(build, "-t", "go-of-this-machine", e.path("go"))...)

	for _, dir := range []string{"/usr", "/bin", "/lib", "/lib64", "/etc", goenv["GOROOT"], goenv["GOCACHE"], goenv["GOMODCACHE"]} {
		if _, err := os.Stat(dir); err == nil {
			build = append(build, "-v", dir+":"+dir)
		}
	}
	e.must(t, "buildah", append(build, "--build-arg", "BIN=source", "--build-arg", "GO_IMAGE=localhost/go-of-this-machine",
		"--build-arg", "VERSION="+testVersion, "-t", "from-source", tree)...)
	e.must(t, "podman", "create", "--name", "from-source", "from-source")
	e.must(t, "podman", "cp", "from-source:/coffer", e.path("from-source"))
	if got := hash(t, e.path("from-source")); got != want[runtime.GOARCH] {
		t.Errorf("the binary built from source is %s, the prebuilt one %s", got, want[runtime.GOARCH])
	}
}

// noBuilder says what is missing, instead of building something else.
func noBuilder(t *testing.T, e *engine, tree string) {
	script := filepath.Join(tree, "packaging", "image.sh")
	if r := e.run("env", "BUILDER=nosuch", script, "coffer", "x", "amd64"); r.code == 0 || !strings.Contains(r.err, "BUILDER=nosuch is none of docker, podman and buildah") {
		t.Errorf("an unknown builder: %v", r)
	}
	for _, tool := range []string{"env", "bash", "dirname"} {
		e.must(t, "sh", "-c", `mkdir -p "$0" && ln -s "$(command -v "$1")" "$0"`, e.path("few"), tool)
	}
	if r := e.run("env", "PATH="+e.path("few"), script, "coffer", "x", "amd64"); r.code == 0 || !strings.Contains(r.err, "install one") {
		t.Errorf("a machine without any builder: %v", r)
	}
}

// airGap runs the README's command for a machine without Go or a network.
func airGap(t *testing.T, e *engine, tree string) {
	line := regexp.MustCompile(`(?m)^    (docker build .*BIN=prebuilt .*) -t coffer \.$`).FindStringSubmatch(readmeSection(t))
	if line == nil {
		t.Fatal("the README does not say how to build of prebuilt binaries")
	}
	e.must(t, "sh", "-c", `cd "$0" && BUILDAH_FORMAT=docker `+line[1]+" -t air-gap .", tree)
	if got := e.must(t, "podman", "image", "inspect", "-f", "{{.Config.User}} {{.HealthCheck.Test}}", "air-gap"); got != "65532:65532 [CMD /coffer health]" {
		t.Errorf("the image: %s", got)
	}
}

func configuration(t *testing.T, e *engine) {
	type config struct {
		User         string
		Env          []string
		Entrypoint   []string
		Cmd          []string
		ExposedPorts map[string]any
		Volumes      map[string]any
		Labels       map[string]string
	}
	var images []struct {
		Architecture string
		Config       config
		Healthcheck  struct{ Test []string }
	}
	if err := json.Unmarshal([]byte(e.must(t, "podman", "image", "inspect", "coffer", "coffer:"+testVersion+"-arm64")), &images); err != nil {
		t.Fatal(err)
	}
	if got := images[1].Architecture; got != "arm64" {
		t.Errorf("the image for arm64 is for %s", got)
	}
	got := images[0]
	if got.Architecture != runtime.GOARCH {
		t.Errorf("the image of this machine is for %s", got.Architecture)
	}
	for name := range got.Config.Labels {
		if !strings.HasPrefix(name, "org.opencontainers.image.") {
			delete(got.Config.Labels, name) // buildah's own
		}
	}
	if version := got.Config.Labels["org.opencontainers.image.version"]; version != testVersion {
		t.Errorf("the label of the version says %q", version)
	}
	got.Config.Labels = nil
	got.Config.Env = got.Config.Env[len(got.Config.Env)-1:] // buildah puts a PATH before it
	want := config{
		User: "65532:65532", Env: []string{"COFFER_DATA=/data"}, Entrypoint: []string{"/coffer"}, Cmd: []string{"serve"},
		ExposedPorts: map[string]any{"8443/tcp": map[string]any{}}, Volumes: map[string]any{"/data": map[string]any{}},
	}
	if diff := cmp.Diff(want, got.Config); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"CMD", "/coffer", "health"}, got.Healthcheck.Test); diff != "" {
		t.Errorf("health check (-want +got):\n%s", diff)
	}
}

// contents looks into the layers: the binary, an empty /data, nothing else.
func contents(t *testing.T, e *engine) {
	e.must(t, "podman", "save", "--format", "docker-archive", "-o", e.path("image.tar"), "coffer:"+testVersion)
	f, err := os.Open(e.path("image.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := map[string]string{}
	entries(t, f, func(h *tar.Header, r io.Reader) {
		if strings.HasSuffix(h.Name, ".tar") && h.Typeflag == tar.TypeReg {
			entries(t, r, func(h *tar.Header, _ io.Reader) {
				got[h.Name] = fmt.Sprintf("%v %d:%d", h.FileInfo().Mode(), h.Uid, h.Gid)
			})
		}
	})
	want := map[string]string{"coffer": "-rwxr-xr-x 0:0", "data/": "drwx------ 65532:65532"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("contents (-want +got):\n%s", diff)
	}
}

func entries(t *testing.T, r io.Reader, each func(*tar.Header, io.Reader)) {
	t.Helper()
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		each(h, archive)
	}
}
