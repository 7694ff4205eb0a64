package app

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/term"
)

// meter shows on a terminal how many rows are through, and how much of a file if
// its size is known.
type meter struct {
	w     io.Writer // nil where no terminal is
	what  string
	rows  int64
	done  atomic.Int64 // bytes that were read
	total int64        // bytes of the file, 0 if not known
	shown time.Time
}

// newMeter is one that shows nothing where no terminal is, or a program reads.
func (r *run) newMeter(what string) *meter {
	if f, ok := r.std.Err.(*os.File); ok && term.IsTerminal(int(f.Fd())) && !r.json() {
		return &meter{w: f, what: what}
	}
	return &meter{}
}

func (m *meter) add(rows int) {
	const often = 200 * time.Millisecond
	m.rows += int64(rows)
	if m.w == nil || time.Since(m.shown) < often {
		return
	}
	m.shown = time.Now()
	m.show()
}

func (m *meter) show() {
	const width = 30
	if m.total > 0 {
		full := int(min(width, width*m.done.Load()/m.total))
		fmt.Fprintf(m.w, "\r[%.*s%.*s] ", full, "##############################", width-full, "..............................")
	} else {
		fmt.Fprint(m.w, "\r")
	}
	fmt.Fprintf(m.w, "%d rows %s ", m.rows, m.what)
}

// end leaves the meter's line; it is safe twice.
func (m *meter) end() {
	if m.w != nil {
		m.show()
		fmt.Fprintln(m.w)
	}
	m.w = nil
}
