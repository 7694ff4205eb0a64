package seal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"coffer/app/domain"
)

// formatVersion is the version of seal.json that is written and read.
const formatVersion = 1

// Limits of the format. A file beyond them is refused before it is decoded.
const (
	MaxFile    = 512 << 10 // bytes of seal.json
	MaxPayload = 256 << 10 // bytes of the payload
	MaxSlots   = 32        // slots in one file
)

// body is seal.json without its two last members, see FORMAT.md:
//
//	{
//	  "version": 1,
//	  "instance": "<26 of a-z2-7>",
//	  "generation": 3,
//	  "change": {"id": "<48 hex digits>", "at": "2026-01-02T03:04:05Z"},
//	  "slots": [{"id": …, "kind": …, "name": …, "created": …, "salt": …, "params": {…}, "wrapped": …}],
//	  "payload": "<base64>",
//	  "mac": "<64 hex digits: HMAC over everything before this member>",
//	  "sha256": "<64 hex digits: SHA-256 of everything before this member>"
//	}
type body struct {
	Version    int          `json:"version"`
	Instance   string       `json:"instance"`
	Generation uint64       `json:"generation"`
	Change     changeRecord `json:"change"`
	Slots      []slot       `json:"slots"`
	Payload    []byte       `json:"payload"`
}

type changeRecord struct {
	ID string    `json:"id"`
	At time.Time `json:"at"`
}

type slot struct {
	ID      string          `json:"id"`
	Kind    Kind            `json:"kind"`
	Name    string          `json:"name"`
	Created time.Time       `json:"created"`
	Salt    []byte          `json:"salt"`
	Params  json.RawMessage `json:"params"`
	Wrapped []byte          `json:"wrapped"`
}

// document is a body with the bytes that it was read from or written as.
type document struct {
	body
	raw    []byte // the whole file
	signed []byte // what the MAC covers
	mac    []byte
}

// The last two members have a fixed length, so that the checksum is found
// without parsing, whatever the version.
const (
	macOpen, sumOpen = ",\n  \"mac\": \"", ",\n  \"sha256\": \""
	sumClose         = "\"\n}\n"
	macLen           = len(macOpen) + 2*macSize + len(`"`)
	sumLen           = len(sumOpen) + 2*sha256.Size + len(sumClose)
)

// encode writes b with a MAC under root.
func encode(b body, root domain.Secret) ([]byte, error) {
	signed, err := encodeSigned(b)
	if err != nil {
		return nil, err
	}
	mac, err := documentMAC(root, b.Instance, signed)
	if err != nil {
		return nil, err
	}
	out := append(bytes.Clone(signed), macOpen+hex.EncodeToString(mac)+`"`...)
	sum := sha256.Sum256(out)
	return append(out, sumOpen+hex.EncodeToString(sum[:])+sumClose...), nil
}

// encodeSigned is the part that the MAC covers: the body's JSON, indented by
// two blanks, without the closing brace.
func encodeSigned(b body) ([]byte, error) {
	j, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the key slots: %w", err)
	}
	return bytes.TrimSuffix(j, []byte("\n}")), nil
}

// errVersion means an intact file in a format that this program cannot read.
var errVersion = errors.New("unknown format version")

// decode reads a file strictly. It proves that the file is intact (checksum,
// canonical form, limits), not who wrote it; that is checkMAC, with the root.
func decode(raw []byte) (*document, error) {
	if len(raw) > MaxFile {
		return nil, fmt.Errorf("%d bytes are more than the %d allowed", len(raw), MaxFile)
	}
	summed, err := checkSum(raw)
	if err != nil {
		return nil, err
	}
	// Only now, so that a flipped bit in the number is not taken for progress.
	var v struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	if v.Version != formatVersion {
		return nil, fmt.Errorf("%w %d", errVersion, v.Version)
	}
	d := &document{raw: raw}
	d.signed, d.mac, err = cutHex(summed, macOpen, `"`, macLen)
	if err != nil {
		return nil, fmt.Errorf("mac: %w", err)
	}
	if d.body, err = strict[body](append(bytes.Clone(d.signed), "\n}"...)); err != nil {
		return nil, err
	}
	again, err := encodeSigned(d.body)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, d.signed) {
		return nil, errNotCanonical
	}
	return d, d.check()
}

