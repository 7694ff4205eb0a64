package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"coffer/app/actions"
	"coffer/app/api"
	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/app/httpd"
	"coffer/app/sqlapi"
	"coffer/app/vaultapi"
	"coffer/tenants/fair"
	"coffer/ui"
)

// drainTime is how long requests that are under way may take when stopping.
const drainTime = 10 * time.Second

// daemon is one `coffer serve`: the lock on the data directory, the gate, the
// local socket, and the appliance behind the gate once it is open.
type daemon struct {
	cfg     Config
	machine actions.Machine
	log     *slog.Logger
	lock    *durable.Lock
	clock   *durable.Clock
	gate    *actions.Gate
	local   *httpd.Server // on the local socket
	net     *network      // nil without a port
	files   int           // connections that the tenants' files may have
	turns   *fair.Queue   // of statements and of large answers
	notices []string

	mu        sync.Mutex
	appliance *appliance
	opened    chan struct{} // closed when the appliance is there
}

// startDaemon locks the data directory, finds or makes the seal and opens the
// gate if that needs no person. first gives the passphrase of a first start.
func startDaemon(ctx context.Context, cfg Config, m actions.Machine, log *slog.Logger, first func() (domain.Secret, error)) (_ *daemon, err error) {
	d := &daemon{cfg: cfg, machine: m, log: log, turns: fair.New(fair.Options{}), opened: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close(context.WithoutCancel(ctx)))
		}
	}()
	if path := socketPath(cfg.Data); len(path) > maxSocketPath {
		return nil, domain.Fieldf("data", "the path of the local socket, %s, has more than the %d bytes that Linux allows", path, maxSocketPath).
			WithHint("choose a shorter --data DIR")
	}
	for _, dir := range []string{cfg.Data, vaultDir(cfg.Data), tenantsDir(cfg.Data)} {
		if err := durable.MkdirAll(dir); err != nil {
			return nil, dataError(cfg.Data, err)
		}
	}
	// What is in there is Coffer's alone, whoever made the directory.
	if err := os.Chmod(cfg.Data, 0o700); err != nil {
		return nil, dataError(cfg.Data, err)
	}
	if d.lock, err = durable.LockFile(lockPath(cfg.Data), time.Now); err != nil {
		return nil, lockError(cfg.Data, err)
	}
	for _, dir := range []string{cfg.Data, vaultDir(cfg.Data)} {
		if err := durable.SweepTemp(dir); err != nil { // what a crash left half written
			return nil, dataError(cfg.Data, err)
		}
	}
	if cfg.Listen != noPort {
		if d.net, err = newNetwork(cfg, log); err != nil {
			return nil, diskError(cfg.Data, err)
		}
		d.cfg.url = cmp.Or(cfg.url, d.net.url())
	}
	if d.clock, err = durable.OpenClock(clockPath(cfg.Data), cfg.wall, nil); err != nil {
		return nil, damagedPart(err)
	}
	file, opener, err := d.findSeal(ctx, first)
	if err != nil {
		return nil, err
	}
	d.gate = actions.NewGate(file, m, d.open)
	if err := d.prepareServers(); err != nil {
		return nil, err
	}
	if opener == nil {
		return d, nil
	}
	unlocked, err := d.gate.Open(ctx, opener)
	if err != nil && !unlocked {
		d.notice("sealed: " + err.Error())
		d.notice(domain.HintOf(err))
		return d, nil // a person can still open it
	}
	return d, err
}

// prepareServers makes the server of the local socket and that of the port.
func (d *daemon) prepareServers() error {
	port, socket, files, err := shares()
	if err != nil {
		return err
	}
	d.files = files
	native, sql, secrets, health := api.New(d.gate, d.log), sqlapi.New(d.gate, d.log), vaultapi.New(d.gate, d.log), httpd.NewHealth(d.isOpen)
	d.local = httpd.New(d.log, httpd.Options{MaxConns: socket, Now: d.clock.Now}, native, sql, secrets, health)
	if d.net != nil {
		d.net.answer(port, d.turns, d.clock.Now, native, sql, secrets, d.pages(), health)
	}
	return nil
}

// isOpen says whether the appliance is unsealed. It never waits.
func (d *daemon) isOpen() bool {
	select {
	case <-d.opened:
		return true
	default:
		return false
	}
}

// pages are what people see, over the port alone.
func (d *daemon) pages() *ui.UI {
	o := ui.Options{Plain: !d.cfg.TLS, URL: d.cfg.url, Version: version(), Now: d.cfg.wall}
	if own := d.net.own; own != nil {
		o.CA = func() ([]byte, string) { return own.Authority(), own.Fingerprint() }
	}
	return ui.New(d.gate, d.log, o)
}

// notice remembers a sentence for the operator.
func (d *daemon) notice(text string) {
	if text != "" {
		d.notices = append(d.notices, text)
	}
}

