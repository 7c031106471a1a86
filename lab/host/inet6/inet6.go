// SPDX-License-Identifier: MIT

// Package inet6 is the lab's IPv6 Internet: routers with static routes, between a hub, sites and servers (RFC 8200, RFC
// 4443, RFC 4861), which may tell hosts of themselves by the product's package ra.
//
// It is no product: no DHCPv6, no firewall, no extension headers but those that packets carry past it. Start at New.
package inet6

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"oasis6/internal/bucket"
	"oasis6/internal/ip6pkt"
	"oasis6/lab/engine"
	"oasis6/lab/wire"
	"oasis6/ra"
)

// PortConfig is one end of a wire.
type PortConfig struct {
	Wire      wire.End
	Addresses []netip.Prefix // ours, with the length of the subnet; the link-local address is made of the MAC
}

// Route leads to Dst by a neighbor; a link-local one is at that port.
type Route struct {
	Dst  netip.Prefix
	Via  netip.Addr
	Port int
}

// Config of a router. Subnets of its ports need no route.
type Config struct {
	Name   string
	Ports  []PortConfig
	Routes []Route
	// Explain, if there is one, hears of each packet what was decided, on the engine's goroutine.
	Explain func(Decision)
}

// Decision is what the router does with a frame that arrived.
type Decision struct {
	Port  wire.End
	Frame []byte
	Text  string
	RFC   string
}

// Router is one node. Only the engine's goroutine may call it.
type Router struct {
	e      *engine.Engine
	cfg    Config
	ports  []*port
	errors bucket.Bucket // RFC 4443 section 2.4 f
}

type port struct {
	PortConfig
	linkLocal netip.Addr
	nd        resolver
	ra        *advertiser // nil: hosts are told nothing
}

// As Linux has it.
const (
	errorsEach  = 20 * time.Millisecond
	errorsBurst = 50
)

// New takes the ports and begins to route.
func New(e *engine.Engine, cfg Config) (*Router, error) {
	r := &Router{e: e, cfg: cfg, errors: bucket.Bucket{Burst: errorsBurst, Every: errorsEach}}
	for _, c := range cfg.Ports {
		p := &port{PortConfig: c, linkLocal: LinkLocal(c.Wire.MAC())}
		for _, a := range c.Addresses {
			if !a.Addr().Is6() || a.Addr().Is4In6() {
				return nil, fmt.Errorf("router %s: %v is no IPv6 address", cfg.Name, a)
			}
		}
		p.nd = newResolver(e, p, r.unreachable)
		r.ports = append(r.ports, p)
		c.Wire.Attach(func(f []byte) { r.receive(p, f) }, func(up bool) {
			if !up {
				p.nd.Forget()
			}
			if p.ra != nil {
				p.ra.carrier(up)
			}
		})
	}
	for _, t := range cfg.Routes {
		if t.Port < 0 || t.Port >= len(r.ports) {
			return nil, fmt.Errorf("router %s: route %v by port %d, of %d", cfg.Name, t.Dst, t.Port, len(r.ports))
		}
	}
	return r, nil
}

// LinkLocal is the address that a router has on a port with this MAC (RFC 2464 section 5).
func LinkLocal(m [6]byte) netip.Addr {
	return netip.AddrFrom16([16]byte{
		0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5],
	})
}

// SetAddresses replaces those of a port, but for the link-local one.
func (r *Router) SetAddresses(i int, addrs []netip.Prefix) {
	r.ports[i].Addresses = slices.Clone(addrs)
}

// SetRoutes replaces the routes.
func (r *Router) SetRoutes(routes []Route) { r.cfg.Routes = slices.Clone(routes) }

// Of the IPv6 header (RFC 8200 section 3).
const (
	etherType = 0x86dd
	nextAt    = 6
	hopsAt    = 7
	srcAt     = 8
	dstAt     = 24
	defHops   = 64
	minMTU    = 1280
)

