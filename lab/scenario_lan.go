// SPDX-License-Identifier: MIT

package lab

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"oasis6/lab/host"
	"oasis6/lab/host/inet6"
)

// Scenarios of what happens on the LAN.

// renumbering: the provider gives another prefix, and nobody may hang on the old one.
func renumbering(*World) []step {
	var old [2]netip.Addr
	names := [2]string{nodeH1, nodeH2}
	return append(beginning(),
		act("The hub gets another pool", "RFC 9096 section 1", func(w *World) error {
			for i, n := range names {
				old[i] = w.address(n)
			}
			w.renumber()
			return nil
		}),
		waitFor("The hub tells the box to renew, and the box has a prefix of the new pool", "RFC 9915 section 18.3.11", 10*time.Second, func(w *World) (bool, string) {
			s, _ := w.boxes[0].status()
			for _, p := range s.Prefixes {
				x, err := netip.ParsePrefix(p.Prefix)
				if err == nil && netip.MustParsePrefix(w.hub.pool).Contains(x.Addr()) {
					return true, p.Prefix
				}
			}
			return false, "the old prefix still"
		}),
		waitFor("Each host has a new address, and the old one is deprecated", "RFC 9096 section 3.5", 5*time.Second, func(w *World) (bool, string) {
			var said []string
			all := true
			for i, n := range names {
				a := w.address(n)
				dead := w.stateOf(n, old[i]) != host.Preferred
				all = all && a.IsValid() && a != old[i] && dead && netip.MustParsePrefix(w.hub.pool).Contains(a)
				said = append(said, fmt.Sprintf("%s has %s; %s is %s", n, addressText(a), old[i], w.stateText(n, old[i])))
			}
			return all, join(said)
		}),
		fetched("h1 fetches "+wwwName+" from its new address", nodeH1, "http://"+wwwName+"/", true, seenFrom(func(w *World) netip.Addr { return w.address(nodeH1) })),
	)
}

// stateOf is what a host says of an address; empty: it does not have it.
func (w *World) stateOf(name string, a netip.Addr) host.State {
	for _, x := range w.hosts[name].View().Addresses {
		if x.Prefix.Addr() == a {
			return x.State
		}
	}
	return ""
}

func (w *World) stateText(name string, a netip.Addr) string {
	if s := w.stateOf(name, a); s != "" {
		return string(s)
	}
	return "gone"
}

// rogueRouter: somebody else advertises on the LAN.
func rogueRouter(*World) []step {
	return append(beginning(),
		act("A laptop that shares its connection advertises a prefix, with high preference", "RFC 6104", func(w *World) error { w.goRogue(true); return nil }),
		waitFor("h1 has an address of it: hosts believe everybody", "RFC 4862 section 5.5.3", 20*time.Second, func(w *World) (bool, string) {
			p := netip.MustParsePrefix(roguePrefix)
			for _, x := range w.hosts[nodeH1].View().Addresses {
				if p.Contains(x.Prefix.Addr()) && x.State == host.Preferred {
					return true, x.Prefix.Addr().String()
				}
			}
			return false, "not yet"
		}),
		waitFor("The box has heard it, and says who it is", "RFC 4861 section 6.2.7", 20*time.Second, func(w *World) (bool, string) {
			s, _ := w.boxes[0].status()
			self := inet6.LinkLocal(w.port("lan-rogue", nodeRogue).MAC()).String()
			for _, l := range s.LANs {
				for _, r := range l.Routers {
					if r.Address == self {
						return true, "another router is there: " + r.Address
					}
				}
			}
			return false, "status does not name it"
		}),
		waitFor("The box itself believes nothing of it: it is up, with its prefix and no other", "", time.Second, func(w *World) (bool, string) {
			s, _ := w.boxes[0].status()
			for _, l := range s.LANs {
				for _, p := range l.Prefixes {
					if !strings.HasPrefix(p.Prefix, strings.TrimSuffix(providerPrefix, "::/48")) {
						return false, p.Prefix + " on its LAN"
					}
				}
			}
			return strings.HasPrefix(s.Summary, "up:"), s.Summary
		}),
		fails("h1 uses it, and nothing comes back: a LAN needs a guard against that", "RFC 6105", nodeH1),
		act("The laptop takes back what it said, and leaves", "RFC 4861 section 6.2.5", func(w *World) error { w.goRogue(false); return nil }),
		fetched("h2 reaches "+wwwName+" all the same", nodeH2, "http://"+wwwName+"/", true, func(w *World, p host.Page) (bool, string) {
			from := p.Attempts[len(p.Attempts)-1].Source
			return netip.MustParsePrefix(w.hub.pool).Contains(from), "from " + from.String()
		}),
	)
}

