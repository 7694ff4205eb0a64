package cryptvfs

import (
	"slices"
	"sync"

	"modernc.org/libc"
)

// mains lists the open main files by path, so that a log finds the main file
// of its connection.
var mains = mainTable{open: map[string][]*handle{}}

type mainTable struct {
	sync.Mutex
	open map[string][]*handle
}

func (t *mainTable) add(path string, h *handle) {
	t.Lock()
	defer t.Unlock()
	t.open[path] = append(t.open[path], h)
}

func (t *mainTable) remove(path string, h *handle) {
	t.Lock()
	defer t.Unlock()
	rest := slices.DeleteFunc(t.open[path], func(o *handle) bool { return o == h })
	if len(rest) == 0 {
		delete(t.open, path)
		return
	}
	t.open[path] = rest
}

// walOpened notes that the connection of tls opened the log of the database at
// path, and gives the main files noted. If no main file has that tls, a backup
// is opening it for another connection, and all that have no log are noted.
func (t *mainTable) walOpened(path string, tls *libc.TLS) []*handle {
	t.Lock()
	defer t.Unlock()
	var own, free []*handle
	for _, h := range t.open[path] {
		if h.tls == tls {
			own = append(own, h)
		}
		if h.wals.Load() == 0 {
			free = append(free, h)
		}
	}
	if own == nil {
		own = free
	}
	for _, h := range own {
		h.wals.Add(1)
	}
	return own
}
