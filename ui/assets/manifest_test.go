package assets_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// manifest is MANIFEST.json, as the module in build/ writes it.
type manifest struct {
	Packages []struct {
		Name, Version, Licence, Integrity string
		Files                             []string
	} `json:"packages"`
	SHA256 map[string]string `json:"sha256"`
}

func readJSON(t *testing.T, name string, out any) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(b, out)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestManifest checks the trees that come from others against what their
// manifests say: every file, its digest, its origin, and the licences' texts.
func TestManifest(t *testing.T) {
	for _, dir := range []string{"dist", "../e2e/testdata/axe"} {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			var m manifest
			readJSON(t, filepath.Join(dir, "MANIFEST.json"), &m)
			checkFiles(t, dir, m)
			checkPackages(t, dir, m)
		})
	}
}

func checkFiles(t *testing.T, dir string, m manifest) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range entries {
		if e.Name() == "MANIFEST.json" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		got[e.Name()] = hex.EncodeToString(sum[:])
	}
	if diff := cmp.Diff(m.SHA256, got); diff != "" {
		t.Errorf("the files are not those of the manifest (`make assets` writes both):\n%s", diff)
	}
}

func checkPackages(t *testing.T, dir string, m manifest) {
	t.Helper()
	var lock struct {
		Packages map[string]struct{ Version, Integrity string }
	}
	readJSON(t, "build/package-lock.json", &lock)
	texts, err := os.ReadFile(filepath.Join(dir, "LICENSES.txt"))
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]bool{}
	for _, p := range m.Packages {
		if locked := lock.Packages["node_modules/"+p.Name]; locked.Version != p.Version || locked.Integrity != p.Integrity {
			t.Errorf("%s %s is not what the lock has", p.Name, p.Version)
		}
		if !strings.HasPrefix(p.Integrity, "sha512-") {
			t.Errorf("%s has no integrity", p.Name)
		}
		if !slices.Contains([]string{"MIT", "0BSD", "MPL-2.0"}, p.Licence) {
			t.Errorf("%s: nobody has looked at the licence %q", p.Name, p.Licence)
		}
		_, text, found := strings.Cut(string(texts), p.Name+" "+p.Version+" ("+p.Licence+")\n===")
		if !found || !regexp.MustCompile(`(?i)permission|covered software`).MatchString(text) {
			t.Errorf("LICENSES.txt lacks the text for %s", p.Name)
		}
		for _, f := range p.Files {
			sources[f] = true
		}
	}
	sources["LICENSES.txt"] = true
	if diff := cmp.Diff(slices.Sorted(maps.Keys(m.SHA256)), slices.Sorted(maps.Keys(sources))); diff != "" {
		t.Errorf("files without an origin:\n%s", diff)
	}
}

// TestLockNamesNoRegistry keeps addresses out of the lock: whoever runs npm says
// where from, and the integrity says what.
func TestLockNamesNoRegistry(t *testing.T) {
	b, err := os.ReadFile("build/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`"resolved"|https?://registry`).Find(b); m != nil {
		t.Errorf("package-lock.json holds %q", m)
	}
	var wanted struct {
		Dependencies, DevDependencies map[string]string
	}
	readJSON(t, "build/package.json", &wanted)
	maps.Copy(wanted.Dependencies, wanted.DevDependencies)
	for name, version := range wanted.Dependencies {
		if !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(version) {
			t.Errorf("%s %s is not an exact version", name, version)
		}
	}
}
