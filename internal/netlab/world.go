// SPDX-License-Identifier: MIT

package netlab

import (
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"time"

	"oasis6/internal/wgkey"
)

// The addresses of the world. IPv4 of the LAN and of every link lies in the documentation nets
// (RFC 5737), IPv6 in 2001:db8::/32 (RFC 3849).
const (
	LANv4       = "192.0.2.0/26"      // behind the box; h1 .10, h2 .11
	BoxLANv4    = "192.0.2.1"         // the box on br-lan
	GuestLANv4  = "192.0.2.128/26"    // the second LAN; g1 .138
	BoxGuestv4  = "192.0.2.129"       // the box on br-guest
	BoxWANv4    = "192.0.2.66"        // the box on wan0
	R2v4        = "203.0.113.66"      // the far router's IPv4 address
	R2Port      = 51820               // its WireGuard port
	NAT2v4      = "203.0.113.2"       // what the IPv4 Internet sees of the first site
	NATBv4      = "203.0.113.194"     // what it sees of the second one
	WWWv4       = "203.0.113.130"     // the server on the IPv4 Internet
	WWWv6       = "2001:db8:0:6::80"  // the same server on the IPv6 Internet
	DNSv6       = "2001:db8:0:6::53"  // the DNS server that R2 announces; nobody answers there
	SearchList  = "lan.example"       // the search domain that R2 announces
	NTPv6       = "2001:db8:0:6::123" // the NTP servers that R2 announces to who asks; nobody answers there
	NTPName     = "ntp.example"
	DefaultPool = "2001:db8:ebbd:9900::/56"
	AddressPool = "2001:db8:ebbd:ff00::/64" // what R2 gives addresses out of
	PrefixB     = "2001:db8:ebbd:b0b0::/64" // what a foreign R2 routes to the second site
)

// WWWText is what the server answers to every request.
const WWWText = "hello from the IPv6 Internet\n"

// WorldConfig is what may differ between worlds. The zero value is the usual one.
type WorldConfig struct {
	NoDHCPv6     bool          // R2 routes the pool but delegates nothing, as a broker's end does
	Pool         netip.Prefix  // what R2 routes to the box and delegates from; zero: DefaultPool
	DelegatedLen int           // length of a delegation; zero: 64
	Preferred    time.Duration // lifetimes of a delegation; zero: 45 min and 90 min
	Valid        time.Duration
	Renew        time.Duration // T1; zero: half of Preferred
	NoRapid      bool          // Kea does not do Rapid Commit
	Addresses    bool          // Kea also gives addresses (IA_NA), out of AddressPool
	// DefaultPlaces puts the box's files in R1 where users look for them; tests cannot read those.
	DefaultPlaces bool
	// HandMadeRapid lets the hand-made R1 ask for Rapid Commit. The examples that people copy do not.
	HandMadeRapid bool
	// Guest adds a second LAN of the box: br-guest with host g1.
	Guest bool
	// Downstream adds a router behind br-lan: R3 with host h3. StartDownstream gives it life.
	Downstream bool
	// TwoSites adds another site, World.B, behind a NAT of its own. A foreign R2 delegates nothing to it: it routes
	// PrefixB there.
	TwoSites bool
	// Userspace lets the boxes forward by themselves, without the kernel.
	Userspace bool
	// OpenPeer makes what R2 takes from the box ::/0 and fe80::/64, as in the article that showed the way. Without it, R2
	// takes the box's link-local address and what it routes there.
	OpenPeer bool
	// ServerRoutes leaves the routes to the box to R2's DHCPv6 server, as odhcpd makes them. Use OpenPeer with it.
	ServerRoutes bool
}

func (c *WorldConfig) fill() {
	if !c.Pool.IsValid() {
		c.Pool = netip.MustParsePrefix(DefaultPool)
	}
	if c.DelegatedLen == 0 {
		c.DelegatedLen = 64
	}
	if c.Preferred == 0 {
		c.Preferred = 45 * time.Minute
	}
	if c.Valid == 0 {
		c.Valid = 90 * time.Minute
	}
	if c.Renew == 0 {
		c.Renew = c.Preferred / 2
	}
}

