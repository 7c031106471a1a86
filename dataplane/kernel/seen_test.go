// SPDX-License-Identifier: MIT

package kernel

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"oasis6/dataplane"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/netlab"
)

// guarded is desired with the limits of neighbor discovery.
func (w *world) guarded() dataplane.Desired {
	d := w.desired()
	d.Firewall.Sources = []dataplane.LANSources{{Iface: "br-lan", OnLink: []netip.Prefix{netip.MustParsePrefix(testDelegation)}}}
	return d
}

// echo is an ICMPv6 echo request, syn the first segment of a TCP connection.
func echo(src, dst netip.Addr) []byte {
	b := []byte{128, 0, 0, 0, 0x12, 0x34, 0, 1}
	binary.BigEndian.PutUint16(b[2:], ip6pkt.Checksum(src, dst, unix.IPPROTO_ICMPV6, b))
	return packet(src, dst, unix.IPPROTO_ICMPV6, b)
}

func syn(src, dst netip.Addr) []byte {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b, 40000)
	binary.BigEndian.PutUint16(b[2:], 443)
	b[7], b[12], b[13], b[14] = 1, 5<<4, 0x02, 0xff
	binary.BigEndian.PutUint16(b[16:], ip6pkt.Checksum(src, dst, unix.IPPROTO_TCP, b))
	return packet(src, dst, unix.IPPROTO_TCP, b)
}

func packet(src, dst netip.Addr, next byte, payload []byte) []byte {
	h := make([]byte, 40, 40+len(payload))
	h[0], h[5], h[6], h[7] = 0x60, byte(len(payload)), next, 64
	s, d := src.As16(), dst.As16()
	copy(h[8:], s[:])
	copy(h[24:], d[:])
	return append(h, payload...)
}

