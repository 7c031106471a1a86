// SPDX-License-Identifier: MIT

package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

func (c *checker) prefix() {
	raw := c.raw.prefix
	if raw == nil {
		return
	}
	static := raw.prefix != nil
	if v := raw.source; given(v) {
		switch {
		case strings.EqualFold(v.text, "static"):
			if static = true; raw.prefix == nil {
				c.errorf(v.line, "Source = static needs Prefix, the one that is routed to this box")
			}
		case !strings.EqualFold(v.text, "dhcpv6"):
			c.bad("Source", *v, "want dhcpv6 or static")
		case raw.prefix != nil:
			c.errorf(v.line, "Source = dhcpv6 and Prefix on line %d: keep one of them, for a wished prefix write Hint", raw.prefix.line)
		}
	}
	if static {
		c.cfg.Prefix.Source = Static
	}
	if v := raw.prefix; given(v) {
		p, err := parseDelegation(v.text)
		if err != nil {
			c.bad("Prefix", *v, err)
		}
		c.cfg.Prefix.Static = p
	}
	c.hints(raw.hint, static)
	if v := raw.requestAddress; given(v) {
		switch strings.ToLower(v.text) {
		case "auto":
		case "yes":
			c.cfg.Prefix.RequestAddress = AddressYes
		case "no":
			c.cfg.Prefix.RequestAddress = AddressNo
		default:
			c.bad("RequestAddress", *v, "want auto, yes or no")
		}
	}
	c.ula(raw)
}

// hints reads the delegations to ask for. One length may be wished for again and again, one prefix only once.
func (c *checker) hints(raw []value, static bool) {
	var hints []netip.Prefix
	for _, v := range raw {
		for _, s := range items(v.text) {
			h, err := parseHint(s)
			switch {
			case err != nil:
				c.errorf(v.line, "Hint %s: %v", quote(s), err)
			case !h.Addr().IsUnspecified() && slices.Contains(hints, h):
				c.errorf(v.line, "Hint %s: stands twice: each entry is a delegation of its own", s)
			case len(hints) == MaxHints:
				c.errorf(v.line, "Hint %s: more than %d delegations", s, MaxHints)
			default:
				hints = append(hints, h)
			}
		}
		if static {
			c.noticef(v.line, "Hint: no effect with a static prefix")
		}
	}
	if !static {
		c.cfg.Prefix.Hints = hints
	}
}

func parseDelegation(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("want PREFIX/LENGTH, as in 2001:db8:ebbd:9900::/56")
	}
	return p, checkDelegation(p)
}

// minHintLen is the shortest delegation that the DHCPv6 client takes (client.MinPrefixLen).
const minHintLen = 16

// parseHint reads a wished prefix, or a wished length as ::/56.
func parseHint(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("want a length as ::/56, or a prefix as 2001:db8:ebbd:9900::/56")
	}
	if p.Bits() < minHintLen {
		return p, fmt.Errorf("shorter than /%d: the box takes no delegation of that size; range /%d to /64", minHintLen, minHintLen)
	}
	if p.Addr() == netip.IPv6Unspecified() {
		if p.Bits() > 64 {
			return p, fmt.Errorf("longer than /64: hosts need a /64 to make their addresses; range /%d to /64", minHintLen)
		}
		return p, nil
	}
	return p, checkDelegation(p)
}

func (c *checker) lans() {
	at := map[string]int{} // interface → line
	subnets := map[uint64]int{}
	for _, raw := range c.raw.lans {
		l := NewLAN("", 0)
		switch v := raw.iface; {
		case v == nil:
			c.errorf(raw.line, "[LAN] has no Interface: name the bridge, as in Interface = br-lan")
		case given(v):
			l.Interface = v.text
			if err := checkLANInterface(v.text, c.cfg.Interface.Name); err != nil {
				c.bad("Interface", *v, err)
			} else if first := at[v.text]; first != 0 {
				c.bad("Interface", *v, fmt.Sprintf("has a [LAN] already, on line %d", first))
			}
			at[v.text] = v.line
		}
		if v := raw.subnet; given(v) {
			l.Subnet = c.subnet(*v)
			if first := subnets[l.Subnet]; first != 0 {
				c.bad("Subnet", *v, fmt.Sprintf("has a [LAN] already, on line %d", first))
			}
			subnets[l.Subnet] = v.line
		}
		c.rdnss(raw, &l)
		names := newSearch()
		for _, v := range raw.dnssl {
			for _, s := range items(v.text) {
				c.addName("DNSSL", v.line, s, names)
			}
		}
		l.DNSSL = names.list
		if v := raw.preference; given(v) {
			l.Preference = strings.ToLower(v.text)
			if !slices.Contains([]string{"low", "medium", "high"}, l.Preference) {
				c.bad("Preference", *v, "want low, medium or high")
			}
		}
		c.service(raw, &l)
		c.cfg.LANs = append(c.cfg.LANs, l)
	}
	c.fillSubnets(subnets)
}

