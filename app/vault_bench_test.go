package app_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coffer/app"
)

// BenchmarkVault measures what clients of Vault do most, over TLS to the real binary
// in a process of its own, with every event flushed before its answer. The client
// does as little as a load generator can, because it shares the processors.
func BenchmarkVault(b *testing.B) {
	data := shortDir(b)
	d, err := launch(data, os.Environ(), "--data", data, "--seal", "keyfile", "--listen", "127.0.0.1:0")
	if err == nil {
		err = d.awaitReady()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(d.kill)
	local := &running{tb: b, data: data, client: app.SocketClient(data)}
	local.tenant("acme")
	owner := local.issue("acme", object{"role": "owner"})
	for i := range 100 {
		local.vault(owner, "acme", "POST", fmt.Sprintf("secret/data/bench/%d", i), object{"data": object{"key": "value"}})
	}
	local.vault(owner, "acme", "POST", "auth/approle/role/bench", object{"token_policies": "analyst", "token_ttl": "1m"})
	var role, secret struct {
		Data struct {
			RoleID   string `json:"role_id"`
			SecretID string `json:"secret_id"`
		} `json:"data"`
	}
	for path, into := range map[string]any{"GET role-id": &role, "POST secret-id": &secret} {
		method, last, _ := strings.Cut(path, " ")
		if err := json.Unmarshal(local.vault(owner, "acme", method, "auth/approle/role/bench/"+last, nil).body, into); err != nil {
			b.Fatal(err)
		}
	}
	for _, tc := range []struct {
		what, method, path, body string
		numbered                 bool
	}{
		{"kv-read", "GET", "/v1/secret/data/bench/%d", "", true},
		{"kv-write", "POST", "/v1/secret/data/bench/%d", `{"data":{"key":"value"}}`, true},
		{"token-create", "POST", "/v1/auth/token/create", `{"ttl":"1m"}`, false},
		{"approle-login", "POST", "/v1/auth/approle/login", fmt.Sprintf(`{"role_id":%q,"secret_id":%q}`, role.Data.RoleID, secret.Data.SecretID), false},
	} {
		for _, n := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/connections=%d", tc.what, n), func(b *testing.B) {
				path := func(i int64) string {
					if tc.numbered {
						return fmt.Sprintf(tc.path, i%100)
					}
					return tc.path
				}
				load(b, d, n, func(i int64) string {
					return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: %s\r\nX-Vault-Namespace: acme\r\nContent-Length: %d\r\n\r\n%s", tc.method, path(i), owner, len(tc.body), tc.body)
				})
			})
		}
	}
}

// load sends b.N requests over so many connections and says how many there were in a
// second, and how long the slowest in a hundred took.
func load(b *testing.B, d *served, connections int, request func(i int64) string) {
	b.Helper()
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(filepath.Join(readyLine(b, d, "data"), "ca.crt"))
	if err != nil {
		b.Fatal(err)
	}
	roots.AppendCertsFromPEM(pem)
	address := strings.TrimSuffix(strings.TrimPrefix(readyLine(b, d, "url"), "https://"), "/")
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		b.Fatal(err)
	}
	conns := make([]*tls.Conn, connections)
	for i := range conns {
		if conns[i], err = tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS13}); err != nil {
			b.Fatal(err)
		}
		defer func() { _ = conns[i].Close() }()
	}
	var next atomic.Int64
	took := make([][]time.Duration, connections)
	var wg sync.WaitGroup
	begun := time.Now()
	b.ResetTimer()
	for c, conn := range conns {
		wg.Go(func() {
			in := bufio.NewReader(conn)
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					return
				}
				at := time.Now()
				if _, err := io.WriteString(conn, request(i)); err != nil {
					b.Error(err)
					return
				}
				if err := readAnswer(in); err != nil {
					b.Error(err)
					return
				}
				took[c] = append(took[c], time.Since(at))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	if len(all) > 0 {
		b.ReportMetric(float64(len(all))/time.Since(begun).Seconds(), "req/s")
		b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
	}
}

// readAnswer reads one answer that must be a success.
func readAnswer(in *bufio.Reader) error {
	status, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	length := 0
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		if line == "\r\n" {
			break
		}
		if rest, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			if _, err := fmt.Sscan(rest, &length); err != nil {
				return err
			}
		}
	}
	if !strings.HasPrefix(status, "HTTP/1.1 20") {
		body := make([]byte, min(length, 200))
		_, _ = io.ReadFull(in, body)
		return fmt.Errorf("%s%s", status, body)
	}
	_, err = in.Discard(length)
	return err
}
