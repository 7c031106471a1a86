// SPDX-License-Identifier: MIT

package netstack

import (
	"encoding/hex"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// routesFile has the kernel's IPv6 routes, with flags that say who made them.
const routesFile = "/proc/net/ipv6_route"

// Flags of a default route that a Router Advertisement has made (linux/ipv6_route.h).
const (
	rtfGateway  = 0x00000002
	rtfAddrConf = 0x00040000
)

// warnOfNative says what the machine loses when its kernel takes no Router Advertisement on a bridge any more: there may be
// another router there, from which it has IPv6 of its own.
func (p *Plane) warnOfNative(bridge string) {
	b, err := os.ReadFile(routesFile)
	if err != nil {
		return // no IPv6 in the kernel, so there is none to lose
	}
	own := linkLocal(stationMAC(p.o.Identity, bridge))
	for _, router := range advertisedRouters(string(b), bridge) {
		if router != own {
			p.log.Warn("this machine loses the IPv6 that another router of the LAN gives it, but not what is configured by hand", "iface", bridge, "router", router)
		}
	}
}

// advertisedRouters are those of an interface by which there is a route that an advertisement has made; a line that is no
// route is left out.
func advertisedRouters(routes, iface string) (out []netip.Addr) {
	for line := range strings.Lines(routes) {
		// destination, its length, source, its length, next hop, metric, two counters, flags, interface
		f := strings.Fields(line)
		if len(f) != 10 || f[9] != iface {
			continue
		}
		flags, err := strconv.ParseUint(f[8], 16, 32)
		via, err2 := hex.DecodeString(f[4])
		if err != nil || err2 != nil || len(via) != 16 || flags&rtfGateway == 0 || flags&rtfAddrConf == 0 {
			continue
		}
		out = append(out, netip.AddrFrom16([16]byte(via)))
	}
	return out
}
