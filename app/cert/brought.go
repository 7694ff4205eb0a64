package cert

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"coffer/app/domain"
)

// lookEvery is how often the files are looked at, at most, when handshakes come.
const lookEvery = 3 * time.Second

// Brought is a certificate that the operator brought, in two files that somebody
// else renews. Changes are noticed at handshakes. It is safe for concurrent use.
type Brought struct {
	cert, key string
	now       func() time.Time
	failed    func(error)

	mu     sync.Mutex
	pair   *tls.Certificate
	seen   [2]stamp
	looked time.Time
}

// stamp tells one state of a file from another.
type stamp struct {
	at   time.Time
	size int64
	id   any // device and inode: a symbolic link may be set to another file
}

// OpenBrought reads both files, whose pair must match and be valid today. failed
// is told when a later pair is no good and the one before stays in use; now nil
// is the machine's clock.
func OpenBrought(certPath, keyPath string, now func() time.Time, failed func(error)) (*Brought, error) {
	if now == nil {
		now = time.Now
	}
	b := &Brought{cert: certPath, key: keyPath, now: now, failed: failed}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b, b.load()
}

// load reads the pair; b.mu is held. What was seen is noted before, so that a
// change while it is read is found at the next look.
func (b *Brought) load() error {
	b.looked, b.seen = b.now(), [2]stamp{stampOf(b.cert), stampOf(b.key)}
	pair, err := b.read()
	if err != nil {
		return err
	}
	b.pair = pair
	return nil
}

func (b *Brought) read() (*tls.Certificate, error) {
	certText, err := readBrought("tls-cert", b.cert)
	if err != nil {
		return nil, err
	}
	keyText, err := readBrought("tls-key", b.key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certText, keyText)
	if err != nil {
		return nil, domain.Fieldf("tls-cert", "%s and %s are no pair of certificate and key: %v", b.cert, b.key, err).
			WithHint("both in PEM: the certificate first, then those that lead to its authority; the key without a passphrase")
	}
	now := b.now()
	switch leaf := pair.Leaf; {
	case !now.Before(leaf.NotAfter):
		return nil, domain.Fieldf("tls-cert", "the certificate in %s ended at %s", b.cert, leaf.NotAfter.UTC().Format(time.RFC3339)).
			WithHint("put a renewed one there, or leave --tls-cert and --tls-key away for one of Coffer's own")
	case now.Before(leaf.NotBefore):
		return nil, domain.Fieldf("tls-cert", "the certificate in %s begins at %s only", b.cert, leaf.NotBefore.UTC().Format(time.RFC3339)).
			WithHint("look at the machine's clock")
	}
	return &pair, nil
}

// readBrought reads a file of the operator's, which may be a symbolic link, as
// those of certbot and Kubernetes are.
func readBrought(field, path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxFile) {
		err = errors.New("not a file of a certificate's size")
	}
	if err != nil {
		return nil, domain.Fieldf(field, "%s cannot be read: %v", path, plainError(err))
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, domain.Fieldf(field, "%s cannot be read: %v", path, plainError(err)).
			WithHint("the user that runs Coffer must be able to read it")
	}
	return text, nil
}

// plainError is what the system said, without the path once more.
func plainError(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}

// Reload reads the files again, whatever they look like. A pair that is no good
// is an error, and the one before stays in use.
func (b *Brought) Reload() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.load()
}

// Certificate gives the pair to a handshake, after a look at the files.
func (b *Brought) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	b.mu.Lock()
	pair, err := b.look()
	b.mu.Unlock()
	if err != nil {
		b.failed(err)
	}
	return pair, nil
}

// look loads the files if they changed since they were last looked at; b.mu is
// held.
func (b *Brought) look() (*tls.Certificate, error) {
	if since := b.now().Sub(b.looked); since >= 0 && since < lookEvery {
		return b.pair, nil
	}
	b.looked = b.now()
	if b.seen == [2]stamp{stampOf(b.cert), stampOf(b.key)} {
		return b.pair, nil
	}
	err := b.load()
	return b.pair, err
}
