package vault_test

import (
	"fmt"
	"testing"

	"coffer/app/authz"
	"coffer/app/store"
)

// The costs of a secret besides its audit event: encryption and the control
// store's transaction, which for a put is a sync of the disk.

func BenchmarkSecretPut(b *testing.B) {
	k := newKit(b)
	k.tenant(b, "acme")
	c := k.coffer(b, k.intend(b, "acme", authz.SecretPut, "stripe/live"))
	value := parse(b, `{"key":"sk_live_0123456789"}`)
	put := func() error {
		_, err := k.db.Update(b.Context(), func(tx *store.Tx) error { _, err := c.Put(tx, value, nil, start); return err })
		return err
	}
	b.Run("1", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			must(b, put())
		}
	})
	b.Run("16", func(b *testing.B) {
		b.SetParallelism(8) // on two cores
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := put(); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func BenchmarkSecretRead(b *testing.B) {
	k := newKit(b)
	k.tenant(b, "acme")
	k.mustPut(b, "acme", "stripe/live", `{"key":"sk_live_0123456789"}`)
	p := k.permit(b, "acme", authz.SecretRead, "stripe/live")
	b.ReportAllocs()
	for b.Loop() {
		c := k.coffer(b, p)
		must(b, k.db.View(b.Context(), func(tx *store.Tx) error { _, _, err := c.Read(tx, 0); return err }))
	}
}

// A tenant's whole list is opened for each page: paths are blinded in the keys.
func BenchmarkSecretList1000(b *testing.B) {
	k := newKitIn(b, memoryDir(b))
	k.tenant(b, "acme")
	for i := range 1000 {
		k.mustPut(b, "acme", fmt.Sprintf("a/%d", i), `{"key":"v"}`)
	}
	c := k.coffer(b, k.permit(b, "acme", authz.SecretList, ""))
	for b.Loop() {
		must(b, k.db.View(b.Context(), func(tx *store.Tx) error { _, err := c.List(tx, "", 100); return err }))
	}
}

func BenchmarkTenantKeys(b *testing.B) {
	k := newKit(b)
	k.tenant(b, "acme")
	b.Run("create", func(b *testing.B) {
		p := k.intend(b, "", authz.TenantCreate, "globex")
		for b.Loop() {
			_, err := k.v.CreateTenant(b.Context(), p, "globex")
			must(b, err)
		}
	})
	b.Run("unwrap", func(b *testing.B) {
		p := k.permit(b, "acme", authz.SecretRead, "a")
		b.ReportAllocs()
		for b.Loop() {
			k.v.Forget("acme")
			k.coffer(b, p)
		}
	})
}
