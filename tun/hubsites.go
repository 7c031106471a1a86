// SPDX-License-Identifier: MIT

package tun

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/device"

	"oasis6/internal/bucket"
	"oasis6/internal/wgkey"
)

// chunk sites are changed at once: in between others get at the device.
const chunk = 256

// change is a site and what it is to be.
type change struct {
	site *site
	to   Site
}

// SetSites makes the device's sites those given. It reads the device, so what somebody did with wg is put right as well,
// and changes only what differs: sites that stay keep their sessions. First everything goes that must go, then comes what
// is to come, so no prefix has two owners. A new site costs about 0.2 ms, one that is as it was some microseconds.
// What is wrong with the list itself is said, all of it, before anything is changed; after another error call it again.
func (h *Hub) SetSites(sites []Site) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	changes, err := h.plan(sites)
	if err != nil {
		return err
	}
	have, err := h.readPeers()
	if err != nil {
		return err
	}
	next, owner := make(map[wgkey.Public]*site, len(changes)), make(map[netip.Prefix]*site, 2*len(changes))
	for _, c := range changes {
		next[c.site.key] = c.site
		for _, p := range c.to.AllowedIPs {
			owner[p] = c.site
		}
	}
	h.hide(func(p netip.Prefix, s *site) bool { return owner[p] != s })
	h.unsure = true
	if err := errors.Join(h.apply(leaving(next, changes, have)), h.apply(coming(changes, have))); err != nil {
		return err
	}
	for _, c := range changes {
		c.site.allowed, c.site.keepalive = c.to.AllowedIPs, c.to.Keepalive
		if have[c.site.key] == nil {
			c.site.endpoint = c.to.Endpoint
			c.site.callable.Store(c.to.Endpoint.IsValid())
			c.site.shookAt.Store(0)
		}
	}
	h.sites, h.unsure = next, false
	h.setOwner(owner, changes)
	h.meetPeers()
	return nil
}

// meetPeers finds the device's peers of all sites.
func (h *Hub) meetPeers() {
	peers := make(map[*device.Peer]*site, len(h.sites))
	for key, s := range h.sites {
		if p := h.dev.LookupPeer(device.NoisePublicKey(key)); p != nil {
			peers[p] = s
		}
	}
	h.peers.set(peers)
}

// plan checks the list and finds the sites that there are.
func (h *Hub) plan(sites []Site) ([]change, error) {
	sites, err := CheckSites(h.name, h.public, sites)
	if err != nil {
		return nil, err
	}
	changes := make([]change, 0, len(sites))
	for _, to := range sites {
		s := h.sites[to.Public]
		if s == nil {
			s = newSite(to.Public)
		}
		changes = append(changes, change{s, to})
	}
	return changes, nil
}

// CheckSites says everything that is wrong with a list for SetSites, of the hub called name with the key own. What it
// returns is another list, with allowed-ips that are masked and each there once.
func CheckSites(name string, own wgkey.Public, sites []Site) ([]Site, error) {
	if len(sites) > maxSites {
		return nil, fmt.Errorf("tunnel %s: %d sites: want %d at most", name, len(sites), maxSites)
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	seen, owner := make(map[wgkey.Public]bool, len(sites)), make(map[netip.Prefix]wgkey.Public, 2*len(sites))
	out := make([]Site, 0, len(sites))
	for _, to := range sites {
		key := to.Public
		switch {
		case key.IsZero():
			bad("tunnel %s: a site without public key", name)
		case key == own:
			bad("tunnel %s: site %s: the public key is the hub's own", name, key)
		case seen[key]:
			bad("tunnel %s: site %s: twice", name, key)
		}
		seen[key] = true
		if to.Keepalive < 0 || to.Keepalive > maxKeepalive {
			bad("tunnel %s: site %s: keepalive %v: want 0 to %v", name, key, to.Keepalive, maxKeepalive)
		}
		var err error
		if to.AllowedIPs, err = normalPrefixes(to.AllowedIPs); err != nil {
			bad("tunnel %s: site %s: %w", name, key, err)
		}
		for _, p := range to.AllowedIPs {
			if other, ok := owner[p]; ok {
				bad("tunnel %s: site %s: %s is site %s's too", name, key, p, other)
			}
			owner[p] = key
		}
		out = append(out, to)
	}
	return out, errors.Join(errs...)
}

func newSite(key wgkey.Public) *site {
	return &site{key: key, bucket: bucket.Bucket{Burst: siteBurst, Every: siteEvery}}
}

// normalPrefixes are IPv6, masked, and each once. The list given is not kept.
func normalPrefixes(list []netip.Prefix) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, len(list))
	for _, p := range list {
		if !p.IsValid() || !p.Addr().Is6() || p.Addr().Is4In6() {
			return nil, fmt.Errorf("allowed-ip %s: want an IPv6 prefix", p)
		}
		if p = p.Masked(); !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out, nil
}

