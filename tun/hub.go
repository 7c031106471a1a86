// SPDX-License-Identifier: MIT

package tun

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	wgtun "golang.zx2c4.com/wireguard/tun"

	"oasis6/internal/bootclock"
	"oasis6/internal/bucket"
	"oasis6/internal/wgkey"
)

// Bounds of a hub.
const (
	// hubEvents packets wait for the consumer at most: a message of each of 10,000 sites, and some more.
	hubEvents = 16384
	// hubInject packets wait for the tap's reader at most: the answers to them.
	hubInject = 16384
	// hubInitiate handshakes wait to be begun.
	hubInitiate = 1024
	// siteBurst control packets of a site are taken at once, then one more each siteEvery: no site speaks so much, and
	// one that does must not fill the queue of all.
	siteBurst = 128
	siteEvery = time.Second / 64
	// sessionFor a handshake is good: WireGuard's Reject-After-Time.
	sessionFor = 180 * time.Second
	// knocks packets of the kernel in each knockEvery go on to a site without a session, so that it is called. The rest
	// would lie in wireguard-go for 90 s, each in 64 KiB, 128 for each site.
	knocks     = 4
	knockEvery = 5 * time.Second
	// knockBurst of them go on at once to all such sites, then one more each knockAgain: each calls for 90 s.
	knockBurst = 256
	knockAgain = time.Second / 32
	// maxSites is wireguard-go's limit.
	maxSites = device.MaxPeers
)

// Hub is an open tunnel to many sites, each a WireGuard peer that is known by its key and heard from anywhere. Its
// methods may be called from any goroutine. The consumer must drain Events.
type Hub struct {
	end
	cfg     atomic.Pointer[HubConfig]
	strange atomic.Uint64
	limited atomic.Uint64
	refused atomic.Uint64
	lonely  atomic.Uint64
	pace    *pacer
	toBegin chan wgkey.Public
	peers   peerTable
	knock   bucket.Bucket // of all sites without a session; only touched by the tap's reader

	cancel  context.CancelFunc
	running sync.WaitGroup
	once    sync.Once

	// mu is held while the device is changed or read, for seconds if there is much to do. The packet path does not take it.
	mu     sync.Mutex
	sites  map[wgkey.Public]*site
	unsure bool      // a change broke off: sites may not be as the device is
	readAt time.Time // of the last Sites, or when the hub was made

	// index guards owner, lengths and site.guest, which only holders of mu change.
	index   sync.RWMutex
	owner   map[netip.Prefix]*site // of each allowed-ip
	lengths []int                  // that allowed-ips have or had, longest first
}

// site is what a hub keeps of a site: some 700 octets with its places in the maps.
type site struct {
	key       wgkey.Public
	allowed   []netip.Prefix // on the device, as far as we know
	keepalive time.Duration  // wanted
	guest     bool
	history

	inits    atomic.Uint64
	shookAt  atomic.Int64 // nanoseconds of peerTable.now; zero: never
	callable atomic.Bool  // there is an endpoint

	knockAt time.Duration // when the present knocks began; only touched by the tap's reader
	knocked int

	mu      sync.Mutex // guards what follows
	bucket  bucket.Bucket
	limited uint64
}

// OpenHub makes the interface and brings WireGuard up, without sites; the link itself stays down.
func OpenHub(cfg HubConfig, log *slog.Logger) (*Hub, error) {
	h, err := newHub(cfg, log, &hubBind{})
	if err != nil {
		return nil, err
	}
	inner, err := createTUN(h.name, h.cfg.Load().MTU)
	if err != nil {
		return nil, err
	}
	if err := h.open(inner); err != nil {
		return nil, err
	}
	h.serveControl()
	return h, nil
}

// OpenHubMemory is OpenHub without an interface: what is not for the hub itself comes through the Memory, which the Hub
// closes. wg cannot see it.
func OpenHubMemory(cfg HubConfig, log *slog.Logger) (*Hub, *Memory, error) {
	h, err := newHub(cfg, log, &hubBind{})
	if err != nil {
		return nil, nil, err
	}
	m := NewMemory(h.name, h.cfg.Load().MTU)
	if err := h.open(m); err != nil {
		return nil, nil, err
	}
	return h, m, nil
}

