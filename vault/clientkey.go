package vault

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	aeadsubtle "github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/audit"
	"coffer/vault/seal"
)

// bucketClients has a row for each tenant that is closed under a client-held key:
// how the key that is presented becomes the one that opens, and nothing of it.
const bucketClients = "client-keys"

// clientRecord is the row of a tenant in bucketClients.
type clientRecord struct {
	Version int `json:"version"` // recordVersion
	seal.ClientParams
	Set time.Time `json:"set"`
	By  string    `json:"by"` // principal
}

// ClientKey is what a client presents: a passphrase, or the bytes of a key file.
type ClientKey struct {
	Form seal.ClientForm
	Key  domain.Secret
}

// ReadClientKey reads a key as it comes over the wire: a passphrase as it is, the
// bytes of a file in base64. One that is too weak to be set is none.
func ReadClientKey(form string, key domain.Secret) (ClientKey, error) {
	k := ClientKey{Form: seal.ClientForm(form), Key: key}
	switch k.Form {
	case seal.ClientPassphrase:
	case seal.ClientKeyfile:
		b := make([]byte, base64.StdEncoding.DecodedLen(key.Len()))
		n, err := base64.StdEncoding.Strict().Decode(b, key.Reveal())
		if err != nil {
			return k, domain.Fieldf("key", "the bytes of a key file are given in base64")
		}
		k.Key = domain.NewSecret(b[:n])
	default:
		return k, domain.Fieldf("form", "%.20q is no form of a client-held key", form).
			WithHint("one of %s, %s", seal.ClientPassphrase, seal.ClientKeyfile)
	}
	return k, seal.CheckClientKey(k.Form, k.Key)
}

// Opening says for how long a key that was presented opens.
type Opening struct {
	Until time.Time
	Idle  time.Duration // it ends too when nobody used it for so long; 0: it does not
}

// ClientState is what can be shown of a tenant's client-held key.
type ClientState struct {
	Form  seal.ClientForm // "" if the tenant has none
	Set   time.Time
	By    string
	Open  bool
	Until time.Time     // while it is open
	Idle  time.Duration // while it is open; 0 for none
}

// Closed says whether there is a key that nobody has presented.
func (s ClientState) Closed() bool { return s.Form != "" && !s.Open }

// clientState is a tenant's client-held key in memory. Nothing that opens is in
// it while it is closed.
type clientState struct {
	record clientRecord
	open   *opening
	lapsed bool // it ended by itself, and nobody has seen to that yet
}

// opening is what a key that was presented opened.
type opening struct {
	Opening
	client tink.AEAD      // under which the tenant's KEK is wrapped
	kek    *keyset.Handle // the tenant's KEK
	used   time.Time
}

// live says whether the opening holds at a time.
func (o *opening) live(now time.Time) bool {
	return o != nil && now.Before(o.Until) && (o.Idle == 0 || now.Sub(o.used) < o.Idle)
}

// ErrWrongClientKey is under the refusal of a client-held key that does not open.
var ErrWrongClientKey = errors.New("the client-held key does not open")

// errClientClosed is what everybody is told while the client keeps its key to
// itself.
func errClientClosed(id domain.TenantID) error {
	return domain.Errorf(domain.Denied, "%s is closed under the client's key", id).
		WithHint("an owner opens it by presenting the key: coffer client-key open -t %s", id)
}

// openClients reads which tenants have a client-held key. All of them are closed.
func (v *Vault) openClients(ctx context.Context) error {
	return v.keys.View(ctx, func(tx *store.Tx) error {
		return tx.Scan(bucketClients, nil, nil, func(id, b []byte) error {
			var r clientRecord
			if err := decodeRecord("the client-held key's row in keys.db", b, &r); err != nil {
				return err
			}
			if err := r.Check(); err != nil {
				return store.MalformedRecord("the client-held key's row in keys.db", err)
			}
			v.clients[domain.TenantID(id)] = &clientState{record: r}
			return nil
		})
	})
}

