package record

import (
	"fmt"
	"strconv"
	"time"
)

// WeeklyUpTo is the longest retention, in days, at which a log's keys change
// every week. With longer retention they change every month: a key is
// destroyed when all records under it are due, so the period is the grain of
// erasure.
const WeeklyUpTo = 90

// Period names the key period of a time: the ISO 8601 week ("2026-W47") at a
// retention of at most WeeklyUpTo days, else the month ("2026-11"); UTC.
func Period(t time.Time, retentionDays uint32) string {
	t = t.UTC()
	if retentionDays <= WeeklyUpTo {
		year, week := t.ISOWeek()
		return periodName(year, "-W", week)
	}
	return periodName(t.Year(), "-", int(t.Month()))
}

// periodName is "%04d<mark>%02d", without package fmt: it is made for each
// record.
func periodName(year int, mark string, part int) string {
	b := make([]byte, 0, 16)
	for n := 1000; n > max(year, 1); n /= 10 {
		b = append(b, '0')
	}
	b = append(strconv.AppendInt(b, int64(year), 10), mark...)
	if part < 10 {
		b = append(b, '0')
	}
	return string(strconv.AppendInt(b, int64(part), 10))
}

// PeriodStart is the first instant of a period, UTC. Errors wrap ErrFormat.
func PeriodStart(period string) (time.Time, error) {
	bad := fmt.Errorf("%w: %.20q is not a period", ErrFormat, period)
	if len(period) == 7 {
		t, err := time.Parse("2006-01", period)
		if err != nil {
			return time.Time{}, bad
		}
		return t, nil
	}
	var year, week int
	if _, err := fmt.Sscanf(period, "%4d-W%2d", &year, &week); err != nil || week < 1 ||
		fmt.Sprintf("%04d-W%02d", year, week) != period {
		return time.Time{}, bad
	}
	// 4 January is always in week 1 (ISO 8601).
	t := time.Date(year, 1, 4, 0, 0, 0, 0, time.UTC)
	t = t.AddDate(0, 0, -(int(t.Weekday())+6)%7+(week-1)*7)
	if y, w := t.ISOWeek(); y != year || w != week {
		return time.Time{}, bad
	}
	return t, nil
}

func checkPeriod(period string) error {
	_, err := PeriodStart(period)
	return err
}
