// SPDX-License-Identifier: MIT

package forward

import (
	"oasis6/internal/ip6pkt"
)

// Options of a Redirect (RFC 4861 section 4.6).
const (
	optTargetLinkLayer  = 2
	optRedirectedHeader = 4
)

// redirect tells a host that there is a better first hop for what it sends, on its own link (RFC 4861 section 8.2): the
// destination itself, or the router behind which it is. nil: there is nobody to tell, or it was told just now.
func (c *crossing) redirect(r *route) []byte {
	// "The Source Address field of the packet identifies a neighbor"
	back := c.state.routes.lookup(c.src, c.dst)
	if back == nil || back.out != c.in || !back.via.unspecified() || c.part == laterPart {
		return nil
	}
	from, ok := c.state.linkLocalOf(c.in)
	target := r.next(c.dst)
	// A router other than the destination is named by its link-local address.
	if !ok || target != c.dst && !target.linkLocal() || !c.f.limits.redirect(c.now, c.src, c.dst) {
		return nil
	}
	body := make([]byte, 8, minMTU-headerLen)
	body[0] = typeRedirect
	t, d := target.octets(), c.dst.octets()
	body = append(append(body, t[:]...), d[:]...)
	if mac, known := c.state.macOf(c.in, target); known {
		body = append(append(body, optTargetLinkLayer, 1), mac[:]...)
	}
	quoted := c.data[:min(len(c.data), cap(body)-len(body)-8)&^7]
	body = append(body, optRedirectedHeader, byte(len(quoted)/8+1), 0, 0, 0, 0, 0, 0)
	return ip6pkt.ICMPv6(from.addr(), c.src.addr(), 255, append(body, quoted...))
}

func (t *Table) linkLocalOf(i *iface) (u128, bool) {
	for n := range t.own {
		if o := &t.own[n]; o.iface == i && o.addr.linkLocal() && !o.anycast {
			return o.addr, true
		}
	}
	return u128{}, false
}

// macOf is the MAC of a router behind a LAN, if it is known.
func (s *state) macOf(i *iface, a u128) (mac [6]byte, known bool) {
	for n := range s.routers {
		if r := &s.routers[n]; r.iface == i && number(r.via) == a {
			m := s.macs[n].Load()
			for b := range mac {
				mac[b] = byte(m >> (40 - 8*b))
			}
			return mac, m != 0
		}
	}
	return mac, false
}
