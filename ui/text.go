package ui

import (
	"fmt"
	"time"
)

// ageText says how long ago something was, or how long it is until then, in the
// one unit that matters.
func ageText(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := now.Sub(t)
	if d < 0 {
		return "in " + spanText(-d)
	}
	if d < 10*time.Second {
		return "just now"
	}
	return spanText(d) + " ago"
}

func spanText(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return plural(int(d/time.Second), "second")
	case d < time.Hour:
		return plural(int(d/time.Minute), "minute")
	case d < 2*day:
		return plural(int(d/time.Hour), "hour")
	case d < 60*day:
		return plural(int(d/day), "day")
	case d < 730*day:
		return plural(int(d/(30*day)), "month")
	}
	return plural(int(d/(365*day)), "year")
}

// plural is a count, of any type of number, with its noun.
func plural(n any, noun string) string {
	count := fmt.Sprint(n)
	if count == "1" {
		return "1 " + noun
	}
	return count + " " + noun + "s"
}

// whenText is a moment as people read it; stampText is for <time datetime>, and
// dayText is the day alone. All are in UTC: a log is read in several time zones.
func whenText(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

func stampText(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func dayText(t time.Time) string { return t.UTC().Format("Monday, 2 January 2006") }

// short cuts a long identifier for a column.
func short(s string, most int) string {
	if len(s) <= most {
		return s
	}
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most]) + "…"
}
