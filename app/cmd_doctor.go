package app

import (
	"fmt"
	"io"
	"net/http"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
	"coffer/app/domain"
)

func newDoctorCommand(std Stdio) *cli.Command {
	return clientCommand(std, &cli.Command{
		Name: "doctor", Usage: "check everything on disk for damage; exit 6 if there is any", Flags: clientFlags(),
	}, 0, 0, func(r *run) error {
		var out actions.CheckOut
		if err := r.client.call(r.Context.Context, http.MethodPost, "/api/v1/check", nil, actions.Nothing{}, &out); err != nil {
			return err
		}
		if err := r.show(out, func(w io.Writer) {
			for _, p := range out.Parts {
				verdict := "good"
				if !p.OK {
					verdict = "BAD: " + clean(p.Problem)
				}
				if p.Note != "" {
					verdict = p.Note
				}
				fmt.Fprintf(w, "%-40s %s\n", p.Part, verdict)
			}
			for _, o := range out.Rotations {
				fmt.Fprintf(w, "rotation of %s %s: %s, %d of %d; %s\n", o.Kind, o.Tenant, o.State, o.Done, o.Total, clean(o.Step+" "+o.Why))
			}
			fmt.Fprintf(w, "workers of single tenants: %s\n", clean(out.Workers))
		}); err != nil {
			return err
		}
		if !out.OK {
			return domain.Errorf(domain.Tampered, "something on disk is damaged").
				WithHint("keep a copy for investigation, then restore the part from a backup")
		}
		return nil
	})
}
