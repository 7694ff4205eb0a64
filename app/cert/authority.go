package cert

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"net"
	"strings"
	"time"

	"coffer/app/domain"
	"coffer/app/store"
)

const (
	bucket       = "tls"
	keyAuthority = "authority"
	version      = 1
	recordName   = "the certificate authority's record"
)

// How long certificates live.
const (
	authorityLife = 3652 * 24 * time.Hour // ten years
	authorityRest = 180 * 24 * time.Hour  // with less than this left, another authority is made
	leafLife      = 90 * 24 * time.Hour
	backdate      = 24 * time.Hour // for clients whose clock is slow
)

// record is how the authority is kept in the control store. See FORMAT.md.
type record struct {
	Version     int    `json:"version"`
	Certificate []byte `json:"certificate"` // DER
	Key         []byte `json:"key"`         // PKCS #8
}

// authority signs leaves.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// newAuthority makes an authority that may sign leaves and nothing below them.
func newAuthority(now time.Time) (authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, err
	}
	mark := make([]byte, 4)
	_, _ = rand.Read(mark) // never fails: it would end the process first
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Coffer CA " + hex.EncodeToString(mark)},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return authority{}, err
	}
	certificate, err := x509.ParseCertificate(der)
	return authority{certificate, key}, err
}

// serial is a random serial number of 127 bits, above zero (RFC 5280 section
// 4.1.2.2).
func serial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b)
}

// sign makes a leaf for names, and gives it with its key, both as DER.
func (a authority) sign(names Names, now time.Time) (der, key []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Coffer"},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(leafLife), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: names.Hosts,
	}
	for _, ip := range names.Addresses {
		template.IPAddresses = append(template.IPAddresses, net.IP(ip.AsSlice()))
	}
	if der, err = x509.CreateCertificate(rand.Reader, template, a.certificate, k.Public(), a.key); err != nil {
		return nil, nil, err
	}
	key, err = x509.MarshalPKCS8PrivateKey(k)
	return der, key, err
}

// lasts says whether the authority can sign leaves now: one that was made under
// a clock far ahead, or that ends soon, cannot.
func (a authority) lasts(now time.Time) bool {
	return !now.Before(a.certificate.NotBefore) && now.Before(a.certificate.NotAfter.Add(-authorityRest))
}

// findAuthority reads the authority from the control store, and makes another if
// there is none or it has come to its end.
func findAuthority(ctx context.Context, db *store.Store, now time.Time) (a authority, made bool, err error) {
	err = db.View(ctx, func(tx *store.Tx) error {
		b, err := tx.Get(bucket, []byte(keyAuthority))
		if err == nil {
			a, err = decodeAuthority(b)
		}
		return err
	})
	if err == nil && a.lasts(now) {
		return a, false, nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return a, false, err
	}
	if a, err = newAuthority(now); err != nil {
		return a, false, err
	}
	b, err := a.encode()
	if err != nil {
		return a, false, err
	}
	_, err = db.Update(ctx, func(tx *store.Tx) error { return tx.Put(bucket, []byte(keyAuthority), b) })
	return a, true, err
}

func (a authority) encode() ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(record{version, a.certificate.Raw, key})
}

// decodeAuthority reads a record strictly: the key is the certificate's, and the
// certificate that of an authority which signed itself.
func decodeAuthority(b []byte) (a authority, err error) {
	var r record
	if err := store.DecodeRecord(version, recordName, b, &r); err != nil {
		return a, err
	}
	if a.certificate, err = x509.ParseCertificate(r.Certificate); err != nil {
		return a, store.MalformedRecord(recordName, err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(r.Key)
	if err != nil {
		return a, store.MalformedRecord(recordName, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(a.certificate.PublicKey) {
		return a, store.MalformedRecord(recordName, errors.New("the key is not the certificate's"))
	}
	if err := a.certificate.CheckSignatureFrom(a.certificate); err != nil {
		return a, store.MalformedRecord(recordName, err)
	}
	a.key = key
	if again, err := a.encode(); err != nil || string(again) != string(b) {
		return a, store.MalformedRecord(recordName, errors.New("not in the one form that is written"))
	}
	return a, nil
}

// Fingerprint is the SHA-256 of a certificate as people compare it: pairs of
// hexadecimal digits with colons between.
func Fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = strings.ToUpper(hex.EncodeToString([]byte{b}))
	}
	return strings.Join(parts, ":")
}

// damaged is a file of this package that does not read.
func damaged(path string, err error) error {
	return domain.Errorf(domain.Tampered, "%s is not as Coffer wrote it: %w", path, err)
}
