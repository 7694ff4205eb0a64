package guard

import (
	"strings"

	"coffer/tenants/sqlite"
)

// Role is what the holder of a connection may do with SQL.
type Role int

// The roles. Owners and admins are Writers, analysts are Readers; a viewer's
// dashboards run as Reader too, on SQL that somebody else stored.
const (
	None    Role = iota // nothing
	Reader              // SELECT
	Writer              // SELECT, INSERT, UPDATE, DELETE and changes of the schema
	Trusted             // everything: Coffer's own work, never SQL from outside
)

// String is the role's name in messages.
func (r Role) String() string {
	switch r {
	case Reader:
		return "reader"
	case Writer:
		return "writer"
	case Trusted:
		return "trusted"
	}
	return "none"
}

// denial is why the authorizer refused: what, and the least role that may do
// it, None if no role may.
type denial struct {
	what  string
	needs Role
}

// authorize is the connection's authorizer.
func (g *Guard) authorize(a sqlite.Action, arg1, arg2, database, inside string) sqlite.Decision {
	if g.trusted {
		return sqlite.Allow
	}
	switch {
	case a == sqlite.ActionAnalyze && isInternal(arg1):
		return sqlite.Skip // ANALYZE of everything leaves it out
	case a == sqlite.ActionAlterTable:
		// Here arg1 is the database and the third word, if there is one, a
		// column that is dropped.
		database, arg1 = arg1, database
	}
	d, ok := g.judge(a, lower(arg1), lower(arg2), lower(database), inside)
	if ok {
		g.plan.note(a, arg1, arg2)
		return sqlite.Allow
	}
	if g.denied == nil {
		g.denied = &d
	}
	return sqlite.Deny
}

// judge decides on one action; the names are in lower case. The rules about
// names come first, so that no action goes past them.
func (g *Guard) judge(a sqlite.Action, arg1, arg2, database, inside string) (denial, bool) {
	if isInternal(arg1) || isInternal(arg2) {
		return denial{what: "a name that begins with " + InternalPrefix}, false
	}
	definition := g.plan.kind.definition()
	if database != "" && database != "main" && !(definition && isSchemaTable(arg1)) {
		return denial{what: "a temporary or attached database"}, false
	}
	if g.role != Reader && g.role != Writer {
		return denial{what: "SQL", needs: Reader}, false
	}
	switch a {
	case sqlite.ActionSelect, sqlite.ActionRecursive:
		return denial{}, true
	case sqlite.ActionRead:
		return g.judgeRead(arg1, inside, definition)
	case sqlite.ActionFunction:
		if allowedFunctions[arg2] || (g.plan.kind == KindAlter && alterFunctions[arg2]) {
			return denial{}, true
		}
		return denial{what: "the function " + arg2 + "()"}, false
	case sqlite.ActionPragma:
		return g.judgePragma(arg1, arg2)
	case sqlite.ActionTransaction, sqlite.ActionSavepoint:
		return denial{what: "transactions inside a statement"}, g.plan.kind.transaction()
	}
	return g.judgeChange(a, arg1, arg2, definition)
}

func isSchemaTable(name string) bool {
	return isSchema(name) || name == "sqlite_temp_master" || name == "sqlite_temp_schema"
}

// judgeRead is about reading a column. SQLite reports the schema table under
// its old name whatever the statement calls it.
func (g *Guard) judgeRead(table, inside string, definition bool) (denial, bool) {
	switch {
	case isSchemaTable(table):
		// A definition reads and writes it by itself; what the definition
		// would select from it was refused by its text.
		if inside == schemaReader || (definition && inside == "") {
			return denial{}, true
		}
		return denial{what: "reading " + table + " other than by a plain SELECT"}, false
	case strings.HasPrefix(table, "pragma_"):
		if tablePragmas[table] || (g.plan.kind == KindAlter && table == "pragma_quick_check") { // ADD COLUMN asks it
			return denial{}, true
		}
		return denial{what: "the table " + table}, false
	case strings.HasPrefix(table, "sqlite_"):
		if allowedSystemTables[table] {
			return denial{}, true
		}
		return denial{what: "the table " + table}, false
	case forbiddenTables[table]:
		return denial{what: "the table " + table}, false
	}
	return denial{}, true
}

func (g *Guard) judgePragma(name, arg string) (denial, bool) {
	p := pragmas[name]
	who := p.with
	if arg == "" {
		who = p.ask
	}
	if who.allows(g.role) {
		return denial{}, true
	}
	d := denial{what: "PRAGMA " + name}
	if who == writers {
		d.needs = Writer
	}
	return d, false
}

// names of the actions that change something, for messages. What is missing
// here is allowed to nobody.
var changes = map[sqlite.Action]string{
	sqlite.ActionInsert: "INSERT", sqlite.ActionUpdate: "UPDATE", sqlite.ActionDelete: "DELETE",
	sqlite.ActionCreateTable: "CREATE TABLE", sqlite.ActionDropTable: "DROP TABLE", sqlite.ActionAlterTable: "ALTER TABLE",
	sqlite.ActionCreateIndex: "CREATE INDEX", sqlite.ActionDropIndex: "DROP INDEX", sqlite.ActionReindex: "REINDEX",
	sqlite.ActionCreateView: "CREATE VIEW", sqlite.ActionDropView: "DROP VIEW",
	sqlite.ActionCreateTrigger: "CREATE TRIGGER", sqlite.ActionDropTrigger: "DROP TRIGGER",
	sqlite.ActionCreateVTable: "CREATE VIRTUAL TABLE", sqlite.ActionDropVTable: "DROP TABLE",
	sqlite.ActionAnalyze: "ANALYZE",
}

func (g *Guard) judgeChange(a sqlite.Action, arg1, arg2 string, definition bool) (denial, bool) {
	verb, ok := changes[a]
	if !ok {
		return denial{what: forbiddenVerb(a)}, false
	}
	if g.role != Writer {
		return denial{what: verb, needs: Writer}, false
	}
	switch a {
	case sqlite.ActionInsert, sqlite.ActionUpdate, sqlite.ActionDelete:
		// sqlite_sequence is for everybody to reset, the rest for SQLite.
		if strings.HasPrefix(arg1, "sqlite_") && arg1 != "sqlite_sequence" && !definition {
			return denial{what: verb + " on " + arg1}, false
		}
	case sqlite.ActionCreateVTable, sqlite.ActionDropVTable:
		if !allowedModules[arg2] {
			return denial{what: "the virtual table module " + arg2}, false
		}
	default:
		if !definition { // FTS5 makes its tables within a definition
			return denial{what: verb + " inside another statement"}, false
		}
	}
	return denial{}, true
}

func forbiddenVerb(a sqlite.Action) string {
	switch a {
	case sqlite.ActionAttach:
		return "ATTACH or VACUUM"
	case sqlite.ActionDetach:
		return "DETACH"
	}
	return "a temporary table, view, trigger or index"
}
