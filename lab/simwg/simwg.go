// SPDX-License-Identifier: MIT

// Package simwg are the box's and the hub's ends of a simulated WireGuard tunnel: what router.Tunnel and hub.Tunnel want,
// on lab/simwg/device in place of wireguard-go, in whatever time the lab has.
//
// They behave as tun.Tunnel and tun.Hub do, down to what the tap takes out and which packets call a site; the rules that
// both must have in common they take from tun. They must not know wires, NATs or gVisor: datagrams and packets are functions
// that the lab gives. Start at NewTunnel and NewHub.
package simwg

import (
	"net/netip"
	"time"

	"oasis6/internal/note"
)

// Scheduler is the lab's clock.
type Scheduler interface {
	Now() time.Time
	// AfterFunc runs f on the engine's goroutine when d has passed, unless stop is called before. It may be called from any
	// goroutine, and never runs f itself.
	AfterFunc(d time.Duration, f func()) (stop func())
}

// Options is what an end is made of. The functions are called on the engine's goroutine, one at a time and never from within
// a method that a loop calls, so they may do what they like, and call the end.
type Options struct {
	Scheduler Scheduler
	// OnRest, if there is one, registers f to be called whenever all goroutines are at rest; f says whether it made
	// something happen. What loops want is then carried out in the order of registration, and does not depend on which loop
	// was faster. end takes that back, when the end of the tunnel is closed. nil: it is scheduled as soon as it is wanted.
	OnRest func(f func() bool) (end func())
	// Rand gives 64 uniform bits. It belongs to the end.
	Rand func() uint64
	// SendUDP sends a datagram, which belongs to it, from a port of this node; an error says why nothing leaves.
	SendUDP func(from uint16, to netip.AddrPort, data []byte) error
	// Deliver gives the data plane a packet from the peer that is not for the loop. It belongs to the data plane.
	Deliver func(pkt []byte)
	// Lookup asks for the addresses of the endpoint's name and calls done on the engine's goroutine, once, at once or later.
	// nil: there is no DNS, and only an address will do.
	Lookup func(name string, done func([]netip.Addr, error))
	// Note gets what WireGuard would write into its log; nil: nobody.
	Note func(note.Note)
	// PathMTU is that of the outer path at first, with the IP header; 0: 1500. See Tunnel.SetPathMTU.
	PathMTU int
	// Wall says how far the wall clock is ahead of the scheduler's; see SetWall.
	Wall time.Duration
}

// ethernetMTU is what an outer path has if nothing else is known.
const ethernetMTU = 1500

// firstDynamic is where the ports begin that nobody owns (RFC 6335 section 6).
const firstDynamic = 49152
