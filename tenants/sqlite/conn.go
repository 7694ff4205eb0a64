package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	sqlite3 "modernc.org/sqlite/lib"
)

// Mode says what a connection may do with its file.
type Mode int

// The modes. A write through a ReadOnly connection fails with
// SQLITE_READONLY whatever the SQL says.
const (
	ReadOnly  Mode = iota // the file must exist
	ReadWrite             // the file must exist
	Create                // the file is made if it is missing
)

// Defaults of Options.
const (
	DefaultBusyTimeout     = 5 * time.Second
	DefaultStatementsCache = 64
)

// Options say how to open a connection. The zero value is a read-only
// connection with the defaults above.
type Options struct {
	Mode Mode

	// BusyTimeout is how long a statement waits for a lock that another
	// connection holds, 0 for DefaultBusyTimeout, negative for not at all.
	BusyTimeout time.Duration

	// CacheStatements is the number of idle prepared statements kept, 0 for
	// DefaultStatementsCache, negative for none.
	CacheStatements int
}

// Conn is one connection. It is for one goroutine at a time, except for
// Interrupt; it may move between goroutines that hand it over properly.
type Conn struct {
	tls         *libc.TLS
	db          uintptr // sqlite3*
	account     uintptr // see heap.go
	out         uintptr // two pointers that prepare writes: statement, tail
	text        buffer  // the SQL text of the prepare in progress
	busyTimeout time.Duration
	cache       cache
	live        map[*Stmt]struct{} // statements that are handed out

	authorize Authorizer
	progress  progress

	mu      sync.Mutex // guards running and closed against Interrupt and ends of contexts
	running *watch
	closed  bool
}

var startup sync.Once

// Open opens the database that a URI names, e.g. "file:/x/data.db?vfs=coffer".
// Parameters of the URI choose the VFS and what it needs; the mode is set by
// the options, and a mode= in the URI can only narrow it.
func Open(uri string, o Options) (*Conn, error) {
	if strings.IndexByte(uri, 0) >= 0 {
		return nil, errors.New("opening a database: the URI has a NUL byte")
	}
	startup.Do(sqlite3.PatchIssue199)

	c := &Conn{
		tls:         libc.NewTLS(),
		busyTimeout: orDefault(o.BusyTimeout, DefaultBusyTimeout),
		live:        map[*Stmt]struct{}{},
	}
	c.cache.limit = orDefault(o.CacheStatements, DefaultStatementsCache)
	c.progress.period = watchPeriod
	if err := c.open(uri, o.Mode); err != nil {
		return nil, errors.Join(fmt.Errorf("opening a database: %w", err), c.Close())
	}
	return c, nil
}

// orDefault is d for 0, 0 for a negative and v for any other v.
func orDefault[T int | time.Duration](v, d T) T {
	switch {
	case v == 0:
		return d
	case v < 0:
		return 0
	}
	return v
}

func (c *Conn) open(uri string, mode Mode) error {
	flags := int32(sqlite3.SQLITE_OPEN_READONLY)
	switch mode {
	case ReadOnly:
	case ReadWrite:
		flags = sqlite3.SQLITE_OPEN_READWRITE
	case Create:
		flags = sqlite3.SQLITE_OPEN_READWRITE | sqlite3.SQLITE_OPEN_CREATE
	default:
		return fmt.Errorf("mode %d is not known", mode)
	}
	// NOMUTEX: a connection is used by one goroutine at a time, so its own
	// mutex would only cost. The library itself stays thread-safe.
	flags |= sqlite3.SQLITE_OPEN_URI | sqlite3.SQLITE_OPEN_NOMUTEX | sqlite3.SQLITE_OPEN_PRIVATECACHE

	var err error
	if c.account, err = newAccount(c.tls); err != nil {
		return err
	}
	const pointers = 2 * pointerSize
	if c.out = libc.Xcalloc(c.tls, 1, types.Size_t(pointers)); c.out == 0 {
		return errNoMemory()
	}
	if err := c.text.set(c.tls, uri); err != nil {
		return err
	}
	rc := sqlite3.Xsqlite3_open_v2(c.tls, c.text.p, c.out, flags, 0)
	c.db = loadPointer(c.out) // set on failure too, to carry the message
	if rc != sqlite3.SQLITE_OK {
		return fault(c.tls, c.db, rc)
	}
	register(c)
	return c.harden()
}

