// SPDX-License-Identifier: MIT

package netstack

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"oasis6/internal/ip6pkt"
)

// Who looks on hears of each packet once, and again where nobody answers for the next hop.
func TestDecisionsAreExplained(t *testing.T) {
	w := ready(t)
	w.advertise(host, 0x20, netip.IPv6LinkLocalAllNodes(), boxMAC)
	w.pass(100 * time.Millisecond)
	var heard []string
	w.p.o.Explain = func(d Decision) {
		dst := netip.AddrFrom16([16]byte(d.Packet[offDst : offDst+16]))
		heard = append(heard, fmt.Sprintf("%s by %s: %v, %s, %v", dst, d.In, d.Verdict.Action, d.Out, d.Verdict.Reason))
	}
	w.fromHost(boxMAC, ip6pkt.EchoRequest(host, far, 64, 1, 1))
	w.fromHost(boxMAC, ip6pkt.EchoRequest(host, far, 1, 1, 2))
	w.fromHub(ip6pkt.EchoRequest(far, box, 64, 1, 3))
	w.fromHub(datagram(far, host, 10))
	w.fromHub(ip6pkt.EchoRequest(far, nobody, 64, 1, 4))
	w.pass(5 * time.Second)
	want := []string{
		"2001:db8:ffff::1 by br-lan: forward, oasis0, no reason",
		"2001:db8:ffff::1 by br-lan: answer, br-lan, hop limit exceeded",
		"2001:db8:1::1 by oasis0: local, oasis0, no reason",
		"2001:db8:1::2 by oasis0: drop, oasis0, unsolicited",
		"2001:db8:1::3 by oasis0: forward, br-lan, no reason",
		"2001:db8:1::3 by oasis0: answer, oasis0, no neighbor answers",
	}
	if !slices.Equal(heard, want) {
		t.Errorf("heard %q\nwant %q", heard, want)
	}
}
