package durable

import (
	"fmt"
	"io"
	"os"
)

// Fill is WriteFile for content that comes in parts: fill writes it. If fill
// fails, what stood at path stays.
func Fill(path string, fill func(io.Writer) error) error {
	if err := writeTemp(path, fill, func(tmp string) error { return os.Rename(tmp, path) }); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
