// SPDX-License-Identifier: MIT

package trial

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"oasis6/dhcpv6/client"
	"oasis6/internal/ip6pkt"
	"oasis6/tun"
	"oasis6/tun/gauge"
)

// run is one Run.
type run struct {
	Options
	tun      tun.Config
	own, hub netip.Addr // link-local, on the tunnel
	report   Report

	endpoints []netip.AddrPort // in the order in which they are tried
	endpoint  netip.AddrPort   // the one that answered
	tunnel    Tunnel           // nil: none is open
	shook     []time.Duration  // of the handshakes that were completed
	knockAt   time.Time        // when the next handshake is begun
	hubEcho   time.Duration    // the least; 0: the hub answers no echo requests
	echoes    echoes
	outerMTU  int

	client     *client.Client // nil: nothing was asked for
	clientWake time.Time
	left       *client.Left // how giving the lease back has ended
	servers    []netip.Addr // DNS that came with the prefix
	source     netip.Addr   // global address to use; invalid: none
	answers    []netip.Addr // of the target's name
}

func (r *run) needsEndpoint() string {
	if len(r.endpoints) == 0 {
		return "there is no endpoint"
	}
	return ""
}

func (r *run) needsTunnel() string {
	if r.tunnel == nil {
		return "there is no tunnel"
	}
	return ""
}

func (r *run) needsSource() string {
	if why := r.needsTunnel(); why != "" {
		return why
	}
	if !r.source.IsValid() {
		return "there is no global IPv6 address to ask from"
	}
	return ""
}

func (r *run) close() {
	if r.tunnel != nil {
		_ = r.tunnel.Close() // nothing of it stays
	}
}

// wanted is how many handshakes are timed.
func (r *run) wanted() int {
	if r.Quick {
		return 1
	}
	return 3
}

// errPatience says that what was waited for did not come.
var errPatience = errors.New("no answer in time")

// wait is what a step waits for. done ends it; it is asked first, and after everything that happens.
type wait struct {
	until  time.Time
	done   func() bool
	packet func(now time.Time, pkt []byte)      // from the hub; may be nil
	tick   func(now time.Time) (next time.Time) // called first, and after everything that happens; may be nil
	wake   <-chan struct{}                      // something has happened elsewhere; may be nil
}

// await serves the tunnel until w is done. Handshakes are begun meanwhile as they are due. Go's timers do: the command is
// in the foreground, and a minute of suspend may count or not.
func (r *run) await(ctx context.Context, w wait) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		next := w.until
		if at := r.knock(now); !at.IsZero() && at.Before(next) {
			next = at
		}
		if w.tick != nil {
			if at := w.tick(now); !at.IsZero() && at.Before(next) {
				next = at
			}
		}
		switch {
		case w.done():
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !now.Before(w.until):
			return errPatience
		}
		timer.Reset(max(next.Sub(now), 0))
		select {
		case <-timer.C:
		case rtt := <-r.tunnel.Handshakes():
			r.shook = append(r.shook, rtt)
		case pkt := <-r.tunnel.Packets():
			now := time.Now()
			if !r.echoes.take(now, pkt) && w.packet != nil {
				w.packet(now, pkt)
			}
		case <-w.wake:
		case <-ctx.Done():
		}
	}
}

// knock begins the next handshake when it is due, and says when that is. The first one is not its business.
func (r *run) knock(now time.Time) time.Time {
	if len(r.shook) == 0 || len(r.shook) >= r.wanted() {
		return time.Time{}
	}
	if !r.knockAt.After(now) {
		r.tunnel.Initiate()
		r.knockAt = now.Add(gauge.Between)
	}
	return r.knockAt
}

// patience is how long a step may wait from now.
func (r *run) patience() time.Time { return time.Now().Add(r.Timeout) }

// echoes are the echo requests that are under way.
type echoes struct {
	seq  uint16
	sent map[uint16]echo
}

// echo is one request and what became of it.
type echo struct {
	at    time.Time
	to    netip.Addr
	size  int
	rtt   time.Duration // 0: no reply
	piece int           // length of the reply's first fragment; 0: it came whole
}

const (
	echoID       = 0x7472 // "tr"
	echoHopLimit = 64
	echoHeader   = ip6pkt.HeaderLen + 8
	maxEchoes    = 256 // remembered
)

// ask sends an echo request of that size, header included, and gives its number.
func (r *run) ask(from, to netip.Addr, size int) uint16 {
	e := &r.echoes
	if e.sent == nil || len(e.sent) >= maxEchoes {
		e.sent = map[uint16]echo{}
	}
	e.seq++
	body := make([]byte, 8+max(size-echoHeader, 0))
	body[0] = ip6pkt.TypeEchoRequest
	body[4], body[5], body[6], body[7] = echoID>>8, echoID&0xff, byte(e.seq>>8), byte(e.seq)
	e.sent[e.seq] = echo{at: time.Now(), to: to, size: size}
	_ = r.tunnel.Send(ip6pkt.ICMPv6(from, to, echoHopLimit, body)) // a full queue is a lost packet
	return e.seq
}

// take keeps a reply, and says whether pkt is one.
func (e *echoes) take(now time.Time, pkt []byte) bool {
	src, seq, piece, ok := echoReply(pkt)
	x, asked := e.sent[seq]
	if !ok || !asked || x.to != src {
		return ok
	}
	if x.rtt == 0 {
		x.rtt, x.piece = max(now.Sub(x.at), 1), piece
		e.sent[seq] = x
	}
	return true
}

// reply is what came for a request; nil: nothing yet.
func (e *echoes) reply(seq uint16) *echo {
	if x := e.sent[seq]; x.rtt > 0 {
		return &x
	}
	return nil
}

// IPv6 fragments (RFC 8200 section 4.5).
const (
	protoFragment     = 44
	fragmentHeaderLen = 8
)

// echoReply reads a reply to us, whole or its first fragment, whose length is piece. Of a fragment no checksum can be verified; WireGuard has
// proved where it comes from.
func echoReply(pkt []byte) (src netip.Addr, seq uint16, piece int, ok bool) {
	if m, err := ip6pkt.ParseICMPv6(pkt); err == nil {
		if len(m.Body) < 8 || m.Body[0] != ip6pkt.TypeEchoReply {
			return src, 0, 0, false
		}
		return m.Src, uint16(m.Body[6])<<8 | uint16(m.Body[7]), 0, m.Body[4] == echoID>>8 && m.Body[5] == echoID&0xff
	}
	const icmp = ip6pkt.HeaderLen + fragmentHeaderLen
	if len(pkt) < icmp+8 || pkt[0]>>4 != 6 || pkt[6] != protoFragment {
		return src, 0, 0, false
	}
	f, m := pkt[ip6pkt.HeaderLen:], pkt[icmp:]
	first := f[2] == 0 && f[3]&0xf8 == 0
	if f[0] != ip6pkt.ProtoICMPv6 || !first || m[0] != ip6pkt.TypeEchoReply || m[4] != echoID>>8 || m[5] != echoID&0xff {
		return src, 0, 0, false
	}
	return netip.AddrFrom16([16]byte(pkt[8:24])), uint16(m[6])<<8 | uint16(m[7]), len(pkt), true
}

// least is the least of some times, 0 of none.
func least(times []time.Duration) time.Duration {
	if len(times) == 0 {
		return 0
	}
	return slices.Min(times)
}
