package guard

import (
	"strings"
)

// Kind is the verb of a statement.
type Kind string

// The kinds that can run under one role or another. Everything else (ATTACH,
// DETACH, VACUUM, what is no SQL) is KindOther, which none but Trusted runs.
const (
	KindSelect    Kind = "SELECT" // VALUES too
	KindInsert    Kind = "INSERT" // REPLACE too
	KindUpdate    Kind = "UPDATE"
	KindDelete    Kind = "DELETE"
	KindCreate    Kind = "CREATE"
	KindDrop      Kind = "DROP"
	KindAlter     Kind = "ALTER"
	KindReindex   Kind = "REINDEX"
	KindAnalyze   Kind = "ANALYZE"
	KindPragma    Kind = "PRAGMA"
	KindExplain   Kind = "EXPLAIN"
	KindBegin     Kind = "BEGIN"
	KindCommit    Kind = "COMMIT" // END too
	KindRollback  Kind = "ROLLBACK"
	KindSavepoint Kind = "SAVEPOINT"
	KindRelease   Kind = "RELEASE"
	KindOther     Kind = "OTHER"
)

var kinds = map[string]Kind{
	"select": KindSelect, "values": KindSelect, "insert": KindInsert, "replace": KindInsert, "update": KindUpdate,
	"delete": KindDelete, "create": KindCreate, "drop": KindDrop, "alter": KindAlter, "reindex": KindReindex,
	"analyze": KindAnalyze, "pragma": KindPragma, "explain": KindExplain, "begin": KindBegin, "commit": KindCommit,
	"end": KindCommit, "rollback": KindRollback, "savepoint": KindSavepoint, "release": KindRelease,
}

// definition reports whether the kind changes the schema.
func (k Kind) definition() bool {
	switch k {
	case KindCreate, KindDrop, KindAlter, KindReindex, KindAnalyze:
		return true
	}
	return false
}

// changesRows reports whether the kind can count rows that it changed.
// KindOther is for Trusted, whose statements are not classified.
func (k Kind) changesRows() bool {
	switch k {
	case KindInsert, KindUpdate, KindDelete, KindOther:
		return true
	}
	return false
}

// transaction reports whether the kind begins or ends a transaction.
func (k Kind) transaction() bool {
	switch k {
	case KindBegin, KindCommit, KindRollback, KindSavepoint, KindRelease:
		return true
	}
	return false
}

// InternalPrefix begins the names of Coffer's own tables, in any case.
const InternalPrefix = "__coffer"

// schemaReader is the common table expression through which alone the schema
// table is read. Its name has the internal prefix, so that no SQL of a role
// can define another of that name.
const schemaReader = InternalPrefix + "_schema"

// schemaCTE shadows the schema table under both its names. Inside, main. is
// written out and so means the table itself.
const schemaCTE = schemaReader + ` AS NOT MATERIALIZED (SELECT type, name, tbl_name, rootpage, sql FROM main.sqlite_schema` +
	` WHERE substr(lower(name), 1, 8) <> '` + InternalPrefix + `' AND substr(lower(tbl_name), 1, 8) <> '` + InternalPrefix + `'),` +
	` sqlite_master AS NOT MATERIALIZED (SELECT * FROM ` + schemaReader + `),` +
	` sqlite_schema AS NOT MATERIALIZED (SELECT * FROM ` + schemaReader + `)`

// statement is what the text alone tells about it. Nothing that is allowed
// rests on it being right: the authorizer judges what SQLite understood.
type statement struct {
	kind   Kind
	text   string // what SQLite gets
	schema bool   // names the schema table
}

// classify reads the first statement of a text.
func classify(sql string) statement {
	s := statement{kind: KindOther, text: sql}
	var buf [96]token
	tokens := buf[:0]
	for l := (lexer{text: sql}); ; {
		t, ok := l.next()
		if !ok {
			break
		}
		if sql[t.start:t.end] == ";" && len(tokens) == 0 {
			continue // SQLite skips leading semicolons
		}
		tokens = append(tokens, t)
		s.schema = s.schema || isSchema(t.name(sql))
	}
	if len(tokens) == 0 || tokens[0].kind != word {
		return s
	}
	first := tokens[0].name(sql)
	with := first == "with"
	if with {
		s.kind = afterWith(sql, tokens)
	} else if k, ok := kinds[first]; ok {
		s.kind = k
	}
	if s.kind == KindSelect && s.schema {
		s.text = shadowSchema(sql, tokens, with)
	}
	return s
}

func isSchema(name string) bool { return name == "sqlite_master" || name == "sqlite_schema" }

// afterWith finds the verb behind the common table expressions: the first one
// that follows a closing parenthesis of the outermost level.
func afterWith(sql string, tokens []token) Kind {
	depth := 0
	for i, t := range tokens {
		switch sql[t.start:t.end] {
		case "(":
			depth++
		case ")":
			depth--
		default:
			if depth != 0 || i == 0 || t.kind != word || sql[tokens[i-1].start:tokens[i-1].end] != ")" {
				continue
			}
			switch k := kinds[t.name(sql)]; k {
			case KindSelect, KindInsert, KindUpdate, KindDelete:
				return k
			}
		}
	}
	return KindOther
}

// shadowSchema puts schemaCTE before a SELECT that names the schema table, and
// takes the qualifier from main.sqlite_schema, which would go past it.
func shadowSchema(sql string, tokens []token, with bool) string {
	text := []byte(sql)
	for i := 2; i < len(tokens); i++ {
		q, dot, t := tokens[i-2], tokens[i-1], tokens[i]
		if q.name(sql) == "main" && sql[dot.start:dot.end] == "." && isSchema(t.name(sql)) {
			for j := q.start; j < dot.end; j++ {
				text[j] = ' '
			}
		}
	}
	at := tokens[0].start
	if !with {
		return string(text[:at]) + "WITH " + schemaCTE + " " + string(text[at:])
	}
	at = tokens[0].end
	if len(tokens) > 1 && tokens[1].is(sql, "recursive") {
		at = tokens[1].end
	}
	return string(text[:at]) + " " + schemaCTE + ", " + string(text[at:])
}

// mentionsInternal reports whether a text has the internal prefix anywhere.
func mentionsInternal(s string) bool {
	if strings.IndexByte(s, '_') < 0 {
		return false
	}
	return strings.Contains(lower(s), InternalPrefix)
}

// isInternal reports whether a name is one of Coffer's own.
func isInternal(name string) bool {
	return len(name) >= len(InternalPrefix) && lower(name[:len(InternalPrefix)]) == InternalPrefix
}
