// SPDX-License-Identifier: MIT

// Package hostmodel is an IPv6 host on a LAN in virtual time, to test a router against: what it
// believes after the Router Advertisements that it got, and which source address a new connection
// then has (RFC 4861 section 6.3, RFC 4862, RFC 4191, RFC 6724, RFC 7559, RFC 8106, RFC 8781,
// RFC 8981; where implementations differ, as Linux 6.18 was measured to do).
//
// It is written from these texts and shares no code with package ra, so that one error is not made
// on both sides. It knows no sockets and no clock; it has one interface, no DHCPv6, no address
// resolution, and temporary addresses are not replaced when they grow old. Tests judge routers by it,
// and the lab's hosts decide by it what gVisor then does. Start at Host.Step and Host.Source.
package hostmodel

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"time"

	"oasis6/internal/lifetime"
)

// Config is what kind of host it is. The zero value but for MAC is a host as the RFCs have it.
type Config struct {
	MAC [6]byte
	// AndroidLike ignores lifetimes of router, prefix, route and DNS below 180 s other than 0
	// (Linux: accept_ra_min_lft).
	AndroidLike bool
	// Optimistic uses a new address during duplicate address detection (RFC 4429), where the RA has a source
	// link-layer address; without one Linux 6.18 waits all the same.
	Optimistic bool
	// HonorPIOLifetime takes every valid lifetime as it comes, without the two-hour rule (Linux: ra_honor_pio_life).
	HonorPIOLifetime bool
	TempAddrs        bool // RFC 8981
	Rule55           bool // RFC 6724 rule 5.5; Linux lacks it
	TypeC            bool // takes Route Information options (RFC 4191 section 3.1)
	// AnyRAEndsSoliciting: as Linux, also by one with router lifetime 0. RFC 7559 wants a router lifetime.
	AnyRAEndsSoliciting bool
	// KeepOnLinkDown is a host that nobody manages: Linux alone keeps everything when the carrier goes, and does not
	// solicit when it returns. Others forget all (ip link set down, NetworkManager, phones).
	KeepOnLinkDown bool
	// StandsStill: lifetimes do not run while the host sleeps (Linux counts them in jiffies).
	StandsStill bool
	// RealDAD: whoever runs the host looks for duplicates, from Address.Probe on, and says with DAD what was found. Else
	// time passes as if there were one probe and no answer.
	RealDAD bool
}

// Event is what happens to a host.
type Event interface{ hostEvent() }

type (
	LinkUp   struct{}
	LinkDown struct{}
	// Received is an ICMPv6 message from the type on. To is the destination of the packet.
	Received struct {
		Src      netip.Addr
		HopLimit int
		Data     []byte
	}
	// Resumed ends a sleep of that length.
	Resumed struct{ Slept time.Duration }
	// DAD is the result of duplicate address detection for an address of the host.
	DAD struct {
		Addr      netip.Addr
		Duplicate bool
	}
	// Tick says that the deadline of Actions.Wake has come.
	Tick struct{}
)

func (LinkUp) hostEvent()   {}
func (LinkDown) hostEvent() {}
func (Received) hostEvent() {}
func (Resumed) hostEvent()  {}
func (DAD) hostEvent()      {}
func (Tick) hostEvent()     {}

// Solicitation is a Router Solicitation to ff02::2 with hop limit 255, checksum zero.
type Solicitation struct {
	Src  netip.Addr
	Data []byte
}

// Actions is what the host does.
type Actions struct {
	Send []Solicitation
	Wake time.Time // zero: never by itself
}

// RFC 4861 section 10 and RFC 4862 section 5.1.
const (
	maxRtrSolicitationDelay = time.Second
	retransTimer            = time.Second
	rtrSolicitationInterval = 4 * time.Second
	maxRtrSolicitations     = 3
)

// maxAddresses is Linux's default for each interface; what would be one more is not made.
const maxAddresses = 16

// minLifetime of AndroidLike, in seconds.
const minLifetime = 180

// Host is the whole state of one host. It is not safe for concurrent use.
type Host struct {
	cfg  Config
	rand func() float64

	up        bool
	linkLocal *Address // nil: the link was never up, or all was forgotten
	addrs     []*Address
	routers   []defaultRouter
	onLink    []onLink
	routes    []route
	servers   []named[netip.Addr]
	domains   []named[string]
	nat64     []named[netip.Prefix]
	mtu       uint32
	mtuFrom   netip.Addr
	hopLimit  uint8
	solicit   solicit
}

// New makes a host whose link is down. rand gives values in [0,1).
func New(cfg Config, rand func() float64) *Host { return &Host{cfg: cfg, rand: rand} }

