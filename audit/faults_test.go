package audit_test

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"coffer/app/domain"
	"coffer/audit"
	"coffer/audit/wal"
)

// disk is a real disk that fails when a test says so.
type disk struct {
	mu     sync.Mutex
	create error
	write  error
	short  bool
	sync   error
	after  int // successful writes before the failure
}

func (d *disk) Create(path string, size int64) (wal.File, error) {
	d.mu.Lock()
	err := d.create
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	f, err := wal.Disk{}.Create(path, size)
	if err != nil {
		return nil, err
	}
	return &file{f, d}, nil
}

func (d *disk) Open(path string) (wal.File, error) {
	f, err := wal.Disk{}.Open(path)
	if err != nil {
		return nil, err
	}
	return &file{f, d}, nil
}

type file struct {
	wal.File
	d *disk
}

func (f *file) WriteAt(b []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.after--; f.d.after < 0 {
		if f.d.short {
			return f.File.WriteAt(b[:len(b)/2], off)
		}
		if f.d.write != nil {
			return 0, f.d.write
		}
	}
	return f.File.WriteAt(b, off)
}

func (f *file) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.after < 0 && f.d.sync != nil {
		return f.d.sync
	}
	return f.File.Sync()
}

func (d *disk) fail(set func(*disk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	set(d)
}

// After a failed write or flush nothing is acknowledged any more, and what was
// acknowledged before is there at the next start.
func TestFailuresPoison(t *testing.T) {
	for name, set := range map[string]func(*disk){
		"write EIO":    func(d *disk) { d.write, d.after = syscall.EIO, 7 },
		"write ENOSPC": func(d *disk) { d.write, d.after = syscall.ENOSPC, 7 },
		"short write":  func(d *disk) { d.short, d.after = true, 7 },
		"flush EIO":    func(d *disk) { d.sync, d.after = syscall.EIO, 7 },
	} {
		t.Run(name, func(t *testing.T) {
			var a alarms
			d := &disk{after: 1 << 30}
			o := smallOptions(t.TempDir())
			o.Alarm = a.raise
			l := open(t, audit.WithFiles(o, d))
			register(t, l, "acme")
			d.fail(set)
			var mu sync.Mutex
			var receipts []audit.Receipt
			var wg sync.WaitGroup
			g := readGrant(t, "acme")
			for range 16 {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for range 20 {
						p, err := l.Begin(background, g, audit.Call{})
						var r audit.Receipt
						if err == nil {
							r, err = p.Finish(background, audit.OK, nil)
						}
						mu.Lock()
						if err == nil {
							receipts = append(receipts, r)
						} else if domain.KindOf(err) != domain.Unavailable {
							t.Errorf("error of kind %v: %v", domain.KindOf(err), err)
						}
						mu.Unlock()
					}
				}()
			}
			wg.Wait()
			<-l.Failed()
			if l.Err() == nil || len(receipts) == 0 || len(receipts) == 320 {
				t.Errorf("%v after %d receipts", l.Err(), len(receipts))
			}
			_, err := l.Begin(background, g, audit.Call{})
			wantKind(t, err, domain.Unavailable)
			if domain.HintOf(err) == "" {
				t.Error("no hint")
			}
			if _, err := l.Note(background, "", "x", nil); err == nil {
				t.Error("written after a failure")
			}
			if err := l.Close(background); err == nil {
				t.Error("closed as if nothing had happened")
			}
			if n := a.count(audit.WriteFailed, ""); n != 1 {
				t.Errorf("%d alarms", n)
			}
			l = open(t, o)
			register(t, l, "acme")
			checkReceipts(t, l, "acme", receipts)
			event(t, l, "acme")
			verify(t, l)
		})
	}
}

// checkReceipts looks that every receipt's record is in the log exactly once.
func checkReceipts(t *testing.T, l *audit.Log, tenant domain.TenantID, receipts []audit.Receipt) {
	t.Helper()
	bySeq := map[uint64]audit.Receipt{}
	leaves := map[[32]byte]int{}
	for _, e := range entries(t, l, tenant, audit.Filter{}) {
		bySeq[e.Header.Seq] = e.Receipt()
		leaves[e.Leaf]++
	}
	for _, r := range receipts {
		if bySeq[r.Seq] != r || leaves[r.Leaf] != 1 {
			t.Errorf("receipt %v: the log has %v", r, bySeq[r.Seq])
		}
	}
}

func TestSegmentLost(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"removed":  os.Remove,
		"replaced": func(p string) error { return errors.Join(os.Remove(p), os.WriteFile(p, make([]byte, 256<<10), 0o600)) },
		"cut":      func(p string) error { return os.Truncate(p, 5_000) },
	} {
		var a alarms
		o := smallOptions(t.TempDir())
		o.Alarm = a.raise
		l := open(t, o)
		register(t, l, "acme")
		event(t, l, "acme")
		segments := l.Journal()
		must(t, change(segments[len(segments)-1].Path))
		l.Tick(1)
		<-l.Failed()
		_, err := l.Begin(background, readGrant(t, "acme"), audit.Call{})
		wantKind(t, err, domain.Unavailable)
		if err := l.Close(background); err == nil {
			t.Errorf("%s: closed as if nothing had happened", name)
		}
		if n := a.count(audit.SegmentLost, ""); n != 1 {
			t.Errorf("%s: %d alarms", name, n)
		}
	}
}

// The last batch of all can be the one that fails. The alarm is raised all the
// same, before Close returns.
func TestLastBatchFails(t *testing.T) {
	for range 3 {
		var a alarms
		d := &disk{after: 1 << 30}
		o := smallOptions(t.TempDir())
		o.Alarm = a.raise
		l := open(t, audit.WithFiles(o, d))
		register(t, l, "acme")
		g := readGrant(t, "acme")
		var open []*audit.Permit
		for range 3_000 { // Close hears of the failure before all of them do
			open = append(open, begin(t, l, g))
		}
		closed := make(chan error, 1)
		d.fail(func(d *disk) { // holds the first batch up, so that the second one has all the others
			go func() { closed <- l.Close(background) }()
			for l.OpenPermits() > 0 {
				runtime.Gosched()
			}
			d.write, d.after = syscall.EIO, 1
		})
		if err := <-closed; err == nil {
			t.Fatal("closed as if nothing had happened")
		}
		if n := a.count(audit.WriteFailed, ""); n != 1 {
			t.Fatalf("%d alarms", n)
		}
		runtime.KeepAlive(open)
	}
}
