// SPDX-License-Identifier: MIT

package lab

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/ip6pkt"
	"oasis6/lab/packet"
	"oasis6/lab/page"
	"oasis6/lab/simwg/device"
	"oasis6/lab/wire"
)

// answerWithin is how soon after a packet's end an ICMPv6 error is taken for the answer to it.
const answerWithin = 4 * time.Second

// walk follows the packet of a record over all wires it was seen on until now.
func (r *recorder) walk(id uint64, now time.Time, kindOf func(node string) string) (page.Walk, bool) {
	rec := r.get(id)
	if rec == nil {
		return page.Walk{}, false
	}
	hops := r.all(0, func(x *record) bool { return x.walk == rec.walk })
	if len(hops) == 0 {
		return page.Walk{}, false // gone in between
	}
	w := page.Walk{ID: id, Kind: packet.KindOf(hops[0].Frame), Summary: packet.Summary(hops[0].Frame, r.open)}
	for _, h := range hops {
		o := packet.Explain(h.Frame, r.opener(h))
		w.Hops = append(w.Hops, page.Hop{
			ID: h.id, At: h.At, Kind: packet.KindOf(h.Frame), Wire: h.Wire, From: h.From, To: h.To, Layers: o.Layers, Broken: o.Broken,
			Dropped: h.Dropped != "", Decision: r.decide(h, hops, now, kindOf(h.To)),
		})
	}
	return w, true
}

// opener opens a record's transport message with what was kept of it: keys do not last.
func (r *recorder) opener(rec *record) packet.Opener {
	return func(datagram []byte) ([]byte, bool) {
		if rec.inner != nil && len(datagram) > 0 && datagram[0] == wgTransport {
			return rec.inner, true
		}
		return r.open(datagram)
	}
}

// decide says what the node at the end of h did with the packet, from what left it afterwards.
func (r *recorder) decide(h *record, hops []*record, now time.Time, kind string) page.Decision {
	d := page.Decision{Node: h.To}
	said, rfc := r.said(h)
	ruled, why := r.verdicts(h)
	arrival := h.At.Add(h.Flight)
	var next []*record
	for _, x := range hops {
		if x.From == h.To && !x.At.Before(arrival) && x.At.Sub(arrival) <= walkGap {
			next = append(next, x)
		}
	}
	switch {
	case h.Dropped != "":
		d.Node, d.Text = h.Wire, "Lost on the wire: "+h.Dropped
	case arrival.After(now):
		d.Text = "Nothing yet: the packet is still on the wire"
	case ruled != "":
		d.Text, d.RFC = opened(h, said)+ruled+sealed(h, next), why
	case h.inner != nil && (kind == page.Router || kind == page.Hub): // the end of the tunnel, which itself tells of the datagram alone
		d.Text, d.RFC = r.ended(h, arrival)
		d.Text = opened(h, said) + d.Text
	case said != "":
		d.Text, d.RFC = said, rfc
	case len(next) == 0:
		d.Text, d.RFC = r.ended(h, arrival)
	case kind == page.Switch:
		d.Text, d.RFC = switched(h, next), "IEEE 802.1D section 7.7"
	default:
		d.Text, d.RFC = changed(h, next[0])
	}
	return d
}

// opened says how a packet came out of a tunnel, to stand before what was decided about it.
func opened(h *record, said string) string {
	if h.inner == nil {
		return ""
	}
	const decrypted = "decrypted, and the source is one that this peer may have"
	if head, ok := strings.CutSuffix(said, device.Delivered.String()); ok || said == "" {
		return sentence(head + decrypted)
	}
	return sentence(said + "; " + decrypted)
}

// sealed says how a packet went into a tunnel, after what was decided about it.
func sealed(h *record, next []*record) string {
	if len(next) == 0 || next[0].inner == nil {
		return ""
	}
	again := ""
	if h.inner != nil {
		again = " again"
	}
	return fmt.Sprintf(". There it is encrypted%s for the peer whose allowed IPs hold the destination, as UDP over IPv4 from %s to %s",
		again, endText(next[0].Frame, 12), endText(next[0].Frame, 16))
}

// sentence makes one of a phrase, to stand before another.
func sentence(phrase string) string {
	if phrase == "" {
		return ""
	}
	return strings.ToUpper(phrase[:1]) + phrase[1:] + ". "
}

// ended is for a packet that nobody saw again: it has arrived, or was refused.
func (r *recorder) ended(h *record, arrival time.Time) (text, rfc string) {
	answers := r.all(h.id, func(x *record) bool {
		return x.From == h.To && x.At.Sub(arrival) <= answerWithin && packet.KindOf(x.Frame) == packet.ICMPError && quotes(x.Frame, contentOf(h))
	})
	if len(answers) > 0 {
		return "Refused, and the sender is told: " + packet.Summary(answers[0].Frame, r.open), "RFC 4443 section 3"
	}
	if text, rfc := taken(h); text != "" {
		return strings.ToUpper(text[:1]) + text[1:], rfc
	}
	return "For this node itself, or dropped by it without a word", ""
}

