// Package worker keeps connections to one tenant's database in a process of its
// own, so that what a statement does there to memory and CPU happens to nobody
// else, and a process that must be ended is ended alone.
//
// The process is this binary, started as `coffer worker` with one end of a socket
// as file descriptor 3; FORMAT.md gives what is said over it. Start is the
// parent's side, Main the other.
//
//   - A worker serves one file, which the first message names, and guards its
//     connections as the parent would (tenants/guard).
//   - It has no key but those of this file's pages that it has asked for: the
//     parent derives each and sends it over the socket. None is in an argument,
//     the environment or on a disk, and the worker cannot ask for another file's.
//   - It ends with its parent: at the end of the socket, and by the kernel's hand
//     if the thread that started it ends.
//   - The parent trusts nothing that it says: every message is decoded strictly
//     and bounded, and one that must not come ends the worker.
//   - Confined says how it is limited: by a cgroup of its own where the parent may
//     make one, else by nice, resource limits and a watchdog of the parent over
//     its resident memory. Go does not start under RLIMIT_AS or RLIMIT_DATA of any
//     useful size.
//
// The package owns no file.
package worker
