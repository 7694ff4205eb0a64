package vaultapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"coffer/app/actions"
	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/vault"
)

// transit are the endpoints of a transit mount: the keys, and below that (see
// transit_use.go) what they do.
func (a *API) transit() []endpoint {
	e := func(o op, pattern string, action domain.Action, handle func(context.Context, *request) (*reply, error), also ...domain.Action) endpoint {
		return endpoint{kind: "transit", op: o, pattern: pattern, action: action, also: also, handle: handle}
	}
	return []endpoint{
		e(opList, "keys", authz.TransitList, listTransit),
		e(opWrite, "keys/{name}", authz.TransitCreate, createTransit),
		e(opRead, "keys/{name}", authz.TransitRead, readTransit),
		e(opDelete, "keys/{name}", authz.TransitRemove, removeTransit),
		e(opWrite, "keys/{name}/config", authz.TransitConfig, configTransit),
		e(opWrite, "keys/{name}/rotate", authz.TransitRotate, rotateTransit),
		e(opWrite, "keys/{name}/trim", authz.TransitTrim, trimTransit),
		e(opWrite, "encrypt/{name}", authz.TransitEncrypt, encryptTransit, authz.TransitCreate),
		e(opWrite, "decrypt/{name}", authz.TransitDecrypt, decryptTransit),
		e(opWrite, "rewrap/{name}", authz.TransitRewrap, rewrapTransit),
		e(opWrite, "datakey/{kind}/{name}", authz.TransitDatakey, datakeyTransit),
		e(opWrite, "sign/{name}", authz.TransitSign, signTransit),
		e(opWrite, "sign/{name}/{hash}", authz.TransitSign, signTransit),
		e(opWrite, "verify/{name}", authz.TransitVerify, verifyTransit),
		e(opWrite, "verify/{name}/{hash}", authz.TransitVerify, verifyTransit),
		e(opWrite, "hmac/{name}", authz.TransitHMAC, hmacTransit),
		e(opWrite, "hmac/{name}/{hash}", authz.TransitHMAC, hmacTransit),
	}
}

// transitKey names the key of the path.
func (r *request) transitKey() actions.TransitRef {
	return actions.TransitRef{Tenant: r.tenant, Name: r.params["name"]}
}

// noKey makes 400 with a text of what is not there: with these endpoints 404 would
// be the path.
func noKey(err error, text string) error {
	if domain.KindOf(err) == domain.NotFound {
		return failf(http.StatusBadRequest, text)
	}
	return err
}

// transitData is what is shown of a key: a version's time, or for a pair its public
// key too.
func transitData(k vault.TransitKey) map[string]any {
	keys := map[string]any{}
	for _, v := range k.Versions {
		number := strconv.Itoa(v.Number)
		if k.Type.Signs() {
			keys[number] = map[string]any{"creation_time": v.Created.Format(time.RFC3339Nano), "name": curveName(k.Type), "public_key": v.Public}
		} else {
			keys[number] = v.Created.Unix()
		}
	}
	return map[string]any{
		"name": k.Name, "type": k.Type, "keys": keys, "latest_version": k.Latest,
		"min_available_version": available(k.MinAvailable), "min_decryption_version": k.MinDecryption, "min_encryption_version": k.MinEncryption,
		"deletion_allowed": k.Deletable, "derived": false, "exportable": false, "allow_plaintext_backup": false,
		"auto_rotate_period": 0, "imported_key": false,
		"supports_encryption": k.Type.Encrypts(), "supports_decryption": k.Type.Encrypts(),
		"supports_signing": k.Type.Signs(), "supports_derivation": false,
	}
}

// available is 0 where nothing was trimmed, as Vault has it.
func available(n int) int {
	if n == 1 {
		return 0
	}
	return n
}

// curveName is what Vault calls the keys of a type.
func curveName(t vault.TransitType) string {
	switch t {
	case vault.ECDSAP256:
		return "P-256"
	case vault.ECDSAP384:
		return "P-384"
	case vault.ECDSAP521:
		return "P-521"
	}
	return string(t)
}

func listTransit(ctx context.Context, r *request) (*reply, error) {
	out, err := do(ctx, r, actions.TransitList, actions.TenantRef{Tenant: r.tenant})
	if err != nil {
		return nil, err
	}
	if len(out.Keys) == 0 {
		return nil, missing()
	}
	names := make([]string, 0, len(out.Keys))
	for _, k := range out.Keys {
		names = append(names, k.Name)
	}
	return &reply{data: map[string]any{"keys": names}}, nil
}

// unserved are settings that ask for what Coffer does not do. Asked for, they are
// refused: who gets a key without them would go on as if it had them.
var unserved = map[string]string{
	"derived":                "derived keys are not supported: put the context into associated_data",
	"convergent_encryption":  "convergent encryption is not supported: equal plaintexts would show",
	"exportable":             "exportable keys are not supported: keys are never shown",
	"allow_plaintext_backup": "plaintext backups are not supported: keys are never shown",
}

func (f fields) refuseUnserved() error {
	for name, text := range unserved {
		if on, err := f.flag(name, false); err != nil || on {
			return &domain.Error{Kind: domain.Invalid, Field: name, Msg: text}
		}
	}
	period, err := f.duration("auto_rotate_period")
	if err == nil && period != 0 {
		err = &domain.Error{Kind: domain.Invalid, Field: "auto_rotate_period", Msg: "automatic rotation is not supported: call keys/NAME/rotate on a schedule"}
	}
	return err
}

