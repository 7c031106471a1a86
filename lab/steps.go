// SPDX-License-Identifier: MIT

package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"oasis6/lab/host"
	"oasis6/lab/packet"
	"oasis6/status"
)

// Steps that several scenarios have in common, and what they look at. All run on the engine's goroutine.

// handshake, delegation and addresses are how each scenario begins.
func beginning() []step {
	return []step{
		{name: "The box shakes hands with the hub, through both NATs", within: 15 * time.Second, done: func(w *World) (bool, string) {
			p, ok := w.boxes[0].peer()
			if !ok || p.HandshakeAgeS < 0 {
				return false, "no handshake yet"
			}
			return true, "the hub is at " + p.Endpoint
		}},
		{name: "The hub delegates a prefix by DHCPv6", rfc: "RFC 9915 section 6.3", within: 15 * time.Second, done: func(w *World) (bool, string) {
			s, _ := w.boxes[0].status()
			for _, p := range s.Prefixes {
				if p.State == "bound" {
					return true, p.Prefix
				}
			}
			return false, "no prefix yet"
		}},
		{name: "h1 and h2 make addresses of what the box advertises", rfc: "RFC 4862 section 5.5", within: 15 * time.Second,
			done: func(w *World) (bool, string) {
				a, b := w.address(nodeH1), w.address(nodeH2)
				if !a.IsValid() || !b.IsValid() {
					return false, fmt.Sprintf("h1 has %s, h2 has %s", addressText(a), addressText(b))
				}
				return true, fmt.Sprintf("%s, %s", a, b)
			}},
	}
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return "none"
	}
	return a.String()
}

// peer is the box's only one.
func (b *box) peer() (status.Peer, bool) {
	s, ok := b.status()
	if !ok || len(s.Tunnel.Peers) == 0 {
		return status.Peer{}, false
	}
	return s.Tunnel.Peers[0], true
}

// address is a host's preferred global one of the provider's, the newest; not valid while there is none.
func (w *World) address(name string) (a netip.Addr) {
	for _, x := range w.hosts[name].View().Addresses {
		if x.State == host.Preferred && netip.MustParsePrefix(providerPrefix).Contains(x.Prefix.Addr()) {
			a = x.Prefix.Addr()
		}
	}
	return a
}

// hasDefault says whether a host has a default route of IPv6.
func (w *World) hasDefault(name string) bool {
	return slices.ContainsFunc(w.hosts[name].View().Routes, func(r host.Route) bool { return r.Dst.Bits() == 0 && r.Dst.Addr().Is6() })
}

// tries asks again and again until an answer is right. It is how a person waits.
type tries struct {
	busy  bool
	last  time.Time
	done  bool
	found string
}

// again is the time between two tries.
const again = 250 * time.Millisecond

// fetched is a step in which a host fetches a page; judge says whether it is right.
func fetched(name, node, url string, only6 bool, judge func(w *World, p host.Page) (bool, string)) step {
	t := &tries{}
	return step{name: name, within: 30 * time.Second,
		begin: func(*World) error { *t = tries{}; return nil },
		done: func(w *World) (bool, string) {
			if t.done || t.busy || w.Engine.Now().Sub(t.last) < again {
				return t.done, t.found
			}
			t.busy, t.last = true, w.Engine.Now()
			w.hosts[node].Fetch(url, host.FetchOptions{Only6: only6}, func(p host.Page) {
				t.busy = false
				if p.Err != nil {
					t.found = p.Err.Error()
					return
				}
				t.done, t.found = judge(w, p)
			})
			return t.done, t.found
		}}
}

// seenFrom judges a page by the address that the server saw.
func seenFrom(want func(*World) netip.Addr) func(*World, host.Page) (bool, string) {
	return func(w *World, p host.Page) (bool, string) {
		from := w.visitor
		if a := want(w); from.Unmap() != a {
			return false, fmt.Sprintf("the server saw %s, not %s", from, addressText(a))
		}
		return true, fmt.Sprintf("%d octets in %v; the server saw %s", p.Octets, p.Took.Round(time.Millisecond), from.Unmap())
	}
}

