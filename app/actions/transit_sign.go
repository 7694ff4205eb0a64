package actions

import (
	"context"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/vault"
)

// TransitInput is something to sign or to authenticate.
type TransitInput struct {
	Input domain.Secret `json:"input" doc:"in base64"`
}

// TransitOptions choose among the signatures that a key can make. What is left out
// is what fits the key.
type TransitOptions struct {
	Hash       string `json:"hash_algorithm,omitempty" doc:"sha2-256, sha2-384 or sha2-512; sha2-224 too for an HMAC"`
	Algorithm  string `json:"signature_algorithm,omitempty" doc:"with RSA: pss or pkcs1v15"`
	Marshaling string `json:"marshaling_algorithm,omitempty" doc:"asn1, or jws for the form of RFC 7515"`
	Prehashed  bool   `json:"prehashed,omitempty" doc:"refused: send the input itself"`
}

func (o TransitOptions) vault() vault.SignOptions {
	return vault.SignOptions{Hash: o.Hash, Algorithm: o.Algorithm, Marshaling: o.Marshaling, Prehashed: o.Prehashed}
}

// TransitSignIn are items to sign.
type TransitSignIn struct {
	Tenant string `path:"tenant" json:"-"`
	Name   string `path:"name" json:"-" doc:"name of the key"`
	TransitOptions
	KeyVersion int            `json:"key_version,omitempty" doc:"of the key; 0 for the latest" schema:"minimum=0"`
	Items      []TransitInput `json:"items" schema:"minItems=1,maxItems=1000"`
}

// TransitHMACIn are items to authenticate.
type TransitHMACIn struct {
	Tenant     string         `path:"tenant" json:"-"`
	Name       string         `path:"name" json:"-" doc:"name of the key"`
	Hash       string         `json:"hash_algorithm,omitempty" doc:"sha2-224, sha2-256, sha2-384 or sha2-512" schema:"default=sha2-256"`
	KeyVersion int            `json:"key_version,omitempty" doc:"of the key; 0 for the latest" schema:"minimum=0"`
	Items      []TransitInput `json:"items" schema:"minItems=1,maxItems=1000"`
}

// TransitClaim is a signature or an HMAC with what it is said to be of.
type TransitClaim struct {
	Input     domain.Secret `json:"input" doc:"in base64"`
	Signature string        `json:"signature,omitempty" doc:"vault:vN: and base64"`
	HMAC      string        `json:"hmac,omitempty" doc:"vault:vN: and base64; instead of a signature"`
}

// TransitVerifyIn are items to verify.
type TransitVerifyIn struct {
	Tenant string `path:"tenant" json:"-"`
	Name   string `path:"name" json:"-" doc:"name of the key"`
	TransitOptions
	Items []TransitClaim `json:"items" schema:"minItems=1,maxItems=1000"`
}

// TransitValid is what became of one item: whether the signature is one, or why it
// can be none.
type TransitValid struct {
	Valid bool   `json:"valid"`
	Error string `json:"error,omitempty"`
}

// TransitValids are in the order of the items.
type TransitValids struct {
	Results []TransitValid `json:"results"`
}

// signed is an item with what was said for all.
type signed struct {
	TransitInput
	options vault.SignOptions
	version int
}

func spread(items []TransitInput, o vault.SignOptions, version int) (out []signed) {
	for _, i := range items {
		out = append(out, signed{i, o, version})
	}
	return out
}

// TransitSign signs.
var TransitSign = transitWork[TransitSignIn, signed, TransitText, TransitTexts]{
	action: authz.TransitSign,
	items: func(in TransitSignIn) (TransitRef, []signed) {
		return TransitRef{in.Tenant, in.Name}, spread(in.Items, in.vault(), in.KeyVersion)
	},
	needs: func(i signed) []int { return []int{i.version} },
	do: func(t *vault.Transit, i signed) (TransitText, int, error) {
		input, err := vault.DecodeTransit("input", i.Input)
		if err != nil {
			return TransitText{}, 0, err
		}
		text, n, err := t.Sign(i.version, input, i.options)
		return TransitText{Text: text, KeyVersion: n}, n, err
	},
	fail: textError, out: texts,
}.operation()

