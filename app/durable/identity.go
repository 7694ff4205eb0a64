package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// What a watcher can find out about a file that is open while somebody meddles
// with its name or size. Each means: stop writing, raise the alarm.
var (
	ErrUnlinked = errors.New("the file was removed while it was open")
	ErrReplaced = errors.New("another file stands under the name of the open file")
	ErrResized  = errors.New("the size of the open file changed")
)

// Identity says which file is open, by the numbers of stat(2).
type Identity struct {
	Dev, Ino uint64
	Nlink    uint64
	Size     int64 // bytes
}

func identify(f *os.File) (Identity, error) {
	info, err := f.Stat()
	if err != nil {
		return Identity{}, err
	}
	return identityOf(info), nil
}

func identityOf(info fs.FileInfo) Identity {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Identity{Size: info.Size()}
	}
	//nolint:unconvert // the types of the fields differ between systems
	return Identity{Dev: uint64(st.Dev), Ino: uint64(st.Ino), Nlink: uint64(st.Nlink), Size: info.Size()}
}

// Identity gives what the open file is now.
func (a *AppendFile) Identity() (Identity, error) { return identify(a.f) }

// CheckIdentity compares the open file with what was opened and with what
// stands under its name now. The error wraps ErrUnlinked, ErrReplaced or
// ErrResized; nil means that all is as it was. It costs two stat calls and is
// meant to be called about once a second.
func (a *AppendFile) CheckIdentity() error {
	now, err := identify(a.f)
	if err != nil {
		return fmt.Errorf("checking %s: %w", a.path, err)
	}
	if now.Nlink == 0 {
		return fmt.Errorf("checking %s: %w", a.path, ErrUnlinked)
	}
	if now.Size != a.id.Size {
		return fmt.Errorf("checking %s: %w from %d to %d bytes", a.path, ErrResized, a.id.Size, now.Size)
	}
	info, err := os.Lstat(a.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("checking %s: %w", a.path, ErrUnlinked) // renamed or hard-linked away
	}
	if err != nil {
		return fmt.Errorf("checking %s: %w", a.path, err)
	}
	if named := identityOf(info); named.Dev != now.Dev || named.Ino != now.Ino {
		return fmt.Errorf("checking %s: %w", a.path, ErrReplaced)
	}
	return nil
}
