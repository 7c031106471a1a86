// SPDX-License-Identifier: MIT

package netstack

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"oasis6/dataplane"
	"oasis6/dataplane/netstack/forward"
)

// linkRetry is how often a link that cannot be opened is asked for again.
const linkRetry = time.Second

// Watch is dataplane.Plane's. It opens the links of the interfaces.
func (p *Plane) Watch(ifaces []string) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return errClosed("watch")
	}
	p.names = slices.Clone(ifaces)
	clear(p.told)
	p.mu.Unlock()
	p.settle()
	return nil
}

// Apply is dataplane.Plane's. Missing interfaces are no error: when they come, that is an event.
func (p *Plane) Apply(ctx context.Context, want dataplane.Desired) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return errClosed("apply")
	}
	p.want, p.active = dataplane.Clone(want), true
	p.mu.Unlock()
	if want.Tunnel.MTU > 0 {
		p.tunnel.setMTU(want.Tunnel.MTU)
	}
	p.settle()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trouble()
}

// Restore is dataplane.Plane's. There is nothing to be put back: the links go when nobody names them.
func (p *Plane) Restore(context.Context) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return errClosed("restore")
	}
	p.want, p.active, p.names = dataplane.Desired{}, false, nil
	p.mu.Unlock()
	p.settle()
	return p.mark.drop()
}

// lanAddrs are those that hosts may use. Plane.mu is held.
func (p *Plane) lanAddrs() (out []netip.Addr) {
	for _, r := range p.ports {
		out = append(out, r.addrs.assigned()...)
	}
	return out
}

// settle makes all as it is wanted: links, addresses, table. It is called after each change of either side.
func (p *Plane) settle() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	gone := p.openLinks()
	p.settleAddresses()
	p.rebuild()
	p.tell()
	if p.active {
		if err := p.mark.serve(p.lanAddrs()); err != nil {
			p.log.Warn("a successor will have to wait for its addresses", "err", err)
		}
	}
	p.mu.Unlock()
	for _, r := range gone {
		if err := errors.Join(r.close(), p.mark.forget(r.name)); err != nil {
			p.log.Warn("LAN not left as it was", "iface", r.name, "err", err)
		}
	}
}

// openLinks opens what is named and not open, and gives back what is not named any more. Plane.mu is held.
func (p *Plane) openLinks() (gone []*port) {
	named := p.interfaces()
	missing := false
	for _, name := range named {
		if p.ports[name] != nil {
			continue
		}
		if err := p.openLink(name); err != nil {
			missing = true
			p.tried[name] = err
			continue
		}
		delete(p.tried, name)
	}
	for name, r := range p.ports {
		if !slices.Contains(named, name) {
			gone = append(gone, r)
			delete(p.ports, name)
		}
	}
	for name := range p.tried {
		if !slices.Contains(named, name) {
			delete(p.tried, name)
		}
	}
	if missing {
		p.again()
	}
	slices.SortFunc(gone, func(a, b *port) int { return int(a.nic) - int(b.nic) })
	return gone
}

func (p *Plane) openLink(name string) error {
	link, err := p.o.OpenLAN(name)
	if err != nil {
		return err
	}
	r, err := p.openPort(name, link)
	if err != nil {
		return errors.Join(err, link.Close())
	}
	p.ports[name] = r
	p.rebuild() // who has an address of ours answers at once when we ask whether somebody has it
	return nil
}

// again tries once more in a while. Plane.mu is held.
func (p *Plane) again() {
	if p.retry == nil {
		p.retry = p.o.Clock.AfterFunc(linkRetry, p.settle)
		return
	}
	p.retry.Reset(linkRetry)
}

