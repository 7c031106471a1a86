// SPDX-License-Identifier: MIT

package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"oasis6/internal/ip6pkt"
	"oasis6/lab/host"
	"oasis6/lab/wire"
	"oasis6/ra"
)

// checks are what a lesson waits for, in the order in which it happens. One that has happened stays so.
type checks struct {
	texts []string
	done  []bool
	watch func(*record) // may be nil
	look  func()        // may be nil
	note  string        // why it has to be done again
}

func newChecks(texts ...string) *checks { return &checks{texts: texts, done: make([]bool, len(texts))} }

func (c *checks) see(r *record) {
	if c.watch != nil && r.Dropped == "" {
		c.watch(r)
	}
}

// mark says that the i-th has happened, if those before it have.
func (c *checks) mark(i int) {
	if !slices.Contains(c.done[:i], false) {
		c.done[i] = true
	}
}

func (c *checks) passed() (bool, string) {
	if c.look != nil {
		c.look()
	}
	var left []string
	for i, d := range c.done {
		if !d {
			left = append(left, c.texts[i])
		}
	}
	text := ""
	if len(left) > 0 {
		text = fmt.Sprintf("%d of %d seen. Still to come: %s.", len(c.done)-len(left), len(c.done), strings.Join(left, "; "))
	}
	return len(left) == 0, strings.TrimSpace(c.note + " " + text)
}

// Types of ICMP and of DHCPv6 messages that lessons look for.
const (
	echo4Request = 8
	echo4Reply   = 0
	echo6Request = 128
	echo6Reply   = 129
	dhcpReply    = 7
	dhcpServer   = 547
)

// icmp6 is an ICMPv6 message in an IPv6 packet without extension headers; nil: it is none.
func icmp6(p []byte) []byte {
	if len(p) < ip6pkt.HeaderLen+4 || p[0]>>4 != 6 || p[6] != ip6pkt.ProtoICMPv6 {
		return nil
	}
	return p[ip6pkt.HeaderLen:]
}

func isICMP6(p []byte, typ byte) bool {
	m := icmp6(p)
	return m != nil && m[0] == typ
}

// isEcho4 says whether a frame is a plain IPv4 echo of this type.
func isEcho4(frame []byte, typ byte) bool {
	if len(frame) < wire.Header || !isIPv4(frame) {
		return false
	}
	proto, _, body := splitIPv4(frame[wire.Header:])
	return proto == protoICMP && len(body) > 0 && body[0] == typ
}

func source6(p []byte) netip.Addr { return netip.AddrFrom16([16]byte(p[8:24])) }
func dest6(p []byte) netip.Addr   { return netip.AddrFrom16([16]byte(p[24:40])) }

// dhcp6 is the type of a DHCPv6 message to or from a server; 0: it is none.
func dhcp6(p []byte) byte {
	const at = ip6pkt.HeaderLen + ip6pkt.UDPHeaderLen
	if len(p) <= at || p[0]>>4 != 6 || p[6] != protoUDP {
		return 0
	}
	from, to := int(p[ip6pkt.HeaderLen])<<8|int(p[ip6pkt.HeaderLen+1]), int(p[ip6pkt.HeaderLen+2])<<8|int(p[ip6pkt.HeaderLen+3])
	if from != dhcpServer && to != dhcpServer {
		return 0
	}
	return p[at]
}

// isLANHost says whether a node is a host behind a box.
func (w *World) isLANHost(name string) bool { return slices.Contains(w.lanHosts(), name) }

// isFirstWire says whether a wire is a box's WAN side.
func isFirstWire(id string) bool {
	for _, p := range paths() {
		if p[0] == id {
			return true
		}
	}
	return false
}

func judgeSplit(w *World) judge {
	c := newChecks("a ping by IPv6 that goes into the tunnel", "its answer, back at the host", "a ping by IPv4 that goes past it", "its answer, back at the host")
	// The two pings may come in either order.
	c.watch = func(r *record) {
		p := contentOf(r)
		switch {
		case isFirstWire(r.Wire) && r.inner != nil && isICMP6(p, echo6Request):
			c.done[0] = true
		case w.isLANHost(r.To) && isICMP6(p, echo6Reply) && !source6(p).IsLinkLocalUnicast():
			c.done[1] = c.done[0]
		case isFirstWire(r.Wire) && r.inner == nil && isEcho4(r.Frame, echo4Request):
			c.done[2] = true
		case w.isLANHost(r.To) && isEcho4(r.Frame, echo4Reply):
			c.done[3] = c.done[2]
		}
	}
	return c
}

