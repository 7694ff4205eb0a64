package store

import (
	"context"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// SetCrash sets the hook between the steps of Rekey.
func SetCrash(fn func(step string)) { crash = fn }

// BreakFile makes the file under the store read-only, so that the next write
// fails as it would on a dying disk.
func (s *Store) BreakFile() error {
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Dup3(int(f.Fd()), int(s.h.file.Fd()), unix.O_CLOEXEC)
}

// Verify is what Open does before it trusts a file.
func Verify(ctx context.Context, r io.ReaderAt, size int64, aead AEAD) error {
	_, err := verify(ctx, r, size, nil, aead)
	return err
}

// RecodeState decodes a state record and encodes it again.
func RecodeState(b []byte) ([]byte, error) {
	st, err := decodeState(b)
	if err != nil {
		return nil, err
	}
	return st.encode(), nil
}

// Associate is the associated data of an entry.
var Associate = associate

// SumOf is the digest of entries, each bucket, key and sealed value.
func SumOf(digestKey []byte, entries ...[3]string) []byte {
	h := newHasher(digestKey)
	var d digest
	for _, e := range entries {
		d.add(h.entry(e[0], []byte(e[1]), []byte(e[2])))
	}
	return d.bytes()
}

// The formats that tests take files apart with.
const (
	PageSize      = pageSize
	WitnessOffset = witnessOffset
	WitnessSize   = witnessSize
	OldSuffix     = oldSuffix
	StateBucket   = stateBucket
	RecordKey     = recordKey
)

// Witness is the witness of a revision.
func Witness(rev Revision, digestKey [32]byte) []byte {
	return state{revision: rev, digestKey: digestKey}.witness()
}

// PretendUnsynced makes the newest commit look as between the writing and the
// flush of its meta page, where readers of bbolt see it already.
func (s *Store) PretendUnsynced() { s.h.durable.Add(^uint64(0)) }
