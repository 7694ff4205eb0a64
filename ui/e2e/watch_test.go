package e2e_test

import (
	"fmt"
	"net/url"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
)

// violationBinding is the function by which a page tells the watcher that its
// policy was violated.
const violationBinding = "cofferTestViolation"

// reportViolations runs before anything else in every document.
const reportViolations = `document.addEventListener("securitypolicyviolation", (e) =>
	` + violationBinding + `(e.effectiveDirective + " blocked " + (e.blockedURI || "?") + " in " + e.documentURI +
		" (" + e.sourceFile + ":" + e.lineNumber + ") " + e.sample));`

// watcher collects what must not happen in a page.
type watcher struct {
	origin string

	mu         sync.Mutex
	complaints []string
	failing    map[int64]bool // statuses that a test said would come
	urls       map[network.RequestID]string
}

func newWatcher(origin string) *watcher {
	return &watcher{origin: origin, failing: map[int64]bool{}, urls: map[network.RequestID]string{}}
}

// complain notes something that must not be.
func (w *watcher) complain(format string, args ...any) {
	w.complaints = append(w.complaints, fmt.Sprintf(format, args...))
}

// allow says that answers with these statuses are what the test is about.
func (w *watcher) allow(statuses ...int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range statuses {
		w.failing[s] = true
	}
}

// take returns what was collected, and forgets it.
func (w *watcher) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.complaints
	w.complaints = nil
	return out
}

// hear is told of every event of the page.
func (w *watcher) hear(event any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventBindingCalled:
		if e.Name == violationBinding {
			w.complain("policy violated: %s", e.Payload)
		}
	case *runtime.EventExceptionThrown:
		w.exception(e.ExceptionDetails)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			w.complain("console.%s: %s", e.Type, texts(e.Args))
		}
	case *log.EventEntryAdded:
		w.entry(e.Entry)
	case *network.EventRequestWillBeSent:
		w.urls[e.RequestID] = e.Request.URL
		w.request(e.Request.URL)
	case *network.EventResponseReceived:
		if status := e.Response.Status; status >= 400 && !w.failing[status] {
			w.complain("%s answered %d", e.Response.URL, status)
		}
	case *network.EventLoadingFailed:
		// What a page was still loading when it was left is no failure.
		if !e.Canceled && e.ErrorText != "net::ERR_ABORTED" {
			w.complain("%s failed: %s %s", w.urls[e.RequestID], e.ErrorText, e.BlockedReason)
		}
	}
}

func (w *watcher) exception(d *runtime.ExceptionDetails) {
	text := d.Text
	if d.Exception != nil {
		text += " " + d.Exception.Description
	}
	w.complain("uncaught: %s (%s:%d)", text, d.URL, d.LineNumber)
}

// entry judges a line of the browser's own log. What it says of answers is judged
// with the answers, by status.
func (w *watcher) entry(e *log.Entry) {
	if e.Source == log.EntrySourceNetwork && strings.Contains(e.Text, "the server responded with a status of") {
		return
	}
	if e.Level == log.EntryLevelError || e.Level == log.EntryLevelWarning {
		w.complain("%s %s: %s (%s)", e.Source, e.Level, e.Text, e.URL)
	}
}

// request judges where something is asked for.
func (w *watcher) request(to string) {
	u, err := url.Parse(to)
	switch {
	case err != nil:
		w.complain("a request to %q", to)
	case u.Scheme == "about" || u.Scheme == "data":
	case u.Scheme+"://"+u.Host != w.origin:
		w.complain("a request elsewhere: %s", to)
	}
}

// texts is what was said to the console.
func texts(args []*runtime.RemoteObject) string {
	var out []string
	for _, a := range args {
		if a.Description != "" {
			out = append(out, a.Description)
		} else {
			out = append(out, string(a.Value))
		}
	}
	return strings.Join(out, " ")
}