func judgePlan(w *World) judge {
	before := w.hub.pool
	c := newChecks("another pool at the hub", "every host prefers an address out of it", "the addresses out of the old one are deprecated, or gone")
	c.look = func() {
		if w.hub.pool == before {
			return
		}
		c.mark(0)
		fresh, dead := true, true
		for _, n := range w.lanHosts() {
			a := w.address(n)
			fresh = fresh && a.IsValid() && netip.MustParsePrefix(w.hub.pool).Contains(a)
			dead = dead && !slices.ContainsFunc(w.hosts[n].View().Addresses, func(x host.Address) bool {
				return x.State == host.Preferred && netip.MustParsePrefix(before).Contains(x.Prefix.Addr())
			})
		}
		if fresh {
			c.mark(1)
		}
		if fresh && dead {
			c.mark(2)
		}
	}
	return c
}

func judgeDelegation(w *World) judge {
	boots := map[string]int{}
	for _, b := range w.boxes {
		boots[b.name] = b.boots
	}
	c := newChecks("the box starts again", "it asks by DHCPv6, in the tunnel", "the hub's Reply", "a Router Advertisement on the LAN")
	restarted := func(name string) bool {
		for _, b := range w.boxes {
			if b.name == name {
				return b.boots > boots[name]
			}
		}
		return false
	}
	c.watch = func(r *record) {
		switch p := contentOf(r); {
		case isFirstWire(r.Wire) && r.inner != nil && restarted(r.From) && dhcp6(p) != 0:
			c.mark(0)
			c.mark(1)
		case isFirstWire(r.Wire) && r.inner != nil && restarted(r.To) && dhcp6(p) == dhcpReply:
			c.mark(2)
		case restarted(r.From) && !isFirstWire(r.Wire) && isICMP6(p, ra.TypeRouterAdvertisement):
			c.mark(3)
		}
	}
	c.look = func() {
		for name := range boots {
			if restarted(name) {
				c.mark(0)
			}
		}
	}
	return c
}

// asks is the address that a Neighbor Solicitation of Duplicate Address Detection is about, if it is a global one.
func asks(p []byte) (netip.Addr, bool) {
	m := icmp6(p)
	if m == nil || m[0] != typeNS || len(m) < 24 || !source6(p).IsUnspecified() {
		return netip.Addr{}, false
	}
	a := netip.AddrFrom16([16]byte(m[8:24]))
	return a, !a.IsLinkLocalUnicast()
}

// Of Neighbor Discovery, RFC 4861 sections 4.3 and 4.4.
const (
	typeNS = 135
	typeNA = 136
)

func judgeSLAAC(w *World) judge {
	var name string
	var asked []netip.Addr
	c := newChecks("a host asks for routers", "a router answers", "the host asks whether its address is free", "it is, and the host uses it")
	c.watch = func(r *record) {
		p := contentOf(r)
		switch {
		case w.isLANHost(r.From) && isICMP6(p, ra.TypeRouterSolicitation):
			name, asked = r.From, nil
			c.done = make([]bool, len(c.done)) // of one host, all of it
			c.mark(0)
		case r.To == name && isICMP6(p, ra.TypeRouterAdvertisement):
			c.mark(1)
		case r.From == name && c.done[1]:
			if a, ok := asks(p); ok {
				asked = append(asked, a)
				c.mark(2)
			}
		}
	}
	c.look = func() {
		if slices.ContainsFunc(asked, func(a netip.Addr) bool { return w.stateOf(name, a) == host.Preferred }) {
			c.mark(3)
		}
	}
	return c
}

func judgeDAD(w *World) judge {
	asked := map[netip.Addr]string{}
	var taken netip.Addr
	c := newChecks("a host asks for its address, from ::", "somebody has it", "the host leaves it alone, and uses another one")
	c.watch = func(r *record) {
		p := contentOf(r)
		if a, ok := asks(p); ok && w.isLANHost(r.From) {
			asked[a] = r.From
			c.mark(0)
		}
		if m := icmp6(p); m != nil && m[0] == typeNA && len(m) >= 24 && r.From == nodeClone {
			if a := netip.AddrFrom16([16]byte(m[8:24])); asked[a] != "" {
				taken = a
				c.mark(1)
			}
		}
	}
	c.look = func() {
		if !c.done[1] {
			return
		}
		name := asked[taken]
		if s := w.stateOf(name, taken); (s == host.Duplicate || s == "") && w.address(name).IsValid() {
			c.mark(2)
		}
	}
	return c
}

