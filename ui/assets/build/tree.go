package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// licences is the file that holds the licences' texts.
const licences = "LICENSES.txt"

// Package is a line of MANIFEST.json about where files come from.
type Package struct {
	Name      string   `json:"name"`
	Version   string   `json:"version"`
	Licence   string   `json:"licence"`
	Integrity string   `json:"integrity"`
	Files     []string `json:"files"`
}

// Manifest is MANIFEST.json.
type Manifest struct {
	Packages []Package         `json:"packages"`
	SHA256   map[string]string `json:"sha256"`
}

// tree is a directory of files that come from packages.
type tree struct {
	lock  lock
	files map[string][]byte
	used  map[string][]string // package to the files that hold some of it
}

func newTree(l lock) *tree {
	return &tree{lock: l, files: map[string][]byte{}, used: map[string][]string{}}
}

// copy takes a file of a package as it was shipped.
func (t *tree) copy(pkg, from, to string) error {
	b, err := os.ReadFile(filepath.Join("node_modules", pkg, from))
	if err != nil {
		return err
	}
	t.files[to] = b
	t.used[pkg] = append(t.used[pkg], to)
	return nil
}

// bundle makes one minified ES module of an entry and all that it imports.
func (t *tree) bundle(entry, to string) error {
	out := api.Build(api.BuildOptions{
		EntryPoints: []string{entry}, Outfile: to, Bundle: true, Metafile: true,
		Format: api.FormatESModule, Target: api.ES2022, Platform: api.PlatformBrowser, Charset: api.CharsetUTF8,
		MinifyWhitespace: true, MinifyIdentifiers: true, MinifySyntax: true,
		LegalComments: api.LegalCommentsNone, // the texts stand in LICENSES.txt
		LogLevel:      api.LogLevelWarning,
	})
	if len(out.Errors)+len(out.Warnings) > 0 || len(out.OutputFiles) != 1 {
		return errors.New("bundling " + entry + " went wrong")
	}
	t.files[to] = out.OutputFiles[0].Contents

	var meta struct {
		Inputs map[string]struct{} `json:"inputs"`
	}
	if err := json.Unmarshal([]byte(out.Metafile), &meta); err != nil {
		return err
	}
	for path := range meta.Inputs {
		if pkg, ok := packageOf(path); ok && !slices.Contains(t.used[pkg], to) {
			t.used[pkg] = append(t.used[pkg], to)
		}
	}
	return nil
}

// write replaces a directory by the tree.
func (t *tree) write(dir string) error {
	manifest := Manifest{SHA256: map[string]string{}}
	var texts bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(t.used)) {
		locked, ok := t.lock["node_modules/"+name]
		if !ok || locked.Integrity == "" {
			return fmt.Errorf("%s is not in the lock", name)
		}
		text, err := licenceText(name)
		if err != nil {
			return err
		}
		manifest.Packages = append(manifest.Packages,
			Package{name, locked.Version, locked.License, locked.Integrity, slices.Sorted(slices.Values(t.used[name]))})
		fmt.Fprintf(&texts, "%s %s (%s)\n%s\n\n%s\n\n\n", name, locked.Version, locked.License, strings.Repeat("=", 72), text)
	}
	t.files[licences] = texts.Bytes()
	for name, body := range t.files {
		sum := sha256.Sum256(body)
		manifest.SHA256[name] = hex.EncodeToString(sum[:])
	}
	b, err := json.MarshalIndent(manifest, "", "  ")
	if err != nil {
		return err
	}
	t.files["MANIFEST.json"] = append(b, '\n')
	return t.replace(dir)
}

// replace empties a directory and writes the files.
func (t *tree) replace(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, body := range t.files {
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o644); err != nil {
			return err
		}
	}
	return nil
}
