// SPDX-License-Identifier: MIT

package router

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"oasis6/config"
	"oasis6/internal/lifetime"
)

// Subnet is the /64 that one LAN gets of one delegation, with the box's own address in it.
type Subnet struct {
	Prefix      netip.Prefix // always /64: SLAAC needs it (RFC 4862 section 5.5.3 d, RFC 4291 section 2.5.1)
	Address     netip.Addr   // ::1 of the subnet
	Preferred   lifetime.Until
	Valid       lifetime.Until
	Unconfirmed bool // as in Delegation
	Roomy       bool // out of a delegation that has a prefix for every host
}

// limit is how far ahead hosts are told of the subnet; 0: as far as its lifetimes go.
func (s Subnet) limit() time.Duration { return unconfirmedLimit(s.Unconfirmed) }

// layout gives each LAN a /64 of each delegation, as far as they go (RFC 7084 WPD-2, WPD-3, L-2).
//
// A LAN gets the subnet that its Subnet key says. Where the delegation is too long for that, it gets a free
// one: IPv6 with another number is better than none. Where there are fewer subnets than LANs, those
// that have nothing yet come first, in configured order, and one that hosts use already stays where it is.
func (p *planner) layout() (subnets [][]Subnet) {
	lans := p.f.Config.LANs
	subnets = make([][]Subnet, len(lans))
	for _, d := range p.live {
		if d.Prefix.Bits() > subnetBits {
			p.problem("prefix %s is too long: hosts need a /64, ask the hub for /64 or shorter ([Prefix] Hint)", d.Prefix)
			continue
		}
		f := floor{d: d, taken: map[netip.Prefix]bool{}}
		var waiting, served []int
		for i := range lans {
			if p.served(subnets[i]) {
				served = append(served, i)
			} else {
				waiting = append(waiting, i)
			}
		}
		got := map[int]netip.Prefix{}
		give := func(to []int, choose func(i int) (netip.Prefix, bool)) {
			for _, i := range to {
				if _, has := got[i]; has {
					continue
				}
				if s, ok := choose(i); ok && f.take(s) {
					got[i] = s
				}
			}
		}
		give(slices.Concat(waiting, served), func(i int) (netip.Prefix, bool) { return p.inUse(lans[i], f) })
		for _, group := range [][]int{waiting, served} {
			give(group, func(i int) (netip.Prefix, bool) { return subnetOf(d.Prefix, lans[i].Subnet) })
			give(group, func(int) (netip.Prefix, bool) { return f.free() })
		}
		for i, s := range got {
			subnets[i] = append(subnets[i], Subnet{Prefix: s, Address: firstOf(s), Preferred: d.Preferred, Valid: d.Valid, Unconfirmed: d.Unconfirmed, Roomy: d.Prefix.Bits() <= shortEnoughForP})
		}
	}
	p.unfit(subnets)
	return subnets
}

// served says whether a LAN has a subnet for new connections.
func (p *planner) served(subnets []Subnet) bool {
	return slices.ContainsFunc(subnets, func(s Subnet) bool { return !s.Preferred.Over(p.now) })
}

// inUse is the subnet of a delegation that the hosts of a LAN have already, where its own number cannot be had.
func (p *planner) inUse(lan config.LAN, f floor) (netip.Prefix, bool) {
	if own, fits := subnetOf(f.d.Prefix, lan.Subnet); fits && f.open(own) {
		return netip.Prefix{}, false
	}
	for _, t := range p.f.Told[lan.Interface] {
		if !t.Stale && t.Prefix.Bits() == subnetBits && covers(f.d.Prefix, t.Prefix) {
			return t.Prefix, true
		}
	}
	return netip.Prefix{}, false
}

// unfit says which LANs have nothing, or not what the configuration says.
func (p *planner) unfit(subnets [][]Subnet) {
	var have []string
	for _, d := range p.live {
		if d.Prefix.Bits() <= subnetBits {
			have = append(have, d.Prefix.String())
		}
	}
	if len(have) == 0 {
		return
	}
	all := strings.Join(have, ", ")
	for i, lan := range p.f.Config.LANs {
		own := func(s Subnet) bool {
			return slices.ContainsFunc(p.live, func(d Delegation) bool {
				x, ok := subnetOf(d.Prefix, lan.Subnet)
				return ok && x == s.Prefix
			})
		}
		switch {
		case len(subnets[i]) == 0:
			p.problem("no /64 is left for LAN %s: the hub delegates %s, ask it for a shorter prefix or for one more ([Prefix] Hint)", lan.Interface, all)
		case lan.AnySubnet || slices.ContainsFunc(subnets[i], own):
		case p.excluded(lan):
			p.problem("LAN %s has %s: the hub keeps subnet %x to itself, choose another Subnet", lan.Interface, subnets[i][0].Prefix, lan.Subnet)
		default:
			p.problem("LAN %s has %s: there is no subnet %x in %s, ask the hub for a shorter prefix or choose a smaller Subnet", lan.Interface, subnets[i][0].Prefix, lan.Subnet, all)
		}
	}
}

// excluded says whether the hub keeps the subnet of a LAN to itself (RFC 6603).
func (p *planner) excluded(lan config.LAN) bool {
	return slices.ContainsFunc(p.live, func(d Delegation) bool {
		s, ok := subnetOf(d.Prefix, lan.Subnet)
		return ok && d.Exclude.IsValid() && d.Exclude.Overlaps(s)
	})
}

// floor is one delegation while its subnets are given out.
type floor struct {
	d     Delegation
	taken map[netip.Prefix]bool
}

// take marks a subnet as given; ok is false for one that is taken, or excluded by the server (RFC 6603 section 4.2).
func (f *floor) take(s netip.Prefix) (ok bool) {
	if !f.open(s) {
		return false
	}
	f.taken[s] = true
	return true
}

func (f *floor) open(s netip.Prefix) bool {
	return !f.taken[s] && !(f.d.Exclude.IsValid() && f.d.Exclude.Overlaps(s))
}

// free is the first subnet that nobody has. An excluded part is jumped over, however large it is.
func (f *floor) free() (netip.Prefix, bool) {
	for n := uint64(0); ; n++ {
		s, ok := subnetOf(f.d.Prefix, n)
		if !ok || f.open(s) {
			return s, ok
		}
		if x := f.d.Exclude; x.IsValid() && x.Overlaps(s) && x.Bits() < subnetBits {
			n |= 1<<(subnetBits-x.Bits()) - 1
		}
	}
}

// subnetOf is the n-th /64 of a delegation.
func subnetOf(d netip.Prefix, n uint64) (s netip.Prefix, ok bool) {
	bits := d.Bits()
	if bits > subnetBits || bits > 0 && n>>(subnetBits-bits) != 0 {
		return s, false
	}
	a := d.Masked().Addr().As16()
	for i := range 8 { // the subnet number is the low end of the upper 64 bits
		a[7-i] |= byte(n >> (8 * i))
	}
	return netip.PrefixFrom(netip.AddrFrom16(a), subnetBits), true
}

// firstOf is ::1 of a subnet: the box itself.
func firstOf(s netip.Prefix) netip.Addr {
	a := s.Addr().As16()
	a[15] = 1
	return netip.AddrFrom16(a)
}