// checkLANInterface is the one rule for the name of a LAN, from the file or the command line.
func checkLANInterface(name, tunnel string) error {
	switch {
	case name == tunnel:
		return fmt.Errorf("this is the tunnel: name the bridge or network card that the hosts are on")
	case name == "lo":
		return fmt.Errorf("no hosts are on the loopback interface")
	}
	return checkInterfaceName(name)
}

// tooHigh says whether the static prefix has no such /64. A delegated prefix is not known yet.
func (c *checker) tooHigh(n uint64) bool {
	p := c.cfg.Prefix.Static
	return c.cfg.Prefix.Source == Static && p.IsValid() && p.Bits() >= 1 && p.Bits() <= 64 && n>>(64-p.Bits()) != 0
}

func (c *checker) subnet(v value) uint64 {
	text := strings.TrimPrefix(strings.ToLower(v.text), "0x")
	n, err := strconv.ParseUint(text, 16, 64)
	switch p := c.cfg.Prefix.Static; {
	case err != nil:
		c.bad("Subnet", v, "want a hexadecimal number, the number of a /64 in the prefix")
	case c.tooHigh(n):
		c.bad("Subnet", v, fmt.Sprintf("not in %s, range 0 to %x", p, uint64(1)<<(64-p.Bits())-1))
	}
	return n
}

// fillSubnets gives the LANs that do not say one the lowest free numbers, in their order.
func (c *checker) fillSubnets(taken map[uint64]int) {
	next := uint64(0)
	for i, raw := range c.raw.lans {
		if raw.subnet != nil {
			continue
		}
		for taken[next] != 0 {
			next++
		}
		if c.tooHigh(next) {
			c.errorf(raw.line, "no /64 of %s is left for this [LAN]", c.cfg.Prefix.Static)
			return
		}
		c.cfg.LANs[i].Subnet, c.cfg.LANs[i].AnySubnet = next, true
		taken[next] = raw.line
	}
}

func (c *checker) rdnss(raw *rawLAN, l *LAN) {
	list := newServers()
	count, word := 0, ""
	for _, v := range raw.rdnss {
		for _, s := range items(v.text) {
			count++
			switch low := strings.ToLower(s); low {
			case "auto", "self", "off":
				word = low
			default:
				c.addServer("RDNSS", v.line, s, list)
			}
		}
	}
	switch {
	case word != "" && count > 1:
		c.errorf(raw.rdnss[0].line, "RDNSS: want one of auto, self, off, or IPv6 addresses, not both")
	case word == "self":
		l.RDNSSMode = RDNSSSelf
	case word == "off":
		l.RDNSSMode = RDNSSOff
	case count > 0 && word == "":
		l.RDNSSMode, l.RDNSS = RDNSSAddresses, list.list
	}
}

func (c *checker) router() {
	if c.raw.router == nil {
		return
	}
	if !onlyKernel {
		c.dataplane()
	}
	if !given(c.raw.router.firewall) {
		return
	}
	switch v := *c.raw.router.firewall; strings.ToLower(v.text) {
	case "open":
		c.cfg.Router.FirewallOpen = true
	case "closed":
		c.cfg.Router.FirewallOpen = false
	default:
		c.bad("Firewall", v, "want closed or open")
	}
}

// dataplane reads what forwards.
func (c *checker) dataplane() {
	v := c.raw.router.dataplane
	if !given(v) {
		return
	}
	out := &c.cfg.Router.Dataplane
	switch strings.ToLower(v.text) {
	case "auto":
		*out = DataplaneAuto
	case "kernel":
		*out = DataplaneKernel
	case "userspace":
		*out = DataplaneUserspace
		for _, lan := range c.raw.lans {
			for _, v := range lan.rdnss {
				if strings.EqualFold(strings.TrimSpace(v.text), "self") {
					c.bad("RDNSS", v, "with Dataplane = userspace no DNS server of this machine answers at the box's address: write auto, or addresses")
				}
			}
		}
	default:
		c.bad("Dataplane", *v, "want auto, kernel or userspace")
	}
}

// WithLAN is the configuration with exactly the LAN that the command line names: the [LAN] of that
// interface if the file has one, else one with the defaults. The other LANs of the file are left out.
func (c *Config) WithLAN(iface string) (*Config, error) {
	if err := checkLANInterface(iface, c.Interface.Name); err != nil {
		return nil, fmt.Errorf("--lan %s: %w", quote(iface), err)
	}
	out := *c
	out.LANs = []LAN{NewLAN(iface, 0)}
	if i := slices.IndexFunc(c.LANs, func(l LAN) bool { return l.Interface == iface }); i >= 0 {
		out.LANs = []LAN{c.LANs[i]}
	}
	return &out, nil
}
