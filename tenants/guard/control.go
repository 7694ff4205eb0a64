package guard

import (
	"cmp"
	"slices"
	"strings"

	"coffer/app/domain"
)

// Control is what a statement does to the transaction as a whole. Such a
// statement is not for Stream: who owns the connection begins and ends its
// transactions.
type Control string

// The kinds of Control. SAVEPOINT, RELEASE and ROLLBACK TO work within a
// transaction and are statements like others.
const (
	NoControl     Control = ""
	Begin         Control = "begin" // DEFERRED, which is also the default
	BeginReadOnly Control = "begin read only"
	BeginWrite    Control = "begin write" // IMMEDIATE or EXCLUSIVE
	Commit        Control = "commit"
	Rollback      Control = "rollback"
)

// ControlOf recognizes BEGIN, COMMIT, END and ROLLBACK, and libSQL's BEGIN
// TRANSACTION READONLY, which SQLite takes for a transaction with a name. A text
// that begins like one of them and goes on otherwise is refused with SQLite's
// code for wrong input.
func ControlOf(sql string) (Control, error) {
	words, ok := controlWords(sql)
	if len(words) == 0 {
		return NoControl, nil
	}
	first := words[0]
	if first != "begin" && first != "commit" && first != "end" && first != "rollback" {
		return NoControl, nil
	}
	if first == "rollback" && slices.Contains(words, "to") {
		return NoControl, nil // to a savepoint
	}
	rest, mode := words[1:], ""
	if first == "begin" && len(rest) > 0 && slices.Contains([]string{"deferred", "immediate", "exclusive"}, rest[0]) {
		mode, rest = rest[0], rest[1:]
	}
	name := ""
	if len(rest) > 0 && rest[0] == "transaction" {
		if rest = rest[1:]; len(rest) == 1 && !strings.HasPrefix(rest[0], "(") {
			name, rest = rest[0], nil
		}
	}
	if !ok || len(rest) > 0 {
		return NoControl, problem("SQL_INPUT_ERROR", domain.Fieldf("sql", "%s is followed by what does not belong there", strings.ToUpper(first)).
			WithHint("write BEGIN, BEGIN IMMEDIATE, BEGIN TRANSACTION READONLY, COMMIT or ROLLBACK, each as a statement of its own"))
	}
	switch {
	case first == "rollback":
		return Rollback, nil
	case first != "begin":
		return Commit, nil
	case name == "readonly":
		return BeginReadOnly, nil
	case mode == "immediate", mode == "exclusive":
		return BeginWrite, nil
	}
	return Begin, nil
}

// controlWords are the first tokens of a text in lower case, as many as the
// longest statement of that kind has and one more; ok is false if something
// stands behind a semicolon.
func controlWords(sql string) (words []string, ok bool) {
	const most = 5
	ended := false
	for l := (lexer{text: sql}); len(words) < most; {
		t, more := l.next()
		if !more {
			break
		}
		text := sql[t.start:t.end]
		switch {
		case text == ";":
			ended = len(words) > 0
			continue
		case ended:
			return words, false
		}
		words = append(words, cmp.Or(t.name(sql), text))
		if len(words) == 1 && t.kind != word {
			return nil, true
		}
	}
	return words, true
}

// Savepoint reports whether a statement works on savepoints within a transaction.
func Savepoint(sql string) bool {
	switch classify(sql).kind {
	case KindSavepoint, KindRelease, KindRollback:
		return true
	}
	return false
}

// ForeignKeys recognizes PRAGMA foreign_keys: what it sets, or that it asks.
// SQLite keeps that setting for the connection, and changes it outside a
// transaction only, so who lends connections keeps it for the borrower.
func ForeignKeys(sql string) (on, asks, ok bool) {
	words, single := controlWords(sql)
	if !single || len(words) < 2 || words[0] != "pragma" {
		return false, false, false
	}
	words = words[1:]
	if len(words) > 2 && words[0] == "main" && words[1] == "." {
		words = words[2:]
	}
	if words[0] != "foreign_keys" {
		return false, false, false
	}
	switch {
	case len(words) == 1:
		return false, true, true
	case len(words) == 3 && words[1] == "=", len(words) == 4 && words[1] == "(" && words[3] == ")":
		switch words[2] {
		case "1", "on", "yes", "true":
			return true, false, true
		case "0", "off", "no", "false":
			return false, false, true
		}
	}
	return false, false, false
}

// Split cuts a text into its statements, each without the semicolon that ends
// it; empty ones are left out. It ends statements where sqlite3_complete does:
// the body of a trigger ends with "; END".
func Split(sql string) []string {
	var out []string
	s := splitter{}
	start := -1
	last := 0
	for l := (lexer{text: sql}); ; {
		t, ok := l.next()
		if !ok {
			break
		}
		if s.ends(sql, t) {
			if start >= 0 {
				out = append(out, sql[start:t.start])
			}
			start = -1
			continue
		}
		if start < 0 {
			start = t.start
		}
		last = t.end
	}
	if start >= 0 {
		out = append(out, sql[start:last])
	}
	return out
}

// Complete reports whether a text ends with the end of a statement.
func Complete(sql string) bool {
	s, complete := splitter{}, false
	for l := (lexer{text: sql}); ; {
		t, ok := l.next()
		if !ok {
			return complete
		}
		complete = s.ends(sql, t)
	}
}

// splitter tells the semicolons that end statements from those in triggers.
type splitter struct {
	words   []string // the first ones of the statement, as many as tell a trigger
	trigger bool
	before  [2]string // the last two tokens
}

// ends takes the next token and says whether it ends the statement.
func (s *splitter) ends(sql string, t token) bool {
	text := sql[t.start:t.end]
	if text != ";" {
		name := ""
		if t.kind == word {
			name = t.name(sql)
		}
		if len(s.words) < 8 {
			s.words = append(s.words, name)
			s.trigger = s.trigger || beginsTrigger(s.words)
		}
		s.before = [2]string{s.before[1], name}
		return false
	}
	if s.trigger && s.before != [2]string{";", "end"} {
		s.before = [2]string{s.before[1], ";"}
		return false
	}
	*s = splitter{}
	return true
}

// beginsTrigger reports whether the words are CREATE [TEMP] TRIGGER, perhaps
// behind EXPLAIN [QUERY PLAN].
func beginsTrigger(words []string) bool {
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool {
		return w == "explain" || w == "query" || w == "plan" || w == "temp" || w == "temporary"
	})
	return len(words) == 2 && words[0] == "create" && words[1] == "trigger"
}
