package actions

import (
	"encoding/json"
	"time"

	"coffer/app/domain"
)

// Duration is a time span written as text, e.g. "15m" or "1h30m".
type Duration time.Duration

// MarshalJSON writes the text.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads the text.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return domain.Errorf(domain.Invalid, "not a duration such as \"15m\"")
	}
	parsed, err := time.ParseDuration(text)
	if err != nil {
		return domain.Errorf(domain.Invalid, "%.40q is not a duration such as \"15m\"", text)
	}
	*d = Duration(parsed)
	return nil
}
