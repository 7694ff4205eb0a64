package assets

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// Prefix begins the URL path of every asset.
const Prefix = "/assets/"

//go:embed dist own
var embedded embed.FS

// types are the content types by extension. What has another one is not served.
var types = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
	".png": "image/png",
	".txt": "text/plain; charset=utf-8",
}

// files is the tree by name, and base the URL path that it stands under.
var files, base = load()

// load reads both halves of the tree, and panics at what a build must not have:
// a name in both.
func load() (map[string]*file, string) {
	tree := map[string]*file{}
	for _, half := range []string{"dist", "own"} {
		sub, err := fs.Sub(embedded, half)
		if err == nil {
			err = add(tree, sub)
		}
		if err != nil {
			panic(fmt.Sprintf("assets: %v", err))
		}
	}
	return tree, Prefix + digest(tree) + "/"
}

// add puts what is served of one half into the tree.
func add(tree map[string]*file, half fs.FS) error {
	return fs.WalkDir(half, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || types[path.Ext(name)] == "" {
			return err
		}
		if tree[name] != nil {
			return fmt.Errorf("%s is there twice", name)
		}
		body, err := fs.ReadFile(half, name)
		tree[name] = newFile(body)
		return err
	})
}

// digest stands for names and bodies of a whole tree.
func digest(tree map[string]*file) string {
	all := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		fmt.Fprintf(all, "%q %x\n", name, sha256.Sum256(tree[name].body))
	}
	return hex.EncodeToString(all.Sum(nil))[:16]
}

// Path is the URL path of an asset, which may be kept forever. A name that there
// is not is a fault in Coffer and panics.
func Path(name string) string {
	if files[name] == nil {
		panic("assets: there is no " + name)
	}
	return base + name
}

// Open finds the asset that a URL path, as Path gives it, stands for. What it
// returns is shared: nobody may write to it.
func Open(urlPath string) (body []byte, contentType string, ok bool) {
	f, contentType := find(urlPath)
	if f == nil {
		return nil, "", false
	}
	return f.body, contentType, true
}

// Gzip is the compressed body of what Open finds, for a client that accepts it.
// It is not ok when compressing would not make the asset smaller.
func Gzip(urlPath string) (body []byte, ok bool) {
	f, _ := find(urlPath)
	if f == nil {
		return nil, false
	}
	body = f.gzip()
	return body, body != nil
}

// find looks a URL path up.
func find(urlPath string) (f *file, contentType string) {
	name, ok := strings.CutPrefix(urlPath, base)
	if !ok {
		return nil, ""
	}
	return files[name], types[path.Ext(name)]
}
