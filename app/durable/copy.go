package durable

import (
	"context"
	"fmt"
	"io"
	"os"
)

// copyStep is how much CopyFile copies before it looks whether it is still
// wanted, in bytes.
const copyStep = 16 << 20

// CopyFile makes a copy of a regular file that nobody writes meanwhile, with
// mode 0600, in place of what stands at to. When it returns nil the copy and its
// name are on stable storage; after a crash, or when the context ends, what
// stood there still does. Where the file system can, both share their blocks.
func CopyFile(ctx context.Context, to, from string) error {
	src, err := openRegular(from, os.O_RDONLY)
	if err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	defer func() { _ = src.Close() }()
	fill := func(w io.Writer) error {
		for {
			if err := ctx.Err(); err != nil {
				return err
			}
			n, err := io.CopyN(w, src, copyStep) // copy_file_range(2) between files
			if err == io.EOF || (err == nil && n < copyStep) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
	if err := writeTemp(to, fill, func(tmp string) error { return os.Rename(tmp, to) }); err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	return nil
}
