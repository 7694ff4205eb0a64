package app

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/tenants/guard"
)

// shell is `coffer sql` without a statement: statements that end in a semicolon,
// and commands that begin with a point. At a terminal an error is printed and the
// shell goes on; in a script the first one ends it.
//
// Lines that were typed before come back with the arrow keys. They are kept in
// memory only: a file of them would put a client's data on a disk in the clear.
type shell struct {
	run    *run
	tenant string
	stream *sqlStream
	lines  lineReader
	mode   string
	timer  bool
	typed  bool // somebody types
	depth  int  // of .read within one another
}

// lineReader gives the lines of a script or a terminal. An interrupted line is
// errInterrupted, and the end is io.EOF.
type lineReader interface {
	line(prompt string) (string, error)
}

var errInterrupted = errors.New("interrupted")

// Modes of results.
const (
	modeTable = "table"
	modeCSV   = "csv"
	modeJSON  = "json"
	modeLine  = "line"
)

const maxRead = 8 // .read within .read

// maxCell is how many characters of a value a table shows at a terminal.
const maxCell = 80

func runShell(r *run) error {
	tenant, err := r.tenant()
	if err != nil {
		return err
	}
	s := &shell{run: r, tenant: tenant, stream: newSQLStream(r.client, tenant), mode: modeTable}
	if r.json() {
		s.mode = modeJSON
	}
	if f, ok := r.std.In.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.typed, s.lines = true, newTerminal(f, r.std.Err)
		// Ctrl-C ends a statement and not the shell; a request to end ends it.
		signal.Reset(syscall.SIGTERM)
		r.say("type statements that end in ;  or .help")
	} else {
		s.lines = newScript(r.std.In)
	}
	err = s.loop()
	closing := s.stream.close(context.WithoutCancel(r.Context.Context))
	if closing != nil && err == nil && !s.typed {
		err = closing
	}
	return err
}

// loop reads and runs until the end.
func (s *shell) loop() error {
	for statement := ""; ; {
		line, err := s.lines.line(s.prompt(statement))
		switch {
		case errors.Is(err, errInterrupted):
			statement = ""
			continue
		case errors.Is(err, io.EOF):
			if strings.TrimSpace(statement) != "" && !s.typed {
				return s.statement(statement)
			}
			return nil
		case err != nil:
			return err
		}
		var again error
		switch text := strings.TrimSpace(line); {
		case statement == "" && strings.HasPrefix(text, "."):
			quit, err := s.command(text)
			if quit {
				return nil
			}
			again = err
		default:
			statement += line + "\n"
			if len(statement) > actions.MaxSQLText {
				again, statement = domain.Fieldf("sql", "the statement is longer than %d bytes", actions.MaxSQLText), ""
				break
			}
			if len(guard.Split(statement)) == 0 { // blanks and comments
				statement = ""
			} else if guard.Complete(statement) {
				again, statement = s.statement(statement), ""
			}
		}
		if again != nil && !s.typed {
			return again
		}
		if again != nil {
			report(s.run.std.Err, again)
		}
	}
}

// prompt says whose database it is, whether a transaction is open, and whether a
// statement goes on.
func (s *shell) prompt(statement string) string {
	switch {
	case statement != "":
		return strings.Repeat(" ", len(s.tenant)-1) + "…> "
	case s.stream.open:
		return s.tenant + "*> "
	}
	return s.tenant + "> "
}

// statement runs the statements of a text one by one, each to be ended by Ctrl-C.
func (s *shell) statement(sql string) error {
	for _, one := range guard.Split(sql) {
		if !utf8.ValidString(one) {
			return domain.Fieldf("sql", "the statement is not valid UTF-8").WithHint("write bytes as x'…'")
		}
		ctx := s.run.Context.Context
		stop := func() {}
		if s.typed {
			ctx, stop = signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt)
		}
		start, was := time.Now(), s.stream.open
		result, err := s.stream.one(ctx, one)
		stop()
		if err != nil && was && !s.stream.open {
			s.run.say("the transaction was rolled back")
		}
		if err != nil {
			return err
		}
		if err := s.print(result); err != nil {
			return err
		}
		if s.timer {
			s.run.say("%v", time.Since(start).Round(10*time.Microsecond))
		}
	}
	return nil
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
		answer := actions.SQLOut{Columns: append([]string{}, out.Columns...), Rows: [][]actions.SQLValue{}, Affected: out.Affected, LastInsertID: out.LastInsertID}
		for _, row := range out.Rows {
			values := make([]actions.SQLValue, len(row))
			for i, v := range row {
				values[i] = actions.NewSQLValue(v)
			}
			answer.Rows = append(answer.Rows, values)
		}
		return writeJSON(w, answer)
	case modeCSV:
		rows := csv.NewWriter(w)
		if err := rows.Write(out.Columns); err != nil {
			return err
		}
		for _, row := range out.Rows {
			fields := make([]string, len(row))
			for i, v := range row {
				if !v.IsNull() {
					fields[i] = cell(v)
				}
			}
			if err := rows.Write(fields); err != nil {
				return err
			}
		}
		rows.Flush()
		return rows.Error()
	case modeLine:
		for _, row := range out.Rows {
			for i, v := range row {
				fmt.Fprintf(w, "%s = %s\n", clean(out.Columns[i]), clean(cell(v)))
			}
			fmt.Fprintln(w)
		}
		return nil
	}
	var rows [][]string
	for _, row := range out.Rows {
		cells := make([]string, len(row))
		for i, v := range row {
			cells[i] = s.cut(cell(v))
		}
		rows = append(rows, cells)
	}
	table(w, out.Columns, rows)
	return nil
}

