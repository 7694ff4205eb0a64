package domain

import "encoding/json"

// JSON is a Secret that arrives as one JSON value: its bytes as they came. It
// marshals as "[redacted]", like any Secret.
type JSON struct{ Secret }

// UnmarshalJSON keeps a copy of the bytes.
func (j *JSON) UnmarshalJSON(b []byte) error {
	j.Secret = NewSecret(append([]byte(nil), b...))
	return nil
}

// UnmarshalJSON reads a JSON string into the Secret.
func (s *Secret) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return Errorf(Invalid, "not a string")
	}
	*s = SecretString(text)
	return nil
}

// Disclosure is a secret on its way to the one who asked for it and may have it:
// it marshals to JSON as itself, while printing and logging still give
// "[redacted]". Only the answers of actions hold one.
type Disclosure struct {
	Secret
	text bool
}

// Disclose marks bytes that are JSON already.
func Disclose(json Secret) Disclosure { return Disclosure{Secret: json} }

// DiscloseText marks a text, which marshals as a JSON string.
func DiscloseText(text Secret) Disclosure { return Disclosure{Secret: text, text: true} }

// MarshalJSON writes the secret itself.
func (d Disclosure) MarshalJSON() ([]byte, error) {
	if !d.text {
		return d.Reveal(), nil
	}
	return json.Marshal(string(d.Reveal()))
}

// UnmarshalJSON reads what MarshalJSON wrote; a string is kept as its text.
func (d *Disclosure) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		d.text = true
		return d.Secret.UnmarshalJSON(b)
	}
	d.Secret = NewSecret(append([]byte(nil), b...))
	return nil
}
