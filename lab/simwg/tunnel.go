// SPDX-License-Identifier: MIT

package simwg

import (
	"fmt"
	"net/netip"
	"time"

	"oasis6/internal/ip6pkt"
	"oasis6/internal/wgkey"
	"oasis6/lab/simwg/device"
	"oasis6/tun"
	"oasis6/tun/health"
)

// Tunnel is the box's end. It is a router.Tunnel; the methods that are not of that interface belong to the lab.
type Tunnel struct {
	*end
	cfg      tun.Config
	mtu      int // wanted for the interface
	outer    int // of the path
	resolver resolver
	base     device.Counters // of peers that were removed
	last     device.Counters // of the present one
	rxAt     time.Time       // when it was last heard
	setAt    time.Time       // when its endpoint was set
	watch    bool            // tell about the next data packet that leaves
	active   bool            // and it has left
	probes   uint16

	told struct {
		endpoint  netip.AddrPort
		handshake time.Time
		mtu       int
	}
}

// NewTunnel makes one and looks for its endpoint as soon as the engine runs.
func NewTunnel(cfg tun.Config, opt Options) (*Tunnel, error) {
	cfg, err := cfg.Normal()
	if err != nil {
		return nil, err
	}
	t := &Tunnel{cfg: cfg, mtu: cfg.MTU, outer: opt.PathMTU}
	if t.outer == 0 {
		t.outer = ethernetMTU
	}
	if t.mtu == 0 {
		known := t.outer
		if name, _, port, err := tun.ParseEndpoint(cfg.Peer.Endpoint); err != nil || name != "" || port == 0 {
			known = ethernetMTU // it is not known yet where the path leads
		}
		t.mtu, _ = tun.FitMTU(known)
	}
	t.told.mtu = t.mtu
	t.end = newEnd(cfg.Name, cfg.PrivateKey.Public(), cfg.ListenPort, t.mtu, tun.EventQueue, opt)
	t.after = t.stepped
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stepLocked(t.peers(0))
	t.resolver.aim(cfg.Peer.Endpoint)
	t.out = append(t.out, output{call: t.resolve})
	t.posted = true
	opt.Scheduler.AfterFunc(0, func() { // also with OnRest: something must begin
		t.mu.Lock()
		t.posted = false
		t.mu.Unlock()
		t.flush()
	})
	return t, nil
}

// peers is the configuration of the device.
func (t *Tunnel) peers(keepalive time.Duration) device.SetPeers {
	p := t.cfg.Peer
	return device.SetPeers{Peers: []device.Peer{{
		Public: p.Public, Preshared: p.Preshared, AllowedIPs: p.AllowedIPs, Keepalive: keepalive.Truncate(time.Second),
	}}}
}

// stepped sorts what the device gives, and tells what is new: first the state, then the packets that it made possible.
func (t *Tunnel) stepped(now time.Time, a *device.Actions) {
	st, _ := t.dev.Peer(t.cfg.Peer.Public)
	c := st.Counters
	if c.RxBytes != t.last.RxBytes {
		t.rxAt = now
	}
	if c.Data > t.last.Data && t.watch {
		t.watch, t.active = false, true
	}
	t.last = c
	t.news(st)
	for _, p := range a.Deliver {
		if tun.ForUs(p.Data, t.cfg.LinkLocal, 0) {
			t.counts.taken++
			t.received(wgkey.Public{}, p.Data)
			continue
		}
		t.out = append(t.out, output{data: p.Data})
	}
}

// news tells the loop what it does not know yet.
func (t *Tunnel) news(st device.State) {
	if st.Endpoint.IsValid() && st.Endpoint != t.told.endpoint && t.tell(tun.EndpointChanged{AddrPort: st.Endpoint}) {
		t.told.endpoint = st.Endpoint
		t.measure(st)
	}
	if t.mtu != t.told.mtu && t.tell(tun.MTUChanged{MTU: t.mtu}) {
		t.told.mtu = t.mtu
	}
	if !st.Completed.IsZero() && st.Completed != t.told.handshake && t.tell(tun.Handshake{At: st.Completed}) {
		t.told.handshake = st.Completed
	}
	if t.active && t.tell(tun.Activity{}) {
		t.active = false
	}
}

// measure sets the MTU that fits the path, once it is known where that leads.
func (t *Tunnel) measure(st device.State) {
	mtu := t.cfg.MTU
	if mtu == 0 {
		if !st.Endpoint.IsValid() {
			return
		}
		mtu, _ = tun.FitMTU(t.outer)
	}
	if mtu != t.mtu {
		t.mtu = mtu
		t.dev.Step(t.opt.Scheduler.Now(), device.SetMTU{MTU: mtu})
	}
}

// SetPathMTU says what fits the outer path, with the IP header. A box learns it from its routes and from ICMP.
func (t *Tunnel) SetPathMTU(outer int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.outer = outer
	st, _ := t.dev.Peer(t.cfg.Peer.Public)
	t.measure(st)
	t.stepLocked(device.Tick{})
	t.post()
}

