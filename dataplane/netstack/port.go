// SPDX-License-Identifier: MIT

package netstack

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"

	"oasis6/dataplane"
	"oasis6/dataplane/netstack/forward"
	"oasis6/dataplane/netstack/neigh"
	"oasis6/dataplane/netstack/offload"
	"oasis6/internal/bucket"
	"oasis6/internal/ip6pkt"
)

// Of an Ethernet frame.
const (
	etherHeader = 14
	etherType   = 0x86dd // RFC 2464 section 3
)

// Offsets in an IPv6 packet (RFC 8200 section 3).
const (
	offPayload = 4
	offNext    = 6
	offHops    = 7
	offSrc     = 8
	offDst     = 24
)

// port is one Ethernet interface. Its fields up to mu are set once.
type port struct {
	p    *Plane
	name string
	nic  tcpip.NICID
	link Link
	fast fastLink // nil: the link takes frames only
	mac  neigh.MAC
	ep   *nic

	// mu guards the neighbors. gVisor is not called while it is held.
	mu    sync.Mutex
	neigh *neigh.Table[waiting]
	timer tcpip.Timer
	armed time.Time // when timer comes; zero: it does not
	asks  bucket.Bucket

	sockets sockets
	proxy   atomic.Pointer[proxy]
	targets atomic.Pointer[map[netip.Addr]bool] // addresses that the node may be asked for here, tentative ones included
	usable  atomic.Pointer[netip.Addr]          // the link-local address, nil while it is not assigned
	owns    func(netip.Addr) bool               // the port has the address
	delayed atomic.Int32                        // advertisements of anycast addresses that wait

	// Only with Plane.mu:
	up     bool
	mtu    int
	addrs  addresses
	joined []netip.Addr // groups of anycast addresses
	ll     netip.Addr   // the link-local address that we have chosen
}

// waiting is a packet that waits for a neighbor.
type waiting struct {
	pkt []byte
	off offload.Info
}

// fastLink is a Link that leaves to others what a network card can do.
type fastLink interface {
	// send sends a frame of an Ethernet header and parts of a packet, which stay the caller's. What it cannot send is lost.
	send(off offload.Info, head []byte, parts [][]byte) error
	// run begins to call deliver for each frame, which may be changed.
	run(deliver func(frame []byte, off offload.Info))
	udp() bool // it takes super-packets of UDP, too
	// announced is called before each Router Advertisement of ours: it says what has been changed by somebody else, so that
	// the kernel of the machine would have taken it, and is now put right.
	announced() (drift string, err error)
}

// announce is called before a Router Advertisement of ours leaves.
func (r *port) announce() {
	if r.fast == nil {
		return
	}
	drift, err := r.fast.announced()
	if err != nil {
		r.p.log.Warn("this machine may take its own Router Advertisements", "iface", r.name, "err", err)
	}
	if drift != "" {
		r.p.events.put(dataplane.Drift{What: drift})
	}
}

// sending is what a fastLink is given for a packet in one piece. What an interface gets a pointer to is never on the stack.
type sending struct {
	head  [etherHeader]byte
	parts [1][]byte
}

// lastIndex is below what the forwarder takes. An index comes again only after all others, so that what was meant for an
// interface that has gone does not meet its successor.
const lastIndex = 4000

// newIndex is one that no interface has. Plane.mu is held.
func (p *Plane) newIndex() tcpip.NICID {
	for {
		id := p.nextNIC
		if p.nextNIC++; p.nextNIC > lastIndex {
			p.nextNIC = tunnelNIC + 1
		}
		if !p.stack.HasNIC(id) {
			return id
		}
	}
}

