package vault_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"coffer/app/authz"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/vault"
)

// material makes a version of a key.
func material(tb testing.TB, kind vault.TransitType) *vault.TransitMaterial {
	tb.Helper()
	m, err := vault.NewTransitMaterial(kind)
	must(tb, err)
	return m
}

// changeTransit changes a transit key.
func (k *kit) changeTransit(tb testing.TB, tenant domain.TenantID, action domain.Action, name string,
	fn func(*vault.Coffer, *store.Tx) (vault.TransitKey, error),
) (key vault.TransitKey, err error) {
	tb.Helper()
	_, err = k.change(tb, tenant, action, name, func(c *vault.Coffer, tx *store.Tx) (vault.Version, error) {
		var err error
		key, err = fn(c, tx)
		return vault.Version{}, err
	})
	return key, err
}

func (k *kit) transitCreate(tb testing.TB, tenant domain.TenantID, name string, kind vault.TransitType) vault.TransitKey {
	tb.Helper()
	key, err := k.changeTransit(tb, tenant, authz.TransitCreate, name, func(c *vault.Coffer, tx *store.Tx) (vault.TransitKey, error) {
		key, _, err := c.TransitCreate(tx, material(tb, kind), start)
		return key, err
	})
	must(tb, err)
	return key
}

func (k *kit) transitRotate(tb testing.TB, tenant domain.TenantID, name string, kind vault.TransitType) vault.TransitKey {
	tb.Helper()
	key, err := k.changeTransit(tb, tenant, authz.TransitRotate, name, func(c *vault.Coffer, tx *store.Tx) (vault.TransitKey, error) {
		return c.TransitRotate(tx, material(tb, kind), start)
	})
	must(tb, err)
	return key
}

func (k *kit) transitConfig(tb testing.TB, tenant domain.TenantID, name string, s vault.TransitSettings) (vault.TransitKey, error) {
	tb.Helper()
	return k.changeTransit(tb, tenant, authz.TransitConfig, name, func(c *vault.Coffer, tx *store.Tx) (vault.TransitKey, error) {
		return c.TransitConfigure(tx, s)
	})
}

func (k *kit) transitTrim(tb testing.TB, tenant domain.TenantID, name string, minimum int) (vault.TransitKey, error) {
	tb.Helper()
	return k.changeTransit(tb, tenant, authz.TransitTrim, name, func(c *vault.Coffer, tx *store.Tx) (vault.TransitKey, error) {
		return c.TransitTrim(tx, minimum)
	})
}

// transit opens every version of a key for an action.
func (k *kit) transit(tb testing.TB, tenant domain.TenantID, action domain.Action, name string) *vault.Transit {
	tb.Helper()
	var t *vault.Transit
	must(tb, k.view(tb, tenant, action, name, func(c *vault.Coffer, tx *store.Tx) (err error) {
		need := make([]int, 20)
		for i := range need {
			need[i] = i
		}
		t, err = c.Transit(tx, need)
		return err
	}))
	return t
}

func (k *kit) encrypt(tb testing.TB, tenant domain.TenantID, name string, version int, plain, ad string) (string, error) {
	tb.Helper()
	text, _, err := k.transit(tb, tenant, authz.TransitEncrypt, name).Encrypt(version, []byte(plain), []byte(ad))
	return text, err
}

func (k *kit) decrypt(tb testing.TB, tenant domain.TenantID, name, text, ad string) (string, error) {
	tb.Helper()
	plain, err := k.transit(tb, tenant, authz.TransitDecrypt, name).Decrypt(text, []byte(ad))
	return string(plain.Reveal()), err
}

func (k *kit) mustEncrypt(tb testing.TB, tenant domain.TenantID, name, plain, ad string) string {
	tb.Helper()
	text, err := k.encrypt(tb, tenant, name, 0, plain, ad)
	must(tb, err)
	return text
}

func ptr[T any](v T) *T { return &v }