func createTransit(ctx context.Context, r *request) (*reply, error) {
	f, err := r.fields()
	if err != nil {
		return nil, err
	}
	out, err := r.createTransit(ctx, f)
	if err != nil {
		return nil, err
	}
	answer := &reply{data: transitData(out.TransitKey)}
	if !out.Made {
		answer.warnings = []string{"key " + out.Name + " already existed"}
	}
	return answer, nil
}

func (r *request) createTransit(ctx context.Context, f fields) (out actions.TransitMade, err error) {
	kind, err := f.text("type")
	if err != nil {
		return out, err
	}
	if err := f.refuseUnserved(); err != nil {
		return out, err
	}
	return do(ctx, r, actions.TransitCreate, actions.TransitCreateIn{Tenant: r.tenant, Name: r.params["name"], Type: kind})
}

func readTransit(ctx context.Context, r *request) (*reply, error) {
	out, err := do(ctx, r, actions.TransitRead, r.transitKey())
	if err != nil {
		return nil, err
	}
	return &reply{data: transitData(out)}, nil
}

func removeTransit(ctx context.Context, r *request) (*reply, error) {
	if _, err := do(ctx, r, actions.TransitRemove, r.transitKey()); err != nil {
		return nil, noKey(err, "could not delete key; not found")
	}
	return &reply{}, nil
}

// unknownKey is said where a key is to be changed that is not there.
func (r *request) unknownKey(err error) error {
	return noKey(err, "no existing key named "+clip(r.params["name"])+" could be found")
}

func configTransit(ctx context.Context, r *request) (*reply, error) {
	f, err := r.fields()
	if err != nil {
		return nil, err
	}
	if err := f.refuseUnserved(); err != nil {
		return nil, err
	}
	in := actions.TransitConfigIn{Tenant: r.tenant, Name: r.params["name"]}
	for name, into := range map[string]**int{"min_decryption_version": &in.MinDecryption, "min_encryption_version": &in.MinEncryption} {
		n, err := f.number(name)
		if err != nil {
			return nil, err
		}
		if f.has(name) {
			*into = &n
		}
	}
	if f.has("deletion_allowed") {
		on, err := f.flag("deletion_allowed", false)
		if err != nil {
			return nil, err
		}
		in.Deletable = &on
	}
	out, err := do(ctx, r, actions.TransitConfig, in)
	if err != nil {
		return nil, r.unknownKey(err)
	}
	return &reply{data: transitData(out)}, nil
}

func rotateTransit(ctx context.Context, r *request) (*reply, error) {
	out, err := do(ctx, r, actions.TransitRotate, r.transitKey())
	if err != nil {
		return nil, r.unknownKey(err)
	}
	return &reply{data: transitData(out)}, nil
}

func trimTransit(ctx context.Context, r *request) (*reply, error) {
	f, err := r.fields()
	if err != nil {
		return nil, err
	}
	minimum, err := f.number("min_available_version")
	if err != nil {
		return nil, err
	}
	_, err = do(ctx, r, actions.TransitTrim, actions.TransitTrimIn{Tenant: r.tenant, Name: r.params["name"], Minimum: minimum})
	if err != nil {
		return nil, noKey(err, "invalid key name")
	}
	return &reply{}, nil
}

// batch are the items of a request: those of batch_input, or one that stands in the
// body itself.
type batch struct {
	items  []fields
	single bool
	all    fields
}

// unservedItem are fields of an item that ask for what Coffer does not do.
var unservedItem = []string{"context", "nonce"}

// transitBatch reads the items.
func (r *request) transitBatch() (b batch, err error) {
	if b.all, err = r.fields(); err != nil {
		return b, err
	}
	if b.single = !b.all.has("batch_input"); b.single {
		b.items = []fields{b.all}
	} else if json.Unmarshal(b.all["batch_input"], &b.items) != nil {
		return b, failf(http.StatusBadRequest, "failed to parse batch input: it is not a list of objects")
	}
	switch n := len(b.items); {
	case n == 0:
		return b, failf(http.StatusBadRequest, "missing batch input to process")
	case n > vault.MaxTransitItems:
		return b, failf(http.StatusBadRequest, "batch_input has more than "+strconv.Itoa(vault.MaxTransitItems)+" items")
	}
	for _, item := range b.items {
		for _, name := range unservedItem {
			if text, err := item.text(name); err != nil || text != "" {
				return b, failf(http.StatusBadRequest, name+" is not supported: put what is to be bound into associated_data")
			}
		}
	}
	return b, nil
}

// answer makes the answer of the results, of each of which give says what is shown,
// and of which how many failed. strict says that a failure is that of the request.
func (b batch) answer(n int, strict bool, give func(i int) (data map[string]any, failure string)) (*reply, error) {
	results, failed := make([]map[string]any, 0, n), 0
	for i := range n {
		data, failure := give(i)
		if failure != "" {
			if b.single {
				return nil, failf(http.StatusBadRequest, failure)
			}
			data["error"], failed = failure, failed+1
		}
		results = append(results, data)
	}
	if b.single {
		return &reply{data: results[0]}, nil
	}
	for i, item := range b.items {
		reference, err := item.text("reference")
		if err != nil {
			return nil, err
		}
		results[i]["reference"] = reference
	}
	out := &reply{data: map[string]any{"batch_results": results}}
	if failed == 0 || !strict {
		return out, nil
	}
	out.status = http.StatusBadRequest
	chosen, err := b.all.number("partial_failure_response_code")
	if err != nil || chosen != 0 && (chosen < 200 || chosen > 599) {
		return nil, failf(http.StatusBadRequest, "invalid partial_failure_response_code")
	}
	if chosen != 0 && failed < n {
		out.status = chosen
	}
	return out, nil
}
