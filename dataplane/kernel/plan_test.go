// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"oasis6/dataplane"
)

// model is a kernel that does to a snapshot what Linux does on each step, as far as plans rely on it.
type model struct {
	s     snapshot
	raWAN map[int]bool // interfaces with a default route learned by RA
}

func (m *model) step(t interface{ Fatalf(string, ...any) }, st step, rules string) {
	switch st.op {
	case setConf:
		m.write(st.conf, st.value)
	case setLink:
		for i := range m.s.links {
			if m.s.links[i].index == st.link.index {
				m.s.links[i].up, m.s.links[i].mtu = true, st.link.mtu
			}
		}
	case setTable:
		m.s.table = tableState{true, rules}
	case delTable:
		m.s.table = tableState{}
	case putAddr:
		m.s.addrs = slices.DeleteFunc(m.s.addrs, func(a addr) bool {
			return a.index == st.addr.index && a.prefix.Addr() == st.addr.prefix.Addr()
		})
		a := st.addr
		if !m.s.marked {
			a.proto = 0
		}
		m.s.addrs = append(m.s.addrs, a)
	case delAddr:
		n := len(m.s.addrs)
		m.s.addrs = slices.DeleteFunc(m.s.addrs, func(a addr) bool { return a == st.addr })
		if len(m.s.addrs) != n-1 {
			t.Fatalf("%s: no such address", st)
		}
	case addRoute:
		if slices.ContainsFunc(m.s.routes, func(r route) bool { return r.key() == st.route.key() }) {
			t.Fatalf("%s: EEXIST", st)
		}
		if l, ok := m.s.linkByIndex(st.route.index); st.route.index != 0 && (!ok || !l.up) {
			t.Fatalf("%s: ENETDOWN", st)
		}
		r := st.route
		r.proto = mark
		m.s.routes = append(m.s.routes, r)
	case delRoute:
		m.s.routes = slices.DeleteFunc(m.s.routes, func(r route) bool { return r == st.route })
	}
}

// write follows addrconf_fixup_forwarding of Linux 6.18.
func (m *model) write(id confID, value string) {
	m.s.conf[id] = value
	if id.name != confForwarding {
		return
	}
	if id.index == confAll {
		m.s.conf[confID{confDefault, confForwarding}] = value
		for _, l := range m.s.links {
			m.s.conf[confID{l.index, confForwarding}] = value
		}
	}
	if on(value) && id.index != confDefault {
		for index := range m.raWAN {
			if m.s.conf[confID{index, confAcceptRA}] != "2" {
				delete(m.raWAN, index)
			}
		}
	}
}

func (m *model) newLink(index int, name string) {
	m.s.links = append(m.s.links, link{index: index, name: name, mtu: 1500, up: true, running: true})
	for _, n := range allConf() {
		m.s.conf[confID{index, n}] = m.s.conf[confID{confDefault, n}]
	}
}

func (m *model) delLink(name string) {
	l, _ := m.s.linkByName(name)
	m.s.links = slices.DeleteFunc(m.s.links, func(x link) bool { return x.name == name })
	m.s.addrs = slices.DeleteFunc(m.s.addrs, func(a addr) bool { return a.index == l.index })
	m.s.routes = slices.DeleteFunc(m.s.routes, func(r route) bool { return r.index == l.index })
	maps.DeleteFunc(m.s.conf, func(id confID, _ string) bool { return id.index == l.index && l.index > 0 })
	delete(m.raWAN, l.index)
}

// apply carries a plan out and returns the memory after it, as Plane.carryOut does.
func (m *model) apply(t interface{ Fatalf(string, ...any) }, mem memory, want dataplane.Desired) memory {
	rules := ""
	if rs := buildRuleset(want.Firewall, nil); rs != nil {
		rules = rs.sum
	}
	pl := makePlan(&m.s, mem, want, rules)
	after := pl.memory.clone()
	for _, st := range pl.steps {
		m.step(t, st, rules)
		if st.forget {
			delete(after.conf, st.conf)
		}
		if st.op == delAddr {
			delete(after.addrs, addrID{st.addr.index, st.addr.prefix.Addr()})
		}
	}
	for _, id := range pl.forget {
		delete(after.conf, id)
	}
	return after
}

