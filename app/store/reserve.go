package store

import (
	"errors"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

const (
	reserveStep  = 1 << 20   // the file grows in steps of this many bytes
	reserveSpare = 256 << 10 // kept beyond what a commit is thought to need
)

// reserve makes sure that the disk has room for a commit before bbolt begins
// to write it. A full disk is then a refusal that the store survives; found
// out in the middle of a commit it would have to stop the store.
func (h *handle) reserve(b *bolt.Tx, batch []*update) error {
	const pagesPerFreelistPage = pageSize / 8
	need := b.Size() + b.Size()/pagesPerFreelistPage + reserveSpare
	for _, u := range batch {
		if u.edit != nil {
			need += u.edit.size(b.Size())
		}
	}
	if h.reserved >= need {
		return nil
	}
	info, err := h.file.Stat()
	if err != nil {
		return unavailable(err, "check the disk (dmesg, smartctl)", "looking at control store %s: %v", h.path, err)
	}
	need = max(info.Size(), (need+reserveStep-1)/reserveStep*reserveStep)
	err = allocate(h.file, need) // from the start: bbolt and copying leave holes
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return nil // bbolt extends the file by itself
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG):
		return unavailable(err, "free space on the disk of the data directory (df), then try again",
			"no room on the disk for control store %s; nothing was changed", h.path)
	case err != nil:
		return unavailable(err, "check the disk (dmesg, smartctl)", "extending control store %s: %v", h.path, err)
	}
	h.reserved = need
	return nil
}
