package main

import (
	"fmt"
	"os"
)

// Where the output goes, seen from this directory.
const (
	dist     = "../dist"
	testdata = "../../e2e/testdata/axe"
)

func main() {
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// build writes both trees.
func build() error {
	lock, err := readLock("package-lock.json")
	if err != nil {
		return err
	}
	pages := newTree(lock)
	if err := pages.copy("htmx.org", "dist/htmx.min.js", "htmx.min.js"); err != nil {
		return err
	}
	if err := pages.bundle("codemirror.mjs", "codemirror.js"); err != nil {
		return err
	}
	if err := pages.write(dist); err != nil {
		return err
	}
	tests := newTree(lock)
	if err := tests.copy("axe-core", "axe.min.js", "axe.min.js"); err != nil {
		return err
	}
	return tests.write(testdata)
}
