// SPDX-License-Identifier: MIT

package simwg

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"oasis6/internal/bucket"
	"oasis6/internal/wgkey"
	"oasis6/lab/simwg/device"
	"oasis6/tun"
)

// hubEvents wait for the loop at most. The lab has few sites.
const hubEvents = 1024

// Hub is the hub's end. It is a hub.Tunnel; the methods that are not of that interface belong to the lab.
type Hub struct {
	*end
	cfg   tun.HubConfig
	list  []tun.Site // as SetSites and SetAllowed want them
	sites map[wgkey.Public]*site
	owner map[netip.Prefix]*site // of each allowed-ip
	knock bucket.Bucket          // of all sites without a session

	strange, limited, refused, lonely uint64
}

// site is what a hub keeps of a site.
type site struct {
	want    tun.Site
	bucket  bucket.Bucket // of its control packets
	limited uint64
	knockAt time.Time // when the present knocks began
	knocked int

	endpoint, before netip.AddrPort // at the last readings that found another one
	moves, returns   uint64
}

// NewHub makes one without sites.
func NewHub(cfg tun.HubConfig, opt Options) (*Hub, error) {
	cfg, err := cfg.Normal()
	if err != nil {
		return nil, err
	}
	h := &Hub{
		end: newEnd(cfg.Name, cfg.PrivateKey.Public(), cfg.ListenPort, cfg.MTU, hubEvents, opt), cfg: cfg,
		sites: map[wgkey.Public]*site{}, owner: map[netip.Prefix]*site{},
		knock: bucket.Bucket{Burst: tun.KnockBurst, Every: tun.KnockAgain},
	}
	h.after = h.stepped
	return h, nil
}

// stepped sorts what the device gives.
func (h *Hub) stepped(now time.Time, a *device.Actions) {
	for _, p := range a.Deliver {
		src := netip.AddrFrom16([16]byte(p.Data[8:24]))
		s := h.owner[netip.PrefixFrom(src, src.BitLen())]
		switch {
		case tun.ForUs(p.Data, h.cfg.LinkLocal, h.cfg.Port):
			h.counts.taken++
			h.take(now, s, src, p.Data)
		case tun.FromLinkLocal(p.Data) && (s == nil || s.want.Guest):
			h.refused++
		default:
			h.out = append(h.out, output{data: p.Data})
		}
	}
}

// take passes on what a site's own link-local address sends to the hub itself, so much of it as one site may send.
func (h *Hub) take(now time.Time, s *site, src netip.Addr, pkt []byte) {
	switch {
	case s == nil || !src.IsLinkLocalUnicast():
		h.strange++
	case !s.bucket.Take(now, 1):
		s.limited++
		h.limited++
	default:
		h.received(s.want.Public, pkt)
	}
}

// Packet takes a whole IPv6 packet from the data plane, on any goroutine. It belongs to the hub. The text is what became of
// it.
func (h *Hub) Packet(pkt []byte) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if tun.KernelSpeaks(pkt) {
		h.counts.silenced++
		return silenced
	}
	if text := h.filter(pkt); text != "" {
		h.lonely++
		return text
	}
	defer h.post()
	return h.stepLocked(device.PacketOut{Packet: pkt}).String()
}

// filter drops what cannot get to its site, but for a few packets that call it.
func (h *Hub) filter(pkt []byte) string {
	if len(pkt) < 40 || pkt[0]>>4 != 6 {
		return "" // the device says what is wrong
	}
	key, ok := h.dev.Route(netip.AddrFrom16([16]byte(pkt[24:40])))
	if !ok {
		return ""
	}
	now, s := h.opt.Scheduler.Now(), h.sites[key]
	st, _ := h.dev.Peer(key)
	switch {
	case !st.HeardAt.IsZero() && now.Sub(st.HeardAt) < tun.SessionFor:
		return ""
	case !st.Endpoint.IsValid():
		return "dropped: the site has never been heard"
	case !h.knocks(s, now):
		return "dropped: the site has no session and was called already"
	}
	return ""
}

// knocks says whether one more packet may go to a site without a session.
func (h *Hub) knocks(s *site, now time.Time) bool {
	if now.Sub(s.knockAt) >= tun.KnockEvery {
		s.knockAt, s.knocked = now, 0
	}
	if s.knocked >= tun.Knocks || !h.knock.Take(now, 1) {
		return false
	}
	s.knocked++
	return true
}

// Send is hub.Tunnel's.
func (h *Hub) Send(pkt []byte) error { return h.inject(pkt) }

// Initiate is hub.Tunnel's; there is always room.
func (h *Hub) Initiate(key wgkey.Public) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if st, ok := h.dev.Peer(key); ok && st.Endpoint.IsValid() {
		h.stepLocked(device.Initiate{Peer: key})
		h.post()
	}
	return true
}

// SetSites is hub.Tunnel's: sites that stay keep their sessions.
func (h *Hub) SetSites(sites []tun.Site) error {
	sites, err := tun.CheckSites(h.name, h.public, sites)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.setSites(sites)
	return nil
}

