package app_test

import (
	"context"

	"github.com/rogpeppe/go-internal/testscript"

	"coffer/tenants/sqlite"
)

// databaseCommand makes a plain database as other programs do.
func databaseCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "database FILE SQLFILE")
	ts.Check(makePlain(ts.MkAbs(args[0]), ts.ReadFile(args[1])))
}

func makePlain(path, sql string) error {
	c, err := sqlite.Open("file:"+path, sqlite.Options{Mode: sqlite.Create})
	if err != nil {
		return err
	}
	if err := c.Exec(context.Background(), sql); err != nil {
		return err
	}
	return c.Close()
}