// Packet takes a whole IPv6 packet from the data plane, on any goroutine. It belongs to the tunnel. The text is what became
// of it.
func (t *Tunnel) Packet(pkt []byte) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tun.KernelSpeaks(pkt) {
		t.counts.silenced++
		return silenced
	}
	defer t.post()
	return t.stepLocked(device.PacketOut{Packet: pkt}).String()
}

// silenced is what becomes of a packet by which the data plane would speak beside the loop.
const silenced = "dropped: control traffic of the tunnel is not the data plane's"

// Send is router.Tunnel's.
func (t *Tunnel) Send(pkt []byte) error { return t.inject(pkt) }

// Sample is router.Tunnel's.
func (t *Tunnel) Sample() health.Sample {
	t.mu.Lock()
	defer t.mu.Unlock()
	st, _ := t.dev.Peer(t.cfg.Peer.Public)
	c := t.total(st)
	return health.Sample{
		DataSent: c.Data, Initiations: c.Initiations, Life: c.RxBytes - c.InitiationsReceived*device.InitiationLen,
		LastHandshake: st.Completed,
	}
}

// total counts former peers, too: the health machine takes no step back.
func (t *Tunnel) total(st device.State) device.Counters {
	c, b := st.Counters, t.base
	c.RxBytes += b.RxBytes
	c.TxBytes += b.TxBytes
	c.Data += b.Data
	c.Initiations += b.Initiations
	c.InitiationsReceived += b.InitiationsReceived
	return c
}

// Perform is router.Tunnel's.
func (t *Tunnel) Perform(a health.Actions, s health.Sample) {
	t.mu.Lock()
	defer t.mu.Unlock()
	st, _ := t.dev.Peer(t.cfg.Peer.Public)
	if a.Resolve {
		t.out = append(t.out, output{call: t.resolve})
	}
	if a.Initiate && st.Endpoint.IsValid() {
		t.stepLocked(device.Initiate{Peer: t.cfg.Peer.Public})
	}
	if a.Probe {
		t.probes++
		t.counts.injected++
		p := ip6pkt.EchoRequest(t.cfg.LinkLocal, t.cfg.Peer.LinkLocal, tun.ProbeHopLimit, tun.ProbeID, t.probes)
		t.stepLocked(device.PacketOut{Packet: p})
	}
	if a.Watch {
		t.watch = true
		if t.total(st).Data != s.DataSent {
			t.watch, t.active = false, true
		}
		t.stepLocked(device.Tick{})
	}
	t.post()
}

// Reconfigure is router.Tunnel's: the session stays unless the peer is another one.
func (t *Tunnel) Reconfigure(cfg tun.Config) error {
	cfg, err := cfg.Normal()
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.cfg
	if cfg.Name != was.Name || cfg.PrivateKey != was.PrivateKey {
		return fmt.Errorf("tunnel %s: another interface name or private key: %w", was.Name, tun.ErrRestart)
	}
	st, _ := t.dev.Peer(was.Peer.Public)
	other := was.Peer.Public != cfg.Peer.Public
	keepalive := st.Keepalive
	switch {
	case other:
		t.base, t.last = t.total(st), device.Counters{}
		t.told.handshake, keepalive = time.Time{}, 0
	case was.Peer.Keepalive != cfg.Peer.Keepalive:
		keepalive = cfg.Peer.Keepalive
	}
	if was.ListenPort != cfg.ListenPort {
		t.setPort(cfg.ListenPort)
	}
	t.cfg = cfg
	if other || was.Peer.Endpoint != cfg.Peer.Endpoint {
		t.resolver.aim(cfg.Peer.Endpoint)
		t.setAt = time.Time{}
		t.out = append(t.out, output{call: t.resolve})
	}
	t.stepLocked(t.peers(keepalive))
	st, _ = t.dev.Peer(cfg.Peer.Public)
	t.measure(st)
	t.stepLocked(device.Tick{})
	t.post()
	return nil
}

// Snapshot is router.Tunnel's.
func (t *Tunnel) Snapshot() tun.Snapshot {
	t.mu.Lock()
	defer t.mu.Unlock()
	st, _ := t.dev.Peer(t.cfg.Peer.Public)
	c := t.total(st)
	s := tun.Snapshot{
		Interface: t.name, PublicKey: t.public, LinkLocal: t.cfg.LinkLocal, MTU: t.mtu, ListenPort: t.port,
		Peer: t.cfg.Peer.Public, PeerLinkLocal: t.cfg.Peer.LinkLocal, EndpointName: t.cfg.Peer.Endpoint, Endpoint: st.Endpoint,
		ResolveError: t.resolver.err, SendError: t.sendErr, HandshakeAt: st.Completed, HandshakeAge: -1,
		RxBytes: c.RxBytes, TxBytes: c.TxBytes,
		Taken: t.counts.taken, Dropped: t.counts.dropped, Injected: t.counts.injected, Silenced: t.counts.silenced,
	}
	if !st.Completed.IsZero() {
		s.HandshakeAge = t.opt.Scheduler.Now().Sub(st.Completed)
	}
	return s
}
