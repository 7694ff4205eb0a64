package assets_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"coffer/ui/assets"
)

func TestOpenFindsWhatPathNames(t *testing.T) {
	for name, contentType := range map[string]string{
		"style.css":     "text/css; charset=utf-8",
		"app.js":        "text/javascript; charset=utf-8",
		"codemirror.js": "text/javascript; charset=utf-8",
		"htmx.min.js":   "text/javascript; charset=utf-8",
		"LICENSES.txt":  "text/plain; charset=utf-8",
	} {
		body, got, ok := assets.Open(assets.Path(name))
		if !ok || len(body) == 0 || got != contentType {
			t.Errorf("%s: ok %v, %d bytes, type %q", name, ok, len(body), got)
		}
	}
}

func TestOneDigestForAll(t *testing.T) {
	if a, b := path.Dir(assets.Path("app.js")), path.Dir(assets.Path("codemirror.js")); a != b {
		t.Errorf("%s and %s: modules could not import each other by a relative URL", a, b)
	}
	if p := assets.Path("app.js"); !regexp.MustCompile(`^/assets/[0-9a-f]{16}/app\.js$`).MatchString(p) {
		t.Error(p)
	}
}

func TestPathPanicsAtWhatThereIsNot(t *testing.T) {
	for _, name := range []string{"", "nothing.js", "MANIFEST.json", "../assets.go"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Path(%q) did not panic", name)
				}
			}()
			assets.Path(name)
		}()
	}
}

// TestOpenRefuses tries to get at what is not an asset.
func TestOpenRefuses(t *testing.T) {
	base := strings.TrimSuffix(assets.Path("app.js"), "app.js")
	for _, p := range []string{
		"", "/", "app.js", "/assets/app.js", "/assets/0123456789abcdef/app.js", strings.ToUpper(base) + "app.js",
		base, strings.TrimSuffix(base, "/"), base + "/app.js", base + "./app.js", base + "x/../app.js", base + "../assets.go",
		base + "%61pp.js", base + "app.js/", base + "app.js\x00", base + "APP.JS", base + "MANIFEST.json",
		base + "dist/htmx.min.js", base + "own/app.js", "/" + base + "app.js", "https://evil.example" + base + "app.js",
	} {
		if _, _, ok := assets.Open(p); ok {
			t.Errorf("Open(%q) found something", p)
		}
		if _, ok := assets.Gzip(p); ok {
			t.Errorf("Gzip(%q) found something", p)
		}
	}
}

func TestGzip(t *testing.T) {
	p := assets.Path("codemirror.js")
	want, _, _ := assets.Open(p)
	packed, ok := assets.Gzip(p)
	if !ok || len(packed) > len(want)/2 {
		t.Fatalf("ok %v: %d bytes of %d", ok, len(packed), len(want))
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("unpacked to %d bytes of %d: %v", len(got), len(want), err)
	}
	again, _ := assets.Gzip(p)
	if &again[0] != &packed[0] {
		t.Error("it was compressed twice")
	}
}

// comments are what JavaScript does not run.
var comments = regexp.MustCompile(`(?s)/\*.*?\*/|(?m)^\s*//.*$`)

// imports are the modules that a module names.
var imports = regexp.MustCompile(`(?:\bfrom|\bimport)\s*\(?\s*["']([^"']+)["']`)

// TestModulesOfOurOwn holds the rules of own/: modules import only what is in the
// tree, by relative URL, and nothing makes code or HTML of text.
func TestModulesOfOurOwn(t *testing.T) {
	own := os.DirFS("own")
	err := fs.WalkDir(own, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := fs.ReadFile(own, name)
		if err != nil {
			return err
		}
		assets.Path(name) // panics when its kind is not served
		switch path.Ext(name) {
		case ".js":
			checkModule(t, name, comments.ReplaceAllString(string(body), ""))
		case ".css":
			if m := regexp.MustCompile(`@import|https?:|url\(\s*["']?//`).FindString(string(body)); m != "" {
				t.Errorf("%s: %q loads from elsewhere", name, m)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkModule(t *testing.T, name, code string) {
	t.Helper()
	for _, m := range imports.FindAllStringSubmatch(code, -1) {
		target := path.Join(path.Dir(name), m[1])
		if !strings.HasPrefix(m[1], "./") && !strings.HasPrefix(m[1], "../") {
			t.Errorf("%s imports %q, which is not a relative URL", name, m[1])
		} else if _, _, ok := assets.Open(path.Join(path.Dir(assets.Path("app.js")), target)); !ok {
			t.Errorf("%s imports %q, which there is not", name, m[1])
		}
	}
	for _, banned := range []string{
		"eval(", "new Function", "document.write", ".outerHTML", "insertAdjacentHTML", "javascript:",
		"localStorage", "sessionStorage", "indexedDB", "document.cookie",
	} {
		if strings.Contains(code, banned) {
			t.Errorf("%s holds %s", name, banned)
		}
	}
}

func TestImportsAreRead(t *testing.T) {
	const code = "import {a} from './a.js'; import \"../b.js\"; const c = await import('./c.js'); export * from \"./d.js\""
	var got []string
	for _, m := range imports.FindAllStringSubmatch(code, -1) {
		got = append(got, m[1])
	}
	if diff := cmp.Diff([]string{"./a.js", "../b.js", "./c.js", "./d.js"}, got); diff != "" {
		t.Error(diff)
	}
}
