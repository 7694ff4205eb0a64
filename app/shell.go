package app

import (
	"context"
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
	typed  bool // somebody types the lines
	person bool // somebody types these lines, or the .read that reads them
	screen int  // columns of the terminal that shows results; 0 if none does
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

func runShell(r *run) error {
	tenant, err := r.tenant()
	if err != nil {
		return err
	}
	s := &shell{run: r, tenant: tenant, stream: newSQLStream(r.client, tenant), mode: modeTable, screen: columnsOf(r.std.Out)}
	if r.json() {
		s.mode = modeJSON
	}
	if f, ok := r.std.In.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.typed, s.person, s.lines = true, true, newTerminal(f, r.std.Err)
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
	for text := (strings.Builder{}); ; {
		line, err := s.lines.line(s.prompt(text.Len() > 0))
		switch {
		case errors.Is(err, errInterrupted):
			text.Reset()
			continue
		case errors.Is(err, io.EOF):
			if strings.TrimSpace(text.String()) != "" && !s.typed {
				return s.statement(text.String())
			}
			return nil
		case err != nil:
			return err
		}
		quit, err := s.take(line, &text)
		if quit {
			return nil
		}
		if err != nil && !s.typed {
			return err
		}
		if err != nil {
			report(s.run.std.Err, err)
		}
	}
}

// take runs a line that is a command, and adds any other to the statement in
// text, which runs once it is whole.
func (s *shell) take(line string, text *strings.Builder) (quit bool, err error) {
	first := text.Len() == 0
	if trimmed := strings.TrimSpace(line); first && strings.HasPrefix(trimmed, ".") {
		return s.command(trimmed)
	}
	text.WriteString(line)
	text.WriteByte('\n')
	if text.Len() > actions.MaxSQLText {
		text.Reset()
		return false, domain.Fieldf("sql", "the statement is longer than %d bytes", actions.MaxSQLText)
	}
	// Only these can end a statement, or a comment that stands alone. To look at
	// all of it after every line would take minutes for one of many lines.
	if !first && !strings.Contains(line, ";") && !strings.Contains(line, "*/") {
		return false, nil
	}
	sql := text.String()
	n := len(guard.Split(sql)) // 0 for blanks and comments
	if open := len(guard.Split(sql+"x")) == n; open || n > 0 && !guard.Complete(sql) {
		return false, nil // a comment or a statement goes on
	}
	if text.Reset(); n > 0 {
		err = s.statement(sql)
	}
	return false, err
}

// prompt says whose database it is, whether a transaction is open, and whether a
// statement goes on.
func (s *shell) prompt(goesOn bool) string {
	switch {
	case goesOn:
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
		start := time.Now()
		result, err := s.one(one)
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

// one runs one statement. Where somebody types, Ctrl-C ends the waiting for it
// and nothing else: the context of the command ends for good with the first one.
func (s *shell) one(sql string) (sqlResult, error) {
	ctx, stop := s.run.Context.Context, func() {}
	if s.person {
		ctx, stop = signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt)
	}
	defer stop()
	open := s.stream.open
	result, err := s.stream.one(ctx, sql)
	if err != nil && open && !s.stream.open {
		s.run.say("%s", s.stream.fate(err))
	}
	return result, err
}

const shellHelp = `.help            this
.mode MODE       how results are shown: table, csv, json or line
.quit            leave; Ctrl-D does too
.read FILE       run the statements of a file
.schema [TABLE]  the definitions
.tables          the names of tables and views
.timer on|off    say how long each statement took
Ctrl-C ends the waiting for a statement, or clears the line.
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
	out, err := s.one(sql)
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
