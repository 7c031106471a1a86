// SPDX-License-Identifier: MIT

// Package client is the DHCPv6 client as a pure machine: prefix delegation, DNS and search list
// (RFC 9915, RFC 3646, RFC 7084 section 4.2).
//
// It knows messages, timers and leases. It must not know sockets, the clock, files or where the
// prefix goes. Start at Client.Step.
package client

import (
	"net/netip"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/lifetime"
	"oasis6/internal/note"
)

// AllServers is All_DHCP_Relay_Agents_and_Servers (RFC 9915 section 7.1).
var AllServers = netip.AddrFrom16([16]byte{0xff, 0x02, 13: 1, 15: 2})

// Config is what the client is to ask for.
type Config struct {
	DUID dhcpv6.DUID
	IAID dhcpv6.IAID // of the one IA_PD
	// Hint is the wished prefix; ::/56 wishes a length only (RFC 8168); the zero value wishes nothing.
	Hint netip.Prefix
	// PointToPoint leaves out the random delay before the first Solicit: it exists to spread the
	// clients of one link, and here is only one.
	PointToPoint bool
}

// State is where the client stands.
type State uint8

const (
	Stopped    State = iota // no link, or Stop
	Soliciting              // Solicit sent, collecting Advertises
	Requesting              // Request sent
	Bound
	Renewing
	Rebinding
)

// Event is what happens to the client.
type Event interface{ clientEvent() }

type (
	// LinkUp: packets can reach a server now.
	LinkUp struct{}
	// LinkDown: they cannot; leases go on and expire by their lifetimes.
	LinkDown struct{}
	// Received is one DHCPv6 message (UDP payload) that came to our port. Data is not kept.
	Received struct {
		From netip.Addr
		Data []byte
	}
	// Tick: the deadline of Actions.Wake has come (or any other time: a Tick too early does nothing).
	Tick struct{}
	// Restored gives the lease that an earlier process kept on disk, with remaining lifetimes as of now.
	// It must come before the first LinkUp.
	Restored struct{ Lease Lease }
	// Reconfigured replaces the configuration; a change of Hint takes effect at the next Solicit.
	Reconfigured struct{ Config Config }
	// Stop ends all sending. The lease is left as it is; nothing is released (RFC 9096 WPD-9).
	Stop struct{}
)

func (LinkUp) clientEvent()       {}
func (LinkDown) clientEvent()     {}
func (Received) clientEvent()     {}
func (Tick) clientEvent()         {}
func (Restored) clientEvent()     {}
func (Reconfigured) clientEvent() {}
func (Stop) clientEvent()         {}

// Actions is what the runner must carry out, in the order of the fields.
type Actions struct {
	// Persist, when set, must reach the disk before anything else is done.
	Persist *Lease
	// Changed says that Lease() differs from before this step in a way that the LAN must see.
	Changed bool
	// Send are DHCPv6 messages (UDP payloads) for AllServers.
	Send [][]byte
	// Wake is the one next deadline; zero means none.
	Wake time.Time
	// Notes are log records.
	Notes []note.Note
}

// Lease is what the client holds. The zero value holds nothing. A Lease that was given out is never changed.
type Lease struct {
	Server     dhcpv6.DUID
	ServerAddr netip.Addr // where the last Reply came from
	Prefixes   []Prefix
	DNS        []netip.Addr
	Search     []string
	T1, T2     lifetime.Until
}

// Prefix is one delegated prefix.
type Prefix struct {
	Prefix    netip.Prefix
	Preferred lifetime.Until
	Valid     lifetime.Until
}

// Status is the machine as `oasis6 status` shows it.
type Status struct {
	State     State
	Lease     Lease
	NextAt    time.Time // of the next action; zero: none
	Next      string    // what it is, in words: "send Renew"
	LastError string    // in words, empty when all is well
	Sent      uint64    // messages sent
	Received  uint64    // messages accepted
	Dropped   uint64    // messages refused
}