// Types and codes of ICMPv6 (RFC 4443).
const (
	unreachable     = 1
	tooBig          = 2
	timeExceeded    = 3
	noRoute         = 0
	beyondScope     = 2
	addrUnreachable = 3
	portUnreachable = 4
	redirect        = 137
)

// packet is what came in.
type packet struct {
	b        []byte
	src, dst netip.Addr
}

func parse(b []byte) (packet, bool) {
	if len(b) < ip6pkt.HeaderLen || b[0]>>4 != 6 {
		return packet{}, false
	}
	n := ip6pkt.HeaderLen + int(binary.BigEndian.Uint16(b[4:]))
	if n > len(b) {
		return packet{}, false
	}
	return packet{b[:n], netip.AddrFrom16([16]byte(b[srcAt:])), netip.AddrFrom16([16]byte(b[dstAt:]))}, true
}

func (r *Router) receive(in *port, frame []byte) {
	to := [6]byte(frame)
	if to != in.Wire.MAC() && to[0]&1 == 0 || binary.BigEndian.Uint16(frame[12:]) != etherType {
		return
	}
	p, ok := parse(frame[wire.Header:])
	text, rfc := "dropped: not a whole IPv6 packet", "RFC 8200 section 3"
	if ok {
		text, rfc = r.decide(in, p, to)
	}
	if r.cfg.Explain != nil && text != "" {
		r.cfg.Explain(Decision{in.Wire, frame, text, rfc})
	}
}

// decide is what the router does with a packet.
func (r *Router) decide(in *port, p packet, mac [6]byte) (text, rfc string) {
	switch {
	case p.dst.IsMulticast() || r.own(p.dst):
		return r.local(in, p)
	case mac[0]&1 != 0, p.src.IsUnspecified(), p.src.IsMulticast(), p.src.IsLoopback(), p.dst.IsLoopback(), p.dst.IsUnspecified():
		return "dropped: no packet to forward", "RFC 4291 section 2.5"
	case p.dst.IsLinkLocalUnicast():
		return "dropped: link-local packets stay on their link", "RFC 4291 section 2.5.6"
	case p.src.IsLinkLocalUnicast():
		r.refuse(in, p, unreachable, beyondScope, 0)
		return "beyond the scope of the source address", "RFC 4443 section 3.1"
	case p.b[hopsAt] <= 1:
		r.refuse(in, p, timeExceeded, 0, 0)
		return "hop limit exceeded in transit", "RFC 4443 section 3.3"
	}
	out, via := r.route(p.dst)
	if out == nil {
		r.refuse(in, p, unreachable, noRoute, 0)
		return "no route to " + p.dst.String(), "RFC 4443 section 3.1"
	}
	if mtu := max(out.Wire.MTU(), minMTU); len(p.b) > mtu {
		r.refuse(in, p, tooBig, 0, uint32(mtu))
		return fmt.Sprintf("too big: %d octets, the next MTU is %d", len(p.b), mtu), "RFC 4443 section 3.2"
	}
	b := slices.Clone(p.b)
	b[hopsAt]--
	out.nd.Send(via, b)
	return "forwarded to " + via.String(), "RFC 8200 section 3"
}

// route is the longest prefix.
func (r *Router) route(dst netip.Addr) (out *port, via netip.Addr) {
	best := -1
	for _, p := range r.ports {
		for _, a := range p.Addresses {
			if a.Contains(dst) && a.Bits() > best {
				best, out, via = a.Bits(), p, dst
			}
		}
	}
	for _, t := range r.cfg.Routes {
		if t.Dst.Contains(dst) && t.Dst.Bits() > best {
			best, out, via = t.Dst.Bits(), r.ports[t.Port], t.Via
		}
	}
	return out, via
}

func (p *port) has(a netip.Addr) bool {
	return a == p.linkLocal || slices.ContainsFunc(p.Addresses, func(q netip.Prefix) bool { return q.Addr() == a })
}

func (r *Router) own(a netip.Addr) bool {
	return slices.ContainsFunc(r.ports, func(p *port) bool { return p.has(a) })
}

