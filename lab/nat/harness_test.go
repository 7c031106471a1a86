// SPDX-License-Identifier: MIT

package nat

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

var (
	t0      = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	outside = netip.MustParseAddr("192.0.2.1")
	hostA   = ap("192.168.1.10:5000")
	hostB   = ap("192.168.1.11:5000")
	serverX = ap("198.51.100.1:80")
	serverY = ap("198.51.100.1:81") // another port
	serverZ = ap("203.0.113.9:80")  // another address
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func machine(cfg Config) *Machine {
	cfg.Outside = outside
	return New(cfg, rand.New(rand.NewPCG(1, 2)).Float64)
}

// ip4 is an IPv4 packet made by other software.
func ip4(src, dst netip.Addr, proto Proto, content []byte) []byte {
	b := make([]byte, header.IPv4MinimumSize, header.IPv4MinimumSize+len(content))
	h := header.IPv4(b)
	h.Encode(&header.IPv4Fields{TotalLength: uint16(cap(b)), TTL: 64, Protocol: uint8(proto), ID: 7,
		SrcAddr: tcpip.AddrFrom4(src.As4()), DstAddr: tcpip.AddrFrom4(dst.As4())})
	h.SetChecksum(^h.CalculateChecksum())
	return append(b, content...)
}

func pseudo(src, dst netip.Addr, proto Proto, n int) uint16 {
	return header.PseudoHeaderChecksum(tcpip.TransportProtocolNumber(proto), tcpip.AddrFrom4(src.As4()), tcpip.AddrFrom4(dst.As4()), uint16(n))
}

func udp(src, dst netip.AddrPort, text string) []byte {
	u := header.UDP(append(make([]byte, header.UDPMinimumSize), text...))
	u.Encode(&header.UDPFields{SrcPort: src.Port(), DstPort: dst.Port(), Length: uint16(len(u))})
	u.SetChecksum(^u.CalculateChecksum(checksum.Checksum([]byte(text), pseudo(src.Addr(), dst.Addr(), UDP, len(u)))))
	if u.Checksum() == 0 {
		u.SetChecksum(0xffff) // RFC 768
	}
	return ip4(src.Addr(), dst.Addr(), UDP, u)
}

func tcp(src, dst netip.AddrPort, flags header.TCPFlags) []byte {
	s := header.TCP(make([]byte, header.TCPMinimumSize))
	s.Encode(&header.TCPFields{SrcPort: src.Port(), DstPort: dst.Port(), DataOffset: header.TCPMinimumSize, Flags: flags, SeqNum: 99})
	s.SetChecksum(^s.CalculateChecksum(pseudo(src.Addr(), dst.Addr(), TCP, len(s))))
	return ip4(src.Addr(), dst.Addr(), TCP, s)
}

func echo(src, dst netip.Addr, kind header.ICMPv4Type, id uint16) []byte {
	m := header.ICMPv4(append(make([]byte, header.ICMPv4MinimumSize), "data!"...))
	m.SetType(kind)
	m.SetIdent(id)
	m.SetChecksum(header.ICMPv4Checksum(m[:header.ICMPv4MinimumSize], checksum.Checksum(m[header.ICMPv4MinimumSize:], 0)))
	return ip4(src, dst, ICMP, m)
}

// seen is a packet as its receiver sees it; its checksums are right or the test fails.
type seen struct {
	src, dst netip.AddrPort
	quoted   *seen // of an ICMP error
}

func look(t *testing.T, b []byte) seen {
	t.Helper()
	h := header.IPv4(b)
	if !h.IsValid(len(b)) || !h.IsChecksumValid() {
		t.Fatalf("not a valid IPv4 packet: % x", b)
	}
	s := lookAt(b)
	body, a := h.Payload(), netip.AddrFrom4(h.SourceAddress().As4())
	c := netip.AddrFrom4(h.DestinationAddress().As4())
	if h.More() || h.FragmentOffset() > 0 {
		return s
	}
	switch Proto(h.Protocol()) {
	case UDP:
		u := header.UDP(body)
		if u.Checksum() != 0 && checksum.Checksum(body, pseudo(a, c, UDP, len(body))) != 0xffff {
			t.Fatalf("wrong UDP checksum: % x", b)
		}
	case TCP:
		if checksum.Checksum(body, pseudo(a, c, TCP, len(body))) != 0xffff {
			t.Fatalf("wrong TCP checksum: % x", b)
		}
	case ICMP:
		if checksum.Checksum(body, 0) != 0xffff {
			t.Fatalf("wrong ICMP checksum: % x", b)
		}
		if k := body[0]; k == icmpUnreachable || k == icmpTimeExceeded {
			q := body[8:]
			if !header.IPv4(q).IsChecksumValid() {
				t.Fatalf("wrong checksum of the quoted header: % x", q)
			}
			inner := lookAt(q)
			s.quoted = &inner
		}
	}
	return s
}

func lookAt(b []byte) seen {
	h := header.IPv4(b)
	s, d := netip.AddrFrom4(h.SourceAddress().As4()), netip.AddrFrom4(h.DestinationAddress().As4())
	body := b[h.HeaderLength():]
	var sp, dp uint16
	switch Proto(h.Protocol()) {
	case UDP, TCP:
		sp, dp = binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:])
	case ICMP:
		switch body[0] {
		case icmpEcho:
			sp = binary.BigEndian.Uint16(body[4:])
		case icmpEchoReply:
			dp = binary.BigEndian.Uint16(body[4:])
		}
	}
	return seen{src: netip.AddrPortFrom(s, sp), dst: netip.AddrPortFrom(d, dp)}
}

// goesOut sends a packet out and gives the sender that the remote sees.
func goesOut(t *testing.T, m *Machine, now time.Time, b []byte) netip.AddrPort {
	t.Helper()
	r := m.Outward(now, b)
	if r.Verdict != Passed {
		t.Fatalf("does not go out: %s", r.Text)
	}
	s := look(t, r.Packet)
	if s.src.Addr() != outside {
		t.Fatalf("leaves as %v", s.src)
	}
	return s.src
}

// comesIn says to whom a packet comes; the zero value: to nobody.
func comesIn(t *testing.T, m *Machine, now time.Time, b []byte) netip.AddrPort {
	t.Helper()
	r := m.Inward(now, b)
	if r.Verdict != Passed {
		return netip.AddrPort{}
	}
	return look(t, r.Packet).dst
}