// switches are the settings of sqlite3_db_config that every connection gets.
var switches = []struct {
	op int32
	on int32
}{
	{sqlite3.SQLITE_DBCONFIG_DEFENSIVE, 1},
	{sqlite3.SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0},
	{sqlite3.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
	{sqlite3.SQLITE_DBCONFIG_DQS_DDL, 0},
	{sqlite3.SQLITE_DBCONFIG_DQS_DML, 0},
	{sqlite3.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
	{sqlite3.SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0},
	{sqlite3.SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, 0},
}

// harden sets what every connection has before its first statement. DQS in
// particular must be set before anything is prepared.
func (c *Conn) harden() error {
	if rc := sqlite3.Xsqlite3_extended_result_codes(c.tls, c.db, 1); rc != sqlite3.SQLITE_OK {
		return fault(c.tls, c.db, rc)
	}
	for _, s := range switches {
		if err := c.configure(s.op, s.on); err != nil {
			return fmt.Errorf("setting option %d: %w", s.op, err)
		}
	}
	if rc := sqlite3.Xsqlite3_busy_handler(c.tls, c.db, callback(busyTrampoline), c.db); rc != sqlite3.SQLITE_OK {
		return fault(c.tls, c.db, rc)
	}
	c.installProgress()
	if err := c.defineFunctions(); err != nil {
		return err
	}
	return c.boundFullText()
}

// configure calls sqlite3_db_config in its (int, int*) form. libc packs each
// variable argument into 8 bytes.
func (c *Conn) configure(op, on int32) error {
	args := libc.Xmalloc(c.tls, 2*8)
	if args == 0 {
		return errNoMemory()
	}
	defer libc.Xfree(c.tls, args)
	if rc := sqlite3.Xsqlite3_db_config(c.tls, c.db, op, libc.VaList(args, on, uintptr(0))); rc != sqlite3.SQLITE_OK {
		return fault(c.tls, c.db, rc)
	}
	return nil
}

// Close finalizes every statement, those handed out included, rolls back an
// open transaction and closes the file. It is safe to call twice.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.mu.Unlock()

	c.cache.flush()
	for s := range c.live {
		s.unwatch()
		s.finalize()
	}
	c.live = nil
	var err error
	if c.db != 0 {
		if rc := sqlite3.Xsqlite3_close(c.tls, c.db); rc != sqlite3.SQLITE_OK {
			err = fmt.Errorf("closing a database: %w", fault(c.tls, c.db, rc))
			sqlite3.Xsqlite3_close_v2(c.tls, c.db)
		}
		unregister(c.db, c)
		c.db = 0
	}
	c.text.free(c.tls)
	if c.out != 0 {
		libc.Xfree(c.tls, c.out)
		c.out = 0
	}
	if c.account != 0 {
		closeAccount(c.tls, c.account)
	}
	c.tls.Close()
	return err
}

// Exec runs every statement of a text to its end and drops the rows. It is for
// the program's own statements: nothing is bound and nothing is reported.
func (c *Conn) Exec(ctx context.Context, sql string) error {
	for strings.TrimSpace(sql) != "" {
		s, tail, err := c.Prepare(ctx, sql)
		if err != nil {
			return err
		}
		sql = tail
		if s == nil {
			continue // a comment
		}
		for row := true; row && err == nil; {
			row, err = s.Step(ctx)
		}
		if cerr := s.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Limit is a run-time limit of a connection
// (https://www.sqlite.org/c3ref/c_limit_attached.html).
type Limit int32

// The limits.
const (
	LimitLength            Limit = sqlite3.SQLITE_LIMIT_LENGTH // bytes of a value or row
	LimitSQLLength         Limit = sqlite3.SQLITE_LIMIT_SQL_LENGTH
	LimitColumn            Limit = sqlite3.SQLITE_LIMIT_COLUMN
	LimitExprDepth         Limit = sqlite3.SQLITE_LIMIT_EXPR_DEPTH
	LimitCompoundSelect    Limit = sqlite3.SQLITE_LIMIT_COMPOUND_SELECT
	LimitVDBEOp            Limit = sqlite3.SQLITE_LIMIT_VDBE_OP
	LimitFunctionArg       Limit = sqlite3.SQLITE_LIMIT_FUNCTION_ARG
	LimitAttached          Limit = sqlite3.SQLITE_LIMIT_ATTACHED
	LimitLikePatternLength Limit = sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH
	LimitVariableNumber    Limit = sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER
	LimitTriggerDepth      Limit = sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH
	LimitWorkerThreads     Limit = sqlite3.SQLITE_LIMIT_WORKER_THREADS
	LimitParserDepth       Limit = sqlite3.SQLITE_LIMIT_PARSER_DEPTH
	LimitSchema            Limit = sqlite3.SQLITE_LIMIT_SCHEMA        // bytes of memory of the parsed schema
	LimitTriggerSteps      Limit = sqlite3.SQLITE_LIMIT_TRIGGER_STEPS // steps of one trigger program
)

// SetLimit sets a limit and returns the one before. A negative n only asks. A
// value over the one compiled in is cut to it.
func (c *Conn) SetLimit(id Limit, n int) int {
	return int(sqlite3.Xsqlite3_limit(c.tls, c.db, int32(id), int32(n)))
}

// Changes is the number of rows that the last INSERT, UPDATE or DELETE that
// ended changed, triggers and foreign-key actions not counted.
func (c *Conn) Changes() int64 { return sqlite3.Xsqlite3_changes64(c.tls, c.db) }

// TotalChanges is the number of rows changed since the connection was opened,
// triggers and foreign-key actions counted.
func (c *Conn) TotalChanges() int64 { return sqlite3.Xsqlite3_total_changes64(c.tls, c.db) }

// LastInsertRowID is the rowid of the last successful INSERT, 0 if none.
func (c *Conn) LastInsertRowID() int64 { return sqlite3.Xsqlite3_last_insert_rowid(c.tls, c.db) }

// SetLastInsertRowID sets what LastInsertRowID and last_insert_rowid() say.
func (c *Conn) SetLastInsertRowID(id int64) {
	sqlite3.Xsqlite3_set_last_insert_rowid(c.tls, c.db, id)
}

// InTransaction reports whether a transaction is open. Some errors, a full
// disk among them, end a transaction by themselves.
func (c *Conn) InTransaction() bool { return sqlite3.Xsqlite3_get_autocommit(c.tls, c.db) == 0 }

// Interrupt stops the statement that is running now, if any, with
// SQLITE_INTERRUPT. It may be called from any goroutine, and after Close.
func (c *Conn) Interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.interruptLocked()
	}
}

// interruptLocked runs on a foreign goroutine while a statement may run on
// c.tls, which is not safe to share: hence a TLS of its own.
func (c *Conn) interruptLocked() {
	tls := libc.NewTLS()
	defer tls.Close()
	sqlite3.Xsqlite3_interrupt(tls, c.db)
}
