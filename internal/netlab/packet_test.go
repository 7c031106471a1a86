// SPDX-License-Identifier: MIT

package netlab

import (
	"testing"
	"time"
)

// Each watch sees its own direction, and IPv6 alone.
func TestWatchesHaveADirection(t *testing.T) {
	l := New(t)
	a, b := l.Node("a"), l.Node("b")
	l.Wire(a, "eth0", b, "eth0")
	for addr, n := range map[string]*Node{"1": a, "2": b} {
		n.Addr("eth0", "2001:db8::"+addr+"/64")
		n.Addr("eth0", "192.0.2."+addr+"/24")
	}
	came, sent := a.WatchIPv6("eth0"), a.WatchIPv6Sent("eth0")
	a.Run("ping", "-c3", "-i0.2", "-W2", "192.0.2.2")
	a.Run("ping", "-c3", "-i0.2", "-W2", "2001:db8::2")
	request := func(p Packet) bool { return p.ICMPv6[0] == 128 && p.Dst.String() == "2001:db8::2" }
	reply := func(p Packet) bool { return p.ICMPv6[0] == 129 && p.Src.String() == "2001:db8::2" }
	if !Poll(5*time.Second, func() bool { return sent.Count(request) == 3 && came.Count(reply) == 3 }) {
		t.Errorf("%d of 3 requests were seen as sent, %d of 3 replies as come", sent.Count(request), came.Count(reply))
	}
	if n, m := came.Count(request), sent.Count(reply); n != 0 || m != 0 {
		t.Errorf("%d requests were seen as come, %d replies as sent", n, m)
	}
	for _, p := range sent.All() {
		if !p.Src.IsUnspecified() && !p.Src.IsLinkLocalUnicast() && p.Src.String() != "2001:db8::1" {
			t.Errorf("sent: %+v, which is no IPv6 packet of a's", p)
		}
	}
}
