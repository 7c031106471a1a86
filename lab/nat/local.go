// SPDX-License-Identifier: MIT

package nat

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// pathLasts is how long a node believes what it was told of a path's MTU, RFC 1191 section 6.3.
const pathLasts = 10 * time.Minute

// Program is one of the node itself that has a UDP port.
type Program struct {
	// Receive gets what comes to the port, at whichever of the node's addresses. data is good until it returns. It says in
	// words what became of it; empty: nothing is to be said.
	Receive func(from netip.AddrPort, data []byte) string
	// Failed hears of ICMP errors about what was sent to a place; nil: nobody does.
	Failed func(to netip.AddrPort, text string)
}

type path struct {
	mtu   int
	until time.Time
}

// Listen gives a port of the node to a program; a second one for the same port is refused, a zero Program gives it back. No
// translation uses the port.
func (n *Node) Listen(port uint16, u Program) error {
	if u.Receive == nil {
		delete(n.programs, port)
		return nil
	}
	if _, taken := n.programs[port]; taken {
		return fmt.Errorf("node %s: UDP port %d is taken", n.cfg.Name, port)
	}
	n.programs[port] = u
	if n.nat != nil {
		n.nat.Reserve(UDP, port)
	}
	return nil
}

// SendUDP sends from a port of the node, by the address of the way out, and never in pieces. What is longer than the
// path's MTU is refused, as Linux does it.
func (n *Node) SendUDP(from uint16, to netip.AddrPort, data []byte) error {
	if n.off {
		return fmt.Errorf("node %s is off", n.cfg.Name)
	}
	out, via := n.route(to.Addr())
	if out == nil {
		return fmt.Errorf("node %s: no route to %s", n.cfg.Name, to.Addr())
	}
	if mtu, need := n.pathMTU(out, to.Addr()), ipHeader+udpHeader+len(data); need > mtu {
		return fmt.Errorf("node %s: %d octets to %s: message too long for a path MTU of %d", n.cfg.Name, need, to.Addr(), mtu)
	}
	out.arp.Send(via, udpPacket(netip.AddrPortFrom(out.Address.Addr(), from), to, data))
	return nil
}

// PathMTU is what fits on the way, as far as the node knows.
func (n *Node) PathMTU(to netip.Addr) (int, error) {
	out, _ := n.route(to)
	if out == nil {
		return 0, fmt.Errorf("node %s: no route to %s", n.cfg.Name, to)
	}
	return n.pathMTU(out, to), nil
}

func (n *Node) pathMTU(out *port, to netip.Addr) int {
	mtu := out.Wire.MTU()
	if p, ok := n.paths[to]; ok && n.e.Now().Before(p.until) {
		mtu = min(mtu, p.mtu)
	}
	return mtu
}

func udpPacket(from, to netip.AddrPort, data []byte) []byte {
	u := append(make([]byte, udpHeader, udpHeader+len(data)), data...)
	binary.BigEndian.PutUint16(u, from.Port())
	binary.BigEndian.PutUint16(u[2:], to.Port())
	binary.BigEndian.PutUint16(u[4:], uint16(len(u)))
	s, d := from.Addr().As4(), to.Addr().As4()
	pseudo := sum(0, append(append(s[:], d[:]...), 0, byte(UDP), u[4], u[5]))
	c := ^sum(uint32(pseudo), u)
	if c == 0 {
		c = 0xffff // RFC 768
	}
	binary.BigEndian.PutUint16(u[udpChecksumAt:], c)
	return ipv4(from.Addr(), to.Addr(), UDP, u)
}

// forPrograms says whether a packet is for a program of the node, or about what one has sent.
func (n *Node) forPrograms(t *transit) bool {
	if at, more := t.offset(); at > 0 || more {
		return false
	}
	p := t.packet
	if p.isError() {
		q, ok := quotedOf(&p)
		if !ok || q.proto != UDP {
			return false
		}
		_, is := n.programs[q.src.Port()]
		return is && n.own(q.src.Addr())
	}
	if p.proto != UDP || p.ports(false) != nil {
		return false
	}
	_, is := n.programs[p.dst.Port()]
	return is
}

// quotedOf is the packet that an ICMP error quotes, with its ports.
func quotedOf(p *packet) (packet, bool) {
	q, err := parse(p.body()[icmpHeader:], true)
	if err != nil {
		return q, false
	}
	return q, q.ports(true) == nil
}

// deliver gives a program what is its own.
func (n *Node) deliver(t *transit) {
	p := t.packet
	if p.isError() {
		q, _ := quotedOf(&p)
		b := p.body()
		text := fmt.Sprintf("ICMP type %d code %d from %s", b[0], b[1], p.src.Addr())
		if b[0] == icmpUnreachable && b[1] == codeTooBig {
			mtu := int(binary.BigEndian.Uint16(b[6:]))
			n.paths[q.dst.Addr()] = path{max(mtu, leastMTU), n.e.Now().Add(pathLasts)}
			text = fmt.Sprintf("the path has an MTU of %d, says %s", mtu, p.src.Addr())
		}
		t.note("about what a program here has sent: "+text, "RFC 1191 section 3")
		if f := n.programs[q.src.Port()].Failed; f != nil {
			f(q.dst, text)
		}
		return
	}
	if p.ports(false) != nil { // has been looked at
		return
	}
	data := p.body()[udpHeader:]
	if size := int(binary.BigEndian.Uint16(p.body()[4:])) - udpHeader; size >= 0 && size <= len(data) {
		data = data[:size]
	}
	if !goodUDP(&p) {
		t.note("dropped: wrong UDP checksum", "RFC 768")
		return
	}
	t.note(fmt.Sprintf("for the program at UDP port %d here", p.dst.Port()), "")
	if became := n.programs[p.dst.Port()].Receive(p.src, data); became != "" {
		t.note(became, "")
	}
}

// leastMTU is what every IPv4 link carries, RFC 791 section 3.2: a smaller one is an attack.
const leastMTU = 68

func goodUDP(p *packet) bool {
	u := p.body()
	size := int(binary.BigEndian.Uint16(u[4:]))
	if size < udpHeader || size > len(u) {
		return false
	}
	if u[udpChecksumAt] == 0 && u[udpChecksumAt+1] == 0 {
		return true // none
	}
	pseudo := sum(0, append(append([]byte(nil), p.b[srcAt:srcAt+8]...), 0, byte(UDP), u[4], u[5]))
	return sum(uint32(pseudo), u[:size]) == 0xffff
}