// foreign is all that is not ours, as text.
func (m *model) foreign(ours map[netip.Addr]bool) string {
	var out []string
	for _, a := range m.s.addrs {
		if a.proto != mark && !ours[a.prefix.Addr()] {
			out = append(out, fmt.Sprint("addr ", a))
		}
	}
	for _, r := range m.s.routes {
		if r.proto != mark {
			out = append(out, fmt.Sprint("route ", r))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func drawDesired(t *rapid.T) dataplane.Desired {
	delegation := netip.MustParsePrefix(rapid.SampledFrom([]string{"2001:db8:1::/64", "2001:db8:2::/64"}).Draw(t, "delegation"))
	d := dataplane.Desired{
		LANs:    rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"lan1", "lan2", "new1"}), 0, 3, rapid.ID[string]).Draw(t, "lans"),
		Forward: rapid.Bool().Draw(t, "forward"),
	}
	if rapid.Bool().Draw(t, "tunnel") {
		d.Tunnel = dataplane.Tunnel{Name: "oasis0", MTU: 1420}
		d.Routes = append(d.Routes,
			dataplane.Route{Dst: netip.MustParsePrefix("::/0"), From: delegation, Iface: "oasis0"},
			dataplane.Route{Dst: netip.MustParsePrefix("::/0"), Iface: "oasis0", IfNoOther: true})
	}
	if rapid.Bool().Draw(t, "firewall") {
		d.Firewall = dataplane.Firewall{Tunnel: "oasis0", LANs: d.LANs, Delegations: []netip.Prefix{delegation}}
	}
	d.Routes = append(d.Routes, dataplane.Route{Kind: dataplane.Unreachable, Dst: delegation})
	for i, l := range d.LANs {
		b := delegation.Addr().As16()
		b[7], b[15] = byte(i), 1
		d.Addresses = append(d.Addresses, dataplane.Address{
			Iface: l, Prefix: netip.PrefixFrom(netip.AddrFrom16(b), 64),
			Deprecated: rapid.Bool().Draw(t, "deprecated"),
		})
	}
	return d
}

func drawModel(t *rapid.T) *model {
	m := &model{s: snapshot{conf: confMap{}, marked: rapid.Bool().Draw(t, "marked")}, raWAN: map[int]bool{}}
	names := []string{"lo", "lan1", "lan2", "wan", "oasis0"}
	for i, n := range names {
		m.s.links = append(m.s.links, link{index: i + 1, name: n, mtu: 1500, up: n != "oasis0", running: true})
	}
	value := rapid.SampledFrom([]string{"0", "1"})
	for index := confAll; index <= len(names); index++ {
		for _, n := range allConf() {
			m.s.conf[confID{index, n}] = value.Draw(t, fmt.Sprint(index, n))
		}
	}
	if rapid.Bool().Draw(t, "WAN by RA") {
		m.s.conf[confID{4, confForwarding}], m.s.conf[confID{4, confAcceptRA}] = "0", "1"
		m.raWAN[4] = true
	}
	m.s.addrs = append(m.s.addrs,
		addr{index: 2, prefix: netip.MustParsePrefix("fe80::a/64")},
		addr{index: 2, prefix: netip.MustParsePrefix("2001:db8:f::1/64")},
		addr{index: 4, prefix: netip.MustParsePrefix("2001:db8:f::2/64"), flags: unix.IFA_F_DEPRECATED, deprecated: true})
	m.s.routes = append(m.s.routes,
		route{dst: linkLocalPrefix(), index: 2, metric: 256, proto: 2},
		route{kind: otherKind, dst: netip.MustParsePrefix("2001:db8:1::/64"), metric: 5, proto: 3})
	if rapid.Bool().Draw(t, "foreign default") {
		m.s.routes = append(m.s.routes, route{dst: netip.MustParsePrefix("::/0"), index: 4, metric: 1024, proto: 9})
	}
	return m
}

