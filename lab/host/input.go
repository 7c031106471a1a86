// SPDX-License-Identifier: MIT

package host

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"

	"oasis6/internal/hostmodel"
	"oasis6/internal/ip6pkt"
	"oasis6/lab/wire"
)

// receive takes a frame from the wire.
func (h *Host) receive(frame []byte) {
	own := h.cfg.Port.MAC()
	if to := [6]byte(frame); h.suspended || to[0]&1 == 0 && to != own || [6]byte(frame[6:]) == own {
		return
	}
	proto := tcpip.NetworkProtocolNumber(binary.BigEndian.Uint16(frame[12:]))
	text, rfc := "", ""
	switch proto {
	case ipv6.ProtocolNumber:
		text, rfc = h.receive6(frame)
		h.link6.input(proto, frame)
	case ipv4.ProtocolNumber, arp.ProtocolNumber:
		if h.link4 != nil {
			h.receive4(frame[wire.Header:])
			h.link4.input(proto, frame)
		}
	}
	if h.cfg.Explain != nil && text != "" {
		h.cfg.Explain(Decision{h.cfg.Port, frame, text, rfc})
	}
}

// receive6 looks at what the model decides and at errors; gVisor sees all.
func (h *Host) receive6(frame []byte) (text, rfc string) {
	m, err := ip6pkt.ParseICMPv6(frame[wire.Header:])
	if err != nil || len(m.Body) < header.ICMPv6MinimumSize {
		return "", ""
	}
	switch kind := header.ICMPv6Type(m.Body[0]); kind {
	case header.ICMPv6RouterAdvert:
		if !h.cfg.Autoconf {
			return "not heard: configured by hand", "RFC 4861 section 6.3.4"
		}
		return h.advertised(m, [6]byte(frame[6:]))
	case header.ICMPv6RedirectMsg:
		if h.cfg.Autoconf {
			return h.redirect(m)
		}
	case header.ICMPv6DstUnreachable, header.ICMPv6PacketTooBig, header.ICMPv6TimeExceeded, header.ICMPv6ParamProblem:
		e := ICMPError{From: m.Src, Type: m.Body[0], Code: m.Body[1], six: true}
		if kind == header.ICMPv6PacketTooBig {
			e.MTU = binary.BigEndian.Uint32(m.Body[4:])
		}
		if f, ok := quoted6(m.Body[header.ICMPv6MinimumSize:]); ok {
			h.failed(f, e)
		}
		return "the sender of the packet learns: " + e.Error(), "RFC 4443 section 3"
	case header.ICMPv6NeighborSolicit:
		if len(m.Body) >= 24 {
			target := netip.AddrFrom16([16]byte(m.Body[8:]))
			if a := h.addrs[target]; a != nil && a.assigned {
				return target.String() + " is mine: answered", "RFC 4861 section 7.2.4"
			}
		}
		return "the address is not mine", "RFC 4861 section 7.2.3"
	case header.ICMPv6NeighborAdvert:
		return h.answered(m)
	case header.ICMPv6EchoRequest:
		if h.addrs[m.Dst] != nil {
			return "echo request answered", "RFC 4443 section 4.2"
		}
	}
	return "", ""
}

// advertised lets the model hear a Router Advertisement, and says what changed by it.
func (h *Host) advertised(m ip6pkt.Message, from [6]byte) (text, rfc string) {
	before := h.View()
	h.routers[m.Src] = from
	h.step(hostmodel.Received{Src: m.Src, HopLimit: int(m.HopLimit), Data: m.Body})
	if text = changes(before, h.View()); text == "" {
		text = "nothing new"
	}
	return text, "RFC 4861 section 6.3.4"
}

