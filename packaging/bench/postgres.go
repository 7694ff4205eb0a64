package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// way is how PostgreSQL keeps the data of tenants apart.
type way interface {
	Name() string
	// Prepare is called once as the superuser, before there are tenants.
	Prepare(ctx context.Context, p *postgres) error
	Create(ctx context.Context, p *postgres, tenant int) error
	Fill(ctx context.Context, p *postgres, tenant int) error
	// Login says as whom to work for a tenant, and Pool which connections are its.
	Login(tenant int) (user, database string)
	Pool(p *postgres, tenant int) *pool
	// Begin puts what comes before the statements of a tenant into its request.
	Begin(b *pgx.Batch, tenant int)
	Insert() string
}

// postgres is a server of its own on an empty directory, with the settings of its
// package: fsync and synchronous_commit are on. TLS is, too.
type postgres struct {
	way
	n     size
	dir   string
	port  int
	cmd   *exec.Cmd
	admin *pgx.Conn
	pools []*pool
}

// password is everybody's: the server listens on the loopback for a few minutes.
const password = "bench"

func startPostgres(ctx context.Context, n size, w way, dir string) (*postgres, error) {
	p := &postgres{way: w, n: n, dir: dir}
	as, err := unprivileged()
	if err != nil {
		return nil, err
	}
	if err := p.initialize(as); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.port = l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return nil, err
	}
	program, err := find("postgres")
	if err != nil {
		return nil, err
	}
	log, err := os.Create(dir + ".log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(program, "-D", p.data(), "-p", strconv.Itoa(p.port), "-h", "127.0.0.1", "-k", dir,
		"-c", "ssl=on", "-c", "ssl_cert_file="+filepath.Join(dir, "server.crt"), "-c", "ssl_key_file="+filepath.Join(dir, "server.key"),
		"-c", fmt.Sprintf("max_connections=%d", n.tenants+4*n.connections))
	p.cmd.Dir, p.cmd.Stderr, p.cmd.SysProcAttr = dir, log, &syscall.SysProcAttr{Credential: as}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if p.admin, err = p.connect(ctx, "postgres", "postgres"); err == nil {
			break
		}
		if time.Now().After(end) {
			said, _ := os.ReadFile(log.Name())
			return nil, errors.Join(err, p.Close(), errors.New(string(said)))
		}
	}
	if err := p.Prepare(ctx, p); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *postgres) data() string { return filepath.Join(p.dir, "data") }

// find looks for a program of PostgreSQL, which Debian keeps out of the PATH.
func find(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	paths, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + program)
	if len(paths) == 0 {
		return "", fmt.Errorf("%s is not installed; run packaging/deps.sh postgresql", program)
	}
	return paths[len(paths)-1], nil
}

// unprivileged is as whom PostgreSQL runs, which refuses to as root; nil for
// whoever runs this.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

// initialize makes the directory with the certificate and an empty cluster.
func (p *postgres) initialize(as *syscall.Credential) error {
	program, err := find("initdb")
	if err != nil {
		return err
	}
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		return err
	}
	crt, key, err := certificate()
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"server.crt": crt, "server.key": key, "password": []byte(password)} {
		path := filepath.Join(p.dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
		if as != nil {
			if err := os.Chown(path, int(as.Uid), int(as.Gid)); err != nil {
				return err
			}
		}
	}
	if as != nil {
		if err := os.Chown(p.dir, int(as.Uid), int(as.Gid)); err != nil {
			return err
		}
	}
	cmd := exec.Command(program, "-D", p.data(), "-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--pwfile", filepath.Join(p.dir, "password"))
	cmd.Dir, cmd.SysProcAttr = p.dir, &syscall.SysProcAttr{Credential: as}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	// Nobody comes without TLS.
	return os.WriteFile(filepath.Join(p.data(), "pg_hba.conf"), []byte("hostssl all all 127.0.0.1/32 scram-sha-256\n"), 0o600)
}

// certificate makes one that vouches for itself, of the kind that Coffer has.
func certificate() (crt, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

func (p *postgres) connect(ctx context.Context, user, database string) (*pgx.Conn, error) {
	return pgx.Connect(ctx, p.address(user, database))
}

func (p *postgres) address(user, database string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=%s password=%s dbname=%s sslmode=verify-full sslrootcert=%s",
		p.port, user, password, database, filepath.Join(p.dir, "server.crt"))
}