// cut shortens a value at a terminal; a script gets all of it.
func (s *shell) cut(text string) string {
	if runes := []rune(text); s.typed && len(runes) > maxCell {
		return string(runes[:maxCell-1]) + "…"
	}
	return text
}

const shellHelp = `.help            this
.mode MODE       how results are shown: table, csv, json or line
.quit            leave; Ctrl-D does too
.read FILE       run the statements of a file
.schema [TABLE]  the definitions
.tables          the names of tables and views
.timer on|off    say how long each statement took
Ctrl-C ends a statement that runs, or clears the line.
`

// command runs a line that begins with a point.
func (s *shell) command(line string) (quit bool, err error) {
	words := strings.Fields(strings.TrimSuffix(line, ";"))
	arg := strings.TrimSpace(strings.TrimPrefix(line, words[0]))
	switch words[0] {
	case ".quit", ".exit":
		return true, nil
	case ".help":
		fmt.Fprint(s.run.std.Out, shellHelp)
		return false, nil
	case ".tables":
		return false, s.statement("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name;")
	case ".schema":
		return false, s.schema(arg)
	case ".mode":
		switch arg {
		case modeTable, modeCSV, modeJSON, modeLine:
			s.mode = arg
			return false, nil
		}
		return false, domain.Fieldf("mode", "not one of table, csv, json and line")
	case ".timer":
		if arg != "on" && arg != "off" {
			return false, domain.Fieldf("timer", "neither on nor off")
		}
		s.timer = arg == "on"
		return false, nil
	case ".read":
		return false, s.read(arg)
	}
	return false, domain.Fieldf("command", "%.40q is not known", words[0]).WithHint("see: .help")
}

// schema prints the definitions, of one table or of all.
func (s *shell) schema(table string) error {
	sql := "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type = 'trigger', type = 'view', type = 'index', name"
	if table != "" {
		quoted := "'" + strings.ReplaceAll(table, "'", "''") + "'"
		sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND (name = " + quoted + " COLLATE NOCASE OR tbl_name = " + quoted + " COLLATE NOCASE) ORDER BY type <> 'table', name"
	}
	out, err := s.stream.one(s.run.Context.Context, sql)
	if err != nil {
		return err
	}
	for _, row := range out.Rows {
		for line := range strings.Lines(row[0].Raw()) {
			fmt.Fprintln(s.run.std.Out, clean(strings.TrimRight(line, "\n"))+map[bool]string{false: ";"}[strings.HasSuffix(line, "\n")])
		}
	}
	return nil
}

// read runs a file as a script: its first error ends it.
func (s *shell) read(path string) error {
	if s.depth >= maxRead {
		return domain.Fieldf("read", "files read one another more than %d deep", maxRead)
	}
	f, err := os.Open(path)
	if err != nil {
		return domain.Fieldf("read", "%v", err)
	}
	defer func() { _ = f.Close() }()
	inner := *s
	inner.lines, inner.typed, inner.depth = newScript(f), false, s.depth+1
	return inner.loop()
}

// script is what does not come from a terminal.
type script struct{ scanner *bufio.Scanner }

func newScript(r io.Reader) *script {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, actions.MaxSQLText)
	return &script{scanner}
}

func (s *script) line(string) (string, error) {
	if s.scanner.Scan() {
		return s.scanner.Text(), nil
	}
	if err := s.scanner.Err(); err != nil {
		return "", domain.Errorf(domain.Invalid, "reading statements: %w", err)
	}
	return "", io.EOF
}

// terminal reads lines that somebody types, with history and editing. The
// terminal is raw only while it does.
type terminal struct {
	file *os.File
	keys *keys
	term *term.Terminal
}

func newTerminal(f *os.File, out io.Writer) *terminal {
	k := &keys{in: f}
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{k, out}, "")
	t.History = &history{}
	return &terminal{f, k, t}
}

// maxHistory is how many lines come back.
const maxHistory = 1000

// history are the lines that were typed, without empty ones and repetitions.
type history struct{ lines []string }

// Add takes a line.
func (h *history) Add(line string) {
	if strings.TrimSpace(line) == "" || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	if h.lines = append(h.lines, line); len(h.lines) > maxHistory {
		h.lines = h.lines[1:]
	}
}

// Len is how many there are.
func (h *history) Len() int { return len(h.lines) }

// At is one of them, the newest for 0.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }

func (t *terminal) line(prompt string) (string, error) {
	before, err := term.MakeRaw(int(t.file.Fd()))
	if err != nil {
		return "", fmt.Errorf("reading at the terminal: %w", err)
	}
	defer func() { _ = term.Restore(int(t.file.Fd()), before) }()
	if width, height, err := term.GetSize(int(t.file.Fd())); err == nil && width > 0 {
		_ = t.term.SetSize(width, height)
	}
	t.term.SetPrompt(prompt)
	line, err := t.term.ReadLine()
	if t.keys.interrupted {
		t.keys.interrupted = false
		return "", errInterrupted
	}
	if errors.Is(err, term.ErrPasteIndicator) {
		err = nil
	}
	return line, err
}

// keys turns Ctrl-C, which the terminal's line editor takes for the end, into the
// keys that clear the line and end it.
type keys struct {
	in          io.Reader
	held        []byte
	interrupted bool
}

func (k *keys) Read(p []byte) (int, error) {
	if len(k.held) == 0 {
		b := make([]byte, len(p))
		n, err := k.in.Read(b)
		for _, c := range b[:n] {
			if c == 'C'-'@' {
				k.interrupted = true
				k.held = append(k.held, 'E'-'@', 'U'-'@', '\r')
				continue
			}
			k.held = append(k.held, c)
		}
		if len(k.held) == 0 {
			return 0, err
		}
	}
	n := copy(p, k.held)
	k.held = k.held[n:]
	return n, nil
}
