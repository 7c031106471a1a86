// SPDX-License-Identifier: MIT

package netlab

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// HandMade is R1 as an administrator builds it from Debian packages: wireguard-go, dhcp6c of
// wide-dhcpv6-client and radvd, joined by a start script. It proves the world without our box and
// is what the box is measured against.
type HandMade struct {
	*Proc // the start script, and after it radvd; RSS is that of all daemons
	site  *Site
}

// handMadeScript does one thing after the other, as such scripts do. dhcp6c gives br-lan its
// address; radvd announces the prefix of the address that it finds there. The default route is written down, or
// comes from Router Advertisements on the tunnel.
const handMadeScript = `set -eu
wireguard-go -f wg0 &
while ! wg show wg0 >/dev/null 2>&1; do sleep 0.02; done
wg setconf wg0 "$1/wg0.conf"
ip link set wg0 addrgenmode none mtu 1420 up
if [ "$3" = ra ]; then sysctl -qw net.ipv6.conf.wg0.accept_ra=2; else ip -6 route add default dev wg0; fi
sysctl -qw net.ipv6.conf.all.forwarding=1
ip addr add "$2/64" dev wg0 nodad
dhcp6c -f -c "$1/dhcp6c.conf" -p /run/dhcp6c.pid wg0 &
while ! ip -6 addr show dev br-lan scope global | grep -q inet6; do sleep 0.05; done
exec radvd -n -C "$1/radvd.conf" -p /run/radvd.pid -m stderr
`

// StartHandMade starts that R1. Its output is the mixed output of all its programs.
func (s *Site) StartHandMade() *HandMade {
	s.world.T.Helper()
	return s.startHandMade("static")
}

// StartHandMadeByRA is StartHandMade for an R2 that sends Router Advertisements: they bring the default route.
func (s *Site) StartHandMadeByRA() *HandMade {
	s.world.T.Helper()
	return s.startHandMade("ra")
}

func (s *Site) startHandMade(defaultRoute string) *HandMade {
	w := s.world
	w.T.Helper()
	Need(w.T, "dhcp6c", "radvd", "sysctl")
	w.Settle() // radvd's first RA fails, and the next is 16 s away, while br-lan's address is tentative
	r := s.R1
	dir := r.Path("handmade")
	r.Tmpfs("/var/lib") // dhcp6c keeps its DUID at a fixed place
	r.Run("mkdir", "-p", "/var/lib/dhcpv6", dir)
	r.WriteFile(dir+"/wg0.conf", fmt.Sprintf("[Interface]\nPrivateKey = %s\n[Peer]\nPublicKey = %s\nEndpoint = %s:%d\nAllowedIPs = ::/0\nPersistentKeepalive = 25\n",
		s.BoxKey.Reveal(), w.HubKey.Public(), R2v4, R2Port), 0o600)
	sla, rapid := 64-w.Config.DelegatedLen, ""
	if w.Config.HandMadeRapid {
		rapid = "send rapid-commit; "
	}
	r.WriteFile(dir+"/dhcp6c.conf", fmt.Sprintf("interface wg0 { send ia-pd 0; %srequest domain-name-servers; };\n"+
		"id-assoc pd 0 { prefix-interface br-lan { sla-id 0; sla-len %d; ifid 1; }; };\n", rapid, sla), 0o600)
	r.WriteFile(dir+"/radvd.conf", fmt.Sprintf("interface br-lan {\n\tAdvSendAdvert on;\n\tAdvLinkMTU 1420;\n"+
		"\tprefix ::/64 { };\n\tRDNSS %s { };\n\tDNSSL %s { };\n};\n", DNSv6, SearchList), 0o644)
	r.Run("ln", "-sf", Build(w.T, WireGuardPackage), dir+"/wireguard-go")
	r.WriteFile(dir+"/start", "PATH="+dir+":$PATH\n"+handMadeScript, 0o700)
	return &HandMade{site: s, Proc: r.Start("sh", dir+"/start", dir, s.linkLocal().String(), defaultRoute)}
}

// TearDown ends all of its programs and takes back what they leave in the kernel.
func (h *HandMade) TearDown() {
	h.site.world.T.Helper()
	killGroup(h.Pid(), unix.SIGTERM)
	h.Kill()
	for _, a := range h.site.R1.GUAs("br-lan") {
		h.site.R1.Run("ip", "addr", "del", netip.PrefixFrom(a, 64).String(), "dev", "br-lan")
	}
	h.site.R1.Sysctl("net.ipv6.conf.all.forwarding", "0")
	if out, err := h.site.R1.Try("ip", "link", "del", "wg0"); err != nil && !strings.Contains(err.Error(), "Cannot find device") {
		h.site.world.T.Fatalf("r1: %v %s", err, out)
	}
}
