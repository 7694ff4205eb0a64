package cert

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"time"

	"coffer/app/store"
)

const (
	bucketTLS     = "tls"
	keyAuthority  = "authority"
	recordVersion = 1

	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 90 * 24 * time.Hour
	// backdate is how far clocks of clients may be behind this machine's.
	backdate = time.Hour
)

// record is the authority as it is stored.
type record struct {
	Version     int    `json:"version"`
	Certificate []byte `json:"certificate"` // DER (RFC 5280)
	Key         []byte `json:"key"`         // PKCS #8 DER (RFC 5958), ECDSA P-256
}

// Authority makes the appliance's own certificates.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// OpenAuthority reads the authority from the control store, or makes it there.
func OpenAuthority(ctx context.Context, db *store.Store, now time.Time) (*Authority, error) {
	var a *Authority
	err := db.View(ctx, func(tx *store.Tx) (err error) {
		b, err := tx.Get(bucketTLS, []byte(keyAuthority))
		if err == nil {
			a, err = decode(b)
		}
		return err
	})
	if !errors.Is(err, store.ErrNotFound) {
		return a, err
	}
	if a, err = newAuthority(now); err != nil {
		return nil, err
	}
	b, err := a.encode()
	if err != nil {
		return nil, err
	}
	_, err = db.Update(ctx, func(tx *store.Tx) error { return tx.Put(bucketTLS, []byte(keyAuthority), b) })
	return a, err
}

// newAuthority makes a root that signs leaves and nothing else. Its name has a
// random part, so that two appliances are two entries in a browser's list.
func newAuthority(now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	var tag [4]byte
	_, _ = rand.Read(tag[:]) // never fails: it would end the process first
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Coffer CA " + hex.EncodeToString(tag[:])},
		NotBefore: now.Add(-backdate).UTC(), NotAfter: now.Add(authorityLife).UTC(),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("making the certificate authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	return &Authority{cert, key}, err
}

// serial is a random number of 127 bits (RFC 5280, section 4.1.2.2).
func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[0] &= 0x7f
	b[15] |= 1
	return new(big.Int).SetBytes(b[:])
}

func (a *Authority) encode() ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(record{recordVersion, a.cert.Raw, key})
}

// decode reads a record strictly: the key must be the certificate's.
func decode(b []byte) (*Authority, error) {
	const what = "the record of the certificate authority"
	var r record
	if err := store.DecodeRecord(recordVersion, what, b, &r); err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(r.Certificate)
	if err != nil {
		return nil, store.MalformedRecord(what, err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(r.Key)
	if err != nil {
		return nil, store.MalformedRecord(what, errors.New("its key cannot be read"))
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) || !cert.IsCA {
		return nil, store.MalformedRecord(what, errors.New("its key is not that of its certificate"))
	}
	if again, err := x509.MarshalPKCS8PrivateKey(key); err != nil || !bytes.Equal(again, r.Key) {
		return nil, store.MalformedRecord(what, errors.New("its key is not in the one form"))
	}
	return &Authority{cert, key}, nil
}

// issue makes a leaf for names.
func (a *Authority) issue(names Names, now time.Time) (leaf, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return leaf{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: names.first()},
		NotBefore: now.Add(-backdate).UTC(), NotAfter: now.Add(leafLife).UTC(),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, DNSNames: names.DNS, IPAddresses: names.IP,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return leaf{}, fmt.Errorf("making the certificate of this machine: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	return leaf{cert, a.cert, key}, err
}
