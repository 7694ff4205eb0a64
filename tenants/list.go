package tenants

import (
	"fmt"
	"os"
)

// Dirs lists the names in the directory of the tenants' files, which are tenant
// ids unless something else was put there.
func (p *Pool) Dirs() ([]string, error) {
	entries, err := os.ReadDir(p.opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("listing the tenants' files: %w", err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out, nil
}
