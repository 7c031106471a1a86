// SPDX-License-Identifier: MIT

package host

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"

	"oasis6/internal/lifetime"
)

// State of an address (RFC 4862 section 2).
type State string

// What an address can be.
const (
	Tentative  State = "tentative"
	Preferred  State = "preferred"
	Deprecated State = "deprecated"
	Duplicate  State = "duplicate"
)

// Giver is who said something in a Router Advertisement; the zero value: the configuration.
type Giver struct {
	Router netip.Addr // link-local
	MAC    [6]byte
}

// Address is one of a host.
type Address struct {
	Prefix         netip.Prefix // host bits are the address
	State          State
	PreferredUntil lifetime.Until
	ValidUntil     lifetime.Until
	Temporary      bool
	From           []Giver
	Holder         [6]byte // of a duplicate: who has it
}

// Route is one way out.
type Route struct {
	Dst   netip.Prefix
	Via   netip.Addr // zero: on the link
	Until lifetime.Until
	From  Giver
	// Silent says that Via does not answer any more (RFC 4861 section 7.3): the route is used only where there is no other.
	Silent bool
}

// Server is a DNS server.
type Server struct {
	Addr  netip.Addr
	Until lifetime.Until
	From  Giver
}

// Domain is a search domain.
type Domain struct {
	Name  string
	Until lifetime.Until
	From  Giver
}

// Neighbor is an entry of the neighbor cache, of IPv6 or ARP.
type Neighbor struct {
	Addr  netip.Addr
	MAC   [6]byte // zero while it is not known
	State string
}

// View is all that a host knows.
type View struct {
	Up        bool // the cable
	Suspended bool
	MAC       [6]byte
	MTU       int // of IPv6
	MTUFrom   Giver
	Addresses []Address
	Routes    []Route
	DNS       []Server
	Search    []Domain
	Neighbors []Neighbor
}

// View is a copy for whoever shows it.
func (h *Host) View() View {
	now := h.e.Now()
	v := View{Up: h.cfg.Port.Up(), Suspended: h.suspended, MAC: h.cfg.Port.MAC(), MTU: int(h.link6.MTU())}
	if h.model.MTU() > 0 {
		v.MTUFrom = h.giver(h.model.MTUFrom())
	}
	v.Addresses = h.addresses(now)
	for _, r := range h.routes() {
		e := Route{Dst: r.Prefix, Via: r.Via, Until: r.Until, From: h.giver(r.From), Silent: h.isSilent(r.Via)}
		if !r.From.IsValid() {
			e.Until = lifetime.Forever
		}
		v.Routes = append(v.Routes, e)
	}
	for _, s := range h.model.Servers(now) {
		v.DNS = append(v.DNS, Server{s.Value, s.Until, h.giver(s.From)})
	}
	for _, a := range h.cfg.DNS {
		v.DNS = append(v.DNS, Server{Addr: a, Until: lifetime.Forever})
	}
	for _, d := range h.model.Domains(now) {
		v.Search = append(v.Search, Domain{d.Value, d.Until, h.giver(d.From)})
	}
	v.Neighbors = h.neighbors()
	return v
}

func (h *Host) giver(router netip.Addr) Giver { return Giver{router, h.routers[router]} }

func (h *Host) addresses(now time.Time) (out []Address) {
	byHand := func(p netip.Prefix) {
		if p.IsValid() {
			out = append(out, Address{Prefix: p, State: Preferred, PreferredUntil: lifetime.Forever, ValidUntil: lifetime.Forever})
		}
	}
	if !h.cfg.Autoconf {
		byHand(linkLocal(h.cfg.Port.MAC()))
		for _, p := range h.cfg.IPv6 {
			byHand(p)
		}
	}
	for _, m := range h.known(now) {
		a := Address{Prefix: netip.PrefixFrom(m.Addr, m.Prefix.Bits()), State: Preferred, PreferredUntil: m.Preferred,
			ValidUntil: m.Valid, Temporary: m.Temporary}
		switch {
		case m.Duplicate:
			a.State, a.Holder = Duplicate, h.holders[m.Addr]
		case m.Usable.IsZero() || m.Usable.After(now):
			a.State = Tentative
		case m.Deprecated(now):
			a.State = Deprecated
		}
		for _, r := range m.From {
			a.From = append(a.From, h.giver(r))
		}
		out = append(out, a)
	}
	byHand(h.cfg.IPv4)
	return out
}

func (h *Host) neighbors() (out []Neighbor) {
	for nic, proto := range map[tcpip.NICID]tcpip.NetworkProtocolNumber{nic6: ipv6.ProtocolNumber, nic4: ipv4.ProtocolNumber} {
		entries, err := h.stack.Neighbors(nic, proto)
		if err != nil {
			continue // no NIC of this family
		}
		for _, e := range entries {
			n := Neighbor{Addr: toAddr(e.Addr), State: strings.ToLower(e.State.String())}
			if len(e.LinkAddr) == 6 {
				n.MAC = [6]byte([]byte(e.LinkAddr))
			}
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b Neighbor) int { return a.Addr.Compare(b.Addr) })
	return out
}

// changes says in words what is different after.
func changes(before, after View) string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, a := range after.Addresses {
		i := slices.IndexFunc(before.Addresses, func(b Address) bool { return b.Prefix == a.Prefix })
		switch {
		case i < 0:
			say("new address %v", a.Prefix)
		case before.Addresses[i].State != a.State:
			say("%v is %s now", a.Prefix.Addr(), a.State)
		case before.Addresses[i].ValidUntil != a.ValidUntil:
			say("%v lives longer or shorter", a.Prefix.Addr())
		}
	}
	difference(before.Routes, after.Routes, func(r Route) string {
		if r.Via.IsValid() {
			return fmt.Sprintf("route %v by %v", r.Dst, r.Via)
		}
		return fmt.Sprintf("%v is on the link", r.Dst)
	}, say)
	difference(before.DNS, after.DNS, func(s Server) string { return "DNS server " + s.Addr.String() }, say)
	difference(before.Search, after.Search, func(d Domain) string { return "search domain " + d.Name }, say)
	if before.MTU != after.MTU {
		say("MTU %d", after.MTU)
	}
	return strings.Join(out, "; ")
}

func difference[T any](before, after []T, name func(T) string, say func(string, ...any)) {
	has := func(list []T, n string) bool {
		return slices.ContainsFunc(list, func(x T) bool { return name(x) == n })
	}
	for _, x := range after {
		if n := name(x); !has(before, n) {
			say("new: %s", n)
		}
	}
	for _, x := range before {
		if n := name(x); !has(after, n) {
			say("gone: %s", n)
		}
	}
}