// pinged is a step in which a host pings until an answer comes.
func pinged(name, node string, to func(*World) netip.Addr, o host.PingOptions, within time.Duration) step {
	t := &tries{}
	n := 0
	return step{name: name, within: within,
		begin: func(*World) error { *t, n = tries{}, 0; return nil },
		done: func(w *World) (bool, string) {
			if t.done || t.busy || w.Engine.Now().Sub(t.last) < again {
				return t.done, t.found
			}
			t.busy, t.last = true, w.Engine.Now()
			n++
			w.hosts[node].Ping(to(w), o, func(p host.Pong) {
				t.busy = false
				if p.Err != nil {
					t.found = p.Err.Error()
					return
				}
				t.done, t.found = true, fmt.Sprintf("answered in %v, the %s try", p.RTT.Round(100*time.Microsecond), ordinal(n))
			})
			return t.done, t.found
		}}
}

func ordinal(n int) string {
	switch {
	case n%100 >= 11 && n%100 <= 13:
	case n%10 == 1:
		return fmt.Sprintf("%dst", n)
	case n%10 == 2:
		return fmt.Sprintf("%dnd", n)
	case n%10 == 3:
		return fmt.Sprintf("%drd", n)
	}
	return fmt.Sprintf("%dth", n)
}

func fixed(prefix string) func(*World) netip.Addr {
	a := netip.MustParsePrefix(prefix).Addr()
	return func(*World) netip.Addr { return a }
}

// waitFor is a step in which nothing is done.
func waitFor(name, rfc string, within time.Duration, done func(*World) (bool, string)) step {
	return step{name: name, rfc: rfc, within: within, done: done}
}

// act is a step that does something and is done at once.
func act(name, rfc string, do func(*World) error) step {
	return step{name: name, rfc: rfc, within: time.Second, begin: do, done: func(*World) (bool, string) { return true, "" }}
}

// splitTunnel is the story of this project.
func splitTunnel(*World) []step {
	return append(beginning(),
		fetched("h1 fetches "+wwwName+": by IPv6, and the server sees h1 itself", nodeH1, "http://"+wwwName+"/", false,
			seenFrom(func(w *World) netip.Addr { return w.address(nodeH1) })),
		fetched("h1 fetches it by IPv4: the server sees the carrier's NAT", nodeH1, "http://"+addr4(wwwAddr4).String()+"/", false,
			seenFrom(func(*World) netip.Addr { return addr4(nat2Out4) })),
		fetched("h2 fetches "+onlyName+", which has no IPv4 at all", nodeH2, "http://"+onlyName+"/", true,
			seenFrom(func(w *World) netip.Addr { return w.address(nodeH2) })),
		waitFor("No IPv4 packet of the LAN went into the tunnel, and no IPv6 packet around it", "", time.Second, func(w *World) (bool, string) {
			return w.split()
		}),
	)
}

// split looks at the wires beyond the box for what does not belong there.
func (w *World) split() (bool, string) {
	var six, four, in, around int
	for _, r := range w.rec.all(0, func(r *record) bool { return r.Wire == "wan" }) {
		switch kind := packet.KindOf(r.Frame); {
		case r.inner != nil && r.inner[0]>>4 == 6:
			six++
		case r.inner != nil, kind == packet.Data: // IPv4, or what cannot be looked into
			in++
		case kind == packet.TCP && isIPv4(r.Frame):
			four++
		case !isIPv4(r.Frame) && kind != packet.ARP:
			around++
		}
	}
	return in == 0 && around == 0 && six > 0 && four > 0,
		fmt.Sprintf("in the tunnel %d IPv6 packets and %d others, beside it %d of IPv4's TCP and %d IPv6 packets", six, in, four, around)
}

// join is a list in words.
func join(parts []string) string { return strings.Join(parts, ", ") }