// receive4 looks at ICMP errors of IPv4.
func (h *Host) receive4(b []byte) {
	ip := header.IPv4(b)
	if len(b) < header.IPv4MinimumSize || !ip.IsValid(len(b)) || ip.Protocol() != uint8(header.ICMPv4ProtocolNumber) {
		return
	}
	m := header.ICMPv4(ip.Payload())
	if len(m) < header.ICMPv4MinimumSize+header.IPv4MinimumSize {
		return
	}
	e := ICMPError{From: toAddr(ip.SourceAddress()), Type: byte(m.Type()), Code: byte(m.Code())}
	switch m.Type() {
	case header.ICMPv4DstUnreachable:
		if m.Code() == header.ICMPv4FragmentationNeeded {
			e.MTU = uint32(m.MTU())
		}
	case header.ICMPv4TimeExceeded:
	default:
		return
	}
	q := header.IPv4(m[header.ICMPv4MinimumSize:])
	n := int(q.HeaderLength())
	if n < header.IPv4MinimumSize || len(q) < n {
		return
	}
	if f, ok := flowOf(q.Protocol(), toAddr(q.SourceAddress()), toAddr(q.DestinationAddress()), q[n:]); ok {
		h.failed(f, e)
	}
}

// flow is what an ICMP error may be about. The port of a ping is its identifier, at this end.
type flow struct {
	proto  uint8
	local  netip.AddrPort
	remote netip.AddrPort
}

// quoted6 is the flow of a quoted IPv6 packet without extension headers.
func quoted6(b []byte) (flow, bool) {
	if len(b) < ip6pkt.HeaderLen {
		return flow{}, false
	}
	ip := header.IPv6(b)
	return flowOf(ip.NextHeader(), toAddr(ip.SourceAddress()), toAddr(ip.DestinationAddress()), b[ip6pkt.HeaderLen:])
}

func flowOf(proto uint8, src, dst netip.Addr, t []byte) (flow, bool) {
	if len(t) < 8 {
		return flow{}, false
	}
	f := flow{proto: proto}
	switch tcpip.TransportProtocolNumber(proto) {
	case header.TCPProtocolNumber, header.UDPProtocolNumber:
		f.local = netip.AddrPortFrom(src, binary.BigEndian.Uint16(t))
		f.remote = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(t[2:]))
	case header.ICMPv6ProtocolNumber, header.ICMPv4ProtocolNumber:
		f.local = netip.AddrPortFrom(src, binary.BigEndian.Uint16(t[4:]))
		f.remote = netip.AddrPortFrom(dst, 0)
	default:
		return flow{}, false
	}
	return f, true
}

// failed tells the program whose packet an error is about, after gVisor has heard of it, too.
func (h *Host) failed(f flow, e ICMPError) {
	if w := h.watchers[f]; w != nil {
		h.e.Post(func() { w(e) })
	}
}

// ICMPError is what a router or host said of a packet.
type ICMPError struct {
	From netip.Addr
	Type uint8
	Code uint8
	MTU  uint32 // of Packet Too Big, or IPv4's fragmentation needed
	six  bool
}

// Error names type and code in words.
func (e ICMPError) Error() string {
	text := fmt.Sprintf("type %d code %d", e.Type, e.Code)
	switch {
	case e.MTU > 0:
		text = fmt.Sprintf("packet too big: MTU %d", e.MTU)
	case e.six && e.Type == 1:
		names := []string{"no route to destination", "communication administratively prohibited", "beyond scope of source address",
			"address unreachable", "port unreachable", "source address failed ingress/egress policy", "reject route to destination"}
		if int(e.Code) < len(names) {
			text = fmt.Sprintf("%s (code %d)", names[e.Code], e.Code)
		}
	case e.six && e.Type == 3 || !e.six && e.Type == 11:
		text = "time exceeded"
	case !e.six && e.Type == 3:
		names := map[uint8]string{0: "network unreachable", 1: "host unreachable", 3: "port unreachable", 13: "administratively prohibited"}
		if n := names[e.Code]; n != "" {
			text = n
		}
	}
	return fmt.Sprintf("%v says: %s", e.From, text)
}