// openPort attaches the link. Plane.mu is held.
func (p *Plane) openPort(name string, link Link) (*port, error) {
	r := &port{
		p: p, name: name, nic: p.newIndex(), link: link, mac: link.MAC(), addrs: addresses{}, mtu: link.MTU(),
		asks: bucket.Bucket{Burst: ownAskBurst, Every: ownAskEvery},
	}
	r.fast, _ = link.(fastLink)
	r.neigh = neigh.New(p.float, func(w waiting) int { return len(w.pkt) })
	r.ep = &nic{mac: tcpip.LinkAddress(r.mac[:]), out: r.output}
	r.ep.mtu.Store(uint32(r.mtu))
	if err := p.addNIC(r.nic, r.ep, name); err != nil {
		return nil, err
	}
	r.ll = linkLocal(r.mac)
	r.owns = func(a netip.Addr) bool {
		id, ok := p.view.Load().own[a]
		return ok && id == r.nic || a == r.ll && r.usable.Load() != nil
	}
	r.joinServers()
	deliver := r.deliver
	if r.fast != nil {
		deliver = nil
	}
	link.Attach(deliver, func(bool) { p.later(func() { p.linkMoved(r) }) })
	r.up, r.mtu = link.Up(), link.MTU() // what changed before Attach was told to nobody
	if isGone(link) {
		p.later(func() { p.linkMoved(r) })
	}
	if r.fast != nil {
		r.fast.run(r.arrived)
	}
	return r, nil
}

// isGone says whether a link that can go away by itself has done so.
func isGone(l Link) bool {
	x, ok := l.(interface{ Gone() bool })
	return ok && x.Gone()
}

// close takes the node off the link. No lock is held.
func (r *port) close() error {
	r.sockets.close()
	err := r.link.Close()
	r.mu.Lock()
	if r.timer != nil {
		r.timer.Stop()
	}
	r.neigh.SetSolicitor(neigh.Solicitor{})
	act := r.neigh.Flush()
	r.mu.Unlock()
	r.perform(r.p.o.Now(), act)
	if !r.p.stack.CheckNIC(r.nic) {
		return err
	}
	_ = r.p.stack.RemoveNIC(r.nic) // it fails only for a NIC that is not there
	return err
}

// linkLocal is the address made of the MAC (RFC 2464 section 5).
func linkLocal(m neigh.MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{
		0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5],
	})
}

// deliver takes a frame that is not to be changed.
func (r *port) deliver(frame []byte) { r.arrived(slices.Clone(frame), offload.Info{}) }

// arrived takes a frame that may be changed, and is not kept.
func (r *port) arrived(frame []byte, off offload.Info) {
	if len(frame) < etherHeader+ip6pkt.HeaderLen || binary.BigEndian.Uint16(frame[12:]) != etherType {
		return
	}
	to, from, pkt := neigh.MAC(frame[0:6]), neigh.MAC(frame[6:12]), frame[etherHeader:]
	size := ip6pkt.HeaderLen + int(binary.BigEndian.Uint16(pkt[offPayload:]))
	switch {
	case to[0]&1 == 0 && to != r.mac, from[0]&1 != 0, from == r.mac:
		return // for another station, or nobody's, or our own that came back
	case pkt[0]>>4 != 6 || size > len(pkt):
		r.p.lost[lostMalformed].Add(1)
		return
	}
	pkt = pkt[:size] // the link may pad
	if off.Size == 0 && off.Partial {
		offload.Complete(pkt, off) // whoever looks at it, here or at the other end, needs it
		off = offload.Info{}
	}
	now := r.p.o.Now()
	if x := r.proxy.Load(); x != nil && isSolicitation(pkt) && x.answer(r, now, pkt, from) {
		r.learn(now, pkt)
		return
	}
	if isDiscovery(pkt) && !r.admits(now, pkt, from) {
		return
	}
	r.p.process(now, origin{index: forward.Index(r.nic), port: r, mac: from, ether: to}, pkt, off, nil)
}

