// SPDX-License-Identifier: MIT

package netstack

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"oasis6/dataplane"
	"oasis6/dataplane/netstack/neigh"
)

// dadRetry is the least time after which an address that another node has is tried anew: that node may have gone.
const dadRetry = 30 * time.Second

// state of an address of ours.
//
//	          carrier             DAD passed
//	waiting ──────────► tentative ──────────► assigned
//	   ▲                    │ another node has it
//	   │      dadRetry      ▼
//	   └──────────────── taken
//
// A tentative one goes back to waiting when the carrier goes: what it would hear says nothing then.
type addressState uint8

const (
	absent addressState = iota // gVisor has it not
	tentative
	assigned
	taken
)

// address is one that we want on an interface.
type address struct {
	want  dataplane.Address
	state addressState
	by    string    // taken: the MAC of who has it
	at    time.Time // when duplicate address detection began
}

// addresses are those of an interface.
type addresses map[netip.Addr]*address

// assigned are those that packets can be sent to.
func (as addresses) assigned() (out []netip.Addr) {
	for a, x := range as {
		if x.state == assigned {
			out = append(out, a)
		}
	}
	return out
}

func (as addresses) global() bool {
	for a, x := range as {
		if x.state == assigned && !a.IsLinkLocalUnicast() {
			return true
		}
	}
	return false
}

// settleAddresses makes gVisor's addresses those that are wanted. Plane.mu is held.
func (p *Plane) settleAddresses() {
	wanted := map[string]map[netip.Addr]dataplane.Address{}
	want := func(a dataplane.Address) {
		m := wanted[a.Iface]
		if m == nil {
			m = map[netip.Addr]dataplane.Address{}
			wanted[a.Iface] = m
		}
		if _, double := m[a.Prefix.Addr()]; !double {
			m[a.Prefix.Addr()] = a
		}
	}
	for name, r := range p.ports {
		want(dataplane.Address{Iface: name, Prefix: netip.PrefixFrom(r.ll, 64)})
	}
	for _, list := range [][]dataplane.Address{p.want.Addresses, p.o.Given.Addresses} {
		for _, a := range list {
			want(a)
		}
	}
	p.settleOn(tunnelNIC, p.tunnelAddrs, wanted[p.tunnelName()], true)
	for _, name := range sortedNames(p.ports) {
		r := p.ports[name]
		r.expect(wanted[name])
		p.settleOn(r.nic, r.addrs, wanted[name], r.up)
	}
}

// settleOn is settleAddresses of one interface.
func (p *Plane) settleOn(id tcpip.NICID, have addresses, wanted map[netip.Addr]dataplane.Address, up bool) {
	for _, a := range sortedAddrs(have) {
		if w, ok := wanted[a]; !ok || w.Prefix != have[a].want.Prefix {
			p.removeAddress(id, have[a])
			delete(have, a)
		}
	}
	now := p.o.Now()
	for _, a := range sortedAddrs(wanted) {
		w, x := wanted[a], have[a]
		if x == nil {
			x = &address{want: w}
			have[a] = x
		}
		if x.state != absent && x.state != taken && x.want.Deprecated != w.Deprecated {
			life := stack.AddressLifetimes{Deprecated: w.Deprecated}
			_ = p.stack.SetAddressLifetimes(id, fromAddr(a), life) // it fails only if the address has just failed detection
		}
		x.want = w
		if up && (x.state == absent || x.state == taken && now.Sub(x.at) >= dadRetry) {
			p.addAddress(id, x, now)
		}
	}
}

func sortedAddrs[V any](m map[netip.Addr]V) []netip.Addr {
	out := make([]netip.Addr, 0, len(m))
	for a := range m {
		out = append(out, a)
	}
	sortAddrs(out)
	return out
}

func (p *Plane) addAddress(id tcpip.NICID, x *address, now time.Time) {
	a := x.want.Prefix.Addr()
	free := x.want.NoDAD || p.mark.checked(a)
	p.setDAD(id, !free)
	err := p.stack.AddProtocolAddress(id, tcpip.ProtocolAddress{
		Protocol:          ipv6.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: fromAddr(a), PrefixLen: x.want.Prefix.Bits()},
	}, stack.AddressProperties{Lifetimes: stack.AddressLifetimes{Deprecated: x.want.Deprecated}})
	x.by, x.at = "", now
	switch {
	case err != nil:
		p.log.Debug("address refused", "addr", a, "err", err.String())
		x.state = absent
	case free:
		x.state = assigned
	default:
		x.state = tentative // what detection finds comes by dadReports
	}
}

