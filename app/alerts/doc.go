// Package alerts keeps what somebody should look at: an alarm of the audit log, a
// tenant's file that does not authenticate, a clock that jumped.
//
// Whatever notices such a thing raises it in an Inbox, which never waits; the
// store of alerts takes them over from there. The store is bounded, and so is the
// Inbox: a fault that repeats itself is one alert with a count. That an alert was
// raised is said in the log by whoever raised it; this is the list for people.
//
// The package owns the bucket "alerts" of the control store. FORMAT.md describes
// it.
package alerts
