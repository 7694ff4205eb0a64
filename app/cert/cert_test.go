package cert_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coffer/app/cert"
	"coffer/app/domain"
	"coffer/app/store"
	"coffer/app/store/storetest"
)

const day = 24 * time.Hour

var start = time.Date(2026, 11, 18, 9, 0, 0, 0, time.UTC)

// fixture is a data directory on a machine whose clock and names can be set.
type fixture struct {
	t       *testing.T
	data    string
	db      *store.Store
	now     time.Time
	names   []string
	machine cert.Names
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	return &fixture{
		t: t, data: t.TempDir(), db: storetest.New(t, t.TempDir()), now: start,
		machine: cert.Names{Hosts: []string{"Box"}, Addresses: addresses("192.0.2.1", "fe80::1", "2001:db8::1")},
	}
}

func addresses(list ...string) (out []netip.Addr) {
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// start opens the certificate as a start does; sealed leaves the authority away.
func (f *fixture) start(sealed bool) (own *cert.Own, replaced bool) {
	f.t.Helper()
	own, err := cert.OpenOwn(cert.Options{
		Data: f.data, Names: f.names, Now: func() time.Time { return f.now }, Machine: func() cert.Names { return f.machine },
	})
	must(f.t, err)
	if !sealed {
		replaced, err = own.Attach(f.t.Context(), f.db)
		must(f.t, err)
	}
	return own, replaced
}

// leaf is the certificate in use.
func (f *fixture) leaf(own *cert.Own) *x509.Certificate {
	f.t.Helper()
	pair, err := own.Certificate(nil)
	must(f.t, err)
	return pair.Leaf
}

// holds checks the leaf as a client does that trusts ca.crt.
func (f *fixture) holds(own *cert.Own, name string) error {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(f.data, "ca.crt"))
	must(f.t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	_, err = f.leaf(own).Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: f.now})
	return err
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// TestFirstStart: what is made, for what, and where.
func TestFirstStart(t *testing.T) {
	f := newFixture(t)
	f.names = []string{"coffer.example.com", "198.51.100.7"}
	own, replaced := f.start(false)
	if replaced {
		t.Error("the first authority replaces none")
	}
	for name, want := range map[string]bool{
		"localhost": true, "box": true, "BOX": true, "127.0.0.1": true, "::1": true, "192.0.2.1": true, "2001:db8::1": true,
		"coffer.example.com": true, "198.51.100.7": true,
		"fe80::1": false, "192.0.2.2": false, "example.com": false, "other": false,
	} {
		if err := f.holds(own, name); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, path := range []string{"ca.crt", "tls/leaf.pem", "tls/leaf.key"} {
		info, err := os.Stat(filepath.Join(f.data, path))
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
	text, err := os.ReadFile(filepath.Join(f.data, "ca.crt"))
	must(t, err)
	block, _ := pem.Decode(text)
	ca, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	if !ca.IsCA || ca.MaxPathLen != 0 || !ca.MaxPathLenZero || ca.NotAfter.Sub(f.now) < 3650*day || !strings.HasPrefix(ca.Subject.CommonName, "Coffer CA ") {
		t.Errorf("%+v", ca)
	}
	if want := cert.Fingerprint(ca.Raw); own.Fingerprint() != want || len(want) != 95 {
		t.Errorf("%s, want %s", own.Fingerprint(), want)
	}
	leaf := f.leaf(own)
	if leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature || leaf.NotAfter.Sub(f.now) != 90*day {
		t.Errorf("%+v", leaf)
	}
}

// TestLifecycle: the leaf stays while it is good, and is made again at two thirds
// of its life and when names change; the authority stays the same all the time.
func TestLifecycle(t *testing.T) {
	f := newFixture(t)
	own, _ := f.start(false)
	ca := own.Fingerprint()
	serial := f.leaf(own).SerialNumber
	step := func(what string, fresh bool, change func()) {
		t.Helper()
		change()
		must(t, own.Renew())
		now := f.leaf(own).SerialNumber
		if (now.Cmp(serial) != 0) != fresh {
			t.Errorf("%s: made again is %v", what, !fresh)
		}
		serial = now
		if err := f.holds(own, "localhost"); err != nil || own.Fingerprint() != ca {
			t.Errorf("%s: %v, %s", what, err, own.Fingerprint())
		}
	}
	restart := func() { own, _ = f.start(false) }
	step("at once", false, func() {})
	step("after a restart", false, restart)
	step("after 59 days", false, func() { f.now = start.Add(59 * day) })
	step("after 60 days", true, func() { f.now = start.Add(60 * day) })
	step("another address", true, func() { f.machine.Addresses = append(f.machine.Addresses, addresses("192.0.2.9")...) })
	step("in another order", false, func() { f.machine.Addresses = addresses("192.0.2.9", "2001:db8::1", "192.0.2.1") })
	step("a link-local one", false, func() { f.machine.Addresses = append(f.machine.Addresses, addresses("fe80::2", "169.254.1.1")...) })
	step("an address less", true, func() { f.machine.Addresses = addresses("192.0.2.9") })
	step("another host name", true, func() { f.machine.Hosts = []string{"box2"} })
	step("one that is none", true, func() { f.machine.Hosts = []string{"my_box"} })
	step("another setting", true, func() { f.names = []string{"c.example"}; restart() })
	step("the same setting", false, restart)
	step("long after its end", true, func() { f.now = f.now.Add(400 * day); restart() })
	step("a clock set back", true, func() { f.now = f.now.Add(-30 * day) })
}

// TestSealedStart: the leaf of before is used without the control store, and
// without one there is none.
func TestSealedStart(t *testing.T) {
	f := newFixture(t)
	own, _ := f.start(true)
	if _, err := own.Certificate(nil); own.Ready() || err == nil || own.Fingerprint() != "" {
		t.Error("a certificate out of nothing")
	}
	must(t, own.Renew())
	_, err := own.Attach(t.Context(), f.db)
	must(t, err)
	if !own.Ready() {
		t.Error("none after unsealing")
	}
	ca, serial := own.Fingerprint(), f.leaf(own).SerialNumber
	f.now = start.Add(80 * day)
	if own, _ = f.start(true); !own.Ready() || own.Fingerprint() != ca || f.leaf(own).SerialNumber.Cmp(serial) != 0 {
		t.Error("the leaf of before is not used")
	}
	must(t, own.Renew())
	if f.leaf(own).SerialNumber.Cmp(serial) != 0 {
		t.Error("made again without the authority")
	}
}

// TestDamagedLeaf: whatever became of the files, the next open start makes them
// good, with the same authority.
func TestDamagedLeaf(t *testing.T) {
	other := newFixture(t)
	other.start(false)
	for name, damage := range map[string]func(f *fixture) error{
		"no key":        func(f *fixture) error { return os.Remove(filepath.Join(f.data, "tls", "leaf.key")) },
		"no leaf":       func(f *fixture) error { return os.Remove(filepath.Join(f.data, "tls", "leaf.pem")) },
		"nothing":       func(f *fixture) error { return os.RemoveAll(filepath.Join(f.data, "tls")) },
		"no authority":  func(f *fixture) error { return os.Remove(filepath.Join(f.data, "ca.crt")) },
		"an empty leaf": func(f *fixture) error { return os.WriteFile(filepath.Join(f.data, "tls", "leaf.pem"), nil, 0o600) },
		"a symbolic link": func(f *fixture) error {
			path := filepath.Join(f.data, "tls", "leaf.key")
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Symlink("/dev/zero", path)
		},
		"a huge leaf":   func(f *fixture) error { return os.Truncate(filepath.Join(f.data, "tls", "leaf.pem"), 1<<30) },
		"another's key": func(f *fixture) error { return copyFile(other.data, f.data, "tls/leaf.key") },
		"another's leaf": func(f *fixture) error {
			if err := copyFile(other.data, f.data, "tls/leaf.key"); err != nil {
				return err
			}
			return copyFile(other.data, f.data, "tls/leaf.pem")
		},
		"another's authority": func(f *fixture) error { return copyFile(other.data, f.data, "ca.crt") },
	} {
		f := newFixture(t)
		own, _ := f.start(false)
		ca := own.Fingerprint()
		must(t, damage(f))
		own, replaced := f.start(false)
		if err := f.holds(own, "localhost"); err != nil || own.Fingerprint() != ca || replaced {
			t.Errorf("%s: %v, %s, replaced %v", name, err, own.Fingerprint(), replaced)
		}
	}
}

func copyFile(from, to, name string) error {
	b, err := os.ReadFile(filepath.Join(from, name))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, name), b, 0o600)
}

