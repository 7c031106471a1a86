// SPDX-License-Identifier: MIT

package tun

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"oasis6/internal/bootclock"
	"oasis6/internal/wgkey"
)

// Reading is what a hub knows of a site at one moment. Counters begin when SetSites brings the site.
type Reading struct {
	Endpoint     netip.AddrPort // invalid: never heard of, none given
	HandshakeAt  time.Time      // boot clock; zero: none with this device
	HandshakeAge time.Duration  // -1: none
	RxBytes      uint64
	TxBytes      uint64
	AllowedIPs   int // on the device
	// Initiations that were authenticated. A site makes one in two minutes, and one in five seconds while it does not hear
	// our answers.
	Initiations uint64
	// Moves counts the readings that found another endpoint than the one before, and Returns those of them that found the
	// last but one again. A site that moves, or whose NAT forgets it, goes on to another address or port. Two
	// boxes that share a key fetch the session from each other, with an initiation each time: Returns grows again and again.
	Moves, Returns uint64
	Limited        uint64 // control packets beyond what one site may send
	// Drifted says that the device does not have what it was given: somebody used wg. A site that is no longer there has
	// nothing else; one that is there and not ours is drifted too. SetSites mends it.
	Drifted bool
}

// history is what readings leave for the next one.
type history struct {
	endpoint, before netip.AddrPort
	stamp            handshakeStamp
	handshakeAt      time.Time // boot clock
	rx, rxBase       uint64
	tx, txBase       uint64
	moves, returns   uint64
}

// devicePeer is what the device says of a site.
type devicePeer struct {
	peerReading
	preshared wgkey.Preshared
	keepalive time.Duration
	allowed   []netip.Prefix
}

// Sites reads the device once: all sites, at the cost of some 5 µs each, while which no site is changed. It also begins
// the keepalives of those that were heard for the first time.
func (h *Hub) Sites() (map[wgkey.Public]Reading, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.meetPeers() // somebody may have made some again with wg
	now, wall := bootclock.Now(), time.Now()
	out := make(map[wgkey.Public]Reading, len(h.sites))
	var texts []string
	err := h.eachPeer(func(key wgkey.Public, d *devicePeer) {
		s := h.sites[key]
		if s == nil {
			out[key] = Reading{Endpoint: d.endpoint, HandshakeAge: -1, RxBytes: d.rx, TxBytes: d.tx, AllowedIPs: len(d.allowed), Drifted: true}
			return
		}
		s.take(d.peerReading, now, h.readAt, wall)
		if want := (Site{Keepalive: s.keepalive}).keepaliveFor(d.peerReading); want != d.keepalive {
			texts = append(texts, existing(key)+"persistent_keepalive_interval="+seconds(want)+"\n")
		}
		r := s.reading(now)
		r.Initiations, r.AllowedIPs, r.Drifted = s.inits.Load(), len(d.allowed), h.drifted(s, d)
		out[key] = r
	})
	if err != nil {
		return nil, err
	}
	for key := range h.sites {
		if _, there := out[key]; !there {
			out[key] = Reading{HandshakeAge: -1, Drifted: true}
		}
	}
	h.readAt = now
	return out, h.apply(texts)
}

// take notes what is new. The handshake's stamp is of the wall clock, which may be set at any time: it says when, as
// far as that lies between the last reading and this one.
func (s *site) take(d peerReading, now, last, wall time.Time) {
	s.callable.Store(d.endpoint.IsValid())
	if d.endpoint.IsValid() && d.endpoint != s.endpoint {
		if s.endpoint.IsValid() {
			s.moves++
			if d.endpoint == s.before {
				s.returns++
			}
		}
		s.before, s.endpoint = s.endpoint, d.endpoint
	}
	if d.handshake != s.stamp {
		s.stamp, s.handshakeAt = d.handshake, time.Time{}
		if d.handshake != (handshakeStamp{}) {
			ago := wall.Sub(time.Unix(d.handshake.sec, d.handshake.nsec))
			s.handshakeAt = now.Add(-min(max(ago, 0), now.Sub(last)))
		}
	}
	if d.rx < s.rx || d.tx < s.tx { // the peer was removed and made again
		s.rxBase, s.txBase = s.rxBase+s.rx, s.txBase+s.tx
	}
	s.rx, s.tx = d.rx, d.tx
}

func (s *site) reading(now time.Time) Reading {
	s.mu.Lock()
	limited := s.limited
	s.mu.Unlock()
	r := Reading{
		Endpoint: s.endpoint, HandshakeAt: s.handshakeAt, HandshakeAge: -1, RxBytes: s.rxBase + s.rx, TxBytes: s.txBase + s.tx,
		Moves: s.moves, Returns: s.returns, Limited: limited,
	}
	if !s.handshakeAt.IsZero() {
		r.HandshakeAge = now.Sub(s.handshakeAt)
	}
	return r
}

// drifted compares the allowed-ips of the device with those that we gave.
func (h *Hub) drifted(s *site, d *devicePeer) bool {
	if len(d.allowed) != len(s.allowed) {
		return true
	}
	for _, p := range d.allowed {
		if h.owner[p] != s {
			return true
		}
	}
	return false
}

