// SPDX-License-Identifier: MIT

package router

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"oasis6/config"
)

// exampleDelegation stands for what the hub will delegate, in `oasis6 check`.
var exampleDelegation = netip.MustParsePrefix("2001:db8:ebbd:9900::/56")

// previewMTU is the tunnel MTU over a path of 1500 octets.
const previewMTU = 1420

// Preview says what a box with this configuration would do, without touching anything: the text of
// `oasis6 check`. With DHCPv6 the delegation is an example, and the text says so.
func Preview(cfg *config.Config) string {
	var b strings.Builder
	ds := []Delegation{staticDelegation(cfg.Prefix.Static)}
	if cfg.Prefix.Source == config.DHCPv6 {
		ds = examples(cfg.Prefix.Hints)
		var names []string
		for _, d := range ds {
			names = append(names, d.Prefix.String())
		}
		fmt.Fprintf(&b, "if the hub delegates %s (an example):\n", strings.Join(names, " and "))
	}
	ll := cfg.Interface.LinkLocal
	if !ll.IsValid() && !cfg.Interface.PrivateKey.IsZero() {
		ll = cfg.Interface.PrivateKey.Public().LinkLocal()
	}
	mtu := cfg.Interface.MTU
	if mtu == 0 {
		mtu = previewMTU
	}
	p := Make(Facts{
		Config: cfg, TunnelLinkLocal: ll, TunnelMTU: mtu, TunnelAlive: true, Delegations: ds,
	}, time.Unix(0, 0))
	fmt.Fprintln(&b, strings.TrimRight(p.Desired.String(), "\n"))
	for _, l := range p.LANs {
		for _, x := range l.Content.Prefixes {
			fmt.Fprintf(&b, "advertise %s on %s mtu %d\n", x.Prefix, l.Iface, l.Content.LinkMTU)
		}
		for _, a := range l.Content.RDNSS {
			fmt.Fprintf(&b, "advertise dns %s on %s\n", a, l.Iface)
		}
		for _, n := range l.Content.DNSSL {
			fmt.Fprintf(&b, "advertise search %s on %s\n", n, l.Iface)
		}
	}
	for _, s := range p.Problems {
		fmt.Fprintf(&b, "problem: %s\n", s)
	}
	return b.String()
}

// examples are what a hub might delegate for these wishes: those of a length side by side.
func examples(hints []netip.Prefix) (ds []Delegation) {
	if len(hints) == 0 {
		return []Delegation{staticDelegation(exampleDelegation)}
	}
	next := exampleDelegation.Addr()
	for _, h := range hints {
		p := h
		if h.Addr().IsUnspecified() {
			p = netip.PrefixFrom(next, h.Bits()).Masked()
			if !p.Contains(next) || p.Addr() != next {
				p = netip.PrefixFrom(behind(p), h.Bits())
			}
			next = behind(p)
		}
		ds = append(ds, staticDelegation(p))
	}
	return ds
}

// behind is the first address after a prefix of at most 64 bits.
func behind(p netip.Prefix) netip.Addr {
	a := p.Addr().As16()
	upper := binary.BigEndian.Uint64(a[:8]) + 1<<(64-p.Bits())
	binary.BigEndian.PutUint64(a[:8], upper)
	return netip.AddrFrom16(a)
}
