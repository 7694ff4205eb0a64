package cert

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"coffer/app/domain"
)

// Bounds of what a certificate is for.
const (
	MaxNames     = 16 // that the operator can add
	maxAddresses = 32 // of the machine's interfaces
)

// Names are what a certificate is for: host names in lower case, and addresses.
type Names struct {
	Hosts     []string
	Addresses []netip.Addr
}

// ParseName reads one host name or address that the operator wants in the
// certificate.
func ParseName(s string) (string, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" && !a.IsUnspecified() {
		return a.Unmap().String(), nil
	}
	if name := strings.ToLower(s); isHostName(name) {
		return name, nil
	}
	return "", domain.Fieldf("name", "%.60q is neither a host name nor an address", s).
		WithHint("write it like coffer.example.com or 192.0.2.10, without port; several with commas between")
}

// isHostName says whether s is a host name in lower case (RFC 1123 section 2.1).
func isHostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	// One whose last label is a number would be taken for an address.
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

// Machine gives the host name and the addresses of this machine, link-local ones
// aside: those mean another machine on every link.
func Machine() Names {
	var out Names
	if host, err := os.Hostname(); err == nil {
		out.Hosts = []string{host}
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return out // the loopback addresses are added by wanted
	}
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out.Addresses = append(out.Addresses, p.Addr())
		}
	}
	return out
}

// wanted are the names that a certificate of this machine should have, sorted,
// each once, a bounded number.
func wanted(machine Names, extra []string) Names {
	hosts := []string{"localhost"}
	for _, h := range machine.Hosts {
		if h = strings.ToLower(h); isHostName(h) {
			hosts = append(hosts, h)
		}
	}
	var own []netip.Addr
	for _, a := range machine.Addresses {
		a = a.Unmap().WithZone("")
		if a.IsValid() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsMulticast() && !a.IsUnspecified() {
			own = append(own, a)
		}
	}
	own = sorted(own, netip.Addr.Compare)
	own = own[:min(len(own), maxAddresses)]
	own = append(own, netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback())
	for _, n := range extra {
		if a, err := netip.ParseAddr(n); err == nil {
			own = append(own, a)
		} else {
			hosts = append(hosts, n)
		}
	}
	return Names{Hosts: sorted(hosts, strings.Compare), Addresses: sorted(own, netip.Addr.Compare)}
}

func sorted[T comparable](list []T, compare func(a, b T) int) []T {
	slices.SortFunc(list, compare)
	return slices.Compact(list)
}