// inject sends IPv6 packets out of an interface of a node to the MAC of the other end, at most 2,000/s.
func inject(t *testing.T, n *netlab.Node, iface, mac string, count int, pkt func(i int) []byte) {
	t.Helper()
	err := n.Do(func() error {
		const protocol = unix.ETH_P_IPV6<<8&0xff00 | unix.ETH_P_IPV6>>8
		i, err := net.InterfaceByName(iface)
		if err != nil {
			return err
		}
		to, err := net.ParseMAC(mac)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		sa := &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: i.Index, Halen: 6}
		copy(sa.Addr[:], to)
		start := time.Now()
		for k := range count {
			time.Sleep(time.Until(start.Add(time.Duration(k) * time.Second / 2000)))
			if err := unix.Sendto(fd, pkt(k), 0, sa); err != nil {
				return fmt.Errorf("packet %d: %w", k, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func (w *world) stats() dataplane.NeighborStats {
	w.t.Helper()
	s, err := w.plane.NeighborStats()
	if err != nil {
		w.t.Fatalf("NeighborStats: %v", err)
	}
	return s
}

// known waits until so many addresses are in the set.
func (w *world) known(n int) {
	w.t.Helper()
	w.box.WaitFor(5*time.Second, fmt.Sprint(n, " addresses seen"), func() bool { return w.stats().Known == n })
}

// RFC 6583 section 7.1 and 7.2: a scan from the tunnel neither fills the neighbor table nor keeps packets from a host that
// is there, also if that host has never sent anything through the box.
func TestRFC6583_ScanHurtsNobody(t *testing.T) {
	for _, c := range []struct {
		name string
		open bool
		pkt  func(src, dst netip.Addr) []byte
	}{
		{"echo, closed", false, echo},
		{"echo, open", true, echo},
		{"TCP, open", true, syn},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.open()
			d := w.guarded()
			d.Firewall.Open = c.open
			w.apply(d)
			w.lanReady()
			w.known(0)
			// The box reaches the host: nothing is forwarded.
			w.box.WaitFor(5*time.Second, "the host", func() bool {
				_, err := w.box.Try("ping", "-c1", "-W1", testHostAddr)
				return err == nil
			})
			w.known(1)
			before := w.stats()
			const scanned = 10000
			src, mac, most := netip.MustParseAddr(testFarAddr), w.mac("oasis0"), 0
			done := make(chan struct{})
			go func() {
				defer close(done)
				inject(t, w.far, "oasis0", mac, scanned, func(i int) []byte {
					dst := netip.MustParseAddr("2001:db8:ebbd:990a:1::").As16()
					binary.BigEndian.PutUint32(dst[12:], uint32(i)+1)
					return c.pkt(src, netip.AddrFrom16(dst))
				})
			}()
			ping := w.far.Start("ping", "-c100", "-i0.045", "-W2", "-I", testFarAddr, testHostAddr)
			for scanning := true; scanning; {
				select {
				case <-done:
					scanning = false
				case <-time.After(200 * time.Millisecond):
				}
				most = max(most, w.stats().Entries)
			}
			if !ping.WaitOutput(10*time.Second, "100 packets transmitted") || !strings.Contains(ping.Output(), "100 received") {
				t.Errorf("the live host: %s", ping.Output())
			}
			after := w.stats()
			// 20 at once and 10/s for 5 s; a busy machine takes longer to send them.
			if dropped := after.Dropped - before.Dropped; dropped < scanned*9/10 || dropped >= scanned {
				t.Errorf("%d of %d dropped", dropped, scanned)
			}
			if most > 256 {
				t.Errorf("%d entries in the neighbor table, want less than 256 of 1024", most)
			}
			t.Logf("most entries in the neighbor table: %d, dropped: %d", most, after.Dropped-before.Dropped)
		})
	}
}

// What is seen as a source is known; what nobody has seen is reached with a token; a routed prefix needs none.
func TestRFC6583_WhatIsSeenIsKnown(t *testing.T) {
	w := newWorld(t)
	w.open()
	d := w.guarded()
	d.Firewall.Sources[0].Routed = []netip.Prefix{netip.MustParsePrefix(testRouted)}
	d.Firewall.Delegations = []netip.Prefix{netip.MustParsePrefix(testSite)}
	w.apply(d)
	w.lanReady()
	w.known(0)
	w.pingFromFar(testHostAddr) // a token
	w.known(1)                  // the kernel has resolved it
	w.h1.Run("ip", "-6", "address", "add", "2001:db8:ebbd:990a::11/64", "dev", "eth0", "nodad")
	w.far.Run("ip", "-6", "neigh", "replace", "2001:db8:ebbd:990a::11", "lladdr", w.mac("oasis0"), "dev", "oasis0")
	w.h1.Run("ping", "-c1", "-W2", "-I", "2001:db8:ebbd:990a::11", testFarAddr)
	w.known(2)
	src, mac := netip.MustParseAddr(testFarAddr), w.mac("oasis0")
	inject(t, w.far, "oasis0", mac, 300, func(i int) []byte {
		return echo(src, netip.MustParseAddr(fmt.Sprintf("2001:db8:ebbd:9910::%x", i+1)))
	})
	if got := w.stats().Dropped; got != 0 {
		t.Errorf("%d packets to a routed prefix were limited", got)
	}
	w.far.Run("ip", "-6", "neigh", "replace", "2001:db8:ebbd:990a::77", "lladdr", mac, "dev", "oasis0")
	inject(t, w.far, "oasis0", mac, 300, func(int) []byte { return echo(src, netip.MustParseAddr("2001:db8:ebbd:990a::77")) })
	if got := w.stats().Dropped; got < 200 || got >= 300 {
		t.Errorf("%d of 300 packets to nobody dropped", got)
	}
}

func (w *world) seenElements() string {
	return regexp.MustCompile(` expires [^ ,]*`).ReplaceAllString(w.box.Run("nft", "list", "set", "ip6", tableName, setSeen), "")
}

// The set outlives another ruleset and a successor; it is no drift; and comes back from the kernel's table when somebody
// has flushed ours. The counter goes on.
func TestSeenSetOutlivesTheTable(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.apply(w.guarded())
	w.lanReady()
	w.pingFromH1(testFarAddr)
	w.known(1)
	w.box.Run("nft", "add element ip6 oasis6 seen { 2001:db8:ebbd:990a::99 }") // one that only packets have shown
	w.known(2)
	w.quiet(300 * time.Millisecond)
	src, mac := netip.MustParseAddr(testFarAddr), w.mac("oasis0")
	inject(t, w.far, "oasis0", mac, 300, func(int) []byte { return echo(src, netip.MustParseAddr("2001:db8:ebbd:990a::77")) })
	dropped := w.stats().Dropped
	before := w.seenElements()
	d := w.guarded()
	d.Firewall.Open = true
	d.Firewall.Stale = []netip.Prefix{netip.MustParsePrefix(testStale)}
	for _, next := range []dataplane.Desired{d, w.guarded(), w.desired(), w.guarded()} {
		w.apply(next)
		if got := w.seenElements(); got != before {
			t.Errorf("with %s the set is\n%s, was\n%s", next.Firewall, got, before)
		}
	}
	if got := w.stats().Dropped; dropped == 0 || got != dropped {
		t.Errorf("dropped = %d after other tables, want %d", got, dropped)
	}
	w.quiet(150 * time.Millisecond)
	w.plane.Close()
	w.open()
	w.apply(d)
	if got := w.seenElements(); got != before {
		t.Errorf("after a successor\n%s, was\n%s", got, before)
	}
	w.lanUp()
	w.box.Run("nft", "flush", "ruleset")
	w.drift(driftWithin, "table ip6 oasis6 missing")
	w.apply(d)
	if got := w.seenElements(); !strings.Contains(got, testHostAddr) {
		t.Errorf("not filled from the neighbor table:\n%s", got)
	}
}

// A full set drops nothing that would pass without one, and gives way to what the kernel knows.
func TestRFC6583_FullSet(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.apply(w.guarded())
	w.lanReady()
	src, mac := netip.MustParseAddr(testFarAddr), w.mac("br-lan")
	// No answers: the far end would fill the machine's one neighbor table, and that of the other tests with it.
	w.far.Run("ip", "-6", "route", "del", "2001:db8:ebbd::/48")
	inject(t, w.h1, "eth0", mac, seenSize+200, func(i int) []byte {
		from := netip.MustParseAddr("2001:db8:ebbd:990a:2::").As16()
		binary.BigEndian.PutUint32(from[12:], uint32(i)+1)
		return echo(netip.AddrFrom16(from), src)
	})
	if got := w.stats().Known; got != seenSize {
		t.Errorf("%d addresses seen, want %d", got, seenSize)
	}
	w.far.Run("ip", "-6", "route", "add", "2001:db8:ebbd::/48", "dev", "oasis0")
	w.pingFromH1(testFarAddr) // a full set is no reason to drop
	w.box.WaitFor(5*time.Second, "the host in the set", func() bool { return strings.Contains(w.seenElements(), testHostAddr+" ") })
	if got := w.stats().Known; got > seenSize/2 {
		t.Errorf("%d addresses seen, want few", got)
	}
}
