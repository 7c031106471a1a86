// SPDX-License-Identifier: MIT

// Package tun is the WireGuard tunnel as the box sees it: wireguard-go as a library on a kernel TUN, a
// tap for control packets, the peer's endpoint and its name, the MTU that fits, and the counters from
// which tun/health judges.
//
// It carries one peer. It must not know prefixes, LANs, routes or addresses; of the interface it
// only makes and removes the link, setting it up and its MTU are the data plane's. Start at Open.
package tun

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	wgtun "golang.zx2c4.com/wireguard/tun"

	"oasis6/internal/bootclock"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/wgkey"
	"oasis6/tun/health"
)

// Bounds and timers of the edge.
const (
	// eventQueue events wait for the consumer at most; beyond that packets are dropped and counted.
	eventQueue = 128
	// mtuEvery the outer path is measured again: ICMP teaches the kernel without telling us.
	mtuEvery = 30 * time.Second
	// rebindEvery at most the outer sockets are opened again.
	rebindEvery = 10 * time.Second
	// handshakePolls after a hint, each twice as long after the one before, 1 ms first: 255 ms in all. On a slow
	// board the key exchange takes some 20 ms.
	handshakePolls = 8
	// probeID marks our echo requests for whoever looks at a capture.
	probeID = 0x6f36 // "o6"
	// probeHopLimit: the peer is one hop away, but a Linux host answers any.
	probeHopLimit = 64
	// maxPacket is what fits a message buffer of wireguard-go with its headers and padding.
	maxPacket = device.MaxContentSize - device.PaddingMultiple
)

// Tunnel is an open tunnel. Its methods may be called from any goroutine. The consumer must drain
// Events; it may call the methods from where it does so, as none of them waits for the consumer.
type Tunnel struct {
	end
	resolver *resolver
	way      way
	inits    atomic.Uint64 // authenticated initiations of the peer
	probes   atomic.Uint32

	cancel  context.CancelFunc
	running sync.WaitGroup
	once    sync.Once

	initiate, resolve, measure chan struct{} // requests to the loop

	mu     sync.Mutex // guards what follows; never held while waiting
	cfg    Config
	target target
	truth  truth
	mtu    int
	lookup string       // error of the last lookup
	addrs  []netip.Addr // of the last good lookup
}

// truth is what the device says, made monotonic.
type truth struct {
	reading
	rxBase      uint64    // octets of peers that were removed
	handshakeAt time.Time // boot clock
	rxAt        time.Time // when rx was last seen to grow
	setAt       time.Time // when we set the endpoint
	toldAt      time.Time // handshakeAt of the last Handshake event
	told        netip.AddrPort
	lastPeer    netip.AddrPort // where the peer was last; stays when somebody removes the peer
}

// Open makes the interface and brings WireGuard up; the link itself stays down. The handshake begins as soon
// as the endpoint is known.
func Open(cfg Config, log *slog.Logger) (*Tunnel, error) { return open(cfg, log, goLookup) }

func open(cfg Config, log *slog.Logger, look lookup) (*Tunnel, error) {
	t, err := newTunnel(cfg, log, look, conn.NewStdNetBind(), kernelWay())
	if err != nil {
		return nil, err
	}
	inner, err := createTUN(t.name, t.mtu)
	if err != nil {
		return nil, err
	}
	if err := t.open(inner); err != nil {
		return nil, err
	}
	t.serveControl()
	return t, nil
}

func newTunnel(cfg Config, log *slog.Logger, look lookup, bind conn.Bind, w way) (*Tunnel, error) {
	cfg, err := cfg.normalize()
	if err != nil {
		return nil, err
	}
	t := &Tunnel{
		end: newEnd(cfg.Name, cfg.PrivateKey, bind, eventQueue, log), cfg: cfg, resolver: newResolver(look), way: w, mtu: cfg.MTU,
		initiate: make(chan struct{}, 1), resolve: make(chan struct{}, 1), measure: make(chan struct{}, 1),
	}
	if cfg.Peer.Endpoint != "" {
		t.target, _ = parseTarget(cfg.Peer.Endpoint) // normalize has parsed it
	}
	if t.mtu == 0 {
		t.mtu = t.firstMTU()
	}
	return t, nil
}

// open brings WireGuard up on inner, which it closes if that fails.
func (t *Tunnel) open(inner wgtun.Device) error {
	tap := NewTap(inner, t.cfg.LinkLocal, func(pkt []byte) { t.deliver(wgkey.Public{}, pkt) })
	if err := t.bringUp(tap, deviceSettings(t.cfg), t.cfg.ListenPort, t.shook); err != nil {
		return err
	}
	t.start()
	return nil
}

func (t *Tunnel) shook(_ *device.Peer, message byte) {
	if message == messageInitiation {
		t.inits.Add(1)
	}
}

// firstMTU measures when the endpoint needs no lookup, so that the first RA is right.
func (t *Tunnel) firstMTU() int {
	if t.target.addr.IsValid() {
		if outer, err := t.way.mtu(netip.AddrPortFrom(t.target.addr, t.target.port), t.cfg.FwMark); err == nil {
			mtu, _ := tunnelMTU(outer)
			return mtu
		}
	}
	return defaultMTU
}

