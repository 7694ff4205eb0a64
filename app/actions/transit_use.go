package actions

import (
	"context"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/vault"
)

// transitWork is an operation that does the same with each of many items: one event,
// and for each item a result or an error of its own.
type transitWork[In, Item, Result, Out any] struct {
	action domain.Action
	items  func(In) (TransitRef, []Item)
	needs  func(Item) []int // versions of the key
	do     func(*vault.Transit, Item) (result Result, version int, err error)
	fail   func(text string) Result
	out    func([]Result) Out
}

func (w transitWork[In, Item, Result, Out]) operation() Operation[In, Out] {
	return Operation[In, Out]{
		action: w.action,
		ask: func(ctx context.Context, s *Service, in In) (authz.Request, error) {
			ref, items := w.items(in)
			if n := len(items); n == 0 || n > vault.MaxTransitItems {
				return authz.Request{}, domain.Fieldf("items", "%d items instead of 1 to %d", n, vault.MaxTransitItems)
			}
			return ref.ask(ctx, s)
		},
		act: func(ctx context.Context, c *call, in In) (out Out, err error) {
			_, items := w.items(in)
			results, err := w.each(ctx, c, items)
			return w.out(results), err
		},
	}
}

// each opens the versions that the items need, lets the store go, and works.
func (w transitWork[In, Item, Result, Out]) each(ctx context.Context, c *call, items []Item) ([]Result, error) {
	var need []int
	for _, item := range items {
		need = append(need, w.needs(item)...)
	}
	var key *vault.Transit
	err := c.viewSecrets(ctx, func(coffer *vault.Coffer, tx *store.Tx) (err error) {
		key, err = coffer.Transit(tx, need)
		return err
	})
	if err != nil {
		return nil, err
	}
	results, used, failed := make([]Result, 0, len(items)), map[int]bool{}, 0
	for _, item := range items {
		result, version, err := w.do(key, item)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil && domain.KindOf(err) != domain.Invalid:
			return nil, err
		case err != nil:
			result, failed = w.fail(err.Error()), failed+1
		default:
			used[version] = true
		}
		results = append(results, result)
	}
	c.detail["items"] = len(items)
	if failed > 0 {
		c.detail["failed"] = failed
	}
	for version := range used {
		if len(used) == 1 {
			c.detail["version"] = version
		} else {
			c.detail["versions"] = len(used)
		}
	}
	return results, nil
}

// TransitPlain is something to encrypt.
type TransitPlain struct {
	Plaintext  domain.Secret `json:"plaintext" doc:"in base64"`
	Associated domain.Secret `json:"associated_data,omitempty" doc:"in base64: it is not encrypted, and has to be given again to decrypt"`
	KeyVersion int           `json:"key_version,omitempty" doc:"of the key; 0 for the latest" schema:"minimum=0"`
}

// TransitEncryptIn are items to encrypt.
type TransitEncryptIn struct {
	Tenant string         `path:"tenant" json:"-"`
	Name   string         `path:"name" json:"-" doc:"name of the key"`
	Items  []TransitPlain `json:"items" schema:"minItems=1,maxItems=1000"`
}

// TransitCipher is something that was encrypted.
type TransitCipher struct {
	Ciphertext string        `json:"ciphertext" doc:"vault:vN: and base64"`
	Associated domain.Secret `json:"associated_data,omitempty" doc:"in base64, as it was given to encrypt"`
}

// TransitDecryptIn are items to decrypt.
type TransitDecryptIn struct {
	Tenant string          `path:"tenant" json:"-"`
	Name   string          `path:"name" json:"-" doc:"name of the key"`
	Items  []TransitCipher `json:"items" schema:"minItems=1,maxItems=1000"`
}

// TransitAgain is something to encrypt anew.
type TransitAgain struct {
	Ciphertext string        `json:"ciphertext" doc:"vault:vN: and base64"`
	Associated domain.Secret `json:"associated_data,omitempty" doc:"in base64, as it was given to encrypt"`
	KeyVersion int           `json:"key_version,omitempty" doc:"of the key, to encrypt with; 0 for the latest" schema:"minimum=0"`
}

// TransitRewrapIn are items to encrypt anew.
type TransitRewrapIn struct {
	Tenant string         `path:"tenant" json:"-"`
	Name   string         `path:"name" json:"-" doc:"name of the key"`
	Items  []TransitAgain `json:"items" schema:"minItems=1,maxItems=1000"`
}

