package durable

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// The clock file, version 1; FORMAT.md describes it.
const (
	clockMagic   = "CFCLOCK\x01"
	clockSumSize = 16
	clockSize    = len(clockMagic) + 8 + 8 + clockSumSize
)

var errClockRecord = errors.New("not a clock record")

// clockRecord is what the clock remembers over restarts.
type clockRecord struct {
	largest time.Time // the largest time ever given out
	trusted time.Time // the base of Trusted
}

func (r clockRecord) encode() []byte {
	b := make([]byte, 0, clockSize)
	b = append(b, clockMagic...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.largest.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, uint64(r.trusted.UnixNano()))
	sum := sha256.Sum256(b)
	return append(b, sum[:clockSumSize]...)
}

// decodeClock accepts exactly what encode makes.
func decodeClock(b []byte) (clockRecord, error) {
	if len(b) != clockSize {
		return clockRecord{}, fmt.Errorf("%w: %d bytes instead of %d", errClockRecord, len(b), clockSize)
	}
	if !bytes.HasPrefix(b, []byte(clockMagic)) {
		return clockRecord{}, fmt.Errorf("%w: unknown magic or version", errClockRecord)
	}
	body := b[:clockSize-clockSumSize]
	sum := sha256.Sum256(body)
	if !bytes.Equal(sum[:clockSumSize], b[len(body):]) {
		return clockRecord{}, fmt.Errorf("%w: wrong checksum", errClockRecord)
	}
	largest := binary.BigEndian.Uint64(body[len(clockMagic):])
	trusted := binary.BigEndian.Uint64(body[len(clockMagic)+8:])
	if largest > maxClockNano || trusted > largest {
		return clockRecord{}, fmt.Errorf("%w: times out of order", errClockRecord)
	}
	return clockRecord{largest: time.Unix(0, int64(largest)).UTC(), trusted: time.Unix(0, int64(trusted)).UTC()}, nil
}

// maxClockNano is 2200-01-01, in nanoseconds since 1970: far enough, and far
// from the end of int64.
const maxClockNano = 7258118400 * uint64(time.Second)