// TestTransitRoundTrip: what any version of any type encrypts, with any associated
// data, is decrypted with that data alone; a rewrapped text has the same plaintext
// and the latest version.
func TestTransitRoundTrip(t *testing.T) {
	k := newKitIn(t, memoryDir(t))
	k.tenant(t, "acme")
	types := []vault.TransitType{vault.AES128GCM, vault.AES256GCM, vault.ChaCha20, vault.XChaCha20}
	for _, kind := range types {
		k.transitCreate(t, "acme", string(kind), kind)
		k.transitRotate(t, "acme", string(kind), kind)
		k.transitRotate(t, "acme", string(kind), kind)
	}
	rapid.Check(t, func(rt *rapid.T) {
		name := string(rapid.SampledFrom(types).Draw(rt, "type"))
		version := rapid.IntRange(1, 3).Draw(rt, "version")
		plain, ad := rapid.SliceOf(rapid.Byte()).Draw(rt, "plain"), rapid.SliceOf(rapid.Byte()).Draw(rt, "ad")
		text, used, err := k.transit(t, "acme", authz.TransitEncrypt, name).Encrypt(version, plain, ad)
		if err != nil || used != version {
			rt.Fatalf("%d, %v", used, err)
		}
		again, used, err := k.transit(t, "acme", authz.TransitRewrap, name).Rewrap(0, text, ad)
		if err != nil || used != 3 || !strings.HasPrefix(again, "vault:v3:") || again == text {
			rt.Fatalf("%s, %d, %v", again, used, err)
		}
		d := k.transit(t, "acme", authz.TransitDecrypt, name)
		for _, s := range []string{text, again} {
			got, err := d.Decrypt(s, ad)
			if err != nil || !bytes.Equal(got.Reveal(), plain) {
				rt.Fatalf("%q, %v", got.Reveal(), err)
			}
			if _, err := d.Decrypt(s, append([]byte("x"), ad...)); err == nil {
				rt.Fatal("decrypted with other associated data")
			}
		}
	})
}

// TestTransitMinimums: versions below a minimum do what it says, and trimming
// destroys.
func TestTransitMinimums(t *testing.T) {
	k := newKitIn(t, memoryDir(t))
	k.tenant(t, "acme")
	key := k.transitCreate(t, "acme", "orders", vault.AES256GCM)
	if key.Latest != 1 || key.MinDecryption != 1 || key.MinAvailable != 1 || len(key.Versions) != 1 {
		t.Errorf("%+v", key)
	}
	again := k.transitCreate(t, "acme", "orders", vault.Ed25519)
	if again.ID != key.ID || again.Type != key.Type {
		t.Errorf("creating it again made another: %+v", again)
	}
	one := k.mustEncrypt(t, "acme", "orders", "first", "")
	k.transitRotate(t, "acme", "orders", vault.AES256GCM)
	two := k.mustEncrypt(t, "acme", "orders", "second", "")
	k.transitRotate(t, "acme", "orders", vault.AES256GCM)

	for _, bad := range []vault.TransitSettings{
		{MinDecryption: ptr(4)}, {MinDecryption: ptr(-1)}, {MinEncryption: ptr(4)}, {MinEncryption: ptr(-1)}, {MinDecryption: ptr(3), MinEncryption: ptr(2)},
	} {
		_, err := k.transitConfig(t, "acme", "orders", bad)
		wantKind(t, err, domain.Invalid)
	}
	_, err := k.transitTrim(t, "acme", "orders", 2)
	wantKind(t, err, domain.Invalid) // no minimum was set before
	_, err = k.transitConfig(t, "acme", "orders", vault.TransitSettings{MinDecryption: ptr(2), MinEncryption: ptr(3)})
	must(t, err)
	if _, err := k.decrypt(t, "acme", "orders", one, ""); err == nil || !strings.Contains(err.Error(), "too old") {
		t.Errorf("version 1 below the minimum: %v", err)
	}
	if got, err := k.decrypt(t, "acme", "orders", two, ""); got != "second" {
		t.Errorf("%q, %v", got, err)
	}
	for version, ok := range map[int]bool{-1: false, 0: true, 1: false, 2: false, 3: true, 4: false} {
		if _, err := k.encrypt(t, "acme", "orders", version, "x", ""); (err == nil) != ok {
			t.Errorf("encrypting with version %d: %v", version, err)
		}
	}
	for _, minimum := range []int{-1, 0, 3, 4} {
		_, err := k.transitTrim(t, "acme", "orders", minimum)
		wantKind(t, err, domain.Invalid)
	}
	key, err = k.transitTrim(t, "acme", "orders", 2)
	must(t, err)
	if key.MinAvailable != 2 || len(key.Versions) != 2 {
		t.Errorf("%+v", key)
	}
	if n := k.count(t, vault.BucketTransitKeys); n != 4 {
		t.Errorf("%d rows of keys after trimming, want 2 versions × 2 uses", n)
	}
	_, err = k.transitConfig(t, "acme", "orders", vault.TransitSettings{MinDecryption: ptr(1)})
	wantKind(t, err, domain.Invalid)
	if _, err := k.decrypt(t, "acme", "orders", one, ""); err == nil {
		t.Error("a destroyed version decrypts")
	}
}