// duplicateAddress: two nodes want one address.
func duplicateAddress(*World) []step {
	var old netip.Addr
	return append(beginning(),
		act("h1 makes its address anew, and a clone says that it has the same", "RFC 4862 section 5.4", func(w *World) error {
			old = w.address(nodeH1)
			return w.duplicate(nodeH1)
		}),
		waitFor("h1 hears of it, and does not use the address", "RFC 4862 section 5.4.5", 15*time.Second, func(w *World) (bool, string) {
			took := w.clone.Took()
			if len(took) == 0 {
				return false, "nobody has objected yet"
			}
			a := took[len(took)-1]
			s := w.stateOf(nodeH1, a)
			return s == host.Duplicate || s == "", fmt.Sprintf("%s is taken, by %s; for h1 it is %s", a, macText(w.port("lan-clone", nodeClone).MAC()), w.stateText(nodeH1, a))
		}),
		waitFor("h1 takes another one", "RFC 7217 section 6", 15*time.Second, func(w *World) (bool, string) {
			a := w.address(nodeH1)
			return a.IsValid() && a != old, addressText(a)
		}),
		fetched("h1 fetches "+wwwName+" from it", nodeH1, "http://"+wwwName+"/", true, seenFrom(func(w *World) netip.Addr { return w.address(nodeH1) })),
		pinged("h2 is not concerned", nodeH2, fixed(wwwAddr6), host.PingOptions{}, 10*time.Second),
	)
}

func macText(m [6]byte) string {
	var parts []string
	for _, b := range m {
		parts = append(parts, fmt.Sprintf("%02x", b))
	}
	return strings.Join(parts, ":")
}

// neighbourScan: 10,000 addresses in five seconds, and nobody suffers.
func neighbourScan(*World) []step {
	asked, answered, looked := 0, 0, 0
	return append(beginning(),
		pinged("h1 pings "+wwwName+": the box knows it", nodeH1, fixed(wwwAddr6), host.PingOptions{}, 10*time.Second),
		step{name: fmt.Sprintf("Somebody scans the LAN: %d addresses, %d a second; h1 goes on pinging", scanAddresses, int(time.Second/scanEvery)),
			rfc: "RFC 6583", within: 30 * time.Second,
			begin: func(w *World) error {
				asked, answered, looked = 0, 0, 0
				w.rec.listen(func(r *record) {
					if r.Wire == "lan-r1" && r.From == nodeR1 && isICMP6(contentOf(r), typeNS) {
						looked++
					}
				})
				var ping func()
				ping = func() {
					asked++
					w.hosts[nodeH1].Ping(wwwAt, host.PingOptions{Timeout: 5 * time.Second}, func(p host.Pong) {
						if p.Err == nil {
							answered++
						}
					})
					if asked < 100 {
						w.Engine.AfterFunc(40*time.Millisecond, ping)
					}
				}
				w.Engine.AfterFunc(500*time.Millisecond, ping)
				return w.scan()
			},
			done: func(w *World) (bool, string) {
				return w.scanning == nil && answered == 100, fmt.Sprintf("%d of %d pings answered", answered, asked)
			}},
		waitFor("The box looked for few of them: the rest was dropped", "RFC 6583 section 7", 5*time.Second, func(w *World) (bool, string) {
			s, _ := w.boxes[0].status()
			return s.Neighbors.Dropped > scanAddresses/2 && looked < scanAddresses/10,
				fmt.Sprintf("%d packets dropped, %d solicitations on the LAN", s.Neighbors.Dropped, looked)
		}),
	)
}

// fails is a step in which a host tries the Internet and gets no answer.
func fails(name, rfc, node string) step {
	t := &tries{}
	return step{name: name, rfc: rfc, within: 10 * time.Second, begin: func(*World) error { *t = tries{}; return nil },
		done: func(w *World) (bool, string) {
			if t.done || t.busy || w.Engine.Now().Sub(t.last) < again {
				return t.done, t.found
			}
			t.busy, t.last = true, w.Engine.Now()
			w.hosts[node].Ping(wwwAt, host.PingOptions{}, func(p host.Pong) {
				t.busy = false
				t.done, t.found = p.Err != nil, fmt.Sprintf("from %s: %v", p.Source, p.Err)
			})
			return t.done, t.found
		}}
}
