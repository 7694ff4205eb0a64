package app

import (
	"github.com/urfave/cli/v2"

	"coffer/tenants/worker"
)

// newWorkerCommand is what Coffer starts itself as, to keep the database of one
// tenant in a process of its own. It refuses to be started by anybody else.
func newWorkerCommand(std Stdio) *cli.Command {
	return &cli.Command{
		Name: "worker", Usage: "started by Coffer for one tenant's database", Hidden: true, OnUsageError: usageError,
		Action: func(c *cli.Context) error {
			if err := wantArguments(c, 0, 0); err != nil {
				return err
			}
			return worker.Main(c.Context, std.Env)
		},
	}
}
