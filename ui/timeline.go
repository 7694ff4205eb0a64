package ui

import (
	"net/url"
	"slices"
	"strconv"
	"time"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
)

// timelineView is a log as people read it: a client's, or the appliance's own.
type timelineView struct {
	base
	System   bool
	Days     []dayEvents // newest first
	Filter   filter
	Actions  []string
	Next     string // cursor of the page after this one, when filtering
	Live     string // address to ask whether there is more, "" when filtering
	MayCheck bool
	Verified *verifiedView
	Newest   uint64
	Oldest   uint64
}

// filter is what the events are narrowed to.
type filter struct {
	From, To, Actor, Action, Resource, Outcome, RequestID, After string
}

// Any says whether anything is narrowed.
func (f filter) Any() bool { return f != filter{} }

// dayEvents are the events of one day.
type dayEvents struct {
	Day    time.Time
	Events []eventView
}

// eventView is one event: a sentence, and the record that it is made of.
type eventView struct {
	Seq       uint64
	Time      time.Time
	Words     sentence
	Tone      status
	Details   []pair
	Raw       string // the record as JSON
	Receipt   string
	RequestID string
	Source    string
	Client    string
	Auth      string
	New       bool
}

type pair struct{ Name, Text string }

// Marker is the event's place on the page.
func (e eventView) Marker() string { return "e" + strconv.FormatUint(e.Seq, 10) }

// shownEvents is how many events a page of the timeline has.
const shownEvents = 50

// where is the log's address on the pages.
func (v timelineView) where() string {
	if v.System {
		return "/log"
	}
	return v.In("audit")
}

// Home is the address of the timeline without a filter.
func (v timelineView) Home() string { return v.where() }

// Check is where "verify now" is sent.
func (v timelineView) Check() string { return v.where() + "/verify" }

