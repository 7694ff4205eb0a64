package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"

	"github.com/urfave/cli/v2"

	"coffer/app/domain"
	"coffer/tenants/plain"
	"coffer/tenants/sqlite"
)

// newReadDBCommand is what the command line starts itself as, to read a plain
// database that may be hostile. It answers with its schema, then to each query
// on stdin with rows, as lines of JSON.
func newReadDBCommand(std Stdio) *cli.Command {
	return &cli.Command{
		Name: "read-db", Usage: "started by coffer import for a plain database", Hidden: true, OnUsageError: usageError,
		Action: func(c *cli.Context) error {
			if err := wantArguments(c, 1, 1); err != nil {
				return err
			}
			if err := plain.Confine(); err != nil {
				return err
			}
			return readDB(c.Context, std, c.Args().First())
		},
	}
}

// Lines of the conversation with the process that reads a database.
type readQuery struct {
	SQL  string      `json:"sql"`
	Args []wireValue `json:"args"`
	// Quiet looks at the rows and sends none.
	Quiet bool `json:"quiet,omitempty"`
	// Tally gives each different row once, and how many there are.
	Tally bool `json:"tally,omitempty"`
}

type readAnswer struct {
	Schema *plain.Schema `json:"schema,omitempty"`
	Row    []wireValue   `json:"row,omitempty"`
	End    bool          `json:"end,omitempty"`
	Error  string        `json:"error,omitempty"`
	Hint   string        `json:"hint,omitempty"`
}

func readDB(ctx context.Context, std Stdio, path string) error {
	out := bufio.NewWriterSize(std.Out, 1<<16)
	enc := json.NewEncoder(out)
	answer := func(a readAnswer) error { return errors.Join(enc.Encode(a), out.Flush()) }
	f, err := plain.Open(ctx, path)
	if err != nil {
		return answer(readFailure(err))
	}
	defer func() { _ = f.Close() }()
	schema, err := f.Read(ctx)
	if err != nil {
		return answer(readFailure(err))
	}
	if err := answer(readAnswer{Schema: &schema}); err != nil {
		return err
	}
	for in := json.NewDecoder(std.In); ; {
		var q readQuery
		if err := in.Decode(&q); err != nil {
			return nil // the other side has all it wants
		}
		args := make([]sqlite.Value, len(q.Args))
		for i, a := range q.Args {
			if args[i], err = a.value(); err != nil {
				return err
			}
		}
		wire := []wireValue{}
		end := readAnswer{End: true}
		read := f.Each
		if q.Tally {
			read = f.Tally
		}
		if err := read(ctx, q.SQL, args, func(row []sqlite.Value) error {
			if q.Quiet {
				return nil
			}
			wire = wire[:0]
			for _, v := range row {
				wire = append(wire, toWire(v))
			}
			return enc.Encode(readAnswer{Row: wire})
		}); err != nil {
			end = readFailure(err)
		}
		if err := answer(end); err != nil {
			return err
		}
	}
}

func readFailure(err error) readAnswer {
	a := readAnswer{Error: err.Error()}
	if e, ok := errors.AsType[*domain.Error](err); ok {
		a.Hint = e.Hint
	}
	return a
}
