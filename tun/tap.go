// SPDX-License-Identifier: MIT

package tun

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	wgtun "golang.zx2c4.com/wireguard/tun"

	"oasis6/internal/ip6pkt"
)

// Bounds of the tap.
const (
	// injectQueue packets wait for the reader at most: DHCPv6 and ND send one at a time, so more
	// means that the device is stuck.
	injectQueue = 64
	// maxBadReads errors in a row that are not the file's are passed over, then the last one is returned: an
	// endless loop would be worse than a dead device.
	maxBadReads = 1000
)

// ErrQueueFull says that the tunnel does not take packets at the moment.
var ErrQueueFull = errors.New("tunnel: queue of packets to send is full")

// Tap wraps a tun.Device below WireGuard. Towards the kernel it takes out the control packets that
// are ours (DHCPv6 and ND to our tunnel address or to link-scope multicast); from the kernel it
// drops the same kinds, so that the kernel does not speak beside us; and it puts packets of ours in
// front of what the kernel sends. All other packets pass untouched and cost no allocation.
//
// EventUp and EventDown of the inner device are swallowed: the session must not be wiped because
// somebody set the link down for a moment.
type Tap struct {
	wgtun.Device
	reader deadliner
	self   atomic.Pointer[own]
	take   func(pkt []byte)      // gets packets from the peer, must copy what it keeps
	refuse func(pkt []byte) bool // says which other packets from link-local sources nobody gets; nil: none
	filter filter                // nil: none
	q      chan []byte
	events chan wgtun.Event
	pumped sync.WaitGroup

	closeOnce sync.Once
	closeErr  error
	closed    chan struct{}

	badReads int // only touched by Read, which has one caller
	stats    tapCounters
}

// filter sees the packets that come from the kernel, as Read gives them, and sets to zero the sizes of those that are not to
// go on. Only one caller.
type filter func(bufs [][]byte, sizes []int, offset int)

// own is what of a box's the tap takes out.
type own struct {
	addr netip.Addr
	port uint16 // UDP to addr with this port too; zero: none
}

type tapCounters struct {
	taken, injected, silenced, readErrors atomic.Uint64
}

// deadliner wakes a Read that waits, as os.File does.
type deadliner interface {
	SetReadDeadline(at time.Time) error
}

// longAgo as a read deadline wakes a reader that is blocked in the kernel.
func longAgo() time.Time { return time.Unix(1, 0) }

// NewTap wraps d. take is called for each packet taken out, concurrently if there are several peers; the packet
// belongs to the caller.
func NewTap(d wgtun.Device, self netip.Addr, take func(pkt []byte)) *Tap {
	return newTap(d, own{addr: self}, injectQueue, take, nil)
}

func newTap(d wgtun.Device, self own, queue int, take func([]byte), refuse func([]byte) bool) *Tap {
	t := &Tap{
		Device: d, reader: readerOf(d), take: take, refuse: refuse, q: make(chan []byte, queue),
		events: make(chan wgtun.Event, 1), closed: make(chan struct{}),
	}
	t.setOwn(self)
	t.pumped.Add(1)
	go t.pump()
	return t
}

// readerOf is what wakes d's reader: d itself if it can, else its file.
func readerOf(d wgtun.Device) deadliner {
	if r, ok := d.(deadliner); ok {
		return r
	}
	return d.File()
}

// SetSelf changes which address is ours.
func (t *Tap) SetSelf(a netip.Addr) { t.setOwn(own{addr: a, port: t.self.Load().port}) }

func (t *Tap) setOwn(o own) {
	o.addr = o.addr.WithZone("")
	t.self.Store(&o)
}

// Inject queues a whole IPv6 packet towards the peer. The packet belongs to the tap afterwards.
//
// No wake-up is lost: here the order is queue, then deadline; in Read it is clear the deadline, then
// look at the queue.
func (t *Tap) Inject(pkt []byte) error {
	select {
	case <-t.closed:
		return os.ErrClosed
	default:
	}
	select {
	case t.q <- pkt:
	default:
		return ErrQueueFull
	}
	if err := t.reader.SetReadDeadline(longAgo()); err != nil {
		return fmt.Errorf("wake the tunnel's reader: %w", err)
	}
	return nil
}

