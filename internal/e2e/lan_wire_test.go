// SPDX-License-Identifier: MIT

package e2e

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ndp"

	"oasis6/internal/netlab"
)

// Cases of the RA engine's list that only a kernel at the other end of the wire can show: RALAB_01, 02, 05, 08, 10.

var allNodes = netip.MustParseAddr("ff02::1")

// firstRA is the first RA that a host sees from t on.
func (b *box) firstRA(w *netlab.RAWatch, what string, from time.Time, ok func(netlab.RA) bool) netlab.RA {
	b.Helper()
	r, err := w.First(enough, func(r netlab.RA) bool { return r.At.After(from) && ok(r) })
	if err != nil {
		b.Fatalf("%s: no RA: %v", what, err)
	}
	return r
}

func anyRA(netlab.RA) bool { return true }

// A host with optimistic duplicate address detection (RFC 4429) uses its address at once: our RA brings the link-layer
// address that such a host may not ask for.
func TestRALAB_01_OptimisticHost(t *testing.T) {
	b := newLoneBox(t, netlab.WorldConfig{})
	b.up()
	b.H1.Optimistic("eth0")
	ras := b.H1.WatchRA("eth0")
	begin := time.Now()
	b.Replug(b.H1)
	b.firstRA(ras, "after the cable is back", begin, anyRA)
	if !netlab.Poll(enough, func() bool { return b.HostHasGUA(b.H1, delegated) }) {
		t.Fatalf("no address: %v", b.H1.GUAs("eth0"))
	}
	now := time.Now()
	var r netlab.RA // the last: a host that has no link-local address yet passes over the one that its carrier brings
	for _, x := range ras.All() {
		if x.At.Before(now) {
			r = x
		}
	}
	took := now.Sub(r.At)
	t.Logf("optimistic address %v after the RA", took.Round(time.Millisecond))
	if took > 300*time.Millisecond {
		t.Errorf("the address can be a source %v after the RA, want at most 300ms", took)
	}
	if err := b.H1.Ping(netlab.WWWv6); err != nil {
		t.Error(err)
	}
}

// A port that gets carrier hears of us before its host asks, where the 3 s between two multicasts are over.
func TestRALAB_02_CarrierOfAPort(t *testing.T) {
	b := newLoneBox(t, netlab.WorldConfig{})
	b.up()
	b.Cut(b.H1, "eth0")
	ras := b.H2.WatchRA("eth0")
	b.firstRA(ras, "of the first three", time.Now(), func(r netlab.RA) bool { return r.Dst == allNodes })
	time.Sleep(3500 * time.Millisecond) // the floor is free, and the next of them is seconds away
	begin := time.Now()
	b.Heal(b.H1, "eth0")
	r := b.firstRA(ras, "after carrier", begin, func(r netlab.RA) bool { return r.Dst == allNodes })
	took := r.At.Sub(begin)
	t.Logf("multicast RA %v after carrier", took.Round(time.Millisecond))
	if took > 200*time.Millisecond { // 100 ms, and the time that two links take to come up
		t.Errorf("the RA came %v after carrier, want at most 200ms", took)
	}
}

// While the tunnel is dead the LAN goes on: no default route, and local addresses lose nothing.
func TestRALAB_05_ULAOverADeadTunnel(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.WriteBoxConfig(b.BoxConfig("[Prefix]", "ULA = auto"))
	b.up()
	if !netlab.Poll(enough, func() bool { return ula(b.H1).IsValid() && ula(b.H2).IsValid() }) {
		t.Fatalf("no ULA: %v, %v", b.H1.GUAs("eth0"), b.H2.GUAs("eth0"))
	}
	ping := b.H1.Start("ping", "-n", "-i", "0.1", ula(b.H2).String())
	if !ping.WaitOutput(soon, "bytes from") {
		t.Fatalf("ping does not run: %s", ping.Output())
	}
	b.CutTunnel()
	b.waitSummaryFor(2*enough, "down: ", "")
	if !netlab.Poll(soon, func() bool { return !b.HostDefaultRoute(b.H1).IsValid() }) {
		t.Errorf("h1 keeps its default route by %s", b.HostDefaultRoute(b.H1))
	}
	b.HealTunnel()
	b.waitOnline(b.H1)
	if sent, missing := b.lost(ping); missing > 1 { // the one under way when ping is stopped
		t.Errorf("%d of %d pings between local addresses lost", missing, sent)
	}
}

// Without the L flag hosts do not take the prefix to be on the link: the first packet of one to another goes by the box.
func TestRALAB_08_NotOnLink(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.WriteBoxConfig(b.BoxConfig("OnLink = no"))
	b.H1.Sysctl("net/ipv6/conf/eth0/accept_redirects", "0") // the kernel of the box redirects
	b.H2.Sysctl("net/ipv6/conf/eth0/accept_redirects", "0")
	b.up()
	b.waitOnline(b.H2)
	to := b.H2.GUAs("eth0")[0].String()
	if route := b.H1.Run("ip", "-6", "route", "get", to); !strings.Contains(route, " via fe80:") {
		t.Errorf("h1 to h2: %s, want a way by the box", route)
	}
	if out := b.H1.Run("ping", "-n", "-c1", "-W2", to); !strings.Contains(out, "ttl=63") {
		t.Errorf("ping says %q, want a hop limit of 63: one router between", out)
	}
}

// Another MAC of the bridge is told at once, and hosts reach the Internet with it. In userspace the box has a MAC of its own
// on the LAN, and keeps that.
func TestRALAB_10_MACOfTheBridgeChanges(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	ras := b.H1.WatchRA("eth0")
	b.up()
	mac := net.HardwareAddr{2, 0, 0x5e, 0, 0x53, 0x77}
	want := mac
	if b.Config.Userspace {
		want = sourceMAC(b.firstRA(ras, "of the start", time.Time{}, anyRA))
	}
	begin := time.Now()
	b.R1.Run("ip", "link", "set", "br-lan", "address", mac.String())
	if b.Config.Userspace {
		b.Replug(b.H1) // it asks
	}
	r := b.firstRA(ras, "with the MAC "+want.String(), begin, func(r netlab.RA) bool { return bytes.Equal(sourceMAC(r), want) })
	if b.Config.Userspace {
		b.waitOnline(b.H1)
	}
	if err := b.H1.Ping(netlab.WWWv6); err != nil {
		t.Errorf("after the RA: %v", err)
	}
	t.Logf("RA %v after the change", r.At.Sub(begin).Round(time.Millisecond))
	for _, r := range ras.All() {
		if p := r.Prefix(delegated); p != nil && p.ValidLifetime == 0 {
			t.Errorf("another MAC made the prefix stale: RA at %v", r.At)
		}
		if got := sourceMAC(r); b.Config.Userspace && !bytes.Equal(got, want) {
			t.Errorf("RA with the MAC %s, want %s all the time", got, want)
		}
	}
}

// sourceMAC is what an RA says is the router's; nil if it says nothing.
func sourceMAC(r netlab.RA) net.HardwareAddr {
	for _, o := range r.Msg.Options {
		if l, ok := o.(*ndp.LinkLayerAddress); ok && l.Direction == ndp.Source {
			return l.Addr
		}
	}
	return nil
}
