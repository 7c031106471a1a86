// SPDX-License-Identifier: MIT

package netlab

import (
	"fmt"
	"net/netip"
	"strings"
)

// behind makes what WorldConfig adds behind the box: the guest LAN, and the router in the LAN.
func (w *World) behind() {
	w.T.Helper()
	if w.Config.Guest {
		w.G1 = w.Node("g1")
		w.Wire(w.G1, "eth0", w.R1, "guest1")
		w.R1.Bridge("br-guest", "guest1")
		w.R1.Addr("br-guest", BoxGuestv4+"/26")
		w.G1.Addr("eth0", "192.0.2.138/26")
		w.G1.Run("ip", "route", "add", "default", "via", BoxGuestv4)
		w.NAT1.Run("ip", "route", "add", GuestLANv4, "via", BoxWANv4)
	}
	if w.Config.Downstream {
		w.R3, w.H3 = w.Node("r3"), w.Node("h3")
		w.PlugIntoLAN(w.R3)
		w.Wire(w.H3, "eth0", w.R3, "lan1")
		w.R3.Bridge("br-lan3", "lan1")
	}
}

// PlugIntoLAN wires eth0 of one more node to the box's br-lan.
func (w *World) PlugIntoLAN(n *Node) {
	w.T.Helper()
	port := "lan-" + n.Name
	w.Wire(n, "eth0", w.R1, port)
	w.R1.Run("ip", "link", "set", port, "master", "br-lan")
}

// Downstream is the router R3 behind the LAN, made of dhcpcd and radvd: it takes a prefix by DHCPv6 (IA_PD) from
// whoever gives one on br-lan, and advertises the first /64 of it on a LAN of its own, where h3 is.
type Downstream struct {
	DHCPcd *DHCPClient
	Radvd  *Proc
	world  *World
}

// downstreamConfig is the router's part of dhcpcd.conf: IA_PD with IAID 1 and a wish for that length (0: none), whose
// subnet 0 is for br-lan3, with ::1 on it. Reconfigure is accepted where it is asked for only (dhcpcd 9.4).
func downstreamConfig(wish int) string {
	pd := "ia_pd 1"
	if wish > 0 {
		pd = fmt.Sprintf("ia_pd 1/::/%d", wish)
	}
	return fmt.Sprintf("noipv6rs\nallowinterfaces eth0 br-lan3\ninterface eth0\n\toption dhcp6_reconfigure_accept\n\t%s br-lan3/0/64/1\n", pd)
}

// StartDownstream starts R3's programs. The kernel takes R3's default route from RAs (accept_ra 2), dhcpcd the prefix.
func (w *World) StartDownstream(wish int) *Downstream {
	w.T.Helper()
	Need(w.T, "radvd")
	r := w.R3
	r.Sysctl("net.ipv6.conf.all.forwarding", "1")
	r.Sysctl("net.ipv6.conf.eth0.accept_ra", "2")
	d := &Downstream{world: w}
	d.Radvd = r.StartRadvd("br-lan3", "\tMinRtrAdvInterval 3;\n\tMaxRtrAdvInterval 4;\n\tprefix ::/64 { };\n")
	d.DHCPcd = r.StartDHCPcd(downstreamConfig(wish), "eth0", "br-lan3")
	return d
}

// Prefix is the /64 that R3 has on its LAN now, as the kernel shows it; not valid while there is none.
func (d *Downstream) Prefix() netip.Prefix {
	d.world.T.Helper()
	for _, a := range d.world.R3.GUAs("br-lan3") {
		if p, err := a.Prefix(64); err == nil && !a.IsPrivate() {
			return p
		}
	}
	return netip.Prefix{}
}

// StartRadvd runs radvd on an interface of the node. The lines are those of radvd.conf(5) inside an interface block.
func (n *Node) StartRadvd(iface string, lines ...string) *Proc {
	n.lab.T.Helper()
	Need(n.lab.T, "radvd")
	conf := n.Path("radvd-" + iface + ".conf")
	n.WriteFile(conf, "interface "+iface+" {\n\tAdvSendAdvert on;\n\tIgnoreIfMissing on;\n"+strings.Join(lines, "\n")+"\n};\n", 0o644)
	return n.Start("radvd", "-n", "-C", conf, "-p", "/run/radvd-"+iface+".pid", "-m", "stderr")
}
