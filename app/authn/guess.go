package authn

import (
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
	"time"

	"coffer/app/domain"
)

// Guesses slows guessing down. A device that signed in before has a budget of its
// own for its person; everybody else shares one for the name that they try, known
// or not, and has one for where they come from. So whoever hammers a name locks
// out strangers alone, and not the person at the usual browser (OWASP, "device
// cookies"). An attempt is paid for before it is looked at, and given back when
// it was right.
//
// The budgets are tables of fixed size under a random hash: names and addresses
// without number take no memory, and nobody can choose whose place they share.
type Guesses struct {
	sources, names, devices, codes, keys *budgets
}

// How many attempts in a row, and then how long for each further one.
const (
	sourceBurst, sourceEvery = 30, 10 * time.Second
	nameBurst, nameEvery     = 10, 90 * time.Second
	deviceBurst, deviceEvery = 10, 90 * time.Second
	codeBurst, codeEvery     = 10, 90 * time.Second
	keyBurst, keyEvery       = 5, 5 * time.Minute
)

// NewGuesses makes full budgets.
func NewGuesses() *Guesses {
	return &Guesses{
		sources: newBudgets(sourceBurst, sourceEvery), names: newBudgets(nameBurst, nameEvery),
		devices: newBudgets(deviceBurst, deviceEvery), codes: newBudgets(codeBurst, codeEvery),
		keys: newBudgets(keyBurst, keyEvery),
	}
}

// Attempt is one that was admitted.
type Attempt struct{ paid []payment }

type payment struct {
	from *budgets
	key  string
}

// Right gives back what the attempt cost.
func (a Attempt) Right() {
	for _, p := range a.paid {
		p.from.give(p.key)
	}
}

// Stranger admits an attempt from a device that nobody knows.
func (g *Guesses) Stranger(source, name string, now time.Time) (Attempt, error) {
	return admit(now, payment{g.sources, place(source)}, payment{g.names, name})
}

// Device admits an attempt from a known device of a person.
func (g *Guesses) Device(person string, device domain.Secret, now time.Time) (Attempt, error) {
	return admit(now, payment{g.devices, person + " " + string(device.Reveal())})
}

// Code admits a code of a person who is signed in already.
func (g *Guesses) Code(person string, now time.Time) (Attempt, error) {
	return admit(now, payment{g.codes, person})
}

// ClientKey admits a client-held key that an owner of the tenant presents.
func (g *Guesses) ClientKey(tenant string, now time.Time) (Attempt, error) {
	return admit(now, payment{g.keys, tenant})
}

func admit(now time.Time, each ...payment) (a Attempt, err error) {
	for _, p := range each {
		if wait := p.from.take(p.key, now); wait > 0 {
			a.Right() // what was paid already
			return Attempt{}, domain.Errorf(domain.Limit, "too many attempts").
				WithHint("try again in %v", (wait + time.Second).Truncate(time.Second))
		}
		a.paid = append(a.paid, p)
	}
	return a, nil
}

// place is where a request came from, as far as one attacker's places count as
// one: the address without its port, of IPv6 the network, all of the local socket.
func place(source string) string {
	addr, err := netip.ParseAddr(source)
	if port, portErr := netip.ParseAddrPort(source); portErr == nil {
		addr, err = port.Addr(), nil
	}
	if err != nil {
		first, _, _ := strings.Cut(source, " ")
		return first
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if net, err := addr.Prefix(64); err == nil {
			return net.String()
		}
	}
	return addr.String()
}

// places is how many places a table has.
const places = 8192

// budgets is a table of budgets that fill up again with time.
type budgets struct {
	seed  maphash.Seed
	burst float64
	every time.Duration

	mu    sync.Mutex
	slots [places]budget
}

type budget struct {
	used float64 // of the burst, at the time
	at   time.Time
}

func newBudgets(burst float64, every time.Duration) *budgets {
	return &budgets{seed: maphash.MakeSeed(), burst: burst, every: every}
}

func (b *budgets) slot(key string) *budget { return &b.slots[maphash.String(b.seed, key)%places] }

// take takes one, or says how long to wait for it.
func (b *budgets) take(key string, now time.Time) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.slot(key)
	if since := now.Sub(s.at); since > 0 {
		s.used = max(0, s.used-float64(since)/float64(b.every))
		s.at = now
	}
	if over := s.used + 1 - b.burst; over > 0 {
		return time.Duration(over * float64(b.every))
	}
	s.used++
	return 0
}

func (b *budgets) give(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.slot(key)
	s.used = max(0, s.used-1)
}
