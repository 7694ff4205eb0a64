package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// lock is what package-lock.json says of each package, by its folder.
type lock map[string]struct {
	Version   string `json:"version"`
	Integrity string `json:"integrity"`
	License   string `json:"license"`
}

// readLock reads a lock file.
func readLock(name string) (lock, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var file struct {
		Packages lock `json:"packages"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return file.Packages, nil
}

// packageOf names the package that a file below node_modules belongs to.
func packageOf(path string) (name string, ok bool) {
	_, rest, ok := strings.Cut(filepath.ToSlash(path), "node_modules/")
	if !ok {
		return "", false
	}
	parts := strings.Split(rest, "/")
	if strings.HasPrefix(rest, "@") {
		return parts[0] + "/" + parts[1], true
	}
	return parts[0], true
}

// licenceText finds the text of a package's licence, and of what it holds of others.
func licenceText(name string) (string, error) {
	b, err := os.ReadFile(filepath.Join("node_modules", name, "LICENSE"))
	if err != nil {
		return "", fmt.Errorf("the licence of %s: %w", name, err)
	}
	text := strings.TrimSpace(string(b))
	switch b, err = os.ReadFile(filepath.Join("node_modules", name, "LICENSE-3RD-PARTY.txt")); {
	case err == nil:
		text += "\n\n" + strings.TrimSpace(string(b))
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	return text, nil
}