// pool keeps connections that were opened before the measurement.
type pool struct{ idle chan *pgx.Conn }

func (p *postgres) newPool(ctx context.Context, tenant, connections int) (*pool, error) {
	out := &pool{make(chan *pgx.Conn, connections)}
	user, database := p.Login(tenant)
	for range connections {
		conn, err := p.connect(ctx, user, database)
		if err != nil {
			return nil, err
		}
		out.idle <- conn
	}
	p.pools = append(p.pools, out)
	return out, nil
}

func (p *postgres) Create(ctx context.Context, tenant int) error { return p.way.Create(ctx, p, tenant) }
func (p *postgres) Fill(ctx context.Context, tenant int) error   { return p.way.Fill(ctx, p, tenant) }

// fillSQL fills the table of a tenant, whose name is the first argument.
func (p *postgres) fillSQL() string {
	return fmt.Sprintf("SELECT n, $1::text || ' row ' || n || ' %s' FROM generate_series(1, %d) n", rest, p.n.rows)
}

func (p *postgres) Ready(ctx context.Context) error {
	for tenant := range p.n.tenants {
		if user, database := p.Login(tenant); tenant > 0 {
			if before, at := p.Login(tenant - 1); before == user && at == database {
				break // one pool is everybody's
			}
		}
		connections := 1
		if tenant == 0 {
			connections = p.n.connections
		}
		if _, err := p.newPool(ctx, tenant, connections); err != nil {
			return err
		}
	}
	_, err := p.admin.Exec(ctx, "CHECKPOINT") // so that the files hold what the log does
	return err
}

// with lends a connection of a tenant's.
func (p *postgres) with(tenant int, do func(*pgx.Conn) error) error {
	of := p.Pool(p, tenant)
	conn := <-of.idle
	defer func() { of.idle <- conn }()
	return do(conn)
}

func (p *postgres) Nothing(ctx context.Context) error {
	return p.with(0, func(c *pgx.Conn) error {
		var one int
		return c.QueryRow(ctx, "SELECT 1").Scan(&one)
	})
}

func (p *postgres) Read(ctx context.Context, tenant int, id int64) error {
	return p.with(tenant, func(c *pgx.Conn) error { return p.read(ctx, c, tenant, id) })
}

func (p *postgres) ReadAnew(ctx context.Context, tenant int, id int64) error {
	config, err := pgx.ParseConfig(p.address(p.Login(tenant)))
	if err != nil {
		return err
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // what is used once is not prepared first
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	return errors.Join(p.read(ctx, conn, tenant, id), conn.Close(ctx))
}

func (p *postgres) read(ctx context.Context, c *pgx.Conn, tenant int, id int64) error {
	var got string
	err := p.request(ctx, c, tenant, func(b *pgx.Batch) {
		b.Queue("SELECT v FROM items WHERE id = $1", id).QueryRow(func(row pgx.Row) error { return row.Scan(&got) })
	})
	if err != nil {
		return err
	}
	return check(got, tenant, id)
}

func (p *postgres) Insert(ctx context.Context, tenant int, id int64) error {
	return p.Batch(ctx, tenant, id, 1)
}

func (p *postgres) Batch(ctx context.Context, tenant int, id int64, rows int) error {
	return p.with(tenant, func(c *pgx.Conn) error {
		return p.request(ctx, c, tenant, func(b *pgx.Batch) {
			for i := range int64(rows) {
				b.Queue(p.way.Insert(), id+i, value(tenant, id+i))
			}
		})
	})
}

// request sends statements of a tenant at once, which are one transaction and one
// round trip.
func (p *postgres) request(ctx context.Context, c *pgx.Conn, tenant int, queue func(*pgx.Batch)) error {
	var b pgx.Batch
	p.Begin(&b, tenant)
	queue(&b)
	return c.SendBatch(ctx, &b).Close()
}

func (p *postgres) Processes() ([]int, error) { return withChildren(p.cmd.Process.Pid) }

func (p *postgres) Data() (dir, log string) { return p.data(), filepath.Join(p.data(), "pg_wal") }

func (p *postgres) Close() error {
	_ = p.cmd.Process.Signal(syscall.SIGINT) // ends sessions, then itself
	err := p.cmd.Wait()
	if _, exited := errors.AsType[*exec.ExitError](err); exited {
		err = fmt.Errorf("PostgreSQL: %w", err)
	}
	return err
}

// exec runs statements as the superuser.
func (p *postgres) exec(ctx context.Context, statements ...string) error {
	for _, sql := range statements {
		if _, err := p.admin.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", strings.Fields(sql)[:2], err)
		}
	}
	return nil
}

