package cert

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"coffer/app/domain"
	"coffer/app/durable"
)

// Own is the appliance's own certificate: the leaf that lies in the data
// directory, made again by an Authority once one is at hand.
type Own struct {
	leafPath, authorityPath string

	mu   sync.RWMutex
	leaf *leaf
}

// OpenOwn reads the leaf of a data directory, if there is one.
func OpenOwn(data string) (*Own, error) {
	o := &Own{leafPath: filepath.Join(data, "tls", "leaf.pem"), authorityPath: filepath.Join(data, "ca.crt")}
	if err := durable.MkdirAll(filepath.Dir(o.leafPath)); err != nil {
		return nil, err
	}
	b, err := durable.ReadFile(o.leafPath, maxPEM)
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	if err != nil {
		return nil, err
	}
	l, err := decodeLeaf(b)
	if err != nil {
		// It holds nothing that cannot be made again: the next unsealed start does.
		return o, domain.Errorf(domain.Tampered, "%s cannot be used: %w", o.leafPath, err).
			WithHint("remove it; a new one is made as soon as Coffer is open")
	}
	o.leaf = &l
	return o, nil
}

// Renew makes the leaf again if it is due, and says whether it did.
func (o *Own) Renew(a *Authority, names Names, now time.Time) (bool, error) {
	o.mu.RLock()
	current := o.leaf
	o.mu.RUnlock()
	if err := o.publish(a); err != nil {
		return false, err
	}
	if current != nil && !current.due(a, names, now) {
		return false, nil
	}
	l, err := a.issue(names, now)
	if err != nil {
		return false, err
	}
	b, err := l.encode()
	if err != nil {
		return false, err
	}
	if err := durable.WriteFile(o.leafPath, b); err != nil {
		return false, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.leaf = &l
	return true, nil
}

// publish writes the authority's certificate for people to take, if it is not
// there as it should be.
func (o *Own) publish(a *Authority) error {
	want := encodeCertificate(a.cert)
	if have, err := durable.ReadFile(o.authorityPath, maxPEM); err == nil && bytes.Equal(have, want) {
		return nil
	}
	return durable.WriteFile(o.authorityPath, want)
}

// Ready says whether there is something to show.
func (o *Own) Ready() bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.leaf != nil
}

// Certificate is what a handshake shows.
func (o *Own) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.leaf == nil {
		return nil, errors.New("there is no certificate yet")
	}
	return o.leaf.tls(), nil
}

// Authority is the certificate that clients have to trust, in PEM, nil if there
// is none yet.
func (o *Own) Authority() []byte {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.leaf == nil {
		return nil
	}
	return encodeCertificate(o.leaf.authority)
}

// Fingerprint is the SHA-256 of a PEM certificate's DER, in the form that
// browsers and openssl show: bytes in upper-case hexadecimal between colons.
func Fingerprint(certificate []byte) string {
	block, _ := pem.Decode(certificate)
	if block == nil {
		return ""
	}
	return fingerprint(block.Bytes)
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	parts := make([]string, len(sum))
	for i, b := range sum {
		const digits = "0123456789ABCDEF"
		parts[i] = string([]byte{digits[b>>4], digits[b&15]})
	}
	return strings.Join(parts, ":")
}

// Expires is when the certificate that is shown ends.
func (o *Own) Expires() time.Time {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.leaf == nil {
		return time.Time{}
	}
	return o.leaf.cert.NotAfter
}
