// SPDX-License-Identifier: MIT

package router

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"oasis6/config"
	"oasis6/internal/lifetime"
)

// exampleDelegation stands for what the hub will delegate, in `oasis6 check`.
var exampleDelegation = netip.MustParsePrefix("2001:db8:ebbd:9900::/56")

// previewMTU is the tunnel MTU over a path of 1500 octets.
const previewMTU = 1420

// Preview says what a box with this configuration would do, without touching anything: the text of
// `oasis6 check`. With DHCPv6 the delegation is an example, and the text says so.
func Preview(cfg *config.Config) string {
	var b strings.Builder
	d := staticDelegation(cfg.Prefix.Static)
	if cfg.Prefix.Source == config.DHCPv6 {
		d.Prefix = exampleDelegation
		if hs := cfg.Prefix.Hints; len(hs) > 0 {
			h := hs[0]
			d.Prefix = netip.PrefixFrom(exampleDelegation.Addr(), h.Bits())
			if !h.Addr().IsUnspecified() {
				d.Prefix = h
			}
		}
		d.Prefix = d.Prefix.Masked()
		d.Preferred, d.Valid = lifetime.Forever, lifetime.Forever
		fmt.Fprintf(&b, "if the hub delegates %s (an example):\n", d.Prefix)
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
		Config: cfg, TunnelLinkLocal: ll, TunnelMTU: mtu, TunnelAlive: true, Delegations: []Delegation{d},
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
