// SPDX-License-Identifier: MIT

package hub

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"oasis6/config"
	"oasis6/dhcpv6"
	"oasis6/hub/enroll"
	"oasis6/hub/pd"
	"oasis6/internal/bucket"
	"oasis6/internal/wgkey"
	"oasis6/tun"
)

// origin is where the hub knows a site from.
type origin uint8

const (
	file    origin = iota // a [Peer] of the configuration
	joined                // it came with an invitation, and is in the store
	invited               // an invitation that waits for its box: the temporary key
)

func (o origin) String() string { return [...]string{"file", "joined", "invited"}[o] }

// site is one peer of the device. AllowedIPs of its tun.Site are those that the device has.
type site struct {
	tun.Site
	name      string
	origin    origin
	linkLocal netip.Addr

	place                // where it was last
	reading  tun.Reading // the last
	flap     flapMeter
	solicits bucket.Bucket
}

// sessionLasts is WireGuard's reject-after-time: without a new handshake a session is over.
const sessionLasts = 180 * time.Second

// alive says that the site has a session.
func (s *site) alive(now time.Time) bool {
	return !s.reading.HandshakeAt.IsZero() && now.Sub(s.reading.HandshakeAt) < sessionLasts
}

// label is the name, or else the key.
func (s *site) label() string {
	if s.name != "" {
		return s.name
	}
	return s.Public.String()
}

// setSites makes the list of what the file and the book say, and gives it to the device; anew are those that it must forget
// before. What goes keeps its place there until its routes are gone: see dropGone.
func (h *Hub) setSites(now time.Time, anew []wgkey.Public) error {
	old := h.byKey
	h.sites, h.byKey, h.byLink = nil, map[wgkey.Public]*site{}, map[netip.Addr]*site{}
	for i := range h.cfg.Sites {
		c := &h.cfg.Sites[i]
		h.addSite(old, site{name: c.Name, origin: file, linkLocal: c.LinkLocal,
			Site: tun.Site{Public: c.PublicKey, Preshared: c.PresharedKey, Keepalive: c.Keepalive}})
	}
	for _, p := range h.book.Peers() {
		from := joined
		if p.Origin == enroll.Invited {
			from = invited
		}
		h.addSite(old, site{name: p.Name, origin: from, linkLocal: p.LinkLocal, Site: tun.Site{Public: p.Key, Preshared: p.Preshared}})
	}
	h.forgetEndpoints(now, old)
	all := h.deviceSites()
	for k, s := range old {
		h.leaving[k] = s.Site
	}
	for k, s := range h.leaving {
		if h.byKey[k] != nil || len(s.AllowedIPs) > 0 && h.byLink[s.AllowedIPs[0].Addr()] != nil {
			delete(h.leaving, k)
		} else {
			all = append(all, s)
		}
	}
	if len(anew) > 0 {
		before := slices.DeleteFunc(slices.Clone(all), func(s tun.Site) bool { return slices.Contains(anew, s.Public) })
		if err := h.giveSites(before); err != nil {
			return err
		}
	}
	return h.giveSites(all)
}

func (h *Hub) deviceSites() []tun.Site {
	all := make([]tun.Site, 0, len(h.sites))
	for _, s := range h.sites {
		all = append(all, s.Site)
	}
	return all
}

func (h *Hub) giveSites(all []tun.Site) error {
	if err := h.opt.Tunnel.SetSites(all); err != nil {
		return fmt.Errorf("sites: %w", err)
	}
	return nil
}

// dropGone takes the sites that are no more out of the device, after their routes.
func (h *Hub) dropGone() error {
	if len(h.leaving) == 0 {
		return nil
	}
	clear(h.leaving)
	return h.giveSites(h.deviceSites())
}

// addSite puts a site into the list, with what is known of it. One that the file has wins over one that has joined.
func (h *Hub) addSite(old map[wgkey.Public]*site, n site) {
	if !n.linkLocal.IsValid() {
		n.linkLocal = n.Public.LinkLocal()
	}
	if h.byKey[n.Public] != nil || h.byLink[n.linkLocal] != nil {
		return
	}
	s := old[n.Public]
	if s == nil {
		s = &site{solicits: solicitBucket(), place: h.records.places[n.Public]}
	}
	s.name, s.origin, s.linkLocal = n.name, n.origin, n.linkLocal
	s.Public, s.Preshared, s.Keepalive, s.Endpoint, s.Guest = n.Public, n.Preshared, n.Keepalive, s.endpoint, n.origin == invited
	s.AllowedIPs = h.allowedIPs(s)
	h.sites = append(h.sites, s)
	h.byKey[s.Public], h.byLink[s.linkLocal] = s, s
}

