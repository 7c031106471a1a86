// SPDX-License-Identifier: MIT

package config

import (
	"fmt"
	"io"
	"net/netip"
	"time"

	"oasis6/internal/wgkey"
)

// HubConfig is the validated form of a hub's file: typed, defaults filled in.
type HubConfig struct {
	Interface    Interface // ListenPort is never 0
	Hub          Hub
	Sites        []Site // in the order of the file
	FirewallOpen bool   // the outside may begin flows to sites: so unless Firewall = closed
}

// Hub is what all sites have in common.
type Hub struct {
	// Pools are where sites get their prefixes from, in this order: IPv6, masked, /16 to /64, without overlap, never empty.
	Pools  []netip.Prefix
	Uplink string // the interface to the IPv6 Internet; empty: the file does not say
	// SiteLength is the length that a site gets if it does not ask for one, MaxSiteLength the shortest that it may
	// ask for: MaxSiteLength ≤ SiteLength ≤ 64, and some pool is long enough for either.
	SiteLength, MaxSiteLength int
	// Preferred and Valid are the lifetimes of what sites get, whole seconds: 1 min ≤ Preferred ≤ Valid ≤ 30 days.
	Preferred, Valid time.Duration
	DNS              []netip.Addr // what sites are told; where [Hub] says nothing, those of [Interface]
	Search           []string     // likewise
	SiteToSite       bool         // sites may reach each other
	// OnLink says that the provider treats the prefix as one on the link of Uplink, so that neighbor solicitations for
	// leases must be answered there. Only with an Uplink.
	OnLink   bool
	Endpoint string // host:port that invitations name; empty: none is known
}

// Site is one [Peer] of a hub: a box, or another client of the hub.
type Site struct {
	Name         string // unique without regard to case, where there is one
	PublicKey    wgkey.Public
	PresharedKey wgkey.Preshared
	// Prefixes are reserved for the site, in the order of the file: masked, /16 to /64, of no other site, inside the
	// pools or not, shorter than MaxSiteLength or not.
	Prefixes  []netip.Prefix
	LinkLocal netip.Addr    // zero: derived from its key
	Keepalive time.Duration // 0: off, as a rule it is the site that keeps the way open
	Line      int           // of its [Peer] in the file
}

// Defaults and ranges of a hub's file.
const (
	// maxHubFile holds 60,000 sites with all that can be said of them; a hub is no small board.
	maxHubFile = 16 << 20

	defaultHubPort       = 51820 // WireGuard's usual one
	defaultSiteLength    = 64
	defaultMaxSiteLength = 60

	defaultValid = 90 * time.Minute // ND_VALID_LIMIT, RFC 9096 section 3.4
	minLifetime  = time.Minute
	maxLifetime  = 30 * 24 * time.Hour // AdvValidLifetime's default, RFC 4861 section 6.2.1

	// minPoolLen is the shortest prefix that a box takes, see minHintLen.
	minPoolLen = minHintLen
	// maxPools bounds the search for a free prefix. A hub has one or two, and one more while it renumbers.
	maxPools = 64
)

// ParseHub is Parse for the file of a hub.
func ParseHub(name string, r io.Reader) (*HubConfig, []Notice, error) {
	rep := &report{file: name}
	c, err := parseHub(rep, r)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	c.notOwn()
	notices, err := rep.done()
	if err != nil {
		return nil, notices, err
	}
	return c.config(), notices, nil
}

// parseHub leaves what it finds wrong in rep; its error is only that of r. It does not look for the hub's own key
// among the sites' because that may stand in another file: see notOwn.
func parseHub(rep *report, r io.Reader) (*hubChecker, error) {
	lines, problem, err := readLines(r, maxHubFile)
	if err != nil {
		return nil, err
	}
	c := &hubChecker{checker: checker{report: rep, end: "hub"}}
	switch {
	case problem != "":
		rep.errorf(1, "%s", problem)
		return c, nil
	case hubLine(lines) == 0:
		rep.errorf(max(1, len(lines)), "no [Hub] section: this is the file of a box, not of a hub: oasis6 run -c %s", shellWord(rep.file))
		return c, nil
	}
	c.raw = readRaw(rep, lines, hubSections(), openHub)
	c.iface()
	c.listenPort()
	c.hub()
	c.sites()
	c.cfg.Router.FirewallOpen = true
	c.router()
	if c.cfg.Router.Dataplane == DataplaneUserspace {
		c.bad("Dataplane", *c.raw.router.dataplane, "a hub forwards by the kernel: write kernel or auto")
	}
	return c, nil
}

// hubChecker makes the validated form out of the text form. The parts that a box has too are in cfg.
type hubChecker struct {
	checker
	out HubConfig
	// linkLocals has those of the sites, in their order, derived ones too; zero where the site's key is no key.
	linkLocals []netip.Addr
}

func (c *hubChecker) config() *HubConfig {
	c.out.Interface = c.cfg.Interface
	c.out.FirewallOpen = c.cfg.Router.FirewallOpen
	return &c.out
}
