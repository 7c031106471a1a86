// SPDX-License-Identifier: MIT

// Package ra builds and parses Router Advertisements and Solicitations and decides when to send
// them (RFC 4861 section 6.2, RFC 8106, RFC 9096).
//
// It knows prefixes with lifetimes, the options and the schedule. It must not know sockets,
// interfaces, the clock, or where a prefix came from. Start at Sender.Step.
package ra

import (
	"net/netip"
	"time"

	"oasis6/internal/lifetime"
	"oasis6/internal/note"
)

// AllNodes is where multicast RAs go (RFC 4861 section 2.3).
var AllNodes = netip.AddrFrom16([16]byte{0xff, 0x02, 15: 1})

// Preference is the default router preference (RFC 4191 section 2.1), two bits on the wire.
type Preference uint8

const (
	Medium Preference = 0b00
	High   Preference = 0b01
	Low    Preference = 0b11
)

// Config is the schedule of one LAN. Zero fields take the defaults.
type Config struct {
	MinInterval time.Duration // MinRtrAdvInterval, default 450 s
	MaxInterval time.Duration // MaxRtrAdvInterval, default 600 s
}

// Content is what is true on this LAN now; the Sender decides how and when hosts are told.
// Everything that was ever advertised and is no longer in Content is withdrawn by name
// (RFC 9096 section 3.5), in every RA until no host can hold it any more.
type Content struct {
	// DefaultRouter is the truth of "we lead to the IPv6 Internet" (RFC 7084 L-4, G-4, G-5).
	DefaultRouter bool
	Preference    Preference
	Managed       bool // M flag
	OtherConfig   bool // O flag
	LinkMTU       uint32
	Prefixes      []Prefix
	RDNSS         []netip.Addr
	DNSSL         []string
}

// Prefix is one Prefix Information option. Lifetimes are those of the delegation; the Sender caps
// them (RFC 9096 L-16: 45 and 90 minutes).
type Prefix struct {
	Prefix     netip.Prefix
	OnLink     bool
	Autonomous bool
	Preferred  lifetime.Until
	Valid      lifetime.Until
}

// Event is what happens to a Sender.
type Event interface{ raEvent() }

type (
	// SetContent replaces the content. The same content again does nothing.
	SetContent struct{ Content Content }
	// LinkUp: the interface can send; it also says that MAC or link-local changed.
	LinkUp struct {
		MAC       [6]byte
		HasMAC    bool
		LinkLocal netip.Addr
	}
	// LinkDown: nothing can be sent; lifetimes run on, nothing becomes stale by it.
	LinkDown struct{}
	// PortUp: a host may have just been plugged in; tell it without waiting for its solicitation.
	PortUp struct{}
	// Received is an ICMPv6 message of type 133 or 134 from the LAN, unchecked. Data is not kept.
	Received struct {
		Src      netip.Addr
		HopLimit int
		Data     []byte
	}
	// Tick: the deadline of Actions.Wake has come; too early does nothing.
	Tick struct{}
	// Stop ends the sender. Final: the box goes for good, a last RA with router lifetime 0 is sent at
	// once; otherwise a successor takes over and nothing is sent.
	Stop struct{ Final bool }
)

func (SetContent) raEvent() {}
func (LinkUp) raEvent()     {}
func (LinkDown) raEvent()   {}
func (PortUp) raEvent()     {}
func (Received) raEvent()   {}
func (Tick) raEvent()       {}
func (Stop) raEvent()       {}

// Datagram is one ICMPv6 message to be sent from the link-local address with hop limit 255.
// The checksum field is zero; whoever sends fills it in.
type Datagram struct {
	To   netip.Addr
	Data []byte
}

// Actions is what the runner must carry out.
type Actions struct {
	Send  []Datagram
	Wake  time.Time // next deadline; zero means none
	Notes []note.Note
}

// Stats are the counters of one Sender.
type Stats struct {
	Sent       uint64 // RAs, multicast and unicast
	RSReceived uint64 // valid ones
	Dropped    map[string]uint64
}