// local is for the router itself: Neighbor Discovery, echo, and that it has no ports.
func (r *Router) local(in *port, p packet) (text, rfc string) {
	m, err := ip6pkt.ParseICMPv6(p.b)
	if err != nil {
		if p.dst.IsMulticast() {
			return "", ""
		}
		r.refuse(in, p, unreachable, portUnreachable, 0)
		return "nobody listens at the router: port unreachable", "RFC 4443 section 3.1"
	}
	if len(m.Body) < 8 {
		return "", ""
	}
	switch m.Body[0] {
	case typeNS:
		return in.nd.solicited(m)
	case typeNA:
		return in.nd.advertised(m)
	case ra.TypeRouterSolicitation, ra.TypeRouterAdvertisement:
		if in.ra != nil {
			return in.ra.heard(m)
		}
	case ip6pkt.TypeEchoRequest:
		if p.dst.IsMulticast() {
			return "", ""
		}
		reply := slices.Clone(m.Body)
		reply[0] = ip6pkt.TypeEchoReply
		r.answer(in, ip6pkt.ICMPv6(p.dst, p.src, defHops, reply))
		return "echo request answered", "RFC 4443 section 4.2"
	}
	return "", ""
}

// refuse answers with an ICMPv6 error, where RFC 4443 section 2.4 lets it.
func (r *Router) refuse(in *port, p packet, kind, code byte, word uint32) {
	from := in.source(p.src)
	if !from.IsValid() {
		from = r.anyAddress()
	}
	if e := errorAbout(from, p, kind, code, word); e != nil && r.errors.Take(r.e.Now(), 1) {
		r.answer(in, e)
	}
}

// errorAbout is an ICMPv6 error; nil where there must be none.
func errorAbout(from netip.Addr, p packet, kind, code byte, word uint32) []byte {
	if p.src.IsUnspecified() || p.src.IsMulticast() || p.dst.IsMulticast() || !from.IsValid() {
		return nil
	}
	if p.b[nextAt] == ip6pkt.ProtoICMPv6 {
		if len(p.b) == ip6pkt.HeaderLen {
			return nil
		}
		if t := p.b[ip6pkt.HeaderLen]; t < ip6pkt.TypeEchoRequest || t == redirect {
			return nil // an error, RFC 4443 section 2.4 e
		}
	}
	q := p.b[:min(len(p.b), minMTU-ip6pkt.HeaderLen-8)]
	m := binary.BigEndian.AppendUint32([]byte{kind, code, 0, 0}, word)
	return ip6pkt.ICMPv6(from, p.src, defHops, append(m, q...))
}

// source is the port's own address to speak to somebody from.
func (p *port) source(to netip.Addr) netip.Addr {
	if to.IsLinkLocalUnicast() {
		return p.linkLocal
	}
	if len(p.Addresses) == 0 {
		return netip.Addr{}
	}
	return p.Addresses[0].Addr()
}

func (r *Router) anyAddress() netip.Addr {
	for _, p := range r.ports {
		if len(p.Addresses) > 0 {
			return p.Addresses[0].Addr()
		}
	}
	return netip.Addr{}
}

// answer sends a packet of our own; one to a link-local address goes where it came from.
func (r *Router) answer(in *port, b []byte) {
	dst := netip.AddrFrom16([16]byte(b[dstAt:]))
	if dst.IsLinkLocalUnicast() {
		in.nd.Send(dst, b)
		return
	}
	if out, via := r.route(dst); out != nil {
		out.nd.Send(via, b)
	}
}

// unreachable is for packets whose next neighbor did not answer.
func (r *Router) unreachable(lost [][]byte) {
	for _, b := range lost {
		p, ok := parse(b)
		if !ok || r.own(p.src) {
			continue
		}
		out, via := r.route(p.src)
		if out == nil {
			continue
		}
		from := out.source(p.src)
		if !from.IsValid() {
			from = r.anyAddress()
		}
		if e := errorAbout(from, p, unreachable, addrUnreachable, 0); e != nil && r.errors.Take(r.e.Now(), 1) {
			out.nd.Send(via, e)
		}
	}
}
