// SPDX-License-Identifier: MIT

package netstack

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"oasis6/dataplane"
	"oasis6/dataplane/netstack/neigh"
	"oasis6/internal/ip6pkt"
)

// RFC 4862 section 5.4: an address is not used before it is known to be nobody else's.
func TestAddressesAreCheckedBeforeUse(t *testing.T) {
	w := newWorld(t, Given{})
	w.apply(desired())
	w.pass(500 * time.Millisecond)
	if l := w.link("br-lan"); !l.Exists || !l.Up || l.LinkLocal.IsValid() || l.MAC != boxMAC || l.MTU != 1500 {
		t.Errorf("half a second after the start: %+v", l)
	}
	w.fromHost(boxMAC, ip6pkt.EchoRequest(host, box, 64, 1, 1))
	w.pass(3 * time.Second)
	if l := w.link("br-lan"); l.LinkLocal != boxLL || l.Taken.IsValid() {
		t.Errorf("later: %+v, want link-local %v", l, boxLL)
	}
	checked := map[string]bool{}
	for _, f := range w.frames() {
		if f.next == ip6pkt.ProtoICMPv6 && f.typ == typeNS && f.src.IsUnspecified() {
			checked[netip.AddrFrom16([16]byte(f.pkt[48:64])).String()] = true
			if f.to[0] != 0x33 {
				t.Errorf("a solicitation to %v", f.to)
			}
		}
		if f.typ == ip6pkt.TypeEchoReply {
			t.Error("an echo reply from an address that was not checked yet")
		}
	}
	if !checked[boxLL.String()] || !checked[box.String()] || len(checked) != 2 {
		t.Errorf("checked %v, want %v and %v", checked, boxLL, box)
	}
}

func TestDuplicateLinkLocalIsTold(t *testing.T) {
	w := newWorld(t, Given{})
	w.pass(100 * time.Millisecond)
	w.advertise(boxLL, 0x20, netip.IPv6LinkLocalAllNodes(), neigh.GroupMAC(netip.IPv6LinkLocalAllNodes()))
	w.pass(3 * time.Second)
	l := w.link("br-lan")
	if l.LinkLocal.IsValid() || l.Taken != boxLL || l.TakenBy != "00:00:5e:00:53:02" {
		t.Errorf("%+v, want Taken %v by the host", l, boxLL)
	}
	if _, err := w.p.OpenND("br-lan"); err == nil {
		t.Error("a socket without a link-local address")
	}
	w.pass(2 * time.Minute) // whoever had it has gone
	if l := w.link("br-lan"); l.LinkLocal != boxLL || l.Taken.IsValid() {
		t.Errorf("two minutes later: %+v, want it back", l)
	}
}

// The address of the LAN is another's: Apply says so, and that it was found is an event.
func TestDuplicateAddressIsAnErrorAndTriedAgain(t *testing.T) {
	w := newWorld(t, Given{})
	w.apply(desired())
	w.pass(100 * time.Millisecond)
	w.fromHost(neigh.GroupMAC(netip.MustParseAddr("ff02::1:ff00:1")), solicitation(netip.IPv6Unspecified(), box, netip.MustParseAddr("ff02::1:ff00:1")))
	w.pass(2 * time.Second)
	err := w.p.Apply(t.Context(), desired())
	if err == nil || !strings.Contains(err.Error(), "another node on the link uses it") {
		t.Errorf("Apply: %v, want the duplicate", err)
	}
	w.settled()
	w.mu.Lock()
	drift := strings.Join(w.drift, "; ")
	w.mu.Unlock()
	if !strings.Contains(drift, "2001:db8:1::1/64 dev br-lan") {
		t.Errorf("drift %q, want the address", drift)
	}
	w.pass(dadRetry)
	_ = w.p.Apply(t.Context(), desired()) // tries anew
	w.pass(2 * time.Second)
	if err := w.p.Apply(t.Context(), desired()); err != nil {
		t.Errorf("Apply when the other has gone: %v", err)
	}
}

