// SPDX-License-Identifier: MIT

package forward

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Action is what the caller has to do with a packet.
type Action uint8

const (
	Drop    Action = iota // nothing
	Local                 // give it to the stack of this machine
	Forward               // send it out, its hop limit is one less
	Answer                // send Verdict.Packet instead of it
)

func (a Action) String() string {
	switch a {
	case Drop:
		return "drop"
	case Local:
		return "local"
	case Forward:
		return "forward"
	}
	return "answer"
}

// Verdict is what becomes of a packet.
type Verdict struct {
	Action Action
	// Out and NextHop are where Packet goes: an interface, and the node on it whose MAC an Ethernet frame needs. Of
	// Forward and Answer.
	Out     Index
	NextHop netip.Addr
	// MAC is that of the node that sent the packet, on an Ethernet. An Answer goes there, without a need to resolve NextHop.
	MAC [6]byte
	// Packet is what is to be sent: of Forward the packet itself without what a link has padded, in the same memory; of
	// Answer a new one, which the caller may keep.
	Packet []byte
	// Redirect is, of Forward, one more packet: for MAC and the interface where this one came in. Most have none.
	Redirect []byte
	Reason   Reason // of Drop and Answer
}

// Options of a Forwarder. The zero value is good for tests.
type Options struct {
	// Seed makes the places in the tables unknown to those who could aim at them. It should be random.
	Seed [2]uint64
	// Flows is how many flows the firewall remembers; 0: DefaultFlows.
	Flows int
}

// DefaultFlows are 1.7 MB when all are in use, and next to nothing before. It is what small boards give Linux's connection tracking.
const DefaultFlows = 16384

// Forwarder decides about packets. All methods may be called from any goroutine at any time.
type Forwarder struct {
	state  atomic.Pointer[state]
	flows  flows
	seen   seen
	limits *limits
	count  counters

	mu sync.Mutex // for those who replace state
}

// state is a Table with what was learned for it.
type state struct {
	*Table
	// macs are those of Table.routers, packed by pack; 0: not known.
	macs []*atomic.Uint64
}

// New makes a Forwarder with an empty Table: everything is dropped.
func New(o Options) *Forwarder {
	if o.Flows <= 0 {
		o.Flows = DefaultFlows
	}
	// Of a seed of zeros too there comes a hash: with the digits of pi.
	seed := [2]uint64{o.Seed[0] ^ 0x243f6a8885a308d3, o.Seed[1] ^ 0x13198a2e03707344}
	f := &Forwarder{flows: newFlows(seed, o.Flows), seen: newSeen(seed), limits: newLimits(seed)}
	f.state.Store(&state{Table: &Table{}})
	return f
}

// Set makes a Table count from the next packet on. Flows, addresses seen and counters stay, and so do the MACs of routers
// that are in the new Table too. If it has others, the caller tells what it knows of its neighbors again: see Neighbor.
func (f *Forwarder) Set(t *Table) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.state.Load()
	s := &state{Table: t, macs: make([]*atomic.Uint64, len(t.routers))}
	type who struct {
		iface string
		via   netip.Addr
	}
	known := map[who]*atomic.Uint64{}
	for i, r := range old.routers {
		known[who{r.iface.name, r.via}] = old.macs[i]
	}
	for i, r := range t.routers {
		w := who{r.iface.name, r.via}
		if known[w] == nil {
			known[w] = new(atomic.Uint64)
		}
		s.macs[i] = known[w]
	}
	f.state.Store(s)
}

// Neighbor tells that a node on a LAN has answered the stack. It is to be called also for one that was known before, at least
// every hour while it is.
func (f *Forwarder) Neighbor(now time.Time, on Index, addr netip.Addr, mac [6]byte) {
	f.neighbor(now, on, addr, mac, seenNeighbor)
}

// Discovery says whether one more message of Neighbor Discovery, Router Solicitations aside, is to be heard that comes in by
// an interface, and counts it if not. station is what the table of neighbors has to say of who sent it; known: it can tell. Of
// those who are not known there may be any number. Only the LANs of a box have this limit.
func (f *Forwarder) Discovery(now time.Time, on Index, mac [6]byte, station func() (ok, known bool)) bool {
	s := f.state.Load()
	if i := s.at(on); i == nil || !i.lan || s.box == nil {
		return true
	}
	ok, known := station()
	if !known {
		ok = f.limits.neighborDiscovery(now, mac)
	}
	if !ok {
		f.count.add(TooManyND)
	}
	return ok
}

// Heard is Neighbor for a node that was heard and has not answered yet: that may be forged.
func (f *Forwarder) Heard(now time.Time, on Index, addr netip.Addr, mac [6]byte) {
	f.neighbor(now, on, addr, mac, seenSource)
}

func (f *Forwarder) neighbor(now time.Time, on Index, addr netip.Addr, mac [6]byte, c class) {
	s := f.state.Load()
	i := s.at(on)
	if i == nil || !addr.Is6() {
		return
	}
	addr = addr.WithZone("")
	for n := range s.routers {
		if r := &s.routers[n]; r.iface == i && r.via == addr {
			s.macs[n].Store(pack(mac))
		}
	}
	if a := number(addr); i.onLink.has(a) {
		f.seen.note(now, a, c)
	}
}

// pack is a MAC that is not 0.
func pack(mac [6]byte) (n uint64) {
	n = 1
	for _, b := range mac {
		n = n<<8 | uint64(b)
	}
	return n
}