// lockError says who holds the data directory.
func lockError(data string, err error) error {
	if held, ok := errors.AsType[*durable.HeldError](err); ok {
		return domain.Errorf(domain.Conflict, "another Coffer works on %s: %v", data, held).
			WithHint("use that one, or stop it first; two on one directory would destroy it")
	}
	return dataError(data, err)
}

// dataError says what to do about a directory that cannot be written.
func dataError(data string, err error) error {
	e := domain.Errorf(domain.Unavailable, "the data directory %s cannot be used: %w", data, err)
	if errors.Is(err, fs.ErrPermission) {
		return e.WithHint("%s", ownerHint(data, os.Geteuid(), os.Getegid(), os.Getpid() == 1))
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return e.WithHint("make room on its disk, then start again")
	}
	return e.WithHint("choose another with --data DIR")
}

// ownerHint says whose the data directory must be. contained is for the first
// process of a container: what it sees at the path is a directory of the host
// under another name, and only there somebody can change its owner.
func ownerHint(data string, uid, gid int, contained bool) string {
	if contained {
		return fmt.Sprintf("it must belong to uid %d, as which Coffer runs in this container; on the host: chown -R %d:%d DIR, where DIR is the directory mounted at %s", uid, uid, gid, data)
	}
	return fmt.Sprintf("it must belong to the user that runs Coffer: chown -R %d:%d %s", uid, gid, data)
}

// diskError gives what the system said of a file a kind and a hint, unless
// somebody did already.
func diskError(data string, err error) error {
	if _, ours := errors.AsType[*domain.Error](err); ours {
		return err
	}
	if _, system := errors.AsType[syscall.Errno](err); !system {
		return err
	}
	return dataError(data, err)
}

// damagedPart gives a damaged file of layer 0, which knows no kinds, its kind.
func damagedPart(err error) error {
	return domain.Errorf(domain.Tampered, "%w", err).WithHint("restore the file from a backup; it was left as it is")
}

// open is what the gate does with the root key.
func (d *daemon) open(ctx context.Context, root domain.Secret) (*actions.Service, error) {
	a, err := openAppliance(ctx, d.cfg, d.machine, d.gate.File(), root, d.clock, d.files, d.turns, d.log)
	if err != nil {
		return nil, diskError(d.cfg.Data, err)
	}
	if d.net != nil {
		d.net.inbox.Store(a.alerts)
		d.net.attach(ctx, a.db)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.appliance = a
	close(d.opened)
	return a.service, nil
}

// listen opens the local socket.
func (d *daemon) listen() (net.Listener, error) {
	path := socketPath(d.cfg.Data)
	if err := durable.MkdirAll(filepath.Dir(path)); err != nil {
		return nil, dataError(d.cfg.Data, err)
	}
	// Whoever holds the lock owns the socket: one that is there is left over.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, dataError(d.cfg.Data, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, dataError(d.cfg.Data, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(dataError(d.cfg.Data, err), l.Close())
	}
	return httpd.Peers(l), nil
}

// maxSocketPath is what sockaddr_un holds (unix(7)), less the final NUL.
const maxSocketPath = 107

// run serves until the context ends, then drains. ready is called when requests
// are answered.
func (d *daemon) run(ctx context.Context, ready func()) error {
	l, err := d.listen()
	if err != nil {
		return err
	}
	if d.net != nil && !d.net.ready() {
		d.notice("there is no certificate yet, so the TLS port stays closed until Coffer is unsealed")
		if err := d.net.retreat(); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.local.Serve(l) })
	if d.net != nil {
		group.Go(func() error { return d.net.run(ctx, d.opened) })
	}
	group.Go(func() error {
		<-ctx.Done()
		return d.drain(context.WithoutCancel(ctx))
	})
	group.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-d.opened:
			return d.appliance.watch(ctx)
		}
	})
	group.Go(func() error {
		select {
		case <-ctx.Done():
		case <-d.opened:
			d.appliance.service.Rotate(ctx)
		}
		return nil
	})
	ready()
	return group.Wait()
}

// drain ends both servers at once, within drainTime.
func (d *daemon) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	var group errgroup.Group
	group.Go(func() error { return d.local.Shutdown(ctx) })
	if d.net != nil {
		group.Go(func() error { return d.net.server.Shutdown(ctx) })
	}
	return group.Wait()
}

// close gives everything back, in the reverse order of startDaemon.
func (d *daemon) close(ctx context.Context) error {
	var errs []error
	d.mu.Lock()
	if d.appliance != nil {
		errs = append(errs, d.appliance.close(ctx))
		d.appliance = nil
	}
	d.mu.Unlock()
	if d.net != nil {
		errs = append(errs, d.net.close())
	}
	if d.clock != nil {
		errs = append(errs, d.clock.Close())
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
	}
	return errors.Join(errs...)
}