// interfaces are those that are wanted, but the tunnel. Plane.mu is held.
func (p *Plane) interfaces() []string {
	names := slices.Concat(p.names, p.want.LANs)
	for _, x := range p.want.Proxy {
		names = append(names, x.Iface)
	}
	for _, a := range p.o.Given.Addresses {
		names = append(names, a.Iface)
	}
	for _, r := range p.o.Given.Routes {
		names = append(names, r.Iface)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return slices.DeleteFunc(names, func(n string) bool { return n == "" || p.isTunnel(n) })
}

func (p *Plane) isTunnel(name string) bool { return name == p.o.Tunnel || name == p.want.Tunnel.Name }

// later does something that gVisor's callbacks and links must not do themselves.
func (p *Plane) later(f func()) {
	p.newsMu.Lock()
	p.news = append(p.news, f)
	first := len(p.news) == 1
	p.newsMu.Unlock()
	if first {
		p.o.Clock.AfterFunc(0, p.catchUp)
	}
}

func (p *Plane) catchUp() {
	p.newsMu.Lock()
	news := p.news
	p.news = nil
	p.newsMu.Unlock()
	p.mu.Lock()
	if !p.closed {
		for _, f := range news {
			f()
		}
	}
	p.mu.Unlock()
	p.settle()
}

// linkMoved looks at a link's state anew. Plane.mu is held.
func (p *Plane) linkMoved(r *port) {
	if p.ports[r.name] != r {
		return
	}
	if isGone(r.link) {
		delete(p.ports, r.name)
		p.closing.Go(func() { _ = r.close() }) // it waits for the link's reader, which may be who calls
		return
	}
	was := r.up
	r.up, r.mtu = r.link.Up(), r.link.MTU()
	switch {
	case was && !r.up:
		p.linkDown(r)
	case !was && r.up:
		p.linkUp(r)
	}
}

// rebuild makes the table that the packets' path reads. Plane.mu is held.
func (p *Plane) rebuild() {
	want := p.merged()
	v := &view{ports: map[forward.Index]*port{}, own: map[netip.Addr]tcpip.NICID{}, anycast: map[netip.Addr]anycast{}}
	mtu := int(p.tunnel.mtu.Load())
	links := map[string]forward.Iface{p.tunnelName(): {Index: tunnelNIC, MTU: mtu, Up: true, Addrs: p.tunnelAddrs.assigned()}}
	for _, a := range p.tunnelAddrs.assigned() {
		if !a.IsLinkLocalUnicast() {
			v.own[a] = tunnelNIC
		}
	}
	for _, name := range sortedNames(p.ports) {
		r := p.ports[name]
		r.anycasts(v.anycast)
		index := forward.Index(r.nic)
		addrs := r.addrs.assigned()
		links[name] = forward.Iface{Index: index, MTU: r.mtu, Ether: true, Up: r.up, Addrs: addrs}
		v.ports[index] = r
		for _, a := range addrs {
			if !a.IsLinkLocalUnicast() {
				v.own[a] = r.nic
			}
		}
		r.ep.mtu.Store(uint32(max(min(r.mtu, mtu), header.IPv6MinimumMTU)))
		r.solicitor()
	}
	p.tunnel.ep.mtu.Store(uint32(max(mtu, header.IPv6MinimumMTU)))
	p.fwd.Set(forward.Compile(want, links))
	p.view.Store(v)
	p.setRoutes()
	p.setProxies()
	p.recall()
}

func (p *Plane) tunnelName() string {
	if p.want.Tunnel.Name != "" {
		return p.want.Tunnel.Name
	}
	return p.o.Tunnel
}

// merged is what is wanted with what is given. Plane.mu is held.
func (p *Plane) merged() dataplane.Desired {
	d := p.want
	d.Addresses = slices.Concat(d.Addresses, p.o.Given.Addresses)
	d.Routes = slices.DeleteFunc(slices.Clone(d.Routes), func(r dataplane.Route) bool { return r.IfNoOther && p.given(r.Dst) })
	d.Routes = append(d.Routes, p.o.Given.Routes...)
	return d
}

// given says whether what is given has a way out for all of dst that a packet of any source may take.
func (p *Plane) given(dst netip.Prefix) bool {
	return slices.ContainsFunc(p.o.Given.Routes, func(r dataplane.Route) bool {
		inside := p.isTunnel(r.Iface) || slices.Contains(p.want.LANs, r.Iface)
		return r.Kind == dataplane.Unicast && !r.From.IsValid() && !inside && r.Dst.Bits() <= dst.Bits() && r.Dst.Contains(dst.Addr())
	})
}

// setRoutes lets gVisor send by each interface: where it goes is our table's to say. The interface whose address is to be
// the source of what has none comes first. Plane.mu is held.
func (p *Plane) setRoutes() {
	var first, last []tcpip.Route
	add := func(id tcpip.NICID, addrs addresses) {
		r := tcpip.Route{Destination: header.IPv6EmptySubnet, NIC: id}
		if addrs.global() {
			first = append(first, r)
		} else {
			last = append(last, r)
		}
	}
	add(tunnelNIC, p.tunnelAddrs)
	for _, name := range sortedNames(p.ports) {
		add(p.ports[name].nic, p.ports[name].addrs)
	}
	p.stack.SetRouteTable(append(first, last...))
}

// recall tells the forwarder of all neighbors again: it forgets, and a new table may look for others. Plane.mu is held.
func (p *Plane) recall() {
	now := p.o.Now()
	for _, name := range sortedNames(p.ports) {
		r := p.ports[name]
		r.mu.Lock()
		list := r.neigh.Known(math.MaxInt)
		r.mu.Unlock()
		for _, n := range list {
			p.known(now, r, n)
		}
	}
}

// addNIC makes an interface in gVisor.
func (p *Plane) addNIC(id tcpip.NICID, ep *nic, name string) error {
	// The interface of this name that was there before may not be wholly gone yet.
	o := stack.NICOptions{Name: fmt.Sprintf("%s#%d", name, id)}
	if err := p.stack.CreateNICWithOptions(id, ep, o); err != nil {
		return fmt.Errorf("interface %s: gvisor: %s", name, err)
	}
	return nil
}

// joinServers joins the group of DHCPv6 servers, for switches that look who wants what (RFC 4541).
func (r *port) joinServers() {
	_ = r.p.stack.JoinGroup(ipv6.ProtocolNumber, r.nic, fromAddr(allDHCPServers())) // a group can always be joined
}

// tell sends what has changed. Plane.mu is held.
func (p *Plane) tell() {
	names := slices.Concat(p.names, p.want.LANs)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		l := p.describe(name)
		if was, ok := p.told[name]; !ok || was != l {
			p.told[name] = l
			p.events.put(dataplane.LinkChanged{Link: l})
		}
	}
}

// describe is an interface as the consumer knows it. Plane.mu is held.
func (p *Plane) describe(name string) dataplane.Link {
	if p.isTunnel(name) {
		return dataplane.Link{Name: name, Index: tunnelNIC, Up: true, Exists: true, MTU: int(p.tunnel.mtu.Load())}
	}
	r := p.ports[name]
	if r == nil {
		return dataplane.Link{Name: name}
	}
	l := dataplane.Link{Name: name, Index: int(r.nic), MAC: r.mac, HasMAC: true, Up: r.up, Exists: true, MTU: r.mtu}
	_, l.Bridge = r.link.(interface{ Gone() bool })
	switch a := r.addrs[r.ll]; {
	case a == nil || !r.up:
	case a.state == assigned:
		l.LinkLocal = r.ll
	case a.state == taken:
		l.Taken, l.TakenBy = r.ll, a.by
	}
	return l
}

func sortAddrs(list []netip.Addr) { slices.SortFunc(list, netip.Addr.Compare) }
