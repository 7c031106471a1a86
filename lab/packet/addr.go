// SPDX-License-Identifier: MIT

package packet

import (
	"fmt"
	"net/netip"
)

// nets are address blocks and what a student should know of them; the first that holds an address speaks.
func nets() []struct{ prefix, about string } {
	return []struct{ prefix, about string }{
		{"::/128", "unspecified: the sender has no address yet"},
		{"::1/128", "loopback: this very machine"},
		{"ff02::1/128", "multicast: all nodes on this link"},
		{"ff02::2/128", "multicast: all routers on this link"},
		{"ff02::16/128", "multicast: all MLDv2 routers on this link"},
		{"ff02::1:2/128", "multicast: all DHCPv6 servers and relays on this link"},
		{"ff02::fb/128", "multicast: all that answer mDNS on this link"},
		{"ff01::/16", "multicast that does not leave the interface"},
		{"ff02::/16", "multicast that does not leave this link"},
		{"ff00::/8", "multicast"},
		{"fe80::/10", "link-local: valid on this link only, no router forwards it"},
		{"fc00::/7", "unique local: for a site's inside, not routed on the Internet (RFC 4193)"},
		{"2001:db8::/32", "documentation prefix: stands for a global address (RFC 3849)"},
		{"3fff::/20", "documentation prefix: stands for a global address (RFC 9637)"},
		{"64:ff9b::/96", "an IPv4 address behind a NAT64 (RFC 6052)"},
		{"2000::/3", "global unicast"},
		{"0.0.0.0/32", "unspecified: no address yet"},
		{"255.255.255.255/32", "broadcast on this link"},
		{"127.0.0.0/8", "loopback: this very machine"},
		{"10.0.0.0/8", "private: valid behind a NAT only (RFC 1918)"},
		{"172.16.0.0/12", "private: valid behind a NAT only (RFC 1918)"},
		{"192.168.0.0/16", "private: valid behind a NAT only (RFC 1918)"},
		{"100.64.0.0/10", "shared: behind the provider's NAT (RFC 6598)"},
		{"169.254.0.0/16", "link-local (RFC 3927)"},
		{"192.0.2.0/24", "documentation: stands for a public address (RFC 5737)"},
		{"198.51.100.0/24", "documentation: stands for a public address (RFC 5737)"},
		{"203.0.113.0/24", "documentation: stands for a public address (RFC 5737)"},
		{"224.0.0.0/4", "multicast"},
	}
}

// about says what kind of address a is.
func about(a netip.Addr) string {
	if g := solicited(a); g != "" {
		return g
	}
	for _, n := range nets() {
		if netip.MustParsePrefix(n.prefix).Contains(a) {
			return n.about
		}
	}
	return ""
}

// solicited explains a solicited-node group (RFC 4291 section 2.7.1).
func solicited(a netip.Addr) string {
	if !isSolicited(a) {
		return ""
	}
	b := a.As16()
	return fmt.Sprintf("solicited-node multicast: only hosts with an address that ends in %02x:%02x%02x listen", b[13], b[14], b[15])
}

func isSolicited(a netip.Addr) bool {
	b := a.As16()
	return a.Is6() && [13]byte(b[:13]) == [13]byte{0xff, 2, 11: 1, 12: 0xff}
}

// aboutMAC says where a frame with this destination or source goes or comes from.
func aboutMAC(m [6]byte) string {
	switch {
	case m == [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}:
		return "broadcast: all stations on the wire"
	case m[0] == 0x33 && m[1] == 0x33:
		return fmt.Sprintf("IPv6 multicast: the last four octets are those of the group, %02x%02x:%02x%02x (RFC 2464 section 7)", m[2], m[3], m[4], m[5])
	case m[0] == 0x01 && m[1] == 0 && m[2] == 0x5e:
		return "IPv4 multicast"
	case m[0]&1 != 0:
		return "multicast"
	case m[0]&2 != 0:
		return "one station, number given locally"
	}
	return "one station"
}
