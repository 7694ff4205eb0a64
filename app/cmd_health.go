package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
	"coffer/app/domain"
)

// healthTime is how long a Coffer that is well may take to answer.
const healthTime = 5 * time.Second

// newHealthCommand is for supervisors: a container without a shell or a web
// client asks the binary itself. It always asks the local socket, and nothing
// else in the environment, such as a token, can make it fail.
func newHealthCommand(std Stdio) *cli.Command {
	return &cli.Command{
		Name: "health", Usage: "exit 0 if Coffer answers at the local socket, sealed or not", OnUsageError: usageError,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "ready", Usage: "exit 0 only if it is open too"}, dataFlag()},
		Action: func(c *cli.Context) error {
			if err := wantArguments(c, 0, 0); err != nil {
				return err
			}
			data := dataDir(c, std)
			if data == "" {
				return domain.Fieldf("data", "no directory is named")
			}
			state, err := health(c.Context, newClient(socketPath(data), domain.Secret{}))
			if err == nil && state.Sealed && c.Bool("ready") {
				err = domain.Errorf(domain.Sealed, "Coffer is sealed").WithHint("open it with: coffer unseal")
			}
			if err != nil {
				return err
			}
			if state.Sealed {
				fmt.Fprintln(std.Out, "sealed")
			} else {
				fmt.Fprintln(std.Out, "open")
			}
			return nil
		},
	}
}

// health asks whether the server answers, and whether it is open.
func health(ctx context.Context, cl *client) (actions.SealState, error) {
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	var state actions.SealState
	err := cl.call(ctx, http.MethodGet, "/api/v1/seal", nil, nil, &state)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = domain.Errorf(domain.Unavailable, "Coffer does not answer within %s", healthTime)
	}
	return state, err
}
