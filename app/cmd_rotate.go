package app

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
	"coffer/app/domain"
)

// rotateEvery is how often a command that waits for a rotation looks.
const rotateEvery = 300 * time.Millisecond

func newRotateCommand(std Stdio) *cli.Command {
	return group("rotate", "replace Coffer's own keys while it works",
		newRotateStatusCommand(std), newRotateStartCommand(std), newRotateResumeCommand(std))
}

func waitFlag() cli.Flag {
	return &cli.BoolFlag{Name: "wait", Usage: "stay until it is done, and show how far it is"}
}

// rotationsPath is where rotations are: of the tenant that is named, else of the
// appliance.
func (r *run) rotationsPath() (string, error) {
	if !r.IsSet("tenant") { // COFFER_TENANT must not make a rotation of the appliance one of a tenant
		return "/api/v1/rotations", nil
	}
	return r.tenantPath("rotations")
}

func newRotateStatusCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "status", Usage: "show rotations, what can be rotated, and what cannot", Flags: tenantFlags(waitFlag()),
	}, 0, 0, func(r *run) error {
		path, err := r.rotationsPath()
		if err != nil {
			return err
		}
		var out actions.RotationsOut
		if r.Bool("wait") {
			out, err = r.awaitRotations(path, func(actions.RotationInfo) bool { return true })
		} else {
			err = r.client.call(r.Context.Context, http.MethodGet, path, nil, nil, &out)
		}
		if err != nil {
			return err
		}
		return r.show(out, func(w io.Writer) { printRotations(w, out) })
	})
}

func newRotateStartCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "start", Usage: "begin a rotation, which goes on by itself", ArgsUsage: "root|table|control|kek|secrets", Flags: tenantFlags(waitFlag()),
	}, 1, 1, func(r *run) error {
		path, err := r.rotationsPath()
		if err != nil {
			return err
		}
		if r.Args().First() == "root-key" {
			return domain.Fieldf("kind", "the root key is under the key slots").WithHint("coffer seal rotate")
		}
		var out actions.RotationInfo
		if err := r.client.call(r.Context.Context, http.MethodPost, path, nil, actions.RotateIn{Kind: r.Args().First()}, &out); err != nil {
			return err
		}
		if r.Bool("wait") {
			all, err := r.awaitRotations(path, func(o actions.RotationInfo) bool { return o.ID == out.ID })
			if err != nil {
				return err
			}
			for _, o := range all.Rotations {
				if o.ID == out.ID {
					out = o
				}
			}
		}
		if err := r.show(out, func(w io.Writer) { printRotations(w, actions.RotationsOut{Rotations: []actions.RotationInfo{out}}) }); err != nil {
			return err
		}
		if out.State == "failed" {
			return domain.Errorf(domain.Unavailable, "the rotation stopped: %s", out.Why).WithHint("coffer rotate resume")
		}
		return nil
	})
}

func newRotateResumeCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "resume", Usage: "go on with rotations that stopped or wait", Flags: clientFlags(),
	}, 0, 0, func(r *run) error {
		return ask(r, http.MethodPost, "/api/v1/rotations/resume", nil, actions.Nothing{}, func(w io.Writer, out actions.RotationsOut) {
			fmt.Fprintf(w, "%d go on\n", len(out.Rotations))
		})
	})
}

// awaitRotations looks again and again until none of those that are wanted runs.
func (r *run) awaitRotations(path string, wanted func(actions.RotationInfo) bool) (out actions.RotationsOut, err error) {
	b := newBar(r.std.Err)
	defer b.end()
	tick := time.NewTicker(rotateEvery)
	defer tick.Stop()
	for {
		out = actions.RotationsOut{}
		if err := r.client.call(r.Context.Context, http.MethodGet, path, nil, nil, &out); err != nil {
			return out, err
		}
		running := false
		for _, o := range out.Rotations {
			if wanted(o) && o.State == "running" {
				running = true
				b.progress(o)
			}
		}
		if !running {
			return out, nil
		}
		select {
		case <-tick.C:
		case <-r.Context.Done():
			return out, domain.Errorf(domain.Unavailable, "interrupted; the rotation goes on").WithHint("see: coffer rotate status")
		}
	}
}

// progress shows a rotation.
func (b *bar) progress(o actions.RotationInfo) {
	const width = 30
	if b.w == nil {
		return
	}
	full := 0
	if o.Total > 0 {
		full = min(width, width*o.Done/o.Total)
	}
	fmt.Fprintf(b.w, "\r[%s%s] %s: %d of %d, %s ", strings.Repeat("#", full), strings.Repeat(".", width-full), o.Kind, o.Done, o.Total, clean(o.Step))
}

func printRotations(w io.Writer, out actions.RotationsOut) {
	var rows [][]string
	for _, o := range out.Rotations {
		of := string(o.Tenant)
		if of == "" {
			of = "all"
		}
		rows = append(rows, []string{o.Kind, of, o.State, fmt.Sprintf("%d/%d", o.Done, o.Total), timeText(o.Changed), clean(strings.TrimSpace(o.Step + " " + o.Why))})
	}
	table(w, []string{"KIND", "OF", "STATE", "DONE", "CHANGED", "STEP"}, rows)
	if len(out.Kinds) == 0 {
		return
	}
	fmt.Fprintln(w, "\ncan be rotated with: coffer rotate start KIND [-t TENANT]")
	for _, k := range out.Kinds {
		fmt.Fprintf(w, "  %-8s %-10s %s\n", k.Kind, k.Scope, k.Meaning)
	}
	fmt.Fprintln(w, "\nothers")
	for _, o := range out.Others {
		fmt.Fprintf(w, "  %s: %s\n", o.Key, o.How)
	}
}
