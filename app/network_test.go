package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// launchOn starts a Coffer in a new directory and gives the address of its port.
func launchOn(t *testing.T, args ...string) (d *served, address string) {
	t.Helper()
	dir := shortDir(t)
	d, err := launch(dir, os.Environ(), append([]string{"--data", dir + "/d", "--seal", "keyfile"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.kill)
	if err := d.awaitReady(); err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(d.out.String(), "url: https://localhost:")
	port, _, _ := strings.Cut(rest, "\n")
	return d, net.JoinHostPort("127.0.0.1", port)
}

// TestStopsUnderASecond: connections that are silent, idle or half way do not
// hold the end of the process up.
func TestStopsUnderASecond(t *testing.T) {
	d, address := launchOn(t)
	dial := func() net.Conn {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	secure := func() *tls.Conn {
		c := tls.Client(dial(), &tls.Config{InsecureSkipVerify: true})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	dial()
	secure()
	for _, text := range []string{"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", "GET /healthz HTTP/1.1\r\nHo", "POST /api/v1/tenants HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{"} {
		c := secure()
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(text, "\r\n\r\n") {
			if _, err := c.Read(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
		}
	}
	began := time.Now()
	code, err := d.stop()
	if took := time.Since(began); code != 0 || err != nil || took > time.Second {
		t.Errorf("exit %d after %v: %v", code, took, err)
	}
}

// TestHangUpReadsTheCertificateAgain: a pair that somebody else renewed is used
// after SIGHUP, and one that is broken is not.
func TestHangUpReadsTheCertificateAgain(t *testing.T) {
	dir := t.TempDir()
	certPath, keyPath := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	bring := func(serial int64) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		for path, block := range map[string]*pem.Block{certPath: {Type: "CERTIFICATE", Bytes: der}, keyPath: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
			if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	bring(1)
	d, address := launchOn(t, "--tls-cert", certPath, "--tls-key", keyPath)
	serial := func() int64 {
		c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	becomes := func(what string, ok func() bool) {
		t.Helper()
		if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	if got := serial(); got != 1 {
		t.Fatal(got)
	}
	bring(2)
	becomes("the renewed one is not used", func() bool { return serial() == 2 })
	if err := os.WriteFile(keyPath, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	becomes("nothing is said of a broken one", func() bool { return strings.Contains(d.errors(), "the certificate that was brought cannot be used") })
	if got := serial(); got != 2 {
		t.Errorf("serial %d", got)
	}
}
