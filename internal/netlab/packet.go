// SPDX-License-Identifier: MIT

package netlab

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Packet is an IPv6 packet seen on a wire.
type Packet struct {
	At       time.Time
	Src, Dst netip.Addr
	Protocol byte    // of the first header
	ICMPv6   [2]byte // type and code; zero where Protocol is another
}

// PacketWatch collects the IPv6 packets that arrive at an interface.
type PacketWatch struct{ watch[Packet] }

// WatchIPv6 listens on an interface, before the node's own firewall. R2's wg0 shows what crossed the tunnel.
func (n *Node) WatchIPv6(iface string) *PacketWatch {
	n.lab.T.Helper()
	w := &PacketWatch{}
	n.readIPv6(iface, w.take)
	return w
}

// WatchIPv6Sent is WatchIPv6 for what the node sends by an interface. R2's wg0 shows what goes into the tunnel, and so what
// comes out of it at a box whose own end nobody can listen at.
func (n *Node) WatchIPv6Sent(iface string) *PacketWatch {
	n.lab.T.Helper()
	w := &PacketWatch{}
	n.readIPv6Sent(iface, w.take)
	return w
}

func (w *PacketWatch) take(b []byte) {
	if len(b) < 40 {
		return
	}
	p := Packet{At: time.Now(), Protocol: b[6]}
	p.Src, _ = netip.AddrFromSlice(b[8:24]) // 16 octets: cannot fail
	p.Dst, _ = netip.AddrFromSlice(b[24:40])
	if p.Protocol == protoICMPv6 && len(b) >= 42 {
		p.ICMPv6 = [2]byte(b[40:])
	}
	w.add(p)
}

// From is how many packets came from a prefix.
func (w *PacketWatch) From(p netip.Prefix) int {
	return w.Count(func(q Packet) bool { return p.Contains(q.Src) })
}

// Count is how many packets are such.
func (w *PacketWatch) Count(such func(Packet) bool) (n int) {
	for _, q := range w.All() {
		if such(q) {
			n++
		}
	}
	return n
}

const (
	protoUDP    = 17
	protoICMPv6 = 58
)

// SendICMPv6 sends an ICMPv6 message by multicast with any source address, past the node's own IPv6, from the node's MAC
// address. The message is from its type on; its checksum is filled in. The hop limit is 255.
func (n *Node) SendICMPv6(iface string, src, dst netip.Addr, message []byte) {
	n.lab.T.Helper()
	attrs := n.link(iface).Attrs()
	err := n.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }() // nothing is buffered
		b := make([]byte, frameHeaders+len(message))
		copy(b[frameHeaders:], message)
		frameHeader(b, attrs.HardwareAddr, src, dst, protoICMPv6)
		b[frameHeaders+2], b[frameHeaders+3] = 0, 0
		binary.BigEndian.PutUint16(b[frameHeaders+2:], checksum(b[14:], protoICMPv6))
		return unix.Sendto(fd, b, 0, &unix.SockaddrLinklayer{Ifindex: attrs.Index, Halen: 6})
	})
	if err != nil {
		n.lab.T.Fatalf("node %s: send on %s: %v", n.Name, iface, err)
	}
}

// ForgedCode is the ICMPv6 code of what SendRaw sends, so that a watch tells it from other echo requests.
const ForgedCode = 77

// SendRaw sends an ICMPv6 echo request with any source address into an interface without link-layer addresses, such as a
// tunnel, past the node's own IPv6.
func (n *Node) SendRaw(iface string, src, dst netip.Addr) {
	n.lab.T.Helper()
	index := n.link(iface).Attrs().Index
	err := n.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }() // nothing is buffered
		b := make([]byte, frameHeaders+8)
		b[frameHeaders], b[frameHeaders+1] = 128, ForgedCode
		frameHeader(b, make(net.HardwareAddr, 6), src, dst, protoICMPv6)
		binary.BigEndian.PutUint16(b[frameHeaders+2:], checksum(b[14:], protoICMPv6))
		return unix.Sendto(fd, b[14:], 0, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IPV6), Ifindex: index})
	})
	if err != nil {
		n.lab.T.Fatalf("node %s: send on %s: %v", n.Name, iface, err)
	}
}

func htons(v uint16) uint16 { return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)) }

// frameHeaders is the length of an Ethernet and an IPv6 header.
const frameHeaders = 14 + 40

// frameHeader fills in the headers of a frame to a multicast address.
func frameHeader(b []byte, mac net.HardwareAddr, src, dst netip.Addr, proto byte) {
	s, d := src.As16(), dst.As16()
	copy(b, []byte{0x33, 0x33, d[12], d[13], d[14], d[15]})
	copy(b[6:], mac)
	binary.BigEndian.PutUint16(b[12:], unix.ETH_P_IPV6)
	ip := b[14:]
	copy(ip, []byte{0x60, 0, 0, 0})
	binary.BigEndian.PutUint16(ip[4:], uint16(len(b)-frameHeaders))
	ip[6], ip[7] = proto, 255
	copy(ip[8:], s[:])
	copy(ip[24:], d[:])
}

// checksum is that of the payload of an IPv6 packet (RFC 8200 section 8.1), whose own checksum is 0 yet.
func checksum(ip []byte, proto byte) uint16 {
	payload := ip[40:]
	sum := uint32(len(payload)) + uint32(proto)
	add := func(b []byte) {
		for ; len(b) >= 2; b = b[2:] {
			sum += uint32(b[0])<<8 | uint32(b[1])
		}
		if len(b) == 1 {
			sum += uint32(b[0]) << 8
		}
	}
	add(ip[8:40])
	add(payload)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	if sum == 0xffff && proto == protoUDP {
		return 0xffff
	}
	return ^uint16(sum)
}
