package app_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coffer/app"
	"coffer/app/domain"
	"coffer/audit"
)

// Size of the crash test. COFFER_CRASH_ROUNDS sets another number of rounds and
// COFFER_CRASH_SEED repeats a run as far as the scheduler lets it.
const (
	crashRounds  = 200 // kills under load
	crashClients = 16
	campaigns    = 8   // data directories on which the rounds are
	fullEvery    = 10  // rounds between verifications of everything
	mostAnswers  = 150 // answers in a round before the kill
)

// closedNow is the tenant that one client suspends while the others work in it.
const closedNow = "gamma"

// TestNothingAcknowledgedIsLost kills a serving Coffer again and again under a
// mixed load, and after each restart compares what is there, and what the log
// says, with what was acknowledged.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	rounds := fromEnvironment(t, "COFFER_CRASH_ROUNDS", crashRounds)
	seed := fromEnvironment(t, "COFFER_CRASH_SEED", int(time.Now().UnixNano()%1e9))
	t.Logf("COFFER_CRASH_SEED=%d", seed)
	for n := range campaigns {
		t.Run(fmt.Sprintf("campaign%d", n), func(t *testing.T) {
			t.Parallel()
			newCampaign(t, uint64(seed), uint64(n)).run((rounds + n) / campaigns) // together: rounds
		})
	}
}