// TestAuthorityEnds: near its end, or when it begins in the future, another is
// made, and that is said.
func TestAuthorityEnds(t *testing.T) {
	for name, at := range map[string]time.Time{"near its end": start.Add(3500 * day), "before its begin": start.Add(-10 * day)} {
		f := newFixture(t)
		own, _ := f.start(false)
		ca := own.Fingerprint()
		f.now = at
		own, replaced := f.start(false)
		if err := f.holds(own, "localhost"); err != nil || own.Fingerprint() == ca || !replaced {
			t.Errorf("%s: %v, replaced %v", name, err, replaced)
		}
	}
}

// TestKeyIsNotOnDisk: the authority's key is in no file in clear, and the leaf's
// key cannot sign others.
func TestKeyIsNotOnDisk(t *testing.T) {
	f := newFixture(t)
	own, _ := f.start(false)
	var recorded []byte
	must(t, f.db.View(t.Context(), func(tx *store.Tx) (err error) {
		recorded, err = tx.Get("tls", []byte("authority"))
		return err
	}))
	if again, err := cert.Recode(recorded); err != nil || !bytes.Equal(again, recorded) {
		t.Error(err)
	}
	for _, path := range []string{f.db.Path(), filepath.Join(f.data, "ca.crt"), filepath.Join(f.data, "tls/leaf.key"), filepath.Join(f.data, "tls/leaf.pem")} {
		b, err := os.ReadFile(path)
		must(t, err)
		if bytes.Contains(b, recorded[len(recorded)-60:]) || bytes.Contains(b, recorded[:60]) {
			t.Errorf("%s holds the record in clear", path)
		}
		if path != filepath.Join(f.data, "tls/leaf.key") && bytes.Contains(b, []byte("PRIVATE KEY")) {
			t.Errorf("%s holds a key", path)
		}
	}
	pair, err := own.Certificate(nil)
	must(t, err)
	forged := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"evil"}, NotBefore: start.Add(-day), NotAfter: start.Add(day)}
	der, err := x509.CreateCertificate(rand.Reader, forged, pair.Leaf, &pair.PrivateKey.(*ecdsa.PrivateKey).PublicKey, pair.PrivateKey)
	must(t, err)
	child, err := x509.ParseCertificate(der)
	must(t, err)
	text, err := os.ReadFile(filepath.Join(f.data, "ca.crt"))
	must(t, err)
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	between.AddCert(pair.Leaf)
	if _, err := child.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: start, DNSName: "evil"}); err == nil {
		t.Error("a leaf signs others")
	}
}

