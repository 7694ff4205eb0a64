package app_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// createKills is how many creations and destructions are cut off.
const createKills = 64

// TestCreateIsAllOrNothing kills the server at moments spread densely over the
// creation and the destruction of a tenant. After each restart the tenant must
// be there with all that it had, or gone with its keys and its directory, as the
// log says; an id that did not become a tenant must be free.
func TestCreateIsAllOrNothing(t *testing.T) {
	t.Parallel()
	seed := fromEnvironment(t, "COFFER_CRASH_SEED", int(time.Now().UnixNano()%1e9))
	t.Logf("COFFER_CRASH_SEED=%d", seed)
	c := newCampaign(t, uint64(seed), 1<<16)
	l := c.loaders[crashClients-1]
	l.shared, c.loaders, c.places = nil, []*loader{l}, nil
	c.start()
	defer func() { c.daemon.kill() }()

	took := map[string]time.Duration{} // without a kill
	for _, r := range []*request{l.createTenant(l.volatile), l.destroyTenant(l.volatile)} {
		began := time.Now()
		c.sure(l, r)
		took[r.action] = time.Since(began)
	}
	became, cuts := map[string]int{}, map[string]float64{}
	kills := max(4, createKills*fromEnvironment(t, "COFFER_CRASH_ROUNDS", crashRounds)/crashRounds)
	start := c.rng.Float64()
	for n := range kills {
		l.round = n
		r := c.prepare(l)
		// Multiples of the golden ratio, modulo 1, lie evenly however many are
		// taken, so that every step of both actions has its kills.
		_, share := math.Modf(start + cuts[r.action]*math.Phi)
		cuts[r.action]++
		undisturbed := took[r.action]
		if c.cut(l, r, time.Duration(1.2*share*float64(undisturbed))) < undisturbed/4 {
			took[r.action] /= 2 // that one was far slower than others: kills by it would all be too late
		}
		c.restart()
		c.verify(true)
		c.compareDirs()
		if t.Failed() {
			t.Fatalf("%v; after %d kills; the server said:\n%s", r, c.killed, c.daemon.errors())
		}
		became[r.action+" is now "+l.volatile.in.state]++
	}
	c.stop()
	c.verifyLogs()
	finished := c.bySystem()
	t.Logf("%d kills: %v, finished at the next start: %v; undisturbed they take %v", c.killed, became, finished, took)
	if kills == createKills && finished["tenant.create"]+finished["tenant.destroy"] == 0 {
		t.Error("no kill came between the intent and the end")
	}
}

// bySystem counts what starts had to finish, by action.
func (c *campaign) bySystem() map[string]int {
	out := map[string]int{}
	for _, l := range c.ledgers {
		for _, e := range l.all {
			if e.kind == "intent" && e.client == "coffer" {
				out[e.action]++
			}
		}
	}
	return out
}

// sure makes a request that has to go right.
func (c *campaign) sure(l *loader, r *request) {
	c.t.Helper()
	l.sent = append(l.sent, r)
	if lost, wrong := r.send(c.t.Context(), c.client); lost != nil || wrong != nil {
		c.t.Fatal(lost, wrong)
	}
}

// prepare gives a tenant that is there something to lose, and gives the request
// that is to be cut off: its destruction, or the creation of one that is not.
func (c *campaign) prepare(l *loader) *request {
	h := l.volatile
	switch h.in.state {
	case "active":
		if !h.in.table {
			c.sure(l, l.createTable(h))
		}
		for _, r := range []*request{l.insert(h), l.put(h), l.issue(h), l.createWorkload(h)} {
			c.sure(l, r)
		}
		return l.destroyTenant(h)
	case "destroyed":
		again := l.createTenant(h)
		again.want = []int{409}
		c.sure(l, again) // never given out again
	}
	return l.lifecycle()
}

// cut sends a request and kills the server after a while. It gives how long the
// answer took, if one came, else a long time.
func (c *campaign) cut(l *loader, r *request, after time.Duration) (took time.Duration) {
	l.sent = append(l.sent, r)
	took = math.MaxInt64
	done := make(chan struct{})
	go func() {
		defer close(done)
		began := time.Now()
		lost, wrong := r.send(c.t.Context(), c.client)
		if lost == nil {
			took = time.Since(began)
		}
		if wrong != nil {
			c.t.Error(wrong)
		}
	}()
	<-time.After(after) // when to kill is the point, nothing is waited for
	c.kill()
	<-done
	c.client.CloseIdleConnections()
	return took
}

// compareDirs wants a directory for each tenant that is there, and no other.
func (c *campaign) compareDirs() {
	entries, err := os.ReadDir(filepath.Join(c.data, "tenants"))
	if err != nil {
		c.t.Error(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	want := ids(c.live())
	slices.Sort(want)
	if !slices.Equal(got, want) {
		c.t.Errorf("directories of tenants: %v, want %v", got, want)
	}
}
