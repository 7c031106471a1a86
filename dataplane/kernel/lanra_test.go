// SPDX-License-Identifier: MIT

package kernel

import (
	"strings"
	"testing"
	"time"
)

// Another router's RAs on a LAN give the box no address, no route and
// no MTU.
func TestRAsOnALANChangeNothing(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.apply(w.desired())
	w.lanReady()
	state := func() string {
		return w.box.Run("sh", "-c", "ip -6 route show table all | sed 's/ expires [^ ]*//' | grep -v ^multicast | sort; ip -6 -o address show dev br-lan | sed 's/valid_lft.*//'; cat /proc/sys/net/ipv6/conf/br-lan/mtu")
	}
	before := state()
	w.h1.Sysctl("net.ipv6.conf.all.forwarding", "1")
	w.h1.WriteFile("/run/radvd.conf", `interface eth0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultLifetime 9000;
 AdvLinkMTU 1280; prefix 2001:db8:bad::/64 { }; route 2001:db8:bad:1::/64 { }; };`, 0o600)
	w.h1.Start("radvd", "-n", "-C", "/run/radvd.conf", "-p", "/run/radvd.pid", "-m", "stderr")
	heard := w.box.Start("tcpdump", "-nvli", "br-lan", "icmp6[0] == 134")
	for range 2 {
		n := len(heard.Output())
		if !heard.WaitNewOutput(10*time.Second, n, "2001:db8:bad::/64") {
			t.Fatalf("no RA heard: %s", heard.Output())
		}
	}
	w.quiet(200 * time.Millisecond)
	if after := state(); after != before {
		w.mustBe("the box", after, before)
	}
	if strings.Contains(state(), "proto ra") {
		t.Error("a route by RA")
	}
}
