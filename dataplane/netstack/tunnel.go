// SPDX-License-Identifier: MIT

package netstack

import (
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	wgtun "golang.zx2c4.com/wireguard/tun"

	"oasis6/dataplane/netstack/forward"
	"oasis6/dataplane/netstack/neigh"
	"oasis6/dataplane/netstack/offload"
	"oasis6/internal/ip6pkt"
)

const (
	// tunnelQueue packets wait for wireguard-go at most, a super-packet being one, in buffers of tunnelHeld octets.
	tunnelQueue = 512
	tunnelHeld  = 2 << 20
	// tunnelWait is how long a LAN's reader waits for room: what comes meanwhile waits in the kernel's queue of the tap.
	tunnelWait = 10 * time.Millisecond
	// firstMTU is before Apply has said another.
	firstMTU = 1420
)

// tunnel is the interface to the hub: packets without a link layer.
type tunnel struct {
	p      *Plane
	ep     *nic
	output atomic.Pointer[func(pkt []byte)]

	q      chan queued
	held   atomic.Int64  // octets of the buffers in q
	room   chan struct{} // there is some again
	wake   chan struct{}
	closed chan struct{}
	events chan wgtun.Event
	once   sync.Once

	cut queued           // what Read has begun; its caller's alone
	seg offload.Segments // of it
	mtu atomic.Int32     // of the interface
	end sync.Mutex       // of events
	did atomic.Bool      // the device is in use
	buf *pool            // of what waits
	// timers of those who wait for room, kept for reuse.
	timers sync.Pool
}

// queued is a packet that waits for Read.
type queued struct {
	buf *[]byte
	pkt []byte
	off offload.Info
}

func newTunnel(p *Plane) *tunnel {
	t := &tunnel{
		p: p, ep: &nic{}, q: make(chan queued, tunnelQueue), room: make(chan struct{}, 1), wake: make(chan struct{}, 1), closed: make(chan struct{}),
		events: make(chan wgtun.Event, 2), buf: newPool(),
	}
	t.timers.New = func() any { return time.NewTimer(tunnelWait) }
	t.ep.out = t.emitted
	t.mtu.Store(firstMTU)
	t.ep.mtu.Store(firstMTU) // with 0 gVisor would report groups for ever
	return t
}

func (t *tunnel) attach() error { return t.p.addNIC(tunnelNIC, t.ep, t.p.o.Tunnel) }

func (t *tunnel) setMTU(mtu int) {
	if int(t.mtu.Swap(int32(mtu))) == mtu {
		return
	}
	t.end.Lock()
	defer t.end.Unlock()
	select {
	case <-t.closed:
		return
	default:
	}
	select {
	case t.events <- wgtun.EventMTUUpdate:
	default: // the one that waits is read later than this one happened
	}
}

// emitted takes what gVisor sends by the tunnel. Neighbor Discovery and MLD are nobody's business there: the tap speaks
// for the box.
func (t *tunnel) emitted(pkt []byte) {
	dst := netip.AddrFrom16([16]byte(pkt[offDst : offDst+16]))
	switch {
	case pkt[offNext] == ip6pkt.ProtoHopByHop, isDiscovery(pkt):
	case dst.IsMulticast():
	case dst.IsLinkLocalUnicast():
		t.send(pkt, offload.Info{})
	default:
		t.p.emit(pkt)
	}
}

// send puts a packet on its way to the hub, or drops it. It does not keep pkt.
func (t *tunnel) send(pkt []byte, off offload.Info) {
	if item, ok := t.keep(pkt, off); ok && !t.put(item) {
		t.lose(item)
	}
}

// sendOrWait is send for who may be made to wait a moment.
func (t *tunnel) sendOrWait(pkt []byte, off offload.Info) {
	if item, ok := t.keep(pkt, off); ok && !t.put(item) && !t.await(item) {
		t.lose(item)
	}
}

// keep copies a packet for the queue, unless there is another way, or none.
func (t *tunnel) keep(pkt []byte, off offload.Info) (item queued, ok bool) {
	if out := t.output.Load(); out != nil {
		(*out)(slices.Clone(pkt))
		return item, false
	}
	if !t.did.Load() {
		t.p.lost[lostTunnel].Add(1)
		return item, false // nobody reads
	}
	return t.buf.keep(pkt, off), true
}

func (t *tunnel) lose(item queued) {
	t.p.lost[lostTunnel].Add(1)
	t.buf.free(item)
}

// put queues a packet if there is room.
func (t *tunnel) put(item queued) bool {
	n := item.held()
	if t.held.Add(n) > tunnelHeld {
		t.held.Add(-n)
		return false
	}
	select {
	case t.q <- item:
		return true
	default:
		t.held.Add(-n)
		return false
	}
}

// await waits a moment for room.
func (t *tunnel) await(item queued) bool {
	late := t.timers.Get().(*time.Timer)
	late.Reset(tunnelWait)
	defer func() {
		late.Stop() // nothing of it comes any more (Go 1.23)
		t.timers.Put(late)
	}()
	for {
		select {
		case <-t.room:
			if t.put(item) {
				return true
			}
		case <-t.closed:
			return false
		case <-late.C:
			return false
		}
	}
}