// checkSum gives what the checksum covers.
func checkSum(raw []byte) ([]byte, error) {
	summed, want, err := cutHex(raw, sumOpen, sumClose, sumLen)
	if err != nil {
		return nil, fmt.Errorf("sha256: %w", err)
	}
	if got := sha256.Sum256(summed); !bytes.Equal(got[:], want) {
		return nil, errors.New("the checksum does not match")
	}
	return summed, nil
}

// cutHex splits b before its last n bytes, which are 32 bytes in lower-case
// hexadecimal between open and end.
func cutHex(b []byte, open, end string, n int) (before, value []byte, err error) {
	if len(b) < n {
		return nil, nil, errors.New("missing")
	}
	before, tail := b[:len(b)-n], b[len(b)-n:]
	if !bytes.HasPrefix(tail, []byte(open)) || !bytes.HasSuffix(tail, []byte(end)) {
		return nil, nil, errors.New("missing")
	}
	digits := tail[len(open) : len(tail)-len(end)]
	value = make([]byte, hex.DecodedLen(len(digits)))
	if _, err := hex.Decode(value, digits); err != nil || !bytes.Equal(digits, bytes.ToLower(digits)) {
		return nil, nil, errors.New("not hexadecimal")
	}
	return before, value, nil
}

var (
	idPattern     = regexp.MustCompile(`^[a-z2-7]{26}$`)
	changePattern = regexp.MustCompile(`^[0-9a-f]{48}$`)
)

// check refuses what this package would never write.
func (b *body) check() error {
	switch {
	case b.Version != formatVersion:
		return fmt.Errorf("%w %d", errVersion, b.Version)
	case !idPattern.MatchString(b.Instance):
		return errors.New("instance: malformed")
	case b.Generation == 0:
		return errors.New("generation: zero")
	case !changePattern.MatchString(b.Change.ID):
		return errors.New("change: malformed id")
	case !canonicalTime(b.Change.At):
		return errors.New("change: time not in whole seconds UTC")
	case len(b.Payload) > MaxPayload:
		return errors.New("payload: too long")
	case b.Payload == nil:
		return errors.New("payload: null")
	case len(b.Slots) == 0 || len(b.Slots) > MaxSlots:
		return fmt.Errorf("slots: %d, not 1 to %d", len(b.Slots), MaxSlots)
	}
	ids, names := map[string]bool{}, map[string]bool{}
	for i := range b.Slots {
		s := &b.Slots[i]
		if err := s.check(); err != nil {
			return fmt.Errorf("slot %d: %w", i, err)
		}
		if ids[s.ID] || names[s.Name] {
			return fmt.Errorf("slot %d: id or name used twice", i)
		}
		ids[s.ID], names[s.Name] = true, true
	}
	return nil
}

func (s *slot) check() error {
	sp, known := specs[s.Kind]
	switch {
	case !idPattern.MatchString(s.ID):
		return errors.New("id: malformed")
	case !known:
		return fmt.Errorf("kind: %.40q is unknown", s.Kind)
	case !canonicalTime(s.Created):
		return errors.New("created: not in whole seconds UTC")
	case len(s.Salt) != saltSize:
		return fmt.Errorf("salt: %d bytes", len(s.Salt))
	case len(s.Wrapped) != wrappedSize:
		return fmt.Errorf("wrapped: %d bytes", len(s.Wrapped))
	}
	if _, err := domain.ParseName("slot", s.Name); err != nil {
		return err
	}
	if err := sp.check(s.Params); err != nil {
		return fmt.Errorf("params: %w", err)
	}
	return nil
}

// canonicalTime is true for the times that are written: whole seconds, UTC.
func canonicalTime(t time.Time) bool {
	return !t.IsZero() && t.Format(time.RFC3339Nano) == storedTime(t).Format(time.RFC3339Nano)
}

func storedTime(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