// admits says whether a message of Neighbor Discovery is to be looked at, before it costs anything.
func (r *port) admits(now time.Time, pkt []byte, from neigh.MAC) bool {
	const target = ip6pkt.HeaderLen + 8
	switch pkt[ip6pkt.HeaderLen] {
	case typeRS:
		return true // the firewall has a limit for it
	case typeNS:
		// A switch that does not snoop brings all questions of hosts for each other, as to a card in promiscuous mode.
		wanted := r.targets.Load()
		if pkt[offDst] == 0xff && len(pkt) >= target+16 && wanted != nil && !(*wanted)[netip.AddrFrom16([16]byte(pkt[target:target+16]))] {
			return false
		}
	}
	return r.p.fwd.Discovery(now, forward.Index(r.nic), from, func() (ok, known bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.neigh.Admits(now, pkt, from)
	})
}

// hear takes what is for this node and came in here, and was within the limits; false: gVisor is to have it, too.
func (r *port) hear(now time.Time, pkt []byte) bool {
	if isDiscovery(pkt) {
		r.learn(now, pkt)
		r.sockets.nd(pkt, now)
		if pkt[ip6pkt.HeaderLen] == typeNS {
			r.solicited(pkt)
		}
		return false
	}
	return pkt[offNext] == ip6pkt.ProtoUDP && r.sockets.dhcp(pkt, now)
}

// learn takes from a message of Neighbor Discovery who is there.
func (r *port) learn(now time.Time, pkt []byte) {
	r.mu.Lock()
	act := r.neigh.Hear(now, pkt, r.owns)
	r.rearm(now)
	r.mu.Unlock()
	r.perform(now, act)
}

// send sends a packet to a neighbor. It does not keep pkt.
func (r *port) send(now time.Time, to netip.Addr, pkt []byte, off offload.Info) {
	if mac, ok := r.lookup(now, to); ok {
		r.transmit(mac, pkt, off)
		return
	}
	r.resolve(now, to, pkt, off)
}

// sendOwn is send for what gVisor has to say, to neighbors mostly that have asked: whom we would have to ask for is perhaps a
// forged sender, and few of those are asked for.
func (r *port) sendOwn(now time.Time, to netip.Addr, pkt []byte) {
	if mac, ok := r.lookup(now, to); ok {
		r.transmit(mac, pkt, offload.Info{})
		return
	}
	r.mu.Lock()
	asks := r.asks.Take(now, 1)
	r.mu.Unlock()
	if !asks {
		r.p.lost[lostStrange].Add(1)
		return
	}
	r.resolve(now, to, pkt, offload.Info{})
}

func (r *port) lookup(now time.Time, to netip.Addr) (neigh.MAC, bool) {
	if to.IsMulticast() {
		return neigh.GroupMAC(to), true
	}
	r.mu.Lock()
	mac, ok := r.neigh.Lookup(now, to)
	r.rearm(now)
	r.mu.Unlock()
	return mac, ok
}

func (r *port) resolve(now time.Time, to netip.Addr, pkt []byte, off offload.Info) {
	w := waiting{slices.Clone(pkt), off}
	r.mu.Lock()
	act := r.neigh.Resolve(now, to, w)
	r.rearm(now)
	r.mu.Unlock()
	r.perform(now, act)
}

// transmit puts a packet on the link.
func (r *port) transmit(to neigh.MAC, pkt []byte, off offload.Info) {
	if r.fast != nil {
		s := r.p.sendings.Get().(*sending)
		s.head, s.parts[0] = r.header(to), pkt
		r.sent(r.fast.send(off, s.head[:], s.parts[:]))
		s.parts[0] = nil
		r.p.sendings.Put(s)
		return
	}
	frame := make([]byte, 0, etherHeader+len(pkt))
	head := r.header(to)
	frame = append(append(frame, head[:]...), pkt...)
	r.sent(r.link.Send(frame))
}

// sent counts what a link did not take. That one without carrier takes nothing is no news.
func (r *port) sent(err error) {
	if err != nil && r.link.Up() {
		r.p.lost[lostLink].Add(1)
	}
}