func (k *kit) count(tb testing.TB, bucket string) (n int) {
	tb.Helper()
	must(tb, k.db.View(tb.Context(), func(tx *store.Tx) (err error) {
		n, err = tx.Count(bucket, nil)
		return err
	}))
	return n
}

// TestTransitRemove: a key goes only after somebody said that it may, with all that
// it was, and one that is made again under its name is another.
func TestTransitRemove(t *testing.T) {
	k := newKitIn(t, memoryDir(t))
	k.tenant(t, "acme")
	was := k.transitCreate(t, "acme", "orders", vault.AES256GCM)
	text := k.mustEncrypt(t, "acme", "orders", "x", "")
	remove := func() error {
		_, err := k.changeTransit(t, "acme", authz.TransitRemove, "orders", func(c *vault.Coffer, tx *store.Tx) (vault.TransitKey, error) {
			return c.TransitRemove(tx)
		})
		return err
	}
	wantKind(t, remove(), domain.Invalid)
	_, err := k.transitConfig(t, "acme", "orders", vault.TransitSettings{Deletable: ptr(true)})
	must(t, err)
	must(t, remove())
	wantKind(t, remove(), domain.NotFound)
	if k.count(t, vault.BucketTransit) != 0 || k.count(t, vault.BucketTransitKeys) != 0 {
		t.Error("rows are left of a removed key")
	}
	if is := k.transitCreate(t, "acme", "orders", vault.AES256GCM); is.ID == was.ID {
		t.Error("the new key has the old one's id")
	}
	if _, err := k.decrypt(t, "acme", "orders", text, ""); err == nil {
		t.Error("a new key decrypts what the old one of its name encrypted")
	}
}

// TestTransitSignatures: each type signs so that the standard library verifies it,
// and verifies itself; nothing else does.
func TestTransitSignatures(t *testing.T) {
	k := newKitIn(t, memoryDir(t))
	k.tenant(t, "acme")
	input := []byte("a message")
	sum, long := sha256.Sum256(input), sha512.Sum384(input)
	check := map[string]func(pub any, sig []byte) bool{
		"ed25519":        func(pub any, sig []byte) bool { return ed25519.Verify(pub.(ed25519.PublicKey), input, sig) },
		"ecdsa-p256":     func(pub any, sig []byte) bool { return ecdsa.VerifyASN1(pub.(*ecdsa.PublicKey), sum[:], sig) },
		"ecdsa-p256 jws": func(pub any, sig []byte) bool { return verifyJWS(pub.(*ecdsa.PublicKey), sum[:], sig) },
		"ecdsa-p384":     func(pub any, sig []byte) bool { return ecdsa.VerifyASN1(pub.(*ecdsa.PublicKey), long[:], sig) },
		"rsa-2048": func(pub any, sig []byte) bool {
			return rsa.VerifyPSS(pub.(*rsa.PublicKey), crypto.SHA256, sum[:], sig, nil) == nil
		},
		"rsa-2048 sha2-384": func(pub any, sig []byte) bool {
			return rsa.VerifyPSS(pub.(*rsa.PublicKey), crypto.SHA384, long[:], sig, nil) == nil
		},
		"rsa-2048 pkcs1v15": func(pub any, sig []byte) bool {
			return rsa.VerifyPKCS1v15(pub.(*rsa.PublicKey), crypto.SHA256, sum[:], sig) == nil
		},
	}
	for name, verify := range check {
		kind, option, _ := strings.Cut(name, " ")
		var opts vault.SignOptions
		switch option {
		case "jws":
			opts.Marshaling = option
		case "sha2-384":
			opts.Hash = option
		case "pkcs1v15":
			opts.Algorithm = option
		}
		key := k.transitCreate(t, "acme", kind, vault.TransitType(kind))
		text, version, err := k.transit(t, "acme", authz.TransitSign, kind).Sign(0, input, opts)
		must(t, err)
		encoding := base64.StdEncoding
		if option == "jws" {
			encoding = base64.RawURLEncoding
		}
		sig, err := encoding.DecodeString(strings.TrimPrefix(text, "vault:v1:"))
		must(t, err)
		if version != 1 || !verify(public(t, key.Versions[0].Public), sig) {
			t.Errorf("%s: the standard library does not verify %s", name, text)
		}
		v := k.transit(t, "acme", authz.TransitVerify, kind)
		if ok, err := v.Verify(text, input, opts); !ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
		if ok, err := v.Verify(text, append([]byte("x"), input...), opts); ok || err != nil {
			t.Errorf("%s verifies another message: %v, %v", name, ok, err)
		}
	}
	for _, bad := range []vault.SignOptions{{Hash: "sha1"}, {Hash: "sha2-512"}, {Marshaling: "raw"}, {Prehashed: true}} {
		_, _, err := k.transit(t, "acme", authz.TransitSign, "ecdsa-p256").Sign(0, input, bad)
		wantKind(t, err, domain.Invalid)
	}
}

