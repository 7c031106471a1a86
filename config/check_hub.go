// SPDX-License-Identifier: MIT

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// listenPort gives the hub a port that sites can know.
func (c *hubChecker) listenPort() {
	out := &c.cfg.Interface
	switch raw := c.raw.iface; {
	case raw == nil || raw.listenPort == nil:
		out.ListenPort = defaultHubPort
	case given(raw.listenPort) && strings.Trim(raw.listenPort.text, "0") == "":
		c.bad("ListenPort", *raw.listenPort, "sites must know the hub's port: range 1 to 65535")
	}
}

func (c *hubChecker) hub() {
	raw := c.raw.hub
	if raw == nil {
		return // reading has ended before it, with more errors than are shown
	}
	out := &c.out.Hub
	c.lengths(raw, c.pools(raw))
	c.lifetimes(raw)
	if v := raw.uplink; given(v) {
		out.Uplink = v.text
		if err := checkUplink(v.text, c.cfg.Interface.Name); err != nil {
			c.bad("Uplink", *v, err)
		}
	}
	c.yesNo("SiteToSite", raw.siteToSite, &out.SiteToSite)
	if c.yesNo("OnLink", raw.onLink, &out.OnLink); out.OnLink {
		if raw.uplink == nil {
			c.errorf(raw.onLink.line, "OnLink = yes needs Uplink, the interface that the provider's router is on")
		}
		c.noticef(raw.onLink.line, "OnLink = yes: the hub answers neighbor solicitations for each lease; better is a prefix that the provider routes to the hub")
	}
	if v := raw.endpoint; given(v) {
		e, err := parseHubEndpoint(v.text)
		if err != nil {
			c.bad("Endpoint", *v, err)
		}
		out.Endpoint = e
	}
	c.told(raw)
}

// checkUplink is checkLANInterface for the other side of the hub.
func checkUplink(name, tunnel string) error {
	switch name {
	case tunnel:
		return errors.New("this is the tunnel: name the interface that leads to the IPv6 Internet")
	case "lo":
		return errors.New("nobody is behind the loopback interface: name the one that leads to the IPv6 Internet")
	}
	return checkInterfaceName(name)
}

// parseHubEndpoint is parseEndpoint for an address that others are told: it must mean the same elsewhere.
func parseHubEndpoint(s string) (string, error) {
	e, err := parseEndpoint(s)
	if err != nil {
		return "", err
	}
	ap, err := netip.ParseAddrPort(e)
	if a := ap.Addr(); err == nil && (unusable(a) || linkLocalUnicast().Contains(a.WithZone(""))) {
		return "", errors.New("boxes elsewhere cannot reach this address: write the hub's name or public address")
	}
	return e, nil
}

// told reads what sites are told of DNS, which is that of [Interface] where [Hub] says nothing.
func (c *hubChecker) told(raw *rawHub) {
	out := &c.out.Hub
	list, names := newServers(), newSearch()
	for _, v := range raw.dns {
		for _, s := range items(v.text) {
			switch {
			case linkLocalServer(s):
				c.errorf(v.line, "DNS %s: link-local, no host of a site's LAN can reach it", s)
			case !looksLikeAddress(s):
				c.errorf(v.line, "DNS %s: not an IPv6 address: names belong to Search", quote(s))
			default:
				c.addServer("DNS", v.line, s, list)
			}
		}
	}
	for _, v := range raw.search {
		for _, s := range items(v.text) {
			c.addName("Search", v.line, s, names)
		}
	}
	out.DNS, out.Search = list.list, names.list
	if len(out.DNS) == 0 {
		out.DNS = c.cfg.Interface.DNS
	}
	if len(out.Search) == 0 {
		out.Search = c.cfg.Interface.Search
	}
}

// placed is a prefix with its line.
type placed struct {
	prefix netip.Prefix
	line   int
}

// uniqueLocal is RFC 4193's, with and without the L bit.
func uniqueLocal() netip.Prefix { return netip.MustParsePrefix("fc00::/7") }

// parseSitePrefix reads what sites can have, from a pool or reserved.
func parseSitePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, errors.New("want PREFIX/LENGTH, as in 2001:db8:ebbd:9900::/56")
	case p.Addr().Is6() && (p.Bits() < minPoolLen || p.Bits() > 64):
		return p, fmt.Errorf("want a length from /%d to /64", minPoolLen)
	}
	return p, checkDelegation(p)
}

// sitePrefixes reads a list of them.
func (c *hubChecker) sitePrefixes(key string, values []value) (list []placed) {
	for _, v := range values {
		for _, s := range items(v.text) {
			p, err := parseSitePrefix(s)
			if err != nil {
				c.errorf(v.line, "%s %s: %v", key, quote(s), err)
				continue
			}
			list = append(list, placed{p, v.line})
		}
	}
	return list
}

