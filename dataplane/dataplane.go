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
	"slices"
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
	Firewall  Firewall // of a box; zero value: no table of ours
	// Hub is what the same table does on a hub. Only one of the two may be set: with both, the Plane makes the hub's.
	Hub   HubFirewall
	Proxy []NDProxy // one for each interface
}

// Clone shares no slice with d, so that who keeps it is not concerned by what the caller does later.
func Clone(d Desired) Desired {
	d.LANs = slices.Clone(d.LANs)
	d.Addresses = slices.Clone(d.Addresses)
	d.Routes = slices.Clone(d.Routes)
	d.Firewall.LANs = slices.Clone(d.Firewall.LANs)
	d.Firewall.Delegations = slices.Clone(d.Firewall.Delegations)
	d.Firewall.Stale = slices.Clone(d.Firewall.Stale)
	d.Firewall.Local = slices.Clone(d.Firewall.Local)
	d.Firewall.Sources = slices.Clone(d.Firewall.Sources)
	for i := range d.Firewall.Sources {
		s := &d.Firewall.Sources[i]
		s.OnLink, s.Routed = slices.Clone(s.OnLink), slices.Clone(s.Routed)
	}
	d.Hub.Pools, d.Hub.Taken = slices.Clone(d.Hub.Pools), slices.Clone(d.Hub.Taken)
	d.Proxy = slices.Clone(d.Proxy)
	for i := range d.Proxy {
		d.Proxy[i].Prefixes = slices.Clone(d.Proxy[i].Prefixes)
	}
	return d
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
	Unicast     RouteKind = iota // to Iface, on the link or by Via
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
	Via    netip.Addr   // next hop, a link-local address on Iface; zero: Dst is on the link
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
	// Local are prefixes of the site alone (ULA): nothing from or to them crosses its border (RFC 7084 ULA-4).
	Local []netip.Prefix
	// Sources says for each LAN what may come from it: of Delegations and Local all that it does not list there is
	// somebody else's (RFC 7084 S-2, RFC 8987). A LAN without an entry is not looked at.
	Sources []LANSources
	// NoULA: no unique local address is at the other end of the tunnel, so nothing from or to one passes it (RFC 7084 ULA-4).
	NoULA bool
	// Dead: the tunnel leads nowhere now; what would take it is refused at once.
	Dead bool
	Open bool // let the outside begin flows to the inside
}

// HubFirewall is what the table `ip6 oasis6` does on a hub. That a packet out of the tunnel is from the site whose lease
// its source is, WireGuard's allowed-ips have proven; the table is the second lock, and the only one for packets that
// come another way.
type HubFirewall struct {
	Tunnel string // where the sites are; empty: no table
	// Pools are all that sites may have: the pools, reservations outside of them, and what of former pools is still
	// leased. Nothing else leaves the tunnel, and nothing from there comes in by another way.
	Pools []netip.Prefix
	// Taken are parts of Pools that no site has, such as the hub's own addresses and those of the provider's router in an
	// on-link prefix: as sources they may come by another way than the tunnel, and only so.
	Taken      []netip.Prefix
	SiteToSite bool // sites may reach each other; else a site that tries is told so
	Open       bool // let the outside begin flows to sites
}

// NDProxy asks for answers to neighbor solicitations on an Ethernet interface for all addresses in Prefixes, with the
// interface's own MAC (RFC 4861 section 7.2.8, RFC 4389 section 4.1.3), so that packets for them come to us although the
// prefix is on-link there. The addresses of this machine itself are left to the kernel.
type NDProxy struct {
	Iface string
	// Prefixes may be many and may change often: a change costs no packet.
	Prefixes []netip.Prefix
}

// ProxyStats is what became of the neighbor solicitations that came in by an interface since an NDProxy names it.
type ProxyStats struct {
	Iface    string
	Up       bool // solicitations are heard now
	Answered uint64
	// Dropped are those that were not answered, by reason in words. On a link with other nodes those that are for them are
	// among them.
	Dropped map[string]uint64
}

// ProxyReporter is a Plane that can say how its NDProxys fare, in the order of the interfaces' names. It may be called
// from any goroutine.
type ProxyReporter interface {
	ProxyStats() []ProxyStats
}

// LANSources are the prefixes behind one LAN interface.
type LANSources struct {
	Iface string
	// OnLink are the prefixes of the LAN itself. A packet from the tunnel to an address there that nobody has been
	// seen with costs a neighbor solicitation: those are limited (RFC 6583).
	OnLink []netip.Prefix
	// Routed are prefixes of routers behind the LAN. Where Desired.Routes leads to one by a next hop whose MAC is known,
	// packets from there must come from that MAC, and those that it sends there do not go back to it (RFC 8987).
	Routed []netip.Prefix
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
	// Taken is a link-local address of the interface that another node on the link has (duplicate address detection
	// failed), and TakenBy that node's MAC as text, empty while nobody has said so.
	Taken   netip.Addr
	TakenBy string
}

// Neighbor is a host that the forwarding side has seen on a LAN.
type Neighbor struct {
	Addr netip.Addr
	MAC  [6]byte
	Seen time.Duration // since it was last known to be there
}

// NeighborStats is what the forwarding side knows of neighbors in all.
type NeighborStats struct {
	Known   int    // addresses of LAN hosts that packets from the tunnel reach without limit
	Dropped uint64 // packets from the tunnel to other addresses that were over the limit (RFC 6583)
	Entries int    // of the kernel's neighbor table, IPv6, all interfaces
	Most    int    // entries that the kernel allows, gc_thresh3; 0: unknown
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
	OpenND(iface string) (Conn, error)
	// OpenDHCPv6 opens the socket of a DHCPv6 server on such an interface: port 547, ff02::1:2. An error says if
	// another program has the port.
	OpenDHCPv6(iface string) (Conn, error)
	// Neighbors are the addresses seen on an interface, those last seen first, at most MaxNeighbors.
	Neighbors(iface string) ([]Neighbor, error)
	NeighborStats() (NeighborStats, error)
	// Restore removes everything that carries our marks and puts back what was remembered. Used when the
	// box stops for good; leaving for a successor just closes.
	Restore(ctx context.Context) error
	Close() error
}

// MaxNeighbors bounds what Neighbors answers: a hostile LAN can fill the kernel's table.
const MaxNeighbors = 1024

// Received is one message from a LAN, not yet validated: an ICMPv6 Neighbor Discovery message (133 or 134) from the
// type on, or the payload of a UDP datagram to port 547.
type Received struct {
	Iface    string
	Src      netip.Addr // without zone
	HopLimit int        // of an ND message
	Data     []byte     // good until the next Receive on the same Conn
	At       time.Time
}

// Conn sends and receives messages on one interface. Receive belongs to one goroutine, Send to any;
// after Close, Receive returns an error that wraps net.ErrClosed.
type Conn interface {
	Receive() (Received, error)
	// Send sends from the interface's link-local address: an ND message with hop limit 255 and a checksum that the
	// kernel fills in, a DHCPv6 message from port 547 to port 546.
	Send(to netip.Addr, data []byte) error
	Close() error
}
