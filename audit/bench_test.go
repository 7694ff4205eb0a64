package audit_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coffer/app/durable"
	"coffer/audit"
)

// BenchmarkFlush is the floor: one write of a record's size and one fdatasync
// into a zero-filled file.
func BenchmarkFlush(b *testing.B) {
	f, err := durable.CreateAppend(filepath.Join(b.TempDir(), "f"), 64<<20)
	must(b, err)
	defer f.Close()
	buf := make([]byte, 536)
	for i := range b.N {
		if _, err := f.WriteAt(buf, int64(i)*536%(60<<20)); err != nil {
			b.Fatal(err)
		}
		must(b, f.Sync())
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "flushes/s")
}

func benchOptions(b *testing.B) audit.Options {
	o := smallOptions(b.TempDir())
	o.SegmentSize, o.MaxSegmentSize, o.Now = 0, 0, time.Now
	return o
}

// BenchmarkAppend is one event of a request, durable when it returns.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			l := open(b, benchOptions(b))
			register(b, l, "acme")
			g := readGrant(b, "acme")
			event(b, l, "acme")
			flushes := l.Batches()
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range writers {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for next.Add(1) <= int64(b.N) {
						p, err := l.Begin(context.Background(), g, audit.Call{RequestID: "01JD0000000000000000000000", Source: "192.0.2.1", Client: "vault/1.18", Auth: "token"})
						if err == nil {
							_, err = p.Finish(context.Background(), audit.OK, audit.Detail{"version": 1})
						}
						if err != nil {
							b.Error(err)
							return
						}
					}
				}()
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(b.N)/float64(max(1, l.Batches()-flushes)), "events/flush")
		})
	}
}

// filled is a log with n events of one tenant.
func filled(b *testing.B, n int) (*audit.Log, audit.Options) {
	b.Helper()
	o := benchOptions(b)
	o.SegmentSize = 16 << 20
	l := open(b, o)
	register(b, l, "acme")
	g := readGrant(b, "acme")
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 256 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for next.Add(1) <= int64(n) {
				if _, err := begin(b, l, g).Finish(context.Background(), audit.OK, nil); err != nil {
					b.Error(err)
					return
				}
			}
		}()
	}
	wg.Wait()
	return l, o
}

func BenchmarkVerify(b *testing.B) {
	const n = 20_000
	l, _ := filled(b, n)
	b.ResetTimer()
	for range b.N {
		verify(b, l)
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkQuery(b *testing.B) {
	const n = 20_000
	l, _ := filled(b, n)
	b.ResetTimer()
	for range b.N {
		if got := len(entries(b, l, "acme", audit.Filter{RequestID: "r-1"})); got != n {
			b.Fatal(got)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkBoot reads a journal whose last segment holds all records.
func BenchmarkBoot(b *testing.B) {
	const n = 20_000
	l, o := filled(b, n)
	mustClose(b, l)
	b.ResetTimer()
	for range b.N {
		l, err := audit.Open(context.Background(), o)
		must(b, err)
		b.StopTimer()
		mustClose(b, l)
		b.StartTimer()
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkFirstStart begins a log in an empty directory.
func BenchmarkFirstStart(b *testing.B) {
	dir := b.TempDir()
	o := benchOptions(b)
	for i := range b.N {
		o.Dir = filepath.Join(dir, fmt.Sprint(i))
		l, err := audit.Open(context.Background(), o)
		must(b, err)
		b.StopTimer()
		mustClose(b, l)
		must(b, os.RemoveAll(o.Dir))
		b.StartTimer()
	}
}
