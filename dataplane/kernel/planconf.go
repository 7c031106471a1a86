// SPDX-License-Identifier: MIT

package kernel

import (
	"slices"

	"oasis6/dataplane"
)

// confWish is a value that an interface must have.
type confWish struct{ name, value string }

// lanConf is how a router's own LAN behaves: it takes no address and no route from others' RAs and
// Redirects, and learns a host's new address from its unsolicited NA (RFC 9131).
func lanConf() []confWish {
	return []confWish{
		{confDisableIPv6, "0"},
		{confAcceptRA, "0"},
		{confAutoconf, "0"},
		{confAcceptRedirects, "0"},
		{confAcceptUntrackedNA, "1"},
	}
}

// tunnelConf: the other end is a router that we know by its key; nothing is learned from packets,
// and the kernel makes no link-local address of its own (IN6_ADDR_GEN_MODE_NONE).
func tunnelConf() []confWish {
	return []confWish{
		{confDisableIPv6, "0"},
		{confAddrGenMode, "1"},
		{confAcceptRA, "0"},
		{confAutoconf, "0"},
		{confAcceptRedirects, "0"},
	}
}

// on is how the kernel reads forwarding; 2 is as good as 1.
func on(v string) bool { return v != "" && v != "0" }

// confIDs are the values that a snapshot needs for a plan.
func confIDs(links []link, mem memory, want dataplane.Desired) []confID {
	seen := confMap{}
	add := func(index int, name string) { seen[confID{index, name}] = "" }
	for _, index := range []int{confAll, confDefault} {
		add(index, confForwarding)
		add(index, confAcceptRA)
	}
	for _, l := range links {
		add(l.index, confForwarding)
		add(l.index, confAcceptRA)
		wishes := []confWish(nil)
		switch {
		case l.name == want.Tunnel.Name:
			wishes = tunnelConf()
		case slices.Contains(want.LANs, l.name):
			wishes = lanConf()
		}
		for _, w := range wishes {
			add(l.index, w.name)
		}
	}
	for id := range mem.conf {
		add(id.index, id.name)
	}
	return seen.ids()
}

func (p *planner) confStep(id confID, value string) step {
	iface := p.confIface(id.index)
	return step{
		op: setConf, conf: id, value: value, iface: iface,
		drift: "sysctl net.ipv6.conf." + iface + "." + id.name + " is " + p.s.conf[id],
	}
}

func (p *planner) confIface(index int) string {
	switch index {
	case confAll:
		return "all"
	case confDefault:
		return "default"
	}
	return p.s.ifname(index)
}

// conf plans the sysctls outside the tunnel.
//
// Three things of the kernel make it more than a list of values (net/ipv6/addrconf.c,
// addrconf_fixup_forwarding): writing all.forwarding writes default.forwarding and that of every
// interface; turning any forwarding on purges the default routes learned by RA, except on
// interfaces whose accept_ra is 2; and an interface made later starts with the values of default.
//
// So before forwarding every value it would change is remembered and accept_ra goes from 1 to 2
// where RAs were obeyed; and going back forwarding comes first: all, default, then the interfaces.
func (p *planner) conf() (before, forward, restore []step) {
	c := confPlan{planner: p, keep: map[confID]bool{}}
	c.dropVanished()
	ours := p.want.Forward && !on(c.first(confID{confAll, confForwarding}))
	if _, held := p.mem.conf[confID{confAll, confForwarding}]; held || ours {
		c.rememberForwarding(ours)
	}
	if ours || c.lanTurnsOn() {
		before = append(before, c.acceptBesideForwarding(ours)...)
	}
	all := ours && !on(p.s.conf[confID{confAll, confForwarding}])
	lan, lanForward := c.lans(all)
	before = append(before, lan...)
	if all {
		forward = append(forward, p.confStep(confID{confAll, confForwarding}, "1"))
	}
	forward = append(forward, lanForward...)
	for i := range forward {
		forward[i].opens = true
	}
	return before, forward, c.restore()
}

// confPlan is the state of one conf call. keep holds what must not be put back yet.
type confPlan struct {
	*planner
	keep map[confID]bool
}

// dropVanished forgets interfaces that are gone, with their values.
func (c confPlan) dropVanished() {
	for id := range c.mem.conf {
		if _, ok := c.s.linkByIndex(id.index); id.index > 0 && !ok {
			delete(c.plan.memory.conf, id)
		}
	}
}

