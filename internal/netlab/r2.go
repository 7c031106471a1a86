// SPDX-License-Identifier: MIT

package netlab

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
)

// startTimeout is how long a daemon may take to serve.
const startTimeout = 15 * time.Second

// StartR2 starts the far router: upstream wireguard-go with the boxes as its peers, the routes to the
// pool and to PrefixB, and Kea unless the config says otherwise. Nothing of it is ours.
func (w *World) StartR2() {
	w.T.Helper()
	box := w.BoxKey.Public()
	w.wg = w.R2.startWireGuard(WireGuard{
		Interface: "wg0", Key: w.HubKey.Reveal(), LinkLocal: w.HubKey.Public().LinkLocal(), Port: R2Port,
		PeerKey: box.String(), AllowedIPs: w.allowedIPs(),
	})
	if w.B != nil {
		w.R2.Run("wg", "set", "wg0", "peer", w.B.BoxKey.Public().String(),
			"allowed-ips", w.B.BoxKey.Public().LinkLocal().String()+"/128,"+PrefixB)
		w.R2.Run("ip", "-6", "route", "add", PrefixB, "dev", "wg0")
	}
	for _, p := range w.routed {
		w.routeToBox(p)
	}
	if !w.Config.NoDHCPv6 {
		w.StartKea()
	}
}

// allowedIPs is what R2's WireGuard takes from the box and sends to it.
func (w *World) allowedIPs() []netip.Prefix {
	if w.Config.OpenPeer {
		return []netip.Prefix{netip.MustParsePrefix("::/0"), netip.MustParsePrefix("fe80::/64")}
	}
	return append([]netip.Prefix{netip.PrefixFrom(w.BoxKey.Public().LinkLocal(), 128)}, w.routed...)
}

// Route makes R2 route one more prefix to the box. Servers delegate, but route nothing.
func (w *World) Route(p netip.Prefix) {
	w.T.Helper()
	for _, q := range w.routed {
		if q.Bits() <= p.Bits() && q.Contains(p.Addr()) {
			return
		}
	}
	w.routed = append(w.routed, p)
	if w.wg == nil || !w.wg.Running() {
		return // StartR2 does the rest
	}
	var ips []string
	for _, q := range w.allowedIPs() {
		ips = append(ips, q.String())
	}
	w.R2.Run("wg", "set", "wg0", "peer", w.BoxKey.Public().String(), "allowed-ips", strings.Join(ips, ","))
	w.routeToBox(p)
}

// routeToBox is R2's route, unless its DHCPv6 server makes routes.
func (w *World) routeToBox(p netip.Prefix) {
	if !w.Config.ServerRoutes {
		w.R2.Run("ip", "-6", "route", "add", p.String(), "dev", "wg0")
	}
}

// StopR2 kills the far router's programs: the tunnel interface and the route go with them.
func (w *World) StopR2() {
	w.T.Helper()
	if w.kea.proc != nil {
		w.kea.proc.Kill()
	}
	w.wg.Kill()
	w.R2.WaitFor(5*time.Second, "wg0 is still there, expected no interface", func() bool {
		_, err := w.R2.nl.LinkByName("wg0")
		return err != nil
	})
}

// WireGuard is one end of a tunnel made by the upstream wireguard-go command and wg(8).
type WireGuard struct {
	Interface  string
	Key        string // base64
	LinkLocal  netip.Addr
	Port       int // 0: any
	PeerKey    string
	Endpoint   string // empty: the peer comes to us
	AllowedIPs []netip.Prefix
	Keepalive  int // seconds, 0: off
}

// startWireGuard brings the tunnel interface up.
func (n *Node) startWireGuard(c WireGuard) *Proc {
	n.lab.T.Helper()
	sock := "/run/wireguard/" + c.Interface + ".sock"
	n.Run("rm", "-f", sock) // of one that was killed
	p := n.Start(Build(n.lab.T, WireGuardPackage), "-f", c.Interface)
	n.WaitFor(startTimeout, "no "+sock, func() bool {
		return n.Inside(func() error { _, err := os.Stat(sock); return err }) == nil || !p.Running()
	})
	n.WriteFile(n.Path(c.Interface+".key"), c.Key+"\n", 0o600)
	var ips []string
	for _, p := range c.AllowedIPs {
		ips = append(ips, p.String())
	}
	args := []string{"wg", "set", c.Interface, "private-key", n.Path(c.Interface + ".key"), "listen-port", fmt.Sprint(c.Port),
		"peer", c.PeerKey, "allowed-ips", strings.Join(ips, ","), "persistent-keepalive", fmt.Sprint(c.Keepalive)}
	if c.Endpoint != "" {
		args = append(args, "endpoint", c.Endpoint)
	}
	n.Run(args...)
	// The kernel's own link-local address would be a different one each time.
	n.Run("ip", "link", "set", c.Interface, "addrgenmode", "none", "mtu", "1420", "up")
	n.Addr(c.Interface, c.LinkLocal.String()+"/64")
	return p
}

// LastHandshake is when R2 last completed a handshake with the first box, in seconds of Unix time; 0
// means never.
func (w *World) LastHandshake() (unixTime int64) {
	w.T.Helper()
	out := ""
	for _, iface := range []string{"wg0", BoxTunnel} { // a foreign R2's, the hub's
		if text, err := w.R2.Try("wg", "show", iface, "latest-handshakes"); err == nil {
			out += text
		}
	}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == w.BoxKey.Public().String() {
			unixTime, _ = strconv.ParseInt(f[1], 10, 64) // 0 for what is not a number
		}
	}
	return unixTime
}

func (n *Node) flushConntrack() error {
	return n.Do(func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) })
}

// Listen opens a listening socket in the node; it may be used from anywhere.
func (n *Node) Listen(network, addr string) (ln net.Listener, err error) {
	err = n.Do(func() (err error) { ln, err = net.Listen(network, addr); return err })
	return ln, err
}
