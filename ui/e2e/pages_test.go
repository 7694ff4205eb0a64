package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"embed"
	"encoding/pem"
	"io"
	"io/fs"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"coffer/ui/assets"
)

//go:embed testdata/pages
var pageFiles embed.FS

// strictPolicy is the policy under which the bundles have to work: nothing
// inline, nothing from elsewhere, no code or HTML of text.
const strictPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types default"

// testPages is a small server of this package.
var testPages = sync.OnceValues(func() (*site, error) {
	ca, leaf, err := makeAuthority()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "coffer-e2e-")
	if err != nil {
		return nil, err
	}
	atEnd(func() { _ = os.RemoveAll(dir) })
	file := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(file, ca, 0o600); err != nil {
		return nil, err
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(answerPage))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{leaf}}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // browsers that do not trust it say so to it
	srv.StartTLS()
	atEnd(srv.CloseClientConnections)
	return newSite(srv.URL, file), nil
})

// openTestPage opens a page of that server.
func openTestPage(t *testing.T, path string) *tab {
	t.Helper()
	s, err := testPages()
	if err != nil {
		t.Fatal(err)
	}
	p := s.tab(t)
	p.open(path)
	return p
}

// answerPage answers with the bundles, or with a file of testdata/pages.
func answerPage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", strictPolicy)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.URL.Path == "/favicon.ico" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if body, contentType, ok := assets.Open(path.Join(path.Dir(assets.Path("app.js")), r.URL.Path)); ok {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(body)
		return
	}
	body, err := fs.ReadFile(pageFiles, "testdata/pages"+r.URL.Path)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", map[string]string{
		".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css",
	}[filepath.Ext(r.URL.Path)])
	_, _ = w.Write(body)
}

// makeAuthority makes an authority and a leaf for this machine.
func makeAuthority() (caPEM []byte, leaf tls.Certificate, err error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, leaf, err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "browser tests"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return nil, leaf, err
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, leaf, err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost", byName},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca, leafKey.Public(), caKey)
	leaf = tls.Certificate{Certificate: [][]byte{leafDER, caDER}, PrivateKey: leafKey}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), leaf, err
}