// ClientKey says what there is of a tenant's client-held key.
func (v *Vault) ClientKey(id domain.TenantID) ClientState {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.clients[id]
	if s == nil {
		return ClientState{}
	}
	out := ClientState{Form: s.record.Form, Set: s.record.Set, By: s.record.By}
	if s.open.live(v.now()) {
		out.Open, out.Until, out.Idle = true, s.open.Until, s.open.Idle
	}
	return out
}

// CheckClient is the error of a tenant that is closed under its client's key. An
// opening is used by asking.
func (v *Vault) CheckClient(id domain.TenantID) error {
	_, err := v.clientOpening(id)
	return err
}

// clientOpening gives what opens the tenant, nil if it has no client-held key.
func (v *Vault) clientOpening(id domain.TenantID) (*opening, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.clients[id]
	if s == nil {
		return nil, nil
	}
	now := v.now()
	if !s.open.live(now) {
		s.lapsed = s.lapsed || s.open != nil
		v.closeClient(id, s)
		return nil, errClientClosed(id)
	}
	s.open.used = now
	return s.open, nil
}

// closeClient drops what opens the tenant; v.mu is held.
func (v *Vault) closeClient(id domain.TenantID, s *clientState) {
	s.open = nil // Tink offers no way to overwrite key bytes
	v.forgets++
	delete(v.tenants, id)
}

// CloseClient drops the keys of a tenant that has a client-held key, and says
// whether it was open.
func (v *Vault) CloseClient(id domain.TenantID) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.clients[id]
	if s == nil {
		return false
	}
	was := s.open != nil
	v.closeClient(id, s)
	s.lapsed = false
	return was
}

// ExpiredClients gives the tenants whose opening has ended without anybody having
// closed it. Their keys are dropped.
func (v *Vault) ExpiredClients() (out []domain.TenantID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.now()
	for id, s := range v.clients {
		if s.open != nil && !s.open.live(now) {
			v.closeClient(id, s)
			s.lapsed = true
		}
		if s.lapsed {
			s.lapsed = false
			out = append(out, id)
		}
	}
	return out
}

// SetClientKey wraps the tenant's KEK, a new one, under the client's key within
// the appliance's own wrap. The wrap without the client's key is gone when it
// returns, except from backups. The tenant stays open as the opening says.
func (v *Vault) SetClientKey(ctx context.Context, p *audit.Permit, key ClientKey, o Opening) error {
	id := p.Tenant()
	if err := p.CheckChange(id, authz.ClientKeySet); err != nil {
		return err
	}
	params, err := seal.NewClientParams(key.Form)
	if err != nil {
		return err
	}
	client, err := clientAEAD(ctx, params, key)
	if err != nil {
		return err
	}
	now := v.now().UTC()
	record := clientRecord{Version: recordVersion, ClientParams: params, Set: now, By: p.Grant().Principal().String()}
	open := &opening{Opening: o, client: client, used: now}
	v.wrapping.Lock()
	defer v.wrapping.Unlock()
	if v.hasClient(id) {
		return domain.Errorf(domain.Conflict, "%s has a client-held key already", id).
			WithHint("remove it first: coffer client-key remove -t %s", id)
	}
	if err := v.rewrapTenant(ctx, p, id, open, func(tx *store.Tx) error {
		b, err := json.Marshal(record)
		if err != nil {
			return err
		}
		return tx.Put(bucketClients, []byte(id), b)
	}); err != nil {
		return err
	}
	v.adoptClient(id, &clientState{record: record, open: open})
	return v.tidy(ctx)
}

// OpenClient opens the tenant with the key that the client presents.
func (v *Vault) OpenClient(ctx context.Context, p *audit.Permit, key ClientKey, o Opening) error {
	id := p.Tenant()
	if err := p.CheckChange(id, authz.ClientKeyOpen); err != nil {
		return err
	}
	v.mu.Lock()
	s := v.clients[id]
	v.mu.Unlock()
	if s == nil {
		return errNoClientKey(id)
	}
	if key.Form != s.record.Form {
		return domain.Fieldf("form", "%s is closed under a %s", id, s.record.Form)
	}
	client, err := clientAEAD(ctx, s.record.ClientParams, key)
	if err != nil {
		return err
	}
	v.wrapping.RLock()
	defer v.wrapping.RUnlock()
	r, err := v.tenantRow(ctx, id)
	if err != nil {
		return err
	}
	kek, err := v.unwrapClient(id, r.KEK, client)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.clients[id] != s {
		return domain.Errorf(domain.Conflict, "the client-held key of %s was changed meanwhile", id).WithHint("try again")
	}
	s.open, s.lapsed = &opening{Opening: o, client: client, kek: kek, used: v.now()}, false
	return nil
}

