// SPDX-License-Identifier: MIT

// Package packet explains frames to a student: the layers from the outside in, each field in words
// with its RFC, a kind for the color and one line for a list. It reads Ethernet, ARP, IPv4, IPv6
// with extension headers, UDP, TCP, ICMPv4, ICMPv6, Neighbor Discovery, MLD, DHCPv6, DNS, the first
// line of HTTP, and WireGuard, into which it looks with the help of an Opener.
//
// Frames are hostile: what can be read is shown, and where it broke is said. It keeps nothing
// between frames, so it puts no fragments or TCP segments together, and it must not know wires,
// nodes or the clock. Start at Explain.
package packet

import "strings"

// Opener opens a WireGuard transport message: datagram is the whole UDP payload, inner the packet in
// it with or without padding, empty for a keepalive. Only the two ends can open one for real; the
// lab has both. Not ok leaves the message closed. A nil Opener opens nothing.
type Opener func(datagram []byte) (inner []byte, ok bool)

// Onion is a frame taken apart.
type Onion struct {
	Kind    Kind   `json:"kind"`
	Summary string `json:"summary"`
	// Layers are those of the frame from the outside in, then those of what it carries in a tunnel.
	Layers []Layer `json:"layers"`
	// Broken says where reading ended too early; empty if all could be read.
	Broken string `json:"broken,omitempty"`
}

// Layer is one header with what belongs to it, as one box of the onion.
type Layer struct {
	Name  string `json:"name"`
	Short string `json:"short"`         // its content in one line
	RFC   string `json:"rfc,omitempty"` // as the house cites: RFC 4861 section 4.2
	For   string `json:"for"`           // what the layer is there for, one sentence
	// Fields are in the order of the wire.
	Fields []Field `json:"fields"`
	// Octets are where the layer's own octets begin and end, its payload not included, in its buffer.
	Octets [2]int `json:"octets"`
	// Buffer 0 is the frame; what an Opener gave counts from 1.
	Buffer int `json:"buffer,omitempty"`
}

// Field is one field of a header, or an option with its fields behind it.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	RFC   string `json:"rfc,omitempty"`  // where the field is not described in the layer's RFC
	Note  string `json:"note,omitempty"` // what the value means
	// Depth is how deep the field lies in options: a field of depth 1 belongs to the last one of depth 0.
	Depth int `json:"depth,omitempty"`
}

// Explain takes an Ethernet frame apart. It neither keeps nor changes frame.
func Explain(frame []byte, open Opener) Onion { return explain(frame, ethernet, open) }

// ExplainIP is Explain for a packet without Ethernet, as tunnels carry it; IPv4 or IPv6 by its version.
func ExplainIP(packet []byte, open Opener) Onion { return explain(packet, ipVersion(packet), open) }

// Summary is one line for a list of Ethernet frames: what the innermost layer that can be read says.
func Summary(frame []byte, open Opener) string {
	c := cutUp(frame, ethernet, open)
	return c.summary()
}

// SummaryIP is Summary for a packet without Ethernet.
func SummaryIP(packet []byte, open Opener) string {
	c := cutUp(packet, ipVersion(packet), open)
	return c.summary()
}

func explain(b []byte, first layerID, open Opener) Onion {
	c := cutUp(b, first, open)
	o := Onion{Kind: c.kind(), Summary: c.summary(), Layers: make([]Layer, 0, c.n)}
	for i := range c.n {
		o.Layers = append(o.Layers, c.layer(i))
	}
	o.Broken = c.broken
	return o
}

// layer explains the i-th part.
func (c *chain) layer(i int) Layer {
	p := &c.parts[i]
	v, f := p.id.view(), p.face()
	out := reader{b: p.head, fields: []Field{}}
	v.fields(&out, p)
	out.short = out.short || p.cut
	out.end()
	if out.broken && c.broken == "" && !p.quoted {
		c.broken = f.name + ": a part is cut short"
	}
	l := Layer{Name: f.name, RFC: f.rfc, For: f.purpose, Fields: out.fields,
		Octets: [2]int{p.off, p.off + len(p.head)}, Buffer: p.buf}
	// The line of a packet begins with the name, that of a layer stands behind it.
	l.Short = strings.TrimLeft(strings.TrimPrefix(v.short(p), l.Name), ": ")
	if p.quoted {
		l.Name = "Quoted " + l.Name
		l.For = "Sent back by the error above, so that the sender knows which of its packets it was."
	}
	return l
}

// summary is the short form of the layer that says most, behind the tunnels it came through.
func (c *chain) summary() string {
	s, broken := "", ""
	if c.broken != "" {
		broken = " (" + c.broken + ")"
	}
	last := -1
	for i := range c.n {
		p := &c.parts[i]
		if p.buf > 0 && c.parts[i-1].buf < p.buf {
			s += c.parts[i-1].id.view().short(&c.parts[i-1]) + ": "
			last = -1
		}
		// An error says what it quotes by itself, octets nobody knows say nothing, and the ports of UDP tell less
		// than what it carries; those of TCP and its flags tell more.
		if p.quoted || last >= 0 && (p.id == data || p.id == http && c.parts[last].id != tcp) {
			continue
		}
		last = i
	}
	if last < 0 {
		return s + "nothing" + broken
	}
	p := &c.parts[last]
	return s + p.id.view().short(p) + broken
}
