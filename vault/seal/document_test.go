package seal_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"coffer/app/domain"
	"coffer/vault/seal"
)

// resum puts the right checksum under changed bytes, as anybody can.
func resum(raw []byte) []byte {
	at := bytes.LastIndex(raw, []byte(",\n  \"sha256\": \""))
	if at < 0 {
		return raw
	}
	sum := sha256.Sum256(raw[:at])
	out := append(bytes.Clone(raw[:at]), ",\n  \"sha256\": \""+hex.EncodeToString(sum[:])+"\"\n}\n"...)
	return out
}

// TestMalleability changes every byte of the file, then tries to open it: as it
// is, and with the checksum made right again.
func TestMalleability(t *testing.T) {
	_, p := mustRecovery(t)
	_, _, path := mustCreate(t, p, mustKeyfile(t))
	raw := mustRead(t, path)
	for i := range raw {
		for _, bits := range []byte{0x01, 0x20, 0x80} {
			changed := bytes.Clone(raw)
			changed[i] ^= bits
			mustWrite(t, path, changed)
			if _, err := seal.Load(path); domain.KindOf(err) != domain.Tampered {
				t.Fatalf("byte %d ^ %#x: %v", i, bits, err)
			}
			fixed := resum(changed)
			if bytes.Equal(fixed, raw) {
				continue // only the checksum had been changed
			}
			mustWrite(t, path, fixed)
			f, err := seal.Load(path)
			if err != nil {
				continue
			}
			if root, _, err := f.Unlock(context.Background(), p); err == nil || root.Len() != 0 {
				t.Fatalf("byte %d ^ %#x with a new checksum opens", i, bits)
			}
		}
	}
	mustWrite(t, path, raw)
	if _, _, err := mustLoad(t, path).Unlock(context.Background(), p); err != nil {
		t.Errorf("the file as it was: %v", err)
	}
}