// World is the story of this project in namespaces:
//
//	h1 ┐
//	   ├ br-lan R1 wan0 ─ NAT1 ─ NAT2 ─ inet ─ R2 ─ www
//	h2 ┘                               └────────── www
//
// With Guest, g1 is behind br-guest of R1; with Downstream, h3 is behind R3, which is behind br-lan; with TwoSites there is
// also h1b ─ br-lan R1b wan0 ─ NATb ─ inet.
// Between R1 and R2 there is IPv4 alone; R2 and www speak IPv6 to each other. R1 is an empty
// Linux router with IPv4 set up and IPv6 as the kernel has it: StartBox or StartHandMade bring
// IPv6. R2 does nothing before StartHub, or before StartR2, which makes it of other people's programs.
type World struct {
	*Lab
	*Site               // the first one
	B             *Site // nil unless the config says so
	Config        WorldConfig
	NAT2          *Node
	Inet          *Node
	R2            *Node
	WWW           *Node
	G1            *Node // this and the next ones are nil unless the config says so
	R3, H3        *Node
	HubKey        wgkey.Private
	OnHubLine     func(line string) // called with each line that the hub logs; may be nil
	hubConfigured bool
	wg            *Proc
	kea           keaState
	routed        []netip.Prefix // what R2 routes to the first box
}

// NewWorld builds the world: wires, IPv4, NATs and the server www. It skips the test as Need does.
func NewWorld(t T, c WorldConfig) *World {
	t.Helper()
	Need(t, "ip", "nft", "wg", "ping", "kea-dhcp6", "go")
	NeedTun(t)
	c.fill()
	w := &World{Lab: New(t), Config: c, HubKey: wgkey.GeneratePrivate()}
	w.Site = &Site{BoxKey: wgkey.GeneratePrivate(), Publicv4: NAT2v4, world: w}
	w.kea.pool = c.Pool
	w.routed = []netip.Prefix{c.Pool}
	if c.Addresses {
		w.routed = append(w.routed, netip.MustParsePrefix(AddressPool))
	}
	for name, n := range map[string]**Node{"h1": &w.H1, "h2": &w.H2, "r1": &w.R1, "nat1": &w.NAT1,
		"nat2": &w.NAT2, "inet": &w.Inet, "r2": &w.R2, "www": &w.WWW} {
		*n = w.Node(name)
	}
	w.Outer = w.NAT2
	for _, n := range []*Node{w.NAT1, w.NAT2, w.Inet} {
		noIPv6(n)
	}
	w.wire()
	w.natLand()
	w.behind()
	w.internet()
	w.secondSite()
	return w
}

// noIPv6 makes "reachable over IPv4 only" a fact, not an omission.
func noIPv6(n *Node) {
	n.Sysctl("net.ipv6.conf.all.disable_ipv6", "1")
	n.Sysctl("net.ipv6.conf.default.disable_ipv6", "1")
}

// CheckTun says whether programs can make tunnel interfaces here.
func CheckTun() error {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("needs /dev/net/tun: %w (run as root, or for now: sudo chmod 666 /dev/net/tun)", err)
	}
	_ = f.Close() // never written
	return nil
}

// NeedTun is Need for them.
func NeedTun(t T) {
	t.Helper()
	if err := CheckTun(); err != nil {
		refuse(t, "%v", err)
	}
}

// Settle waits until the LAN looks as if it had been up for a while: the link-local addresses of
// the hosts and of the bridge are past DAD.
func (w *World) Settle() {
	w.T.Helper()
	type link struct {
		n     *Node
		iface string
	}
	links := []link{{w.G1, "eth0"}, {w.R3, "eth0"}, {w.R3, "br-lan3"}, {w.H3, "eth0"}}
	for _, s := range w.Sites() {
		links = append(links, link{s.H1, "eth0"}, link{s.H2, "eth0"}, link{s.R1, "br-lan"})
	}
	for _, l := range links {
		n, iface := l.n, l.iface
		if n == nil {
			continue
		}
		n.WaitFor(10*time.Second, "no link-local address past DAD on "+iface, func() bool {
			return len(n.addresses(iface, netip.Addr.IsLinkLocalUnicast)) > 0
		})
		n.WaitFor(10*time.Second, "addresses still in DAD", func() bool {
			return n.Run("ip", "-6", "-o", "addr", "show", "tentative") == ""
		})
	}
}

