// SPDX-License-Identifier: MIT

package netlab

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// startTimeout is how long a daemon may take to serve.
const startTimeout = 15 * time.Second

// StartR2 starts the far router: upstream wireguard-go with the box as its peer, the route to the
// pool, and Kea unless the config says otherwise. Nothing of it is ours.
func (w *World) StartR2() {
	w.T.Helper()
	box := w.BoxKey.Public()
	w.wg = w.R2.startWireGuard(WireGuard{
		Interface: "wg0", Key: w.HubKey.Reveal(), LinkLocal: w.HubKey.Public().LinkLocal(), Port: R2Port,
		PeerKey: box.String(), AllowedIPs: []netip.Prefix{netip.PrefixFrom(box.LinkLocal(), 128), w.Config.Pool},
	})
	w.R2.Run("ip", "-6", "route", "add", w.Config.Pool.String(), "dev", "wg0")
	if !w.Config.NoDHCPv6 {
		w.StartKea()
	}
}

// StopR2 kills the far router's programs: the tunnel interface and the route go with them.
func (w *World) StopR2() {
	w.T.Helper()
	if w.kea != nil {
		w.kea.Kill()
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
	p := n.Start(Build(n.lab.T, WireGuardPackage), "-f", c.Interface)
	sock := "/run/wireguard/" + c.Interface + ".sock"
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

// keaConfig is a file for Kea 2.2 and later. It delegates out of the pool to whoever asks on wg0.
func (w *World) keaConfig() string {
	c := w.Config
	type obj = map[string]any
	secs := func(d time.Duration) int { return int(d / time.Second) }
	file := obj{"Dhcp6": obj{
		"interfaces-config": obj{"interfaces": []string{"wg0"}},
		"lease-database":    obj{"type": "memfile", "persist": true, "name": "/var/lib/kea/kea-leases6.csv", "lfc-interval": 0},
		// Without an Ethernet address Kea would make up a server id that changes with the file.
		"server-id":          obj{"type": "EN", "enterprise-id": 32473, "identifier": "0A515606", "persist": false},
		"preferred-lifetime": secs(c.Preferred), "valid-lifetime": secs(c.Valid),
		"renew-timer": secs(c.Preferred / 2), "rebind-timer": secs(c.Preferred * 4 / 5),
		"option-data": []obj{
			{"name": "dns-servers", "data": DNSv6},
			{"name": "domain-search", "data": SearchList},
		},
		"subnet6": []obj{{
			"id": 1, "subnet": "fe80::/64", "interface": "wg0", "rapid-commit": !c.NoRapid,
			"pd-pools": []obj{{"prefix": c.Pool.Addr().String(), "prefix-len": c.Pool.Bits(), "delegated-len": c.DelegatedLen}},
		}},
		"loggers": []obj{{"name": "kea-dhcp6", "severity": "INFO",
			"output_options": []obj{{"output": "stdout", "flush": true}}}},
	}}
	text, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		w.T.Fatalf("kea: %v", err) // maps of strings and numbers: cannot be
	}
	return string(text) + "\n"
}

// StartKea starts the DHCPv6 server of R2 and waits until it serves. The leases of an earlier run
// are still there. With NoDHCPv6 it is not started by StartR2, and a test may do so later.
func (w *World) StartKea() {
	w.T.Helper()
	const conf = "/etc/kea/kea-dhcp6.conf"
	if w.kea == nil {
		// Debian's AppArmor profile lets Kea read and write at its standard places only, so R2
		// gets those places for itself.
		w.R2.Tmpfs("/var/lib")
		w.R2.Tmpfs("/etc/kea")
		w.R2.Run("mkdir", "-p", "/var/lib/kea", "/run/kea", "/run/lock/kea")
		w.R2.WriteFile(conf, w.keaConfig(), 0o644)
	}
	w.kea = w.R2.Start("kea-dhcp6", "-c", conf)
	if !w.kea.WaitOutput(startTimeout, "DHCP6_STARTED") {
		w.T.Fatalf("r2: kea-dhcp6 does not serve:\n%s", w.kea.Output())
	}
}

// StopKea stops the DHCPv6 server of R2; the tunnel and its routes stay.
func (w *World) StopKea() {
	w.T.Helper()
	w.kea.Stop(unix.SIGTERM)
}

// KeaLeases is Kea's lease file.
func (w *World) KeaLeases() string {
	w.T.Helper()
	return w.R2.Run("cat", "/var/lib/kea/kea-leases6.csv")
}

// Delegated is the first prefix in Kea's lease file; not valid while there is none.
func (w *World) Delegated() netip.Prefix {
	w.T.Helper()
	out, err := w.R2.Try("cat", "/var/lib/kea/kea-leases6.csv")
	if err != nil {
		return netip.Prefix{}
	}
	for line := range strings.Lines(out) {
		// address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,...
		f := strings.Split(line, ",")
		if len(f) < 9 || f[6] != "2" { // IA_PD
			continue
		}
		if p, err := netip.ParsePrefix(f[0] + "/" + f[8]); err == nil {
			return p
		}
	}
	return netip.Prefix{}
}

// LastHandshake is when R2 last completed a handshake with the box, in seconds of Unix time; 0
// means never.
func (w *World) LastHandshake() (unixTime int64) {
	w.T.Helper()
	out := w.R2.Run("wg", "show", "wg0", "latest-handshakes")
	if f := strings.Fields(out); len(f) == 2 {
		unixTime, _ = strconv.ParseInt(f[1], 10, 64) // 0 for what is not a number
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
