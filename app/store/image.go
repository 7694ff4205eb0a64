package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
)

// image reads a bbolt file without bbolt: it follows every reference once,
// accepts nothing that bbolt does not write, and so ends on any input. bbolt
// itself trusts its pages.
type image struct {
	r     io.ReaderAt
	pages uint64 // whole pages in the file
	meta  meta
	slot  int       // where meta stands
	slots [2][]byte // the two meta pages
	valid [2]bool   // whether each holds a meta record
	seen  []uint64  // bit set of pages reached
	emit  func(bucket string, key, value []byte) error
	only  string // if set, buckets of other names are not entered
}

// openImage reads the meta pages and chooses the state that bbolt would.
func openImage(r io.ReaderAt, size int64) (*image, error) {
	im := &image{r: r, pages: uint64(size) / pageSize}
	if im.pages < firstData {
		return nil, pageErrorf("%d bytes are too few", size)
	}
	found := false
	for slot := range im.slots {
		im.slots[slot] = make([]byte, pageSize)
		if _, err := r.ReadAt(im.slots[slot], int64(slot)*pageSize); err != nil {
			return nil, err
		}
		m, ok, err := readMeta(im.slots[slot], uint64(slot))
		if err != nil {
			return nil, err
		}
		im.valid[slot] = ok
		if ok && (!found || m.txid > im.meta.txid) {
			im.meta, im.slot, found = m, slot, true
		}
	}
	if !found {
		return nil, pageErrorf(metaInvalidMsg)
	}
	if im.meta.pages > im.pages || im.meta.pages <= firstData {
		return nil, pageErrorf("%d pages are recorded, the file has %d", im.meta.pages, im.pages)
	}
	return im, nil
}

// witness is the place in slot's page where a witness can stand.
func (im *image) witness(slot int) []byte {
	return im.slots[slot][witnessOffset : witnessOffset+witnessSize]
}

// walk hands every entry of every bucket to emit, the state record's included,
// and checks the structure of every page. Slices are valid during the call.
func (im *image) walk(ctx context.Context, emit func(bucket string, key, value []byte) error) error {
	im.begin("", emit)
	if err := im.buckets(ctx); err != nil {
		return err
	}
	return im.freelist()
}

// one hands the entries of one bucket to emit and looks at no other.
func (im *image) one(ctx context.Context, bucket string, emit func(bucket string, key, value []byte) error) error {
	im.begin(bucket, emit)
	return im.buckets(ctx)
}

func (im *image) begin(only string, emit func(bucket string, key, value []byte) error) {
	im.seen, im.emit, im.only = make([]uint64, im.meta.pages/64+1), emit, only
}

// buckets reads the root bucket, whose entries are buckets.
func (im *image) buckets(ctx context.Context) error {
	return im.tree(ctx, im.meta.root, nil, nil, 0, func(name, value []byte, flags uint32) error {
		if im.only != "" && string(name) != im.only {
			return nil
		}
		if flags != elementBucket || len(value) < bucketHeader {
			return pageErrorf("the root holds something that is no bucket")
		}
		bucket := string(name)
		entry := func(key, value []byte, flags uint32) error {
			if flags != 0 {
				return pageErrorf("a bucket holds something that is no value")
			}
			return im.emit(bucket, key, value)
		}
		if root := order.Uint64(value); root != 0 {
			if len(value) != bucketHeader {
				return pageErrorf("a bucket's header has %d bytes", len(value))
			}
			return im.tree(ctx, root, nil, nil, 0, entry)
		}
		inline := value[bucketHeader:]
		if len(inline) < pageHeader {
			return pageErrorf("an inline bucket has %d bytes", len(inline))
		}
		n := node{header: readHeader(inline), b: inline}
		if n.flags != flagLeaf || n.id != 0 || n.overflow != 0 {
			return pageErrorf("an inline bucket has another header")
		}
		return im.leaf(n, nil, nil, entry)
	})
}