func (h *Hub) setSites(list []tun.Site) {
	next, owner := make(map[wgkey.Public]*site, len(list)), map[netip.Prefix]*site{}
	peers := make([]device.Peer, 0, len(list))
	for _, to := range list {
		to.Endpoint = netip.AddrPortFrom(to.Endpoint.Addr().Unmap(), to.Endpoint.Port())
		s := h.sites[to.Public]
		if s == nil {
			s = &site{bucket: bucket.Bucket{Burst: tun.SiteBurst, Every: tun.SiteEvery}, endpoint: to.Endpoint}
		}
		s.want = to
		next[to.Public] = s
		for _, p := range to.AllowedIPs {
			owner[p] = s
		}
		st, _ := h.dev.Peer(to.Public)
		peers = append(peers, device.Peer{
			Public: to.Public, Preshared: to.Preshared, AllowedIPs: to.AllowedIPs, Endpoint: to.Endpoint, Keepalive: keepalive(to, st),
		})
	}
	h.list, h.sites, h.owner = list, next, owner
	h.stepLocked(device.SetPeers{Peers: peers})
	h.post()
}

// keepalive is what a site's peer does: nothing before the first handshake, as that would be an initiation every 5 s.
func keepalive(s tun.Site, st device.State) time.Duration {
	if st.Completed.IsZero() {
		return 0
	}
	return s.Keepalive.Truncate(time.Second)
}

// SetAllowed is hub.Tunnel's.
func (h *Hub) SetAllowed(list []tun.Allowed) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := slices.Clone(h.list)
	seen := map[wgkey.Public]bool{}
	for _, a := range list {
		i := slices.IndexFunc(next, func(s tun.Site) bool { return s.Public == a.Site })
		switch {
		case i < 0:
			return fmt.Errorf("tunnel %s: site %s: not on the device: set all sites", h.name, a.Site)
		case seen[a.Site]:
			return fmt.Errorf("tunnel %s: site %s: twice", h.name, a.Site)
		}
		seen[a.Site] = true
		next[i].AllowedIPs = a.IPs
	}
	next, err := tun.CheckSites(h.name, h.public, next)
	if err != nil {
		return err
	}
	h.setSites(next)
	return nil
}

// Sites is hub.Tunnel's.
func (h *Hub) Sites() (map[wgkey.Public]tun.Reading, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.opt.Scheduler.Now()
	out := make(map[wgkey.Public]tun.Reading, len(h.sites))
	for _, key := range h.dev.Peers() {
		s := h.sites[key]
		st, _ := h.dev.Peer(key)
		out[key] = s.read(now, st)
		if want := keepalive(s.want, st); want != st.Keepalive {
			h.stepLocked(device.SetKeepalive{Peer: key, Every: want})
		}
	}
	h.post()
	return out, nil
}

// read also notes where the site is: what happens between two readings is not seen, as with a true device.
func (s *site) read(now time.Time, st device.State) tun.Reading {
	if st.Endpoint.IsValid() && st.Endpoint != s.endpoint {
		if s.endpoint.IsValid() {
			s.moves++
			if st.Endpoint == s.before {
				s.returns++
			}
		}
		s.before, s.endpoint = s.endpoint, st.Endpoint
	}
	r := tun.Reading{
		Endpoint: s.endpoint, HandshakeAt: st.Completed, HandshakeAge: -1, RxBytes: st.Counters.RxBytes, TxBytes: st.Counters.TxBytes,
		AllowedIPs: len(st.AllowedIPs), Initiations: st.Counters.InitiationsReceived, Moves: s.moves, Returns: s.returns, Limited: s.limited,
	}
	if !st.Completed.IsZero() {
		r.HandshakeAge = now.Sub(st.Completed)
	}
	return r
}

// Reconfigure is hub.Tunnel's: sites and sessions stay.
func (h *Hub) Reconfigure(cfg tun.HubConfig) error {
	cfg, err := cfg.Normal()
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.cfg
	if cfg.Name != was.Name || cfg.PrivateKey != was.PrivateKey {
		return fmt.Errorf("tunnel %s: another interface name or private key: %w", was.Name, tun.ErrRestart)
	}
	if cfg.ListenPort != was.ListenPort {
		h.setPort(cfg.ListenPort)
	}
	h.cfg = cfg
	h.stepLocked(device.SetMTU{MTU: cfg.MTU})
	h.post()
	return nil
}

// Snapshot is hub.Tunnel's.
func (h *Hub) Snapshot() tun.HubSnapshot {
	h.mu.Lock()
	defer h.mu.Unlock()
	return tun.HubSnapshot{
		Interface: h.name, PublicKey: h.public, LinkLocal: h.cfg.LinkLocal, MTU: h.cfg.MTU, ListenPort: h.port, SendError: h.sendErr,
		Taken: h.counts.taken, Strange: h.strange, Limited: h.limited, Dropped: h.counts.dropped, Refused: h.refused,
		Injected: h.counts.injected, Silenced: h.counts.silenced, Lonely: h.lonely,
	}
}
