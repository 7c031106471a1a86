// SPDX-License-Identifier: MIT

package tun

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/device"

	"oasis6/internal/bootclock"
)

// loop is the one goroutine that changes the running device and that tells the consumer, packets apart.
type loop struct {
	*Tunnel
	ctx     context.Context
	polls   int // still to do after a hint
	poll    *time.Timer
	sockets sockets
	small   bool // the path is too small for IPv6, and it was said
}

func (t *Tunnel) loop(ctx context.Context) {
	l := &loop{Tunnel: t, ctx: ctx, poll: stopped(), sockets: newSockets(&t.end)}
	measure := time.NewTicker(mtuEvery)
	defer measure.Stop()
	defer l.poll.Stop()
	defer l.sockets.rebind.Stop()
	l.ask()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.dev.Wait():
			l.emit(t.failed())
			return
		case <-t.obs.handshakeHint:
			l.polls = handshakePolls
			l.look()
		case <-l.poll.C:
			l.look()
		case <-t.obs.activity:
			l.emit(Activity{})
		case <-t.obs.trouble:
			l.sockets.schedule()
		case <-l.sockets.rebind.C:
			l.sockets.reopen(t.listenPort())
		case <-t.initiate:
			l.beginHandshake()
		case <-t.resolve:
			l.ask()
			l.measurePath()
		case a := <-t.resolver.answers:
			l.answered(a)
		case <-t.measure:
			l.measurePath()
		case <-measure.C:
			l.measurePath()
		}
	}
}

// emit waits for the consumer, but not beyond Close.
func (l *loop) emit(ev Event) {
	select {
	case l.events <- ev:
	case <-l.ctx.Done():
	}
}

// look reads the device after a hint and tells what is new. The hint comes before the device has done its
// part, so it looks again in growing steps until there is something or the hint was empty.
func (l *loop) look() {
	now := l.observe()
	l.mu.Lock()
	handshake := !now.handshakeAt.IsZero() && now.handshakeAt != l.truth.toldAt
	l.truth.toldAt = now.handshakeAt
	endpoint := now.endpoint.IsValid() && now.endpoint != l.truth.told
	l.truth.told = now.endpoint
	l.mu.Unlock()
	if endpoint {
		l.emit(EndpointChanged{now.endpoint})
		l.measurePath()
	}
	if handshake {
		l.polls = 0
		l.emit(Handshake{now.handshakeAt})
	}
	if l.polls > 0 {
		l.poll.Reset(time.Millisecond << (handshakePolls - l.polls))
		l.polls--
	}
}

func (l *loop) peer() *device.Peer {
	l.mu.Lock()
	key := l.cfg.Peer.Public
	l.mu.Unlock()
	return l.dev.LookupPeer(device.NoisePublicKey(key))
}

// beginHandshake does nothing before the endpoint is known: the attempt would only forbid the next one for 5 s.
func (l *loop) beginHandshake() {
	if p := l.peer(); p != nil && l.observe().endpoint.IsValid() {
		_ = p.SendHandshakeInitiation(false) // the observer counts it and keeps the error
	}
}

// ask starts a lookup of the present target.
func (l *loop) ask() {
	l.mu.Lock()
	want := l.target
	l.mu.Unlock()
	if want != (target{}) {
		l.resolver.ask(want)
	}
}

// answered takes the result of a lookup: the last good address is kept when there is none.
func (l *loop) answered(a answer) {
	now := l.observe()
	l.mu.Lock()
	current := a.target == l.target
	failed := ""
	if a.err != nil {
		failed = a.err.Error()
	}
	news := current && failed != l.lookup
	if current {
		l.lookup = failed
	}
	first := l.truth.setAt.IsZero()
	mark := l.cfg.FwMark
	deaf := bootclock.Now().Sub(later(now.rxAt, l.truth.setAt)) >= deafAfter
	roamed := now.endpoint.IsValid() && !listed(l.addrs, now.endpoint.Addr())
	if current && a.err == nil {
		l.addrs = a.addrs
	}
	l.mu.Unlock()
	if news && a.err != nil {
		l.log.Warn("endpoint name not resolved", "peer", a.target.name, "err", a.err)
	}
	if !current || a.err != nil {
		return
	}
	if !first && !deaf && roamed {
		return // the peer spoke from another address than its name has, and is heard there
	}
	ep := choose(a.addrs, a.target.port, now.endpoint, deaf && !first, func(ep netip.AddrPort) bool {
		return l.way.usable(l.name, mark, ep)
	})
	if first || ep != now.endpoint {
		l.setEndpoint(ep, now.handshakeAt.IsZero())
	}
}

func listed(addrs []netip.Addr, a netip.Addr) bool {
	return slices.ContainsFunc(addrs, func(b netip.Addr) bool { return b.Unmap() == a })
}

// setEndpoint changes where datagrams go; the session stays valid. In a tunnel that never had one, what
// was tried before is forgotten, so that the first initiation leaves now and not up to 5 s later.
func (l *loop) setEndpoint(ep netip.AddrPort, fresh bool) {
	p := l.peer()
	if p == nil {
		return // removed behind our back by wg; a reload brings it again
	}
	l.mu.Lock()
	peer := l.cfg.Peer
	l.mu.Unlock()
	if fresh {
		p.ExpireCurrentKeypairs()
	}
	err := l.dev.IpcSet("public_key=" + peer.Public.Hex() + "\nupdate_only=true\nendpoint=" + ep.String() +
		"\npersistent_keepalive_interval=" + seconds(peer.Keepalive) + "\n")
	if err != nil {
		l.log.Error("endpoint not accepted", "peer", ep, "err", err)
		return
	}
	l.mu.Lock()
	l.truth.setAt = bootclock.Now()
	l.mu.Unlock()
	l.log.Debug("endpoint of the peer", "peer", ep)
	if fresh {
		l.beginHandshake()
	}
	l.look()
}

// measurePath tells the consumer when another MTU fits the path.
func (l *loop) measurePath() {
	ep := l.observe().endpoint
	l.mu.Lock()
	fixed, mark, was := l.cfg.MTU, l.cfg.FwMark, l.mtu
	l.mu.Unlock()
	mtu := fixed
	if fixed == 0 {
		if !ep.IsValid() {
			return
		}
		outer, err := l.way.mtu(ep, mark)
		if err != nil {
			l.log.Debug("outer path not measured", "err", err) // no route: the next one may be as before
			return
		}
		small := false
		if mtu, small = tunnelMTU(outer); small && !l.small {
			l.log.Warn("outer path is too small for IPv6: datagrams will be fragmented", "peer", ep, "mtu", outer)
		}
		l.small = small
	}
	if mtu == was {
		return
	}
	l.mu.Lock()
	l.mtu = mtu
	l.mu.Unlock()
	l.log.Debug("tunnel mtu", "from", was, "to", mtu)
	l.emit(MTUChanged{mtu})
}

func (t *Tunnel) listenPort() uint16 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cfg.ListenPort
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