// tree reads the tree below a page; its keys are in [low, high).
func (im *image) tree(ctx context.Context, id uint64, low, high []byte, depth int, entry func(key, value []byte, flags uint32) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > maxDepth {
		return pageErrorf("page %d: deeper than %d levels", id, maxDepth)
	}
	n, err := im.node(id)
	if err != nil {
		return err
	}
	if !n.branch() {
		return im.leaf(n, low, high, entry)
	}
	if n.count == 0 {
		return pageErrorf("page %d: an empty branch", id)
	}
	key, _, child, _, err := n.element(0)
	if err != nil {
		return err
	}
	var prev []byte
	for i := range int(n.count) {
		if !inOrder(prev, key, low, high) {
			return pageErrorf("page %d: keys out of order", id)
		}
		next, nextChild, upper := []byte(nil), uint64(0), high
		if i+1 < int(n.count) {
			if next, _, nextChild, _, err = n.element(i + 1); err != nil {
				return err
			}
			upper = next
		}
		if err := im.tree(ctx, child, key, upper, depth+1, entry); err != nil {
			return err
		}
		prev, key, child = key, next, nextChild
	}
	return nil
}

func (im *image) leaf(n node, low, high []byte, entry func(key, value []byte, flags uint32) error) error {
	var prev []byte
	for i := range int(n.count) {
		key, value, _, flags, err := n.element(i)
		if err != nil {
			return err
		}
		if !inOrder(prev, key, low, high) {
			return pageErrorf("page %d: keys out of order", n.id)
		}
		if err := entry(key, value, flags); err != nil {
			return err
		}
		prev = key
	}
	return nil
}

// node loads a branch or leaf page with its overflow.
func (im *image) node(id uint64) (node, error) {
	b, h, err := im.load(id)
	if err != nil {
		return node{}, err
	}
	if h.flags != flagBranch && h.flags != flagLeaf {
		return node{}, pageErrorf("page %d: flags %#x", id, h.flags)
	}
	return node{header: h, b: b}, nil
}

// load reads a page and its overflow, each for the first time.
func (im *image) load(id uint64) ([]byte, header, error) {
	if id < firstData || id >= im.meta.pages {
		return nil, header{}, pageErrorf("page %d is outside of the %d", id, im.meta.pages)
	}
	first := make([]byte, pageSize)
	if _, err := im.r.ReadAt(first, int64(id)*pageSize); err != nil {
		return nil, header{}, fmt.Errorf("reading page %d: %w", id, err)
	}
	h := readHeader(first)
	run := uint64(h.overflow) + 1
	if h.id != id || run > maxPageRun || id+run > im.meta.pages {
		return nil, header{}, pageErrorf("page %d: its header says page %d and %d pages", id, h.id, run)
	}
	for i := range run {
		if !im.mark(id + i) {
			return nil, header{}, pageErrorf("page %d is used twice", id+i)
		}
	}
	if run == 1 {
		return first, h, nil
	}
	b := make([]byte, run*pageSize)
	if _, err := im.r.ReadAt(b, int64(id)*pageSize); err != nil {
		return nil, header{}, fmt.Errorf("reading page %d: %w", id, err)
	}
	if !bytes.Equal(b[:pageHeader], first[:pageHeader]) {
		return nil, header{}, pageErrorf("page %d changed while it was read", id)
	}
	return b, h, nil
}

// mark notes that a page is used and says whether it was not before.
func (im *image) mark(id uint64) bool {
	bit := uint64(1) << (id % 64)
	if im.seen[id/64]&bit != 0 {
		return false
	}
	im.seen[id/64] |= bit
	return true
}

// freelist checks that no page is both free and in use, which would let bbolt
// write over it. Pages that are neither are lost space and no danger.
func (im *image) freelist() error {
	if im.meta.freelist == noFreelist {
		return pageErrorf("there is no free list")
	}
	b, h, err := im.load(im.meta.freelist)
	if err != nil {
		return err
	}
	if h.flags != flagFreelist {
		return pageErrorf("page %d: flags %#x where the free list should be", h.id, h.flags)
	}
	ids, count := b[pageHeader:], uint64(h.count)
	if count == manyFree {
		count, ids = order.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids))/8 {
		return pageErrorf("the free list has %d entries in %d bytes", count, len(ids))
	}
	last := uint64(0)
	for i := range count {
		id := order.Uint64(ids[8*i:])
		if id < firstData || id >= im.meta.pages || id <= last {
			return pageErrorf("the free list names page %d", id)
		}
		if !im.mark(id) {
			return pageErrorf("page %d is free and in use", id)
		}
		last = id
	}
	return nil
}
