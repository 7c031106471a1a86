// SPDX-License-Identifier: MIT

package forward

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

// scan sends from the far end to addresses of the LAN where nobody is, and says how many passed.
func (w *world) scan(n int, pkt func(src, dst string) []byte) (passed int) {
	for i := range n {
		dst := ip("2001:db8:ebbd:990a:1::").As16()
		binary.BigEndian.PutUint32(dst[12:], uint32(i)+1)
		if w.from(tunnel, pkt(farHost, netip.AddrFrom16(dst).String())).Action == Forward {
			passed++
		}
	}
	return passed
}

func syn(src, dst string) []byte { return tcp(src, dst, tcpSYN) }

// RFC 6583 sections 7.1 and 7.2: a scan from the tunnel costs few solicitations and keeps no packet from a host that is
// there, also if that has never sent anything through the box.
func TestRFC6583_ScanHurtsNobody(t *testing.T) {
	for _, c := range []struct {
		name string
		open bool
		pkt  func(src, dst string) []byte
	}{
		{"echo, closed", false, echo}, {"echo, open", true, echo}, {"TCP, open", true, syn},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := aSite()
			d.Firewall.Open = c.open
			w := newWorld(t, d)
			w.f.Neighbor(w.now, lan, ip(lanHost), hostMAC)
			if got := w.scan(10000, c.pkt); got != neighborBurst {
				t.Errorf("%d of a scan passed at once, want %d", got, neighborBurst)
			}
			for range 1000 {
				w.wants(w.from(tunnel, c.pkt(farHost, lanHost)), in)
			}
			if got := w.after(time.Second).scan(10000, c.pkt); got != neighborRate {
				t.Errorf("%d of a scan passed in a second, want %d", got, neighborRate)
			}
			if got := w.f.Refused(NobodySeen); got != 20000-neighborBurst-neighborRate {
				t.Errorf("%d counted", got)
			}
		})
	}
	// Through a closed firewall a scan of ports takes no token.
	w := newWorld(t, aSite())
	w.scan(10000, syn)
	if got := w.scan(100, echo); got != neighborBurst {
		t.Errorf("%d passed after a scan of ports, want %d", got, neighborBurst)
	}
}

// What is seen as a source is known, for some hours; a routed prefix needs no token.
func TestRFC6583_WhatIsSeenIsKnown(t *testing.T) {
	for _, open := range []bool{false, true} {
		d := aSite()
		d.Firewall.Open = open
		w := newWorld(t, d)
		known := func(n int) {
			t.Helper()
			if got := w.f.Stats().Known; got != n {
				t.Errorf("open %v: %d known, want %d", open, got, n)
			}
		}
		w.sends(udp(lanHost, farHost), out)
		known(1)
		w.sends(udp(lanHost, farHost), out)
		w.sends(udp(localHost, guestHost), "forward br-guest")
		known(2)
		w.sends(udp(routedHost, farHost), out) // not of this link
		w.wants(w.from(guest, udp(lanHost, farHost)), "drop: another's source, RFC 7084 S-2")
		w.wants(w.from(lan, udp("2001:db8:ebbd:990a::11", "2001:db8:ebbd:99aa::1")), "answer 1/0: unreachable route")
		known(2)
		w.f.Neighbor(w.now, lan, ip("fe80::11"), hostMAC)
		w.f.Neighbor(w.now, lan, ip(guestHost), hostMAC) // not there
		w.f.Neighbor(w.now, tunnel, ip(lanNobody), hostMAC)
		w.f.Neighbor(w.now, 77, ip(lanNobody), hostMAC)
		w.f.Neighbor(w.now, lan, netip.Addr{}, hostMAC)
		known(2)
		w.f.Neighbor(w.now, guest, ip(guestHost), hostMAC)
		known(3)
		for range 100 {
			w.wants(w.from(tunnel, echo(farHost, routedHost)), in+" via "+routerAddr)
			w.wants(w.from(tunnel, echo(farHost, lanHost)), in)
		}
		w.scan(neighborBurst, echo)
		w.after(seenTimeout).wants(w.from(tunnel, echo(farHost, lanHost)), in)
		w.scan(neighborBurst, echo)
		w.now = w.now.Add(seenGrain)
		w.scan(neighborBurst, echo)
		w.wants(w.from(tunnel, echo(farHost, lanHost)), "drop: nobody seen there, RFC 6583")
	}
}

// A LAN that forges its sources fills the set, but pushes out no neighbor; and what finds no place is where all are
// without a set.
func TestRFC6583_FullSet(t *testing.T) {
	d := aSite()
	d.Firewall.Open = true
	w := newWorld(t, d)
	w.f.Neighbor(w.now, lan, ip(lanHost), hostMAC)
	w.sends(udp(lanHost, farHost), out) // a source too
	for i := range 4 * seenSize {
		src := ip("2001:db8:ebbd:990a:2::").As16()
		binary.BigEndian.PutUint32(src[12:], uint32(i))
		w.sends(udp(netip.AddrFrom16(src).String(), farHost), out)
	}
	if got := w.f.Stats().Known; got > seenSize || got < seenSize*9/10 {
		t.Errorf("%d known, want nearly %d", got, seenSize)
	}
	w.scan(neighborBurst, echo)
	w.answers(echo(farHost, lanHost), in)
	w.answers(echo(farHost, lanNobody), "drop: nobody seen there, RFC 6583")
	w.sends(udp(lanNobody, farHost), out)
	w.answers(echo(farHost, lanNobody), in) // the newest
}