// AllowedIPs reads them from the device, of all sites.
func (h *Hub) AllowedIPs() (map[wgkey.Public][]netip.Prefix, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	have, err := h.readPeers()
	out := make(map[wgkey.Public][]netip.Prefix, len(have))
	for key, d := range have {
		out[key] = d.allowed
	}
	return out, err
}

// readPeers reads all peers of the device at once.
func (h *Hub) readPeers() (map[wgkey.Public]*devicePeer, error) {
	peers := make(map[wgkey.Public]*devicePeer, len(h.sites))
	err := h.eachPeer(func(key wgkey.Public, d *devicePeer) {
		c := *d
		c.allowed = slices.Clone(d.allowed)
		peers[key] = &c
	})
	return peers, err
}

// eachPeer gives f each peer of the device, which is f's until it returns. f must not use the device.
func (h *Hub) eachPeer(f func(wgkey.Public, *devicePeer)) error {
	p := peerParser{each: f}
	if err := h.dev.IpcGetOperation(&p); err != nil {
		return fmt.Errorf("interface %s: read wireguard: %w", h.name, err)
	}
	p.finish()
	return nil
}

// peerParser takes what we use from the text of the configuration protocol, which the device writes to it: megabytes where
// there are many peers. The text holds secrets and is not kept.
type peerParser struct {
	each func(wgkey.Public, *devicePeer)
	key  wgkey.Public
	peer devicePeer // takes what is said of the device itself before the first peer
	in   bool       // there is a peer
	rest []byte     // what was written of a line; wireguard-go writes all at once
}

// Write takes any part of the text.
func (p *peerParser) Write(text []byte) (int, error) {
	n := len(text)
	if len(p.rest) > 0 {
		text = append(p.rest, text...)
		p.rest = nil
	}
	for {
		line, rest, whole := bytes.Cut(text, []byte{'\n'})
		if !whole {
			p.rest = bytes.Clone(line)
			return n, nil
		}
		p.line(line)
		text = rest
	}
}

// finish is called after the last Write.
func (p *peerParser) finish() {
	if len(p.rest) > 0 {
		p.line(p.rest)
	}
	if p.in {
		p.each(p.key, &p.peer)
	}
}

func (p *peerParser) line(line []byte) {
	key, value, _ := bytes.Cut(line, []byte{'='})
	d := &p.peer
	switch string(key) {
	case "public_key":
		if p.in {
			p.each(p.key, d)
		}
		p.key, p.in = wgkey.Public(key32(value)), true
		*d = devicePeer{allowed: d.allowed[:0]}
	case "preshared_key":
		d.preshared = wgkey.Preshared(key32(value))
	case "persistent_keepalive_interval":
		n, _ := strconv.ParseUint(string(value), 10, 16) // the device writes numbers only
		d.keepalive = time.Duration(n) * time.Second
	case "allowed_ip":
		if a, err := netip.ParsePrefix(string(value)); err == nil {
			d.allowed = append(d.allowed, a)
		}
	default:
		d.take(string(key), value)
	}
}

// key32 reads a key as the device writes it.
func key32(b []byte) (k [wgkey.Size]byte) {
	if len(b) == hex.EncodedLen(len(k)) {
		_, _ = hex.Decode(k[:], b) // the device writes hexadecimal digits only
	}
	return k
}

// HubSnapshot is the state of a Hub at one moment, for status pages; it costs nothing. Sites has that of the sites.
type HubSnapshot struct {
	Interface  string
	PublicKey  wgkey.Public
	LinkLocal  netip.Addr
	MTU        int
	ListenPort uint16
	SendError  string // why datagrams do not leave, while they do not
	Taken      uint64 // packets taken out for us; of these
	Strange    uint64 // not from a site's link-local address,
	Limited    uint64 // beyond what one site may send,
	Dropped    uint64 // lost because Events was not drained
	Refused    uint64 // packets of guests that were not for us
	Injected   uint64
	Silenced   uint64 // control packets of our own kernel, kept from the sites
	Lonely     uint64 // packets of the kernel to sites without a session, dropped but for a few that call the site
	Crowded    uint64 // handshake initiations, of sites or others, that found no room to wait,
	Hasty      uint64 // or whose address had as many waiting as one may,
	Stale      uint64 // or that waited until their site had long begun again
}

// Snapshot does not wait for a change that goes on.
func (h *Hub) Snapshot() HubSnapshot {
	cfg := h.cfg.Load()
	return HubSnapshot{
		Interface: h.name, PublicKey: h.public, LinkLocal: cfg.LinkLocal, MTU: cfg.MTU, ListenPort: h.obs.port(), SendError: h.obs.lastErr(),
		Taken: h.tap.stats.taken.Load(), Strange: h.strange.Load(), Limited: h.limited.Load(), Dropped: h.dropped.Load(),
		Refused: h.refused.Load(), Injected: h.tap.stats.injected.Load(), Silenced: h.tap.stats.silenced.Load(), Lonely: h.lonely.Load(),
		Crowded: h.pace.waiting.crowded.Load(), Hasty: h.pace.waiting.hasty.Load(), Stale: h.pace.waiting.stale.Load(),
	}
}
