// SPDX-License-Identifier: MIT

package kernel

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"oasis6/dataplane"
)

// Prefixes of routers behind a LAN belong to one MAC each: on a link with many nodes that is what a filter per delegation
// knows them by, and what a loop is seen by (RFC 8987). The MAC is that of the next hop in the kernel's neighbor table,
// where what we send to the router goes too. A prefix whose router nobody has heard yet is not checked.
const (
	setChecked = "checked" // prefixes of which the router's MAC is known
	setRouters = "routers" // each with its MAC

	// routerPace is the least time between two tables of which neighbors were the reason: who forges advertisements on a
	// LAN must not make us replace it all the time. A router with a new MAC waits for no more than that.
	routerPace = time.Second

	// maxChecked is how many prefixes are checked: no LAN has so many routers, and a table that one host made too big for
	// one message could not be made at all.
	maxChecked = 512
)

// router is who has a prefix behind a LAN.
type router struct {
	prefix netip.Prefix
	iface  string
	via    netip.Addr
	known  bool // mac is
	mac    [6]byte
}

// routersOf are the prefixes behind the LANs to which a route leads by a next hop, with the MACs that had knows.
func routersOf(d dataplane.Desired, had []router) (out []router) {
	for _, s := range d.Firewall.Sources {
		for _, r := range d.Routes {
			if !r.Via.IsValid() || r.Iface != s.Iface || !slices.Contains(s.Routed, r.Dst) {
				continue
			}
			n := router{prefix: r.Dst.Masked(), iface: r.Iface, via: r.Via}
			for _, o := range had {
				if o.via == n.via && o.iface == n.iface {
					n.known, n.mac = o.known, o.mac
				}
			}
			out = append(out, n)
		}
	}
	return out
}

// learnRouters asks the kernel for the MACs of the routers, and says whether one is another. It stays until then: the
// kernel forgets a neighbor that is silent. p.mu is held.
func (p *Plane) learnRouters(s *snapshot) (moved bool) {
	p.watch.neigh.routers.Store(len(p.routers) > 0)
	if len(p.routers) == 0 {
		return false
	}
	_, err := dump(p.rt, unix.RTM_GETNEIGH, unix.RTM_NEWNEIGH, ndmsg{}, func(m []byte) (none struct{}, keep bool) {
		n, ok := decodeNeighbor(m)
		if !ok || n.state&(nudKnown|unix.NUD_PERMANENT) == 0 {
			return none, false
		}
		l, _ := s.linkByIndex(n.index)
		for i := range p.routers {
			if r := &p.routers[i]; r.via == n.ip && r.iface == l.name && !(r.known && r.mac == n.mac) {
				r.known, r.mac, moved = true, n.mac, true
			}
		}
		return none, false
	})
	if err != nil {
		p.log.Debug("neighbors unreadable", "err", err)
	}
	return moved
}

// ruleset is the wanted table. p.mu is held.
func (p *Plane) ruleset() *ruleset {
	if p.want.Hub.Tunnel != "" {
		return hubRuleset(p.want.Hub, p.want.Proxy)
	}
	if p.noRanges {
		return buildRuleset(p.want.Firewall, nil)
	}
	if crowded := len(p.routers) > maxChecked; crowded != p.crowded {
		if p.crowded = crowded; crowded {
			p.log.Warn("a host may use the prefix of a router on its LAN: there are more than are checked", "prefixes", len(p.routers), "checked", maxChecked)
		}
	}
	return buildRuleset(p.want.Firewall, p.routers)
}

// putTable makes the table, without the check of MACs where the kernel refuses that: before Linux 5.6 it has no concatenated
// ranges. Anything else than that is tried again with the next table.
func (p *Plane) putTable(replace func(*ruleset) (bool, error)) error {
	kept, err := replace(p.rules)
	if len(p.rules.checked) > 0 && err != nil {
		without := buildRuleset(p.want.Firewall, nil)
		var err2 error
		if kept, err2 = replace(without); err2 == nil {
			p.rules, p.noRanges = without, errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)
			p.log.Warn("a host may use the prefix of a router on its LAN: the kernel refuses to check the MAC, Linux 5.6 can do it", "err", err)
			err = nil
		}
	}
	if !kept {
		clear(p.seen)
	}
	return err
}

// followRouters makes the table anew when a router has another MAC, and says whether it had to. p.mu is held.
func (p *Plane) followRouters() bool {
	if p.closed || !p.active || p.rules == nil || p.last == nil || p.noRanges || !p.learnRouters(p.last) {
		return false
	}
	p.rules = p.ruleset()
	p.log.Debug("kernel changed", "what", "table ip6 "+tableName+" replace: a router on a LAN has another MAC")
	if err := p.putTable(p.nft.replace); err != nil {
		p.log.Debug("kernel change failed", "what", "table ip6 "+tableName+" replace", "err", err)
		p.watch.change(func() { p.watch.look, p.watch.lookTable = true, true }) // drift
	}
	return true
}

// routers adds the sets of the prefixes whose router is known; none, no set and no rule.
func (rs *ruleset) routers(routers []router) {
	s := setDef{name: setRouters, interval: true, concat: true}
	s.typ = nftables.MustConcatSetType(nftables.TypeIP6Addr, nftables.TypeEtherAddr)
	for i, r := range routers {
		skip := !r.known || len(rs.checked) == maxChecked
		for j, o := range routers { // the kernel takes no range in another one of the same MAC
			skip = skip || o.mac == r.mac && o.prefix.Overlaps(r.prefix) &&
				(o.prefix.Bits() < r.prefix.Bits() || o.prefix == r.prefix && j < i)
		}
		if skip {
			continue
		}
		key := func(a netip.Addr) []byte { // each part fills whole registers of 4 bytes
			return append(append(a.AsSlice(), r.mac[:]...), 0, 0)
		}
		rs.checked = append(rs.checked, r.prefix)
		s.text = append(s.text, r.prefix.String()+" . "+net.HardwareAddr(r.mac[:]).String())
		s.elems = append(s.elems, nftables.SetElement{Key: key(r.prefix.Addr()), KeyEnd: key(lastAddr(r.prefix))})
	}
	if len(rs.checked) > 0 {
		rs.sets = append(rs.sets, prefixSet(setChecked, rs.checked), s)
	}
}

// ofEther is p for packets that have a MAC. nft does not print it: it goes with ether saddr.
func ofEther(p part) part {
	const arphrdEther = 1
	p.exprs = append([]expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFTYPE, Register: reg},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: binaryutil.NativeEndian.PutUint16(arphrdEther)},
	}, p.exprs...)
	return p
}

// withMAC looks an address up together with the MAC of the sender.
func withMAC(text string, offset uint32, not bool) part {
	return part{text, []expr.Any{
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 16},
		&expr.Payload{DestRegister: unix.NFT_REG_2, Base: expr.PayloadBaseLLHeader, Offset: 6, Len: 6},
		&expr.Lookup{SourceRegister: reg, SetName: setRouters, Invert: not},
	}}
}

func notByItsRouter() part {
	return withMAC("ip6 saddr . ether saddr != @"+setRouters, offsetSource, true)
}

func byItsRouter() part {
	return withMAC("ip6 daddr . ether saddr @"+setRouters, offsetDestination, false)
}
