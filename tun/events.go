// SPDX-License-Identifier: MIT

package tun

import (
	"net/netip"
	"time"

	"oasis6/internal/wgkey"
)

// Event is what a Tunnel or a Hub reports: Received, Handshake, Activity, MTUChanged, EndpointChanged or Failed.
type Event interface{ tunEvent() }

type (
	// Received is a whole IPv6 packet that the tap took out: DHCPv6 or ND for us, checksum not yet
	// verified. It is a copy and belongs to the receiver. Site is zero from a Tunnel; from a Hub
	// it is the key to which the source address belongs, as WireGuard has proven: the site's link-local address.
	Received struct {
		Packet []byte
		Site   wgkey.Public
	}
	// Handshake says that a handshake was completed, At an instant of the boot clock.
	Handshake struct{ At time.Time }
	// Activity says that data is leaving, once after each WatchData.
	Activity struct{}
	// MTUChanged says what the MTU of the interface should be; the consumer sets it.
	MTUChanged struct{ MTU int }
	// EndpointChanged says where the peer is now: after the first lookup, a later one, or roaming.
	EndpointChanged struct{ AddrPort netip.AddrPort }
	// Failed says that the device died by itself, for instance because somebody removed the
	// interface. It is the last event; the Tunnel has still to be closed.
	Failed struct{ Err error }
)

func (Received) tunEvent()        {}
func (Handshake) tunEvent()       {}
func (Activity) tunEvent()        {}
func (MTUChanged) tunEvent()      {}
func (EndpointChanged) tunEvent() {}
func (Failed) tunEvent()          {}

// Snapshot is the state of a Tunnel at one moment, for status pages.
type Snapshot struct {
	Interface     string
	PublicKey     wgkey.Public
	LinkLocal     netip.Addr
	MTU           int // wanted for the interface
	ListenPort    uint16
	Peer          wgkey.Public
	PeerMissing   bool // somebody removed the peer from the device; Reconfigure makes it again
	PeerLinkLocal netip.Addr
	EndpointName  string         // as configured
	Endpoint      netip.AddrPort // invalid: not resolved yet
	ResolveError  string         // of the last lookup
	SendError     string         // why datagrams do not leave, while they do not
	HandshakeAt   time.Time      // boot clock; zero: never
	HandshakeAge  time.Duration  // -1: never
	RxBytes       uint64
	TxBytes       uint64
	Taken         uint64 // packets taken out for us
	Dropped       uint64 // of these, lost because Events was not drained
	Injected      uint64
	Silenced      uint64 // control packets of our own kernel, kept from the peer
}