// content is what the DHCPv6 machine is to know of a configuration and its sites.
func (h *Hub) content() pd.Content {
	c := pd.Content{
		Pools: h.cfg.Hub.Pools, Taken: h.taken, Sites: map[wgkey.Public]pd.Site{},
		Preferred: h.cfg.Hub.Preferred, Valid: h.cfg.Hub.Valid,
		SiteLength: h.cfg.Hub.SiteLength, MaxSiteLength: h.cfg.Hub.MaxSiteLength,
	}
	c.Info.DNS, c.Info.Search = h.cfg.Hub.DNS, h.cfg.Hub.Search
	reserved := map[wgkey.Public][]netip.Prefix{}
	for _, s := range h.cfg.Sites {
		reserved[s.PublicKey] = s.Prefixes
	}
	for _, s := range h.sites {
		if s.origin != invited {
			c.Sites[s.Public] = pd.Site{Name: s.name, Reserved: reserved[s.Public]}
		}
	}
	return c
}

// configure takes a configuration over: first the sites come, then what they can have is decided, and at the end of the
// turn those that have gone lose their routes and their place.
func (h *Hub) configure(now time.Time, cfg *config.HubConfig) error {
	for _, p := range h.cfg.Hub.Pools {
		if !slices.Contains(cfg.Hub.Pools, p) && !slices.Contains(h.retired, p) {
			h.retired = append(h.retired, p)
		}
	}
	h.withdrawn.DNS = withdraw(h.withdrawn.DNS, h.cfg.Hub.DNS, cfg.Hub.DNS)
	h.withdrawn.Search = withdraw(h.withdrawn.Search, h.cfg.Hub.Search, cfg.Hub.Search)
	h.cfg = cfg
	h.taken, h.mine = h.own(cfg)
	h.stepBook(now, enroll.SetContent{Content: h.bookContent()})
	h.newPeers = false
	if err := h.setSites(now, nil); err != nil {
		return err
	}
	h.step(now, pd.SetContent{Content: h.content()})
	h.reapply = true
	h.apply.Reset()
	return h.setAdvertisement(now)
}

// own are the prefixes and addresses that the hub itself has: none of them is ever delegated. Where the pool is on the link
// of the uplink, what the uplink has is the pool. mine are those that no site can have as a source.
func (h *Hub) own(cfg *config.HubConfig) (own, mine []netip.Prefix) {
	return ownOf(cfg, h.opt.OnLink())
}

func ownOf(cfg *config.HubConfig, link []netip.Prefix) (own, mine []netip.Prefix) {
	ours := hosts(cfg.Interface.Addresses)
	if cfg.Hub.OnLink {
		return sorted(ours), sorted(slices.Concat(hosts(link), ours))
	}
	own = sorted(slices.Concat(link, ours))
	return own, own
}

// hosts are the addresses alone.
func hosts(addrs []netip.Prefix) (all []netip.Prefix) {
	for _, a := range addrs {
		all = append(all, netip.PrefixFrom(a.Addr(), 128))
	}
	return all
}

func sorted(list []netip.Prefix) []netip.Prefix {
	for i := range list {
		list[i] = list[i].Masked()
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	return slices.Compact(list)
}

// refreshOwn takes over what the machine's interfaces have now: an uplink may get its addresses long after the start.
func (h *Hub) refreshOwn(now time.Time) {
	own, mine := h.own(h.cfg)
	if !slices.Equal(mine, h.mine) {
		h.mine, h.reapply = mine, true
	}
	if !slices.Equal(own, h.taken) {
		h.taken, h.reapply = own, true
		h.step(now, pd.SetContent{Content: h.content()})
	}
}

// bookContent is what the book of invitations is to know.
func (h *Hub) bookContent() enroll.Content {
	c := enroll.Content{
		Hub: h.cfg.Interface.PrivateKey.Public(), LinkLocal: h.cfg.Interface.LinkLocal, Endpoint: h.cfg.Hub.Endpoint, BootID: h.opt.BootID,
	}
	for _, s := range h.cfg.Sites {
		c.File = append(c.File, enroll.FilePeer{Name: s.Name, Key: s.PublicKey, LinkLocal: s.LinkLocal})
	}
	return c
}

// machineConfig gives the DHCPv6 server an identity that is the same for ever without being kept: both are made of the
// hub's key.
func machineConfig(cfg *config.HubConfig) pd.Config {
	key := cfg.Interface.PrivateKey
	return pd.Config{DUID: dhcpv6.DUIDFromPublicKey(key.Public()), Secret: key.Derive("oasis6 hub reconfigure")}
}
