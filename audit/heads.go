package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"coffer/app/durable"
	"coffer/audit/record"
	"coffer/audit/wal"
)

// The heads file; FORMAT.md draws it.
const (
	headsName      = "heads"
	headsMACLabel  = "coffer.audit.v1/heads\n"
	headsFixedSize = 80
	headsEntrySize = 56
	headsClean     = 1 // flag: written at an orderly end
	maxHeadsSize   = headsFixedSize + maxSnapshotHeads*headsEntrySize + sha256.Size
)

var headsMagic = [8]byte{0xC0, 0xFF, 'H', 'd', 's', 0x00, 0x00, 0x01}

var errHeads = errors.New("the heads file is not what was written")

// heads is how far the journal and each log are known to reach. It stands
// outside the journal, so that a journal which was cut is found.
type heads struct {
	instance [16]byte
	mark     wal.Mark
	lastWall int64
	logs     []head
}

type head struct {
	tag  Tag
	size uint64
	leaf record.Hash
}

func (h heads) encode(key []byte) []byte {
	b := make([]byte, 0, headsFixedSize+len(h.logs)*headsEntrySize+sha256.Size)
	b = append(b, headsMagic[:]...)
	var flags uint32
	if h.mark.Clean {
		flags = headsClean
	}
	b = binary.BigEndian.AppendUint32(b, flags)
	b = append(b, h.instance[:]...)
	b = binary.BigEndian.AppendUint64(b, h.mark.First)
	b = binary.BigEndian.AppendUint64(b, h.mark.Segment)
	b = binary.BigEndian.AppendUint64(b, uint64(h.mark.End))
	b = binary.BigEndian.AppendUint64(b, h.mark.LSN)
	b = binary.BigEndian.AppendUint64(b, uint64(h.lastWall))
	b = binary.BigEndian.AppendUint64(b, 0) // reserved
	b = binary.BigEndian.AppendUint32(b, uint32(len(h.logs)))
	for _, l := range h.logs {
		b = append(b, l.tag[:]...)
		b = binary.BigEndian.AppendUint64(b, l.size)
		b = append(b, l.leaf[:]...)
	}
	return append(b, headsMAC(key, h.instance, b)...)
}

func headsMAC(key []byte, instance [16]byte, b []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(headsMACLabel))
	m.Write(instance[:])
	m.Write(b)
	return m.Sum(nil)
}

// decodeHeads authenticates and decodes exactly what encode makes.
func decodeHeads(b, key []byte, instance [16]byte) (heads, error) {
	var h heads
	if len(b) < headsFixedSize+sha256.Size || len(b) > maxHeadsSize || [8]byte(b) != headsMagic {
		return h, fmt.Errorf("%w: unknown version or size", errHeads)
	}
	body, mac := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if subtle.ConstantTimeCompare(headsMAC(key, instance, body), mac) != 1 {
		return h, fmt.Errorf("%w: it does not authenticate", errHeads)
	}
	flags := binary.BigEndian.Uint32(b[8:])
	copy(h.instance[:], b[12:])
	h.mark = wal.Mark{
		Clean: flags == headsClean, First: binary.BigEndian.Uint64(b[28:]), Segment: binary.BigEndian.Uint64(b[36:]),
		End: int64(binary.BigEndian.Uint64(b[44:])), LSN: binary.BigEndian.Uint64(b[52:]),
	}
	h.lastWall = int64(binary.BigEndian.Uint64(b[60:]))
	n := binary.BigEndian.Uint32(b[76:])
	if flags > headsClean || h.instance != instance || binary.BigEndian.Uint64(b[68:]) != 0 ||
		h.mark.End < 0 || len(body) != headsFixedSize+int(n)*headsEntrySize {
		return h, fmt.Errorf("%w: a field is out of range", errHeads)
	}
	for at := headsFixedSize; at < len(body); at += headsEntrySize {
		e := head{tag: Tag(body[at : at+16]), size: binary.BigEndian.Uint64(body[at+16:])}
		copy(e.leaf[:], body[at+24:])
		h.logs = append(h.logs, e)
	}
	return h, nil
}

// readHeads reads the heads file; found is false if there is none.
func readHeads(dir string, key []byte, instance [16]byte) (h heads, found bool, err error) {
	b, err := durable.ReadFile(filepath.Join(dir, headsName), maxHeadsSize)
	if errors.Is(err, fs.ErrNotExist) {
		return h, false, nil
	}
	if err != nil {
		return h, false, err
	}
	h, err = decodeHeads(b, key, instance)
	return h, true, err
}

// writeHeads makes durable how far the log reaches. Only records that are
// durable themselves are in it.
func (l *Log) writeHeads(clean bool) error {
	l.headsMu.Lock()
	defer l.headsMu.Unlock()
	l.mu.Lock()
	h := heads{instance: l.o.Instance, mark: l.journal.Mark(), lastWall: l.lastWall}
	for _, t := range l.order {
		if t.pub.Size > 0 {
			h.logs = append(h.logs, head{tag: t.tag, size: t.pub.Size, leaf: t.pub.Leaf})
		}
	}
	l.headsAt, l.headsDue = h.mark.LSN, false
	l.mu.Unlock()
	h.mark.Clean = clean
	return durable.WriteFile(filepath.Join(l.o.Dir, headsName), h.encode(l.headKey))
}
