package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"coffer/app/api"
	"coffer/app/directory"
	"coffer/app/domain"
	"coffer/app/durable"
	"coffer/app/httpd"
	"coffer/vault/token"
)

// maxAnswer bounds what the command line reads of an answer, in bytes.
const maxAnswer = 64 << 20

// client calls the native API: over the local socket of a data directory, or
// over the network with a token.
type client struct {
	base    url.URL
	socket  string // "" over the network
	token   domain.Secret
	code    domain.Secret                 // of the second factor
	askCode func() (domain.Secret, error) // asks a person for one; nil where nobody can be asked
	http    *http.Client
	receipt string // of the last answer
}

// dial makes a client for a command. The local socket is used if it is there,
// unless --addr is given; else the address of COFFER_ADDR.
func dial(c *cli.Context, std Stdio) (*client, error) {
	token, err := tokenFrom(c, std)
	if err != nil {
		return nil, err
	}
	data := dataDir(c, std)
	addr := c.String("addr")
	if addr == "" {
		if data == "" {
			return nil, domain.Fieldf("data", "no directory is named")
		}
		if env := std.Env("COFFER_ADDR"); env != "" && missing(socketPath(data)) {
			addr = env
		}
	}
	var cl *client
	if addr == "" {
		cl = newClient(socketPath(data), token)
	} else {
		authority := c.String("cacert")
		if !c.IsSet("cacert") {
			authority = std.Env("COFFER_CACERT")
		}
		if cl, err = newRemoteClient(addr, authority, token); err != nil {
			return nil, err
		}
	}
	cl.code = domain.SecretString(c.String("code"))
	cl.askCode = func() (domain.Secret, error) { return prompt(std, "Code of your second factor: ") }
	return cl, nil
}

func newClient(socket string, token domain.Secret) *client {
	dialer := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &client{base: url.URL{Scheme: "http", Host: "coffer"}, socket: socket, token: token, http: &http.Client{Transport: &http.Transport{
		DialContext: dialer, DisableCompression: true, MaxIdleConnsPerHost: 64,
	}}}
}

// newRemoteClient makes a client for an address, which trusts the authority in
// the named file, or those of the system.
func newRemoteClient(addr, authority string, token domain.Secret) (*client, error) {
	base, err := parseAddr(addr)
	if err != nil {
		return nil, err
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if authority != "" {
		pem, err := durable.ReadFile(authority, 1<<20)
		if err != nil {
			return nil, domain.Errorf(domain.Invalid, "reading the authority's certificate: %w", err).
				WithHint("it is ca.crt in the data directory of the server, and at %s", base.JoinPath("ca.crt"))
		}
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(pem) {
			return nil, domain.Fieldf("cacert", "%s holds no certificate in PEM", authority)
		}
	}
	return &client{base: base, token: token, http: &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: trust, DisableCompression: true, MaxIdleConnsPerHost: 64, TLSHandshakeTimeout: 10 * time.Second,
			DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		},
		// A token follows no redirect: the address that was given is the one meant.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// parseAddr reads the address of a Coffer. Without TLS a token would be there
// for everybody on the way to read, so that is for this machine alone.
func parseAddr(s string) (url.URL, error) {
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return url.URL{}, domain.Fieldf("addr", "not the address of a Coffer").WithHint("for example https://coffer.example.com:8443")
	}
	switch ip := net.ParseIP(u.Hostname()); {
	case u.Scheme == "https":
	case u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()):
	default:
		return url.URL{}, domain.Fieldf("addr", "only https:// goes over a network").WithHint("for example https://%s", u.Host)
	}
	return url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// tokenFrom reads the token from --token-file or COFFER_TOKEN, in this order.
func tokenFrom(c *cli.Context, std Stdio) (domain.Secret, error) {
	path := c.String("token-file")
	switch {
	case c.IsSet("token-file") && path == "":
		// A script's unset variable must not make it act as somebody else.
		return domain.Secret{}, domain.Fieldf("token-file", "no file is named")
	case path == "":
		t := domain.SecretString(std.Env("COFFER_TOKEN"))
		if bytes.ContainsFunc(t.Reveal(), unsendable) {
			return domain.Secret{}, domain.Fieldf("token", "COFFER_TOKEN holds no token")
		}
		return t, nil
	}
	b, err := durable.ReadFile(path, 4096)
	if err != nil {
		return domain.Secret{}, domain.Errorf(domain.Invalid, "reading the token file: %w", err)
	}
	t := domain.NewSecret(bytes.TrimSpace(b))
	if !isBearer(string(t.Reveal())) || bytes.ContainsFunc(t.Reveal(), unsendable) {
		return domain.Secret{}, domain.Fieldf("token-file", "%s holds no token", path)
	}
	return t, nil
}

// isBearer says whether a text can be a token or a session.
func isBearer(s string) bool {
	return strings.HasPrefix(s, token.Prefix) || strings.HasPrefix(s, directory.SessionPrefix)
}

// unsendable are the characters that no header can have (RFC 9110 section 5.5),
// and blanks, which no token has.
func unsendable(r rune) bool { return r <= ' ' || r >= 0x7f }

// call sends one request and reads the answer into out. in is nil for none. Where
// the second factor is wanted and somebody sits at a terminal, it is asked for.
func (c *client) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	err := c.send(ctx, method, path, query, in, out)
	if domain.KindOf(err) != domain.StepUp || c.code.Len() > 0 || c.askCode == nil {
		return err
	}
	code, askErr := c.askCode()
	if askErr != nil {
		return err // nobody is there: what the server said counts
	}
	c.code = code
	return c.send(ctx, method, path, query, in, out)
}

