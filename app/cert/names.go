package cert

import (
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"coffer/app/domain"
)

// maxNames bounds the names of a certificate, whatever interfaces there are.
const maxNames = 64

// Names are what a certificate is for.
type Names struct {
	DNS []string
	IP  []net.IP
}

// hostPattern is a host name (RFC 1123, section 2.1), in lower case.
var hostPattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// ParseName checks a host name or an address that came from outside.
func ParseName(s string) (string, error) {
	s = strings.ToLower(s)
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return addr.String(), nil
	}
	if len(s) > 253 || !hostPattern.MatchString(s) {
		return "", domain.Fieldf("name", "%.60q is neither a host name nor an address", s).WithHint("for example coffer.example.com or 192.0.2.7")
	}
	return s, nil
}

// Machine gives the names and addresses of this machine and the given ones
// before them, as they are now. hostname and addrs are what the system says.
func Machine(given []string, hostname string, addrs []net.Addr) Names {
	var n Names
	for _, name := range given {
		n.add(name)
	}
	n.add("localhost")
	if name, err := ParseName(hostname); err == nil {
		n.add(name)
	}
	n.add("127.0.0.1")
	n.add("::1")
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err == nil && !prefix.Addr().IsLinkLocalUnicast() && !prefix.Addr().IsMulticast() {
			n.add(prefix.Addr().String())
		}
	}
	return n
}

func (n *Names) add(name string) {
	if len(n.DNS)+len(n.IP) >= maxNames {
		return
	}
	if ip := net.ParseIP(name); ip != nil {
		if !slices.ContainsFunc(n.IP, ip.Equal) {
			n.IP = append(n.IP, ip)
		}
	} else if !slices.Contains(n.DNS, name) {
		n.DNS = append(n.DNS, name)
	}
}

func (n Names) first() string {
	if len(n.DNS) > 0 {
		return n.DNS[0]
	}
	return n.IP[0].String()
}

// same says whether both hold the same names, in whatever order.
func (n Names) same(o Names) bool {
	return slices.Equal(n.sorted(), o.sorted())
}

func (n Names) sorted() []string {
	all := slices.Clone(n.DNS)
	for _, ip := range n.IP {
		all = append(all, ip.String())
	}
	slices.Sort(all)
	return all
}
