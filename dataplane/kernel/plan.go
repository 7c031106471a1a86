// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"oasis6/dataplane"
)

// Route metrics that we choose where Desired leaves them open.
const (
	metricUser      = 1024 // IP6_RT_PRIO_USER, what the kernel itself makes of 0
	metricConnected = 256  // IP6_RT_PRIO_ADDRCONF, that of the kernel's own connected routes
	// metricUnreachable is after anything else: a connected /64 wins while its interface is up.
	metricUnreachable = 1 << 30
)

// linkLocalPrefix is the on-link prefix of every interface.
func linkLocalPrefix() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80}), 64)
}

// opKind is one way to change the kernel.
type opKind uint8

const (
	setConf opKind = iota
	setLink
	setTable
	delTable
	putAddr
	delAddr
	addRoute
	delRoute
)

// step is one change. Which fields count depends on op.
type step struct {
	op    opKind
	conf  confID
	value string
	// forget: with this the value is as before us; on success the memory drops it.
	forget bool
	link   link
	addr   addr
	route  route
	iface  string // name of the interface, for texts
	// opens: lets packets flow that the firewall must judge; not done while the firewall is not in place.
	opens bool
	// drift says what is wrong as long as the step is not done. Of a route that is missing, or there without need, it says
	// nothing: see trouble.
	drift string
}

// trouble is drift. It is made when somebody asks: there may be ten thousand routes.
func (s step) trouble() string {
	switch {
	case s.drift != "":
		return s.drift
	case s.op == addRoute:
		return "route " + routeText(s.route, s.iface) + " missing"
	}
	return "route " + routeText(s.route, s.iface) + " without need"
}

// String names the object and what happens to it.
func (s step) String() string {
	switch s.op {
	case setConf:
		return fmt.Sprintf("sysctl net.ipv6.conf.%s.%s = %s", s.iface, s.conf.name, s.value)
	case setLink:
		return fmt.Sprintf("link set %s mtu %d up", s.iface, s.link.mtu)
	case setTable:
		return "table ip6 " + tableName + " replace"
	case delTable:
		return "table ip6 " + tableName + " delete"
	case putAddr:
		return fmt.Sprintf("address put %s dev %s", s.addr.prefix, s.iface)
	case delAddr:
		return fmt.Sprintf("address delete %s dev %s", s.addr.prefix, s.iface)
	case addRoute:
		return "route add " + routeText(s.route, s.iface)
	case delRoute:
		return "route delete " + routeText(s.route, s.iface)
	}
	return fmt.Sprintf("step %d", s.op)
}

func routeText(r route, iface string) string {
	return dataplane.Route{Kind: r.kind, Dst: r.dst, From: r.from, Via: r.via, Iface: iface, Metric: r.metric}.String()[len("route "):]
}

// plan is what makes the kernel equal to Desired: first the memory is written, then the steps are
// done in their order.
type plan struct {
	memory memory // what must be remembered before the first step
	steps  []step
	forget []confID // remembered values that need no step to be as before
}

// planner builds a plan. It is pure: the same input gives the same plan.
type planner struct {
	s    *snapshot
	mem  memory
	want dataplane.Desired
	sum  string // of the wanted table; empty: none
	plan plan
}

// makePlan computes the difference. The order of the steps is the order of safety: what opens comes
// after the firewall and addresses, what closes goes the other way round.
func makePlan(s *snapshot, mem memory, want dataplane.Desired, sum string) plan {
	p := &planner{s: s, mem: mem, want: want, sum: sum}
	p.plan.memory = mem.clone()
	for a := range mem.addrs {
		if !p.holds(a) {
			delete(p.plan.memory.addrs, a) // somebody else deleted it, or the interface went
		}
	}
	before, forward, restore := p.conf()
	p.add(restore...)
	if sum != "" && s.table.sum != sum {
		p.add(step{op: setTable, drift: tableDrift(s.table)})
	}
	p.add(before...)
	p.tunnel()
	stale := p.addresses()
	staleRoutes := p.routes()
	p.add(forward...)
	p.add(staleRoutes...)
	p.add(stale...)
	if sum == "" && s.table.present {
		p.add(step{op: delTable, drift: "table ip6 " + tableName + " without need"})
	}
	return p.plan
}

func (p *planner) add(steps ...step) { p.plan.steps = append(p.plan.steps, steps...) }

func tableDrift(t tableState) string {
	if t.present {
		return "table ip6 " + tableName + " changed"
	}
	return "table ip6 " + tableName + " missing"
}

