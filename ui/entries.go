package ui

import (
	"bytes"
	"encoding/json"

	"coffer/app/domain"
)

// encodeEntries makes the JSON object of keys and texts.
func encodeEntries(entries []entry) (domain.Secret, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, e := range entries {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(e.Key)
		if err != nil {
			return domain.Secret{}, err
		}
		value, err := json.Marshal(e.Value)
		if err != nil {
			return domain.Secret{}, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return domain.NewSecret(b.Bytes()), nil
}

// decodeEntries reads a secret's keys and values in their order. What is not a
// text is shown as the JSON that it is.
func decodeEntries(s domain.Secret) (out []entry, err error) {
	dec := json.NewDecoder(bytes.NewReader(s.Reveal()))
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, err
		}
		e := entry{Value: string(raw)}
		e.Key, _ = key.(string)
		if len(raw) > 0 && raw[0] == '"' {
			if err := json.Unmarshal(raw, &e.Value); err != nil {
				return nil, err
			}
		}
		out = append(out, e)
	}
	return out, nil
}
