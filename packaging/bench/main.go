// Command bench gives the same work to Coffer and to PostgreSQL, each as it is
// meant to be used over a network, and prints what both did as tables for
// docs/performance.md. It is a module of its own: the driver that it needs is
// nothing that Coffer needs.
//
// PostgreSQL is asked in both ways in which it keeps the data of clients apart:
// one database with row-level security, and a database for each.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// size is how much there is of everything.
type size struct {
	tenants, rows, connections, batch int

	each   time.Duration // for each kind of work, system and round
	rounds int           // the medians of which are printed
	only   string        // in the name of a kind of work, to leave out others
}

// system is what is measured. Its methods are for any number of goroutines; each
// is one unit of work, which is durable when the method returns. Tenants are
// counted from 0, ids from 1.
type system interface {
	Name() string
	// Create makes a tenant without rows, and Fill gives it its rows.
	Create(ctx context.Context, tenant int) error
	Fill(ctx context.Context, tenant int) error
	// Ready is called when all tenants are filled.
	Ready(ctx context.Context) error
	Nothing(ctx context.Context) error
	Read(ctx context.Context, tenant int, id int64) error
	// ReadAnew is Read on a connection that is opened for it.
	ReadAnew(ctx context.Context, tenant int, id int64) error
	Insert(ctx context.Context, tenant int, id int64) error
	// Batch inserts rows from id on in one transaction.
	Batch(ctx context.Context, tenant int, id int64, rows int) error
	// Processes are all that the system runs.
	Processes() ([]int, error)
	// Data is the directory of its files, and Log what part of it is a log.
	Data() (dir, log string)
	Close() error
}

func main() {
	var n size
	flag.IntVar(&n.tenants, "tenants", 100, "how many tenants")
	flag.IntVar(&n.rows, "rows", 1000, "rows of each")
	flag.IntVar(&n.connections, "connections", 8, "how many ask at once")
	flag.IntVar(&n.batch, "batch", 100, "inserts in a transaction")
	flag.DurationVar(&n.each, "time", 5*time.Second, "for each kind of work, system and round")
	flag.IntVar(&n.rounds, "rounds", 3, "how often; the medians are printed")
	flag.StringVar(&n.only, "only", "", "kinds of work whose name contains this")
	alone := flag.Bool("alone", false, "leave PostgreSQL out")
	binary := flag.String("coffer", "../../bin/coffer", "the program")
	temp := flag.String("dir", "", "where the data directories are made (default: that of temporary files)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, n, *binary, *temp, *alone); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, n size, binary, temp string, alone bool) (err error) {
	dir, err := os.MkdirTemp(temp, "coffer-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o711); err != nil { // PostgreSQL has another user's directory in it
		return err
	}
	if err := printFlush(dir); err != nil {
		return err
	}
	var systems []system
	defer func() {
		for _, s := range systems {
			err = errors.Join(err, s.Close())
		}
	}()
	coffer, err := startCoffer(ctx, n, binary, filepath.Join(dir, "coffer"))
	if err != nil {
		return fmt.Errorf("starting Coffer: %w", err)
	}
	systems = append(systems, coffer)
	ways := []way{&oneDatabase{}, &databaseEach{}}
	if alone {
		ways = nil
	}
	for i, way := range ways {
		p, err := startPostgres(ctx, n, way, filepath.Join(dir, fmt.Sprintf("postgres-%d", i)))
		if err != nil {
			return fmt.Errorf("starting PostgreSQL: %w", err)
		}
		systems = append(systems, p)
	}
	if err := fill(ctx, n, systems); err != nil {
		return err
	}
	return measure(ctx, n, systems)
}
