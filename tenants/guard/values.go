package guard

import (
	"errors"
	"fmt"
	"strings"

	"coffer/app/domain"
	"coffer/tenants/sqlite"
)

// schemaConstraints are the failures whose text names what stands in the schema
// and nothing of a row.
var schemaConstraints = map[int]bool{
	sqlite.CodeConstraint | 1<<8:  true, // CHECK
	sqlite.CodeConstraint | 3<<8:  true, // FOREIGN KEY
	sqlite.CodeConstraint | 5<<8:  true, // NOT NULL
	sqlite.CodeConstraint | 6<<8:  true, // PRIMARY KEY
	sqlite.CodeConstraint | 8<<8:  true, // UNIQUE
	sqlite.CodeConstraint | 10<<8: true, // ROWID
	sqlite.CodeConstraint | 12<<8: true, // DATATYPE
}

// ownWords are the primary codes for which translate has words of its own.
var ownWords = map[int]bool{
	sqlite.CodeBusy: true, sqlite.CodeLocked: true, sqlite.CodeReadOnly: true, sqlite.CodeAuth: true, sqlite.CodeTooBig: true,
	sqlite.CodeNoMemory: true, sqlite.CodeFull: true, sqlite.CodeInterrupt: true, sqlite.CodeCorrupt: true,
	sqlite.CodeNotADB: true, sqlite.CodeIOErr: true, sqlite.CodeCantOpen: true,
}

// WithoutValues makes of an error of Stream one for somebody who may not read the
// database, but chose the statement: its text can have been made of rows then,
// by RAISE(), by a path into JSON or by a full-text query. SQLite's words stay
// only where they are known to be made of the schema.
func WithoutValues(err error) error {
	e, ours := errors.AsType[*domain.Error](err)
	cause, fromSQLite := errors.AsType[*sqlite.Error](err)
	if !ours || !fromSQLite || ownWords[cause.Primary()] || e.Kind == domain.Denied {
		return err
	}
	told := *e
	told.Field, told.Msg = "", fmt.Sprintf("it failed while it ran (%s)", cause.Name())
	switch {
	case schemaConstraints[cause.Code], cause.Primary() == sqlite.CodeError && strings.HasPrefix(cause.Message, "error in "):
		told.Msg = cause.Message
	case cause.Primary() == sqlite.CodeConstraint:
		told.Msg = "a trigger or a constraint refused it"
	}
	told.Err = &coded{Code(err), errors.New(told.Msg)}
	return &told
}
