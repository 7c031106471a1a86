// SPDX-License-Identifier: MIT

package kernel

import (
	"bytes"
	"errors"
	"math"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"oasis6/dataplane"
	"oasis6/internal/netlab"
)

// dhcpClient is UDP port 546 in a node.
func dhcpClient(t *testing.T, n *netlab.Node, addr string) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	err := n.Do(func() (err error) {
		c, err = net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func sendUDP(t *testing.T, c *net.UDPConn, to string, data []byte) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort(data, netip.MustParseAddrPort(to)); err != nil {
		t.Fatal(err)
	}
}

// linkLocal waits for the node's own link-local address on eth0.
func linkLocal(n *netlab.Node) (ll string) {
	n.WaitFor(5*time.Second, "link-local address", func() bool {
		f := strings.Fields(n.Run("ip", "-6", "-o", "address", "show", "dev", "eth0", "scope", "link", "-tentative"))
		if len(f) < 4 {
			return false
		}
		ll, _, _ = strings.Cut(f[3], "/")
		return true
	})
	return ll
}

func received(c dataplane.Conn) <-chan dataplane.Received {
	got := make(chan dataplane.Received, 64)
	go func() {
		defer close(got)
		for {
			m, err := c.Receive()
			if err != nil {
				return
			}
			got <- m
		}
	}()
	return got
}

// A client's exchange with the socket of a DHCPv6 server: multicast to port 547, the answer from the link-local address
// to port 546 (RFC 9915 section 7).
func TestRFC9915_7_2_DHCPv6Socket(t *testing.T) {
	w := newWorld(t)
	w.open()
	if err := w.plane.Watch([]string{"br-lan"}); err != nil {
		t.Fatal(err)
	}
	w.apply(w.desired())
	box := w.link("br-lan", func(l dataplane.Link) bool { return l.Up && l.LinkLocal.IsValid() })
	if _, err := w.plane.OpenDHCPv6("eth1"); err == nil || err.Error() != "eth1 is a port of bridge br-lan: use Interface = br-lan" {
		t.Errorf("OpenDHCPv6 of a port = %v", err)
	}
	c, err := w.plane.OpenDHCPv6("br-lan")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got := received(c)
	ll := linkLocal(w.h1)
	client := dhcpClient(t, w.h1, "["+ll+"%eth0]:546")
	solicit := []byte{1, 0xa, 0xb, 0xc, 0, 8, 0, 2, 0, 0}
	sendUDP(t, client, "[ff02::1:2%eth0]:547", nil)                          // empty
	sendUDP(t, client, "[ff02::1:2%eth0]:547", make([]byte, dhcpMaxData+1))  // too long
	sendUDP(t, client, "["+box.LinkLocal.String()+"%eth0]:547", solicit[:4]) // by unicast, as some do
	sendUDP(t, client, "[ff02::1:2%eth0]:547", solicit)
	for _, want := range [][]byte{solicit[:4], solicit} {
		select {
		case m := <-got:
			if m.Iface != "br-lan" || m.Src.String() != ll || !bytes.Equal(m.Data, want) || m.At.IsZero() {
				t.Errorf("Receive = %+v, want %x from %s", m, want, ll)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("nothing within 5s")
		}
	}
	if err := c.Send(netip.MustParseAddr(ll), []byte{2, 0xa, 0xb, 0xc}); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	_ = client.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, from, err := client.ReadFromUDPAddrPort(buf)
	if err != nil || n != 4 || from.Port() != 547 || from.Addr().WithZone("") != box.LinkLocal {
		t.Errorf("the client got %d octets from %v, %v, want 4 from port 547 of %v", n, from, err, box.LinkLocal)
	}
	// The tunnel's side is another matter, and closed.
	far := dhcpClient(t, w.far, "["+testFarAddr+"]:546")
	w.far.Run("ip", "-6", "neigh", "replace", testBox, "lladdr", w.mac("oasis0"), "dev", "oasis0")
	w.far.WaitFor(5*time.Second, "a dropped datagram", func() bool {
		sendUDP(t, far, "["+testBox+"]:547", solicit)
		return !strings.Contains(w.counter("no services outside"), "packets 0 ")
	})
	select {
	case m := <-got:
		t.Errorf("from the tunnel: %+v", m)
	case <-time.After(200 * time.Millisecond):
	}
}

// bindSoon binds when the port is free: a program that another test starts holds a copy of a closed socket between fork
// and exec.
func bindSoon(fd int, a unix.Sockaddr) (err error) {
	netlab.Poll(5*time.Second, func() bool { err = unix.Bind(fd, a); return err == nil })
	return err
}

// Another server on the port is named, whether or not it would share the port.
func TestSecondDHCPv6Server(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.apply(w.desired())
	w.lanUp()
	for _, reuse := range []int{0, 1} {
		var fd int
		err := w.box.Do(func() (err error) {
			if fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
				return err
			}
			return errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, reuse),
				bindSoon(fd, &unix.SockaddrInet6{Port: 547}))
		})
		if err != nil {
			t.Fatal(err)
		}
		const want = "br-lan: UDP port 547 is in use by another program, another DHCPv6 server: "
		if _, err := w.plane.OpenDHCPv6("br-lan"); err == nil || !strings.HasPrefix(err.Error(), want) || !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("OpenDHCPv6 beside another = %v, want %q", err, want)
		}
		_ = unix.Close(fd)
	}
	var c dataplane.Conn
	// A program that another test starts holds a copy of the closed socket between fork and exec.
	w.box.WaitFor(5*time.Second, "the port to be free after the other has gone", func() bool {
		var err error
		c, err = w.plane.OpenDHCPv6("br-lan")
		return err == nil
	})
	if _, err := w.plane.OpenDHCPv6("br-lan"); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a second time = %v", err)
	}
	_ = c.Close()
	if _, err := c.Receive(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Receive after Close = %v, want net.ErrClosed", err)
	}
}

// What is passed on costs little more memory than the packet, not a buffer of the largest size.
func TestFloodAllocatesLittle(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.apply(w.desired())
	w.lanUp()
	c, err := w.plane.OpenDHCPv6("br-lan")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	client := dhcpClient(t, w.h1, "["+linkLocal(w.h1)+"%eth0]:546")
	const rounds, packets = 10, 200
	junk := make([]byte, 100)
	to := netip.MustParseAddrPort("[ff02::1:2%eth0]:547")
	least := uint64(math.MaxUint64) // other tests allocate too
	for range rounds {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range packets {
			if _, err := client.WriteToUDPAddrPort(junk, to); err != nil {
				t.Fatal(err)
			}
			if m, err := c.Receive(); err != nil || len(m.Data) != len(junk) {
				t.Fatal(m, err)
			}
		}
		runtime.ReadMemStats(&after)
		least = min(least, (after.TotalAlloc-before.TotalAlloc)/packets)
	}
	if least > 512 {
		t.Errorf("%d octets allocated per packet of %d, sender included, want at most 512", least, len(junk))
	}
}
