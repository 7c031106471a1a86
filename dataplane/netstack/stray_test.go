// SPDX-License-Identifier: MIT

package netstack

import (
	"net/netip"
	"testing"
	"time"

	"oasis6/dataplane"
	"oasis6/dataplane/netstack/forward"
	"oasis6/dataplane/netstack/neigh"
	"oasis6/internal/ip6pkt"
)

// A frame for a group with a packet for one node is somebody's trick: with two routers each packet would be doubled.
func TestGroupFramesAreNotForwarded(t *testing.T) {
	w := ready(t)
	all := neigh.MAC{0x33, 0x33, 0, 0, 0, 1}
	w.fromHost(all, datagram(host, far, 100))
	expired := datagram(host, far, 100)
	expired[offHops] = 1
	w.fromHost(neigh.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, expired)
	if out := w.toHub(); len(out) != 0 {
		t.Errorf("to the hub %x", out)
	}
	if got := w.frames(); len(got) != 0 {
		t.Errorf("on the LAN %+v", got)
	}
	if n := w.p.lost[lostGroup].Load(); n != 2 {
		t.Errorf("%d counted, want 2", n)
	}
	w.fromHost(boxMAC, datagram(host, far, 100))
	if out := w.toHub(); len(out) != 1 {
		t.Errorf("%d packets to the hub from a frame for us, want 1", len(out))
	}
}

// What is for a LAN that has just gone must not leave by the tunnel instead.
func TestNothingLeavesByTheTunnelInstead(t *testing.T) {
	w := ready(t)
	w.fromHost(boxMAC, datagram(host, far, 100)) // opens the firewall for the answer
	w.toHub()
	w.p.view.Store(&view{ports: map[forward.Index]*port{}, own: w.p.view.Load().own})
	w.fromHub(ip6pkt.UDP(far, host, 9, 1000, 64, make([]byte, 100)))
	if out := w.toHub(); len(out) != 0 {
		t.Errorf("back to the hub %x", out)
	}
	if w.p.lost[lostGone].Load() == 0 {
		t.Error("not counted")
	}
	w.p.mu.Lock()
	w.p.rebuild()
	w.p.mu.Unlock()
}

// A LAN whose tap is taken away again and again stays in the forwarder's table.
func TestLinkIsOpenedAgainForEver(t *testing.T) {
	w := ready(t)
	for range lastIndex + 100 {
		if err := w.p.Watch(nil); err != nil {
			t.Fatal(err)
		}
		if err := w.p.Watch([]string{"oasis0", "br-lan"}); err != nil {
			t.Fatal(err)
		}
	}
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	for name, r := range w.p.ports {
		if r.nic > lastIndex {
			t.Errorf("%s has index %d", name, r.nic)
		}
	}
}

// RFC 4443 section 3.1 code 3: also to a sender that is behind a router of the LAN, by that router.
func TestAddressUnreachableGoesByTheRouter(t *testing.T) {
	w := ready(t)
	want := desired()
	behind, sender := netip.MustParsePrefix("2001:db8:1:10::/64"), netip.MustParseAddr("2001:db8:1:10::5")
	router := netip.MustParseAddr("fe80::99")
	want.Routes = append(want.Routes, dataplane.Route{Dst: behind, Via: router, Iface: "br-lan"})
	want.Firewall.Sources[0].Routed = []netip.Prefix{behind}
	w.apply(want)
	w.fromHub(ip6pkt.EchoRequest(far, sender, 64, 1, 1)) // so that the box looks for the router
	w.pass(100 * time.Millisecond)
	w.advertise(router, 0xe0, boxLL, boxMAC)
	w.frames()
	w.fromHost(boxMAC, datagram(sender, nobody, 10))
	w.pass(4 * time.Second)
	var errors []frame
	for _, f := range w.frames() {
		if f.dst == sender {
			errors = append(errors, f)
		}
	}
	if len(errors) != 1 || errors[0].to != hostMAC {
		t.Fatalf("to the sender %+v, want an error by the router", errors)
	}
	if typ, code, _ := code(errors[0].pkt); typ != 1 || code != 3 {
		t.Errorf("type %d code %d, want 1 and 3", typ, code)
	}
}
