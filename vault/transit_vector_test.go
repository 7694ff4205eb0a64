package vault_test

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"path/filepath"
	"testing"

	"coffer/app/authz"
	"coffer/app/durable"
	"coffer/app/store"
	"coffer/vault"
)

// transitVectors are kept for ever, as those of version 1 are.
const transitVectorDir = "testdata/transit-v1"

// transitVector is transit.json: what the keys in the files beside it made.
type transitVector struct {
	Root  string // hexadecimal
	Keys  map[string]vault.TransitType
	Texts []transitText
}

type transitText struct {
	Key, Use, Text, Input, Associated string
	Options                           vault.SignOptions
}

// TestTransitVectors: what older releases encrypted, signed and authenticated is
// read, in files that they wrote.
func TestTransitVectors(t *testing.T) {
	var want transitVector
	must(t, json.Unmarshal(copyOf(t, filepath.Join(transitVectorDir, "transit.json")), &want))
	root, err := hex.DecodeString(want.Root)
	must(t, err)
	k := &kit{dir: t.TempDir(), root: root}
	for _, name := range []string{"keys.db", "control.db", "payload"} {
		must(t, durable.WriteFile(k.path(name), copyOf(t, filepath.Join(transitVectorDir, name))))
	}
	k.mustOpen(t)
	if k.db, err = store.Open(k.path("control.db"), k.v.ControlAEAD()); err != nil {
		t.Fatal(err)
	}
	k.openLog(t)
	k.register(t, "acme")
	t.Cleanup(func() { k.close(t) })
	for name, kind := range want.Keys {
		key := k.transit(t, "acme", authz.TransitVerify, name).Key
		if key.Type != kind || key.Latest != 2 {
			t.Errorf("%s: %+v", name, key)
		}
	}
	for _, v := range want.Texts {
		ok, err := false, error(nil)
		switch verifier := k.transit(t, "acme", authz.TransitVerify, v.Key); v.Use {
		case "encrypt":
			got, decryptErr := k.decrypt(t, "acme", v.Key, v.Text, v.Associated)
			ok, err = got == v.Input, decryptErr
		case "sign":
			ok, err = verifier.Verify(v.Text, []byte(v.Input), v.Options)
		case "hmac":
			ok, err = verifier.VerifyHMAC(v.Text, []byte(v.Input), v.Options.Hash)
		}
		if !ok || err != nil {
			t.Errorf("%+v: %v", v, err)
		}
	}
}

var writeTransit = flag.String("write-transit-vectors", "", "directory to write new vectors into; existing files are never replaced")

// TestWriteTransitVectors made the vectors. It runs only when a directory is named.
func TestWriteTransitVectors(t *testing.T) {
	if *writeTransit == "" {
		return // they are fixed
	}
	k := newKit(t)
	k.tenant(t, "acme")
	out := transitVector{Root: hex.EncodeToString(k.root), Keys: map[string]vault.TransitType{}}
	for _, name := range vault.TransitTypes() {
		kind := vault.TransitType(name)
		out.Keys[name] = kind
		k.transitCreate(t, "acme", name, kind)
		k.transitRotate(t, "acme", name, kind)
		const input, ad = "a message", "row 1"
		for version := 1; version <= 2; version++ {
			text, _, err := k.transit(t, "acme", authz.TransitHMAC, name).HMAC(version, []byte(input), "sha2-512")
			must(t, err)
			out.Texts = append(out.Texts, transitText{name, "hmac", text, input, "", vault.SignOptions{Hash: "sha2-512"}})
			if kind.Encrypts() {
				text, err := k.encrypt(t, "acme", name, version, input, ad)
				must(t, err)
				out.Texts = append(out.Texts, transitText{name, "encrypt", text, input, ad, vault.SignOptions{}})
			}
			for _, o := range []vault.SignOptions{{}, {Marshaling: "jws"}, {Algorithm: "pkcs1v15"}} {
				if kind.Signs() {
					text, _, err := k.transit(t, "acme", authz.TransitSign, name).Sign(version, []byte(input), o)
					must(t, err)
					out.Texts = append(out.Texts, transitText{name, "sign", text, input, "", o})
				}
			}
		}
	}
	must(t, k.db.Close())
	must(t, k.log.Close(t.Context()))
	must(t, k.v.Close())
	for _, name := range []string{"keys.db", "control.db", "payload"} {
		must(t, durable.CreateFile(filepath.Join(*writeTransit, name), copyOf(t, k.path(name))))
	}
	b, err := json.MarshalIndent(out, "", "  ")
	must(t, err)
	must(t, durable.CreateFile(filepath.Join(*writeTransit, "transit.json"), append(b, '\n')))
}
