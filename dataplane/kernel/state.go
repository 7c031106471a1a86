// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"oasis6/dataplane"
)

// mark is our route protocol (/etc/iproute2/rt_protos has no name for it) and our IFA_PROTO.
const mark = 66

// snapshot is what the kernel held a moment ago, of all that we care for.
type snapshot struct {
	read   time.Time
	links  []link // in the order of their index
	addrs  []addr // IPv6, all interfaces
	routes []route
	conf   confMap
	table  tableState
	// marked: this kernel keeps IFA_PROTO, so an address without our mark is not ours.
	marked bool
	// taken are the link-local addresses that another node has, as far as it was asked.
	taken map[addrID]taking
	// anew are addresses to be deleted and made again.
	anew map[addrID]bool
}

// link is an interface.
type link struct {
	index, master int
	name, kind    string // kind: "bridge", "tun", ...; empty for a real one
	mac           [6]byte
	hasMAC        bool
	mtu           int
	up            bool // administratively
	running       bool // and has carrier
}

// addr is an IPv6 address of an interface.
type addr struct {
	index      int
	prefix     netip.Prefix // host bits are the address
	flags      uint32
	deprecated bool
	proto      uint8
}

func (a addr) usableLinkLocal() bool {
	return a.prefix.Addr().IsLinkLocalUnicast() && a.flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) == 0
}

func (a addr) takenLinkLocal() bool {
	return a.prefix.Addr().IsLinkLocalUnicast() && a.flags&unix.IFA_F_DADFAILED != 0
}

// route is an IPv6 route of the main table, as its key: two routes with equal keys cannot coexist.
type route struct {
	kind   dataplane.RouteKind
	dst    netip.Prefix
	from   netip.Prefix // zero: any source
	via    netip.Addr   // next hop; zero: on the link
	index  int          // 0 for routes that lead nowhere, or to several next hops
	metric uint32
	proto  uint8
}

// key leaves out whose route it is.
func (r route) key() route {
	r.proto = 0
	return r
}

// hopless says whether packets go somewhere, and not by one next hop.
func (r route) hopless() bool { return r.kind == dataplane.Unicast && !r.via.IsValid() }

// anyHop leaves out where it leads to.
func (r route) anyHop() route { return route{dst: r.dst, from: r.from, metric: r.metric} }

// otherKind is a route type that we never make: blackhole, prohibit, ...
const otherKind dataplane.RouteKind = 255

// tableState is what is known of the table ip6 oasis6.
type tableState struct {
	present bool
	// sum is the fingerprint of the ruleset, empty if any part is not as we made it.
	sum string
}

// ours says whether we made the address.
func (s *snapshot) ours(a addr, mem memory) bool {
	return a.proto == mark || !s.marked && mem.addrs[addrID{a.index, a.prefix.Addr()}]
}

func (s *snapshot) linkByName(name string) (link, bool) {
	for _, l := range s.links {
		if l.name == name {
			return l, true
		}
	}
	return link{}, false
}

func (s *snapshot) linkByIndex(index int) (link, bool) {
	for _, l := range s.links {
		if l.index == index {
			return l, true
		}
	}
	return link{}, false
}

// ifname is the name for texts.
func (s *snapshot) ifname(index int) string {
	if l, ok := s.linkByIndex(index); ok {
		return l.name
	}
	return fmt.Sprintf("if%d", index)
}

// describe is the interface as the consumer of the Plane knows it. had is the link-local address it
// was told before: as long as that one is usable it stays, so that a second one changes nothing.
func (s *snapshot) describe(name string, had netip.Addr) dataplane.Link {
	l, ok := s.linkByName(name)
	if !ok {
		return dataplane.Link{Name: name}
	}
	d := dataplane.Link{
		Name: name, Index: l.index, MAC: l.mac, HasMAC: l.hasMAC, Up: l.up && l.running,
		Exists: true, MTU: l.mtu, Bridge: l.kind == "bridge",
	}
	if m, ok := s.linkByIndex(l.master); ok && m.kind == "bridge" {
		d.Master = m.name
	}
	for _, a := range s.addrs {
		if a.index == l.index && a.takenLinkLocal() {
			d.Taken = a.prefix.Addr()
			d.TakenBy = s.taken[addrID{l.index, d.Taken}].by
		}
		if a.index != l.index || !a.usableLinkLocal() {
			continue
		}
		if ip := a.prefix.Addr(); !d.LinkLocal.IsValid() || ip == had {
			d.LinkLocal = ip
		}
	}
	return d
}
