// SPDX-License-Identifier: MIT

//go:build !small

package kernel

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"oasis6/internal/ip6pkt"
)

// Options of Neighbor Discovery (RFC 4861 section 4.6.1).
const (
	optSourceLinkLayer = 1
	optTargetLinkLayer = 2
	lenLinkLayer       = 8 // of an Ethernet address, with the option's header
)

// flagSolicited is of a Neighbor Advertisement (RFC 4861 section 4.4). The Override flag is never set for others, and
// the Router flag is not ours to say.
const flagSolicited = 0x40

// The reasons for which a packet is no good Neighbor Solicitation (RFC 4861 section 7.1.1), and is silently discarded.
var (
	errHopLimit  = errors.New("hop limit not 255")
	errChecksum  = errors.New("checksum")
	errMalformed = errors.New("malformed")
	errSource    = errors.New("source address")
)

// solicited is a Neighbor Solicitation.
type solicited struct {
	src, target netip.Addr
	mac         [6]byte // from its Source Link-Layer Address option
	hasMAC      bool
}

// dad says whether somebody checks if an address is free (RFC 4862 section 5.4).
func (s solicited) dad() bool { return s.src.IsUnspecified() }

// parseSolicitation reads an IPv6 packet that holds a Neighbor Solicitation directly behind its header.
func parseSolicitation(pkt []byte) (s solicited, err error) {
	m, err := ip6pkt.ParseICMPv6(pkt)
	switch {
	case errors.Is(err, ip6pkt.ErrChecksum):
		return s, errChecksum
	case err != nil:
		return s, errMalformed
	case m.HopLimit != ndHopLimit:
		return s, errHopLimit
	case m.Body[0] != ndNS || m.Body[1] != 0 || len(m.Body) < sizeofNS:
		return s, errMalformed
	}
	s.src, s.target = m.Src, netip.AddrFrom16([16]byte(m.Body[8:sizeofNS]))
	if s.target.IsMulticast() || s.target.IsUnspecified() || s.target.Is4In6() {
		return s, errMalformed
	}
	for b := m.Body[sizeofNS:]; len(b) > 0; {
		n := 0
		if len(b) >= 2 {
			n = int(b[1]) * 8
		}
		if n == 0 || n > len(b) {
			return s, errMalformed
		}
		if b[0] == optSourceLinkLayer && n == lenLinkLayer && !s.hasMAC {
			s.mac, s.hasMAC = [6]byte(b[2:lenLinkLayer]), true
		} else if b[0] == optSourceLinkLayer {
			return s, errMalformed // not of an Ethernet, or two of them
		}
		b = b[n:]
	}
	switch {
	case s.src.IsMulticast(), s.src.Is4In6(), s.src.IsLoopback():
		return s, errSource
	case s.dad() && (s.hasMAC || m.Dst != ip6pkt.SolicitedNode(s.target)):
		return s, errSource
	case s.hasMAC && !unicastMAC(s.mac):
		return s, errMalformed
	}
	return s, nil
}

func unicastMAC(m [6]byte) bool { return m[0]&1 == 0 && m != [6]byte{} }

// advertisement is the answer for somebody else's address, with our MAC (RFC 4861 section 7.2.4 and 7.2.8): without
// Override, so that a node that is on the link itself is believed more. Whoever checks if the address is free is told
// with all nodes that it is not.
func (s solicited) advertisement(from netip.Addr, mac [6]byte) []byte {
	body := make([]byte, sizeofNS, sizeofNS+lenLinkLayer)
	body[0] = ndNA
	to := s.src
	if s.dad() {
		to = netip.IPv6LinkLocalAllNodes()
	} else {
		body[4] = flagSolicited
	}
	ip := s.target.As16()
	copy(body[8:], ip[:])
	body = append(append(body, optTargetLinkLayer, 1), mac[:]...)
	return ip6pkt.ICMPv6(from, to, ndHopLimit, body)
}

// solicitationFilter lets only packets through that are ICMPv6 of type 135 directly behind an IPv6 header: what is heard of
// a link is not more than its neighbors' questions.
func solicitationFilter() []unix.SockFilter {
	const offNext, offType = 6, sizeofIPv6
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: at}
	}
	return []unix.SockFilter{
		load(offNext),
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_ICMPV6, Jf: 3},
		load(offType),
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: ndNS, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: ^uint32(0)},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
}

// prefixList is sorted, and none is in another: see disjoint.
type prefixList []netip.Prefix

// contains looks among ten thousand as fast as needed.
func (l prefixList) contains(a netip.Addr) bool {
	i, _ := slices.BinarySearchFunc(l, a, func(p netip.Prefix, a netip.Addr) int {
		if p.Addr().Compare(a) <= 0 {
			return -1
		}
		return 1
	})
	return i > 0 && l[i-1].Contains(a)
}

// networkOrder is a protocol number as struct sockaddr_ll has it.
func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}