func TestForwardsFromTheLANAndBack(t *testing.T) {
	w := ready(t)
	w.fromHost(boxMAC, datagram(host, far, 100))
	out := w.toHub()
	if len(out) != 1 || out[0][offHops] != 63 || !bytes.Equal(out[0][8:], datagram(host, far, 100)[8:]) {
		t.Fatalf("to the hub %x", out)
	}
	back := ip6pkt.UDP(far, host, 9, 1000, 64, make([]byte, 100))
	w.fromHub(back)
	w.pass(100 * time.Millisecond)
	ns := w.icmp(typeNS)
	if len(ns) != 1 || ns[0].src != boxLL || ns[0].dst != netip.MustParseAddr("ff02::1:ff00:2") || ns[0].to != (neigh.MAC{0x33, 0x33, 0xff, 0, 0, 2}) {
		t.Fatalf("solicitations %+v, want one from %v for %v", ns, boxLL, host)
	}
	w.advertise(host, 0x60, boxLL, boxMAC)
	got := w.frames()
	if len(got) != 1 || got[0].to != hostMAC || got[0].from != boxMAC || got[0].hops != 63 {
		t.Fatalf("to the host %+v", got)
	}
	w.fromHub(back)
	if got := w.frames(); len(got) != 1 {
		t.Errorf("%d frames to a known host, want 1", len(got))
	}
	n, err := w.p.Neighbors("br-lan")
	if err != nil || len(n) == 0 || n[0].Addr != host || n[0].MAC != hostMAC {
		t.Errorf("Neighbors = %+v, %v", n, err)
	}
}

// RFC 4443 section 3.1 code 3, RFC 4861 section 7.2.2.
func TestNobodyAnswersIsAddressUnreachable(t *testing.T) {
	w := ready(t)
	w.fromHost(boxMAC, ip6pkt.UDP(nobody, far, 9, 1000, 64, nil)) // opens the way back, from an address that nobody has then
	w.toHub()
	w.fromHub(ip6pkt.UDP(far, nobody, 1000, 9, 64, nil))
	w.pass(4 * time.Second)
	if ns := w.icmp(typeNS); len(ns) != neigh.MaxMulticastSolicit {
		t.Errorf("%d solicitations, want %d", len(ns), neigh.MaxMulticastSolicit)
	}
	out := w.toHub()
	if len(out) != 1 {
		t.Fatalf("%d packets to the hub, want an error", len(out))
	}
	if typ, code, _ := code(out[0]); typ != 1 || code != 3 {
		t.Errorf("type %d code %d, want 1 and 3", typ, code)
	}
	if _, err := ip6pkt.ParseICMPv6(out[0]); err != nil {
		t.Error(err)
	}
}

func TestErrorsGoBack(t *testing.T) {
	w := ready(t)
	for _, c := range []struct {
		name      string
		pkt       []byte
		typ, code byte
		param     uint32
	}{
		{"too big", datagram(host, far, 1420), 2, 0, 1420},
		{"hop limit", ip6pkt.UDP(host, far, 1, 2, 1, nil), 3, 0, 0},
		{"unassigned part of the delegation", datagram(host, netip.MustParseAddr("2001:db8:1:77::1"), 1), 1, 0, 0},
	} {
		w.fromHost(boxMAC, c.pkt)
		got := w.frames()
		if len(got) != 1 || got[0].to != hostMAC || got[0].dst != host {
			t.Errorf("%s: frames %+v", c.name, got)
			continue
		}
		if typ, code, param := code(got[0].pkt); typ != c.typ || code != c.code || param != c.param {
			t.Errorf("%s: type %d code %d parameter %d, want %d, %d, %d", c.name, typ, code, param, c.typ, c.code, c.param)
		}
	}
}

func TestBoxAnswersEcho(t *testing.T) {
	w := ready(t)
	w.fromHost(neigh.GroupMAC(netip.MustParseAddr("ff02::1:ff00:1")), solicitation(host, box, netip.MustParseAddr("ff02::1:ff00:1")))
	na := w.icmp(typeNA)
	if len(na) != 1 || na[0].to != hostMAC || na[0].dst != host || na[0].pkt[44]&0xe0 != 0xe0 {
		t.Fatalf("advertisements %+v, want one with R, S and O", na)
	}
	// A host may ask for the router from a global address.
	group := netip.MustParseAddr("ff02::1:ff00:5301")
	w.fromHost(neigh.GroupMAC(group), solicitation(host, boxLL, group))
	if na := w.icmp(typeNA); len(na) != 1 || na[0].to != hostMAC || na[0].dst != host || na[0].src != boxLL {
		t.Errorf("advertisements of the link-local address %+v, want one", na)
	}
	w.fromHost(boxMAC, ip6pkt.EchoRequest(host, box, 64, 7, 1))
	if got := w.icmp(ip6pkt.TypeEchoReply); len(got) != 1 || got[0].to != hostMAC || got[0].src != box {
		t.Errorf("to the host: %+v, want a reply", got)
	}
	w.fromHost(boxMAC, ip6pkt.EchoRequest(host, tunAddr, 64, 7, 2)) // an address of another interface
	if got := w.icmp(ip6pkt.TypeEchoReply); len(got) != 1 || got[0].src != tunAddr {
		t.Errorf("to the host: %+v, want a reply from %v", got, tunAddr)
	}
	w.fromHub(ip6pkt.EchoRequest(far, tunAddr, 64, 7, 3))
	if out := w.toHub(); len(out) != 1 || out[0][40] != ip6pkt.TypeEchoReply {
		t.Errorf("to the hub: %x, want a reply", out)
	}
	w.fromHub(ip6pkt.EchoRequest(far, box, 64, 7, 4))
	if out := w.toHub(); len(out) != 1 || out[0][40] != ip6pkt.TypeEchoReply || len(w.frames()) != 0 {
		t.Errorf("to the hub: %x, want a reply from the LAN's address", out)
	}
}