// TransitHMAC authenticates.
var TransitHMAC = transitWork[TransitHMACIn, signed, TransitText, TransitTexts]{
	action: authz.TransitHMAC,
	items: func(in TransitHMACIn) (TransitRef, []signed) {
		return TransitRef{in.Tenant, in.Name}, spread(in.Items, vault.SignOptions{Hash: in.Hash}, in.KeyVersion)
	},
	needs: func(i signed) []int { return []int{i.version} },
	do: func(t *vault.Transit, i signed) (TransitText, int, error) {
		input, err := vault.DecodeTransit("input", i.Input)
		if err != nil {
			return TransitText{}, 0, err
		}
		text, n, err := t.HMAC(i.version, input, i.options.Hash)
		return TransitText{Text: text, KeyVersion: n}, n, err
	},
	fail: textError, out: texts,
}.operation()

// claimed is an item to verify with what was said for all.
type claimed struct {
	TransitClaim
	options vault.SignOptions
}

// text is the signature or HMAC, and what it is called.
func (c claimed) text() (what, text string) {
	if c.HMAC != "" {
		return "hmac", c.HMAC
	}
	return "signature", c.Signature
}

// TransitVerify verifies signatures and HMACs.
var TransitVerify = transitWork[TransitVerifyIn, claimed, TransitValid, TransitValids]{
	action: authz.TransitVerify,
	items: func(in TransitVerifyIn) (ref TransitRef, items []claimed) {
		for _, i := range in.Items {
			items = append(items, claimed{i, in.vault()})
		}
		return TransitRef{in.Tenant, in.Name}, items
	},
	needs: func(i claimed) []int { return []int{versionIn(i.text())} },
	do: func(t *vault.Transit, i claimed) (out TransitValid, version int, err error) {
		if (i.Signature == "") == (i.HMAC == "") {
			return out, 0, domain.Fieldf("signature", "either a signature or an hmac is verified")
		}
		input, err := vault.DecodeTransit("input", i.Input)
		if err != nil {
			return out, 0, err
		}
		version = versionIn(i.text())
		if i.HMAC != "" {
			out.Valid, err = t.VerifyHMAC(i.HMAC, input, i.options.Hash)
		} else {
			out.Valid, err = t.Verify(i.Signature, input, i.options)
		}
		return out, version, err
	},
	fail: func(text string) TransitValid { return TransitValid{Error: text} },
	out:  func(r []TransitValid) TransitValids { return TransitValids{r} },
}.operation()

// TransitDatakeyIn asks for a new key.
type TransitDatakeyIn struct {
	Tenant     string        `path:"tenant" json:"-"`
	Name       string        `path:"name" json:"-" doc:"name of the key"`
	Bits       int           `json:"bits,omitempty" doc:"128, 256 or 512" schema:"default=256"`
	Associated domain.Secret `json:"associated_data,omitempty" doc:"in base64: it has to be given again to decrypt"`
	Wrapped    bool          `json:"wrapped,omitempty" doc:"only encrypted: who asks does not see the key"`
}

// TransitDatakeyOut is a random key, encrypted, and in the clear if that was asked
// for.
type TransitDatakeyOut struct {
	Ciphertext string             `json:"ciphertext"`
	KeyVersion int                `json:"key_version"`
	Plaintext  *domain.Disclosure `json:"plaintext,omitempty" doc:"in base64" schema:"type=string"`
}

// TransitDatakey makes a random key for whoever encrypts by themselves.
var TransitDatakey = Operation[TransitDatakeyIn, TransitDatakeyOut]{
	action: authz.TransitDatakey,
	ask: func(ctx context.Context, s *Service, in TransitDatakeyIn) (authz.Request, error) {
		return TransitRef{in.Tenant, in.Name}.ask(ctx, s)
	},
	act: func(ctx context.Context, c *call, in TransitDatakeyIn) (out TransitDatakeyOut, err error) {
		associated, err := vault.DecodeTransit("associated_data", in.Associated)
		if err != nil {
			return out, err
		}
		var key *vault.Transit
		err = c.viewSecrets(ctx, func(coffer *vault.Coffer, tx *store.Tx) (err error) {
			key, err = coffer.Transit(tx, []int{0})
			return err
		})
		if err != nil {
			return out, err
		}
		if in.Bits == 0 {
			in.Bits = 256
		}
		plain, text, n, err := key.DataKey(in.Bits, associated)
		if err != nil {
			return out, err
		}
		c.detail["version"], c.detail["wrapped"] = n, in.Wrapped
		out = TransitDatakeyOut{Ciphertext: text, KeyVersion: n}
		if in.Wrapped {
			plain.Zero()
		} else {
			out.Plaintext = base64Text(plain)
		}
		return out, nil
	},
}