// RemoveClientKey puts the tenant's KEK, a new one, under the appliance's wrap
// alone. The tenant must be open.
func (v *Vault) RemoveClientKey(ctx context.Context, p *audit.Permit) error {
	id := p.Tenant()
	if err := p.CheckChange(id, authz.ClientKeyRemove); err != nil {
		return err
	}
	v.wrapping.Lock()
	defer v.wrapping.Unlock()
	if !v.hasClient(id) {
		return errNoClientKey(id)
	}
	if err := v.rewrapTenant(ctx, p, id, nil, func(tx *store.Tx) error {
		return tx.Delete(bucketClients, []byte(id))
	}); err != nil {
		return err
	}
	v.adoptClient(id, nil)
	return v.tidy(ctx)
}

func errNoClientKey(id domain.TenantID) error {
	return domain.Errorf(domain.Conflict, "%s has no client-held key", id).
		WithHint("an owner sets one with: coffer client-key set -t %s", id)
}

func (v *Vault) hasClient(id domain.TenantID) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.clients[id] != nil
}

// adoptClient makes what is on disk true in memory.
func (v *Vault) adoptClient(id domain.TenantID, s *clientState) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.forgets++
	delete(v.tenants, id)
	if s == nil {
		delete(v.clients, id)
		return
	}
	v.clients[id] = s
}

// clientAEAD makes the AEAD under which the KEK is wrapped.
func clientAEAD(ctx context.Context, p seal.ClientParams, key ClientKey) (tink.AEAD, error) {
	derived, err := p.Derive(ctx, key.Key)
	if err != nil {
		return nil, err
	}
	defer derived.Zero()
	return aeadsubtle.NewAESGCM(derived.Reveal())
}

// Contexts of the two wraps of a KEK under a client-held key.
func clientContext(id domain.TenantID) string { return tenantContext(id, "client") }
func closedContext(id domain.TenantID) string { return tenantContext(id, "closed") }

// wrapKEK wraps a KEK as its row has it: under the root keyset, or, for a tenant
// with a client-held key, under that and then under the root keyset.
func (v *Vault) wrapKEK(id domain.TenantID, kek *keyset.Handle, o *opening) ([]byte, error) {
	if o == nil {
		return wrap(kek, v.root, tenantContext(id, ""))
	}
	inner, err := wrap(kek, o.client, clientContext(id))
	if err != nil {
		return nil, err
	}
	outer, err := v.root.Encrypt(inner, []byte(closedContext(id)))
	if err != nil {
		return nil, err
	}
	// What is written must open again: nothing else ever will.
	if _, err := v.unwrapClient(id, outer, o.client); err != nil {
		return nil, err
	}
	return outer, nil
}

// unwrapClient opens a KEK with what the client presented.
func (v *Vault) unwrapClient(id domain.TenantID, b []byte, client tink.AEAD) (*keyset.Handle, error) {
	inner, err := v.openOuter(id, b)
	if err != nil {
		return nil, err
	}
	kek, err := unwrap(inner, client, clientContext(id))
	if err != nil {
		return nil, &domain.Error{
			Kind: domain.Denied, Msg: "this is not the key under which " + string(id) + " is closed", Err: ErrWrongClientKey,
			Hint: "wrong keys are counted; no operator and no recovery key can help",
		}
	}
	return kek, nil
}

// openOuter takes the appliance's own wrap off, as far as it can go by itself.
func (v *Vault) openOuter(id domain.TenantID, b []byte) ([]byte, error) {
	inner, err := v.root.Decrypt(b, []byte(closedContext(id)))
	if err != nil {
		return nil, domain.Errorf(domain.Tampered, "the wrapped keyset %q does not authenticate: %w", closedContext(id), err)
	}
	return inner, nil
}