// A flood of Router Solicitations reaches the stack up to a rate, and none that has come through a router.
func TestRouterSolicitationsAreLimited(t *testing.T) {
	w := newWorld(t, aSite())
	rs := func() []byte { return with(icmp(typeRouterSolicit, "fe80::1234", "ff02::2"), offHopLimit, 255) }
	count := func(on Index, n int) (got int) {
		for range n {
			if w.from(on, rs()).Action == Local {
				got++
			}
		}
		return got
	}
	if got := count(lan, 1000); got != solicitBurst {
		t.Errorf("%d at once, want %d", got, solicitBurst)
	}
	if got := count(guest, 1000); got != solicitBurst { // a flood on one LAN is no other's
		t.Errorf("%d at once on another LAN, want %d", got, solicitBurst)
	}
	w.after(time.Second)
	if got := count(lan, 1000); got != solicitRate {
		t.Errorf("%d in a second, want %d", got, solicitRate)
	}
	w.wants(w.from(lan, rs()), "drop: too many solicitations")
	w.after(time.Second).wants(w.from(lan, with(rs(), offHopLimit, 254)), "drop: not of this link")
}

// Who was only heard may be forged, and gives way like sources; who has answered stays.
func TestHeardGivesWayToHeard(t *testing.T) {
	d := aSite()
	d.Firewall.Open = true
	w := newWorld(t, d)
	w.f.Neighbor(w.now, lan, ip(lanHost), hostMAC)
	w.f.Heard(w.now, lan, ip(lanNobody), hostMAC)
	w.answers(echo(farHost, lanNobody), in)
	for i := range 4 * seenSize {
		src := ip("2001:db8:ebbd:990a:2::").As16()
		binary.BigEndian.PutUint32(src[12:], uint32(i))
		w.f.Heard(w.now, lan, netip.AddrFrom16(src), otherMAC)
	}
	w.scan(neighborBurst, echo)
	w.answers(echo(farHost, lanHost), in)
	w.answers(echo(farHost, lanNobody), "drop: nobody seen there, RFC 6583")
}

// The Neighbor Discovery of one station that is not known reaches the stack up to a rate; that of another is not concerned.
func TestStrangersAreLimited(t *testing.T) {
	w := newWorld(t, aSite())
	stranger := func() (ok, known bool) { return false, false }
	count := func(mac [6]byte, n int) (got int) {
		for range n {
			if w.f.Discovery(w.now, lan, mac, stranger) {
				got++
			}
		}
		return got
	}
	if got := count(hostMAC, 2000); got != discoveryBurst {
		t.Errorf("%d at once, want %d", got, discoveryBurst)
	}
	if got := count(routerMAC, 100); got != 100 {
		t.Errorf("%d of another station, want 100", got)
	}
	w.after(time.Second)
	if got := count(hostMAC, 2000); got != discoveryRate {
		t.Errorf("%d in a second, want %d", got, discoveryRate)
	}
	refused := func() (ok, known bool) { return false, true }
	for on, limited := range map[Index]bool{lan: true, guest: true, tunnel: false, wan: false, 77: false} {
		if w.f.Discovery(w.now, on, routerMAC, refused) == limited {
			t.Errorf("on %d limited: %v, want %v", on, !limited, limited)
		}
	}
	if n := w.f.Stats().Refused[TooManyND.String()]; n != 1500+1900+2 {
		t.Errorf("%d counted", n)
	}
	w.set(aHub())
	if !w.f.Discovery(w.now, lan, routerMAC, refused) {
		t.Error("limited on a hub")
	}
}

// RFC 6583: a scan of one LAN from another, or from itself, is asked for up to a rate; who was seen is reached without.
func TestScanFromALANIsLimited(t *testing.T) {
	w := newWorld(t, aSite())
	w.f.Heard(w.now, guest, ip(guestHost), otherMAC)
	scan := func(mac [6]byte, n int) (passed int) {
		for i := range n {
			dst := ip("2001:db8:ebbd:990b:1::").As16()
			binary.BigEndian.PutUint32(dst[12:], uint32(i)+1)
			if w.f.Packet(w.now, lan, mac, udp(lanHost, netip.AddrFrom16(dst).String()), 0).Action == Forward {
				passed++
			}
		}
		return passed
	}
	if got := scan(hostMAC, 1000); got != scanBurst {
		t.Errorf("%d at once, want %d", got, scanBurst)
	}
	if got := scan(routerMAC, 10); got != 10 {
		t.Errorf("%d of another station, want 10", got)
	}
	for range 100 {
		w.wants(w.from(lan, udp(lanHost, guestHost)), "forward br-guest")
	}
	w.after(time.Second)
	if got := scan(hostMAC, 1000); got != scanRate {
		t.Errorf("%d in a second, want %d", got, scanRate)
	}
	passed := 0
	for i := range 100 { // of stations that are many
		passed += scan([6]byte{0, 0, 0x5e, 0, 0x53, byte(100 + i)}, 100)
	}
	if passed > allScansBurst+allScansRate {
		t.Errorf("%d of many stations, want at most %d", passed, allScansBurst+allScansRate)
	}
}
