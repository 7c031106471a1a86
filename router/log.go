// SPDX-License-Identifier: MIT

package router

import (
	"net/netip"
	"slices"
	"strconv"

	"oasis6/config"
)

// logPlan says what a new plan changes for the people on the LAN.
func (r *Router) logPlan(old, next Plan) {
	for _, l := range next.LANs {
		for _, s := range l.Subnets {
			if !old.has(l.Iface, s.Prefix) {
				r.journal.Info("subnet on LAN", "prefix", s.Prefix.String(), "iface", l.Iface)
			}
		}
	}
	for _, l := range old.LANs {
		for _, s := range l.Subnets {
			if !next.has(l.Iface, s.Prefix) {
				r.journal.Info("subnet gone from LAN", "prefix", s.Prefix.String(), "iface", l.Iface)
			}
		}
	}
	for _, p := range next.Problems {
		if !slices.Contains(old.Problems, p) {
			r.journal.Warn("plan is incomplete", "what", p)
		}
	}
}

func (p Plan) has(iface string, prefix netip.Prefix) bool {
	return slices.ContainsFunc(p.LANs, func(l LANPlan) bool {
		return l.Iface == iface && slices.ContainsFunc(l.Subnets, func(s Subnet) bool { return s.Prefix == prefix })
	})
}

func itoa(n int) string { return strconv.Itoa(n) }

// tunnelAllowedIPs adds the link-local addresses where the file names only some destinations: the DHCPv6
// server behind the hub may answer from another one than the hub's own.
func tunnelAllowedIPs(cfg *config.Config) []netip.Prefix {
	out := cfg.Peers[0].AllowedIPs
	need := netip.MustParsePrefix("fe80::/10")
	if cfg.Prefix.Source != config.DHCPv6 || slices.ContainsFunc(out, func(a netip.Prefix) bool {
		return a.Bits() <= need.Bits() && a.Contains(need.Addr())
	}) {
		return out
	}
	return append(slices.Clone(out), need)
}
