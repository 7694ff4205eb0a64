package vaultapi

import (
	"cmp"
	"context"
	"net/http"

	"coffer/app/actions"
	"coffer/app/domain"
)

// itemText reads the fields of an item that are secrets, and the version it names.
func itemText(item fields, name string) (value, associated domain.Secret, version int, err error) {
	if value, err = item.secret(name); err != nil {
		return value, associated, 0, err
	}
	if associated, err = item.secret("associated_data"); err != nil {
		return value, associated, 0, err
	}
	version, err = item.number("key_version")
	return value, associated, version, err
}

// encryptTransit encrypts. A key that is not there is made, for a caller who may.
func encryptTransit(ctx context.Context, r *request) (*reply, error) {
	b, err := r.transitBatch()
	if err != nil {
		return nil, err
	}
	in := actions.TransitEncryptIn{Tenant: r.tenant, Name: r.params["name"]}
	for _, item := range b.items {
		if !item.has("plaintext") && b.single {
			return nil, failf(http.StatusBadRequest, "missing plaintext to encrypt")
		}
		plain, associated, version, err := itemText(item, "plaintext")
		if err != nil {
			return nil, err
		}
		in.Items = append(in.Items, actions.TransitPlain{Plaintext: plain, Associated: associated, KeyVersion: version})
	}
	out, err := do(ctx, r, actions.TransitEncrypt, in)
	if domain.KindOf(err) == domain.NotFound {
		if _, err = r.createTransit(ctx, b.all); err == nil {
			out, err = do(ctx, r, actions.TransitEncrypt, in)
		}
	}
	if err != nil {
		return nil, noKey(err, "encryption key not found")
	}
	return b.answer(len(out.Results), true, func(i int) (map[string]any, string) {
		failure := out.Results[i].Error
		if failure == "" && !b.items[i].has("plaintext") {
			failure = "missing plaintext to encrypt"
		}
		return textData("ciphertext", out.Results[i], failure), failure
	})
}

// textData is what is shown of a text that a key made.
func textData(name string, t actions.TransitText, failure string) map[string]any {
	if failure != "" {
		return map[string]any{}
	}
	return map[string]any{name: t.Text, "key_version": t.KeyVersion}
}

func decryptTransit(ctx context.Context, r *request) (*reply, error) {
	b, err := r.transitBatch()
	if err != nil {
		return nil, err
	}
	in := actions.TransitDecryptIn{Tenant: r.tenant, Name: r.params["name"]}
	for _, item := range b.items {
		text, err := item.text("ciphertext")
		if err != nil {
			return nil, err
		}
		if text == "" && b.single {
			return nil, failf(http.StatusBadRequest, "missing ciphertext to decrypt")
		}
		associated, err := item.secret("associated_data")
		if err != nil {
			return nil, err
		}
		in.Items = append(in.Items, actions.TransitCipher{Ciphertext: text, Associated: associated})
	}
	out, err := do(ctx, r, actions.TransitDecrypt, in)
	if err != nil {
		return nil, noKey(err, "encryption key not found")
	}
	return b.answer(len(out.Results), true, func(i int) (map[string]any, string) {
		if out.Results[i].Plaintext == nil {
			return map[string]any{"plaintext": ""}, out.Results[i].Error
		}
		return map[string]any{"plaintext": out.Results[i].Plaintext}, ""
	})
}

func rewrapTransit(ctx context.Context, r *request) (*reply, error) {
	b, err := r.transitBatch()
	if err != nil {
		return nil, err
	}
	in := actions.TransitRewrapIn{Tenant: r.tenant, Name: r.params["name"]}
	for _, item := range b.items {
		text, err := item.text("ciphertext")
		if err != nil {
			return nil, err
		}
		if text == "" && b.single {
			return nil, failf(http.StatusBadRequest, "missing ciphertext to decrypt")
		}
		_, associated, version, err := itemText(item, "ciphertext")
		if err != nil {
			return nil, err
		}
		in.Items = append(in.Items, actions.TransitAgain{Ciphertext: text, Associated: associated, KeyVersion: version})
	}
	out, err := do(ctx, r, actions.TransitRewrap, in)
	if err != nil {
		return nil, noKey(err, "encryption key not found")
	}
	return b.answer(len(out.Results), false, func(i int) (map[string]any, string) {
		return textData("ciphertext", out.Results[i], out.Results[i].Error), out.Results[i].Error
	})
}

