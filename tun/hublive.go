// SPDX-License-Identifier: MIT

package tun

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/device"

	"oasis6/internal/ip6pkt"
)

// filter drops what the kernel has for sites that cannot get it. wireguard-go keeps each packet for a peer without a
// session and calls the peer again and again: whoever sends to the leases of sites that are away would fill the memory.
// A site that has no endpoint gets nothing, one without a session a few packets, which begin a handshake.
func (h *Hub) filter(bufs [][]byte, sizes []int, offset int) {
	now := h.peers.now()
	var lively netip.Addr // the destination that was passed last: mostly all packets of a batch have one
	h.index.RLock()
	defer h.index.RUnlock()
	for i, b := range bufs {
		p := b[offset : offset+sizes[i]]
		if len(p) < ip6pkt.HeaderLen || p[0]>>4 != 6 {
			continue // wireguard-go drops it
		}
		dst := netip.AddrFrom16([16]byte(p[offDst : offDst+16]))
		if dst == lively {
			continue
		}
		switch s := h.lookup(dst); {
		case s == nil: // nobody's
		case s.live(now):
			lively = dst
		case !s.callable.Load() || !h.knocks(s, now):
			sizes[i] = 0
			h.lonely.Add(1)
		}
	}
}

// lookup finds the site to which a packet goes, as the device does. It needs index.
func (h *Hub) lookup(dst netip.Addr) *site {
	for _, bits := range h.lengths {
		p, _ := dst.Prefix(bits) // no error: the length is one of a prefix
		if s := h.owner[p]; s != nil {
			return s
		}
	}
	return nil
}

// live says whether there can be a session.
func (s *site) live(now time.Duration) bool {
	at := s.shookAt.Load()
	return at != 0 && now-time.Duration(at) < sessionFor
}

// knocks says whether one more packet may go to a site without a session.
func (h *Hub) knocks(s *site, now time.Duration) bool {
	if now-s.knockAt >= knockEvery {
		s.knockAt, s.knocked = now, 0
	}
	if s.knocked >= knocks || !h.knock.Take(time.Unix(0, int64(now)), 1) {
		return false
	}
	s.knocked++
	return true
}

// addLength keeps lengths sorted. It needs index.
func (h *Hub) addLength(bits int) {
	if at := slices.IndexFunc(h.lengths, func(have int) bool { return have <= bits }); at < 0 {
		h.lengths = append(h.lengths, bits)
	} else if h.lengths[at] != bits {
		h.lengths = slices.Insert(h.lengths, at, bits)
	}
}

// setOwner makes another index, with what changes about the sites in it.
func (h *Hub) setOwner(owner map[netip.Prefix]*site, changes []change) {
	h.index.Lock()
	defer h.index.Unlock()
	h.owner, h.lengths = owner, nil
	for p := range owner {
		h.addLength(p.Bits())
	}
	for _, c := range changes {
		c.site.guest = c.to.Guest
	}
}

// peerTable finds sites by wireguard-go's peers, of which its log lines speak.
type peerTable struct {
	start time.Time
	mu    sync.Mutex
	site  map[*device.Peer]*site
	early map[*device.Peer]uint64 // handshake messages of peers that are not in site yet
}

// now counts from the start, by the clock that wireguard-go has for its sessions: it stands still in suspend, and reading
// it costs the packet path a tenth of what the boot clock would. It is never zero.
func (t *peerTable) now() time.Duration { return max(time.Since(t.start), 1) }

// shook notes a handshake message that was authenticated. Its peer has an endpoint.
func (t *peerTable) shook(p *device.Peer, message byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.site[p]
	if s == nil {
		if t.early == nil {
			t.early = map[*device.Peer]uint64{}
		}
		t.early[p]++
		return
	}
	s.shook(t.now())
	if message == messageInitiation {
		s.inits.Add(1)
	}
}

func (s *site) shook(now time.Duration) {
	s.callable.Store(true)
	s.shookAt.Store(int64(now))
}

// set makes the table that of the peers that there are.
func (t *peerTable) set(sites map[*device.Peer]*site) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.site = sites
	for p, n := range t.early {
		if s := sites[p]; s != nil {
			s.shook(t.now())
			s.inits.Add(n) // a response in this moment may be among them
		}
	}
	t.early = nil
}
