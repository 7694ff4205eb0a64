package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"coffer/app/domain"
	"coffer/vault/seal"
)

// demoListen is where the demo listens, if that port is free: it is for this
// machine alone.
const demoListen = "127.0.0.1:8443"

func newServeCommand(std Stdio) *cli.Command {
	flags := append(settingFlags(),
		&cli.BoolFlag{Name: "demo", Usage: "on an empty data directory: walk the main job aloud, then serve"},
		&cli.BoolFlag{Name: "once", Usage: "with --demo: end after the walk; not 0 if a step came out otherwise than expected"},
	)
	return &cli.Command{
		Name: "serve", Usage: "run Coffer on a data directory", Flags: flags, OnUsageError: usageError,
		Action: func(c *cli.Context) error {
			if err := wantArguments(c, 0, 0); err != nil {
				return err
			}
			cfg, err := loadConfig(c, std)
			if err != nil {
				return err
			}
			if c.Bool("once") && !c.Bool("demo") {
				return domain.Errorf(domain.Invalid, "--once goes with --demo")
			}
			if _, source := settingNamed("listen").resolve(c, std); c.Bool("demo") && source == "default" {
				cfg.Listen, cfg.anyPort = demoListen, true
			}
			return serve(c.Context, cfg, std, c.Bool("demo"), c.Bool("once"))
		},
	}
}

func serve(ctx context.Context, cfg Config, std Stdio, demo, once bool) (err error) {
	if err := seal.HardenProcess(); err != nil {
		fmt.Fprintln(std.Err, "warning: core dumps could not be switched off: "+err.Error())
	}
	log := slog.New(slog.NewTextHandler(std.Err, nil))
	if demo {
		if err := checkEmpty(cfg.Data); err != nil {
			return err
		}
	}
	first := func() (domain.Secret, error) { return newPassphrase(std) }
	d, err := startDaemon(ctx, cfg, cfg.machine(std), log, first)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // asked to stop while starting, which a start takes as well as a crash
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close(context.WithoutCancel(ctx))) }()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var demoErr error
	var walking sync.WaitGroup
	err = d.run(ctx, func() { // not called if nobody can be answered
		d.printReady(std, d.setupLine(ctx))
		if !demo {
			return
		}
		walking.Go(func() {
			if demoErr = walk(ctx, d, std); once || demoErr != nil {
				stop()
			}
		})
	})
	stop()
	walking.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(demoErr, err)
}

// newPassphrase asks for a passphrase at the terminal, twice.
func newPassphrase(std Stdio) (domain.Secret, error) {
	p, err := prompt(std, "New passphrase: ")
	if err != nil {
		return p, err
	}
	again, err := prompt(std, "Again: ")
	if err == nil && !p.Equal(again) {
		err = domain.Fieldf("passphrase", "the two do not match")
	}
	return p, err
}

// printReady prints one block of "name: value" lines. setup is the line of the
// first operator's link, "" for none.
func (d *daemon) printReady(std Stdio, setup string) {
	state := d.gate.Status()
	var kinds []string
	for _, s := range state.Slots {
		kinds = append(kinds, string(s.Kind))
	}
	sealed := strings.Join(kinds, ", ")
	if state.Sealed {
		sealed += " (sealed: open it with coffer unseal)"
	}
	for _, n := range d.notices {
		fmt.Fprintln(std.Err, "notice: "+clean(n))
	}
	if state.Kind != seal.Keyfile && !state.Recovery {
		fmt.Fprintln(std.Err, "notice: there is no recovery key yet; make it before the first tenant: coffer seal recovery")
	} else if !state.Recovery {
		fmt.Fprintln(std.Err, "notice: there is no recovery key yet; make one: coffer seal recovery")
	}
	// The block is last: who waits for it has all that was said before.
	if url := d.net.url(); url != "" {
		fmt.Fprintf(std.Out, "url: %s\n", url)
	}
	fmt.Fprint(std.Out, setup)
	if print := d.net.fingerprint(); print != "" {
		fmt.Fprintf(std.Out, "ca-fingerprint: %s\n", print)
	}
	fmt.Fprintf(std.Out, "socket: %s\nseal: %s\ndata: %s\nversion: %s\n", socketPath(d.cfg.Data), sealed, d.cfg.Data, version())
}
