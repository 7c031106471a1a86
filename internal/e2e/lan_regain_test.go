// SPDX-License-Identifier: MIT

package e2e

import (
	"testing"
	"time"

	"oasis6/internal/netlab"
)

// A host is back on IPv6 after all that happens to cables, bridges, boxes and WANs. The times are printed.
func TestHostRegainsItsAddress(t *testing.T) {
	b := newLoneBox(t, netlab.WorldConfig{})
	b.up()
	for _, tc := range []struct {
		what string
		do   func()
		most time.Duration // DAD and a host's own delay before its solicitation are 2 s of it, a solicitation that is lost 4 s
	}{
		{"the host's link down and up", func() { b.Replug(b.H1) }, 8 * time.Second},
		{"bridge down and up", func() {
			b.R1.Run("ip", "link", "set", "br-lan", "down")
			b.R1.Run("ip", "link", "set", "br-lan", "up")
		}, 8 * time.Second}, // the bridge's own addresses pass DAD before
		{"the host forgets all", func() {
			b.H1.Run("ip", "-6", "addr", "flush", "dev", "eth0", "scope", "global")
			b.H1.Run("ip", "-6", "route", "flush", "proto", "ra")
			b.Replug(b.H1)
		}, 8 * time.Second},
		{"kill -9 and start", func() { b.proc.Kill(); b.start() }, 3 * time.Second},
		{"SIGTERM and start", func() { b.stop(); b.start() }, 5 * time.Second},
		{"reboot", func() { b.reboot(func() {}) }, 5 * time.Second},
		{"another port at the NAT", b.RebindNAT, enough},
		{"another WAN address", b.newWANAddress, enough},
	} {
		begin := time.Now()
		tc.do()
		done := time.Now()
		at, err := b.H1.FirstEcho(netlab.WWWv6, 2*enough)
		if err != nil || !b.HostHasGUA(b.H1, delegated) || !b.HostDefaultRoute(b.H1).IsValid() {
			t.Fatalf("%s: %v: GUAs %v, default route %v\n%s", tc.what, err, b.H1.GUAs("eth0"), b.HostDefaultRoute(b.H1), b.text())
		}
		t.Logf("%s: echo reply after %v (%v after its end)", tc.what, at.Sub(begin).Round(10*time.Millisecond), at.Sub(done).Round(10*time.Millisecond))
		if d := at.Sub(done); d > tc.most {
			t.Errorf("%s: back after %v, want at most %v", tc.what, d, tc.most)
		}
		b.waitSummary("up: ", "")
	}
}

// newWANAddress moves the box to another address behind its NAT.
func (b *box) newWANAddress() {
	b.Helper()
	const other = "192.0.2.70"
	b.R1.Run("ip", "addr", "del", netlab.BoxWANv4+"/26", "dev", "wan0")
	b.R1.Addr("wan0", other+"/26")
	b.R1.Run("ip", "route", "add", "default", "via", "192.0.2.65") // it went with the address
	b.NAT1.Run("ip", "route", "replace", netlab.LANv4, "via", other)
}
