// SPDX-License-Identifier: MIT

package host

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"oasis6/internal/hostmodel"
	"oasis6/internal/ip6pkt"
	"oasis6/lab/wire"
)

// carrier is for a cable that is plugged in or pulled.
func (h *Host) carrier(up bool) {
	if h.suspended {
		return
	}
	if !up {
		h.forgetNeighbors()
	}
	if !h.cfg.Autoconf {
		return
	}
	if up {
		h.step(hostmodel.LinkUp{})
		return
	}
	h.redirects = nil
	h.step(hostmodel.LinkDown{})
}

func (h *Host) forgetNeighbors() {
	_ = h.stack.ClearNeighbors(nic6, ipv6.ProtocolNumber) // fails only without the NIC
	if h.link4 != nil {
		_ = h.stack.ClearNeighbors(nic4, ipv4.ProtocolNumber) // as above
	}
}

// step lets the model decide, and makes gVisor follow.
func (h *Host) step(ev hostmodel.Event) {
	if h.suspended || h.closed || !h.cfg.Autoconf {
		return
	}
	now := h.e.Now()
	a := h.model.Step(now, ev)
	for _, s := range a.Send {
		h.solicit(s)
	}
	probe := h.follow(now)
	h.route()
	next := a.Wake
	for _, at := range []time.Time{probe, h.model.NextExpiry(now)} {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	if h.timer != nil {
		h.timer.Stop()
	}
	if !next.IsZero() {
		h.timer = h.e.AfterFunc(next.Sub(now), func() { h.step(hostmodel.Tick{}) })
	}
}

// known are the model's addresses, the link-local one first.
func (h *Host) known(now time.Time) []hostmodel.Address {
	all := h.model.Addresses(now)
	if a, ok := h.model.LinkLocalAddress(); ok {
		all = slices.Insert(all, 0, a)
	}
	return all
}

// follow makes gVisor's addresses those of the model: one is added when its duplicate address detection is to begin. It
// says when that is for the next one.
func (h *Host) follow(now time.Time) (next time.Time) {
	all := h.known(now)
	for _, a := range slices.SortedFunc(maps.Keys(h.addrs), netip.Addr.Compare) { // gVisor says goodbye in this order
		if !slices.ContainsFunc(all, func(m hostmodel.Address) bool { return m.Addr == a && !m.Duplicate }) {
			_ = h.stack.RemoveAddress(nic6, fromAddr(a)) // a duplicate is gone already
			delete(h.addrs, a)
		}
	}
	for _, m := range all {
		if m.Duplicate {
			continue
		}
		if m.Probe.After(now) {
			if next.IsZero() || m.Probe.Before(next) {
				next = m.Probe
			}
			continue
		}
		a := h.addrs[m.Addr]
		if a == nil {
			if h.add(netip.PrefixFrom(m.Addr, m.Prefix.Bits())) != nil {
				continue // gVisor refuses no address that the model makes
			}
			a = h.addrs[m.Addr]
		}
		if d := m.Deprecated(now); d != a.deprecated {
			a.deprecated = d
			_ = h.stack.SetAddressLifetimes(nic6, fromAddr(m.Addr), stack.AddressLifetimes{Deprecated: d}) // it is there
		}
	}
	return next
}

// add gives gVisor an address.
func (h *Host) add(p netip.Prefix) error {
	a := tcpip.ProtocolAddress{Protocol: ipv6.ProtocolNumber, AddressWithPrefix: withPrefix(p)}
	h.addrs[p.Addr()] = &address{}
	if err := h.stack.AddProtocolAddress(nic6, a, stack.AddressProperties{}); err != nil {
		delete(h.addrs, p.Addr())
		return fmt.Errorf("address %v: %s", p, err)
	}
	return nil
}

// route makes gVisor's routes and MTU those of the model and of the configuration.
func (h *Host) route() {
	mtu := h.mtu
	if m := int64(h.model.MTU()); m > 0 && m < int64(mtu) {
		mtu = int(m)
	}
	if h.link6.MTU() != uint32(mtu) {
		_ = h.stack.SetNICMTU(nic6, uint32(mtu)) // fails only without the NIC
	}
	var table []tcpip.Route
	add := func(nic tcpip.NICID, p netip.Prefix, via netip.Addr) {
		table = append(table, tcpip.Route{Destination: subnet(p), Gateway: fromAddr(via), NIC: nic})
	}
	for _, r := range h.routes() {
		nic := nic6
		if r.Prefix.Addr().Is4() {
			nic = nic4
		}
		add(nic, r.Prefix, r.Via)
	}
	if len(h.addrs) > 0 {
		add(nic6, netip.MustParsePrefix("fe80::/64"), netip.Addr{})
		add(nic6, netip.MustParsePrefix("ff00::/8"), netip.Addr{})
	}
	if !slices.Equal(table, h.table) {
		h.table = table
		h.stack.SetRouteTable(slices.Clone(table))
	}
}

// routes are all that lead away, the best first: the longest prefix, on the link before by a router, then the higher
// preference, then the older (RFC 4191 section 3.2). Those by routers that do not answer come after all others.
func (h *Host) routes() []hostmodel.Route {
	var out []hostmodel.Route
	if h.cfg.Autoconf {
		now := h.e.Now()
		out = append(h.model.Table(now), h.better(now)...)
	}
	for _, p := range h.cfg.IPv6 {
		out = append(out, hostmodel.Route{Prefix: p.Masked()})
	}
	if h.cfg.Gateway6.IsValid() {
		out = append(out, hostmodel.Route{Prefix: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Via: h.cfg.Gateway6})
	}
	if h.cfg.IPv4.IsValid() {
		out = append(out, hostmodel.Route{Prefix: h.cfg.IPv4.Masked()})
	}
	if h.cfg.Gateway4.IsValid() {
		out = append(out, hostmodel.Route{Prefix: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Via: h.cfg.Gateway4})
	}
	slices.SortStableFunc(out, byWorth)
	slices.SortStableFunc(out, h.bySilence)
	return out
}

// byWorth compares routes by what is known of them when all routers answer.
func byWorth(a, b hostmodel.Route) int {
	onLink := func(r hostmodel.Route) int {
		if r.Via.IsValid() {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(b.Prefix.Bits(), a.Prefix.Bits()), cmp.Compare(onLink(a), onLink(b)), cmp.Compare(b.Preference, a.Preference))
}

// Source is the source address that a new connection to dst has (RFC 6724); ok is false where there is no route, or no
// address.
func (h *Host) Source(dst netip.Addr) (src netip.Addr, ok bool) {
	if dst.Is6() && h.cfg.Autoconf {
		return h.model.Source(h.e.Now(), dst)
	}
	if !dst.IsLinkLocalUnicast() && !slices.ContainsFunc(h.routes(), func(r hostmodel.Route) bool { return r.Prefix.Contains(dst) }) {
		return netip.Addr{}, false
	}
	if dst.Is4() {
		return h.cfg.IPv4.Addr(), h.cfg.IPv4.IsValid()
	}
	ll := linkLocal(h.cfg.Port.MAC()).Addr()
	if dst.IsLinkLocalUnicast() || len(h.cfg.IPv6) == 0 {
		return ll, dst.IsLinkLocalUnicast()
	}
	for _, p := range h.cfg.IPv6 {
		if p.Contains(dst) {
			return p.Addr(), true
		}
	}
	return h.cfg.IPv6[0].Addr(), true
}

func nicOf(dst netip.Addr) tcpip.NICID {
	if dst.Is4() {
		return nic4
	}
	return nic6
}

func protocolOf(dst netip.Addr) tcpip.NetworkProtocolNumber {
	if dst.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

// solicit sends a Router Solicitation.
func (h *Host) solicit(s hostmodel.Solicitation) {
	h.tellGroup(s.Src, netip.IPv6LinkLocalAllRouters(), s.Data)
}

// tellGroup sends a message of Neighbor Discovery to a group (RFC 2464 section 7).
func (h *Host) tellGroup(src, group netip.Addr, m []byte) {
	own, g := h.cfg.Port.MAC(), group.As16()
	f := append([]byte{0x33, 0x33, g[12], g[13], g[14], g[15]}, own[:]...)
	f = binary.BigEndian.AppendUint16(f, uint16(ipv6.ProtocolNumber))
	h.transmit(append(f[:wire.Header:wire.Header], ip6pkt.ICMPv6(src, group, ndHopLimit, m)...))
}

// ndHopLimit is that of all Neighbor Discovery (RFC 4861).
const ndHopLimit = 255

// checked takes the result of duplicate address detection.
func (h *Host) checked(addr netip.Addr, result stack.DADResult) {
	a := h.addrs[addr]
	if a == nil || a.assigned {
		return // it was removed meanwhile
	}
	switch r := result.(type) {
	case *stack.DADSucceeded:
		a.assigned = true
		h.step(hostmodel.DAD{Addr: addr})
	case *stack.DADDupAddrDetected:
		if m := r.HolderLinkAddress; len(m) == 6 {
			h.holders[addr] = [6]byte([]byte(m))
		}
		h.step(hostmodel.DAD{Addr: addr, Duplicate: true})
	}
}

// dadReports hears from gVisor, while it holds its locks, what became of duplicate address detection. Nothing else comes:
// gVisor handles no Router Advertisements here.
type dadReports struct {
	ipv6.NDPDispatcher
	h *Host
}

// OnDuplicateAddressDetectionResult is ipv6.NDPDispatcher's.
func (d dadReports) OnDuplicateAddressDetectionResult(_ tcpip.NICID, a tcpip.Address, r stack.DADResult) {
	d.h.e.Post(func() { d.h.checked(toAddr(a), r) })
}