func (t *tunnel) close() {
	t.once.Do(func() {
		t.end.Lock()
		defer t.end.Unlock()
		close(t.closed)
		close(t.events)
	})
}

// TunnelPort is the raw side of the tunnel, for one that is not WireGuard's.
type TunnelPort struct{ t *tunnel }

// Tunnel is for who carries packets to the hub himself, in place of Device.
func (p *Plane) Tunnel() *TunnelPort { return &TunnelPort{p.tunnel} }

// Output names who gets the packets to the hub; each belongs to it. It is called by whoever sent the packet, and must not
// wait.
func (o *TunnelPort) Output(f func(pkt []byte)) { o.t.output.Store(&f) }

// Deliver takes a packet from the hub, which belongs to the Plane afterwards.
func (o *TunnelPort) Deliver(pkt []byte) { o.t.p.fromTunnel(o.t.p.o.Now(), pkt, nil) }

// MTU is that of the interface.
func (o *TunnelPort) MTU() int { return int(o.t.mtu.Load()) }

// fromTunnel takes a packet that came from the hub.
func (p *Plane) fromTunnel(now time.Time, pkt []byte, b *batch) {
	if len(pkt) < ip6pkt.HeaderLen || pkt[0]>>4 != 6 {
		p.lost[lostMalformed].Add(1)
		return
	}
	size := ip6pkt.HeaderLen + int(pkt[offPayload])<<8 + int(pkt[offPayload+1])
	if size > len(pkt) {
		p.lost[lostMalformed].Add(1)
		return
	}
	p.process(now, origin{index: forward.Index(tunnelNIC)}, pkt[:size], offload.Info{}, b)
}

// device is the tunnel as wireguard-go reads and writes it.
type device struct{ t *tunnel }

var _ wgtun.Device = device{}

// Device is for tun.OpenOn and tun.OpenHubOn, which close it with the tunnel: the Plane has no tunnel any more then.
func (p *Plane) Device() wgtun.Device {
	p.tunnel.did.Store(true)
	return device{p.tunnel}
}

// Read gives packets to the hub, super-packets in segments. It has one caller, as in wireguard-go.
func (d device) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	t := d.t
	if t.cut.buf == nil {
		select {
		case item := <-t.q:
			t.begin(item)
		case <-t.wake:
			return 0, os.ErrDeadlineExceeded
		case <-t.closed:
			return 0, os.ErrClosed
		}
	}
	n := 0
	for {
		for n < len(bufs) && t.cut.buf != nil {
			size, more := t.seg.Next(bufs[n][offset:])
			if size > 0 {
				sizes[n] = size
				n++
			}
			if !more {
				t.buf.free(t.cut)
				t.cut = queued{}
			}
		}
		if n == len(bufs) {
			return n, nil
		}
		select {
		case item := <-t.q:
			t.begin(item)
		default:
			return n, nil
		}
	}
}

func (t *tunnel) begin(item queued) {
	t.held.Add(-item.held())
	select {
	case t.room <- struct{}{}:
	default:
	}
	t.cut = item
	t.seg = offload.Cut(item.pkt, item.off)
}

// SetReadDeadline knows what tun.Tap needs: a time that has passed ends the Read that waits, or else the next one, with
// os.ErrDeadlineExceeded; the zero time takes that back.
func (d device) SetReadDeadline(at time.Time) error {
	if at.IsZero() {
		select {
		case <-d.t.wake:
		default:
		}
		return nil
	}
	select {
	case d.t.wake <- struct{}{}:
	default:
	}
	return nil
}

// Write takes packets from the hub. Those that follow each other in one TCP flow leave as one where the link can.
func (d device) Write(bufs [][]byte, offset int) (int, error) {
	p := d.t.p
	select {
	case <-d.t.closed:
		return 0, os.ErrClosed
	default:
	}
	b := p.batches.Get().(*batch)
	now := p.o.Now()
	for _, buf := range bufs {
		p.fromTunnel(now, buf[offset:], b)
	}
	b.flush()
	p.batches.Put(b)
	return len(bufs), nil
}

// File is nil: there is none.
func (d device) File() *os.File { return nil }

// MTU is that of the interface.
func (d device) MTU() (int, error) { return int(d.t.mtu.Load()), nil }

// Name is that of the options.
func (d device) Name() (string, error) { return d.t.p.o.Tunnel, nil }

// Events tells of another MTU.
func (d device) Events() <-chan wgtun.Event { return d.t.events }

// BatchSize is that of the sockets.
func (d device) BatchSize() int { return conn.IdealBatchSize }

// Close ends Read.
func (d device) Close() error {
	d.t.close()
	return nil
}

// origin is where a packet came from.
type origin struct {
	index forward.Index
	port  *port     // nil: the tunnel
	mac   neigh.MAC // who sent it on the link
	ether neigh.MAC // and to which station
}
