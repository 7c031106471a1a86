// SPDX-License-Identifier: MIT

// Package server is a DHCPv6 server as a pure machine (RFC 9915 section 18.3): addresses, delegated prefixes
// (RFC 9818 on a LAN) and configuration, for one or more links.
//
// It must not know sockets, files, the clock, netlink or Router Advertisements, nor where a prefix came from. Start at
// Server.Step.
package server

import (
	"net/netip"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/lifetime"
	"oasis6/internal/note"
)

// AllServers is where clients send to: All_DHCP_Relay_Agents_and_Servers (RFC 9915 section 7.1).
var AllServers = netip.MustParseAddr("ff02::1:2")

// Config is what does not change while a server runs.
type Config struct {
	DUID dhcpv6.DUID
	// Secret is what reconfigure keys and interface identifiers are made of, so that none of them need be kept. The
	// zero value: clients get no key, and Reconfigure is never sent.
	Secret [32]byte
	// Limits against clients that want too much; zero fields take the defaults.
	MaxBindings  int // of all clients together
	MaxPerClient int // IAs of one client
}

// Content is what is true now. Leases out of what is no longer in it are taken back: clients are told with lifetimes
// of 0 (RFC 9096 section 3.5), those that accept it by a Reconfigure at once.
type Content struct {
	Links []Link
	// Pools are what prefixes are delegated from, to clients on links with Delegate. A client gets one prefix of each.
	Pools []Pool
}

// Link is one LAN. A message from a link that is not in Content gets no answer.
type Link struct {
	Name     string
	Stateful bool // addresses are given (IA_NA)
	Delegate bool // prefixes are delegated (IA_PD)
	OnLink   []OnLink
	Info     Info
}

// OnLink is a prefix on a link: addresses are given out of those that are preferred, and Confirm is answered by all.
type OnLink struct {
	Prefix           netip.Prefix
	Preferred, Valid lifetime.Until
	Limit            time.Duration // as in Pool
}

// Pool is a delegation with what clients must not have of it.
type Pool struct {
	Prefix           netip.Prefix
	Taken            []netip.Prefix // subnets of our own LANs, what the hub excludes
	Preferred, Valid lifetime.Until
	// Limit is the most that clients are told at any moment for both lifetimes, while those of the delegation are not
	// sure; T1 follows. 0: as far as they go.
	Limit time.Duration
	// Shortest is the shortest length of a prefix that one client may have, so that the first one does not get all; 0:
	// four bits longer than the pool, but at most 64.
	Shortest int
}

// Info is the configuration of a link.
type Info struct {
	DNS           []netip.Addr
	Search        []string
	NTP           []dhcpv6.NTPServer
	EncryptedDNS  []dhcpv6.EncryptedDNS
	CaptivePortal string // URI (RFC 8910); empty: none
}

// Event is what happens to a Server.
type Event interface{ serverEvent() }

type (
	// SetContent replaces the content; the same content again does nothing. Its slices are kept and must not change. It
	// should not come before the truth is known: what is not in it is taken back from the clients.
	SetContent struct{ Content Content }
	// Received is the payload of a datagram to port 547. A link that is not in Content is counted under no name.
	Received struct {
		Link string
		Src  netip.Addr // without zone
		Data []byte     // not kept
	}
	// Restored brings what an earlier process kept; it comes before anything else.
	Restored struct{ State State }
	// Saved says how Actions.Persist went: what could not be saved is in the next Persist again. A runner that answers all
	// the same, and writes the last Persist when it can, need not say that it could not.
	Saved struct{ OK bool }
	// Stop ends the server for now: what has been put off is in the last Persist.
	Stop struct{}
	// Tick says that the deadline of Actions.Wake has come; too early it does nothing.
	Tick struct{}
)

func (SetContent) serverEvent() {}
func (Received) serverEvent()   {}
func (Restored) serverEvent()   {}
func (Saved) serverEvent()      {}
func (Stop) serverEvent()       {}
func (Tick) serverEvent()       {}

// Datagram is a message from port 547 to port 546 of a client on a link.
type Datagram struct {
	Link string
	To   netip.Addr
	Data []byte
}

// Actions is what the runner must carry out, in this order.
type Actions struct {
	Persist *State // write this to disk, then step Saved
	Changed bool   // Bindings are others: routes have to follow
	Send    []Datagram
	Wake    time.Time // next deadline; zero means none
	Notes   []note.Note
}

// State is what must survive a crash. It says of no lease that it ends before the client thinks so: the valid lifetime
// of one that can still be extended is longer in here than any Reply until the next Persist will tell, by SaveInterval
// and MaxValid. So a renewal needs no write, and after a crash nobody else gets what a client still has.
//
// Leases that are over stand in here too: the client gets them again if it comes back and nobody else needed them.
type State struct {
	Bindings []Binding
	Replay   uint64 // replay detection value: no message has had a greater one
}

// Binding is what a client has for one IA (RFC 9915 section 4.2).
type Binding struct {
	Link   string
	Client dhcpv6.DUID
	Type   dhcpv6.IAType
	IAID   dhcpv6.IAID
	Peer   netip.Addr // link-local address of the client: the next hop of its prefixes
	Leases []Lease
	// Reconfigure: the client has said that it accepts Reconfigure, and has our key.
	Reconfigure bool
}

// Lease is one prefix, or one address as a /128.
type Lease struct {
	Prefix           netip.Prefix
	Preferred, Valid lifetime.Until // as last told to the client; Valid of a stale one: until when it may still have it
	Stale            bool           // taken back: the client is to give it up
}

// Stats are the counters of a Server.
type Stats struct {
	Received uint64            // messages that were valid
	Sent     uint64            // messages
	Dropped  map[string]uint64 // by reason, one of those in dropReasons; only those that happened
}
