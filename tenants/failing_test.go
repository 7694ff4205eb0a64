package tenants_test

import (
	"context"
	"testing"
	"testing/synctest"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
	"coffer/tenants"
	"coffer/tenants/guard"
)

// lateKeys gives no key, and that only once it is released.
type lateKeys struct{ release chan struct{} }

func (k lateKeys) TenantPages(context.Context, *audit.Permit, domain.TenantID) (interface {
	Derive(info []byte, n int) ([]byte, error)
}, [16]byte, error,
) {
	<-k.release
	return nil, [16]byte{}, domain.Errorf(domain.Unavailable, "no keys")
}

// TestBarWaitsForFailingOpen: who waits for statements to end does not wait for
// ever for one whose file could not be opened.
func TestBarWaitsForFailingOpen(t *testing.T) {
	k := newKit(t, 0)
	k.tenant(t, "acme")
	first, second := k.permit(t, "acme", authz.SQLQuery, ""), k.permit(t, "acme", authz.SQLQuery, "")
	synctest.Test(t, func(t *testing.T) {
		keys := lateKeys{make(chan struct{})}
		pool, err := tenants.Open(tenants.Options{Dir: k.path("tenants"), Keys: keys})
		must(t, err)
		ended := make(chan error, 4)
		query := func(ctx context.Context, p *audit.Permit) {
			_, err := pool.Query(ctx, p, guard.Request{SQL: "SELECT 1"}, guard.Sink{})
			ended <- err
		}
		opener, leave := context.WithCancel(context.Background())
		go query(opener, first) // opens
		synctest.Wait()
		go query(context.Background(), second) // waits for it
		synctest.Wait()
		go func() { ended <- pool.Bar(context.Background(), "acme") }()
		go func() { ended <- pool.Close(context.Background()) }()
		synctest.Wait()
		leave() // opening does not end with its first caller
		synctest.Wait()
		if len(ended) != 0 {
			t.Errorf("somebody did not wait: %v", <-ended)
		}
		close(keys.release)
		failed := 0
		for range 4 {
			if err := <-ended; err != nil {
				wantKind(t, err, domain.Unavailable)
				failed++
			}
		}
		if failed != 2 {
			t.Errorf("%d failed, want the two statements", failed)
		}
		if files, conns := pool.Usage(); files != 0 || conns != 0 {
			t.Errorf("%d files, %d connections", files, conns)
		}
	})
}