// TransitText is what became of one item: a text and the version that made it, or
// an error.
type TransitText struct {
	Text       string `json:"text,omitempty" doc:"vault:vN: and base64"`
	KeyVersion int    `json:"key_version,omitempty"`
	Error      string `json:"error,omitempty"`
}

// TransitTexts are in the order of the items.
type TransitTexts struct {
	Results []TransitText `json:"results"`
}

// TransitPlaintext is what became of one item that was to be decrypted.
type TransitPlaintext struct {
	Plaintext *domain.Disclosure `json:"plaintext,omitempty" doc:"in base64" schema:"type=string"`
	Error     string             `json:"error,omitempty"`
}

// TransitPlaintexts are in the order of the items.
type TransitPlaintexts struct {
	Results []TransitPlaintext `json:"results"`
}

// TransitEncrypt encrypts.
var TransitEncrypt = transitWork[TransitEncryptIn, TransitPlain, TransitText, TransitTexts]{
	action: authz.TransitEncrypt,
	items: func(in TransitEncryptIn) (TransitRef, []TransitPlain) {
		return TransitRef{in.Tenant, in.Name}, in.Items
	},
	needs: func(i TransitPlain) []int { return []int{i.KeyVersion} },
	do: func(t *vault.Transit, i TransitPlain) (TransitText, int, error) {
		plain, associated, err := decodeTransit("plaintext", i.Plaintext, i.Associated)
		if err != nil {
			return TransitText{}, 0, err
		}
		defer clear(plain)
		text, n, err := t.Encrypt(i.KeyVersion, plain, associated)
		return TransitText{Text: text, KeyVersion: n}, n, err
	},
	fail: textError, out: texts,
}.operation()

// TransitDecrypt decrypts.
var TransitDecrypt = transitWork[TransitDecryptIn, TransitCipher, TransitPlaintext, TransitPlaintexts]{
	action: authz.TransitDecrypt,
	items: func(in TransitDecryptIn) (TransitRef, []TransitCipher) {
		return TransitRef{in.Tenant, in.Name}, in.Items
	},
	needs: func(i TransitCipher) []int { return []int{versionIn("ciphertext", i.Ciphertext)} },
	do: func(t *vault.Transit, i TransitCipher) (TransitPlaintext, int, error) {
		associated, err := vault.DecodeTransit("associated_data", i.Associated)
		if err != nil {
			return TransitPlaintext{}, 0, err
		}
		plain, err := t.Decrypt(i.Ciphertext, associated)
		if err != nil {
			return TransitPlaintext{}, 0, err
		}
		return TransitPlaintext{Plaintext: base64Text(plain)}, versionIn("ciphertext", i.Ciphertext), nil
	},
	fail: func(text string) TransitPlaintext { return TransitPlaintext{Error: text} },
	out:  func(r []TransitPlaintext) TransitPlaintexts { return TransitPlaintexts{r} },
}.operation()

// TransitRewrap encrypts anew, and nobody sees the plaintext.
var TransitRewrap = transitWork[TransitRewrapIn, TransitAgain, TransitText, TransitTexts]{
	action: authz.TransitRewrap,
	items:  func(in TransitRewrapIn) (TransitRef, []TransitAgain) { return TransitRef{in.Tenant, in.Name}, in.Items },
	needs:  func(i TransitAgain) []int { return []int{versionIn("ciphertext", i.Ciphertext), i.KeyVersion} },
	do: func(t *vault.Transit, i TransitAgain) (TransitText, int, error) {
		associated, err := vault.DecodeTransit("associated_data", i.Associated)
		if err != nil {
			return TransitText{}, 0, err
		}
		text, n, err := t.Rewrap(i.KeyVersion, i.Ciphertext, associated)
		return TransitText{Text: text, KeyVersion: n}, n, err
	},
	fail: textError, out: texts,
}.operation()

func textError(text string) TransitText { return TransitText{Error: text} }

func texts(r []TransitText) TransitTexts { return TransitTexts{r} }

// versionIn is the version that a text says; -1, which is none, if it says none.
func versionIn(what, text string) int {
	n, _, err := vault.ParseTransitText(what, text)
	if err != nil {
		return -1
	}
	return n
}

func decodeTransit(what string, s, associated domain.Secret) (b, ad []byte, err error) {
	if b, err = vault.DecodeTransit(what, s); err == nil {
		ad, err = vault.DecodeTransit("associated_data", associated)
	}
	return b, ad, err
}

// base64Text is a secret on its way to the one who asked, who has it in base64.
func base64Text(s domain.Secret) *domain.Disclosure {
	out := domain.DiscloseText(vault.EncodeTransit(s))
	s.Zero()
	return &out
}
