package main_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layers is the map of the packages: imports go down only, and packages of one
// layer do not import each other. Test packages are outside it.
var layers = map[string]int{
	"app/domain": 0, "app/limit": 0, "app/durable": 0, "audit/record": 0, "vault/seal/sealtest": 0, "app/store/storetest": 2,
	"ui/assets": 0,
	"app/store": 1, "app/authz": 1, "vault/seal": 1, "tenants/cryptvfs": 1, "tenants/sqlite": 1, "audit/wal": 1, "tenants/fair": 1,
	"audit": 2, "vault/token": 2, "vault/wrap": 2, "vault/lease": 2, "tenants/guard": 2, "app/alerts": 2, "app/once": 2, "app/queries": 2, "app/policies": 2,
	"tenants/migrate": 2, "tenants/plain": 3, "app/inout": 2,
	"vault": 3, "tenants/worker": 3, "app/directory": 3, "app/cert": 3,
	"app/authn": 4, "tenants": 4,
	"app/actions": 5,
	"app/httpd":   6,
	"app/api":     7, "app/sqlapi": 7, "app/vaultapi": 7, "ui": 7,
	"app": 8,
	"":    9,
}

// owners says which packages may import a third party, tests aside.
var owners = map[string][]string{
	"go.etcd.io/bbolt":            {"app/store"},
	"github.com/google/go-tpm":    {"vault/seal"},
	"github.com/tink-crypto":      {"vault", "vault/wrap"},
	"modernc.org":                 {"tenants/cryptvfs", "tenants/sqlite"},
	"github.com/urfave/cli":       {"app"},
	"github.com/gofiber/fiber":    {"app/httpd", "app/api", "app/sqlapi", "app/vaultapi", "ui"},
	"github.com/valyala/fasthttp": {"app/httpd"},
	"golang.org/x/crypto":         {"vault/seal", "app/authn"},
	"github.com/go-webauthn":      {"app/authn"},
	"github.com/pquerna/otp":      {"app/authn"},
	"golang.org/x/sync":           {"app"},
	"golang.org/x/term":           {"app"},
	"rsc.io/qr":                   {"ui"},
	"github.com/hashicorp/hcl":    {"app/policies"},
	"github.com/zclconf/go-cty":   {"app/policies"},
	"golang.org/x/sys":            {"app/durable", "app/store", "vault/seal", "audit", "audit/wal", "tenants/worker"},
	"unsafe":                      {"tenants/cryptvfs", "tenants/sqlite"},
	"math/rand":                   nil,
	"math/rand/v2":                nil,
}

// calls says in which packages a call may stand, tests aside: the places where
// a rule of the design is kept by looking.
var calls = map[string][]string{
	"os.Getenv":       {""},
	"os.Environ":      nil,
	"os.LookupEnv":    nil,
	"os.WriteFile":    {"app/durable", "vault/seal/sealtest"},
	"os.Rename":       {"app/durable", "app/store"}, // the store swaps files under its own lock
	"authz.ForSystem": {"app/actions"},
	".Reveal": {
		"app", "app/authn", "app/directory", "app/domain", "app/once", "vault", "vault/seal", "vault/token", "vault/wrap", "audit", "ui",
	},
}

type source struct {
	pkg  string
	path string
	file *ast.File
}

// sources parses every Go file of the module that is not a test.
func sources(t *testing.T) (out []source) {
	t.Helper()
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || isModule(path)):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		pkg := filepath.ToSlash(filepath.Dir(path))
		if pkg == "." {
			pkg = ""
		}
		out = append(out, source{pkg, path, f})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// isModule tells a directory that is a module of its own: a tool, no part of Coffer.
func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func TestLayers(t *testing.T) {
	for _, s := range sources(t) {
		from, known := layers[s.pkg]
		if !known {
			t.Errorf("%s: the package %q has no layer; give it one in arch_test.go", s.path, s.pkg)
			continue
		}
		for _, imp := range s.file.Imports {
			path := strings.Trim(imp.Path.Value, `"`)
			rel, ours := strings.CutPrefix(path, "coffer/")
			if !ours {
				continue
			}
			if to, known := layers[rel]; !known || to >= from {
				t.Errorf("%s: %s (layer %d) must not import %s (layer %d)", s.path, s.pkg, from, rel, to)
			}
		}
	}
}

func TestThirdPartiesStayWithTheirOwners(t *testing.T) {
	for _, s := range sources(t) {
		for _, imp := range s.file.Imports {
			path := strings.Trim(imp.Path.Value, `"`)
			owner, ruled := ownersOf(path)
			if !ruled && strings.Contains(strings.Split(path, "/")[0], ".") {
				t.Errorf("%s: %s belongs to no package; say to which in arch_test.go", s.path, path)
			}
			if ruled && !slices.Contains(owner, s.pkg) {
				t.Errorf("%s: %s belongs to %v", s.path, path, owner)
			}
		}
	}
}

// ownersOf finds the longest rule that covers an import path.
func ownersOf(path string) (owner []string, ruled bool) {
	best := ""
	for prefix, pkgs := range owners {
		if (path == prefix || strings.HasPrefix(path, prefix+"/")) && len(prefix) >= len(best) {
			best, owner, ruled = prefix, pkgs, true
		}
	}
	return owner, ruled
}

func TestCallsStayInTheirPlaces(t *testing.T) {
	for _, s := range sources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			names := []string{"." + sel.Sel.Name}
			if x, ok := sel.X.(*ast.Ident); ok {
				names = append(names, x.Name+"."+sel.Sel.Name)
			}
			for _, name := range names {
				if allowed, ruled := calls[name]; ruled && !slices.Contains(allowed, s.pkg) {
					t.Errorf("%s: %s may stand in %v only", s.path, name, allowed)
				}
			}
			return true
		})
	}
}

func TestEveryPackageHasADocument(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		documented[s.pkg] = documented[s.pkg] || s.file.Doc != nil
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("package %q has no package comment", pkg)
		}
	}
}

// TestNothingIsLeftOpen keeps marks of unfinished work out of the tree.
func TestNothingIsLeftOpen(t *testing.T) {
	for _, s := range sources(t) {
		for _, group := range s.file.Comments {
			for _, mark := range []string{"TO" + "DO", "FIX" + "ME", "XX" + "X"} {
				if strings.Contains(group.Text(), mark) {
					t.Errorf("%s: a comment holds %q", s.path, mark)
				}
			}
		}
	}
}