func public(tb testing.TB, text string) any {
	tb.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		b, err := base64.StdEncoding.DecodeString(text)
		must(tb, err)
		return ed25519.PublicKey(b)
	}
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	must(tb, err)
	return pub
}

// verifyJWS verifies the form of RFC 7515: r and s, each as long as the curve.
func verifyJWS(pub *ecdsa.PublicKey, sum, sig []byte) bool {
	return len(sig) == 64 && ecdsa.Verify(pub, sum, new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
}

// TestTransitHMAC: every type has a key for it, and each hash its own length.
func TestTransitHMAC(t *testing.T) {
	k := newKitIn(t, memoryDir(t))
	k.tenant(t, "acme")
	for _, kind := range []vault.TransitType{vault.HMACOnly, vault.AES256GCM, vault.ECDSAP256} {
		k.transitCreate(t, "acme", string(kind), kind)
		m, v := k.transit(t, "acme", authz.TransitHMAC, string(kind)), k.transit(t, "acme", authz.TransitVerify, string(kind))
		for hash, size := range map[string]int{"": 32, "sha2-224": 28, "sha2-256": 32, "sha2-384": 48, "sha2-512": 64} {
			text, _, err := m.HMAC(0, []byte("x"), hash)
			must(t, err)
			if b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "vault:v1:")); len(b) != size || err != nil {
				t.Errorf("%s with %s: %d bytes, %v", kind, hash, len(b), err)
			}
			ok, err := v.VerifyHMAC(text, []byte("x"), hash)
			other, otherErr := v.VerifyHMAC(text, []byte("y"), hash)
			if !ok || other || err != nil || otherErr != nil {
				t.Errorf("%s with %s: %v %v, %v %v", kind, hash, ok, err, other, otherErr)
			}
		}
		_, _, err := m.HMAC(0, []byte("x"), "sha1")
		wantKind(t, err, domain.Invalid)
	}
}

