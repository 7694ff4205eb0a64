package httpd_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"coffer/app/httpd"
	"coffer/tenants/fair"
)

// pieces are so many of 100 KB, each byte of which tells where it stands.
func pieces(n int) [][]byte {
	out := [][]byte{nil}
	for i := range n {
		out = append(out, bytes.Repeat([]byte{byte('a' + i%26)}, 100_000))
	}
	return append(out, []byte("end"))
}

// TestLargeAnswersTakeTurns: answers of any size arrive whole, large ones are sent
// one at a time, and clients that do not read hold up nobody.
func TestLargeAnswersTakeTurns(t *testing.T) {
	turns := fair.New(fair.Options{Slots: 2, Heavy: 1})
	d := serveTLS(t, httpd.Options{Turns: turns})
	const request = "GET /pieces?n=%d HTTP/1.1\r\nHost: h\r\n\r\n"
	for range 2 {
		if _, err := fmt.Fprintf(d.dial(), request, 100); err != nil { // and read nothing
			t.Fatal(err)
		}
	}
	most, done, watched := 0, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for {
			_, heavy, _ := turns.Usage()
			most = max(most, heavy)
			select {
			case <-done:
				return
			case <-time.After(100 * time.Microsecond):
			}
		}
	}()
	var wg sync.WaitGroup
	for _, n := range []int{0, 1, 2, 3, 90, 91, 92} {
		c := d.dial()
		wg.Go(func() {
			want := bytes.Join(pieces(n), nil)
			for range 3 {
				a := say(t, c, fmt.Sprintf(request, n), 1)
				if len(a) != 1 || a[0].body != string(want) {
					t.Errorf("%d pieces did not arrive as they are", n)
				}
			}
		})
	}
	wg.Wait()
	close(done)
	<-watched
	if most != 1 {
		t.Errorf("%d large answers were sent at once", most)
	}
}

// TestLargeAnswerToNobody: a client that goes away in the middle leaves its turn to
// others.
func TestLargeAnswerToNobody(t *testing.T) {
	turns := fair.New(fair.Options{Slots: 2, Heavy: 1})
	d := serveTLS(t, httpd.Options{Turns: turns})
	for range 5 {
		c := d.dial()
		if _, err := io.WriteString(c, "GET /large HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	if a := say(t, d.dial(), "GET /large HTTP/1.1\r\nHost: h\r\n\r\n", 1); len(a) != 1 || a[0].status != http.StatusOK || len(a[0].body) != 64<<20 {
		t.Error("no answer for who is still there")
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		running, heavy, waiting := turns.Usage()
		if running+heavy+waiting == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d run, %d heavy, %d wait", running, heavy, waiting)
		}
	}
}
