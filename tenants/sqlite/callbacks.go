package sqlite

import (
	"sync"
	"time"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// Decision is what an Authorizer answers.
type Decision int32

// The decisions (https://www.sqlite.org/c3ref/c_deny.html). Skip leaves out
// what was asked for without an error; for a column that is read it means NULL
// instead of the value.
const (
	Allow Decision = sqlite3.SQLITE_OK
	Deny  Decision = sqlite3.SQLITE_DENY
	Skip  Decision = sqlite3.SQLITE_IGNORE
)

// Action is what a statement under compilation wants to do.
type Action int32

// The actions with the meaning of their two arguments
// (https://www.sqlite.org/c3ref/c_alter_table.html).
const (
	ActionCreateIndex       Action = sqlite3.SQLITE_CREATE_INDEX        // index, table
	ActionCreateTable       Action = sqlite3.SQLITE_CREATE_TABLE        // table, -
	ActionCreateTempIndex   Action = sqlite3.SQLITE_CREATE_TEMP_INDEX   // index, table
	ActionCreateTempTable   Action = sqlite3.SQLITE_CREATE_TEMP_TABLE   // table, -
	ActionCreateTempTrigger Action = sqlite3.SQLITE_CREATE_TEMP_TRIGGER // trigger, table
	ActionCreateTempView    Action = sqlite3.SQLITE_CREATE_TEMP_VIEW    // view, -
	ActionCreateTrigger     Action = sqlite3.SQLITE_CREATE_TRIGGER      // trigger, table
	ActionCreateView        Action = sqlite3.SQLITE_CREATE_VIEW         // view, -
	ActionDelete            Action = sqlite3.SQLITE_DELETE              // table, -
	ActionDropIndex         Action = sqlite3.SQLITE_DROP_INDEX          // index, table
	ActionDropTable         Action = sqlite3.SQLITE_DROP_TABLE          // table, -
	ActionDropTempIndex     Action = sqlite3.SQLITE_DROP_TEMP_INDEX     // index, table
	ActionDropTempTable     Action = sqlite3.SQLITE_DROP_TEMP_TABLE     // table, -
	ActionDropTempTrigger   Action = sqlite3.SQLITE_DROP_TEMP_TRIGGER   // trigger, table
	ActionDropTempView      Action = sqlite3.SQLITE_DROP_TEMP_VIEW      // view, -
	ActionDropTrigger       Action = sqlite3.SQLITE_DROP_TRIGGER        // trigger, table
	ActionDropView          Action = sqlite3.SQLITE_DROP_VIEW           // view, -
	ActionInsert            Action = sqlite3.SQLITE_INSERT              // table, -
	ActionPragma            Action = sqlite3.SQLITE_PRAGMA              // pragma, argument
	ActionRead              Action = sqlite3.SQLITE_READ                // table, column
	ActionSelect            Action = sqlite3.SQLITE_SELECT              // -, -
	ActionTransaction       Action = sqlite3.SQLITE_TRANSACTION         // operation, -
	ActionUpdate            Action = sqlite3.SQLITE_UPDATE              // table, column
	ActionAttach            Action = sqlite3.SQLITE_ATTACH              // file, -
	ActionDetach            Action = sqlite3.SQLITE_DETACH              // database, -
	ActionAlterTable        Action = sqlite3.SQLITE_ALTER_TABLE         // database, table
	ActionReindex           Action = sqlite3.SQLITE_REINDEX             // index, -
	ActionAnalyze           Action = sqlite3.SQLITE_ANALYZE             // table, -
	ActionCreateVTable      Action = sqlite3.SQLITE_CREATE_VTABLE       // table, module
	ActionDropVTable        Action = sqlite3.SQLITE_DROP_VTABLE         // table, module
	ActionFunction          Action = sqlite3.SQLITE_FUNCTION            // -, function
	ActionSavepoint         Action = sqlite3.SQLITE_SAVEPOINT           // operation, name
	ActionRecursive         Action = sqlite3.SQLITE_RECURSIVE           // -, -
)

// Authorizer decides on one action of a statement under compilation. The
// database is "main", "temp" or ""; inside names the innermost trigger or view
// that the action comes from, "" if it stands in the statement itself. It must
// not use the connection. SQLite compiles a statement again when the schema
// changed, during a Step.
type Authorizer func(a Action, arg1, arg2, database, inside string) Decision

// SetAuthorizer installs fn, or with nil takes the authorizer away. Every
// prepared statement is compiled, and so judged, again before it next runs;
// the cache is emptied.
func (c *Conn) SetAuthorizer(fn Authorizer) error {
	c.cache.flush()
	c.authorize = fn
	var trampoline uintptr
	if fn != nil {
		trampoline = callback(authorizeTrampoline)
	}
	if rc := sqlite3.Xsqlite3_set_authorizer(c.tls, c.db, trampoline, c.db); rc != sqlite3.SQLITE_OK {
		return fault(c.tls, c.db, rc)
	}
	return nil
}

// watchPeriod is the number of virtual machine instructions between two looks
// at the end of a context: well below a millisecond of work.
const watchPeriod = 1000

// progress calls a function of the caller's beside the look at the context.
type progress struct {
	period int // instructions between two calls of the trampoline
	every  int // calls of the trampoline for one of fn
	seen   int
	fn     func() bool
}

// SetProgress has fn called about every nOps virtual machine instructions of a
// running statement; when it returns false the statement stops with
// SQLITE_INTERRUPT. Nil takes it away. It must not use the connection.
func (c *Conn) SetProgress(nOps int, fn func() bool) {
	c.progress = progress{period: watchPeriod, every: 1, fn: fn}
	if fn != nil {
		c.progress.period = max(1, min(nOps, watchPeriod))
		c.progress.every = max(1, nOps/c.progress.period)
	}
	c.installProgress()
}

func (c *Conn) installProgress() {
	sqlite3.Xsqlite3_progress_handler(c.tls, c.db, int32(c.progress.period), callback(progressTrampoline), c.db)
}

// conns finds the Conn of a handle for the trampolines, which C code calls
// with nothing but that handle.
var conns sync.Map // uintptr of sqlite3* → *Conn

func register(c *Conn) { conns.Store(c.db, c) }

// unregister forgets a connection that is closed. By then another one may have got
// the same address, which stays.
func unregister(db uintptr, c *Conn) { conns.CompareAndDelete(db, c) }

func connOf(db uintptr) *Conn {
	c, _ := conns.Load(db)
	conn, _ := c.(*Conn)
	return conn
}

// authorizeTrampoline is xAuth. Without a Conn or a function it denies.
func authorizeTrampoline(_ *libc.TLS, db uintptr, action int32, z1, z2, database, inside uintptr) int32 {
	c := connOf(db)
	if c == nil || c.authorize == nil {
		return int32(Deny)
	}
	return int32(c.authorize(Action(action), libc.GoString(z1), libc.GoString(z2), libc.GoString(database), libc.GoString(inside)))
}

// progressTrampoline returns non-zero to stop the statement. It runs on the
// goroutine of the statement.
func progressTrampoline(_ *libc.TLS, db uintptr) int32 {
	c := connOf(db)
	if c == nil || (c.running != nil && c.running.fired.Load()) {
		return 1
	}
	p := &c.progress
	if p.fn == nil {
		return 0
	}
	if p.seen++; p.seen < p.every {
		return 0
	}
	p.seen = 0
	if p.fn() {
		return 0
	}
	return 1
}

// busyDelays is the schedule of SQLite's own busy handler.
var busyDelays = [...]time.Duration{1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, 100}

// busyTrampoline waits before the next try to get a lock, and returns 0 to
// give up. Unlike SQLite's own it stops waiting when the context ends.
func busyTrampoline(_ *libc.TLS, db uintptr, tries int32) int32 {
	c := connOf(db)
	if c == nil {
		return 0
	}
	last := busyDelays[len(busyDelays)-1]
	delay, waited := last, time.Duration(0)
	for i := range int(tries) {
		waited += busyDelays[min(i, len(busyDelays)-1)] * time.Millisecond
	}
	if int(tries) < len(busyDelays) {
		delay = busyDelays[tries]
	}
	delay = min(delay*time.Millisecond, c.busyTimeout-waited)
	if delay <= 0 {
		return 0
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	var done <-chan struct{} // nil blocks for ever
	if c.running != nil {
		done = c.running.ctx.Done()
	}
	select {
	case <-done:
		return 0
	case <-timer.C:
		return 1
	}
}