// TestTransitAttacks: nothing decrypts or verifies but what this very key made, as
// it made it.
func TestTransitAttacks(t *testing.T) {
	k := newKitIn(t, memoryDir(t))
	k.tenant(t, "acme")
	k.tenant(t, "globex")
	for _, tenant := range []domain.TenantID{"acme", "globex"} {
		k.transitCreate(t, tenant, "orders", vault.AES256GCM)
		k.transitRotate(t, tenant, "orders", vault.AES256GCM)
		k.transitCreate(t, tenant, "other", vault.AES256GCM)
	}
	text, err := k.encrypt(t, "acme", "orders", 1, "secret", "row 1")
	must(t, err)
	body := strings.TrimPrefix(text, "vault:v1:")
	flipped, err := base64.StdEncoding.DecodeString(body)
	must(t, err)
	flipped[len(flipped)-1] ^= 1
	for name, attack := range map[string]struct {
		tenant        domain.TenantID
		key, text, ad string
	}{
		"another tenant's key of the name": {"globex", "orders", text, "row 1"},
		"another key":                      {"acme", "other", text, "row 1"},
		"another version":                  {"acme", "orders", "vault:v2:" + body, "row 1"},
		"a version to come":                {"acme", "orders", "vault:v3:" + body, "row 1"},
		"version 0":                        {"acme", "orders", "vault:v0:" + body, "row 1"},
		"a version with a zero":            {"acme", "orders", "vault:v01:" + body, "row 1"},
		"a version with a sign":            {"acme", "orders", "vault:v+1:" + body, "row 1"},
		"a huge version":                   {"acme", "orders", "vault:v99999999999999999999:" + body, "row 1"},
		"the data moved":                   {"acme", "orders", text, "row 2"},
		"no data":                          {"acme", "orders", text, ""},
		"a bit":                            {"acme", "orders", "vault:v1:" + base64.StdEncoding.EncodeToString(flipped), "row 1"},
		"cut":                              {"acme", "orders", text[:len(text)-4], "row 1"},
		"cut to nothing":                   {"acme", "orders", "vault:v1:", "row 1"},
		"cut in the nonce":                 {"acme", "orders", "vault:v1:AAAA", "row 1"},
		"a line end":                       {"acme", "orders", text + "\n", "row 1"},
		"a line end within":                {"acme", "orders", text[:20] + "\n" + text[20:], "row 1"},
		"url alphabet":                     {"acme", "orders", "vault:v1:" + base64.URLEncoding.EncodeToString(flipped), "row 1"},
		"no prefix":                        {"acme", "orders", body, "row 1"},
		"a prefix in capitals":             {"acme", "orders", "VAULT:v1:" + body, "row 1"},
		"a blank before":                   {"acme", "orders", " " + text, "row 1"},
		"nothing":                          {"acme", "orders", "", "row 1"},
	} {
		got, err := k.decrypt(t, attack.tenant, attack.key, attack.text, attack.ad)
		if err == nil || domain.KindOf(err) != domain.Invalid || got != "" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, _, err := k.transit(t, "acme", authz.TransitSign, "orders").Sign(0, nil, vault.SignOptions{}); domain.KindOf(err) != domain.Invalid {
		t.Errorf("a key to encrypt signed: %v", err)
	}
	if _, _, _, err := k.transit(t, "acme", authz.TransitDatakey, "orders").DataKey(64, nil); domain.KindOf(err) != domain.Invalid {
		t.Errorf("a data key of 64 bits: %v", err)
	}
}

// TestTransitPermits: a permit for one use serves no other.
func TestTransitPermits(t *testing.T) {
	k := newKitIn(t, memoryDir(t))
	k.tenant(t, "acme")
	k.transitCreate(t, "acme", "orders", vault.AES256GCM)
	k.transitCreate(t, "acme", "pair", vault.Ed25519)
	text := k.mustEncrypt(t, "acme", "orders", "x", "")
	for _, action := range []domain.Action{
		authz.TransitEncrypt, authz.TransitDecrypt, authz.TransitRewrap, authz.TransitDatakey, authz.TransitSign, authz.TransitVerify, authz.TransitHMAC,
	} {
		orders, pair := k.transit(t, "acme", action, "orders"), k.transit(t, "acme", action, "pair")
		_, _, encrypt := orders.Encrypt(0, nil, nil)
		_, decrypt := orders.Decrypt(text, nil)
		_, _, rewrap := orders.Rewrap(0, text, nil)
		_, _, _, datakey := orders.DataKey(128, nil)
		_, _, sign := pair.Sign(0, nil, vault.SignOptions{})
		_, _, hmac := pair.HMAC(0, nil, "")
		for did, err := range map[domain.Action]error{
			authz.TransitEncrypt: encrypt, authz.TransitDecrypt: decrypt, authz.TransitRewrap: rewrap, authz.TransitDatakey: datakey,
			authz.TransitSign: sign, authz.TransitHMAC: hmac,
		} {
			if (err == nil) != (did == action) {
				t.Errorf("%s with a permit for %s: %v", did, action, err)
			}
		}
	}
	if err := k.view(t, "acme", authz.SecretRead, "orders", func(c *vault.Coffer, tx *store.Tx) error {
		_, err := c.Transit(tx, []int{0})
		return err
	}); domain.KindOf(err) != domain.Internal {
		t.Errorf("a permit to read a secret opened a key: %v", err)
	}
}

// TestTransitMoved: rows that are put in each other's place do not open.
func TestTransitMoved(t *testing.T) {
	k := newKitIn(t, memoryDir(t))
	k.tenant(t, "acme")
	k.transitCreate(t, "acme", "orders", vault.AES256GCM)
	k.transitRotate(t, "acme", "orders", vault.AES256GCM)
	_, err := k.db.Update(t.Context(), func(tx *store.Tx) error {
		var keys, values [][]byte
		if err := tx.Scan(vault.BucketTransitKeys, nil, nil, func(key, value []byte) error {
			keys, values = append(keys, bytes.Clone(key)), append(values, bytes.Clone(value))
			return nil
		}); err != nil {
			return err
		}
		slices.Reverse(values)
		for i := range keys {
			if err := tx.Put(vault.BucketTransitKeys, keys[i], values[i]); err != nil {
				return err
			}
		}
		return nil
	})
	must(t, err)
	k.v.Forget("acme") // what is in memory was opened before
	err = k.view(t, "acme", authz.TransitDecrypt, "orders", func(c *vault.Coffer, tx *store.Tx) error {
		_, err := c.Transit(tx, []int{1})
		return err
	})
	wantKind(t, err, domain.Tampered)
}

// TestTransitRotated: a rotation of the tenant's own keys seals transit keys anew,
// and they go on to decrypt.
func TestTransitRotated(t *testing.T) {
	k := newKit(t)
	k.tenant(t, "acme")
	k.transitCreate(t, "acme", "orders", vault.AES256GCM)
	k.transitRotate(t, "acme", "orders", vault.AES256GCM)
	text := k.mustEncrypt(t, "acme", "orders", "x", "")
	if rows := k.rotateSecrets(t, "acme"); rows != 5 {
		t.Errorf("%d rows were sealed anew, want 1 of what is known and 2 versions × 2 uses", rows)
	}
	for range 2 {
		if got, err := k.decrypt(t, "acme", "orders", text, ""); got != "x" {
			t.Errorf("%q, %v", got, err)
		}
		k.v.Forget("acme")
	}
}

// TestTransitOther: what is done to a key touches no row of another one.
func TestTransitOther(t *testing.T) {
	k := newKitIn(t, memoryDir(t))
	for _, tenant := range []domain.TenantID{"acme", "globex"} {
		k.tenant(t, tenant)
		k.transitCreate(t, tenant, "a", vault.AES256GCM)
		k.transitCreate(t, tenant, "b", vault.AES256GCM)
	}
	k.transitRotate(t, "acme", "a", vault.AES256GCM)
	before := k.rows(t)
	_, err := k.transitConfig(t, "acme", "a", vault.TransitSettings{MinDecryption: ptr(2), MinEncryption: ptr(2), Deletable: ptr(true)})
	must(t, err)
	_, err = k.transitTrim(t, "acme", "a", 2)
	must(t, err)
	k.transitRotate(t, "acme", "a", vault.AES256GCM)
	_, err = k.changeTransit(t, "acme", authz.TransitRemove, "a", func(c *vault.Coffer, tx *store.Tx) (vault.TransitKey, error) {
		return c.TransitRemove(tx)
	})
	must(t, err)
	after := k.rows(t)
	places := map[string]bool{}
	for key := range before {
		if after[key] != before[key] {
			places[key[:2*vault.UIDSize]] = true
		}
	}
	if len(places) != 1 || len(before)-len(after) != 5 {
		t.Errorf("%d places changed, %d rows went", len(places), len(before)-len(after))
	}
}

// FuzzTransitText: what is taken is written in one way, and nothing panics.
func FuzzTransitText(f *testing.F) {
	for _, s := range []string{"vault:v1:AAAA", "vault:v2147483647:", "vault:v0:x", "vault:v01:x", "vault:v:", "vault:v1", ":::", "vault:v-1:a", "vault:v1:a:b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, rest, err := vault.ParseTransitText("ciphertext", s)
		if err == nil && vault.TransitText(n)+rest != s {
			t.Errorf("%q is read as version %d and %q", s, n, rest)
		}
	})
}

// BenchmarkTransit measures each use with the key in memory, no store and no log.
func BenchmarkTransit(b *testing.B) {
	k := newKitIn(b, memoryDir(b))
	k.tenant(b, "acme")
	input := make([]byte, 256)
	k.transitCreate(b, "acme", "aes", vault.AES256GCM)
	e := k.transit(b, "acme", authz.TransitEncrypt, "aes")
	b.Run("encrypt", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := e.Encrypt(0, input, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, kind := range []vault.TransitType{vault.Ed25519, vault.ECDSAP256, vault.RSA2048} {
		k.transitCreate(b, "acme", string(kind), kind)
		s := k.transit(b, "acme", authz.TransitSign, string(kind))
		b.Run("sign/"+string(kind), func(b *testing.B) {
			for b.Loop() {
				if _, _, err := s.Sign(0, input, vault.SignOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