// leaving are the texts for what is on the device and is not wanted.
func leaving(next map[wgkey.Public]*site, changes []change, have map[wgkey.Public]*devicePeer) []string {
	var texts []string
	for key := range have {
		if next[key] == nil {
			texts = append(texts, "public_key="+key.Hex()+"\nremove=true\n")
		}
	}
	for _, c := range changes {
		if d := have[c.site.key]; d != nil {
			texts = appendPrefixes(texts, c.site.key, "-", missing(d.allowed, c.to.AllowedIPs))
		}
	}
	return texts
}

// coming are the texts for what is wanted and is not on the device.
func coming(changes []change, have map[wgkey.Public]*devicePeer) []string {
	var texts []string
	for _, c := range changes {
		d := have[c.site.key]
		if d == nil {
			text := peerSettings(Peer{Public: c.site.key, Preshared: c.to.Preshared, AllowedIPs: c.to.AllowedIPs})
			if c.to.Endpoint.IsValid() {
				text += "endpoint=" + netip.AddrPortFrom(c.to.Endpoint.Addr().Unmap(), c.to.Endpoint.Port()).String() + "\n"
			}
			texts = append(texts, text)
			continue
		}
		var b strings.Builder
		if d.preshared != c.to.Preshared {
			b.WriteString("preshared_key=" + c.to.Preshared.RevealHex() + "\n")
		}
		if want := c.to.keepaliveFor(d.peerReading); want != d.keepalive {
			b.WriteString("persistent_keepalive_interval=" + seconds(want) + "\n")
		}
		if b.Len() > 0 {
			texts = append(texts, existing(c.site.key)+b.String())
		}
		texts = appendPrefixes(texts, c.site.key, "", missing(c.to.AllowedIPs, d.allowed))
	}
	return texts
}

// keepaliveFor is what the device is to have: nothing before the first handshake.
func (s Site) keepaliveFor(d peerReading) time.Duration {
	if d.handshake == (handshakeStamp{}) {
		return 0
	}
	return s.Keepalive.Truncate(time.Second)
}

func existing(key wgkey.Public) string { return "public_key=" + key.Hex() + "\nupdate_only=true\n" }

// appendPrefixes adds the text that gives key these prefixes, or with "-" takes them away.
func appendPrefixes(texts []string, key wgkey.Public, sign string, list []netip.Prefix) []string {
	if len(list) == 0 {
		return texts
	}
	var b strings.Builder
	b.WriteString(existing(key))
	for _, p := range list {
		b.WriteString("allowed_ip=" + sign + p.String() + "\n")
	}
	return append(texts, b.String())
}

// missing are those of list that other lacks.
func missing(list, other []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range list {
		if !slices.Contains(other, p) {
			out = append(out, p)
		}
	}
	return out
}

// apply gives the device texts that each begin with a public key, and tries all.
func (h *Hub) apply(texts []string) error {
	var errs []error
	for some := range slices.Chunk(texts, chunk) {
		if err := h.dev.IpcSet(strings.Join(some, "")); err != nil {
			errs = append(errs, fmt.Errorf("interface %s: configure sites: %w", h.name, err))
		}
	}
	return errors.Join(errs...)
}

