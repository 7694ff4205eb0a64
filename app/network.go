package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"coffer/app/alerts"
	"coffer/app/cert"
	"coffer/app/domain"
	"coffer/app/httpd"
	"coffer/app/store"
	"coffer/tenants/fair"
)

// renewEvery is how often is looked whether the certificate is due, or the
// machine has other names or addresses.
const renewEvery = time.Minute

// network is the TLS port of a daemon: its certificate, its listener, and the
// server that answers there.
type network struct {
	cfg     Config
	log     *slog.Logger
	own     *cert.Own     // nil with a brought one, or without TLS
	brought *cert.Brought // nil with Coffer's own, or without TLS
	server  *httpd.Server
	inbox   atomic.Pointer[alerts.Inbox] // nil until there is an appliance

	mu       sync.Mutex
	listener net.Listener // nil while the port is closed
}

// newNetwork opens the port, so that one that is taken is found before anything
// else, and reads the certificate, if there is one yet.
func newNetwork(cfg Config, log *slog.Logger) (n *network, err error) {
	n = &network{cfg: cfg, log: log}
	if err := n.bind(); err != nil {
		return nil, err
	}
	switch {
	case !cfg.TLS:
	case cfg.TLSCert != "":
		n.brought, err = cert.OpenBrought(cfg.TLSCert, cfg.TLSKey, cfg.wall, n.badPair)
	default:
		n.own, err = cert.OpenOwn(cert.Options{Data: cfg.Data, Names: cfg.Names, Now: cfg.wall})
	}
	if err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// answer sets what answers at the port.
func (n *network) answer(conns int, turns *fair.Queue, now func() time.Time, surfaces ...httpd.Surface) {
	n.server = httpd.New(n.log, httpd.Options{MaxConns: conns, Proxies: n.cfg.Proxies, HSTS: n.brought != nil, Turns: turns, Now: now}, surfaces...)
}

// trouble tells the operator of the certificate.
func (n *network) trouble(what string, err error) {
	n.log.LogAttrs(context.Background(), slog.LevelError, what, slog.String("error", err.Error()))
	if inbox := n.inbox.Load(); inbox != nil {
		inbox.Raise(alerts.Certificate, "", what+": "+err.Error())
	}
}

func (n *network) badPair(err error) {
	n.trouble("the certificate that was brought cannot be used, so the one before stays", err)
}

// attach gives the certificate its authority once the control store is open. A
// port without a certificate stays closed; it is no reason to close the socket.
func (n *network) attach(ctx context.Context, db *store.Store) {
	if n.own == nil {
		return
	}
	replaced, err := n.own.Attach(ctx, db)
	if err != nil {
		n.trouble("the certificate of this machine could not be made", err)
	}
	if replaced {
		n.log.LogAttrs(ctx, slog.LevelWarn, "there is a new certificate authority: clients must be told to trust it",
			slog.String("fingerprint", n.own.Fingerprint()))
	}
}

// ready says whether the port can answer: there is a certificate, or none is
// needed.
func (n *network) ready() bool { return n.own == nil || n.own.Ready() }

// bind opens the port.
func (n *network) bind() error {
	l, err := net.Listen("tcp", n.cfg.Listen)
	if errors.Is(err, syscall.EADDRINUSE) && n.cfg.anyPort {
		host, _, _ := net.SplitHostPort(n.cfg.Listen) // it was checked
		l, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return listenError(n.cfg.Listen, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listener = l
	return nil
}

// listenError says what to do about a port that cannot be opened.
func listenError(address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return domain.Errorf(domain.Unavailable, "the port %s is in use by another program", address).
			WithHint("stop that one, or choose another port: --listen :8444")
	case errors.Is(err, syscall.EACCES):
		return domain.Errorf(domain.Unavailable, "the port %s may not be opened by this user", address).
			WithHint("choose a port above 1023: --listen :8443")
	}
	return domain.Errorf(domain.Unavailable, "the address %s cannot be listened on: %w", address, err).
		WithHint("choose another: --listen HOST:PORT")
}

// bound is the address of the open port.
func (n *network) bound() (netip.AddrPort, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listener == nil {
		return netip.AddrPort{}, false
	}
	a, ok := n.listener.Addr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port()), true
}

// retreat closes the port, whose address is kept for later, where there is no
// certificate yet: who connected would wait for nothing.
func (n *network) retreat() error {
	if n.ready() {
		return nil
	}
	n.mu.Lock()
	n.cfg.Listen = n.listener.Addr().String()
	n.mu.Unlock()
	err := n.close()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listener = nil
	return err
}

// run serves on the port until Shutdown. One that was closed for want of a
// certificate is opened when Coffer is.
func (n *network) run(ctx context.Context, opened <-chan struct{}) error {
	if _, open := n.bound(); !open {
		select {
		case <-ctx.Done():
			return nil
		case <-opened:
		}
		if !n.ready() {
			return nil // attach said why; whoever unsealed at the socket is being served there
		}
		if err := n.bind(); err != nil {
			n.log.LogAttrs(ctx, slog.LevelError, "the port stays closed", slog.String("error", err.Error()))
			return nil
		}
		n.log.LogAttrs(ctx, slog.LevelInfo, "the port is open", slog.String("url", n.url()))
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		l := n.listener
		if n.cfg.TLS {
			l = httpd.TLS(l, n.certificate())
		}
		return n.server.Serve(l)
	})
	group.Go(func() error { return n.maintain(ctx) })
	return group.Wait()
}

