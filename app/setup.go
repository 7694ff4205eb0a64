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
	return "setup: " + linkText(link) + "\n"
}

// linkText is what is handed on of a link: the address at which it is opened, else
// what opens alone. It stands in the address's fragment, which browsers send to
// nobody.
func linkText(link actions.LinkOut) string {
	if link.URL.Len() > 0 {
		return string(link.URL.Reveal())
	}
	return string(link.Token.Reveal())
}
