package app

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"coffer/app/domain"
)

// dialTime is how long a connection over the network may take to be made.
const dialTime = 10 * time.Second

// addressOf is the address that a command talks to, "" for the local socket.
func addressOf(c *cli.Context, std Stdio, socket string) (string, error) {
	if c.IsSet("addr") {
		if c.String("addr") == "" {
			// A script's unset variable must not send it to another Coffer.
			return "", domain.Fieldf("addr", "no address is named")
		}
		return c.String("addr"), nil
	}
	if !missing(socket) {
		return "", nil
	}
	return std.Env("COFFER_ADDR"), nil
}

// settingOr is a flag's value if it is set, else that of the environment.
func settingOr(c *cli.Context, std Stdio, flag, env string) string {
	if c.IsSet(flag) {
		return c.String(flag)
	}
	return std.Env(env)
}

// newNetworkClient makes a client for an address, which trusts the authorities
// in a file, or without one those that the system trusts.
func newNetworkClient(addr, cacert string, token domain.Secret) (*client, error) {
	base, err := parseAddress(addr)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if cacert != "" {
		if config.RootCAs, err = readAuthorities(cacert); err != nil {
			return nil, err
		}
	}
	return &client{base: base, token: token, http: &http.Client{
		Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: dialTime}).DialContext, TLSClientConfig: config, TLSHandshakeTimeout: dialTime,
			DisableCompression: true, MaxIdleConnsPerHost: 64,
		},
		// A token goes to the address that was named, and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// parseAddress reads the address of a Coffer.
func parseAddress(addr string) (url.URL, error) {
	u, err := url.Parse(addr)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return url.URL{}, domain.Fieldf("addr", "%.80q is not the address of a Coffer", addr).WithHint("write it like https://coffer.example.com:8443")
	}
	switch u.Scheme {
	case "https":
	case "http":
		if !isLoopback(net.JoinHostPort(u.Hostname(), "1")) {
			return url.URL{}, domain.Fieldf("addr", "http would send the token in clear over the network").
				WithHint("write https://%s", u.Host)
		}
	default:
		return url.URL{}, domain.Fieldf("addr", "%.20q is neither https nor http", u.Scheme).WithHint("write it like https://coffer.example.com:8443")
	}
	return url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

func readAuthorities(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, domain.Fieldf("cacert", "%v", err).WithHint("it is the file ca.crt of the server's data directory")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, domain.Fieldf("cacert", "%s holds no certificate in PEM", path).WithHint("it is the file ca.crt of the server's data directory")
	}
	return pool, nil
}

// networkError says why nothing came back over the network, and what to do.
func (c *client) networkError(err error) error {
	at := c.where()
	if _, is := errors.AsType[x509.UnknownAuthorityError](err); is {
		return domain.Errorf(domain.Unavailable, "the certificate of %s is signed by an authority that is not trusted here", at).
			WithHint("copy ca.crt from the server's data directory, compare its fingerprint with the line ca-fingerprint that coffer serve printed " +
				"(openssl x509 -in ca.crt -noout -fingerprint -sha256), then add --cacert ca.crt")
	}
	if wrong, is := errors.AsType[x509.HostnameError](err); is {
		return domain.Errorf(domain.Unavailable, "the certificate of %s is not for %s", at, wrong.Host).
			WithHint("use a name that it is for, or on the server: coffer serve --name %s", wrong.Host)
	}
	if invalid, is := errors.AsType[x509.CertificateInvalidError](err); is {
		return domain.Errorf(domain.Unavailable, "the certificate of %s does not hold: %w", at, invalid).
			WithHint("look at the clocks of both machines")
	}
	if _, is := errors.AsType[tls.RecordHeaderError](err); is || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return domain.Errorf(domain.Unavailable, "%s does not speak TLS", at).
			WithHint("with --tls off on the server the address begins with http://")
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return domain.Errorf(domain.Unavailable, "no Coffer answers at %s: the connection was refused", at).
			WithHint("look at the line url that coffer serve printed")
	}
	if _, is := errors.AsType[*net.DNSError](err); is {
		return domain.Errorf(domain.Unavailable, "the host name of %s is not known: %w", at, err).WithHint("look at the address")
	}
	return domain.Errorf(domain.Unavailable, "no Coffer answers at %s: %w", at, err).WithHint("look at the address, and whether the server runs")
}

// speaksTLS is what a plain address of a TLS port ends with.
func (c *client) speaksTLS() error {
	return domain.Errorf(domain.Unavailable, "the port at %s speaks TLS", c.where()).WithHint("write https://%s", c.base.Host)
}
