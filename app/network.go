package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"coffer/app/alerts"
	"coffer/app/cert"
	"coffer/app/domain"
	"coffer/app/httpd"
	"coffer/tenants"
)

// network is the one port: where it listens, what it shows and what it answers
// with.
type network struct {
	cfg    Config
	log    *slog.Logger
	server *httpd.Server
	tcp    net.Listener // nil if there is no port
	own    *cert.Own    // nil where a certificate was brought, or TLS is off
	brings *cert.Brought
	inbox  atomic.Pointer[alerts.Inbox] // nil until there is an appliance
}

// openNetwork listens, so that a port that is taken is found before anything
// else is done.
func openNetwork(cfg Config, log *slog.Logger, now func() time.Time) (*network, error) {
	n := &network{cfg: cfg, log: log}
	if cfg.Listen == listenOff {
		return n, nil
	}
	var err error
	switch {
	case !cfg.TLS:
	case cfg.TLSCert != "":
		n.brings, err = cert.OpenBrought(cfg.TLSCert, cfg.TLSKey, now, func(err error) {
			log.LogAttrs(context.Background(), slog.LevelError, "the certificate", slog.String("error", err.Error()))
			if inbox := n.inbox.Load(); inbox != nil {
				inbox.Raise(alerts.Certificate, "", "the certificate that was brought cannot be used, so the one before stays: "+err.Error())
			}
		})
	default:
		n.own, err = cert.OpenOwn(cfg.Data)
	}
	if err != nil {
		return nil, err
	}
	if n.tcp, err = net.Listen("tcp", cfg.Listen); err != nil {
		return nil, listenError(cfg.Listen, err)
	}
	return n, nil
}

// listenError says what to do about a port that cannot be had.
func listenError(addr string, err error) error {
	e := domain.Errorf(domain.Unavailable, "cannot listen on %s: %w", addr, err)
	if errors.Is(err, syscall.EADDRINUSE) {
		return e.WithHint("another program has that port: stop it, or choose another with --listen HOST:PORT; --listen off serves the local socket alone")
	}
	return e.WithHint("choose an address of this machine with --listen HOST:PORT")
}

// names are those of the certificate, as the machine is now.
func (n *network) names() cert.Names {
	hostname, _ := os.Hostname()
	addrs, _ := net.InterfaceAddrs()
	return cert.Machine(n.cfg.Names, hostname, addrs)
}

// renew makes the appliance's own certificate again if it is due.
func (n *network) renew(a *cert.Authority, now time.Time) error {
	if n.own == nil {
		return nil
	}
	made, err := n.own.Renew(a, n.names(), now)
	if made {
		n.log.LogAttrs(context.Background(), slog.LevelInfo, "made a certificate for this machine", slog.Time("ends", n.own.Expires()))
	}
	return err
}

// listener speaks what the configuration says.
func (n *network) listener() net.Listener {
	switch {
	case !n.cfg.TLS:
		return n.tcp
	case n.brings != nil:
		return httpd.TLS(n.tcp, n.brings.Certificate)
	}
	return httpd.TLS(n.tcp, n.own.Certificate)
}

// ready says whether the port can be served: there is a certificate, or none is
// needed.
func (n *network) ready() bool { return n.tcp != nil && (n.own == nil || n.own.Ready()) }

// watch reloads a certificate that was brought when the process is told to
// (SIGHUP), until the context ends.
func (n *network) watch(ctx context.Context) {
	if n.brings == nil {
		return
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			n.brings.Reload()
		}
	}
}

// Descriptors that the process needs besides those of tenants' files and of
// connections, and bounds on the latter.
const (
	otherFiles = 128
	leastConns = 64
	mostConns  = 4096
)

// maxConns is how many connections the port may have at once: what the limit of
// open files leaves once the tenants' files have theirs.
func maxConns() int {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return leastConns
	}
	files := int(min(lim.Cur, 1<<20))
	return min(max(files-tenants.MaxFiles(files)-otherFiles, leastConns), mostConns)
}

// close gives the port back.
func (n *network) close() error {
	if n == nil || n.tcp == nil {
		return nil
	}
	if err := n.tcp.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// url is the address that a person on this machine, or if the port is open to
// others a person elsewhere, can use. It is never one that nobody can connect to.
func (n *network) url() string {
	if n.tcp == nil {
		return ""
	}
	scheme := "https"
	if !n.cfg.TLS {
		scheme = "http"
	}
	port := n.tcp.Addr().(*net.TCPAddr).Port
	host := n.host()
	if port == 443 && n.cfg.TLS {
		if net.ParseIP(host) != nil && net.ParseIP(host).To4() == nil {
			host = "[" + host + "]"
		}
		return scheme + "://" + host + "/"
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port)) + "/"
}

// containerMarks stand in the root of a container: the machine's own names mean
// nothing outside of it.
var containerMarks = []string{"/.dockerenv", "/run/.containerenv"}

func (n *network) host() string {
	if len(n.cfg.Names) > 0 {
		return n.cfg.Names[0]
	}
	listening := n.tcp.Addr().(*net.TCPAddr).IP
	switch {
	case listening.IsLoopback():
		return "localhost"
	case !listening.IsUnspecified():
		return listening.String()
	}
	for _, mark := range containerMarks {
		if _, err := os.Stat(mark); err == nil {
			return "localhost"
		}
	}
	addrs, _ := net.InterfaceAddrs()
	var own []net.IP
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
			own = append(own, ip.IP)
		}
	}
	if name, err := os.Hostname(); err == nil && leadsTo(name, own) {
		return name
	}
	if len(own) > 0 {
		return own[0].String()
	}
	return "localhost"
}

// lookupTime bounds asking what a name leads to: offline nobody answers.
const lookupTime = 500 * time.Millisecond

// leadsTo says whether a host name leads to one of the addresses.
func leadsTo(name string, own []net.IP) bool {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTime)
	defer cancel()
	found, err := net.DefaultResolver.LookupIP(ctx, "ip", name)
	if err != nil {
		return false
	}
	for _, ip := range found {
		for _, mine := range own {
			if mine.Equal(ip) {
				return true
			}
		}
	}
	return false
}

// fingerprint is that of what clients have to trust, "" where nothing of
// Coffer's own has to be.
func (n *network) fingerprint() string {
	if n.own == nil {
		return ""
	}
	return cert.Fingerprint(n.own.Authority())
}