// first is the value before us. An interface that came while forwarding was ours has what we left in
// default; without us it would have had what default was before.
func (c confPlan) first(id confID) string {
	if v, ok := c.mem.conf[id]; ok {
		return v
	}
	cur := c.s.conf[id]
	if id.index > 0 {
		d := confID{confDefault, id.name}
		if before, ok := c.mem.conf[d]; ok && cur == c.s.conf[d] {
			return before
		}
	}
	return cur
}

// remember notes the value before us, if there is such a value.
func (c confPlan) remember(id confID) {
	if _, ok := c.s.conf[id]; !ok {
		return
	}
	if _, ok := c.mem.conf[id]; !ok {
		c.plan.memory.conf[id] = c.first(id)
	}
}

// isTunnel: the tunnel goes with us, nothing of it is put back.
func (c confPlan) isTunnel(l link) bool { return l.name == c.want.Tunnel.Name }

// rememberForwarding remembers everything that writing all.forwarding changes. While keep is false
// it only serves to find the values before us of interfaces that came since.
func (c confPlan) rememberForwarding(keep bool) {
	ids := []confID{{confAll, confForwarding}, {confDefault, confForwarding}, {confDefault, confAcceptRA}}
	for _, l := range c.s.links {
		if !c.isTunnel(l) {
			ids = append(ids, confID{l.index, confForwarding}, confID{l.index, confAcceptRA})
		}
	}
	for _, id := range ids {
		c.remember(id)
		if keep {
			c.keep[id] = true
		}
	}
}

// lanTurnsOn says whether a LAN's own forwarding is turned on by us while all.forwarding already was.
func (c confPlan) lanTurnsOn() bool {
	for _, name := range c.want.LANs {
		l, ok := c.s.linkByName(name)
		if ok && c.want.Forward && !on(c.first(confID{l.index, confForwarding})) {
			return true
		}
	}
	return false
}

// acceptBesideForwarding lets each interface that obeyed RAs go on doing so. One whose accept_ra was
// set to 0, before or since, stays as it is.
func (c confPlan) acceptBesideForwarding(all bool) []step {
	var out []step
	one := func(index int) {
		id := confID{index, confAcceptRA}
		if on(c.first(confID{index, confForwarding})) || c.first(id) != "1" {
			return
		}
		c.remember(id)
		c.keep[id] = true
		if c.s.conf[id] == "1" || c.wasLAN(index) && c.s.conf[id] != "2" {
			out = append(out, c.confStep(id, "2"))
		}
	}
	if all {
		one(confDefault)
	}
	for _, l := range c.s.links {
		if l.index != indexLo && !c.isTunnel(l) && !slices.Contains(c.want.LANs, l.name) {
			one(l.index)
		}
	}
	return out
}

// wasLAN says whether the interface was a LAN before: then its accept_ra of 0 is our doing.
func (c confPlan) wasLAN(index int) bool {
	for _, w := range lanConf() {
		if _, ok := c.mem.conf[confID{index, w.name}]; ok && w.name != confAcceptRA {
			return true
		}
	}
	return false
}

// lans plans the LAN interfaces. Their forwarding needs no step of its own if all.forwarding is
// written in the same plan.
func (c confPlan) lans(all bool) (before, forward []step) {
	one := func(id confID, value string) []step {
		cur, ok := c.s.conf[id]
		if !ok {
			return nil
		}
		c.keep[id] = true
		if cur == value || id.name == confForwarding && on(cur) {
			return nil
		}
		c.remember(id)
		return []step{c.confStep(id, value)}
	}
	for _, name := range c.want.LANs {
		l, ok := c.s.linkByName(name)
		if !ok {
			continue
		}
		for _, w := range lanConf() {
			before = append(before, one(confID{l.index, w.name}, w.value)...)
		}
		if c.want.Forward {
			if f := one(confID{l.index, confForwarding}, "1"); !all {
				forward = append(forward, f...)
			}
		}
	}
	return before, forward
}

// restore puts back what is remembered and not wanted any more.
func (c confPlan) restore() []step {
	var forwarding, rest []step
	spread := "" // what all.forwarding has just written everywhere
	for _, id := range c.plan.memory.conf.ids() {
		if c.keep[id] {
			continue
		}
		value, cur := c.plan.memory.conf[id], c.s.conf[id]
		if id.name == confForwarding && spread != "" {
			cur = spread
		}
		if cur == value {
			c.plan.forget = append(c.plan.forget, id)
			continue
		}
		st := c.confStep(id, value)
		st.forget = true
		if id.name != confForwarding {
			rest = append(rest, st)
			continue
		}
		if id.index == confAll {
			spread = value
		}
		forwarding = append(forwarding, st)
	}
	return append(forwarding, rest...)
}
