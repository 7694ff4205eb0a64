package cert

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"time"

	"coffer/app/domain"
)

// lookEvery is how often the files are looked at, at most.
const lookEvery = 5 * time.Second

// Brought is a certificate that somebody brings in two files, and replaces there
// when it has to be renewed.
type Brought struct {
	certPath, keyPath string
	now               func() time.Time
	failed            func(error) // hears of a new pair that cannot be used

	mu     sync.Mutex
	pair   *tls.Certificate
	seen   [2]stamp
	looked time.Time
}

// stamp tells that a file changed.
type stamp struct {
	size int64
	mod  time.Time
}

// OpenBrought reads the pair. Later changes of the files are taken up by
// themselves; one that cannot be used leaves the pair before in place and is
// told to failed.
func OpenBrought(certPath, keyPath string, now func() time.Time, failed func(error)) (*Brought, error) {
	b := &Brought{certPath: certPath, keyPath: keyPath, now: now, failed: failed, looked: now()}
	seen, err := b.stamps()
	if err != nil {
		return nil, err
	}
	pair, err := b.load()
	if err != nil {
		return nil, err
	}
	b.pair, b.seen = pair, seen
	return b, nil
}

// load reads and checks the pair.
func (b *Brought) load() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(b.certPath, b.keyPath)
	if err != nil {
		return nil, domain.Errorf(domain.Invalid, "the certificate %s with the key %s cannot be used: %w", b.certPath, b.keyPath, err).
			WithHint("both in PEM; first the certificate of this machine, then those that signed it")
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, err
		}
	}
	if now := b.now(); now.After(pair.Leaf.NotAfter) {
		return nil, domain.Errorf(domain.Invalid, "the certificate %s ended on %s", b.certPath, pair.Leaf.NotAfter.Format(time.DateOnly)).
			WithHint("renew it, or leave --tls-cert out for one of Coffer's own")
	}
	return &pair, nil
}

func (b *Brought) stamps() (s [2]stamp, err error) {
	for i, path := range []string{b.certPath, b.keyPath} {
		info, err := os.Stat(path)
		if err != nil {
			return s, domain.Errorf(domain.Invalid, "%w", err).WithHint("name a readable file with --tls-cert and --tls-key")
		}
		s[i] = stamp{info.Size(), info.ModTime()}
	}
	return s, nil
}

// Certificate is what a handshake shows.
func (b *Brought) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := b.now(); now.Sub(b.looked) >= lookEvery || now.Before(b.looked) {
		b.looked = now
		b.look(false)
	}
	return b.pair, nil
}

// Reload looks at the files now.
func (b *Brought) Reload() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.look(true)
}

// look takes a changed pair up; b.mu is held.
func (b *Brought) look(always bool) {
	seen, err := b.stamps()
	if err == nil && seen == b.seen && !always {
		return
	}
	var pair *tls.Certificate
	if err == nil {
		b.seen = seen
		pair, err = b.load()
	}
	if err != nil {
		b.failed(fmt.Errorf("keeping the certificate that ends on %s: %w", b.pair.Leaf.NotAfter.Format(time.DateOnly), err))
		return
	}
	b.pair = pair
}

// Expires is when the certificate that is shown ends.
func (b *Brought) Expires() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pair.Leaf.NotAfter
}
