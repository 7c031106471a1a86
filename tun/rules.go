// SPDX-License-Identifier: MIT

package tun

import "net/netip"

// What follows is for a tunnel that is not wireguard-go's, as the lab has one in virtual time: the rules that it must have in
// common with Tunnel and Hub, so that a box or a hub cannot tell one from the other. Nothing in the product calls it.

// Rules of a Tunnel.
const (
	EventQueue     = eventQueue
	LookupRetry    = lookupRetry
	LookupRetryMax = lookupRetryMax
	DeafAfter      = deafAfter
	ProbeID        = probeID
	ProbeHopLimit  = probeHopLimit
)

// Rules of a Hub.
const (
	SiteBurst  = siteBurst
	SiteEvery  = siteEvery
	SessionFor = sessionFor
	Knocks     = knocks
	KnockEvery = knockEvery
	KnockBurst = knockBurst
	KnockAgain = knockAgain
)

// Normal is the configuration with everything that is derived, as Open has it; the error says all that is wrong.
func (c Config) Normal() (Config, error) { return c.normalize() }

// Normal is the configuration with everything that is derived, as OpenHub has it; the error says all that is wrong.
func (c HubConfig) Normal() (HubConfig, error) { return c.normalize() }

// ForUs says whether a packet from a peer is control traffic for the end with the address self, and with port if that is
// not zero: what Tap takes out.
func ForUs(pkt []byte, self netip.Addr, port uint16) bool { return forUs(pkt, &own{self, port}) }

// KernelSpeaks says whether a packet from inside is control traffic of the kernel's own: what Tap silences.
func KernelSpeaks(pkt []byte) bool { return kernelSpeaks(pkt) }

// FromLinkLocal says whether it is an IPv6 packet with a source in fe80::/10.
func FromLinkLocal(pkt []byte) bool { return fromLinkLocal(pkt) }

// CheckPacket says what is wrong with a packet for Send.
func CheckPacket(name string, pkt []byte) error { return checkPacket(name, pkt) }

// FitMTU is what is left for the tunnel of an outer MTU, and whether less than IPv6's minimum would be.
func FitMTU(outer int) (mtu int, tooSmall bool) { return tunnelMTU(outer) }

// ParseEndpoint reads host:port. The name is empty if the host is an address.
func ParseEndpoint(s string) (name string, addr netip.Addr, port uint16, err error) {
	t, err := parseTarget(s)
	return t.name, t.addr, t.port, err
}

// Choose picks the peer's address among those that its name has, as a Tunnel does; all of them count as usable.
func Choose(addrs []netip.Addr, port uint16, present netip.AddrPort, deaf bool) netip.AddrPort {
	return choose(addrs, port, present, deaf, func(netip.AddrPort) bool { return true })
}
