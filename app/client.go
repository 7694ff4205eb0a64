package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

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
	if data == "" {
		return nil, domain.Fieldf("data", "no directory is named")
	}
	addr, err := addressOf(c, std, socketPath(data))
	if err != nil {
		return nil, err
	}
	cl := newClient(socketPath(data), token)
	if addr != "" {
		if cl, err = newNetworkClient(addr, settingOr(c, std, "cacert", "COFFER_CACERT"), token); err != nil {
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
	if resp.StatusCode == http.StatusPermanentRedirect && c.base.Scheme == "http" && c.socket == "" {
		return c.speaksTLS()
	}
	if resp.StatusCode >= 300 {
		var p httpd.Problem
		if err := wireFailure(resp.StatusCode, answer); strings.HasPrefix(path, "/t/") && err != nil {
			return err
		}
		if err := json.Unmarshal(answer, &p); err != nil || p.Kind == "" {
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
	if c.socket == "" {
		return c.networkError(err)
	}
	return domain.Errorf(domain.Unavailable, "no Coffer answers at %s: %w", c.socket, err).
		WithHint("start one with: coffer serve --data %s", filepath.Dir(filepath.Dir(c.socket)))
}

// where is what the client calls, for messages.
func (c *client) where() string {
	if c.socket != "" {
		return c.socket
	}
	return c.base.String()
}
