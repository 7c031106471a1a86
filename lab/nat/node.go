// SPDX-License-Identifier: MIT

package nat

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"oasis6/internal/bucket"
	"oasis6/lab/engine"
	"oasis6/lab/wire"
)

// PortConfig is one end of a wire with an IPv4 address.
type PortConfig struct {
	Wire    wire.End
	Address netip.Prefix // ours, with the length of the subnet
	Inside  bool         // packets from here are translated, if there is a translator
}

// Route leads to Dst by a neighbor.
type Route struct {
	Dst netip.Prefix
	Via netip.Addr
}

// NodeConfig of a router. Subnets of its ports need no route.
type NodeConfig struct {
	Name   string
	Ports  []PortConfig
	Routes []Route
	NAT    *Config // nil: nothing is translated
	Filter Filter
	// Explain, if there is one, hears of each packet what was decided, on the engine's goroutine.
	Explain func(Decision)
}

// Decision is what a node does with a frame that arrived.
type Decision struct {
	Port  wire.End // where it came in
	Frame []byte
	Text  string
	RFC   string
}

// Node is an IPv4 router. Only the engine's goroutine may call it.
type Node struct {
	e      *engine.Engine
	cfg    NodeConfig
	ports  []*port
	nat    *Machine
	errors bucket.Bucket // RFC 1812 section 4.3.2.8
	off    bool

	programs map[uint16]Program
	paths    map[netip.Addr]path // narrower than their first wire
}

type port struct {
	PortConfig
	arp resolver
}

// errorsEach and errorsBurst limit ICMP errors, as Linux does.
const (
	errorsEach  = 20 * time.Millisecond
	errorsBurst = 50
)

// NewNode takes the ports and begins to route.
func NewNode(e *engine.Engine, cfg NodeConfig) (*Node, error) {
	n := &Node{
		e: e, cfg: cfg, errors: bucket.Bucket{Burst: errorsBurst, Every: errorsEach},
		programs: map[uint16]Program{}, paths: map[netip.Addr]path{},
	}
	for _, c := range cfg.Ports {
		if !c.Address.Addr().Is4() {
			return nil, fmt.Errorf("node %s: port on wire %s has no IPv4 address", cfg.Name, c.Wire.Wire().ID())
		}
		p := &port{PortConfig: c}
		p.arp = newResolver(e, c.Wire, c.Address.Addr(), n.unreachable)
		n.ports = append(n.ports, p)
		c.Wire.Attach(func(f []byte) { n.receive(p, f) }, func(up bool) {
			if !up {
				p.arp.Forget()
			}
		})
	}
	if cfg.NAT == nil {
		return n, nil
	}
	c := *cfg.NAT
	if !c.Outside.IsValid() {
		i := slices.IndexFunc(n.ports, func(p *port) bool { return !p.Inside })
		if i < 0 {
			return nil, fmt.Errorf("node %s: no port leads to the outside: mark only the others as inside", cfg.Name)
		}
		c.Outside = n.ports[i].Address.Addr()
	}
	n.nat = New(c, e.Rand("nat "+cfg.Name).Float64)
	return n, nil
}

// Name is that of the configuration.
func (n *Node) Name() string { return n.cfg.Name }

// Mappings are the sessions of the translator.
func (n *Node) Mappings() []Entry {
	if n.nat == nil {
		return nil
	}
	return n.nat.Entries(n.e.Now())
}

// Rebind is the translator's, see Machine.
func (n *Node) Rebind() {
	if n.nat != nil {
		n.nat.Rebind()
	}
}

// Filter is what does not go out now.
func (n *Node) Filter() Filter { return n.cfg.Filter }

// SetFilter changes what does not go out.
func (n *Node) SetFilter(f Filter) { n.cfg.Filter = f }

// SetUp switches the node on or off. One that was off has forgotten its table.
func (n *Node) SetUp(up bool) {
	if n.off = !up; n.off {
		for _, p := range n.ports {
			p.arp.Forget()
		}
		n.Rebind()
	}
}

// Up says whether the node is on.
func (n *Node) Up() bool { return !n.off }

