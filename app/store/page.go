package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
)

// bbolt's file format, version 2, as far as the strict reader needs it. bbolt
// maps its structures in the machine's byte order.
const (
	pageSize       = 4096 // fixed when the file is created, whatever the system's is
	pageHeader     = 16   // id u64, flags u16, count u16, overflow u32
	elementSize    = 16   // both kinds of element
	bucketHeader   = 16   // root u64, sequence u64
	metaSize       = 64
	metaMagic      = 0xED0CDAED
	metaVersion    = 2
	flagBranch     = 0x01
	flagLeaf       = 0x02
	flagMeta       = 0x04
	flagFreelist   = 0x10
	elementBucket  = 0x01
	manyFree       = 0xFFFF             // freelist: the count stands in the first entry
	noFreelist     = 0xFFFFFFFFFFFFFFFF // never written by this package
	firstData      = 2                  // pages before it are the meta pages
	maxDepth       = 32                 // levels of a tree; 2^32 entries need fewer
	maxPageRun     = 1 << 16            // pages of one node with its overflow: 256 MiB
	witnessOffset  = pageSize - 512     // of the witness in a meta page: another sector than the record
	metaInvalidMsg = "neither meta page is valid"
)

var order = binary.NativeEndian

var errPage = errors.New("page structure")

func pageErrorf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errPage, fmt.Errorf(format, args...))
}

// header is what stands at the start of a page.
type header struct {
	id       uint64
	flags    uint16
	count    uint16
	overflow uint32
}

func readHeader(b []byte) header {
	return header{
		id: order.Uint64(b), flags: order.Uint16(b[8:]),
		count: order.Uint16(b[10:]), overflow: order.Uint32(b[12:]),
	}
}

// meta is a valid meta record.
type meta struct {
	root     uint64 // page of the root bucket
	freelist uint64 // page of the free list
	pages    uint64 // pages in use or free; what is behind them is spare
	txid     uint64
}

// readMeta reads the meta record of a page. ok is false for what a torn write
// can leave; an error means that the record is valid and yet not bbolt's.
func readMeta(page []byte, slot uint64) (m meta, ok bool, err error) {
	b := page[pageHeader : pageHeader+metaSize]
	sum := fnv.New64a()
	sum.Write(b[:metaSize-8])
	if order.Uint32(b) != metaMagic || order.Uint32(b[4:]) != metaVersion || order.Uint64(b[56:]) != sum.Sum64() {
		return meta{}, false, nil
	}
	if size := order.Uint32(b[8:]); size != pageSize {
		return meta{}, false, pageErrorf("meta %d: pages of %d bytes", slot, size)
	}
	if h := readHeader(page); h.id != slot || h.flags != flagMeta {
		return meta{}, false, pageErrorf("meta %d: page header", slot)
	}
	m = meta{
		root: order.Uint64(b[16:]), freelist: order.Uint64(b[32:]),
		pages: order.Uint64(b[40:]), txid: order.Uint64(b[48:]),
	}
	return m, true, nil
}

// node is a branch or leaf page with its overflow, or an inline bucket.
type node struct {
	header
	b []byte
}

func (n node) branch() bool { return n.flags == flagBranch }

// element gives key and value of a leaf's element, or key and child of a
// branch's. The slices alias the page.
func (n node) element(i int) (key, value []byte, child uint64, flags uint32, err error) {
	at := pageHeader + i*elementSize
	if at+elementSize > len(n.b) {
		return nil, nil, 0, 0, pageErrorf("page %d: element %d is outside", n.id, i)
	}
	e := n.b[at:]
	var pos, ksize, vsize uint64
	if n.branch() {
		pos, ksize, child = uint64(order.Uint32(e)), uint64(order.Uint32(e[4:])), order.Uint64(e[8:])
	} else {
		flags, pos = order.Uint32(e), uint64(order.Uint32(e[4:]))
		ksize, vsize = uint64(order.Uint32(e[8:])), uint64(order.Uint32(e[12:]))
	}
	start := uint64(at) + pos
	if ksize == 0 || start+ksize+vsize > uint64(len(n.b)) {
		return nil, nil, 0, 0, pageErrorf("page %d: element %d reaches outside", n.id, i)
	}
	return n.b[start : start+ksize], n.b[start+ksize : start+ksize+vsize], child, flags, nil
}

// inOrder checks a key against the one before it and the bounds from above.
// bbolt searches by bisection, so that a key out of order is a key lost.
func inOrder(prev, key, low, high []byte) bool {
	if prev != nil && bytes.Compare(prev, key) >= 0 {
		return false
	}
	return bytes.Compare(low, key) <= 0 && (high == nil || bytes.Compare(key, high) < 0)
}
