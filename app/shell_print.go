package app

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"

	"coffer/app/actions"
)

// maxCell is how many characters of a value a table shows at a terminal, and
// minCell how few if there are many columns.
const (
	maxCell = 80
	minCell = 8
)

// columnsOf is how wide the terminal is to which somebody writes, 0 for what is
// none.
func columnsOf(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		return maxCell
	}
	return width
}

// print shows a result in the mode of the shell.
func (s *shell) print(out sqlResult) error {
	w := s.run.std.Out
	if len(out.Columns) == 0 && s.mode != modeJSON {
		if out.Affected > 0 {
			s.run.say("%d rows changed", out.Affected)
		}
		return nil
	}
	switch s.mode {
	case modeJSON:
		return writeJSON(w, out.answer())
	case modeCSV:
		return s.printCSV(w, out)
	case modeLine:
		for _, row := range out.Rows {
			for i, v := range row {
				fmt.Fprintf(w, "%s = %s\n", visible(out.Columns[i]), visible(cell(v)))
			}
			fmt.Fprintln(w)
		}
		return nil
	}
	rows := [][]string{make([]string, len(out.Columns))}
	for i, name := range out.Columns {
		rows[0][i] = visible(name)
	}
	for _, row := range out.Rows {
		cells := make([]string, len(row))
		for i, v := range row {
			cells[i] = visible(cell(v))
		}
		rows = append(rows, cells)
	}
	if s.screen > 0 {
		cut(rows, s.screen)
	}
	table(w, rows[0], rows[1:])
	return nil
}

func (out sqlResult) answer() actions.SQLOut {
	answer := actions.SQLOut{Columns: append([]string{}, out.Columns...), Rows: [][]actions.SQLValue{}, Affected: out.Affected, LastInsertID: out.LastInsertID}
	for _, row := range out.Rows {
		values := make([]actions.SQLValue, len(row))
		for i, v := range row {
			values[i] = actions.NewSQLValue(v)
		}
		answer.Rows = append(answer.Rows, values)
	}
	return answer
}

// printCSV writes values as they are, but to a terminal what cannot speak to it.
func (s *shell) printCSV(w io.Writer, out sqlResult) error {
	shown := func(text string) string { return text }
	if s.screen > 0 {
		shown = visible
	}
	rows := csv.NewWriter(w)
	head := make([]string, len(out.Columns))
	for i, name := range out.Columns {
		head[i] = shown(name)
	}
	if err := rows.Write(head); err != nil {
		return err
	}
	for _, row := range out.Rows {
		fields := make([]string, len(row))
		for i, v := range row {
			if !v.IsNull() {
				fields[i] = shown(cell(v))
			}
		}
		if err := rows.Write(fields); err != nil {
			return err
		}
	}
	rows.Flush()
	return rows.Error()
}

// visible puts signs in the place of control characters, and of those that turn
// the direction of writing: a value neither speaks to the terminal nor looks like
// another one.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ':
			return '␀' + r
		case r == 0x7f:
			return '␡'
		case r >= 0x80 && r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return utf8.RuneError
		}
		return r
	}, text)
}

// cut shortens the widest cells until the rows fit into so many columns, if that
// is possible.
func cut(rows [][]string, width int) {
	const between = 2 // columns
	widest := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, text := range row {
			widest[i] = max(widest[i], utf8.RuneCountInString(text))
		}
	}
	most := maxCell
	for ; most > minCell; most-- {
		total := -between
		for _, n := range widest {
			total += min(n, most) + between
		}
		if total <= width {
			break
		}
	}
	for _, row := range rows {
		for i, text := range row {
			if utf8.RuneCountInString(text) > most {
				row[i] = string([]rune(text)[:most-1]) + "…"
			}
		}
	}
}