// Read gives injected packets first, then what the kernel sends. Only one caller, as in wireguard-go.
func (t *Tap) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	for {
		if n := t.drain(bufs, sizes, offset); n > 0 {
			return n, nil
		}
		n, err := t.Device.Read(bufs, sizes, offset)
		if err == nil || n > 0 {
			t.badReads = 0
			for i := range n {
				// A size of zero is passed over by wireguard-go.
				if p := bufs[i][offset : offset+sizes[i]]; kernelSpeaks(p) {
					sizes[i] = 0
					t.stats.silenced.Add(1)
				}
			}
			if t.filter != nil {
				t.filter(bufs[:n], sizes, offset)
			}
			return n, err
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if err := t.reader.SetReadDeadline(time.Time{}); err != nil {
				return 0, err
			}
			continue
		}
		if !t.passOver(err) {
			return 0, err
		}
	}
}

// passOver says whether the device goes on after err. Any error that Read returns, except
// ErrTooManySegments, ends the whole wireguard-go device. But an overrun of the inner device's netlink socket (ENOBUFS
// in a storm of link events) and a packet with offload fields that it cannot split are no reason for that.
func (t *Tap) passOver(err error) bool {
	var file *os.PathError
	if errors.Is(err, os.ErrClosed) || errors.As(err, &file) || errors.Is(err, wgtun.ErrTooManySegments) {
		return false
	}
	t.stats.readErrors.Add(1)
	t.badReads++
	return t.badReads < maxBadReads
}

func (t *Tap) drain(bufs [][]byte, sizes []int, offset int) int {
	n := 0
	for n < len(bufs) {
		select {
		case pkt := <-t.q:
			sizes[n] = copy(bufs[n][offset:], pkt)
			n++
		default:
			t.stats.injected.Add(uint64(n))
			return n
		}
	}
	t.stats.injected.Add(uint64(n))
	return n
}

// Write gives packets from the peer to the kernel, without those that are ours. bufs is compacted in
// place; its owner does not look at it afterwards.
func (t *Tap) Write(bufs [][]byte, offset int) (int, error) {
	self := t.self.Load()
	k := -1
	for i, b := range bufs {
		switch {
		case forUs(b[offset:], self):
			if k < 0 {
				k = i
			}
			t.stats.taken.Add(1)
			t.take(b[offset:])
		case t.refuse != nil && fromLinkLocal(b[offset:]) && t.refuse(b[offset:]):
			if k < 0 {
				k = i
			}
		case k >= 0:
			bufs[k] = b
			k++
		}
	}
	if k >= 0 {
		bufs = bufs[:k]
	}
	if len(bufs) == 0 {
		return 0, nil
	}
	return t.Device.Write(bufs, offset)
}

// Events carries EventMTUUpdate only.
func (t *Tap) Events() <-chan wgtun.Event { return t.events }

func (t *Tap) pump() {
	defer t.pumped.Done()
	defer close(t.events)
	for ev := range t.Device.Events() {
		if ev&wgtun.EventMTUUpdate == 0 {
			continue
		}
		select {
		case t.events <- wgtun.EventMTUUpdate:
		case <-t.closed:
		default: // the one that waits is read later than this one happened: as good as both
		}
	}
}

// Close ends Read and waits for the events to end.
func (t *Tap) Close() error {
	t.closeOnce.Do(func() {
		close(t.closed)
		t.closeErr = t.Device.Close()
		t.pumped.Wait()
	})
	return t.closeErr
}

// Offsets in a packet that begins with the fixed IPv6 header (RFC 8200 section 3) and no extension header.
const (
	offNextHeader = 6
	offHopLimit   = 7
	offSrc        = 8
	offDst        = 24
	offUpper      = ip6pkt.HeaderLen
	minControl    = ip6pkt.HeaderLen + ip6pkt.UDPHeaderLen // no shorter DHCPv6 or ND packet exists
)

