package cert

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

const (
	pemCertificate = "CERTIFICATE"
	pemKey         = "PRIVATE KEY"
	maxPEM         = 64 << 10 // bytes of a file of certificates and keys
)

// leaf is this machine's certificate with its key, and the authority's.
type leaf struct {
	cert      *x509.Certificate
	authority *x509.Certificate
	key       *ecdsa.PrivateKey
}

// encode makes the file: key, leaf, authority.
func (l leaf) encode() ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(l.key)
	if err != nil {
		return nil, err
	}
	out := pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: key})
	out = append(out, encodeCertificate(l.cert)...)
	return append(out, encodeCertificate(l.authority)...), nil
}

func encodeCertificate(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: c.Raw})
}

// decodeLeaf reads a leaf's file strictly: three blocks that belong together.
func decodeLeaf(b []byte) (l leaf, err error) {
	keyBlock, rest := pem.Decode(b)
	certBlock, rest := pem.Decode(rest)
	authorityBlock, rest := pem.Decode(rest)
	if keyBlock == nil || certBlock == nil || authorityBlock == nil || len(rest) > 0 ||
		keyBlock.Type != pemKey || certBlock.Type != pemCertificate || authorityBlock.Type != pemCertificate {
		return l, errors.New("it does not hold a key and two certificates")
	}
	if l.cert, err = x509.ParseCertificate(certBlock.Bytes); err != nil {
		return l, err
	}
	if l.authority, err = x509.ParseCertificate(authorityBlock.Bytes); err != nil {
		return l, err
	}
	key, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return l, errors.New("its key cannot be read")
	}
	var ok bool
	if l.key, ok = key.(*ecdsa.PrivateKey); !ok || !l.key.PublicKey.Equal(l.cert.PublicKey) {
		return l, errors.New("its key is not that of its certificate")
	}
	if err := l.cert.CheckSignatureFrom(l.authority); err != nil {
		return l, fmt.Errorf("it is not signed by its authority: %w", err)
	}
	return l, nil
}

// due says whether the leaf has to be made again.
func (l leaf) due(a *Authority, names Names, now time.Time) bool {
	return !l.authority.Equal(a.cert) || !names.same(Names{DNS: l.cert.DNSNames, IP: l.cert.IPAddresses}) ||
		now.After(l.cert.NotBefore.Add(leafLife*2/3)) || now.Before(l.cert.NotBefore)
}

// tls is what a handshake shows: the leaf alone, since who trusts the authority
// has it.
func (l leaf) tls() *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{l.cert.Raw}, PrivateKey: l.key, Leaf: l.cert}
}