// transit is a packet on its way through the node.
type transit struct {
	in    *port
	frame []byte
	packet
	notes []string
	rfc   string
}

func (t *transit) note(text, rfc string) {
	t.notes = append(t.notes, text)
	if rfc != "" {
		t.rfc = rfc
	}
}

func (n *Node) receive(in *port, frame []byte) {
	if dst := [6]byte(frame); n.off || dst != in.Wire.MAC() && dst != broadcastMAC {
		return
	}
	content := frame[wire.Header:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case typeARP:
		in.arp.receive(content)
		return
	case typeIPv4:
	default:
		return
	}
	t := &transit{in: in, frame: frame}
	p, err := parse(content, false)
	if err == nil {
		t.packet = p
		n.decide(t)
	} else {
		t.note("dropped: "+err.Error(), "RFC 1812 section 5.2.2")
	}
	if n.cfg.Explain == nil {
		return
	}
	d := Decision{Port: in.Wire, Frame: frame, RFC: t.rfc}
	for i, s := range t.notes {
		if i > 0 {
			d.Text += "; "
		}
		d.Text += s
	}
	n.cfg.Explain(d)
}

// decide is what a router does with a packet (RFC 1812 section 5.2).
func (n *Node) decide(t *transit) {
	dst := t.dst.Addr()
	hairpin := n.nat != nil && t.in.Inside && dst == n.nat.cfg.Outside && !n.echoToUs(t)
	switch {
	case dst.IsMulticast(), dst == broadcastAddr, t.src.Addr().IsUnspecified():
		t.note("not forwarded: not to and from single nodes", "RFC 1812 section 5.3.5")
		return
	case n.own(dst) && n.forPrograms(t):
		n.deliver(t)
		return
	case n.nat != nil && !t.in.Inside && dst == n.nat.cfg.Outside:
		n.inward(t)
		return
	case n.own(dst) && !hairpin:
		n.local(t)
		return
	}
	out, via := n.route(dst)
	if out == nil && !hairpin {
		n.refuse(t, icmpUnreachable, codeNet, 0)
		t.note("no route: network unreachable", "RFC 1812 section 5.2.7.1")
		return
	}
	if out != nil && t.in.Inside && !out.Inside {
		if why := n.cfg.Filter.blocks(&t.packet); why != "" {
			t.note("dropped: "+why, "") // no RFC says that a network may
			return
		}
	}
	translate := n.nat != nil && t.in.Inside && (hairpin || !out.Inside)
	if n.nat != nil && !t.in.Inside && out.Inside {
		t.note("dropped: from the outside to an inside address", "RFC 4787 section 5")
		return
	}
	n.forward(t, out, via, translate)
}

// echoToUs is a ping of the outside address from the inside, which is not turned around.
func (n *Node) echoToUs(t *transit) bool {
	return t.proto == ICMP && len(t.body()) >= icmpHeader && t.body()[0] == icmpEcho
}

// inward is a packet from the outside to the address behind which all others are.
func (n *Node) inward(t *transit) {
	r := n.nat.Inward(n.e.Now(), t.b)
	switch r.Verdict {
	case Local:
		n.local(t)
		return
	case Dropped:
		t.note("dropped: "+r.Text, r.RFC)
		return
	case Passed:
		t.note(r.Text, r.RFC)
	}
	to := netip.AddrFrom4([4]byte(r.Packet[dstAt:]))
	out, via := n.route(to)
	if out == nil {
		t.note("no route to "+to.String(), "RFC 1812 section 5.2.4")
		return
	}
	n.output(t, out, via, r.Packet)
}

// forward sends a packet on, translated or not.
func (n *Node) forward(t *transit, out *port, via netip.Addr, translate bool) {
	b := slices.Clone(t.b)
	if translate {
		r := n.nat.Outward(n.e.Now(), b)
		if r.Verdict == Refused {
			n.refuse(t, icmpUnreachable, codeProhibited, 0) // RFC 5508 REQ-8
		}
		if r.Verdict != Passed {
			t.note("dropped: "+r.Text, r.RFC)
			return
		}
		t.note(r.Text, r.RFC)
		b = r.Packet
		if to := netip.AddrFrom4([4]byte(b[dstAt:])); to != t.dst.Addr() { // turned around
			if out, via = n.route(to); out == nil {
				t.note("no route to "+to.String(), "RFC 1812 section 5.2.4")
				return
			}
		}
	}
	n.output(t, out, via, b)
}

