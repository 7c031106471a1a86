// SPDX-License-Identifier: MIT

package kernel

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"oasis6/dataplane"
)

func TestNDSocket(t *testing.T) {
	w := newWorld(t)
	w.open()
	if err := w.plane.Watch([]string{"br-lan"}); err != nil {
		t.Fatal(err)
	}
	for iface, want := range map[string]string{
		"eth1":  "eth1 is a port of bridge br-lan: use Interface = br-lan",
		"eth77": "eth77: no such interface",
	} {
		if _, err := w.plane.OpenND(iface); err == nil || err.Error() != want {
			t.Errorf("OpenND(%s) = %v, want %q", iface, err, want)
		}
	}
	w.apply(w.desired())
	box := w.link("br-lan", func(l dataplane.Link) bool { return l.Up && l.LinkLocal.IsValid() })
	c, err := w.plane.OpenND("br-lan") // from a thread in another namespace
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan dataplane.Received, 16)
	ended := make(chan error, 1)
	go func() {
		for {
			m, err := c.Receive()
			if err != nil {
				ended <- err
				return
			}
			got <- m
		}
	}()
	// A Router Solicitation from the host, by other software.
	w.h1.Start("rdisc6", "-1", "-w", "3000", "eth0")
	select {
	case m := <-got:
		if m.Iface != "br-lan" || m.HopLimit != 255 || !m.Src.IsValid() || m.Src.Zone() != "" || m.Data[0] != ndRS || m.At.IsZero() {
			t.Errorf("Receive = %+v", m)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("no Router Solicitation within 5s")
	}
	// A Router Advertisement to a global address still has our link-local source and hop limit 255:
	// the host obeys it (RFC 4861 section 6.1.2).
	ra := make([]byte, 16)
	ra[0], ra[4], ra[6], ra[7] = ndRA, 64, 0x07, 0x08
	w.h1.Run("ip", "-6", "route", "del", "default")
	route := func(what, to string) {
		w.h1.WaitFor(5*time.Second, "default route by "+what, func() bool {
			if err := c.Send(netip.MustParseAddr(to), ra); err != nil {
				t.Fatal(err)
			}
			return strings.Contains(w.h1.Run("ip", "-6", "route", "show", "default", "proto", "ra"), "via "+box.LinkLocal.String())
		})
		w.h1.Run("ip", "-6", "route", "del", "default", "proto", "ra")
	}
	route("multicast RA", "ff02::1")
	route("unicast RA", testHostAddr)
	// The interface goes down and comes back: the socket lives on.
	w.box.Run("ip", "link", "set", "br-lan", "down")
	_ = c.Send(netip.MustParseAddr("ff02::1"), ra)
	w.box.Run("ip", "link", "set", "br-lan", "up")
	select {
	case err := <-ended:
		t.Fatalf("Receive ended with the link: %v", err)
	default:
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("Receive after Close = %v, want net.ErrClosed", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Close does not end Receive")
	}
	if err := c.Send(netip.MustParseAddr("ff02::1"), ra); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send after Close = %v, want net.ErrClosed", err)
	}
}
