// SPDX-License-Identifier: MIT

// Package neigh is the neighbor cache of one Ethernet link for packets that are forwarded there: address resolution and
// neighbor unreachability detection (RFC 4861 section 7).
//
// It has a cache of its own because that of gVisor holds 512 entries, which any host can push out by asking with forged
// addresses: here who only speaks cannot displace who has answered, and who is asked for in vain neither (RFC 6583
// section 7.1). It knows packets only as something that waits. It must not know gVisor, sockets and the clock.
// Start at Table.
package neigh

import (
	"net/netip"
	"time"
)

// MAC is an Ethernet address.
type MAC [6]byte

// RFC 4861 section 10.
const (
	MaxMulticastSolicit  = 3
	MaxUnicastSolicit    = 3
	RetransTimer         = time.Second
	ReachableTime        = 30 * time.Second // times 0.5 to 1.5
	DelayFirstProbeTime  = 5 * time.Second
	minReachable, spread = 0.5, 1.0
)

// Bounds. A LAN host costs some three entries, so 4096 is a thousand hosts and more.
const (
	MaxKnown   = 4096 // who has answered
	maxHeard   = 1024 // who was only heard
	maxAsked   = 256  // who is asked for and has not answered yet
	maxWaiting = 16   // packets for each of these: the burst with which a flow begins
	maxOctets  = 1 << 20
)

// state is that of RFC 4861 section 7.3.2.
//
//	          packet            answer             ReachableTime
//	(nobody) ───────► incomplete ─────► reachable ◄─────────────► stale
//	   ▲                │ 3 s                ▲   answer            │ packet
//	   │◄───────────────┘                    └─────── probe ◄── delay
//	   │◄───────────────── 3 s ──────────────────────────┘  5 s
//
// Who is heard by a message that was not an answer enters at stale.
type state uint8

const (
	incomplete state = iota
	reachable
	stale
	delay
	probe
)

// Out is a packet that waited, and where it goes now.
type Out[P any] struct {
	To     MAC
	Packet P
}

// Ask is a Neighbor Solicitation to be sent, a whole IPv6 packet.
type Ask struct {
	To     MAC
	Packet []byte
}

// News says that a neighbor is there with this address, or (Gone) is not any more.
type News struct {
	Addr netip.Addr
	MAC  MAC
	Gone bool
	// Answered: it has said so itself when it was asked. What was only heard, anybody on the link can have said.
	Answered bool
}

// Actions are to be done in their order.
type Actions[P any] struct {
	Send        []Out[P]
	Ask         []Ask
	Unreachable []P // nobody answered: their senders are told (RFC 4443 section 3.1 code 3)
	News        []News
	// Lost are packets that nobody gets and nobody is told of: too many for one neighbor, or for one that has gone.
	Lost uint64
	// Crowded are those for which the whole table had no room.
	Crowded uint64
}

// Known is a neighbor as others see it.
type Known struct {
	Addr netip.Addr
	MAC  MAC
	Seen time.Time // when it was last heard
	// Answered is that of News.
	Answered bool
}

// Solicitor is who asks: the node's address on the link. While From is not valid nobody can be asked.
type Solicitor struct {
	From netip.Addr
	MAC  MAC
}

// multicastMAC is the Ethernet address of a group (RFC 2464 section 7).
func multicastMAC(group netip.Addr) MAC {
	ip := group.As16()
	return MAC{0x33, 0x33, ip[12], ip[13], ip[14], ip[15]}
}

// GroupMAC is the Ethernet address of a multicast group.
func GroupMAC(group netip.Addr) MAC { return multicastMAC(group) }
