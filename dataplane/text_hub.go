// SPDX-License-Identifier: MIT

//go:build !small

package dataplane

import "strings"

// hubText is what Desired has for a hub.
func hubText(d Desired) string {
	var b strings.Builder
	if d.Hub.Tunnel != "" {
		b.WriteString(d.Hub.String() + "\n")
	}
	for _, p := range d.Proxy {
		b.WriteString(p.String())
	}
	return b.String()
}

// String is the hub's firewall in one line:
// "hub closed tunnel oasis0 pool 2001:db8::/56 taken 2001:db8::1/128 site to site".
func (h HubFirewall) String() string {
	if h.Tunnel == "" {
		return "hub none"
	}
	var b strings.Builder
	b.WriteString("hub closed tunnel ")
	if h.Open {
		b.Reset()
		b.WriteString("hub open tunnel ")
	}
	b.WriteString(h.Tunnel)
	for _, p := range h.Pools {
		b.WriteString(" pool " + p.Masked().String())
	}
	for _, p := range h.Taken {
		b.WriteString(" taken " + p.Masked().String())
	}
	if h.SiteToSite {
		b.WriteString(" site to site")
	}
	return b.String()
}

// String is a line for each prefix, as in `ip -6 neigh add proxy`: "proxy 2001:db8::/64 dev eth0".
func (p NDProxy) String() string {
	var b strings.Builder
	for _, prefix := range p.Prefixes {
		b.WriteString("proxy " + prefix.Masked().String() + " dev " + p.Iface + "\n")
	}
	return b.String()
}
