package app

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"coffer/app/domain"
)

// ServeForTest runs a Coffer on a data directory until the context ends. ready
// is called once requests are answered.
// wall is its wall clock, nil for the machine's.
func ServeForTest(ctx context.Context, data string, wall func() time.Time, ready func()) (err error) {
	cfg := Config{Data: data, Seal: "keyfile", TPM: "/dev/null", AuditSpace: 1 << 30, Listen: "127.0.0.1:0", TLS: true, wall: wall}
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

// SocketClient is an HTTP client for the local socket of a data directory.
func SocketClient(data string) *http.Client { return newClient(socketPath(data), domain.Secret{}).http }

// DecodeIdentity reads an identity record.
func DecodeIdentity(b []byte) error {
	var id identity
	return decodeIdentity(b, &id)
}