// hide takes the prefixes that match out of the index: packets from there are nobody's until the change is done.
func (h *Hub) hide(match func(netip.Prefix, *site) bool) {
	h.index.Lock()
	defer h.index.Unlock()
	for p, s := range h.owner {
		if match(p, s) {
			delete(h.owner, p)
		}
	}
}

// Allowed are all the allowed-ips that a site is to have.
type Allowed struct {
	Site wgkey.Public
	IPs  []netip.Prefix
}

// SetAllowedIPs is SetAllowed for one site.
func (h *Hub) SetAllowedIPs(key wgkey.Public, ips []netip.Prefix) error {
	return h.SetAllowed([]Allowed{{key, ips}})
}

// SetAllowed changes the allowed-ips of some sites that SetSites has made, without reading the device: some ten
// microseconds each. As there, everything goes before anything comes, and a prefix that is another site's is refused,
// unless that one gives it up in the same call. After an error nothing, or not all, is changed: call it or SetSites again.
func (h *Hub) SetAllowed(list []Allowed) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.unsure {
		if err := h.learn(); err != nil {
			return err
		}
	}
	changes, err := h.planAllowed(list)
	if err != nil {
		return err
	}
	var goes, comes []string
	h.index.Lock()
	for _, c := range changes {
		gone := missing(c.site.allowed, c.to.AllowedIPs)
		for _, p := range gone {
			delete(h.owner, p)
		}
		goes = appendPrefixes(goes, c.site.key, "-", gone)
		comes = appendPrefixes(comes, c.site.key, "", missing(c.to.AllowedIPs, c.site.allowed))
	}
	h.index.Unlock()
	h.unsure = true
	if err := errors.Join(h.apply(goes), h.apply(comes)); err != nil {
		return err
	}
	h.unsure = false
	h.index.Lock()
	defer h.index.Unlock()
	for _, c := range changes {
		c.site.allowed = c.to.AllowedIPs
		for _, p := range c.to.AllowedIPs {
			h.owner[p] = c.site
			h.addLength(p.Bits())
		}
	}
	return nil
}

// planAllowed checks the list against what all sites have.
func (h *Hub) planAllowed(list []Allowed) ([]change, error) {
	var errs []error
	bad := func(key wgkey.Public, format string, args ...any) {
		errs = append(errs, fmt.Errorf("tunnel %s: site %s: %w", h.name, key, fmt.Errorf(format, args...)))
	}
	changes, at := make([]change, 0, len(list)), make(map[wgkey.Public]int, len(list))
	claimed := map[netip.Prefix]wgkey.Public{}
	for _, a := range list {
		s := h.sites[a.Site]
		if s == nil || h.dev.LookupPeer(device.NoisePublicKey(a.Site)) == nil {
			bad(a.Site, "not on the device: set all sites")
			continue
		}
		if _, twice := at[a.Site]; twice {
			bad(a.Site, "twice")
		}
		ips, err := normalPrefixes(a.IPs)
		if err != nil {
			bad(a.Site, "%w", err)
		}
		for _, p := range ips {
			if other, ok := claimed[p]; ok {
				bad(a.Site, "%s is site %s's too", p, other)
			}
			claimed[p] = a.Site
		}
		at[a.Site] = len(changes)
		changes = append(changes, change{s, Site{AllowedIPs: ips}})
	}
	for p, key := range claimed {
		if s := h.owner[p]; s != nil && s.key != key {
			if i, ok := at[s.key]; !ok || slices.Contains(changes[i].to.AllowedIPs, p) {
				bad(key, "%s is site %s's", p, s.key)
			}
		}
	}
	return changes, errors.Join(errs...)
}

// learn makes our idea of the sites' allowed-ips that of the device.
func (h *Hub) learn() error {
	have, err := h.readPeers()
	if err != nil {
		return err
	}
	owner := make(map[netip.Prefix]*site, len(h.owner))
	for key, s := range h.sites {
		s.allowed = nil
		if d := have[key]; d != nil {
			s.allowed = d.allowed
		}
		for _, p := range s.allowed {
			owner[p] = s
		}
	}
	h.unsure = false
	h.setOwner(owner, nil)
	return nil
}