func (w *World) wire() {
	w.Wire(w.H1, "eth0", w.R1, "lan1")
	w.Wire(w.H2, "eth0", w.R1, "lan2")
	w.R1.Bridge("br-lan", "lan1", "lan2")
	w.Wire(w.R1, "wan0", w.NAT1, "in0")
	w.Wire(w.NAT1, "out0", w.NAT2, "in0")
	w.Wire(w.NAT2, "out0", w.Inet, "nat0")
	w.Wire(w.Inet, "r2", w.R2, "eth0")
	w.Wire(w.Inet, "www", w.WWW, "eth0")
	w.Wire(w.R2, "eth1", w.WWW, "eth1")
}

// natLand is everything up to the outside of NAT2.
func (w *World) natLand() {
	w.bring()
	w.NAT1.Addr("out0", "198.51.100.2/26")
	w.NAT1.Run("ip", "route", "add", "default", "via", "198.51.100.1")

	w.NAT2.Addr("in0", "198.51.100.1/26")
	w.NAT2.Addr("out0", NAT2v4+"/26")
	w.NAT2.Sysctl("net.ipv4.ip_forward", "1")
	w.NAT2.Run("ip", "route", "add", "default", "via", "203.0.113.1")
	w.NAT2.nft(natTable("masquerade"))
}

func natTable(masquerade string) string {
	return `table ip nat {
	chain postrouting {
		type nat hook postrouting priority srcnat
		oifname "out0" ` + masquerade + `
	}
	chain forward {
		type filter hook forward priority filter
		iifname "out0" ct state != { established, related } drop
	}
}
`
}

func (w *World) internet() {
	w.Inet.Addr("nat0", "203.0.113.1/26")
	w.Inet.Addr("r2", "203.0.113.65/26")
	w.Inet.Addr("www", "203.0.113.129/26")
	w.Inet.Sysctl("net.ipv4.ip_forward", "1")

	w.R2.Addr("eth0", R2v4+"/26")
	w.R2.Run("ip", "route", "add", "default", "via", "203.0.113.65")
	w.R2.Addr("eth1", "2001:db8:0:6::1/64")
	w.R2.Sysctl("net.ipv6.conf.all.forwarding", "1")

	w.WWW.Addr("eth0", WWWv4+"/26")
	w.WWW.Run("ip", "route", "add", "default", "via", "203.0.113.129")
	w.WWW.Addr("eth1", WWWv6+"/64")
	w.WWW.Run("ip", "-6", "route", "add", "default", "via", "2001:db8:0:6::1")
	w.serve(":80")
}

// serve answers HTTP on www until the test ends.
func (w *World) serve(addr string) {
	w.T.Helper()
	ln, err := w.WWW.Listen("tcp", addr)
	if err != nil {
		w.T.Fatalf("www: %v", err)
	}
	srv := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(rw, "%syou are %s\n", WWWText, r.RemoteAddr) // a client that went away is its own problem
		}),
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }() // always ErrServerClosed
	w.T.Cleanup(func() { _ = srv.Close(); <-done })
}

// nft loads an nftables file text.
func (n *Node) nft(text string) {
	n.lab.T.Helper()
	n.WriteFile(n.Path("nft"), text, 0o600)
	n.Run("nft", "-f", n.Path("nft"))
}

// CutTunnel drops all UDP in the IPv4 Internet, without a word to either side.
func (w *World) CutTunnel() {
	w.T.Helper()
	w.Inet.nft("table ip cut { chain forward { type filter hook forward priority filter; meta l4proto udp drop; }; }\n")
}

// HealTunnel undoes CutTunnel.
func (w *World) HealTunnel() {
	w.T.Helper()
	w.Inet.Run("nft", "delete", "table", "ip", "cut")
}