// Kinds of control packets.
const (
	dhcp6ClientPort = 546 // RFC 9915 section 7.2
	dhcp6ServerPort = 547

	typeRouterSolicitation = 133 // RFC 4861 section 4.1, the first ND message
	typeRedirect           = 137 // RFC 4861 section 4.5, the last
	ndHopLimit             = 255

	typeMLDQuery    = 130 // RFC 2710 section 3
	typeMLDReport   = 131
	typeMLDDone     = 132
	typeMLDv2Report = 143 // RFC 9777 section 5.2
)

// forUs says whether a packet from the peer is control traffic for this box: DHCPv6 to our tunnel
// address or to link-scope multicast, our own port at our tunnel address, or ND with hop limit 255 to our tunnel
// address or to multicast. Whatever has an extension header, and whatever merely passes through to another address, is
// not.
func forUs(p []byte, self *own) bool {
	if len(p) < minControl || p[0]>>4 != 6 {
		return false
	}
	switch p[offNextHeader] {
	case ip6pkt.ProtoUDP:
		if !dhcp6Port(p[offUpper+2], p[offUpper+3]) {
			return self.port != 0 && self.port == binary.BigEndian.Uint16(p[offUpper+2:]) && isSelf(p, self)
		}
		return p[offDst] == 0xff && p[offDst+1]&0x0f == 2 || isSelf(p, self)
	case ip6pkt.ProtoICMPv6:
		if p[offHopLimit] != ndHopLimit || !isND(p[offUpper]) {
			return false
		}
		return p[offDst] == 0xff || isSelf(p, self)
	}
	return false
}

func isSelf(p []byte, self *own) bool {
	return netip.AddrFrom16([16]byte(p[offDst:offDst+16])) == self.addr
}

func isND(typ byte) bool { return typ >= typeRouterSolicitation && typ <= typeRedirect }

func dhcp6Port(hi, lo byte) bool {
	port := uint16(hi)<<8 | uint16(lo)
	return port == dhcp6ClientPort || port == dhcp6ServerPort
}

// kernelSpeaks says whether a packet from our kernel is control traffic of its own on the tunnel: ND,
// MLD or DHCPv6 from a link-local or the unspecified address. Such a source is never forwarded
// (RFC 4291 sections 2.5.2 and 2.5.6), so nothing that a LAN host sent can match.
func kernelSpeaks(p []byte) bool {
	if len(p) < minControl || p[0]>>4 != 6 || !linkLocalOrUnspecified(p) {
		return false
	}
	switch p[offNextHeader] {
	case ip6pkt.ProtoUDP:
		return dhcp6Port(p[offUpper], p[offUpper+1]) || dhcp6Port(p[offUpper+2], p[offUpper+3])
	case ip6pkt.ProtoICMPv6:
		return isND(p[offUpper]) || isMLD(p[offUpper])
	case ip6pkt.ProtoHopByHop:
		// MLD carries a Router Alert option (RFC 2710 section 3): 8 octets of hop-by-hop header, then ICMPv6.
		return len(p) > offUpper+8 && p[offUpper] == ip6pkt.ProtoICMPv6 && p[offUpper+1] == 0 && isMLD(p[offUpper+8])
	}
	return false
}

func isMLD(typ byte) bool {
	return typ >= typeMLDQuery && typ <= typeMLDDone || typ == typeMLDv2Report
}

// fromLinkLocal says whether it is an IPv6 packet with a source in fe80::/10.
func fromLinkLocal(p []byte) bool {
	return len(p) >= ip6pkt.HeaderLen && p[0]>>4 == 6 && p[offSrc] == 0xfe && p[offSrc+1]&0xc0 == 0x80
}

func linkLocalOrUnspecified(p []byte) bool {
	if fromLinkLocal(p) {
		return true
	}
	return p[offSrc] == 0 && [16]byte(p[offSrc:offSrc+16]) == [16]byte{}
}
