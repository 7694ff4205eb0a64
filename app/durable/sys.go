package durable

import (
	"os"
	"time"
)

// processStart anchors the monotonic clock where the system has no better one.
var processStart = time.Now()

// linkNew gives a file a second name, which link(2) refuses if it is taken,
// and removes the first.
func linkNew(from, to string) error {
	if err := os.Link(from, to); err != nil {
		return err
	}
	step("linked")
	return os.Remove(from)
}