// output is for the packet as it leaves: t is what came in, and what errors speak of.
func (n *Node) output(t *transit, out *port, via netip.Addr, b []byte) {
	if t.b[ttlAt] <= 1 {
		n.refuse(t, icmpTimeExceeded, 0, 0)
		t.note("TTL exceeded in transit", "RFC 1812 section 5.3.1")
		return
	}
	decrement(b)
	pieces := [][]byte{b}
	if mtu := out.Wire.MTU(); len(b) > mtu {
		if t.dontFragment() {
			n.refuse(t, icmpUnreachable, codeTooBig, uint32(mtu))
			t.note(fmt.Sprintf("fragmentation needed, and not allowed: the next MTU is %d", mtu), "RFC 1191 section 4")
			return
		}
		p := t.packet
		p.b = b
		pieces = fragments(&p, mtu)
		t.note(fmt.Sprintf("cut into %d pieces", len(pieces)), "RFC 791 section 2.3")
	}
	t.note("forwarded to "+via.String(), "")
	for _, b := range pieces {
		out.arp.Send(via, b)
	}
}

// route finds the port and neighbor for a destination: the longest prefix.
func (n *Node) route(dst netip.Addr) (out *port, via netip.Addr) {
	best := -1
	for _, p := range n.ports {
		if p.Address.Contains(dst) && p.Address.Bits() > best {
			best, out, via = p.Address.Bits(), p, dst
		}
	}
	for _, r := range n.cfg.Routes {
		if !r.Dst.Contains(dst) || r.Dst.Bits() <= best {
			continue
		}
		for _, p := range n.ports {
			if p.Address.Contains(r.Via) {
				best, out, via = r.Dst.Bits(), p, r.Via
			}
		}
	}
	return out, via
}

func (n *Node) own(a netip.Addr) bool {
	return slices.ContainsFunc(n.ports, func(p *port) bool { return p.Address.Addr() == a })
}

// local answers what is for the node itself: echo requests, and that it has no ports.
func (n *Node) local(t *transit) {
	at, more := t.offset()
	switch {
	case at > 0 || more:
		t.note("dropped: the router itself takes no packets in pieces", "RFC 1812 section 4.2.2.7")
	case n.echoToUs(t):
		t.note("echo request answered", "RFC 1812 section 4.3.3.6")
		if sum(0, t.body()) == 0xffff {
			n.answer(echoReply(&t.packet))
		}
	case t.proto == ICMP:
		t.note("an ICMP message to the router itself", "RFC 1812 section 4.3")
	default:
		n.refuse(t, icmpUnreachable, codePort, 0)
		t.note("nobody listens at the router: port unreachable", "RFC 1122 section 3.2.2.1")
	}
}

// refuse answers with an ICMP error, if that is allowed.
func (n *Node) refuse(t *transit, kind, code byte, word uint32) {
	if mayAnswer(&t.packet) && n.errors.Take(n.e.Now(), 1) {
		n.answer(icmpError(t.in.Address.Addr(), &t.packet, kind, code, word))
	}
}

// answer sends a packet of our own.
func (n *Node) answer(b []byte) {
	if out, via := n.route(netip.AddrFrom4([4]byte(b[dstAt:]))); out != nil {
		out.arp.Send(via, b)
	}
}

// unreachable is for packets whose next neighbor did not answer. What was translated on its way out names us, and its
// sender is not told.
func (n *Node) unreachable(lost [][]byte) {
	for _, b := range lost {
		p, err := parse(b, false)
		if err != nil || n.own(p.src.Addr()) || !mayAnswer(&p) || !n.errors.Take(n.e.Now(), 1) {
			continue
		}
		if out, via := n.route(p.src.Addr()); out != nil {
			out.arp.Send(via, icmpError(out.Address.Addr(), &p, icmpUnreachable, codeHost, 0))
		}
	}
}