// Whatever is applied in whatever order, with interfaces that come and go, kills, and others' hands
// in our things: a second Apply has nothing to do, nobody else's state is touched, no route by RA is
// lost, and at the end every sysctl is as at the start.
func TestAnyHistoryEndsAsItBegan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		before := maps.Clone(m.s.conf)
		ours := map[netip.Addr]bool{}
		foreign := m.foreign(ours)
		ra := maps.Clone(m.raWAN)
		mem := newMemory()
		news := 0
		tunnelKeys := func(id confID, _ string) bool { return id.index == 5 || id.index > 5 }
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				if _, ok := m.s.linkByName("new1"); !ok {
					m.newLink(10+news, "new1")
					news++
				} else {
					m.delLink("new1")
				}
			case 1:
				m.s.routes = slices.DeleteFunc(m.s.routes, func(r route) bool { return r.proto == mark })
			case 2:
				m.s.table = tableState{present: rapid.Bool().Draw(t, "table")}
			default:
				want := drawDesired(t)
				for _, a := range want.Addresses {
					ours[a.Prefix.Addr()] = true
				}
				mem = m.apply(t, mem, want)
				rules := ""
				if rs := buildRuleset(want.Firewall, nil); rs != nil {
					rules = rs.sum
				}
				if again := makePlan(&m.s, mem, want, rules); len(again.steps) != 0 || len(again.forget) != 0 || !again.memory.equal(mem) {
					t.Fatalf("a second Apply of\n%swould do %v, forget %v, memory %v -> %v", want, again.steps, again.forget, mem, again.memory)
				}
				for index := range ra {
					if !m.raWAN[index] {
						t.Fatalf("the route by RA was purged by Apply of\n%s", want)
					}
				}
			}
			if got := m.foreign(ours); got != foreign {
				t.Fatalf("foreign state\n%s\nbecame\n%s", foreign, got)
			}
		}
		mem = m.apply(t, mem, dataplane.Desired{})
		if len(mem.conf)+len(mem.addrs) != 0 {
			t.Fatalf("left in the memory: %v", mem)
		}
		if !maps.Equal(ra, m.raWAN) {
			t.Fatal("the route by RA was purged on the way back")
		}
		for _, r := range m.s.routes {
			if r.proto == mark {
				t.Fatalf("left: %v", r)
			}
		}
		if m.s.table.present || len(m.s.addrs) != 3 {
			t.Fatalf("left: table %v, addresses %v", m.s.table, m.s.addrs)
		}
		after := maps.Clone(m.s.conf)
		if l, ok := m.s.linkByName("new1"); ok {
			for _, n := range allConf() {
				if got, want := after[confID{l.index, n}], before[confID{confDefault, n}]; got != want {
					t.Fatalf("new1.%s = %s, want %s, which default was before", n, got, want)
				}
			}
		}
		maps.DeleteFunc(after, tunnelKeys)
		maps.DeleteFunc(before, tunnelKeys)
		if !maps.Equal(after, before) {
			t.Fatalf("sysctls\n%v\nbecame\n%v", before, after)
		}
	})
}

func TestPlanOrder(t *testing.T) {
	m := &model{s: snapshot{conf: confMap{}, marked: true}}
	for i, n := range []string{"lo", "br-lan", "wan", "oasis0"} {
		m.s.links = append(m.s.links, link{index: i + 1, name: n, mtu: 1500, up: n != "oasis0"})
	}
	for index := confAll; index <= 4; index++ {
		m.s.conf[confID{index, confForwarding}] = "0"
		m.s.conf[confID{index, confAcceptRA}] = "1"
	}
	d := netip.MustParsePrefix("2001:db8:1::/64")
	want := dataplane.Desired{
		Tunnel:    dataplane.Tunnel{Name: "oasis0", MTU: 1420},
		LANs:      []string{"br-lan", "br-none"},
		Addresses: []dataplane.Address{{Iface: "br-lan", Prefix: netip.MustParsePrefix("2001:db8:1::1/64")}},
		Routes:    []dataplane.Route{{Dst: netip.MustParsePrefix("::/0"), From: d, Iface: "oasis0"}},
		Forward:   true,
		Firewall:  dataplane.Firewall{Tunnel: "oasis0", LANs: []string{"br-lan"}, Delegations: []netip.Prefix{d}},
	}
	sum := buildRuleset(want.Firewall, nil).sum
	text := func(p plan) string {
		var b strings.Builder
		for _, st := range p.steps {
			fmt.Fprintln(&b, st)
		}
		return b.String()
	}
	const up = `table ip6 oasis6 replace
sysctl net.ipv6.conf.default.accept_ra = 2
sysctl net.ipv6.conf.wan.accept_ra = 2
sysctl net.ipv6.conf.br-lan.accept_ra = 0
sysctl net.ipv6.conf.oasis0.accept_ra = 0
link set oasis0 mtu 1420 up
address put 2001:db8:1::1/64 dev br-lan
route add default from 2001:db8:1::/64 dev oasis0 metric 1024
route add 2001:db8:1::/64 dev br-lan metric 256
sysctl net.ipv6.conf.all.forwarding = 1
`
	if got := text(makePlan(&m.s, newMemory(), want, sum)); got != up {
		t.Errorf("way up:\n%swant:\n%s", got, up)
	}
	mem := m.apply(t, newMemory(), want)
	const down = `sysctl net.ipv6.conf.all.forwarding = 0
sysctl net.ipv6.conf.default.accept_ra = 1
sysctl net.ipv6.conf.br-lan.accept_ra = 1
sysctl net.ipv6.conf.wan.accept_ra = 1
route delete default from 2001:db8:1::/64 dev oasis0 metric 1024
route delete 2001:db8:1::/64 dev br-lan metric 256
address delete 2001:db8:1::1/64 dev br-lan
table ip6 oasis6 delete
`
	if got := text(makePlan(&m.s, mem, dataplane.Desired{}, "")); got != down {
		t.Errorf("way down:\n%swant:\n%s", got, down)
	}
}
