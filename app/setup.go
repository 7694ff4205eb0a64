package app

import (
	"context"
	"log/slog"

	"coffer/app/actions"
)

// origin is under which name browsers reach the appliance, for passkeys; "" if
// they do not.
func (c Config) origin() string { return c.url }

// setupLine is the line of the ready block with which the first operator comes in,
// "" once there is one, and while Coffer is sealed. The link stands nowhere else.
func (d *daemon) setupLine(ctx context.Context) string {
	service, err := d.gate.Service()
	if err != nil {
		return "" // sealed: coffer setup-link gives one afterwards
	}
	link, made, err := service.FirstSetupLink(ctx)
	if err != nil {
		d.log.LogAttrs(ctx, slog.LevelError, "making the first setup link", slog.String("error", err.Error()))
	}
	if !made {
		return ""
	}
	return "setup: " + linkURL(d.cfg.origin(), link) + "\n"
}

// linkURL is the address of a link. What opens stands in the fragment, which
// browsers send to nobody; where there is no address the fragment is all.
func linkURL(origin string, link actions.LinkOut) string {
	page := "/setup"
	if link.Tenant != "" {
		page = "/join"
	}
	if origin == "" {
		return string(link.Token.Reveal())
	}
	return origin + page + "#" + string(link.Token.Reveal())
}