// TestNotCanonical changes the text but not its meaning.
func TestNotCanonical(t *testing.T) {
	_, p := mustRecovery(t)
	_, _, path := mustCreate(t, p)
	raw := string(mustRead(t, path))
	for name, changed := range map[string]string{
		"blank":          strings.Replace(raw, `"version": 1`, `"version":  1`, 1),
		"no blank":       strings.Replace(raw, `"version": 1`, `"version":1`, 1),
		"repeated":       strings.Replace(raw, `"version": 1,`, "\"version\": 1,\n  \"version\": 1,", 1),
		"unknown":        strings.Replace(raw, `"version": 1,`, "\"version\": 1,\n  \"more\": 1,", 1),
		"other case":     strings.Replace(raw, `"version"`, `"Version"`, 1),
		"order":          strings.Replace(strings.Replace(raw, `"generation": 1,`, "", 1), `"slots"`, `"generation": 1, "slots"`, 1),
		"escaped":        strings.Replace(raw, `"recovery"`, `"\u0072ecovery"`, 1),
		"number":         strings.Replace(raw, `"generation": 1`, `"generation": 1.0`, 1),
		"time zone":      strings.Replace(raw, `T06:06:07Z`, `T06:06:07+00:00`, 1),
		"other zone":     strings.Replace(raw, `T06:06:07Z`, `T07:06:07+01:00`, 1),
		"fraction":       strings.Replace(raw, `T06:06:07Z`, `T06:06:07.5Z`, 1),
		"base64 padding": strings.Replace(raw, `="`, `"`, 1),
		"line end":       strings.Replace(raw, "\n", "\r\n", 1),
		"before":         " " + raw,
		"null payload":   replaceMember(t, raw, "payload", `null`),
		"null slots":     replaceMember(t, raw, "slots", `null`),
		"no slots":       replaceMember(t, raw, "slots", `[]`),
	} {
		if changed == raw {
			t.Fatalf("%s: nothing was changed", name)
		}
		if err := seal.Decode(resum([]byte(changed))); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, changed := range map[string]string{
		"after": raw + "\n", "twice": raw + raw, "cut": raw[:len(raw)-1], "empty": "", "upper-case digits": upperDigits(raw),
		"long": strings.Repeat(" ", seal.MaxFile) + raw,
	} {
		if err := seal.Decode([]byte(changed)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func upperDigits(raw string) string {
	at := strings.LastIndex(raw, `"sha256"`) + len(`"sha256"`)
	return raw[:at] + strings.ToUpper(raw[at:])
}

// replaceMember gives another value to a top-level member, in canonical text.
func replaceMember(tb testing.TB, raw, name, value string) string {
	tb.Helper()
	at := strings.Index(raw, "\n  \""+name+"\": ") + len("\n  \""+name+"\": ")
	end := at + strings.Index(raw[at:], ",\n  \"")
	return raw[:at] + value + raw[end:]
}

func TestChecks(t *testing.T) {
	_, p := mustRecovery(t)
	_, root, path := mustCreate(t, p)
	raw := mustRead(t, path)
	for name, edit := range map[string]func(*seal.Body){
		"generation 0":     func(b *seal.Body) { b.Generation = 0 },
		"instance":         func(b *seal.Body) { b.Instance = "x" },
		"change id":        func(b *seal.Body) { b.Change.ID = strings.Repeat("A", 48) },
		"no change time":   func(b *seal.Body) { b.Change.At = time.Time{} },
		"slot id":          func(b *seal.Body) { b.Slots[0].ID += "a" },
		"slot kind":        func(b *seal.Body) { b.Slots[0].Kind = "none" },
		"slot name":        func(b *seal.Body) { b.Slots[0].Name = "A b" },
		"no slot name":     func(b *seal.Body) { b.Slots[0].Name = "" },
		"slot time":        func(b *seal.Body) { b.Slots[0].Created = b.Slots[0].Created.Add(1) },
		"short salt":       func(b *seal.Body) { b.Slots[0].Salt = b.Slots[0].Salt[:31] },
		"long wrapped":     func(b *seal.Body) { b.Slots[0].Wrapped = append(b.Slots[0].Wrapped, 0) },
		"slot twice":       func(b *seal.Body) { b.Slots = append(b.Slots, b.Slots[0]) },
		"name twice":       func(b *seal.Body) { s := b.Slots[0]; s.ID = domain.NewID(""); b.Slots = append(b.Slots, s) },
		"long payload":     func(b *seal.Body) { b.Payload = make([]byte, seal.MaxPayload+1) },
		"params of others": func(b *seal.Body) { b.Slots[0].Params = json.RawMessage(`{"source":"external"}`) },
		"too many slots": func(b *seal.Body) {
			for range seal.MaxSlots {
				s := b.Slots[0]
				s.ID = domain.NewID("")
				s.Name = s.ID
				b.Slots = append(b.Slots, s)
			}
		},
	} {
		forged, err := seal.Forge(raw, root, edit)
		if err := seal.Decode(must(t, forged, err)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "seal.json")
	_, err := seal.Load(path)
	wantError(t, err, domain.NotFound, "no key slots")

	_, p := mustRecovery(t)
	_, root, made := mustCreate(t, p)
	forged, err := seal.Forge(mustRead(t, made), root, func(b *seal.Body) { b.Version = 2 })
	mustWrite(t, path, must(t, forged, err))
	_, err = seal.Load(path)
	wantError(t, err, domain.Unavailable, "another version of coffer")

	for name, b := range map[string][]byte{
		"empty": {}, "zeros": make([]byte, 4096), "long": make([]byte, seal.MaxFile+1), "text": []byte("{}\n"),
	} {
		mustWrite(t, path, b)
		_, err := seal.Load(path)
		wantError(t, err, domain.Tampered, path+" is damaged")
		if !strings.Contains(domain.HintOf(err), "restore a copy of the whole data directory") {
			t.Errorf("%s: hint %q", name, domain.HintOf(err))
		}
		if got := mustRead(t, path); !bytes.Equal(got, b) {
			t.Errorf("%s: the damaged file was changed", name)
		}
	}

	link := filepath.Join(dir, "link.json")
	if err := os.Symlink(made, link); err != nil {
		t.Fatal(err)
	}
	_, err = seal.Load(link)
	wantError(t, err, domain.Tampered, "damaged")
	_, err = seal.Load(filepath.Join(made, "below"))
	wantError(t, err, domain.Unavailable, "reading the key slots")
}

// TestForgedByOutsider: who can write the file but has not the root key adds a
// slot, or puts a file of their own with the old slots.
func TestForgedByOutsider(t *testing.T) {
	_, victim := mustRecovery(t)
	_, root, path := mustCreate(t, victim)
	raw := mustRead(t, path)
	other := mustKeyfile(t)
	_, theirs, theirPath := mustCreate(t, other)
	var slots []seal.Slot
	_, err := seal.Forge(mustRead(t, theirPath), theirs, func(b *seal.Body) { slots = b.Slots })
	must(t, slots, err)

	forged, err := seal.Forge(raw, theirs, func(b *seal.Body) { b.Slots = append(b.Slots, slots...) })
	mustWrite(t, path, must(t, forged, err))
	refuses(t, path, victim, domain.Tampered, "did not have the root key")
	if err := mustLoad(t, path).Verify(root); domain.KindOf(err) != domain.Tampered {
		t.Errorf("verify: %v", err)
	}
	if _, err := mustLoad(t, path).Add(context.Background(), change(2), root, seal.Enrolment{Name: "x", By: other}); domain.KindOf(err) != domain.Denied {
		t.Errorf("the forged file was signed: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range vectorFiles(f) {
		f.Add(mustRead(f, v))
	}
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		raw = resum(raw) // or the checksum would stop all
		if seal.Decode(raw) != nil {
			return
		}
		root := domain.NewSecret(make([]byte, seal.RootSize))
		again, err := seal.Reencode(raw, root)
		if err != nil {
			t.Fatalf("what was accepted cannot be encoded: %v", err)
		}
		// All but MAC (77 bytes) and checksum (83) are the same bytes.
		if n := len(raw) - 77 - 83; len(again) != len(raw) || !bytes.Equal(raw[:n], again[:n]) {
			t.Fatalf("accepted, but not canonical:\n%s\n%s", raw, again)
		}
	})
}

func FuzzParams(f *testing.F) {
	for _, v := range vectorFiles(f) {
		raw := mustRead(f, v)
		_, err := seal.Forge(raw, domain.NewSecret(make([]byte, 32)), func(b *seal.Body) {
			for _, s := range b.Slots {
				f.Add([]byte(s.Params))
			}
		})
		must(f, raw, err)
	}
	f.Add([]byte(`{"algorithm":"argon2id","version":19,"memory_kib":1073741824,"passes":3,"threads":4}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, k := range seal.Kinds() {
			if seal.CheckParams(k, raw) == nil && !json.Valid(raw) {
				t.Fatalf("%s accepts %q", k, raw)
			}
		}
	})
}

// FuzzSealedObject gives the parser of TSS2 keys the DER inside.
func FuzzSealedObject(f *testing.F) {
	for _, v := range vectors(f) {
		if v.Kind != seal.TPM {
			continue
		}
		der := sealedDER(f, mustRead(f, filepath.Join(vectorDir, v.File)))
		if err := seal.ParseDER(der); err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	for _, pub := range []tpm2.TPMTPublic{tpm2.RSASRKTemplate, tpm2.ECCSRKTemplate} {
		f.Add(derWithPublic(f, pub))
	}
	f.Fuzz(func(_ *testing.T, der []byte) { _ = seal.ParseDER(der) })
}

// derWithPublic is a well-formed sealed object with another kind of key in it.
func derWithPublic(tb testing.TB, pub tpm2.TPMTPublic) []byte {
	tb.Helper()
	der, err := asn1.Marshal(struct {
		Type            asn1.ObjectIdentifier
		EmptyAuth       bool `asn1:"optional,explicit,tag:0"`
		Parent          int64
		Public, Private []byte
	}{
		asn1.ObjectIdentifier{2, 23, 133, 10, 1, 5},
		true, 0x40000001,
		tpm2.Marshal(tpm2.New2B(pub)), tpm2.Marshal(tpm2.TPM2BPrivate{Buffer: make([]byte, 16)}),
	})
	return must(tb, der, err)
}

// sealedDER is the DER of the TPM slot in a file.
func sealedDER(tb testing.TB, raw []byte) []byte {
	tb.Helper()
	var text string
	_, err := seal.Forge(raw, domain.NewSecret(make([]byte, seal.RootSize)), func(b *seal.Body) {
		text, _ = seal.SealedPEM(b.Slots[0].Params)
	})
	must(tb, text, err)
	block, _ := pem.Decode([]byte(text))
	return block.Bytes
}

// TestSealedObjectIsStrict: any flipped bit in the outer structure or the
// public part is found without the TPM; the private part only the TPM knows.
func TestSealedObjectIsStrict(t *testing.T) {
	der := sealedDER(t, mustRead(t, filepath.Join(vectorDir, "tpm.json")))
	accepted := 0
	for i := range der {
		changed := bytes.Clone(der)
		changed[i] ^= 1
		if seal.ParseDER(changed) == nil {
			accepted++
		}
	}
	// The object's unique hash and the contents of TPM2B_PRIVATE.
	if free := 32 + 158; accepted > free {
		t.Errorf("%d bytes of %d can be changed, at most %d are opaque", accepted, len(der), free)
	}
	for name, bad := range map[string][]byte{
		"empty": {}, "cut": der[:len(der)-1], "more": append(bytes.Clone(der), 0),
		"RSA": derWithPublic(t, tpm2.RSASRKTemplate), "ECC": derWithPublic(t, tpm2.ECCSRKTemplate),
	} {
		if seal.ParseDER(bad) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestFormatDocument keeps the example in FORMAT.md true.
func TestFormatDocument(t *testing.T) {
	doc, example := mustRead(t, "FORMAT.md"), mustRead(t, filepath.Join(vectorDir, "recovery.json"))
	if !bytes.Contains(doc, example) {
		t.Error("FORMAT.md does not show testdata/v1/recovery.json")
	}
}