func (p *Plane) removeAddress(id tcpip.NICID, x *address) {
	if x.state == tentative || x.state == assigned {
		_ = p.stack.RemoveAddress(id, fromAddr(x.want.Prefix.Addr())) // it may just have failed detection
	}
	x.state = absent
}

// setDAD says for an interface whether what is added from now on is checked first.
func (p *Plane) setDAD(id tcpip.NICID, check bool) {
	c := stack.DADConfigurations{RetransmitTimer: dadRetrans}
	if check {
		c.DupAddrDetectTransmits = dadTransmits
	}
	ep, err := p.stack.GetNetworkEndpoint(id, ipv6.ProtocolNumber)
	if err != nil {
		return // the interface has just gone
	}
	if d, ok := ep.(stack.DuplicateAddressDetector); ok {
		d.SetDADConfigurations(c)
	}
}

// linkDown takes back what is being checked, and forgets the neighbors. Plane.mu is held.
func (p *Plane) linkDown(r *port) {
	for _, a := range sortedAddrs(r.addrs) {
		if x := r.addrs[a]; x.state == tentative {
			p.removeAddress(r.nic, x)
		}
	}
	r.mu.Lock()
	act := r.neigh.Flush()
	r.mu.Unlock()
	r.perform(p.o.Now(), act)
}

// linkUp tells the switches of the link again which groups the node is in. The addresses stay what they were: as in
// Linux, a cable that was pulled for a moment costs no second without addresses. Plane.mu is held.
func (p *Plane) linkUp(r *port) {
	p.setDAD(r.nic, false)
	r.ep.muted.Store(true)        // it does not leave its groups
	_ = p.stack.DisableNIC(r.nic) // both fail only for a NIC that is not there
	r.ep.muted.Store(false)
	_ = p.stack.EnableNIC(r.nic)
	for _, x := range r.addrs {
		if x.state == taken { // whoever had it may be elsewhere now
			x.at = time.Time{}
		}
	}
}

// dadReports is what gVisor tells of Neighbor Discovery. It must not call gVisor, and locks are held: so all is done later.
type dadReports struct {
	ipv6.NDPDispatcher // nil: nothing else is asked for by a node that takes no Router Advertisements
	p                  *Plane
}

// OnDuplicateAddressDetectionResult is ipv6.NDPDispatcher's.
func (d dadReports) OnDuplicateAddressDetectionResult(id tcpip.NICID, addr tcpip.Address, result stack.DADResult) {
	d.p.later(func() { d.p.detected(id, toAddr(addr), result) })
}

// detected is the end of a duplicate address detection. Plane.mu is held.
func (p *Plane) detected(id tcpip.NICID, a netip.Addr, result stack.DADResult) {
	addrs, iface := p.tunnelAddrs, p.tunnelName()
	for name, r := range p.ports {
		if r.nic == id {
			addrs, iface = r.addrs, name
		}
	}
	x := addrs[a]
	if x == nil || x.state != tentative {
		return
	}
	switch res := result.(type) {
	case *stack.DADSucceeded:
		x.state = assigned
		if x.at.IsZero() {
			return
		}
	case *stack.DADDupAddrDetected:
		x.state, x.at = taken, p.o.Now()
		if mac := []byte(res.HolderLinkAddress); len(mac) == len(neigh.MAC{}) {
			x.by = macText(neigh.MAC(mac))
		}
		p.log.Debug("address is another node's", "iface", iface, "addr", a, "by", x.by)
		if !a.IsLinkLocalUnicast() && p.active {
			p.events.put(dataplane.Drift{What: dupText(x.want)})
		}
	default:
		x.state = absent // it is made again
	}
}

func dupText(a dataplane.Address) string {
	return fmt.Sprintf("address %s dev %s: another node on the link uses it", a.Prefix, a.Iface)
}

// trouble is what Apply could not do. Plane.mu is held.
func (p *Plane) trouble() error {
	var errs []error
	for _, name := range sortedNames(p.tried) {
		if err := p.tried[name]; !errors.Is(err, ErrNoInterface) {
			errs = append(errs, fmt.Errorf("interface %s: %w", name, err))
		}
	}
	for _, a := range p.want.Addresses {
		if r := p.ports[a.Iface]; r != nil {
			if x := r.addrs[a.Prefix.Addr()]; x != nil && x.state == taken {
				errs = append(errs, errors.New(dupText(x.want)))
			}
		}
	}
	return errors.Join(errs...)
}
