package store

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math/bits"
)

// digest is the sum, mod 2^256, of the HMAC-SHA-256 of each entry: the
// multiset hash MSet-Add-Hash of Clarke, Devadas, van Dijk, Gassend and Suh,
// "Incremental Multiset Hash Functions and Their Application to Memory
// Integrity Checking" (ASIACRYPT 2003). It does not depend on the order and
// changes by one addition or subtraction with one entry. It is secure while
// nobody without the key sees sums, which is why it is stored sealed only.
type digest [4]uint64 // least significant word first

func (d *digest) add(o digest) {
	var c uint64
	for i := range d {
		d[i], c = bits.Add64(d[i], o[i], c)
	}
}

func (d *digest) sub(o digest) {
	var b uint64
	for i := range d {
		d[i], b = bits.Sub64(d[i], o[i], b)
	}
}

// bytes is the big-endian form of the sum.
func (d digest) bytes() []byte {
	b := make([]byte, 0, digestSize)
	for i := len(d) - 1; i >= 0; i-- {
		b = binary.BigEndian.AppendUint64(b, d[i])
	}
	return b
}

func digestFrom(b []byte) digest {
	var d digest
	for i := range d {
		d[len(d)-1-i] = binary.BigEndian.Uint64(b[8*i:])
	}
	return d
}

const digestSize = sha256.Size

// hasher makes the digest of single entries. It is not safe for concurrent use.
type hasher struct {
	mac hash.Hash
	buf []byte
}

func newHasher(key []byte) *hasher { return &hasher{mac: hmac.New(sha256.New, key)} }

// entry is the HMAC over bucket, key and sealed value, each with its length
// before it.
func (h *hasher) entry(bucket string, key, sealed []byte) digest {
	h.mac.Reset()
	h.part([]byte(bucket))
	h.part(key)
	h.part(sealed)
	h.buf = h.mac.Sum(h.buf[:0])
	return digestFrom(h.buf)
}

func (h *hasher) part(b []byte) {
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], uint32(len(b)))
	h.mac.Write(n[:])
	h.mac.Write(b)
}
