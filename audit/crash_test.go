package audit_test

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"coffer/app/authz"
	"coffer/audit"
	"coffer/audit/record"
)

const crashDirEnv = "COFFER_AUDIT_CRASH_DIR"

// TestMain runs the writer that TestKill kills, if it is asked to.
func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDirEnv); dir != "" {
		crashWriter(dir)
		return
	}
	os.Exit(m.Run())
}

// crashWriter writes with 16 goroutines until it is killed, and prints each
// receipt once it has it.
func crashWriter(dir string) {
	l, err := audit.Open(background, crashOptions(dir))
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for i := range 4 {
		if err := l.Register(tenantN(i), audit.Ref{Tag: tagOf(string(tenantN(i))), Slot: uint32(i + 1)}); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	for _, i := range l.OpenIntents() {
		if err := l.Resolve(background, i.ID, audit.Unknown, nil); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := 0; ; n++ {
				if err := crashStep(l, (w+n)%4, n); err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
			}
		}()
	}
	wg.Wait()
}

func crashStep(l *audit.Log, tenant, n int) error {
	id := tenantN(tenant)
	action := authz.SecretRead
	if n%3 == 0 {
		action = authz.SecretPut
	}
	g, err := authz.Authorize(person("p", "owner", id), authz.Request{Action: action, Tenant: id, Resource: "x"})
	if err != nil {
		return err
	}
	p, err := l.Begin(background, g, audit.Call{})
	if err != nil {
		return err
	}
	if action == authz.SecretPut {
		if _, err := p.Intent(background, nil); err != nil {
			return err
		}
	}
	r, err := p.Finish(background, audit.OK, nil)
	if err != nil {
		return err
	}
	fmt.Println("receipt", tenant, r)
	return nil
}

func crashOptions(dir string) audit.Options {
	o := smallOptions(dir)
	o.SegmentSize = 64 << 10
	return o
}

// TestKill: a process that is killed while 16 goroutines write leaves a log in
// which every receipt that left it stands exactly once.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	receipts := map[int][]audit.Receipt{}
	for round := range rounds {
		kill(t, dir, 50+round*37, receipts)
	}
	l := open(t, crashOptions(dir))
	total := 0
	for i := range 4 {
		must(t, l.Register(tenantN(i), audit.Ref{Tag: tagOf(string(tenantN(i))), Slot: uint32(i + 1)}))
		checkReceipts(t, l, tenantN(i), receipts[i])
		total += len(receipts[i])
	}
	verify(t, l)
	if boots := len(entries(t, l, "", audit.Filter{})) - 1; boots != rounds+1 {
		t.Errorf("%d boots, want %d", boots, rounds+1)
	}
	t.Logf("%d receipts over %d kills", total, rounds)
}

// kill runs the writer until it has printed so many receipts.
func kill(t *testing.T, dir string, after int, receipts map[int][]audit.Receipt) {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), crashDirEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		tenant, r := parseReceipt(t, lines.Text())
		receipts[tenant] = append(receipts[tenant], r)
		if n == after {
			must(t, cmd.Process.Kill())
		}
	}
	_ = cmd.Wait() // it was killed
}

func parseReceipt(t *testing.T, line string) (int, audit.Receipt) {
	t.Helper()
	f := strings.Fields(line)
	if len(f) != 3 || f[0] != "receipt" {
		t.Fatalf("the writer says %q", line)
	}
	tenant, err := strconv.Atoi(f[1])
	must(t, err)
	seq, leaf, ok := strings.Cut(f[2], ":")
	n, err := strconv.ParseUint(seq, 10, 64)
	must(t, err)
	b, err := hex.DecodeString(leaf)
	must(t, err)
	if !ok || len(b) != 32 {
		t.Fatalf("no receipt: %q", line)
	}
	return tenant, audit.Receipt{Seq: n, Leaf: record.Hash(b)}
}

// A torn last batch is left out, kept in quarantine and reported.
func TestTornTail(t *testing.T) {
	o := smallOptions(t.TempDir())
	l := open(t, o)
	register(t, l, "acme")
	r := event(t, l, "acme")
	must(t, l.SaveHeads())
	event(t, l, "acme") // this one nobody was told about
	segments := l.Journal()
	s := segments[0]
	l.Kill()
	f, err := os.OpenFile(s.Path, os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt(make([]byte, 200), s.End-200)
	must(t, err)
	must(t, f.Close())
	l = open(t, o)
	register(t, l, "acme")
	checkReceipts(t, l, "acme", []audit.Receipt{r})
	tail, err := l.Tail(background, "", 1)
	must(t, err)
	var boot record.Booted
	raw, err := l.Record(background, "", tail[0].Header.Seq)
	must(t, err)
	_, body, err := record.DecodeClear(raw)
	must(t, err)
	boot = body.(record.Booted)
	if boot.Clean || len(boot.Dropped) != 1 || boot.Dropped[0].Segment != 1 || boot.Dropped[0].Bytes == 0 {
		t.Errorf("%+v", boot)
	}
	files, err := os.ReadDir(o.Dir + "/quarantine")
	must(t, err)
	if len(files) != 1 {
		t.Errorf("%d files in quarantine", len(files))
	}
	next := event(t, l, "acme")
	if next.Seq != r.Seq+1 {
		t.Errorf("the next record is %d", next.Seq)
	}
	if n := len(l.Journal()); n != 2 {
		t.Errorf("%d segments", n)
	}
	verify(t, l)
	mustClose(t, l)
	l = open(t, o)
	if d := cmp.Diff(3, len(shape(t, l, ""))-1); d != "" {
		t.Errorf("boots: %s", d)
	}
	verify(t, l)
}
