package durable

import "time"

// SetCrash sets the hook between the steps of writes.
func SetCrash(fn func(step string)) { crash = fn }

// BreakFile closes the file under an AppendFile, so that the next write or
// sync fails as it would on a dying disk.
func (a *AppendFile) BreakFile() { _ = a.f.Close() }

// LinkNew is the way of moving without replacing for file systems that have no
// better one.
var LinkNew = linkNew

// EncodeClock and DecodeClock are the clock record's.
func EncodeClock(largest, trusted time.Time) []byte {
	return clockRecord{largest: largest, trusted: trusted}.encode()
}

func DecodeClock(b []byte) (largest, trusted time.Time, err error) {
	r, err := decodeClock(b)
	return r.largest, r.trusted, err
}
