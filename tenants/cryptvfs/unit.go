package cryptvfs

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
)

// Geometry of what stands on disk. FORMAT.md draws it.
const (
	PageSize      = 4096                     // bytes of a database page, in SQLite and on disk
	ReservedBytes = tagSize + nonceSize + 4  // bytes at the end of a page that SQLite leaves to the VFS
	usableSize    = PageSize - ReservedBytes // bytes of a page that SQLite uses
	blockSize     = 4096                     // plaintext bytes of a journal or temporary block
	blockOnDisk   = blockSize + ReservedBytes
	tagSize       = 16
	nonceSize     = 12
	formatVersion = 1
)

// kind keeps the kinds of files of one database apart in the associated data.
type kind byte

const (
	kindPage    kind = 1 // a page of the main file
	kindFrame   kind = 2 // the page of a WAL frame
	kindJournal kind = 3 // a block of a rollback journal
	kindSuper   kind = 4 // a block of a super-journal
	kindTemp    kind = 5 // a block of a temporary file
)

// label is the place of a unit: where it must stand to be accepted.
type label struct {
	number uint32 // page number from 1, or block number from 0
	frame  uint32 // WAL: frame number from 1, else 0
	commit uint32 // WAL: size of the database in pages after a commit, 0 inside a transaction
	salts  [8]byte
}

// aadSize is the length of the associated data: version, kind, two zero
// bytes, file id, number, epoch, frame, commit, salts.
const aadSize = 4 + 16 + 4 + 4 + 4 + 4 + 8

// subkeys are the keys of one file by epoch.
type subkeys interface {
	// sealing gives the key to encrypt one more unit under.
	sealing() (epoch uint32, key cipher.AEAD, err error)
	// opening gives the key of an epoch that stands on disk.
	opening(epoch uint32) (cipher.AEAD, error)
}

// sealer encrypts and authenticates the units of one open file. It is not safe
// for concurrent use; SQLite uses a file handle from one thread at a time.
type sealer struct {
	keys      subkeys
	aad       [aadSize]byte
	lastEpoch uint32
	last      cipher.AEAD // the key of lastEpoch, nil at first
}

func newSealer(keys subkeys, fileID [16]byte, k kind) *sealer {
	s := &sealer{keys: keys}
	s.aad[0] = formatVersion
	s.aad[1] = byte(k)
	copy(s.aad[4:20], fileID[:])
	return s
}

func (s *sealer) place(l *label, epoch uint32) []byte {
	binary.BigEndian.PutUint32(s.aad[20:], l.number)
	binary.BigEndian.PutUint32(s.aad[24:], epoch)
	binary.BigEndian.PutUint32(s.aad[28:], l.frame)
	binary.BigEndian.PutUint32(s.aad[32:], l.commit)
	copy(s.aad[36:], l.salts[:])
	return s.aad[:]
}

// seal writes ciphertext, tag, nonce and epoch of plain to dst, which has
// ReservedBytes bytes more and does not overlap it. The nonce is drawn for this
// unit and not ahead: a virtual machine that is copied while it runs must not
// have nonces in store.
func (s *sealer) seal(dst, plain []byte, l *label) error {
	epoch, key, err := s.keys.sealing()
	if err != nil {
		return err
	}
	n := len(plain)
	nonce := dst[n+tagSize:][:nonceSize]
	_, _ = rand.Read(nonce) // never fails, by its documentation
	key.Seal(dst[:0], nonce, plain, s.place(l, epoch))
	binary.BigEndian.PutUint32(dst[n+tagSize+nonceSize:], epoch)
	return nil
}

// open decrypts a unit into dst, which is the unit's own start or elsewhere.
// It reports false, and leaves no plaintext in dst, unless the unit was sealed
// under this label by these keys and is unmodified. Which of several such
// units came last it cannot tell.
func (s *sealer) open(dst, unit []byte, l *label) bool {
	n := len(unit) - ReservedBytes
	if n < 0 {
		return false
	}
	epoch := binary.BigEndian.Uint32(unit[n+tagSize+nonceSize:])
	if s.last == nil || s.lastEpoch != epoch {
		key, err := s.keys.opening(epoch)
		if err != nil {
			return false
		}
		s.last, s.lastEpoch = key, epoch
	}
	_, err := s.last.Open(dst[:0], unit[n+tagSize:][:nonceSize], unit[:n+tagSize], s.place(l, epoch))
	return err == nil
}
