package app_test

import (
	"errors"
	"fmt"
	"strings"
)

// line is one record of a log, as the API or the log itself shows it.
type line struct {
	seq     uint64
	leaf    string
	kind    string // "event", "intent", "outcome", or of the log itself
	action  string
	client  string
	outcome string  // of an intent: the one of its outcome, once that was seen
	intent  *uint64 // of an outcome
}

// ledger is what was seen of one log.
type ledger struct {
	tenant string
	all    []line
	open   map[uint64]*line   // intents without an outcome
	tagged map[string][]*line // events and intents by the request's tag
}

func newLedger(tenant string) *ledger {
	return &ledger{tenant: tenant, open: map[uint64]*line{}, tagged: map[string][]*line{}}
}

// add takes the next record: none may be missing, and an outcome must belong to
// an intent that has none yet.
func (l *ledger) add(e line) error {
	if e.seq != uint64(len(l.all)) {
		return fmt.Errorf("the log of %q goes on with record %d, want %d", l.tenant, e.seq, len(l.all))
	}
	l.all = append(l.all, e)
	r := &line{}
	*r = e
	switch e.kind {
	case "outcome":
		if e.intent == nil || l.open[*e.intent] == nil {
			return fmt.Errorf("record %d of %q is the outcome of no open intent", e.seq, l.tenant)
		}
		i := l.open[*e.intent]
		if i.action != e.action || e.outcome == "" {
			return fmt.Errorf("record %d of %q is the outcome %q of %s, the intent was to %s", e.seq, l.tenant, e.outcome, e.action, i.action)
		}
		i.outcome = e.outcome
		delete(l.open, *e.intent)
		return nil
	case "intent":
		l.open[e.seq] = r
	case "event":
	default:
		return nil
	}
	if strings.HasPrefix(e.client, "crash/") {
		l.tagged[e.client] = append(l.tagged[e.client], r)
	}
	return nil
}

// settled says that every intent has its outcome.
func (l *ledger) settled() error {
	for seq, i := range l.open {
		return fmt.Errorf("intent %d of %q, %s by %s, has no outcome", seq, l.tenant, i.action, i.client)
	}
	return nil
}

// errNotLogged is about a request that must stand in the log and does not.
var errNotLogged = errors.New("it is not in the log")

// verdict compares what was answered with what the log says, and says whether
// the request happened. It is called after a restart, when nothing is open.
func (l *ledger) verdict(r *request) (happened bool, err error) {
	found := l.tagged[r.tag]
	switch {
	case len(found) > 1:
		return false, fmt.Errorf("%v stands %d times in the log", r, len(found))
	case len(found) == 0 && (r.receipt != "" || r.good()):
		return false, fmt.Errorf("%v, receipt %q: %w", r, r.receipt, errNotLogged)
	case len(found) == 0:
		return false, nil // it never arrived, or was malformed
	}
	e := found[0]
	if r.receipt != "" && r.receipt != fmt.Sprintf("%d:%s", e.seq, e.leaf) {
		return false, fmt.Errorf("%v has the receipt %s, the log has %d:%s", r, r.receipt, e.seq, e.leaf)
	}
	if e.action != r.action {
		return false, fmt.Errorf("%v is logged as %s", r, e.action)
	}
	happened = e.outcome == "ok"
	switch {
	case happened && r.change && e.kind != "intent":
		return false, fmt.Errorf("%v is logged as done, with no intent before it", r)
	case r.good() != happened && r.status != 0:
		return false, fmt.Errorf("%v is logged as %q", r, e.outcome)
	case e.outcome != "ok" && e.outcome != "failed" && e.outcome != "refused":
		return false, fmt.Errorf("%v is logged as %q: nothing was taken away that could have said", r, e.outcome)
	}
	return happened, nil
}
