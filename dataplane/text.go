// SPDX-License-Identifier: MIT

package dataplane

import (
	"fmt"
	"net/netip"
	"strings"
)

// String is the whole of Desired as text, one object per line, each as an administrator would type
// or see it. Tests compare it and `oasis6 check` prints it.
func (d Desired) String() string {
	var b strings.Builder
	if d.Tunnel.Name != "" {
		fmt.Fprintf(&b, "link %s mtu %d up\n", d.Tunnel.Name, d.Tunnel.MTU)
	}
	for _, l := range d.LANs {
		fmt.Fprintf(&b, "lan %s\n", l)
	}
	for _, a := range d.Addresses {
		b.WriteString(a.String() + "\n")
	}
	for _, r := range d.Routes {
		b.WriteString(r.String() + "\n")
	}
	if d.Forward {
		b.WriteString("forward ipv6\n")
	}
	if d.Firewall.Tunnel != "" {
		b.WriteString(d.Firewall.String() + "\n")
	}
	b.WriteString(hubText(d))
	return b.String()
}

// String is the address as in `ip -6 address add`: "address 2001:db8::1/64 dev br-lan".
func (a Address) String() string {
	s := "address " + a.Prefix.String() + " dev " + a.Iface
	if a.NoDAD {
		s += " nodad"
	}
	if a.Deprecated {
		s += " deprecated"
	}
	return s
}

// String is the route as in `ip -6 route add`: "route default from 2001:db8::/64 dev oasis0".
func (r Route) String() string {
	var b strings.Builder
	b.WriteString("route ")
	if r.Kind == Unreachable {
		b.WriteString("unreachable ")
	}
	b.WriteString(prefixText(r.Dst))
	if r.From.IsValid() {
		b.WriteString(" from " + r.From.Masked().String())
	}
	if r.Via.IsValid() {
		b.WriteString(" via " + r.Via.String())
	}
	if r.Iface != "" {
		b.WriteString(" dev " + r.Iface)
	}
	if r.Metric != 0 {
		fmt.Fprintf(&b, " metric %d", r.Metric)
	}
	if r.IfNoOther {
		b.WriteString(" if no other")
	}
	return b.String()
}

// String is the firewall in one line:
// "firewall closed tunnel oasis0 lan br-lan from 2001:db8::/64 stale 2001:db8:0:1::/64".
func (f Firewall) String() string {
	if f.Tunnel == "" {
		return "firewall none"
	}
	var b strings.Builder
	b.WriteString("firewall closed")
	if f.Open {
		b.Reset()
		b.WriteString("firewall open")
	}
	b.WriteString(" tunnel " + f.Tunnel)
	if f.NoULA {
		b.WriteString(" without ula")
	}
	if f.Dead {
		b.WriteString(" dead")
	}
	for _, l := range f.LANs {
		b.WriteString(" lan " + l)
	}
	for _, p := range f.Delegations {
		b.WriteString(" from " + p.Masked().String())
	}
	for _, p := range f.Stale {
		b.WriteString(" stale " + p.Masked().String())
	}
	for _, p := range f.Local {
		b.WriteString(" local " + p.Masked().String())
	}
	for _, s := range f.Sources {
		b.WriteString(" behind " + s.Iface)
		for _, p := range s.OnLink {
			b.WriteString(" " + p.Masked().String())
		}
		for _, p := range s.Routed {
			b.WriteString(" routed " + p.Masked().String())
		}
	}
	return b.String()
}

func prefixText(p netip.Prefix) string {
	if p.Bits() == 0 {
		return "default"
	}
	return p.Masked().String()
}