func (n *network) certificate() func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if n.brought != nil {
		return n.brought.Certificate
	}
	return n.own.Certificate
}

// maintain renews the certificate when it is due, and looks at once on SIGHUP.
func (n *network) maintain(ctx context.Context) error {
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP)
	defer signal.Stop(hangUp)
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangUp:
			if n.brought != nil {
				if err := n.brought.Reload(); err != nil {
					n.badPair(err)
				}
			}
		case <-tick.C:
		}
		if n.own != nil {
			if err := n.own.Renew(); err != nil {
				n.trouble("the certificate of this machine could not be renewed", err)
			}
		}
	}
}

// close gives back what was never served.
func (n *network) close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listener == nil {
		return nil
	}
	if err := n.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// url is where people find the port, without a slash at its end: never an address
// that means "any".
func (n *network) url() string {
	if n == nil {
		return ""
	}
	at, open := n.bound()
	if !open {
		return ""
	}
	scheme := "https"
	if !n.cfg.TLS {
		scheme = "http"
	}
	host := n.host(at.Addr())
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return scheme + "://" + host + ":" + strconv.Itoa(int(at.Port()))
}

func (n *network) host(at netip.Addr) string {
	switch {
	case len(n.cfg.Names) > 0:
		return n.cfg.Names[0]
	case at.IsLoopback() || inContainer():
		return "localhost"
	case !at.IsUnspecified():
		return at.String()
	}
	machine := cert.Machine()
	own := map[netip.Addr]bool{}
	for _, a := range machine.Addresses {
		own[a.Unmap()] = !a.IsLoopback() && !a.IsLinkLocalUnicast()
	}
	for _, h := range machine.Hosts {
		if resolvesTo(h, own) {
			return strings.ToLower(h)
		}
	}
	for _, a := range machine.Addresses {
		if own[a.Unmap()] {
			return a.Unmap().String()
		}
	}
	return "localhost"
}

// resolveTime is how long the name service may take for the machine's own name.
const resolveTime = time.Second

// resolvesTo says whether a host name leads to one of these addresses.
func resolvesTo(host string, own map[netip.Addr]bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), resolveTime)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return false
	}
	for _, a := range found {
		if own[a.Unmap()] {
			return true
		}
	}
	return false
}

// inContainer says whether this is the inside of a container, whose addresses
// mean nothing to people outside.
func inContainer() bool { return !missing("/.dockerenv") || !missing("/run/.containerenv") }

// fingerprint is that of the authority, which people compare with what their
// client says; "" where nothing of Coffer's own has to be trusted.
func (n *network) fingerprint() string {
	if n == nil || n.own == nil {
		return ""
	}
	return n.own.Fingerprint()
}

// fdReserve are the descriptors that neither connections nor tenants' files get:
// the journal, the stores, what is open for a moment.
const fdReserve = 256

// Connections at once, if the process may have the descriptors.
const (
	maxConnections   = 2048 // at the TLS port; 100 MB if all are open
	maxSocketClients = 256  // at the local socket
)

// shares divides the descriptors that the process may have: a third for
// connections, the rest for tenants' files, of which one connection takes three.
func shares() (port, socket, files int, err error) {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return 0, 0, 0, fmt.Errorf("reading the limit of open files: %w", err)
	}
	rest := max(0, int(min(lim.Cur, 1<<20))-fdReserve)
	socket = min(maxSocketClients, max(rest/12, 8))
	port = min(maxConnections, max(rest/4, 16))
	return port, socket, max(0, rest-port-socket) / 3, nil
}