// More is the address of the page after this one.
func (v timelineView) More() string {
	q := url.Values{}
	for name, value := range map[string]string{
		"from": v.Filter.From, "to": v.Filter.To, "actor": v.Filter.Actor, "action": v.Filter.Action, "resource": v.Filter.Resource,
		"outcome": v.Filter.Outcome, "request_id": v.Filter.RequestID, "after": v.Next,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return v.where() + "?" + q.Encode()
}

func (u *UI) timeline(r *request) error  { return r.timelinePage(timelineView{}) }
func (u *UI) systemLog(r *request) error { return r.timelinePage(timelineView{System: true}) }

func (r *request) timelinePage(v timelineView) error {
	v.Filter = filter{
		r.query("from"), r.query("to"), r.query("actor"), r.query("action"), r.query("resource"), r.query("outcome"),
		r.query("request_id"), r.query("after"),
	}
	in := r.auditQuery(v.Filter)
	out, err := r.readLog(v.System, in)
	if err != nil {
		return err
	}
	title := "Timeline"
	if v.System {
		title = "Appliance log"
	}
	v.base, v.Next = r.base(title), out.Next
	v.Tabs = markTab(v.Tabs, "Timeline")
	v.MayCheck = r.me.May(authz.AuditVerify)
	if v.System {
		v.MayCheck = r.me.May(authz.AuditSystem)
	}
	for _, a := range authz.Actions() {
		v.Actions = append(v.Actions, string(a.Action))
	}
	events, err := r.eventViews(out.Events)
	if err != nil {
		return err
	}
	if n := len(out.Events); n > 0 {
		v.Oldest, v.Newest = out.Events[0].Seq, out.Events[n-1].Seq
	}
	if !v.Filter.Any() && !v.System {
		v.Live = liveAddress(r.tenant, v.Newest, v.Newest)
	}
	v.Days = byDay(events)
	return r.show("timeline", v)
}

// auditQuery is the filter as the operation takes it.
func (r *request) auditQuery(f filter) actions.AuditQuery {
	in := actions.AuditQuery{
		Tenant: string(r.tenant), From: timeText(f.From), To: timeText(f.To), Actor: f.Actor, Action: f.Action, Resource: f.Resource,
		Outcome: f.Outcome, RequestID: f.RequestID, Page: actions.Page{After: f.After, Limit: shownEvents},
	}
	if !f.Any() {
		in.Last, in.Page = shownEvents, actions.Page{}
	}
	return in
}

// timeText turns what a browser's date field gives into what the operation reads.
func timeText(s string) string {
	if _, err := time.Parse(time.DateOnly, s); err == nil {
		return s + "T00:00:00Z"
	}
	return s
}

func (r *request) readLog(system bool, in actions.AuditQuery) (actions.Events, error) {
	if system {
		return do(r, actions.AuditSystem, in)
	}
	return do(r, actions.AuditRead, in)
}

// byDay groups events, newest first.
func byDay(events []eventView) (days []dayEvents) {
	slices.Reverse(events)
	for _, e := range events {
		day := e.Time.UTC().Truncate(24 * time.Hour)
		if n := len(days); n == 0 || !days[n-1].Day.Equal(day) {
			days = append(days, dayEvents{Day: day})
		}
		last := &days[len(days)-1]
		last.Events = append(last.Events, e)
	}
	return days
}

// liveView is what is put above the events of a page that follows the log.
type liveView struct {
	base
	Events []eventView
	Ended  []string // markers of intents on the page whose outcome is among the events
	Live   string
	New    bool
}

// liveAddress asks whether something stands behind the record that was looked
// through last; shown is the last one on the page.
func liveAddress(tenant domain.TenantID, shown, seen uint64) string {
	return clientPath(tenant, "audit/live") + "?shown=" + strconv.FormatUint(shown, 10) + "&seen=" + strconv.FormatUint(seen, 10)
}

// timelineLive answers a page that follows the log. As long as nothing but
// reading happened it says so and logs nothing; else it reads, and that is an
// event like any other reading.
func (u *UI) timelineLive(r *request) error {
	shown, err1 := strconv.ParseUint(r.query("shown"), 10, 63)
	seen, err2 := strconv.ParseUint(r.query("seen"), 10, 63)
	if err1 != nil || err2 != nil {
		return errNoPage
	}
	v := liveView{base: r.base("Timeline")}
	if r.me.May(authz.AuditRead) {
		now, grew, err := r.service.Grew(r.ctx, r.who.Subject, r.tenant, seen)
		if err != nil {
			return err
		}
		if !grew {
			v.Live = liveAddress(r.tenant, shown, now)
			return r.send(200, "timeline", "live", v)
		}
	}
	out, err := do(r, actions.AuditRead, actions.AuditQuery{
		Tenant: string(r.tenant), Page: actions.Page{After: strconv.FormatUint(shown, 10), Limit: shownEvents},
	})
	if err != nil {
		return err
	}
	if v.Events, err = r.eventViews(out.Events); err != nil {
		return err
	}
	for _, e := range out.Events {
		if e.Intent != nil && *e.Intent <= shown {
			v.Ended = append(v.Ended, eventView{Seq: *e.Intent}.Marker())
		}
	}
	if n := len(out.Events); n > 0 {
		shown = out.Events[n-1].Seq
	}
	for i := range v.Events {
		v.Events[i].New = true
	}
	slices.Reverse(v.Events)
	v.Live, v.New = liveAddress(r.tenant, shown, shown), true
	return r.send(200, "timeline", "live", v)
}

// verifiedView says what was verified, and what that means.
type verifiedView struct {
	Records     uint64
	Head        string
	First, Last time.Time
	Took        string
	Broken      string // what is wrong, "" if nothing
	Hint        string
}

func (u *UI) verify(r *request) error       { return r.verifyPage(false) }
func (u *UI) verifySystem(r *request) error { return r.verifyPage(true) }

// verifyPage really verifies the log, from its first record to the last one.
func (r *request) verifyPage(system bool) error {
	start := time.Now()
	var out actions.Verified
	var err error
	if system {
		out, err = do(r, actions.AuditVerifySystem, actions.Nothing{})
	} else {
		out, err = do(r, actions.AuditVerify, actions.TenantRef{Tenant: string(r.tenant)})
	}
	v := timelineView{System: system}
	switch domain.KindOf(err) {
	case domain.Tampered:
		v.Verified = &verifiedView{Broken: err.Error(), Hint: domain.HintOf(err)}
	default:
		if err != nil {
			return err
		}
		v.Verified = &verifiedView{
			Records: out.Records, Head: out.Head, First: out.First, Last: out.Last, Took: time.Since(start).Round(100 * time.Microsecond).String(),
		}
	}
	return r.timelinePage(v)
}

// Earlier is the address of the events before those of an unfiltered page: the
// records of a log are numbered without a gap.
func (v timelineView) Earlier() string {
	f := v.Filter
	f.After = ""
	if f.Any() || v.Oldest <= 1 {
		return "" // nothing is shown, or the first record
	}
	after := uint64(0)
	if v.Oldest > shownEvents {
		after = v.Oldest - shownEvents - 1
	}
	if after == 0 {
		return v.where() + "?from=" + url.QueryEscape(theBeginning)
	}
	return v.where() + "?after=" + strconv.FormatUint(after, 10)
}

// theBeginning is before every record.
const theBeginning = "2000-01-01"
