package app

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"coffer/app/cert"
	"coffer/app/domain"
)

// noPort is the listen setting without a TLS port.
const noPort = "off"

// maxProxies bounds the networks of trusted proxies.
const maxProxies = 64

// setNetwork checks and sets what is about the TLS port.
func (cfg *Config) setNetwork(values map[string]string) (err error) {
	cfg.Listen, cfg.TLSCert, cfg.TLSKey = values["listen"], values["tls-cert"], values["tls-key"]
	if cfg.Listen != noPort {
		if err := checkListen(cfg.Listen); err != nil {
			return err
		}
	}
	switch v := values["tls"]; v {
	case "on":
		cfg.TLS = true
	case "off":
		if cfg.Listen != noPort && !isLoopback(cfg.Listen) {
			return domain.Fieldf("tls", "off on %s would send tokens and secrets in clear over the network", cfg.Listen).
				WithHint("--tls off goes with a loopback address: --listen 127.0.0.1:8080")
		}
	default:
		return domain.Fieldf("tls", "%.20q is neither on nor off", v)
	}
	if (cfg.TLSCert == "") != (cfg.TLSKey == "") {
		return domain.Fieldf("tls-cert", "--tls-cert and --tls-key go together")
	}
	if cfg.TLSCert != "" && !cfg.TLS {
		return domain.Fieldf("tls-cert", "there is no use for a certificate with --tls off")
	}
	names := list(values["name"])
	if len(names) > cert.MaxNames {
		return domain.Fieldf("name", "%d names are more than the %d that a certificate takes", len(names), cert.MaxNames)
	}
	for _, n := range names {
		name, err := cert.ParseName(n)
		if err != nil {
			return err
		}
		cfg.Names = append(cfg.Names, name)
	}
	cfg.Proxies, err = parseProxies(values["trusted-proxies"])
	return err
}

// list takes a list with commas between apart.
func list(s string) (out []string) {
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func checkListen(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return domain.Fieldf("listen", "%.60q is not an address to listen on", s).
			WithHint("write it like :8443 or 127.0.0.1:8443 or [::1]:8443, or off")
	}
	return nil
}

// isLoopback says whether an address to listen on is this machine's alone.
func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

func parseProxies(s string) (out []netip.Prefix, err error) {
	for _, text := range list(s) {
		p, err := netip.ParsePrefix(text)
		if a, addrErr := netip.ParseAddr(text); addrErr == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
		}
		switch {
		case err != nil || p.Addr().Is4In6():
			return nil, domain.Fieldf("trusted-proxies", "%.60q is no network", text).WithHint("write it like 10.0.0.0/24 or 10.0.0.7")
		case p.Bits() == 0:
			return nil, domain.Fieldf("trusted-proxies", "%s is everybody, who could then claim to be anybody", text).
				WithHint("name the addresses of the proxies alone")
		}
		out = append(out, p.Masked())
	}
	if len(out) > maxProxies {
		return nil, domain.Fieldf("trusted-proxies", "more than %d networks", maxProxies)
	}
	return out, nil
}
