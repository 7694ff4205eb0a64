package cert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/app/store"
)

// Options of Coffer's own certificate.
type Options struct {
	Data    string           // the data directory
	Names   []string         // further names, from ParseName
	Machine func() Names     // of this machine; nil for Machine
	Now     func() time.Time // the wall clock; nil for the machine's
}

// maxFile bounds each file that is read here, in bytes.
const maxFile = 256 << 10

// Own is the certificate that Coffer makes itself. It is safe for concurrent use.
type Own struct {
	o Options

	mu        sync.Mutex
	leaf      *tls.Certificate // nil while there is none
	authority *authority       // nil until Attach
	shown     []byte           // the authority's certificate, DER; known while sealed too
}

// ErrNone is what a handshake ends with while there is no certificate: unseal
// Coffer, which makes it.
var ErrNone = domain.Errorf(domain.Unavailable, "there is no certificate yet").WithHint("unseal Coffer once: coffer unseal")

// OpenOwn reads the leaf that was written before, if there is one. A damaged one
// is no reason to stay away: it is made again when the control store is open.
func OpenOwn(o Options) (*Own, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Machine == nil {
		o.Machine = Machine
	}
	w := &Own{o: o}
	if err := durable.MkdirAll(filepath.Join(o.Data, "tls")); err != nil {
		return nil, err
	}
	if err := durable.SweepTemp(filepath.Join(o.Data, "tls")); err != nil {
		return nil, err
	}
	if b, err := durable.ReadFile(w.caPath(), maxFile); err == nil {
		if block, _ := pem.Decode(b); block != nil {
			w.shown = block.Bytes
		}
	}
	leaf, err := loadPair(w.certPath(), w.keyPath())
	if err == nil {
		w.leaf = leaf
	} else if !replaceable(err) {
		return nil, err
	}
	return w, nil
}

// replaceable says whether a leaf that was not read for this reason can be made
// again: it is missing, or is not what was written.
func replaceable(err error) bool {
	return domain.KindOf(err) == domain.Tampered || errors.Is(err, fs.ErrNotExist) ||
		errors.Is(err, durable.ErrTooLarge) || errors.Is(err, durable.ErrNotRegular)
}

func (w *Own) caPath() string   { return filepath.Join(w.o.Data, "ca.crt") }
func (w *Own) certPath() string { return filepath.Join(w.o.Data, "tls", "leaf.pem") }
func (w *Own) keyPath() string  { return filepath.Join(w.o.Data, "tls", "leaf.key") }

// Attach finds or makes the authority in the control store, and makes the leaf
// if it is due. replaced says that the authority is another than the one that
// clients were told to trust.
func (w *Own) Attach(ctx context.Context, db *store.Store) (replaced bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, made, err := findAuthority(ctx, db, w.o.Now())
	if err != nil {
		return false, err
	}
	replaced = made && w.shown != nil
	w.authority = &a
	if err := w.publish(); err != nil {
		return replaced, err
	}
	return replaced, w.renew()
}

// publish writes the authority's certificate where people find it.
func (w *Own) publish() error {
	w.shown = w.authority.certificate.Raw
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.shown})
	if b, err := durable.ReadFile(w.caPath(), maxFile); err == nil && string(b) == string(text) {
		return nil
	}
	return durable.WriteFile(w.caPath(), text)
}

// Renew makes the leaf again if it is due. While sealed it does nothing.
func (w *Own) Renew() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.authority == nil {
		return nil
	}
	return w.renew()
}

// renew does it; w.mu is held. The key is written first: after a crash in
// between the two do not match, and both are made again.
func (w *Own) renew() error {
	now, names := w.o.Now(), wanted(w.o.Machine(), w.o.Names)
	if w.leaf != nil && w.fits(w.leaf.Leaf, names, now) {
		return nil
	}
	der, key, err := w.authority.sign(names, now)
	if err != nil {
		return err
	}
	certText := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyText := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	if err := durable.WriteFile(w.keyPath(), keyText); err != nil {
		return err
	}
	if err := durable.WriteFile(w.certPath(), certText); err != nil {
		return err
	}
	leaf, err := parsePair(w.certPath(), certText, keyText)
	if err != nil {
		return err
	}
	w.leaf = leaf
	return nil
}

// fits says whether a leaf is this authority's, has the names, and is before two
// thirds of its life.
func (w *Own) fits(leaf *x509.Certificate, names Names, now time.Time) bool {
	due := leaf.NotAfter.Add(-leafLife / 3)
	return leaf.CheckSignatureFrom(w.authority.certificate) == nil &&
		!now.Before(leaf.NotBefore) && now.Before(due) && sameNames(leaf, names)
}

func sameNames(leaf *x509.Certificate, want Names) bool {
	var own []netip.Addr
	for _, ip := range leaf.IPAddresses {
		a, _ := netip.AddrFromSlice(ip)
		own = append(own, a.Unmap())
	}
	return slices.Equal(sorted(own, netip.Addr.Compare), want.Addresses) &&
		slices.Equal(sorted(slices.Clone(leaf.DNSNames), strings.Compare), want.Hosts)
}

// Ready says whether there is a certificate to answer with.
func (w *Own) Ready() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.leaf != nil
}

// Authority is the certificate that clients have to trust, in PEM; nil if there is
// none yet.
func (w *Own) Authority() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shown == nil {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.shown})
}

// Fingerprint is that of the authority, "" while it is not known.
func (w *Own) Fingerprint() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shown == nil {
		return ""
	}
	return Fingerprint(w.shown)
}

// Certificate gives the leaf to a handshake.
func (w *Own) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.leaf == nil {
		return nil, ErrNone
	}
	return w.leaf, nil
}

// loadPair reads a certificate and its key.
func loadPair(certPath, keyPath string) (*tls.Certificate, error) {
	certText, err := durable.ReadFile(certPath, maxFile)
	if err != nil {
		return nil, err
	}
	keyText, err := durable.ReadFile(keyPath, maxFile)
	if err != nil {
		return nil, err
	}
	return parsePair(certPath, certText, keyText)
}

func parsePair(path string, certText, keyText []byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(certText, keyText)
	if err != nil {
		return nil, damaged(path, err)
	}
	return &pair, nil
}