func TestNDSocket(t *testing.T) {
	w := ready(t)
	c, err := w.p.OpenND("br-lan")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.p.OpenND("br-lan"); err == nil {
		t.Error("opened twice")
	}
	rs := ip6pkt.ICMPv6(hostLL, netip.IPv6LinkLocalAllRouters(), 255, append([]byte{typeRS, 0, 0, 0, 0, 0, 0, 0, 1, 1}, hostMAC[:]...))
	w.fromHost(neigh.GroupMAC(netip.IPv6LinkLocalAllRouters()), rs)
	m, err := c.Receive()
	if err != nil || m.Iface != "br-lan" || m.Src != hostLL || m.HopLimit != 255 || m.Data[0] != typeRS || len(m.Data) != 16 {
		t.Fatalf("Receive = %+v, %v", m, err)
	}
	ra := make([]byte, 16)
	ra[0] = typeRA
	if err := errors.Join(c.Send(netip.IPv6LinkLocalAllNodes(), ra), c.Send(hostLL, ra)); err != nil {
		t.Fatal(err)
	}
	got := w.icmp(typeRA)
	if len(got) != 2 || got[0].to != (neigh.MAC{0x33, 0x33, 0, 0, 0, 1}) || got[1].to != hostMAC || got[0].src != boxLL || got[0].hops != 255 {
		t.Errorf("sent %+v", got)
	}
	for _, f := range got {
		if _, err := ip6pkt.ParseICMPv6(f.pkt); err != nil {
			t.Error(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Receive(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Receive after Close: %v", err)
	}
}

func TestDHCPv6Socket(t *testing.T) {
	w := ready(t)
	c, err := w.p.OpenDHCPv6("br-lan")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	all := allDHCPServers()
	w.fromHost(neigh.GroupMAC(all), ip6pkt.UDP(hostLL, all, 546, 547, 1, []byte("solicit")))
	w.fromHost(boxMAC, ip6pkt.UDP(hostLL, boxLL, 546, 547, 1, []byte("unicast")))
	for _, want := range []string{"solicit", "unicast"} {
		if m, err := c.Receive(); err != nil || string(m.Data) != want || m.Src != hostLL {
			t.Errorf("Receive = %+v, %v, want %q", m, err, want)
		}
	}
	if err := c.Send(hostLL, []byte("advertise")); err != nil {
		t.Fatal(err)
	}
	w.pass(100 * time.Millisecond)
	w.advertise(hostLL, 0x60, boxLL, boxMAC)
	for _, f := range w.frames() {
		if f.next != ip6pkt.ProtoUDP {
			continue
		}
		d, err := ip6pkt.ParseUDP(f.pkt)
		if err != nil || d.Src != netip.AddrPortFrom(boxLL, 547) || d.Dst != netip.AddrPortFrom(hostLL, 546) || string(d.Payload) != "advertise" {
			t.Errorf("sent %+v, %v", d, err)
		}
		return
	}
	t.Error("nothing was sent")
}

// Like the kernel, a cable that was pulled for a moment costs no address; what is on the link is looked for anew.
func TestLinkFlap(t *testing.T) {
	w := ready(t)
	w.fromHub(ip6pkt.UDP(far, host, 9, 1000, 64, nil))
	w.lan.setUp(false)
	w.pass(100 * time.Millisecond)
	if l := w.link("br-lan"); l.Up || l.LinkLocal.IsValid() {
		t.Errorf("without carrier: %+v", l)
	}
	w.fromHost(boxMAC, datagram(host, far, 10)) // still in flight
	w.lan.setUp(true)
	w.pass(200 * time.Millisecond)
	if l := w.link("br-lan"); !l.Up || l.LinkLocal != boxLL {
		t.Errorf("with carrier again: %+v", l)
	}
	w.pass(2 * time.Second)
	w.wantReport(w.frames())
	w.toHub()
	w.fromHost(boxMAC, datagram(host, far, 10))
	if out := w.toHub(); len(out) != 1 {
		t.Errorf("%d packets to the hub, want 1", len(out))
	}
}

// Of a Multicast Listener Report version 2 behind a hop-by-hop header of 8 octets (RFC 9777 section 5.2).
const (
	typeMLDv2 = 143
	mldAt     = ip6pkt.HeaderLen + 8
	recordsAt = mldAt + 8
	recordLen = 4 + 16
)

// wantReport looks for one report of all groups, in their order, and for no leave.
func (w *world) wantReport(frames []frame) {
	w.Helper()
	for _, f := range frames {
		if len(f.pkt) < recordsAt || f.pkt[mldAt] != typeMLDv2 {
			continue
		}
		var groups [][]byte
		for rest := f.pkt[recordsAt:]; len(rest) > 0; rest = rest[recordLen:] {
			if rest[0] == 3 {
				w.Errorf("group %x is left", rest[4:recordLen])
			}
			groups = append(groups, rest[4:recordLen])
		}
		if !slices.IsSortedFunc(groups, bytes.Compare) || len(groups) < 4 {
			w.Errorf("groups %x, want all in their order", groups)
		}
		return
	}
	w.Error("no group is reported again")
}

func TestRestoreLeavesNothing(t *testing.T) {
	w := ready(t)
	if err := w.p.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !w.lan.closed {
		t.Error("the link is still open")
	}
	w.frames()
	w.fromHost(boxMAC, datagram(host, far, 10))
	w.fromHub(ip6pkt.EchoRequest(far, tunAddr, 64, 1, 1))
	if out := w.toHub(); len(out) != 0 || len(w.frames()) != 0 {
		t.Errorf("%d packets leave a node without anything", len(out))
	}
}

// The uplink of a hub: an address and a route that Apply does not know, and answers for sites.
func TestGivenAndProxy(t *testing.T) {
	uplink := netip.MustParsePrefix("2001:db8:aa::1/64")
	w := newWorld(t, Given{
		Addresses: []dataplane.Address{{Iface: "br-lan", Prefix: uplink}},
		Routes:    []dataplane.Route{{Dst: netip.MustParsePrefix("::/0"), Via: hostLL, Iface: "br-lan"}},
	})
	site := netip.MustParsePrefix("2001:db8:aa::/80")
	w.apply(dataplane.Desired{
		Tunnel: dataplane.Tunnel{Name: "oasis0", MTU: 1420}, Forward: true,
		Routes: []dataplane.Route{{Dst: netip.MustParsePrefix("2001:db8:2::/48"), Iface: "oasis0"}},
		Hub:    dataplane.HubFirewall{Tunnel: "oasis0", Pools: []netip.Prefix{netip.MustParsePrefix("2001:db8:2::/48")}, Open: true},
		Proxy:  []dataplane.NDProxy{{Iface: "br-lan", Prefixes: []netip.Prefix{site}}},
	})
	w.pass(3 * time.Second)
	w.fromHost(boxMAC, solicitation(hostLL, boxLL, boxLL))
	w.frames()
	w.fromHub(datagram(netip.MustParseAddr("2001:db8:2::5"), far, 10))
	got := w.frames()
	if len(got) != 1 || got[0].to != hostMAC || got[0].dst != far {
		t.Errorf("by the given route: %+v", got)
	}
	target := netip.MustParseAddr("2001:db8:aa::77")
	w.fromHost(neigh.GroupMAC(netip.MustParseAddr("ff02::1:ff00:77")), solicitation(hostLL, target, netip.MustParseAddr("ff02::1:ff00:77")))
	na := w.icmp(typeNA)
	if len(na) != 1 || na[0].to != hostMAC || na[0].pkt[44] != 0x40 || netip.AddrFrom16([16]byte(na[0].pkt[48:64])) != target {
		t.Errorf("for a site: %+v, want an advertisement without Override", na)
	}
	if s := w.p.ProxyStats(); len(s) != 1 || !s[0].Up || s[0].Answered != 1 {
		t.Errorf("ProxyStats = %+v", s)
	}
}
