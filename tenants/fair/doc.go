// Package fair shares a fixed number of execution slots among tenants by what
// their statements cost, so that one with cheap statements does not wait behind
// one with expensive ones.
//
// A statement enters the first of two lanes. Waiting tenants are served by
// deficit round-robin (Shreedhar and Varghese, 1995), with one change: what a
// statement costs is known only when it has run, so a tenant is served while its
// account is above zero, an estimate is taken off at once, and the difference
// is settled afterwards. Nobody saves up while away; debts stay for a while.
//
// A statement that has run for a quantum is heavy: it gives its slot back and
// goes on only with one of the second lane, of which there are fewer than
// processors; after a while it is told to move elsewhere, if it can. Go preempts a goroutine every 10 ms,
// so that as many busy ones as processors would make everybody wait so long.
// In the second lane a statement hands its slot on after each slice, if another
// waits for it.
//
// Time in which a statement waits for whoever takes its rows costs next to
// nothing, and its slot can be taken away meanwhile.
//
// The package knows neither SQL nor tenants and owns no file. It keeps no
// goroutine.
package fair