func newHub(cfg HubConfig, log *slog.Logger, bind conn.Bind) (*Hub, error) {
	cfg, err := cfg.normalize()
	if err != nil {
		return nil, err
	}
	pace := newPacer(bind, cfg.PrivateKey.Public())
	h := &Hub{
		end: newEnd(cfg.Name, cfg.PrivateKey, pace, hubEvents, log), pace: pace, toBegin: make(chan wgkey.Public, hubInitiate),
		sites: map[wgkey.Public]*site{}, owner: map[netip.Prefix]*site{}, readAt: bootclock.Now(),
		knock: bucket.Bucket{Burst: knockBurst, Every: knockAgain}, peers: peerTable{start: time.Now()},
	}
	h.cfg.Store(&cfg)
	return h, nil
}

func (h *Hub) open(inner wgtun.Device) error {
	cfg := h.cfg.Load()
	tap := newTap(inner, cfg.own(), hubInject, h.received, h.refuse)
	tap.filter = h.filter
	err := h.bringUp(tap, interfaceSettings(cfg.PrivateKey, cfg.outer()), cfg.ListenPort, h.peers.shook)
	if errors.Is(err, unix.EADDRINUSE) {
		return fmt.Errorf("%w: another program has that port (ss -lunp shows which): stop it, or set another ListenPort in [Interface]", err)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	h.running.Add(1)
	go func() { defer h.running.Done(); h.loop(ctx) }()
	return nil
}

// Close removes the interface and the socket of wg, and waits for everything that was started.
func (h *Hub) Close() error {
	h.once.Do(func() {
		h.cancel()
		h.running.Wait()
		h.shut()
	})
	return nil
}

// Events has Received and Failed. It is never closed; after Failed or Close nothing comes any more.
func (h *Hub) Events() <-chan Event { return h.events }

// Send queues a whole IPv6 packet to the site whose allowed-ips hold its destination. The packet belongs to the hub
// afterwards. It is lost, as on any link, when no site has the destination. To a site without a session it begins a
// handshake that is tried for 90 s, also where no endpoint is known: do not send to sites that are not there.
func (h *Hub) Send(pkt []byte) error {
	if err := checkPacket(h.name, pkt); err != nil {
		return err
	}
	return h.tap.Inject(pkt)
}

// Initiate begins a handshake with a site whose endpoint is known, soon; nothing happens if it is not. WireGuard tries
// for 90 s, and begins at most one in 5 s. It never waits and says whether there was room in the queue of 1024: each costs
// about a third of a millisecond, so the caller sets the pace.
func (h *Hub) Initiate(key wgkey.Public) bool {
	select {
	case h.toBegin <- key:
		return true
	default:
		return false
	}
}

// received runs in wireguard-go's receiver of one site and must not wait. That the source address is the site's own
// WireGuard has checked; whose it is, the index says.
func (h *Hub) received(pkt []byte) {
	src := netip.AddrFrom16([16]byte(pkt[offSrc : offSrc+16]))
	h.index.RLock()
	s := h.owner[netip.PrefixFrom(src, src.BitLen())]
	h.index.RUnlock()
	if s == nil || !src.IsLinkLocalUnicast() {
		h.strange.Add(1)
		return
	}
	s.mu.Lock()
	ok := s.bucket.Take(bootclock.Now(), 1)
	if !ok {
		s.limited++
	}
	s.mu.Unlock()
	if !ok {
		h.limited.Add(1)
		return
	}
	h.deliver(s.key, pkt)
}

// refuse keeps packets with a link-local source that are not for us from the kernel: those of a guest, and while sites
// change those of nobody.
func (h *Hub) refuse(pkt []byte) bool {
	src := netip.AddrFrom16([16]byte(pkt[offSrc : offSrc+16]))
	h.index.RLock()
	s := h.owner[netip.PrefixFrom(src, src.BitLen())]
	refused := s == nil || s.guest
	h.index.RUnlock()
	if refused {
		h.refused.Add(1)
	}
	return refused
}

// loop mends the sockets and begins handshakes.
func (h *Hub) loop(ctx context.Context) {
	s := newSockets(&h.end)
	defer s.rebind.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.dev.Wait():
			select {
			case h.events <- h.failed():
			case <-ctx.Done():
			}
			return
		case <-h.obs.trouble:
			s.schedule()
		case <-s.rebind.C:
			s.reopen(h.cfg.Load().ListenPort)
		case key := <-h.toBegin:
			h.begin(key)
		}
	}
}

// begin does nothing before the endpoint is known: the attempt would only forbid the next one for 5 s.
func (h *Hub) begin(key wgkey.Public) {
	h.mu.Lock()
	s := h.sites[key]
	known := s != nil && s.endpoint.IsValid()
	h.mu.Unlock()
	if !known {
		return
	}
	if p := h.dev.LookupPeer(device.NoisePublicKey(key)); p != nil {
		_ = p.SendHandshakeInitiation(false) // the observer keeps the error
	}
}