// taken is for what a node's own programs get before there is anything to decide.
func taken(h *record) (text, rfc string) {
	p := contentOf(h)
	if p == nil {
		if packet.KindOf(h.Frame) == packet.ARP {
			return "For IPv4: who is asked for answers, who is told takes the MAC", "RFC 826"
		}
		return "", ""
	}
	before := ""
	if h.inner != nil {
		before = "taken out of the stream before it could be forwarded: "
	}
	if u, err := ip6pkt.ParseUDP(p); err == nil {
		switch u.Dst.Port() {
		case dhcpv6.ClientPort:
			return before + "for this node's own DHCPv6 client", "RFC 9915 section 18.2"
		case dhcpv6.ServerPort:
			return before + "for this node's own DHCPv6 server", "RFC 9915 section 18.3"
		}
	}
	switch {
	case h.inner == nil:
	case dest6(p).IsLinkLocalUnicast():
		return before + "for this end of the tunnel, whose link-local address is made of its key", "RFC 4291 section 2.5.6"
	case dest6(p).IsMulticast():
		return before + "groups in the tunnel are for its end itself, which speaks there for the node", "RFC 4291 section 2.7"
	}
	return "", ""
}

// contentOf is the IPv6 packet in a frame, or in the tunnel in it; nil if there is none.
func contentOf(h *record) []byte {
	if h.inner != nil {
		return h.inner
	}
	if len(h.Frame) > wire.Header+ip6pkt.HeaderLen && binary.BigEndian.Uint16(h.Frame[12:]) == typeIPv6 {
		return h.Frame[wire.Header:]
	}
	return nil
}

// quotes says whether an ICMPv6 error quotes a packet: by addresses and the first octets behind the header.
func quotes(frame, content []byte) bool {
	const icmpHeader = 8
	q := frame[wire.Header:]
	if content == nil || len(q) < 2*ip6pkt.HeaderLen+icmpHeader+8 || len(content) < ip6pkt.HeaderLen+8 {
		return false
	}
	q = q[ip6pkt.HeaderLen+icmpHeader:]
	return slices.Equal(q[8:ip6pkt.HeaderLen+8], content[8:ip6pkt.HeaderLen+8])
}

func switched(h *record, next []*record) string {
	var to []string
	for _, x := range next {
		to = append(to, x.To)
	}
	if len(to) == 1 {
		return "The switch knows on which port the destination is: to " + to[0]
	}
	if h.Frame[0]&1 != 0 {
		return "To all: the frame is for a group: " + strings.Join(to, ", ")
	}
	return "The switch has not learnt the destination yet, so it goes to all ports: " + strings.Join(to, ", ")
}

// changed says what a node did to a packet that it passed on.
func changed(in, out *record) (text, rfc string) {
	hop := hopText(contentOf(in), contentOf(out))
	switch {
	case in.inner != nil && !slices.Equal(outer(in.Frame), outer(out.Frame)):
		return translated(in.Frame, out.Frame), "RFC 4787"
	case hop != "":
		return hop + "The route leads to " + out.To, "RFC 8200 section 3"
	case isIPv4(in.Frame) && !slices.Equal(outer(in.Frame), outer(out.Frame)):
		return translated(in.Frame, out.Frame), "RFC 4787"
	}
	return "Passed on to " + out.To, ""
}

func hopText(in, out []byte) string {
	if len(in) <= 7 || len(out) <= 7 || in[7] == out[7] {
		return ""
	}
	return fmt.Sprintf("Hop limit %d → %d. ", in[7], out[7])
}

func isIPv4(frame []byte) bool { return binary.BigEndian.Uint16(frame[12:]) == typeIPv4 }

// outer is what a NAT changes of a frame with an IPv4 packet: addresses and ports.
func outer(frame []byte) []byte {
	p := frame[wire.Header:]
	if !isIPv4(frame) || len(p) < ipv4Header+4 {
		return nil
	}
	return slices.Concat(p[12:20], p[int(p[0]&15)*4:][:4])
}

func translated(in, out []byte) string {
	var parts []string
	for _, x := range []struct {
		what string
		at   int
	}{{"source", 12}, {"destination", 16}} {
		if a, b := endText(in, x.at), endText(out, x.at); a != b {
			parts = append(parts, fmt.Sprintf("%s %s → %s", x.what, a, b))
		}
	}
	return "Translated: " + strings.Join(parts, ", ")
}

// endText is the address at an offset of the IPv4 header, with its port.
func endText(frame []byte, at int) string {
	p := frame[wire.Header:]
	if len(p) < ipv4Header+4 {
		return "?"
	}
	addr := netip.AddrFrom4([4]byte(p[at:]))
	if p[9] != protoUDP && p[9] != protoTCP {
		return addr.String()
	}
	ports := p[int(p[0]&15)*4:]
	if len(ports) < 4 {
		return addr.String()
	}
	port := binary.BigEndian.Uint16(ports)
	if at == 16 {
		port = binary.BigEndian.Uint16(ports[2:])
	}
	return netip.AddrPortFrom(addr, port).String()
}
