package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// walkObject checks a text as checkJSON does and gives the keys of the object
// and their values, as they stand in the text, to fn.
func walkObject(text []byte, fn func(key, value []byte) error) error {
	switch {
	case !utf8.Valid(text):
		return fmt.Errorf("%w: text is not UTF-8", ErrFormat)
	case len(text) == 0 || text[0] != '{' || text[len(text)-1] != '}':
		return fmt.Errorf("%w: text is not one JSON object", ErrFormat)
	case !json.Valid(text):
		return fmt.Errorf("%w: text is not valid JSON", ErrFormat)
	}
	w := walker{text: text}
	return w.object(1, fn)
}

func errUnknown(key []byte) error { return fmt.Errorf("%w: unknown field %.40q", ErrFormat, key) }

// walker goes through JSON that json.Valid has accepted, so that it need not
// look for errors of grammar.
type walker struct {
	text []byte
	at   int
}

// object reads the object that starts here. fn is nil below the top level.
func (w *walker) object(depth int, fn func(key, value []byte) error) error {
	if depth > MaxDepth {
		return fmt.Errorf("%w: nested more than %d deep", ErrFormat, MaxDepth)
	}
	var few [16][]byte
	keys := few[:0]
	var many map[string]bool
	for w.at++; w.space() != '}'; {
		if w.text[w.at] == ',' {
			w.at++
			w.space()
		}
		key, err := decodeKey(w.string())
		if err != nil {
			return err
		}
		if many == nil && len(keys) == cap(few[:]) {
			many = make(map[string]bool, 2*len(keys))
			for _, k := range keys {
				many[string(k)] = true
			}
		}
		if many[string(key)] || many == nil && contains(keys, key) {
			return fmt.Errorf("%w: duplicate key %.40q", ErrFormat, key)
		}
		if many != nil {
			many[string(key)] = true
		} else {
			keys = append(keys, key)
		}
		w.space()
		w.at++ // the colon
		w.space()
		start := w.at
		if err := w.value(depth); err != nil {
			return err
		}
		if fn != nil {
			if err := fn(key, w.text[start:w.at]); err != nil {
				return err
			}
		}
	}
	w.at++
	return nil
}

func contains(keys [][]byte, key []byte) bool {
	for _, k := range keys {
		if bytes.Equal(k, key) {
			return true
		}
	}
	return false
}

// value reads the value that starts here.
func (w *walker) value(depth int) error {
	switch w.text[w.at] {
	case '{':
		return w.object(depth+1, nil)
	case '[':
		if depth >= MaxDepth {
			return fmt.Errorf("%w: nested more than %d deep", ErrFormat, MaxDepth)
		}
		for w.at++; w.space() != ']'; {
			if w.text[w.at] == ',' {
				w.at++
				w.space()
			}
			if err := w.value(depth + 1); err != nil {
				return err
			}
		}
		w.at++
	case '"':
		w.string()
	default: // a number or a word
		for w.at < len(w.text) && !bytes.ContainsRune([]byte(",]} \t\r\n"), rune(w.text[w.at])) {
			w.at++
		}
	}
	return nil
}

// space skips white space and gives the byte after it.
func (w *walker) space() byte {
	for {
		switch c := w.text[w.at]; c {
		case ' ', '\t', '\r', '\n':
			w.at++
		default:
			return c
		}
	}
}

// string reads a string and gives it with its quotes.
func (w *walker) string() []byte {
	start := w.at
	for w.at++; w.text[w.at] != '"'; w.at++ {
		if w.text[w.at] == '\\' {
			w.at++
		}
	}
	w.at++
	return w.text[start:w.at]
}

// decodeKey gives what a quoted key means: "a" and "\u0061" are one key.
func decodeKey(quoted []byte) ([]byte, error) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	s, err := jsonString(quoted)
	return []byte(s), err
}

// jsonString decodes a JSON string; null and other values are refused.
func jsonString(value []byte) (string, error) {
	if value[0] != '"' {
		return "", fmt.Errorf("%w: %.20q is not a string", ErrFormat, value)
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1]), nil
	}
	var s string
	if err := json.Unmarshal(value, &s); err != nil {
		return "", fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return s, nil
}
