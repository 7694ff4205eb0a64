package cryptvfs

import (
	"context"
	"fmt"
	"io"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// copyStep is how much Copy reads at a time, in bytes.
const copyStep = 1 << 20

// Copy writes the bytes of the main file at path to w as they are on disk. The
// caller sees to it that nobody writes them meanwhile: no checkpoint runs, and
// no transaction in a rollback mode. The database may be open in this process,
// which is why no descriptor of package os may be used; see verifier.open.
func Copy(ctx context.Context, w io.Writer, path string) error {
	if err := install(); err != nil { // its databases may all live in other processes
		return err
	}
	tls := libc.NewTLS()
	defer tls.Close()
	v := &verifier{ctx: ctx, path: path, tls: tls}
	n, closeAll, err := v.open(path, sqlite3.SQLITE_OPEN_MAIN_DB|sqlite3.SQLITE_OPEN_READONLY)
	if err != nil {
		return err
	}
	defer closeAll()
	size, rc := n.size(tls)
	if rc != sqlite3.SQLITE_OK {
		return v.unreadable(path)
	}
	buf := libc.Xcalloc(tls, 1, copyStep)
	if buf == 0 {
		return v.unreadable(path)
	}
	defer libc.Xfree(tls, buf)
	for off := int64(0); off < size; off += copyStep {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := int(min(copyStep, size-off))
		if n.readRaw(tls, buf, part, off) != sqlite3.SQLITE_OK {
			return v.unreadable(path)
		}
		if _, err := w.Write(view(buf, part)); err != nil {
			return fmt.Errorf("copying %s: %w", path, err)
		}
	}
	return nil
}