func (c *client) send(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		if len(b) > httpd.MaxBody { // the server would hang up on it
			return domain.Errorf(domain.Limit, "the request is larger than %d bytes", httpd.MaxBody)
		}
		body = bytes.NewReader(b)
	}
	target := c.base
	target.Path, target.RawQuery = path, query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", "coffer/"+version())
	if c.token.Len() > 0 {
		req.Header.Set("Authorization", "Bearer "+string(c.token.Reveal()))
	}
	if c.code.Len() > 0 {
		if bytes.ContainsFunc(c.code.Reveal(), unsendable) {
			return domain.Fieldf("code", "not a code")
		}
		req.Header.Set(api.CodeHeader, string(c.code.Reveal()))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return c.unreachable(err)
	}
	c.receipt = resp.Header.Get(httpd.AuditHeader)
	if resp.StatusCode >= 300 {
		var p httpd.Problem
		if err := json.Unmarshal(answer, &p); err != nil {
			return domain.Errorf(domain.Unavailable, "the answer of %s is not Coffer's", c.where())
		}
		return p.Err()
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	return nil
}

func (c *client) unreachable(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return domain.Errorf(domain.Unavailable, "interrupted before the answer came").
			WithHint("whether it was done stands in: coffer audit tail")
	}
	e := domain.Errorf(domain.Unavailable, "no Coffer answers at %s: %w", c.where(), err)
	if c.socket != "" {
		return e.WithHint("start one with: coffer serve --data %s", filepath.Dir(filepath.Dir(c.socket)))
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return domain.Errorf(domain.Unavailable, "the certificate of %s is not signed by an authority that is trusted here", c.where()).
			WithHint("get %s, compare its fingerprint with the one that `coffer serve` printed, then add --cacert ca.crt (or COFFER_CACERT)", c.base.JoinPath("ca.crt"))
	}
	if wrong, ok := errors.AsType[x509.HostnameError](err); ok {
		return domain.Errorf(domain.Unavailable, "the certificate of %s is not for that name: %w", c.where(), wrong).
			WithHint("use a name of that machine, or start it with --name %s", c.base.Hostname())
	}
	return e.WithHint("is the address right, and does Coffer run there? see the url that `coffer serve` printed")
}

// where is what the client calls, for messages.
func (c *client) where() string {
	if c.socket != "" {
		return c.socket
	}
	return c.base.String()
}
