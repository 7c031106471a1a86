// SPDX-License-Identifier: MIT

package tun

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// controlSpace holds the control messages of one datagram, or of joined ones.
var controlSpace = unix.CmsgSpace(unix.SizeofInet6Pktinfo) + unix.CmsgSpace(4)

// arrival is what the kernel says of a datagram beside its octets.
type arrival struct {
	dst  netip.Addr // where it came to; not valid: not said, or no address to send from
	part int        // size of the parts that are joined in it; 0: it is one
}

// parseControl reads what the kernel has written.
func parseControl(b []byte) (c arrival) {
	for len(b) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			break
		}
		b = rest
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			c.dst = netip.AddrFrom4([4]byte(data[4:8])) // ipi_spec_dst: the address to answer from
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			c.dst = netip.AddrFrom16([16]byte(data[:16]))
		case h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO && len(data) >= 4:
			c.part = int(binary.NativeEndian.Uint32(data) & 0xffff)
		}
	}
	if c.dst.IsMulticast() || c.dst.IsUnspecified() {
		c.dst = netip.Addr{}
	}
	return c
}

// pinTo is the control message that makes the kernel send from an address, by whatever interface the routes say; empty for
// one that is not valid.
func pinTo(src netip.Addr) []byte {
	switch {
	case src.Is4():
		return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: src.As4()})
	case src.Is6():
		return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: src.As16()})
	}
	return nil
}

// appendPart adds the control message UDP_SEGMENT: the kernel cuts what follows into parts of that size.
func appendPart(b []byte, size int) []byte {
	var data [2]byte
	binary.NativeEndian.PutUint16(data[:], uint16(size)) // at most joinedBytes
	return appendControl(b, unix.IPPROTO_UDP, unix.UDP_SEGMENT, data[:])
}

// appendControl adds a control message (cmsg(3)): its length as a size_t, level, type, and data at the next word.
func appendControl(b []byte, level, kind uint32, data []byte) []byte {
	const lengthSize = unix.SizeofCmsghdr - 8
	at := len(b)
	for range unix.CmsgSpace(len(data)) {
		b = append(b, 0)
	}
	h := b[at:]
	if lengthSize == 8 {
		binary.NativeEndian.PutUint64(h, uint64(unix.CmsgLen(len(data))))
	} else {
		binary.NativeEndian.PutUint32(h, uint32(unix.CmsgLen(len(data))))
	}
	binary.NativeEndian.PutUint32(h[lengthSize:], level)
	binary.NativeEndian.PutUint32(h[lengthSize+4:], kind)
	copy(h[unix.CmsgLen(0):], data)
	return b
}