// Step does what ev and the time ask for.
func (h *Host) Step(now time.Time, ev Event) Actions {
	var a Actions
	switch ev := ev.(type) {
	case LinkUp:
		h.linkUp(now)
	case LinkDown:
		h.linkDown()
	case Received:
		if h.up {
			h.receive(now, ev)
		}
	case Resumed:
		if h.cfg.StandsStill {
			h.shift(ev.Slept)
		}
	case DAD:
		h.detected(now, ev)
	case Tick:
	}
	h.expire(now)
	if h.up {
		h.solicitDue(now, &a)
	}
	a.Wake = h.solicit.at
	return a
}

func (h *Host) linkUp(now time.Time) {
	if h.up {
		return
	}
	h.up = true
	if h.linkLocal != nil { // KeepOnLinkDown
		return
	}
	h.linkLocal = &Address{Addr: h.identify(netip.MustParsePrefix("fe80::/64"), ""),
		Prefix: netip.MustParsePrefix("fe80::/64"), Preferred: lifetime.Forever, Valid: lifetime.Forever}
	h.probe(now, h.linkLocal)
	// "if a host has already performed a random delay since the interface became (re)enabled (e.g., as part of
	// Duplicate Address Detection [ADDRCONF]), there is no need to delay again" (RFC 4861 section 6.3.7).
	h.solicit = solicit{at: h.linkLocal.Usable} // zero with RealDAD: not yet
}

func (h *Host) linkDown() {
	if h.cfg.KeepOnLinkDown {
		h.up = false
		return
	}
	*h = Host{cfg: h.cfg, rand: h.rand}
}

// identify makes the address of this host in p: opaque and stable (RFC 7217), another one for each purpose.
func (h *Host) identify(p netip.Prefix, purpose string) netip.Addr {
	f := fnv.New64a()
	_, _ = f.Write(h.cfg.MAC[:]) // a hash takes everything
	a := p.Masked().Addr().As16()
	_, _ = f.Write(a[:8])
	_, _ = f.Write([]byte(purpose))
	binary.BigEndian.PutUint64(a[8:], f.Sum64())
	return netip.AddrFrom16(a)
}

// short says whether the host ignores a lifetime because it is so short.
func (h *Host) short(seconds uint32) bool {
	return h.cfg.AndroidLike && seconds != 0 && seconds < minLifetime
}

// shift moves every deadline: for so long the host's time stood still.
func (h *Host) shift(d time.Duration) {
	move := func(u *lifetime.Until) {
		if t, ok := u.Time(); ok && !t.IsZero() {
			*u = lifetime.At(t.Add(d))
		}
	}
	for _, a := range h.all() {
		move(&a.Preferred)
		move(&a.Valid)
		if !a.Usable.IsZero() {
			a.Usable = a.Usable.Add(d)
		}
		a.Probe = a.Probe.Add(d)
	}
	for i := range h.routers {
		move(&h.routers[i].until)
	}
	for i := range h.onLink {
		move(&h.onLink[i].until)
	}
	for i := range h.routes {
		move(&h.routes[i].until)
	}
	for i := range h.servers {
		move(&h.servers[i].until)
	}
	for i := range h.domains {
		move(&h.domains[i].until)
	}
	for i := range h.nat64 {
		move(&h.nat64[i].until)
	}
	if !h.solicit.at.IsZero() {
		h.solicit.at = h.solicit.at.Add(d)
	}
}

// expire forgets what has come to its end.
func (h *Host) expire(now time.Time) {
	h.addrs = live(h.addrs, func(a *Address) bool { return !a.Valid.Over(now) })
	h.routers = live(h.routers, func(r defaultRouter) bool { return !r.until.Over(now) })
	h.onLink = live(h.onLink, func(p onLink) bool { return !p.until.Over(now) })
	h.routes = live(h.routes, func(r route) bool { return !r.until.Over(now) })
	h.servers = live(h.servers, func(n named[netip.Addr]) bool { return !n.until.Over(now) })
	h.domains = live(h.domains, func(n named[string]) bool { return !n.until.Over(now) })
	h.nat64 = live(h.nat64, func(n named[netip.Prefix]) bool { return !n.until.Over(now) })
}

// live keeps the elements for which ok holds, in place.
func live[T any](list []T, ok func(T) bool) []T {
	kept := list[:0]
	for _, x := range list {
		if ok(x) {
			kept = append(kept, x)
		}
	}
	clear(list[len(kept):])
	return kept
}

// Up says whether the link is up.
func (h *Host) Up() bool { return h.up }

// MTU is what the last RA with an MTU option said; 0: none did.
func (h *Host) MTU() uint32 { return h.mtu }