// oneDatabase has all rows in one table. Its policy shows those of the tenant
// that the transaction named, to a role that does not own the table.
type oneDatabase struct{}

func (*oneDatabase) Name() string { return "PostgreSQL, row-level security" }

func (*oneDatabase) Prepare(ctx context.Context, p *postgres) error {
	return p.exec(ctx,
		"CREATE TABLE items(tenant text NOT NULL DEFAULT current_setting('app.tenant'), id bigint NOT NULL, v text NOT NULL, PRIMARY KEY (tenant, id))",
		"ALTER TABLE items ENABLE ROW LEVEL SECURITY",
		"CREATE POLICY own ON items USING (tenant = current_setting('app.tenant')) WITH CHECK (tenant = current_setting('app.tenant'))",
		"CREATE ROLE app LOGIN PASSWORD '"+password+"'",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON items TO app")
}

func (*oneDatabase) Create(context.Context, *postgres, int) error { return nil } // its name in a row is all there is of it

func (*oneDatabase) Fill(ctx context.Context, p *postgres, tenant int) error {
	if _, err := p.admin.Exec(ctx, "INSERT INTO items(tenant, id, v) SELECT $1::text, f.* FROM ("+p.fillSQL()+") f", tenantID(tenant)); err != nil {
		return err
	}
	return p.exec(ctx, "ANALYZE items")
}

func (*oneDatabase) Login(int) (user, database string) { return "app", "postgres" }

func (*oneDatabase) Pool(p *postgres, _ int) *pool { return p.pools[0] }

// Begin names the tenant for the transaction only: a connection keeps no name
// for whoever has it next.
func (*oneDatabase) Begin(b *pgx.Batch, tenant int) {
	b.Queue("SELECT set_config('app.tenant', $1, true)", tenantID(tenant))
}

func (*oneDatabase) Insert() string { return "INSERT INTO items(id, v) VALUES ($1, $2)" }

// databaseEach has a database and a role for each tenant, and a connection to
// each that is kept open.
type databaseEach struct{}

func (*databaseEach) Name() string { return "PostgreSQL, a database for each" }

func (*databaseEach) Prepare(context.Context, *postgres) error { return nil }

func (w *databaseEach) Create(ctx context.Context, p *postgres, tenant int) error {
	user, database := w.Login(tenant)
	if err := p.exec(ctx,
		"CREATE ROLE "+user+" LOGIN PASSWORD '"+password+"'",
		"CREATE DATABASE "+database+" OWNER "+user,
		"REVOKE CONNECT ON DATABASE "+database+" FROM PUBLIC"); err != nil {
		return err
	}
	return w.as(ctx, p, tenant, func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, "CREATE TABLE items(id bigint PRIMARY KEY, v text NOT NULL)")
		return err
	})
}

func (w *databaseEach) Fill(ctx context.Context, p *postgres, tenant int) error {
	return w.as(ctx, p, tenant, func(c *pgx.Conn) error {
		if _, err := c.Exec(ctx, "INSERT INTO items(id, v) "+p.fillSQL(), tenantID(tenant)); err != nil {
			return err
		}
		_, err := c.Exec(ctx, "ANALYZE items")
		return err
	})
}

func (w *databaseEach) as(ctx context.Context, p *postgres, tenant int, do func(*pgx.Conn) error) error {
	user, database := w.Login(tenant)
	conn, err := p.connect(ctx, user, database)
	if err != nil {
		return err
	}
	return errors.Join(do(conn), conn.Close(ctx))
}

func (*databaseEach) Login(tenant int) (user, database string) {
	name := fmt.Sprintf("tenant_%03d", tenant)
	return name, name
}

func (*databaseEach) Pool(p *postgres, tenant int) *pool { return p.pools[tenant] }

func (*databaseEach) Begin(*pgx.Batch, int) {}

func (*databaseEach) Insert() string { return "INSERT INTO items(id, v) VALUES ($1, $2)" }