func (c *hubChecker) pools(raw *rawHub) []placed {
	out := &c.out.Hub
	list := c.sitePrefixes("Pool", raw.pool)
	switch {
	case raw.pool == nil:
		c.errorf(raw.line, "[Hub] has no Pool: write Pool = PREFIX/LENGTH, the prefix that is routed to this hub")
	case len(list) > maxPools:
		c.errorf(list[maxPools].line, "Pool %s: more than %d pools", list[maxPools].prefix, maxPools)
		list = list[:maxPools]
	}
	c.overlaps("Pool", list)
	for _, p := range list {
		if out.Pools = append(out.Pools, p.prefix); uniqueLocal().Overlaps(p.prefix) {
			c.noticef(p.line, "Pool %s: unique local addresses lead nowhere on the Internet", p.prefix)
		}
		for _, a := range c.cfg.Interface.Addresses {
			if a.Bits() <= p.prefix.Bits() && a.Contains(p.prefix.Addr()) {
				c.errorf(p.line, "Pool %s: Address %s of [Interface] takes all of it for the tunnel: write that as %s/128", p.prefix, a, a.Addr())
			}
		}
	}
	return list
}

// lengths reads what a site can get. A length that no pool has room for is an error, one that some have not a notice.
func (c *hubChecker) lengths(raw *rawHub, pools []placed) {
	out := &c.out.Hub
	shortest := 64
	for _, p := range pools {
		shortest = min(shortest, p.prefix.Bits())
	}
	if len(pools) == 0 {
		shortest = minPoolLen // the error is that there is none
	}
	out.SiteLength = c.length("SiteLength", raw.siteLength, defaultSiteLength, shortest)
	out.MaxSiteLength = c.length("MaxSiteLength", raw.maxSiteLength, min(max(defaultMaxSiteLength, shortest), out.SiteLength), shortest)
	if out.MaxSiteLength > out.SiteLength {
		c.bad("MaxSiteLength", *raw.maxSiteLength, fmt.Sprintf("longer than SiteLength, /%d: it is the shortest length that a site may ask for", out.SiteLength))
	}
	for _, p := range pools {
		if n := p.prefix.Bits(); n > out.SiteLength {
			c.noticef(p.line, "Pool %s: only for sites that ask for /%d or longer: SiteLength is %d", p.prefix, n, out.SiteLength)
		}
	}
}

// length reads a prefix length, with or without the slash.
func (c *hubChecker) length(key string, v *value, unset, shortest int) int {
	if !given(v) {
		return unset
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(v.text, "/"), 10, 8)
	switch {
	case err != nil || n > 64 || n < minPoolLen:
		c.bad(key, *v, fmt.Sprintf("want a prefix length from %d to 64", minPoolLen))
		return unset
	case int(n) < shortest:
		c.bad(key, *v, fmt.Sprintf("no pool has room for a /%d: range %d to 64", n, shortest))
		return unset
	}
	return int(n)
}

func (c *hubChecker) lifetimes(raw *rawHub) {
	out := &c.out.Hub
	out.Valid = c.lifetime("ValidLifetime", raw.validLifetime, defaultValid)
	// Half of it is ND_PREFERRED_LIMIT by default, RFC 9096 section 3.4.
	out.Preferred = c.lifetime("PreferredLifetime", raw.preferredLifetime, max(minLifetime, (out.Valid/2).Truncate(time.Second)))
	if v := raw.preferredLifetime; out.Preferred > out.Valid {
		c.bad("PreferredLifetime", *v, fmt.Sprintf("longer than ValidLifetime, %s", lifetimeText(out.Valid)))
	}
}

func (c *hubChecker) lifetime(key string, v *value, unset time.Duration) time.Duration {
	if !given(v) {
		return unset
	}
	d, ok := parseLifetime(v.text)
	if !ok || d < minLifetime || d > maxLifetime {
		c.bad(key, *v, fmt.Sprintf("want a time as 45m, 1h30m, 7d, or seconds: %s to %s", lifetimeText(minLifetime), lifetimeText(maxLifetime)))
		return unset
	}
	return d
}

// lifetimeUnits from long to short.
func lifetimeUnits() []time.Duration {
	return []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second}
}

const unitNames = "dhms" // of lifetimeUnits

// parseLifetime reads whole seconds, or numbers with units, as in 1h30m. What is longer than maxLifetime is not read.
func parseLifetime(s string) (time.Duration, bool) {
	if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		return time.Duration(n) * time.Second, true
	}
	var d time.Duration
	for rest := strings.ToLower(s); rest != ""; {
		end := strings.IndexAny(rest, unitNames)
		if end < 0 {
			return 0, false
		}
		unit := lifetimeUnits()[strings.IndexByte(unitNames, rest[end])]
		n, err := strconv.ParseUint(rest[:end], 10, 32)
		if err != nil || n > uint64(maxLifetime/unit) {
			return 0, false
		}
		if d += time.Duration(n) * unit; d > maxLifetime {
			return 0, false
		}
		rest = rest[end+1:]
	}
	return d, true
}

// lifetimeText is the form of the file: a number of the largest unit that measures it.
func lifetimeText(d time.Duration) string {
	for i, unit := range lifetimeUnits() {
		if d%unit == 0 {
			return strconv.FormatInt(int64(d/unit), 10) + unitNames[i:i+1]
		}
	}
	return d.String() // only whole seconds come here
}