func (t *Tunnel) start() {
	ctx, cancel := context.WithCancel(context.Background())
	t.cancel = cancel
	t.running.Add(2)
	go func() { defer t.running.Done(); t.resolver.run(ctx) }()
	go func() { defer t.running.Done(); t.loop(ctx) }()
}

// Close removes the interface and the socket of wg, and waits for everything that was started.
func (t *Tunnel) Close() error {
	t.once.Do(func() {
		t.cancel()
		t.running.Wait()
		t.shut()
	})
	return nil
}

// Events is never closed; after Failed or Close nothing comes any more.
func (t *Tunnel) Events() <-chan Event { return t.events }

// Send injects a whole IPv6 packet towards the peer. The packet belongs to the tunnel afterwards. It is
// lost, as on any link, when there is no session; WireGuard begins one then.
func (t *Tunnel) Send(pkt []byte) error {
	if err := checkPacket(t.name, pkt); err != nil {
		return err
	}
	return t.tap.Inject(pkt)
}

// Initiate begins a handshake soon, whether or not there is a session. WireGuard itself sends at most one
// initiation per 5 s and none before the endpoint is known.
func (t *Tunnel) Initiate() { signal(t.initiate) }

// Resolve looks the endpoint's name up again in the background and measures the path.
func (t *Tunnel) Resolve() { signal(t.resolve) }

// Probe sends an ICMPv6 echo request to the peer's link-local address. WireGuard at the other end
// answers the datagram with a keepalive within 10 s even if nobody answers the request.
func (t *Tunnel) Probe() error {
	t.mu.Lock()
	from, to := t.cfg.LinkLocal, t.cfg.Peer.LinkLocal
	t.mu.Unlock()
	seq := uint16(t.probes.Add(1))
	return t.tap.Inject(ip6pkt.EchoRequest(from, to, probeHopLimit, probeID, seq))
}

// WatchData asks for one Activity event at the next data packet that leaves; at once if one left
// since the last Sample.
func (t *Tunnel) WatchData(since health.Sample) {
	t.obs.watch.Store(true)
	if t.obs.dataSent.Load() != since.DataSent && t.obs.watch.Swap(false) {
		signal(t.obs.activity)
	}
}

// Sample reads the counters for the health machine.
func (t *Tunnel) Sample() health.Sample {
	now := t.read()
	inits := t.inits.Load() * initiationLen
	return health.Sample{
		DataSent:    t.obs.dataSent.Load(),
		Initiations: t.obs.initiationsSent.Load(),
		// The initiation is counted a moment before its octets: a dip, which the machine ignores.
		Life:          max(now.rxBase+now.rx, inits) - inits,
		LastHandshake: now.handshakeAt,
	}
}

// Perform carries out what the health machine decided from the sample s.
func (t *Tunnel) Perform(a health.Actions, s health.Sample) {
	if a.Resolve {
		t.Resolve()
	}
	if a.Initiate {
		t.Initiate()
	}
	if a.Probe {
		_ = t.Probe() // a full queue or a closed device show in the silence that follows
	}
	if a.Watch {
		t.WatchData(s)
	}
}

// read is observe for all but the loop: news that it finds is left as a hint, and the loop tells the consumer.
func (t *Tunnel) read() truth {
	now := t.observe()
	if now.handshakeAt != now.toldAt || now.endpoint != now.told {
		signal(t.obs.handshakeHint)
	}
	return now
}

// observe asks the device and brings truth up to date.
func (t *Tunnel) observe() truth {
	text, err := t.dev.IpcGet()
	now := bootclock.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		return t.truth // writing to memory does not fail
	}
	r := parseReading(text, t.cfg.Peer.Public.Hex())
	was := t.truth.reading
	if r.rx < was.rx { // the peer was removed and made again
		t.truth.rxBase += was.rx
	}
	if r.rx != was.rx {
		t.truth.rxAt = now
	}
	// The stamp is of the wall clock, which may be set at any time: that it is another one is all we take.
	if r.handshake != was.handshake && r.handshake != (handshakeStamp{}) {
		t.truth.handshakeAt = now
	}
	t.truth.reading = r
	if r.endpoint.IsValid() {
		t.truth.lastPeer = r.endpoint
	}
	return t.truth
}

// Snapshot is for status pages; it costs a read of the device.
func (t *Tunnel) Snapshot() Snapshot {
	now := t.read()
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Snapshot{
		Interface: t.name, PublicKey: t.public, LinkLocal: t.cfg.LinkLocal, MTU: t.mtu,
		ListenPort: now.port, Peer: t.cfg.Peer.Public, PeerMissing: !now.found, PeerLinkLocal: t.cfg.Peer.LinkLocal,
		EndpointName: t.cfg.Peer.Endpoint, Endpoint: now.endpoint,
		ResolveError: t.lookup, SendError: t.obs.lastErr(),
		HandshakeAt: now.handshakeAt, HandshakeAge: -1, RxBytes: now.rxBase + now.rx, TxBytes: now.tx,
		Taken: t.tap.stats.taken.Load(), Dropped: t.dropped.Load(),
		Injected: t.tap.stats.injected.Load(), Silenced: t.tap.stats.silenced.Load(),
	}
	if !now.handshakeAt.IsZero() {
		s.HandshakeAge = bootclock.Now().Sub(now.handshakeAt)
	}
	return s
}