func fromEnvironment(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// campaign is a series of rounds on one data directory.
type campaign struct {
	t       *testing.T
	rng     *rand.Rand
	data    string
	daemon  *served
	client  *http.Client
	places  []*place // shared tenants
	loaders []*loader
	ledgers map[string]*ledger
	sent    map[string][]*request // by the tenant of the log
	killing atomic.Bool           // the server may not answer any more
	killed  int                   // times
	startup time.Duration         // how long the last start took
	checks  atomic.Int64          // comparisons after restarts
}

func newCampaign(t *testing.T, seed, n uint64) *campaign {
	c := &campaign{
		t: t, rng: rand.New(rand.NewPCG(seed, n)), data: shortDir(t), ledgers: map[string]*ledger{"": newLedger("")},
		sent: map[string][]*request{},
	}
	for _, id := range []string{"alpha", "beta", closedNow} {
		c.places = append(c.places, &place{id: id})
		c.ledgers[id] = newLedger(id)
	}
	for id := range crashClients {
		l := &loader{id: id, rng: rand.New(rand.NewPCG(seed, n<<32+uint64(id)+1))}
		for _, p := range c.places {
			l.shared = append(l.shared, newHolding(p))
		}
		switch {
		case id >= crashClients-3:
			l.volatile = newHolding(&place{id: fmt.Sprintf("own-%d-0", id)})
		case id == crashClients-4:
			l.closes = c.places[2]
		}
		c.loaders = append(c.loaders, l)
	}
	return c
}

func (c *campaign) run(rounds int) {
	c.start()
	defer func() { c.daemon.kill() }()
	c.makeShared()
	answers := 0
	for round := range rounds {
		answers += c.load(round, c.kill)
		c.restart()
		c.verify(round%fullEvery == fullEvery-1 || round == rounds-1)
		if c.t.Failed() {
			c.t.Fatalf("after %d kills, in round %d; the server said:\n%s", c.killed, round, c.daemon.errors())
		}
	}
	answers += c.load(rounds, c.stop) // what is answered while it drains counts too
	c.verifyLogs()
	c.t.Logf("%d kills, %d answers, %d values compared, %d records in %d logs", c.killed, answers, c.checks.Load(), c.records(), len(c.ledgers))
}

// launch starts a server on the data directory and does not wait for it.
func (c *campaign) launch() {
	var err error
	if c.daemon, err = launch(c.data, os.Environ(), "--data", c.data, "--seal", "keyfile"); err != nil {
		c.t.Fatal(err)
	}
}

func (c *campaign) start() {
	began := time.Now()
	c.launch()
	if err := c.daemon.awaitReady(); err != nil {
		c.t.Fatalf("after %d kills: %v", c.killed, err)
	}
	c.startup = time.Since(began)
	c.killing.Store(false)
	c.client = app.SocketClient(c.data)
}

// restart starts the server again; in one of four rounds it is killed first
// while it starts and recovers, once or a few times.
func (c *campaign) restart() {
	for c.rng.IntN(4) == 0 {
		c.launch()
		select {
		case <-time.After(c.within(c.startup + c.startup/4)): // when to kill is the point, nothing is waited for
		case <-c.daemon.done:
			c.t.Fatalf("the server ended by itself: exit %d: %s", c.daemon.exitCode(), c.daemon.errors())
		}
		c.kill()
	}
	c.start()
}

// within is a random time below d.
func (c *campaign) within(d time.Duration) time.Duration {
	return time.Duration(c.rng.Int64N(int64(d)))
}

func (c *campaign) kill() {
	c.daemon.kill()
	c.killed++
	if text := c.daemon.errors(); strings.Contains(text, "panic") || strings.Contains(text, "audit alarm") {
		c.t.Errorf("the server said: %s", text)
	}
}

// stop ends the server in order.
func (c *campaign) stop() {
	code, err := c.daemon.stop()
	if err != nil || code != 0 {
		c.t.Fatalf("stopping: exit %d, %v: %s", code, err, c.daemon.errors())
	}
}

// makeShared makes the tenants that all clients work in.
func (c *campaign) makeShared() {
	for _, p := range c.places {
		l := c.loaders[0]
		h := newHolding(p)
		for _, r := range []*request{l.createTenant(h), l.createTable(h)} {
			l.sent = append(l.sent, r)
			if lost, wrong := r.send(c.t.Context(), c.client); lost != nil || wrong != nil {
				c.t.Fatal(lost, wrong)
			}
		}
	}
}

// load lets all clients work, ends the server at some moment after some
// answers, and gives the number of answers.
func (c *campaign) load(round int, end func()) int {
	const moment = 3 * time.Millisecond // longer than most requests take
	least, extra := int64(1+c.rng.IntN(mostAnswers)), c.within(moment)
	var answers atomic.Int64
	enough := make(chan struct{})
	var clients sync.WaitGroup
	for _, l := range c.loaders {
		l.round = round
		clients.Go(func() {
			for c.ask(l) {
				if answers.Add(1) == least {
					close(enough)
				}
			}
		})
	}
	select {
	case <-enough:
	case <-c.daemon.done:
		c.t.Errorf("the server ended by itself: exit %d: %s", c.daemon.exitCode(), c.daemon.errors())
	case <-time.After(patience):
		c.t.Errorf("%d answers in %v", answers.Load(), patience)
	}
	<-time.After(extra)
	c.killing.Store(true)
	end()
	clients.Wait()
	c.client.CloseIdleConnections()
	return int(answers.Load())
}

// ask makes one request of a client; false ends its round.
func (c *campaign) ask(l *loader) bool {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	r := l.next()
	lost, wrong := r.send(ctx, c.client)
	if c.killing.Load() && r.status == http.StatusServiceUnavailable {
		return false // it came too late to be read; the log must know nothing of it
	}
	if wrong != nil {
		c.t.Error(wrong)
		return false
	}
	if lost != nil && !c.killing.Load() {
		c.t.Errorf("no answer from a server that was not killed: %v", lost)
	}
	return lost == nil
}

// verifyLogs reads every log without the API, those of destroyed tenants too,
// and asks of all requests that were ever sent what the log says of them.
func (c *campaign) verifyLogs() {
	ledgers := map[string]*ledger{}
	if err := app.ReadLogs(c.t.Context(), c.data, func(tenant domain.TenantID, e audit.Entry) error {
		l := ledgers[string(tenant)]
		if l == nil {
			l = newLedger(string(tenant))
			ledgers[string(tenant)] = l
		}
		return l.add(line{
			seq: e.Header.Seq, leaf: e.Leaf.String(), kind: e.Header.Type.String(), action: e.Event.Action,
			client: e.Event.Client, outcome: e.Event.Outcome, intent: e.Event.Intent,
		})
	}); err != nil {
		c.t.Fatal(err)
	}
	for _, l := range c.loaders { // sent after the last kill
		for _, r := range l.sent {
			c.sent[r.log] = append(c.sent[r.log], r)
		}
	}
	known := map[string]bool{}
	for tenant, sent := range c.sent {
		l := ledgers[tenant]
		if l == nil {
			l = newLedger(tenant)
		}
		for _, r := range sent {
			known[r.tag] = true
			if _, err := l.verdict(r); err != nil {
				c.t.Error(err)
			}
		}
	}
	for tenant, l := range ledgers {
		if err := l.settled(); err != nil {
			c.t.Error(err)
		}
		for tag := range l.tagged {
			if !known[tag] {
				c.t.Errorf("the log of %q holds %s, which nobody sent there", tenant, tag)
			}
		}
	}
	c.ledgers = ledgers
}

func (c *campaign) records() (n int) {
	for _, l := range c.ledgers {
		n += len(l.all)
	}
	return n
}
