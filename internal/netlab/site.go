// SPDX-License-Identifier: MIT

package netlab

import (
	"fmt"
	"net/netip"
	"strings"

	"oasis6/internal/wgkey"
)

// Site is one place in NAT-land: the box's machine R1 with its LAN, the NATs before it, and the box's key and files. A
// World is one, and B, with TwoSites, another.
type Site struct {
	H1, H2, R1   *Node  // H2 is nil where there is one host only
	NAT1         *Node  // next to R1
	Outer        *Node  // the NAT at the edge of the IPv4 Internet; may be NAT1
	Publicv4     string // what the IPv4 Internet sees of the site
	BoxKey       wgkey.Private
	LinkLocal    netip.Addr        // set by hand, for HubConfig and foreign boxes; zero: made of the key
	ByInvitation bool              // HubConfig does not name it: it is to join
	OnBoxLine    func(line string) // called with each line that the box logs; may be nil

	world         *World
	natPorts      int // counts RebindNAT
	boxConfigured bool
}

// bring gives R1 and the hosts their IPv4, and R1 its way to NAT1. All sites use the same addresses, as homes do.
func (s *Site) bring() {
	s.H1.Addr("eth0", "192.0.2.10/26")
	if s.H2 != nil {
		s.H2.Addr("eth0", "192.0.2.11/26")
	}
	for _, h := range []*Node{s.H1, s.H2} {
		if h != nil {
			h.Run("ip", "route", "add", "default", "via", BoxLANv4)
		}
	}
	s.R1.Addr("br-lan", BoxLANv4+"/26")
	s.R1.Addr("wan0", BoxWANv4+"/26")
	s.R1.Sysctl("net.ipv4.ip_forward", "1")
	s.R1.Run("ip", "route", "add", "default", "via", nat1In)

	s.NAT1.Addr("in0", nat1In+"/26")
	s.NAT1.Sysctl("net.ipv4.ip_forward", "1")
	s.NAT1.Run("ip", "route", "add", LANv4, "via", BoxWANv4)
	s.NAT1.nft(natTable("masquerade"))
}

// nat1In is the address of the NAT next to R1.
const nat1In = "192.0.2.65"

// secondSite makes B: h1b behind R1b, behind a single NAT of its own. B's box has the same private IPv4 addresses as the
// first one.
func (w *World) secondSite() {
	w.T.Helper()
	if !w.Config.TwoSites {
		return
	}
	s := &Site{H1: w.Node("h1b"), R1: w.Node("r1b"), NAT1: w.Node("natb"), Publicv4: NATBv4, BoxKey: wgkey.GeneratePrivate(), world: w}
	s.Outer = s.NAT1
	w.B = s
	noIPv6(s.NAT1)
	w.Wire(s.H1, "eth0", s.R1, "lan1")
	s.R1.Bridge("br-lan", "lan1")
	w.Wire(s.R1, "wan0", s.NAT1, "in0")
	w.Wire(s.NAT1, "out0", w.Inet, "natb")
	s.bring()
	w.Inet.Addr("natb", "203.0.113.193/26")
	s.NAT1.Addr("out0", NATBv4+"/26")
	s.NAT1.Run("ip", "route", "add", "default", "via", "203.0.113.193")
}

// Sites are all that the world has.
func (w *World) Sites() []*Site {
	if w.B == nil {
		return []*Site{w.Site}
	}
	return []*Site{w.Site, w.B}
}

// linkLocal is the address of R1 on the tunnel.
func (s *Site) linkLocal() netip.Addr {
	if s.LinkLocal.IsValid() {
		return s.LinkLocal
	}
	return s.BoxKey.Public().LinkLocal()
}

// RebindNAT makes the outer NAT forget its flows and give the box's datagrams another source port, as a rebooted modem
// does.
func (s *Site) RebindNAT() {
	s.world.T.Helper()
	s.natPorts++
	first := 20000 + 1000*(s.natPorts%40)
	rules := fmt.Sprintf("meta l4proto udp masquerade to :%d-%d\n\t\toifname \"out0\" masquerade", first, first+999)
	s.Outer.nft("delete table ip nat\n" + natTable(rules))
	if err := s.Outer.flushConntrack(); err != nil {
		s.world.T.Fatalf("%s: flush conntrack: %v", s.Outer.Name, err)
	}
}

// Replug takes the host's cable out and puts it in again, and its IPv4 default route back.
func (s *Site) Replug(h *Node) {
	s.world.T.Helper()
	s.world.Cut(h, "eth0")
	s.world.Heal(h, "eth0")
	h.Run("ip", "route", "add", "default", "via", BoxLANv4)
}

// CheckIPv4 says what is wrong with the IPv4 path of a host of the site through the NATs to www; nil is fine.
func (s *Site) CheckIPv4(h *Node) error {
	body, err := h.Fetch(WWWv4)
	if err != nil {
		return fmt.Errorf("%s: fetch http://%s/: %w", h.Name, WWWv4, err)
	}
	if want := "you are " + s.Publicv4 + ":"; !strings.Contains(body, want) {
		return fmt.Errorf("%s: http://%s/ = %q, want %q: IPv4 does not leave through the NATs", h.Name, WWWv4, body, want)
	}
	return nil
}
