// SPDX-License-Identifier: MIT

package packet

import (
	"fmt"
	"net/netip"
)

// Octets behind the ICMPv6 header: of MLDv1 messages, of an MLDv2 query without sources, of a report without records.
const (
	mldv1Body  = 20
	mldv2Query = 24
	mldv2Body  = 4
)

func cutListener(c *chain, p *part, b []byte) step {
	p.typ, p.code = c.icmpType()
	least := mldv1Body
	if p.typ == typeMLDv2Report {
		least = mldv2Body
	}
	return step{header: max(len(b), least)}
}

func listenerFace(p *part) face {
	f := face{name: icmpTypeName(p.typ), rfc: "RFC 2710 section 3"}
	switch {
	case p.typ == typeMLDv2Report:
		f.rfc = "RFC 9777 section 5.2"
		f.purpose = "Tells routers and switches which groups the sender wants to hear: for ND it is the solicited-node group of each address."
	case p.typ == typeMLDQuery && len(p.head) >= mldv2Query:
		f.rfc = "RFC 9777 section 5.1"
		f.purpose = "A router asks who wants to hear which groups."
	}
	return f
}

func listenerFields(o *reader, p *part) {
	if p.typ == typeMLDv2Report {
		o.take(2)
		n := int(o.u16())
		o.add("Records", fmt.Sprint(n), "", "")
		for range n {
			if !mldRecord(o) {
				return
			}
		}
		return
	}
	o.add("Maximum response code", fmt.Sprint(o.u16()), "", "milliseconds in which to answer, by chance, so that not all answer at once")
	o.take(2)
	g := o.addr()
	note := about(g)
	if g.IsUnspecified() {
		note = "all groups are asked for"
	}
	o.add("Group", g.String(), "", note)
	if o.left() == 0 {
		return
	}
	f := o.u8()
	o.add("S flag", yes(f&8), "", choose(f&8, "routers are not to restart their timers", ""))
	o.add("Robustness", fmt.Sprint(f&7), "", "how many lost messages it survives")
	o.add("Query interval code", fmt.Sprint(o.u8()), "", "seconds between queries")
	n := int(o.u16())
	o.add("Sources", fmt.Sprint(n), "", "")
	for range min(n, o.left()/16) {
		o.add("Source", o.addr().String(), "", "")
	}
}

// recordType is the name of a multicast address record type and what it means (RFC 9777 section 5.2.12).
func recordType(t uint8) (name, note string) {
	switch t {
	case 1:
		return "MODE_IS_INCLUDE", "hears only the sources named"
	case 2:
		return "MODE_IS_EXCLUDE", "hears all sources but those named: with none named, all"
	case 3:
		return "CHANGE_TO_INCLUDE_MODE", "from now on hears only the sources named: with none named it has left the group"
	case 4:
		return "CHANGE_TO_EXCLUDE_MODE", "from now on hears all sources but those named: with none named it has joined the group"
	case 5:
		return "ALLOW_NEW_SOURCES", "wants to hear these sources too"
	case 6:
		return "BLOCK_OLD_SOURCES", "wants to hear these sources no more"
	}
	return "", "not defined"
}

func mldRecord(o *reader) bool {
	t := o.u8()
	aux, n := int(o.u8()), int(o.u16())
	g := o.addr()
	name, note := recordType(t)
	o.add("Group", g.String(), "", about(g))
	o.depth++
	o.add("Record type", known(int(t), name), "", note)
	for range n {
		if o.short {
			break
		}
		o.add("Source", o.addr().String(), "", "")
	}
	o.depth--
	o.take(aux * 4)
	return !o.short
}

func listenerShort(p *part) string {
	s := icmpTypeName(p.typ)
	if p.cut {
		return s + " cut short"
	}
	if p.typ != typeMLDv2Report {
		g := netip.AddrFrom16([16]byte(p.head[4:20]))
		if g.IsUnspecified() {
			return s + ": who hears anything?"
		}
		return s + ": " + g.String()
	}
	n := int(be16(p.head[2:]))
	s += ": "
	in := reader{b: p.head[mldv2Body:]}
	for i := range n {
		t, aux := in.u8(), int(in.u8())
		sources := int(in.u16())
		g := in.addr()
		if in.take(16*sources + 4*aux); in.short {
			return s + "cut short"
		}
		if i == 3 {
			return s + fmt.Sprintf(" and %d more", n-i)
		}
		if i > 0 {
			s += ", "
		}
		s += membership(t, sources) + " " + g.String()
	}
	return s
}

// membership is what a record means for one group.
func membership(t uint8, sources int) string {
	switch {
	case t == 3 && sources == 0:
		return "leaves"
	case t == 4 && sources == 0:
		return "joins"
	case t == 2 && sources == 0:
		return "hears"
	}
	return "filters"
}
