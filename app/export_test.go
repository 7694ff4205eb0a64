package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"coffer/app/domain"
)

// ServeForTest runs a Coffer on a data directory until the context ends. ready
// is called once requests are answered.
// wall is its wall clock, nil for the machine's.
func ServeForTest(ctx context.Context, data string, wall func() time.Time, ready func()) (err error) {
	cfg := Config{Data: data, Seal: "keyfile", TPM: "/dev/null", AuditSpace: 1 << 30, wall: wall}
	d, err := startDaemon(ctx, cfg, cfg.machine(Stdio{Env: func(string) string { return "" }}), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return err
	}
	runErr := d.run(ctx, ready)
	if closeErr := d.close(context.WithoutCancel(ctx)); closeErr != nil {
		return closeErr
	}
	return runErr
}

// DemoForTest serves a new data directory, walks the demo on it, and stops.
func DemoForTest(ctx context.Context, data string, out io.Writer) (err error) {
	cfg := Config{Data: data, Seal: "keyfile", TPM: "/dev/null", AuditSpace: 1 << 30}
	std := Stdio{Out: out, Err: out, Env: func(string) string { return "" }}
	d, err := startDaemon(ctx, cfg, cfg.machine(std), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var walkErr error
	var walking sync.WaitGroup
	runErr := d.run(ctx, func() {
		walking.Go(func() {
			walkErr = walk(ctx, d, std)
			stop()
		})
	})
	walking.Wait()
	return errors.Join(walkErr, runErr, d.close(context.WithoutCancel(ctx)))
}

// SocketClient is an HTTP client for the local socket of a data directory.
func SocketClient(data string) *http.Client { return newClient(socketPath(data), domain.Secret{}).http }

// DecodeIdentity reads an identity record.
func DecodeIdentity(b []byte) error {
	var id identity
	return decodeIdentity(b, &id)
}
