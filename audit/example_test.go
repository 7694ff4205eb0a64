package audit_test

import (
	"context"
	"fmt"
	"os"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/audit"
)

// A request that reads: one event, durable before the answer leaves.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "audit")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	log, err := audit.Open(ctx, audit.Options{
		Dir: dir, Instance: [16]byte{1}, System: audit.Ref{Tag: audit.Tag{1}}, Keys: &testKeys{seed: "example"},
	})
	if err != nil {
		panic(err)
	}
	defer log.Close(ctx)
	if err := log.Register("acme", audit.Ref{Tag: audit.Tag{2}, Slot: 1}); err != nil {
		panic(err)
	}

	grant, err := authz.Authorize(
		person("p-1", domain.Owner, "acme"),
		authz.Request{Action: authz.SecretRead, Tenant: "acme", Resource: "stripe/live"},
	)
	if err != nil {
		panic(err)
	}
	permit, err := log.Begin(ctx, grant, audit.Call{RequestID: "r-1", Source: "local"})
	if err != nil {
		panic(err)
	}
	defer permit.Abort() // if a panic or an early return comes first
	if err := permit.Check("acme", authz.SecretRead); err != nil {
		panic(err) // what the vault does before it gives a key
	}
	receipt, err := permit.Finish(ctx, audit.OK, audit.Detail{"version": 3})
	if err != nil {
		panic(err) // and nothing is answered
	}
	fmt.Println("record", receipt.Seq)

	summary, err := log.Verify(ctx, "acme")
	if err != nil {
		panic(err)
	}
	fmt.Println(summary.Records, "records verified, the last is the receipt's:", summary.Leaf == receipt.Leaf)
	// Output:
	// record 2
	// 3 records verified, the last is the receipt's: true
}