func TestNamesAreBounded(t *testing.T) {
	var many []netip.Addr
	for i := range 500 {
		many = append(many, netip.MustParseAddr(fmt.Sprintf("10.0.%d.%d", i/250, i%250)))
	}
	hosts, list := cert.Wanted(cert.Names{Hosts: []string{"a", "a", "bad name", ""}, Addresses: many}, []string{"b", "a"})
	if len(hosts) != 3 || len(list) > 40 {
		t.Errorf("%v, %d addresses", hosts, len(list))
	}
	for name, want := range map[string]string{
		"Coffer.Example.COM": "coffer.example.com", "192.0.2.1": "192.0.2.1", "::1": "::1", "::ffff:192.0.2.1": "192.0.2.1", "a-b": "a-b",
		"": "", "*.example.com": "", "a b": "", "a:8443": "", "https://a": "", "0.0.0.0": "", "::": "", "-a": "", "a..b": "", "1.2.3": "", "fe80::1%eth0": "",
		strings.Repeat("a", 64): "", "a\r\nb": "", "münchen.example": "",
	} {
		if got, err := cert.ParseName(name); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v", name, got, err)
		}
	}
}

// bring writes a certificate of an operator's own.
func bring(t *testing.T, dir, name string, from, until time.Time) (certPath, keyPath string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	must(t, err)
	template := &x509.Certificate{SerialNumber: serial, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	certPath, keyPath = filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	must(t, os.WriteFile(certPath, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(keyPath, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	return certPath, keyPath
}

// TestBroughtIsReadAgain: a changed pair is used, a broken one is told and the
// one before stays.
func TestBroughtIsReadAgain(t *testing.T) {
	dir, now := t.TempDir(), start
	certPath, keyPath := bring(t, dir, "one", start.Add(-day), start.Add(day))
	var told []error
	b, err := cert.OpenBrought(certPath, keyPath, func() time.Time { return now }, func(err error) { told = append(told, err) })
	must(t, err)
	expect := func(name string, errors int) {
		t.Helper()
		pair, err := b.Certificate(nil)
		if err != nil || pair.Leaf.DNSNames[0] != name || len(told) != errors {
			t.Errorf("%v, %v, told %v; want %s", pair.Leaf.DNSNames, err, told, name)
		}
	}
	later := func() { now = now.Add(cert.LookEvery) }
	expect("one", 0)
	bring(t, dir, "two", start.Add(-day), start.Add(day))
	expect("one", 0) // not looked at at every handshake
	later()
	expect("two", 0)
	must(t, os.WriteFile(keyPath, []byte("broken"), 0o600))
	later()
	expect("two", 1)
	expect("two", 1) // told once
	later()
	expect("two", 1)
	bring(t, dir, "ended", start.Add(-2*day), start.Add(-day))
	later()
	expect("two", 2)
	must(t, os.Remove(certPath))
	later()
	expect("two", 3)
	bring(t, dir, "three", start.Add(-day), start.Add(day))
	later()
	expect("three", 3)
	bring(t, dir, "four", start.Add(-day), start.Add(day))
	must(t, b.Reload()) // SIGHUP does not wait
	expect("four", 3)
	must(t, os.Remove(keyPath))
	if err := b.Reload(); err == nil {
		t.Error("nothing is said of a key that is gone")
	}
	expect("four", 3)
}

// TestBroughtIsCheckedAtTheStart: what is no good is refused with a hint.
func TestBroughtIsCheckedAtTheStart(t *testing.T) {
	open := func(certPath, keyPath string) error {
		_, err := cert.OpenBrought(certPath, keyPath, func() time.Time { return start }, nil)
		return err
	}
	dir, other := t.TempDir(), t.TempDir()
	certPath, keyPath := bring(t, dir, "a", start.Add(-day), start.Add(day))
	must(t, open(certPath, keyPath))
	link := filepath.Join(other, "link.pem")
	must(t, os.Symlink(certPath, link))
	must(t, open(link, keyPath))
	_, wrongKey := bring(t, other, "a", start.Add(-day), start.Add(day))
	ended, endedKey := bring(t, t.TempDir(), "a", start.Add(-2*day), start)
	early, earlyKey := bring(t, t.TempDir(), "a", start.Add(day), start.Add(2*day))
	for name, c := range map[string]struct{ cert, key, text string }{
		"a wrong key":   {certPath, wrongKey, "no pair"},
		"swapped":       {keyPath, certPath, "no pair"},
		"an ended one":  {ended, endedKey, "ended at"},
		"an early one":  {early, earlyKey, "begins at"},
		"a missing one": {filepath.Join(dir, "none"), keyPath, "no such file"},
		"a directory":   {dir, keyPath, "not a file"},
	} {
		if err := open(c.cert, c.key); domain.KindOf(err) != domain.Invalid || !strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestVector: the record that was written once is read for ever.
func TestVector(t *testing.T) {
	b, err := os.ReadFile("testdata/v1/authority.json")
	must(t, err)
	form := string(b)
	if again, err := cert.Recode(b); err != nil || !bytes.Equal(again, b) {
		t.Fatalf("%s, %v", again, err)
	}
	db := storetest.New(t, t.TempDir())
	_, err = db.Update(t.Context(), func(tx *store.Tx) error { return tx.Put("tls", []byte("authority"), b) })
	must(t, err)
	f := newFixture(t)
	f.db = db
	own, _ := f.start(false)
	const want = "4D:63:06:70:CF:3B:AB:3D:A0:8D:85:FF:31:0D:B9:7C:3A:34:48:08:E2:7C:CC:2A:6A:66:59:D3:CB:82:0C:05" // openssl says so
	if own.Fingerprint() != want {
		t.Error(own.Fingerprint())
	}
	must(t, f.holds(own, "localhost"))
	for name, other := range map[string]string{
		"a blank": form[:1] + " " + form[1:], "trailing data": form + "\n", "cut": form[:len(form)-1], "nothing": "", "no key": `{"version":1,"certificate":"","key":""}`,
		"an unknown member": form[:len(form)-1] + `,"x":1}`, "a flipped key": strings.Replace(form, `"key":"M`, `"key":"N`, 1),
	} {
		if _, err := cert.Recode([]byte(other)); domain.KindOf(err) != domain.Tampered {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := cert.Recode([]byte(`{"version":2` + form[len(`{"version":1`):])); domain.KindOf(err) != domain.Unavailable {
		t.Error(err)
	}
}

func FuzzRecord(f *testing.F) {
	b, err := os.ReadFile("testdata/v1/authority.json")
	must(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := cert.Recode(b)
		if err == nil && !bytes.Equal(again, b) {
			t.Fatalf("%s is written as %s", b, again)
		}
		if k := domain.KindOf(err); err != nil && k != domain.Tampered && k != domain.Unavailable {
			t.Fatal(err)
		}
	})
}

// TestHandshake: a client that trusts ca.crt alone gets through, with TLS 1.2
// at least.
func TestHandshake(t *testing.T) {
	f := newFixture(t)
	f.now = time.Now()
	own, _ := f.start(false)
	text, err := os.ReadFile(filepath.Join(f.data, "ca.crt"))
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	client, server := net.Pipe()
	go func() { _ = tls.Server(server, &tls.Config{GetCertificate: own.Certificate}).Handshake() }()
	must(t, tls.Client(client, &tls.Config{RootCAs: roots, ServerName: "localhost"}).Handshake())
}