// tunnel sets the tunnel interface up. The values of its sysctls are not remembered: it is ours and
// goes with us.
func (p *planner) tunnel() {
	l, ok := p.s.linkByName(p.want.Tunnel.Name)
	if !ok {
		return
	}
	for _, c := range tunnelConf() {
		p.wantConf(l.index, c.name, c.value)
	}
	mtu := p.want.Tunnel.MTU
	if mtu == 0 {
		mtu = l.mtu
	}
	if l.up && l.mtu == mtu {
		return
	}
	l.mtu = mtu
	p.add(step{op: setLink, link: l, iface: l.name, opens: true, drift: "interface " + l.name + " down or its MTU changed"})
}

// wantConf adds a step if a value exists and is another.
func (p *planner) wantConf(index int, name, value string) {
	id := confID{index, name}
	if cur, ok := p.s.conf[id]; ok && cur != value {
		p.add(p.confStep(id, value))
	}
}

func (p *planner) holds(id addrID) bool {
	for _, a := range p.s.addrs {
		if a.index == id.index && a.prefix.Addr() == id.ip {
			return true
		}
	}
	return false
}

// ours says whether we made the address.
func (p *planner) ours(a addr) bool { return p.s.ours(a, p.mem) }

// addresses adds what is missing and returns the steps that remove what is left over.
func (p *planner) addresses() []step {
	wanted := map[addrID]bool{}
	for _, w := range p.want.Addresses {
		l, ok := p.s.linkByName(w.Iface)
		if !ok {
			continue // when it appears, that is an event
		}
		id := addrID{l.index, w.Prefix.Addr()}
		if wanted[id] {
			continue
		}
		wanted[id] = true
		p.address(l, w)
	}
	var stale []step
	for _, a := range p.s.addrs {
		if !p.ours(a) || wanted[addrID{a.index, a.prefix.Addr()}] {
			continue
		}
		name := p.s.ifname(a.index)
		stale = append(stale, step{
			op: delAddr, addr: a, iface: name,
			drift: fmt.Sprintf("address %s dev %s without need", a.prefix, name),
		})
	}
	return stale
}

// address adds the steps for one wanted address. If somebody else has put it there it is left as it is.
func (p *planner) address(l link, w dataplane.Address) {
	// The connected route is ours too, so that we see it go and put it back: IFA_F_NOPREFIXROUTE.
	a := addr{index: l.index, prefix: w.Prefix, flags: unix.IFA_F_NOPREFIXROUTE, deprecated: w.Deprecated, proto: mark}
	if w.NoDAD {
		a.flags |= unix.IFA_F_NODAD
	}
	st := step{op: putAddr, addr: a, iface: l.name, drift: fmt.Sprintf("address %s dev %s missing", w.Prefix, l.name)}
	for _, have := range p.s.addrs {
		if have.index != l.index || have.prefix.Addr() != w.Prefix.Addr() {
			continue
		}
		switch {
		case p.ours(have) && p.s.anew[addrID{l.index, w.Prefix.Addr()}]:
			p.add(step{op: delAddr, addr: have, iface: l.name, drift: st.drift})
		case !p.ours(have) || have.prefix == w.Prefix && have.deprecated == w.Deprecated:
			return
		case have.prefix != w.Prefix: // the kernel cannot change the length
			p.add(step{op: delAddr, addr: have, iface: l.name, drift: st.drift})
		default:
			st.drift = fmt.Sprintf("address %s dev %s changed", w.Prefix, l.name)
		}
	}
	p.plan.memory.addrs[addrID{l.index, w.Prefix.Addr()}] = true
	p.add(st)
}

// routes adds what is missing and returns the steps that remove what is left over: a new next hop is there before the
// old one goes.
func (p *planner) routes() []step {
	wanted, refused := p.wantedRoutes()
	there := make(map[route]bool, len(wanted))
	for _, r := range wanted {
		there[r] = false
	}
	for _, r := range p.s.routes {
		if _, ok := there[r.key()]; ok {
			there[r.key()] = true
		}
	}
	stale, first := p.staleRoutes(wanted, there, refused)
	p.add(first...)
	for _, r := range wanted {
		if there[r] {
			continue // also if it is somebody else's: what is wanted is there
		}
		there[r] = true // once
		iface := p.routeIface(r)
		p.add(step{op: addRoute, route: r, iface: iface, opens: iface != "" && iface == p.want.Tunnel.Name})
	}
	return stale
}

