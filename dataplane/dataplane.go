// SPDX-License-Identifier: MIT

// Package dataplane says what the forwarding side of the box shall look like (Desired) and what a
// thing that makes it so must offer (Plane). The Linux kernel is one (dataplane/kernel); the
// userspace stack will be another.
//
// It must not know why a route is wanted. Start at Desired and Plane.
package dataplane

import (
	"context"
	"net/netip"
	"time"
)

// Desired is the whole of what we want from the forwarding side. It is level, not edge: the same
// value may be applied again, and what it does not name, and carries our marks, is removed.
type Desired struct {
	Tunnel    Tunnel
	LANs      []string // interfaces on which we are the router
	Addresses []Address
	Routes    []Route
	Forward   bool     // forward IPv6 between interfaces
	Firewall  Firewall // zero value: no table of ours
}

// Tunnel is the interface that the tunnel device made.
type Tunnel struct {
	Name string
	MTU  int
}

// Address is one address of ours on an interface.
type Address struct {
	Iface  string
	Prefix netip.Prefix // host bits are the address
	NoDAD  bool         // point-to-point: nobody is there to object
	// Deprecated asks for preferred lifetime 0: used for what runs, not for what starts.
	Deprecated bool
}

// RouteKind is what happens to a packet that matches.
type RouteKind uint8

const (
	Unicast     RouteKind = iota // to Iface, next hop on link
	Unreachable                  // ICMPv6 destination unreachable, so that it cannot loop
)

func (k RouteKind) String() string {
	if k == Unreachable {
		return "unreachable"
	}
	return "unicast"
}

// Route is one route of ours, in the main table with route protocol 66.
type Route struct {
	Kind   RouteKind
	Dst    netip.Prefix
	From   netip.Prefix // source-specific when valid
	Iface  string       // empty for Unreachable
	Metric uint32
	// IfNoOther asks for the route only as long as nobody else has one, for packets of any source, to Dst
	// or to what covers it (a default covers all), other than by our LANs or the tunnel: it must not compete
	// with a native one. The Plane decides, since only it sees the table.
	IfNoOther bool
}

// Firewall is what the table `ip6 oasis6` does.
type Firewall struct {
	Tunnel      string         // the outside; empty: no table
	LANs        []string       // the inside
	Delegations []netip.Prefix // the only sources that may leave by the tunnel (BCP 38)
	// Stale are prefixes that hosts may still hold but that are ours no longer: nothing from them leaves the LANs, it
	// is answered with ICMPv6 unreachable code 5 (RFC 7084 L-14).
	Stale []netip.Prefix
	Open  bool // let the outside begin flows to the inside
}

// Link is what we need to know of an interface.
type Link struct {
	Name      string
	Index     int
	MAC       [6]byte    // zero where the link has none
	HasMAC    bool       //
	LinkLocal netip.Addr // fe80::/10 and usable (not tentative); zero: none yet
	Up        bool       // exists, administratively up, has carrier
	Exists    bool       //
	MTU       int
	Master    string // the bridge it is a port of, if any
	Bridge    bool
}

// Event is what the Plane saw happen.
type Event interface{ planeEvent() }

// LinkChanged says that an interface that Desired or Watch names is different from before (or is gone: Exists false).
type LinkChanged struct{ Link Link }

// PortUp says that a port of a LAN bridge got carrier, so a host may have just come.
type PortUp struct{ Iface string }

// Drift says that something of ours was changed or removed by somebody else, or a default route came or went;
// Apply is wanted. What is for the log: "route flushed", "table ip6 oasis6 deleted".
type Drift struct{ What string }

func (LinkChanged) planeEvent() {}
func (PortUp) planeEvent()      {}
func (Drift) planeEvent()       {}

// Plane makes the world equal to Desired. Methods may be called from one goroutine only, except Events.
type Plane interface {
	// Watch names the interfaces whose state is wanted as LinkChanged events, also while they do not exist.
	// The present state of each follows as a first event.
	Watch(ifaces []string) error
	// Apply computes the difference and carries it out. It does as much as it can: the error joins all
	// that failed, each naming the object, and a later Apply tries those again.
	Apply(ctx context.Context, want Desired) error
	// Events never closes before Close; the consumer must drain it.
	Events() <-chan Event
	// OpenND opens the Neighbor Discovery socket of a LAN interface that is up and has a link-local address.
	OpenND(iface string) (NDConn, error)
	// Neighbors are the hosts seen on an interface, one address for each MAC, its link-local one if known.
	Neighbors(iface string) ([]netip.Addr, error)
	// Restore removes everything that carries our marks and puts back what was remembered. Used when the
	// box stops for good; leaving for a successor just closes.
	Restore(ctx context.Context) error
	Close() error
}

// ReceivedND is one ICMPv6 Neighbor Discovery message from a LAN (133 or 134), not yet validated.
type ReceivedND struct {
	Iface    string
	Src      netip.Addr // without zone
	HopLimit int
	Data     []byte // from the ICMPv6 type on; belongs to the receiver
	At       time.Time
}

// NDConn sends and receives ND messages on one interface. Receive and Send may be called
// concurrently; after Close, Receive returns an error that wraps net.ErrClosed.
type NDConn interface {
	Receive() (ReceivedND, error)
	// Send sends from the interface's link-local address with hop limit 255; the kernel fills in the checksum.
	Send(to netip.Addr, data []byte) error
	Close() error
}