// datakeyTransit makes a data key: datakey/plaintext shows it, datakey/wrapped does
// not.
func datakeyTransit(ctx context.Context, r *request) (*reply, error) {
	kind := r.params["kind"]
	if kind != "plaintext" && kind != "wrapped" {
		return nil, failf(http.StatusBadRequest, "Invalid path, must be 'plaintext' or 'wrapped'")
	}
	f, err := r.fields()
	if err != nil {
		return nil, err
	}
	bits, err := f.number("bits")
	if err != nil {
		return nil, err
	}
	_, associated, _, err := itemText(f, "")
	if err != nil {
		return nil, err
	}
	out, err := do(ctx, r, actions.TransitDatakey, actions.TransitDatakeyIn{
		Tenant: r.tenant, Name: r.params["name"], Bits: bits, Associated: associated, Wrapped: kind == "wrapped",
	})
	if err != nil {
		return nil, noKey(err, "encryption key not found")
	}
	data := map[string]any{"ciphertext": out.Ciphertext, "key_version": out.KeyVersion}
	if out.Plaintext != nil {
		data["plaintext"] = out.Plaintext
	}
	return &reply{data: data}, nil
}

// transitHash is the hash that a request names: in the path, or in a field that has
// an older name too.
func (r *request) transitHash(f fields) (string, error) {
	name, err := f.text("hash_algorithm")
	if err != nil {
		return "", err
	}
	older, err := f.text("algorithm")
	return cmp.Or(r.params["hash"], name, older), err
}

// transitOptions reads what a request says of signatures.
func (r *request) transitOptions(f fields) (o actions.TransitOptions, err error) {
	if o.Hash, err = r.transitHash(f); err != nil {
		return o, err
	}
	if o.Algorithm, err = f.text("signature_algorithm"); err != nil {
		return o, err
	}
	if o.Marshaling, err = f.text("marshaling_algorithm"); err != nil {
		return o, err
	}
	salt, err := f.text("salt_length")
	if err == nil && salt != "" && salt != "auto" && salt != "hash" {
		err = failf(http.StatusBadRequest, "salt_length: a salt is as long as its hash")
	}
	if err != nil {
		return o, err
	}
	o.Prehashed, err = f.flag("prehashed", false)
	return o, err
}

// inputs are the items to sign or to authenticate, with the version that is named.
func (b batch) inputs() (out []actions.TransitInput, version int, err error) {
	for _, item := range b.items {
		input, err := item.secret("input")
		if err != nil {
			return nil, 0, err
		}
		out = append(out, actions.TransitInput{Input: input})
	}
	version, err = b.all.number("key_version")
	return out, version, err
}

func signTransit(ctx context.Context, r *request) (*reply, error) {
	b, err := r.transitBatch()
	if err != nil {
		return nil, err
	}
	in := actions.TransitSignIn{Tenant: r.tenant, Name: r.params["name"]}
	if in.TransitOptions, err = r.transitOptions(b.all); err != nil {
		return nil, err
	}
	if in.Items, in.KeyVersion, err = b.inputs(); err != nil {
		return nil, err
	}
	out, err := do(ctx, r, actions.TransitSign, in)
	if err != nil {
		return nil, noKey(err, "signing key not found")
	}
	return b.answer(len(out.Results), false, func(i int) (map[string]any, string) {
		return textData("signature", out.Results[i], out.Results[i].Error), out.Results[i].Error
	})
}

func hmacTransit(ctx context.Context, r *request) (*reply, error) {
	b, err := r.transitBatch()
	if err != nil {
		return nil, err
	}
	in := actions.TransitHMACIn{Tenant: r.tenant, Name: r.params["name"]}
	if in.Hash, err = r.transitHash(b.all); err != nil {
		return nil, err
	}
	if in.Items, in.KeyVersion, err = b.inputs(); err != nil {
		return nil, err
	}
	out, err := do(ctx, r, actions.TransitHMAC, in)
	if err != nil {
		return nil, noKey(err, "encryption key not found")
	}
	return b.answer(len(out.Results), false, func(i int) (map[string]any, string) {
		data := textData("hmac", out.Results[i], out.Results[i].Error)
		delete(data, "key_version") // the text says it
		return data, out.Results[i].Error
	})
}

func verifyTransit(ctx context.Context, r *request) (*reply, error) {
	b, err := r.transitBatch()
	if err != nil {
		return nil, err
	}
	in := actions.TransitVerifyIn{Tenant: r.tenant, Name: r.params["name"]}
	if in.TransitOptions, err = r.transitOptions(b.all); err != nil {
		return nil, err
	}
	for _, item := range b.items {
		claim := actions.TransitClaim{}
		if claim.Input, err = item.secret("input"); err != nil {
			return nil, err
		}
		if claim.Signature, err = item.text("signature"); err != nil {
			return nil, err
		}
		if claim.HMAC, err = item.text("hmac"); err != nil {
			return nil, err
		}
		in.Items = append(in.Items, claim)
	}
	out, err := do(ctx, r, actions.TransitVerify, in)
	if err != nil {
		return nil, noKey(err, "signature verification key not found")
	}
	return b.answer(len(out.Results), false, func(i int) (map[string]any, string) {
		return map[string]any{"valid": out.Results[i].Valid}, out.Results[i].Error
	})
}