// staleRoutes are the steps that remove what is left over; there has what is wanted. first are those that cannot wait until
// the wanted ones are there: deleting a route without a next hop, or with several (a run that was killed between adding the
// new next hop and deleting the old one leaves that), takes one with a next hop along if all else is equal.
func (p *planner) staleRoutes(wanted []route, there, refused map[route]bool) (stale, first []step) {
	byHop := map[route]bool{} // what is stale without a next hop, and whether it is wanted with one
	for _, r := range p.s.routes {
		if r.proto != mark {
			continue
		}
		if _, ok := there[r.key()]; ok {
			continue
		}
		st := step{op: delRoute, route: r, iface: p.routeIface(r)}
		if refused[r.key()] {
			st.drift = "another " + routeText(route{dst: r.dst}, "") + " route appeared"
		}
		if r.hopless() {
			byHop[r.anyHop()] = false
		}
		stale = append(stale, st)
	}
	for _, w := range wanted {
		if _, ok := byHop[w.anyHop()]; ok && w.via.IsValid() {
			byHop[w.anyHop()] = true
		}
	}
	later := stale[:0]
	for _, st := range stale {
		if st.route.hopless() && byHop[st.route.anyHop()] {
			first = append(first, st)
		} else {
			later = append(later, st)
		}
	}
	return later, first
}

func (p *planner) routeIface(r route) string {
	if r.index == 0 {
		return ""
	}
	return p.s.ifname(r.index)
}

// wantedRoutes resolves Desired against the interfaces that are there: the routes it names, the
// connected route of each address, and fe80::/64 on a LAN where somebody flushed the kernel's.
// refused are those held back because somebody else has one.
func (p *planner) wantedRoutes() (wanted []route, refused map[route]bool) {
	refused = map[route]bool{}
	wanted = make([]route, 0, len(p.want.Routes)+len(p.want.Addresses)+len(p.want.LANs))
	for _, w := range p.want.Routes {
		r, ok := p.resolve(w)
		switch {
		case !ok:
		case w.IfNoOther && p.foreignRoute(r.dst):
			refused[r] = true
		default:
			wanted = append(wanted, r)
		}
	}
	for _, a := range p.want.Addresses {
		if r, ok := p.onLink(a.Iface, a.Prefix); ok {
			wanted = append(wanted, r)
		}
	}
	for _, name := range p.want.LANs {
		r, ok := p.onLink(name, linkLocalPrefix())
		if ok && p.s.describe(name, netip.Addr{}).LinkLocal.IsValid() && !p.foreignOn(r) {
			wanted = append(wanted, r)
		}
	}
	return wanted, refused
}

// resolve fills in the defaults and the index; false while the interface cannot take a route.
func (p *planner) resolve(w dataplane.Route) (route, bool) {
	r := route{kind: w.Kind, dst: w.Dst.Masked(), via: w.Via, metric: w.Metric}
	if w.From.IsValid() && w.From.Bits() > 0 {
		r.from = w.From.Masked()
	}
	if w.Kind == dataplane.Unreachable {
		if r.metric == 0 {
			r.metric = metricUnreachable
		}
		return r, true
	}
	if r.metric == 0 {
		r.metric = metricUser
	}
	l, ok := p.usable(w.Iface)
	r.index = l.index
	return r, ok
}

// onLink is the connected route of a prefix.
func (p *planner) onLink(iface string, prefix netip.Prefix) (route, bool) {
	l, ok := p.usable(iface)
	return route{dst: prefix.Masked(), index: l.index, metric: metricConnected}, ok && !prefix.IsSingleIP()
}

// usable is an interface that takes routes now. The tunnel does: it is brought up before.
func (p *planner) usable(name string) (link, bool) {
	l, ok := p.s.linkByName(name)
	return l, ok && (l.up || name == p.want.Tunnel.Name)
}

// foreignRoute says whether somebody else has a way out for all of dst that a packet of any source may
// take. What leads back to our LANs or the tunnel is no way out.
func (p *planner) foreignRoute(dst netip.Prefix) bool {
	for _, r := range p.s.routes {
		if r.proto != mark && r.kind == dataplane.Unicast && !r.from.IsValid() && covers(r.dst, dst) && !p.inside(r.index) {
			return true
		}
	}
	return false
}

func covers(a, b netip.Prefix) bool { return a.Bits() <= b.Bits() && a.Contains(b.Addr()) }

// inside says whether the interface is a LAN or the tunnel.
func (p *planner) inside(index int) bool {
	l, ok := p.s.linkByIndex(index)
	return ok && (l.name == p.want.Tunnel.Name || slices.Contains(p.want.LANs, l.name))
}

// foreignOn says whether somebody else has a route to the same prefix on the same interface.
func (p *planner) foreignOn(w route) bool {
	for _, r := range p.s.routes {
		if r.proto != mark && r.kind == dataplane.Unicast && r.dst == w.dst && r.index == w.index {
			return true
		}
	}
	return false
}