func (r *port) header(to neigh.MAC) (h [etherHeader]byte) {
	copy(h[0:], to[:])
	copy(h[6:], r.mac[:])
	binary.BigEndian.PutUint16(h[12:], etherType)
	return h
}

// rearm sets the timer for the neighbors. mu is held.
func (r *port) rearm(now time.Time) {
	wake := r.neigh.Wake()
	if wake.IsZero() || !r.armed.IsZero() && !wake.Before(r.armed) {
		return // it may come too early, and looks then
	}
	r.armed = wake
	d := max(wake.Sub(now), 0)
	if r.timer == nil {
		r.timer = r.p.o.Clock.AfterFunc(d, r.tick)
		return
	}
	r.timer.Reset(d)
}

func (r *port) tick() {
	now := r.p.o.Now()
	r.mu.Lock()
	r.armed = time.Time{}
	act := r.neigh.Tick(now)
	r.rearm(now)
	r.mu.Unlock()
	r.perform(now, act)
}

// perform carries out what the neighbor machine has decided. No lock is held.
func (r *port) perform(now time.Time, act neigh.Actions[waiting]) {
	r.p.lost[lostWaiting].Add(act.Lost)
	r.p.lost[lostCrowded].Add(act.Crowded)
	for _, n := range act.News {
		r.p.neighborNews(now, r, n)
	}
	for _, a := range act.Ask {
		r.transmit(a.To, a.Packet, offload.Info{})
	}
	for _, o := range act.Send {
		r.transmit(o.To, o.Packet.pkt, o.Packet.off)
	}
	for _, w := range act.Unreachable {
		r.p.unreachable(now, r, w)
	}
}

// output takes what gVisor sends by this interface. It may be called with locks of gVisor.
func (r *port) output(pkt []byte) {
	dst := netip.AddrFrom16([16]byte(pkt[offDst : offDst+16]))
	onLink := dst.IsMulticast() || dst.IsLinkLocalUnicast() || isDiscovery(pkt) ||
		netip.AddrFrom16([16]byte(pkt[offSrc:offSrc+16])).IsLinkLocalUnicast()
	if onLink {
		r.sendOwn(r.p.o.Now(), dst, pkt)
		return
	}
	r.p.emit(pkt)
}

// known are the neighbors for dataplane.Plane.
func (r *port) known(now time.Time) []dataplane.Neighbor {
	r.mu.Lock()
	list := r.neigh.Known(dataplane.MaxNeighbors)
	r.mu.Unlock()
	var out []dataplane.Neighbor
	for _, n := range list {
		out = append(out, dataplane.Neighbor{Addr: n.Addr, MAC: n.MAC, Seen: now.Sub(n.Seen)})
	}
	return out
}

func (r *port) neighStats() neigh.Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.neigh.Stats()
}

// solicitor sets who asks for neighbors. Plane.mu is held.
func (r *port) solicitor() {
	s := neigh.Solicitor{MAC: r.mac}
	if a := r.addrs[r.ll]; a != nil && a.state == assigned && r.up {
		s.From = r.ll
		r.usable.Store(&r.ll)
	} else {
		r.usable.Store(nil)
	}
	r.mu.Lock()
	r.neigh.SetSolicitor(s)
	r.mu.Unlock()
}

// ND message types (RFC 4861 section 4).
const typeRS, typeRA, typeNS, typeNA, typeRedirect = 133, 134, 135, 136, 137

// ownAskBurst and ownAskEvery are how many neighbors are asked for so that the box itself can answer them.
const (
	ownAskBurst = 128
	ownAskEvery = time.Second / 64
)

func isDiscovery(pkt []byte) bool {
	return pkt[offNext] == ip6pkt.ProtoICMPv6 && len(pkt) > ip6pkt.HeaderLen &&
		pkt[ip6pkt.HeaderLen] >= typeRS && pkt[ip6pkt.HeaderLen] <= typeRedirect
}

func isSolicitation(pkt []byte) bool { return isDiscovery(pkt) && pkt[ip6pkt.HeaderLen] == typeNS }