// routerOf says of an address behind a router whether the MAC of one that has it is known, and whether it is this one.
func (s *state) routerOf(a u128, mac [6]byte) (known, its bool) {
	want := pack(mac)
	for i := range s.routers {
		if !s.routers[i].span.has(a) {
			continue
		}
		if m := s.macs[i].Load(); m != 0 {
			known = true
			if m == want {
				return true, true
			}
		}
	}
	return known, false
}

// crossing is one packet on its way.
type crossing struct {
	packet
	f       *Forwarder
	state   *state
	now     time.Time
	in, out *iface
	mac     [6]byte // of the sender, where in is an Ethernet
}

// Packet decides what becomes of a packet that came in by an interface. mac is its sender's on an Ethernet; frames that
// are not for this machine's MAC, nor multicast, are the caller's to drop. gso is the payload of each segment where pkt is
// a super-packet, else 0.
//
// pkt is changed only if the verdict is Forward, and then only its hop limit.
func (f *Forwarder) Packet(now time.Time, in Index, mac [6]byte, pkt []byte, gso int) Verdict {
	c := crossing{f: f, state: f.state.Load(), now: now, mac: mac}
	if c.in = c.state.at(in); c.in == nil {
		return f.drop(UnknownInterface)
	}
	if !parse(&c.packet, pkt, gso) {
		return f.drop(Malformed)
	}
	if !c.possible() {
		return f.drop(BadAddress)
	}
	if ok, bad := c.hopByHop(); !ok {
		if bad == 0 {
			return f.drop(HopByHopOption)
		}
		return c.report(problem{typeParamProblem, codeOption, uint32(bad)}, HopByHopOption)
	}
	if c.dst.multicast() || c.state.ours(c.dst, c.in) {
		return c.local()
	}
	return c.forward()
}

func (f *Forwarder) drop(why Reason) Verdict {
	f.count.add(why)
	return Verdict{Action: Drop, Reason: why}
}

// possible says whether a packet may have its addresses on a link: those that Linux drops at once are none (RFC 4291
// sections 2.5.3, 2.5.5.2, 2.7).
func (p *packet) possible() bool {
	switch {
	case p.src.multicast(), p.src.loopback(), p.src.mapped():
		return false
	case p.dst.unspecified(), p.dst.loopback():
		return false
	}
	return !p.dst.multicast() || p.dst.scope() > 1 // 0 is reserved, 1 is within a node
}

// local is for what the stack gets, unless the firewall is against it.
func (c *crossing) local() Verdict {
	var r ruling
	switch t := c.state; {
	case t.hub != nil:
		r = t.hub.input(c)
	case t.box != nil:
		r = t.box.input(c)
	}
	if r.fate != pass {
		return c.f.drop(r.reason)
	}
	return Verdict{Action: Local, Packet: c.data}
}

// forward does what Linux does, in its order: route, hop limit, scope, MTU, firewall.
func (c *crossing) forward() Verdict {
	switch {
	case !c.state.forward:
		return c.f.drop(NotForwarding)
	case c.dst.linkLocal(): // RFC 4291 section 2.5.6
		return c.f.drop(LinkLocalDestination)
	case c.src.unspecified():
		return c.f.drop(BadAddress)
	}
	r := c.state.routes.lookup(c.dst, c.src)
	switch {
	case r == nil:
		return c.unreachable(codeNoRoute, NoRoute)
	case r.out == nil:
		return c.unreachable(codeNoRoute, UnreachableRoute)
	case c.data[offHopLimit] <= 1:
		return c.report(problem{kind: typeTimeExceeded}, HopLimitExceeded)
	case c.src.linkLocal() && r.out != c.in: // "to other links", RFC 4291 section 2.5.6
		return c.unreachable(codeBeyondScope, BeyondScope)
	case c.segment > r.out.mtu:
		return c.report(problem{kind: typeTooBig, param: uint32(r.out.mtu)}, TooBig)
	}
	c.out = r.out
	if v, ok := c.firewall(); !ok {
		return v
	}
	v := Verdict{Action: Forward, Out: r.out.index, NextHop: r.next(c.dst).addr(), Packet: c.data}
	if c.out == c.in && c.in.lan && c.in.ether {
		v.MAC, v.Redirect = c.mac, c.redirect(r)
	}
	c.data[offHopLimit]--
	return v
}

// firewall says whether a packet may go from in to out; if not, what becomes of it.
func (c *crossing) firewall() (v Verdict, ok bool) {
	var r ruling
	switch t := c.state; {
	case t.hub != nil:
		r = t.hub.forward(c)
	case t.box != nil:
		r = t.box.forward(c)
	}
	switch {
	case r.fate == pass:
		return Verdict{}, true
	case r.fate == drop:
		return c.f.drop(r.reason), false
	case r.fate == refuse && c.proto == protoTCP && !c.f.limits.refusal(c.now, r.reason):
		return c.reset(r.reason), false
	}
	return c.unreachable(r.code, r.reason), false
}

// Unreachable is the answer to a packet that got the verdict Forward and whose next hop does not answer (RFC 4861 section
// 7.2.2): in is where it came from. The answer has no MAC.
func (f *Forwarder) Unreachable(now time.Time, in Index, pkt []byte) Verdict {
	c := crossing{f: f, state: f.state.Load(), now: now}
	if c.in = c.state.at(in); c.in == nil || !parse(&c.packet, pkt, 0) {
		return f.drop(NoNeighbor)
	}
	return c.unreachable(codeAddress, NoNeighbor)
}
