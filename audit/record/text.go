package record

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// padUnit is what the text of a record is padded to a multiple of, in bytes,
// so that lengths say little.
const padUnit = 64

// MaxDepth bounds the nesting of a record's JSON.
const MaxDepth = 32

// ErrTooLarge means that a text does not fit a record: leave something out.
var ErrTooLarge = errors.New("the text does not fit an audit record")

// pad makes u16 length ‖ text ‖ zeros.
func pad(text []byte, limit int) ([]byte, error) {
	n := (2 + len(text) + padUnit - 1) / padUnit * padUnit
	if n > limit || len(text) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(text))
	}
	b := make([]byte, n)
	binary.BigEndian.PutUint16(b, uint16(len(text)))
	copy(b[2:], text)
	return b, nil
}

// unpad accepts exactly what pad makes.
func unpad(b []byte) ([]byte, error) {
	n := int(binary.BigEndian.Uint16(b))
	if (2+n+padUnit-1)/padUnit*padUnit != len(b) {
		return nil, fmt.Errorf("%w: text of %d bytes in a padding of %d", ErrFormat, n, len(b))
	}
	for _, c := range b[2+n:] {
		if c != 0 {
			return nil, fmt.Errorf("%w: padding is not zero", ErrFormat)
		}
	}
	return b[2 : 2+n], nil
}

// checkJSON accepts one JSON object in UTF-8 with no duplicate key at any level
// and nothing after it. encoding/json alone would let the last of two equal
// keys win, so that two readers could see two different events.
func checkJSON(text []byte) error {
	return walkObject(text, func(_, _ []byte) error { return nil })
}

// CheckDetail says whether a text can be the detail of a payload: one JSON
// object without duplicate keys, less deep than MaxDepth.
func CheckDetail(text []byte) error {
	return checkJSON(append(append([]byte(`{"detail":`), text...), '}'))
}

// decodeStrict decodes checked JSON into v. Names must be written exactly as
// in the format: encoding/json alone would take "Actor" for "actor".
func decodeStrict(text []byte, names map[string]bool, v any) error {
	err := walkObject(text, func(key, _ []byte) error {
		if !names[string(key)] {
			return errUnknown(key)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return nil
}

// encodeJSON is json.Marshal without the escapes for HTML.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
