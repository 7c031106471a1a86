// SPDX-License-Identifier: MIT

package e2e

import (
	"net/netip"
	"regexp"
	"strings"

	"oasis6/internal/netlab"
)

// What tests look at or change in the box itself, by whichever data plane it has.

// outOfTunnel counts the packets that come out of the tunnel, from now on. The tunnel of the userspace data plane has no
// interface: what R2 sends into its end is counted.
func (b *box) outOfTunnel() func(want func(netlab.Packet) bool) int {
	b.Helper()
	if b.Config.Userspace {
		return b.R2.WatchIPv6Sent("wg0").Count
	}
	return b.R1.WatchIPv6(netlab.BoxTunnel).Count
}

// ownAddresses are the box's on the tunnel; in userspace as the status has them.
func (b *box) ownAddresses() (out []netip.Addr) {
	b.Helper()
	if !b.Config.Userspace {
		return b.R1.GUAs(netlab.BoxTunnel)
	}
	s, err := b.statusErr()
	if err != nil || s.DHCPv6 == nil {
		return nil
	}
	for _, ia := range s.DHCPv6.IAs {
		for _, p := range ia.Prefixes {
			if ia.Type == "IA_NA" {
				out = append(out, netip.MustParseAddr(p.Prefix))
			}
		}
	}
	return out
}

// lanAddress is the box's first global address on its first LAN.
func (b *box) lanAddress() string {
	b.Helper()
	s := b.status()
	if len(s.LANs) == 0 || len(s.LANs[0].Prefixes) == 0 {
		b.Fatalf("the box has no address on a LAN\n%s", b.text())
	}
	return s.LANs[0].Prefixes[0].Address
}

// ownIPv6 says what is wrong with the IPv6 of the box itself; nil is fine. In userspace that is not the machine's: www asks
// the box's station.
func (b *box) ownIPv6() error {
	b.Helper()
	if b.Config.Userspace {
		return b.WWW.Ping(b.lanAddress())
	}
	return b.R1.Ping(netlab.WWWv6)
}

var answers = regexp.MustCompile(`bytes from (fe80:[0-9a-f:]+)%eth0`)

// routerOnLAN is the box's link-local address on br-lan. In userspace the box is a station of its own there, and the only
// router that answers all routers.
func (b *box) routerOnLAN() netip.Addr {
	b.Helper()
	if !b.Config.Userspace {
		return b.R1.LinkLocals("br-lan")[0]
	}
	out, err := b.H1.Try("ping", "-n", "-c1", "-w5", "ff02::2%eth0")
	m := answers.FindStringSubmatch(out)
	if m == nil {
		b.Fatalf("no router answers on the LAN: %v\n%s", err, out)
	}
	return netip.MustParseAddr(m[1])
}

// refusesSources says whether sources were refused with code 5 since the call. The kernel can send the error only where its
// routes lead, which is not back to such a source: there the rule's counter shows that it was made. In userspace it goes
// back to the host that has sent the packet.
func (b *box) refusesSources(h *netlab.Node) func() bool {
	b.Helper()
	if b.Config.Userspace {
		seen := h.WatchIPv6("eth0")
		return func() bool {
			return seen.Count(func(p netlab.Packet) bool { return p.ICMPv6 == [2]byte{1, 5} }) > 0
		}
	}
	return func() bool {
		for line := range strings.Lines(b.R1.Run("nft", "list", "chain", "ip6", "oasis6", "forward")) {
			if strings.Contains(line, "source not ours") && !strings.Contains(line, "packets 0 ") {
				return true
			}
		}
		return false
	}
}

// askAgain makes the box ask once more whether its address on br-lan is another node's: what it has there is taken from it,
// and it puts that back at once.
func (b *box) askAgain(own string) {
	b.Helper()
	if b.Config.Userspace {
		b.R1.Run("ip", "link", "del", b.tap())
		return
	}
	b.R1.Run("ip", "-6", "addr", "del", own+"/64", "dev", "br-lan")
}

// meddling is what another program does to what is the box's.
type meddling struct {
	what string
	do   func()
}

// others is all that other programs can flush.
func (b *box) others() []meddling {
	run := func(args ...string) func() { return func() { b.R1.Run(args...) } }
	both := []meddling{
		{"all main routes", run("ip", "-6", "route", "flush", "table", "main")},
		{"ruleset", run("nft", "flush", "ruleset")},
		{"LAN address", run("ip", "-6", "addr", "flush", "dev", "br-lan", "scope", "global")},
		{"forwarding", run("sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=0")},
	}
	if b.Config.Userspace {
		return append(both,
			meddling{"port of the bridge", func() { b.R1.Run("ip", "link", "set", b.tap(), "nomaster") }},
			meddling{"link of the tap", func() { b.R1.Run("ip", "link", "set", b.tap(), "down") }},
			meddling{"tap", func() { b.R1.Run("ip", "link", "del", b.tap()) }},
		)
	}
	return append(both,
		meddling{"link of oasis0", run("ip", "link", "set", "oasis0", "down")},
		meddling{"routes of oasis0", run("ip", "-6", "route", "flush", "dev", "oasis0")},
		meddling{"all unreachable routes", run("ip", "-6", "route", "flush", "type", "unreachable")},
	)
}

var tapOfBox = regexp.MustCompile(`oasis6lan\d+`)

// tap is the box's port of br-lan in userspace; empty if there is none.
func (b *box) tap() string {
	b.Helper()
	return tapOfBox.FindString(b.R1.Run("ip", "-o", "link", "show", "master", "br-lan", "up"))
}

// unharmed notes what the box has in the machine, and says later whether that is there, and what is.
func (b *box) unharmed() (whole func() bool, now func() string) {
	b.Helper()
	if b.Config.Userspace {
		return func() bool { return b.tap() != "" }, func() string { return b.R1.Run("ip", "link") }
	}
	rules := func() (string, error) {
		table, err := b.R1.Try("nft", "list", "table", "ip6", "oasis6")
		return fixedPart(table), err
	}
	routes := func() string { return ownRoutes(b) }
	wantRules, err := rules()
	if err != nil {
		b.Fatal(err)
	}
	wantRoutes := routes()
	haveRoutes := func() bool { // a flush may make us own routes that were the kernel's
		now := routes()
		for line := range strings.Lines(wantRoutes) {
			if !strings.Contains(now, line) {
				return false
			}
		}
		return true
	}
	return func() bool {
		r, err := rules()
		return err == nil && r == wantRules && haveRoutes() && b.R1.SysctlGet("net.ipv6.conf.all.forwarding") == "1" &&
			strings.Contains(b.R1.Run("ip", "-6", "addr", "show", "dev", "br-lan"), "::1/64")
	}, func() string { return "routes " + routes() + "\nwant " + wantRoutes }
}
