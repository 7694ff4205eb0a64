package app

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"coffer/app/actions"
)

// bar shows on a terminal how far a run has come.
type bar struct{ w io.Writer }

// newBar is one that shows nothing where no terminal is.
func newBar(w io.Writer) *bar {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &bar{w}
	}
	return &bar{}
}

func (b *bar) show(run actions.MigrationRunInfo) {
	const width = 30
	if b.w == nil || run.Total == 0 {
		return
	}
	full := min(width, width*(run.Done+run.Failures)/run.Total)
	fmt.Fprintf(b.w, "\r[%s%s] %d of %d, %d failed ", strings.Repeat("#", full), strings.Repeat(".", width-full), run.Done, run.Total, run.Failures)
}

// end leaves the bar's line; it is safe twice.
func (b *bar) end() {
	if b.w != nil {
		fmt.Fprintln(b.w)
	}
	b.w = nil
}
