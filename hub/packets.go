// SPDX-License-Identifier: MIT

package hub

import (
	"net/netip"
	"time"

	"oasis6/dhcpv6"
	"oasis6/hub/enroll"
	"oasis6/hub/pd"
	"oasis6/internal/invite"
	"oasis6/internal/ip6pkt"
	"oasis6/ra"
	"oasis6/tun"
)

const (
	dhcpv6ServerPort = dhcpv6.ServerPort
	dhcpv6ClientPort = dhcpv6.ClientPort

	ndHopLimit = 255 // nobody behind a router can forge it (RFC 4861 section 4.1)
)

// linkLocal is the hub's own address on the tunnel.
func (h *Hub) linkLocal() netip.Addr { return h.opt.Tunnel.Snapshot().LinkLocal }

// onPacket takes a packet that the tap took out of the tunnel. Whose it is, WireGuard has proven: from a site it takes only
// what its allowed-ips have, and no two sites have the same.
func (h *Hub) onPacket(now time.Time, r tun.Received) {
	s := h.byKey[r.Site]
	if s == nil {
		h.counters.unknown++ // it has just been removed
		return
	}
	if !s.alive(now) {
		h.pollSooner(now)
	}
	if u, err := ip6pkt.ParseUDP(r.Packet); err == nil {
		switch port := u.Dst.Port(); {
		case port == invite.Port:
			h.stepBook(now, enroll.Received{From: s.Public, Data: u.Payload})
		case port == dhcpv6ServerPort && s.origin != invited:
			h.step(now, pd.Received{Site: s.Public, Data: u.Payload})
		default:
			h.counters.broken++
		}
		return
	}
	m, err := ip6pkt.ParseICMPv6(r.Packet)
	if err != nil {
		h.counters.broken++
		return
	}
	if len(m.Body) == 0 || m.Body[0] != ra.TypeRouterSolicitation {
		return // nobody else is our router or our neighbor
	}
	if _, _, why := ra.ParseRS(m.Src, int(m.HopLimit), m.Body); why != ra.Accepted {
		h.counters.broken++
	} else if s.origin != invited && s.solicits.Take(now, 1) {
		h.tell(s)
	}
}

// tell sends a site its Router Advertisement.
func (h *Hub) tell(s *site) {
	for _, body := range h.adverts {
		p := ip6pkt.ICMPv6(h.linkLocal(), s.linkLocal, ndHopLimit, body)
		h.outbox = append(h.outbox, outgoing{site: s.Public, packet: p})
	}
}

// tellDue sends the advertisements whose time has come, to sites that are there: one to a box that is off would only make
// WireGuard look for it.
func (h *Hub) tellDue(now time.Time) {
	first, n := h.ring.due(now, len(h.sites))
	for i := range n {
		if s := h.sites[(first+i)%len(h.sites)]; s.origin != invited && s.alive(now) {
			h.tell(s)
		}
	}
}

// appear notes a site that has come: it may have no Router Advertisement yet, and ask for none.
func (h *Hub) appear(now time.Time, s *site) {
	h.appeared = append(h.appeared, s.Public)
	if h.appearedAt.IsZero() {
		h.appearedAt = now
	}
}

// tellAppeared tells some of those that have come. After a start they are thousands in one poll, and each packet takes a
// buffer of 64 KiB on its way through the device, which then stays with the peer.
func (h *Hub) tellAppeared(now time.Time) {
	n := min(int(advertTick*hurryRate/time.Second), len(h.appeared))
	for _, k := range h.appeared[:n] {
		if s := h.byKey[k]; s != nil && s.alive(now) {
			h.tell(s)
		}
	}
	h.appeared, h.appearedAt = h.appeared[n:], now.Add(advertTick)
	if len(h.appeared) == 0 {
		h.appeared, h.appearedAt = nil, time.Time{}
	}
}

// setAdvertisement makes what sites are told, and tells them if it is news.
func (h *Hub) setAdvertisement(now time.Time) error {
	tunnel := h.opt.Tunnel.Snapshot()
	packets, err := advertisement(h.cfg, h.withdrawn, tunnel.MTU, false)
	if err != nil {
		return err
	}
	news := len(packets) != len(h.adverts) || tunnel.LinkLocal != h.advertFrom
	for i := range packets {
		news = news || string(packets[i]) != string(h.adverts[i])
	}
	if h.adverts, h.advertFrom = packets, tunnel.LinkLocal; news {
		h.ring.news(now, len(h.sites))
	}
	return nil
}
