package app_test

import "testing"

// TestVaultLeaseTranscript: each row of leases, as its clients see it.
func TestVaultLeaseTranscript(t *testing.T) {
	r := serveTemp(t)
	r.tenant("acme")
	r.tenant("globex")
	owner := r.make("", "acme", object{"role": "owner", "renewable": true, "ttl": "2h"})
	viewer := r.make("", "acme", object{"role": "viewer"})
	id, other := "auth/token/create/"+owner.Accessor, "auth/token/create/"+viewer.Accessor
	tr := newTranscript(r)
	tr.ask(owner.Token, "", "PUT", "sys/leases/lookup", object{"lease_id": id})
	tr.ask(owner.Token, "", "PUT", "sys/leases/renew", object{"lease_id": id, "increment": 3600})
	tr.ask(owner.Token, "", "PUT", "sys/leases/lookup", object{"lease_id": id})
	tr.ask(owner.Token, "", "PUT", "sys/renew/"+id, nil)
	tr.ask(owner.Token, "", "PUT", "sys/leases/renew", object{"lease_id": id, "increment": "48h"})
	tr.ask(owner.Token, "", "PUT", "sys/leases/renew", object{"lease_id": other})
	tr.ask(viewer.Token, "", "PUT", "sys/leases/renew", object{"lease_id": "database/creds/x/unknown"})
	tr.ask(owner.Token, "", "PUT", "sys/leases/lookup", object{"lease_id": "database/creds/x/unknown"})
	tr.ask(owner.Token, "", "PUT", "sys/leases/lookup", nil)
	tr.ask(owner.Token, "", "GET", "sys/leases/lookup?list=true", nil)
	tr.ask(owner.Token, "", "LIST", "sys/leases/lookup/auth/token", nil)
	tr.ask(owner.Token, "", "LIST", "sys/leases/lookup/database/creds/", nil)
	tr.ask(owner.Token, "globex", "PUT", "sys/leases/lookup", object{"lease_id": id})
	tr.ask(owner.Token, "", "PUT", "sys/leases/revoke/"+other, object{"sync": false})
	tr.ask(viewer.Token, "", "GET", "auth/token/lookup-self", nil)
	tr.ask(owner.Token, "", "PUT", "sys/leases/revoke", object{"lease_id": other, "sync": true})
	tr.ask(owner.Token, "", "PUT", "sys/revoke", object{"lease_id": "database/creds/x/unknown"})
	tr.ask(owner.Token, "", "PUT", "sys/leases/revoke-prefix/database/creds", nil)
	tr.ask(owner.Token, "", "PUT", "sys/leases/revoke-force/database", nil)
	tr.ask(owner.Token, "", "PUT", "sys/leases/revoke-prefix/auth/token/create", nil)
	tr.ask(owner.Token, "", "GET", "auth/token/lookup-self", nil)
	tr.compare("lease")
}