func judgeLinkLocal(w *World) judge {
	c := newChecks("a host without a default route of IPv6", "meanwhile, an answer of the box to a ping by its link-local address")
	c.watch = func(r *record) {
		if p := contentOf(r); w.isLANHost(r.To) && isICMP6(p, echo6Reply) && source6(p).IsLinkLocalUnicast() && !w.hasDefault(r.To) {
			c.mark(1)
		}
	}
	c.look = func() {
		if slices.ContainsFunc(w.lanHosts(), func(n string) bool { return !w.hasDefault(n) }) {
			c.mark(0)
		}
	}
	return c
}

// redirectDstAt is where in a Redirect the destination stands, RFC 4861 section 4.5.
const redirectDstAt = 24

func judgeRedirect(w *World) judge {
	var name string
	var dst netip.Addr
	better := w.port("lan-r3", nodeR3).MAC()
	c := newChecks("a Redirect of the box to a host", "a ping of this host to the same destination, straight to r3", "its answer")
	c.watch = func(r *record) {
		p := contentOf(r)
		switch m := icmp6(p); {
		case m == nil:
		case m[0] == typeRedirect && len(m) >= redirectDstAt+16 && w.isLANHost(r.To):
			name, dst = r.To, netip.AddrFrom16([16]byte(m[redirectDstAt:]))
			c.mark(0)
		case m[0] == echo6Request && r.From == name && netip.AddrFrom16([16]byte(p[24:40])) == dst && [6]byte(r.Frame) == better:
			c.mark(1)
		case m[0] == echo6Reply && r.To == name && source6(p) == dst:
			c.mark(2)
		}
	}
	return c
}

func judgeLimits(w *World) judge {
	dropped := func() (n uint64) {
		for _, b := range w.boxes {
			s, _ := b.status() // the zero value: nothing was dropped
			n += s.Neighbors.Dropped
		}
		return n
	}
	before, probes := dropped(), 0
	c := newChecks("somebody looks for hosts", "a ping of a host to the Internet that is answered meanwhile", "most of the scan, dropped by the box")
	c.watch = func(r *record) {
		p := contentOf(r)
		switch {
		case r.From == nodeScan && isICMP6(p, echo6Request):
			probes++
			if probes > scanAddresses/100 {
				c.mark(0)
			}
		case w.isLANHost(r.To) && isICMP6(p, echo6Reply) && !source6(p).IsLinkLocalUnicast() && w.scanning != nil:
			c.mark(1)
		}
	}
	c.look = func() {
		if c.done[1] && w.scanning == nil && dropped()-before > scanAddresses/2 {
			c.mark(2)
		}
	}
	return c
}

// Of the lesson on flapping.
const (
	flaps    = 3
	flapTime = 10 * time.Second
)

// flapping counts interruptions that were short enough not to be seen.
type flapping struct {
	w     *World
	c     *checks
	cut   bool
	since time.Time
	count int
}

func judgeFlapping(w *World) judge {
	f := &flapping{w: w, cut: w.isCut(), since: w.Engine.Now()}
	f.c = newChecks(fmt.Sprintf("%d short interruptions of the tunnel, and no host lost its default route", flaps), "after that, a ping of a host to the Internet that is answered")
	f.c.look = f.look
	f.c.watch = func(r *record) {
		if p := contentOf(r); w.isLANHost(r.To) && isICMP6(p, echo6Reply) && !source6(p).IsLinkLocalUnicast() && !w.isCut() {
			f.c.mark(1)
		}
	}
	return f.c
}

func (f *flapping) look() {
	now := f.w.Engine.Now()
	if cut := f.w.isCut(); cut != f.cut {
		if !cut && now.Sub(f.since) <= flapTime {
			f.count++
		}
		f.cut, f.since = cut, now
	}
	lost := slices.ContainsFunc(f.w.lanHosts(), func(n string) bool { return !f.w.hasDefault(n) })
	switch {
	case lost || f.cut && now.Sub(f.since) > flapTime:
		f.count, f.c.done[0] = 0, false
		f.c.note = "That was too long: it counts from the beginning again."
	case f.count > 0:
		f.c.note = fmt.Sprintf("%d of %d interruptions.", min(f.count, flaps), flaps)
	}
	if f.count >= flaps {
		f.c.mark(0)
	}
}
