// SPDX-License-Identifier: MIT

package kernel

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"

	"oasis6/internal/netlab"
)

// dial tries TCP from a node and answers with the error, nil for a connection.
func dial(n *netlab.Node, addr string) error {
	return n.Do(func() error {
		d := net.Dialer{Timeout: time.Second}
		c, err := d.DialContext(context.Background(), "tcp6", addr)
		if err != nil {
			return err
		}
		return c.Close()
	})
}

// serve accepts TCP in a node.
func serve(t *testing.T, n *netlab.Node, addr string) {
	t.Helper()
	err := n.Do(func() error {
		l, err := net.Listen("tcp6", addr)
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
			}
		}()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// pingFromFar waits for an answer: a new bridge port may take a moment.
func (w *world) pingFromFar(to string) {
	w.t.Helper()
	w.far.WaitFor(6*time.Second, "answer from "+to, func() bool {
		_, err := w.far.Try("ping", "-c1", "-W1", "-I", testFarAddr, to)
		return err == nil
	})
}

func (w *world) pingFromH1(to string) {
	w.t.Helper()
	w.h1.WaitFor(6*time.Second, "answer from "+to, func() bool {
		_, err := w.h1.Try("ping", "-c1", "-W1", to)
		return err == nil
	})
}

func (w *world) counter(rule string) string {
	for _, l := range strings.Split(w.box.Run("nft", "list", "table", "ip6", tableName), "\n") {
		if strings.Contains(l, rule) {
			return strings.TrimSpace(l)
		}
	}
	return "no rule " + rule
}

// RFC 7084 S-2 (BCP 38): what leaves has a source of ours; and S-3: what comes in is filtered.
func TestRFC7084_S2_FirewallWithRealPackets(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.apply(w.desired())
	w.h1.WaitFor(5*time.Second, "ping out", func() bool {
		_, err := w.h1.Try("ping", "-c1", "-W1", testFarAddr)
		return err == nil
	})
	serve(t, w.h1, "[::]:80")
	serve(t, w.far, "["+testFarAddr+"]:80")
	far := "[" + testFarAddr + "]:80"
	if err := dial(w.h1, far); err != nil {
		t.Errorf("TCP out: %v", err)
	}
	w.pingFromFar(testHostAddr) // RFC 4890: echo passes
	w.far.Run("ip", "-6", "route", "replace", "2001:db8:ebbd::/48", "dev", "oasis0", "src", testFarAddr)
	if err := dial(w.far, "["+testHostAddr+"]:80"); err == nil {
		t.Error("TCP in: connected through a closed firewall")
	}
	if got := w.counter("unsolicited"); strings.Contains(got, "packets 0 ") {
		t.Errorf("not counted: %s", got)
	}
	open := w.desired()
	open.Firewall.Open = true
	w.apply(open)
	if err := dial(w.far, "["+testHostAddr+"]:80"); err != nil {
		t.Errorf("TCP in, Firewall = open: %v", err)
	}
}

// Never around the tunnel: it is down, a native default would carry the packet away.
func TestNeverAroundTheTunnel(t *testing.T) {
	w := newWorld(t)
	w.box.Run("ip", "-6", "route", "add", "default", "dev", "eth0", "metric", "9999")
	w.open()
	w.apply(w.desired())
	w.box.Run("ip", "link", "set", "oasis0", "down")
	if got := w.code(w.h1, testHostAddr); got != icmpPolicyFail {
		t.Errorf("code = %d, want %d: %s", got, icmpPolicyFail, w.counter("never around"))
	}
}

// code sends an echo request to the far end and answers with the code of the Destination
// Unreachable that comes back from the box, -1 for none.
func (w *world) code(n *netlab.Node, src string) int {
	w.t.Helper()
	code := -1
	err := n.Do(func() error {
		c, err := icmp.ListenPacket("ip6:ipv6-icmp", src)
		if err != nil {
			return err
		}
		defer c.Close()
		msg, err := (&icmp.Message{Type: ipv6.ICMPTypeEchoRequest, Body: &icmp.Echo{ID: 7, Seq: 1}}).Marshal(nil)
		if err != nil {
			return err
		}
		deadline := time.Now().Add(4 * time.Second)
		buf := make([]byte, 2000)
		for time.Now().Before(deadline) { // the first may wait for DAD of the box or be lost to ND
			if _, err := c.WriteTo(msg, &net.IPAddr{IP: net.ParseIP(testFarAddr)}); err != nil {
				return err
			}
			_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			for {
				k, _, err := c.ReadFrom(buf)
				if err != nil {
					break
				}
				if k > 1 && buf[0] == 1 {
					code = int(buf[1])
					return nil
				}
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return code
}

// "By DEFAULT, subscriber-managed residential gateways MUST NOT offer management application services
// to the exterior network." (RFC 6092 REC-50)
func TestRFC6092_REC50_NoServiceOutside(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.apply(w.desired())
	serve(t, w.box, "[::]:22")
	const box = "[2001:db8:ebbd:990a::1]:22"
	w.far.Run("ip", "-6", "neigh", "replace", "2001:db8:ebbd:990a::1", "lladdr", w.mac("oasis0"), "dev", "oasis0")
	w.far.Run("ip", "-6", "route", "replace", "2001:db8:ebbd::/48", "dev", "oasis0", "src", testFarAddr)
	w.pingFromFar("2001:db8:ebbd:990a::1") // reachable as such
	if err := dial(w.far, box); err == nil {
		t.Error("the box's own service is open to the tunnel")
	}
	if got := w.counter("no services outside"); strings.Contains(got, "packets 0 ") {
		t.Errorf("not counted: %s", got)
	}
	if err := dial(w.h1, box); err != nil {
		t.Errorf("the box's service is closed to the LAN: %v", err)
	}
}

// RFC 6092 REC-5: what comes from outside with a source of the inside is forged.
func TestRFC6092_REC5_OurSourceFromOutside(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.apply(w.desired())
	const spoofed = "2001:db8:ebbd:990a::66"
	w.far.Run("ip", "-6", "address", "add", spoofed+"/128", "dev", "lo", "nodad")
	w.pingFromFar(testHostAddr)
	if out, err := w.far.Try("ping", "-c1", "-W1", "-I", spoofed, testHostAddr); err == nil {
		t.Errorf("answered: %s", out)
	}
	if got := w.counter("our own source"); strings.Contains(got, "packets 0 ") {
		t.Errorf("not counted: %s", got)
	}
}

// RFC 4890 section 4.3.1: Packet Too Big must not be dropped, or path MTU discovery fails.
func TestRFC4890_4_3_1_PacketTooBigPasses(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.apply(w.desired())
	// Beyond the far router there is a link of 1280.
	deep := w.Node("deep")
	w.Wire(w.far, "deep0", deep, "deep0")
	w.far.Run("ip", "link", "set", "deep0", "mtu", "1280")
	w.far.Run("ip", "-6", "address", "add", "2001:db8:d::1/64", "dev", "deep0", "nodad")
	deep.Run("ip", "-6", "address", "add", "2001:db8:d::2/64", "dev", "deep0", "nodad")
	deep.Run("ip", "-6", "route", "add", "default", "via", "2001:db8:d::1")
	w.far.Sysctl("net.ipv6.conf.all.forwarding", "1")
	w.box.Run("ip", "-6", "neigh", "replace", "2001:db8:d::2", "lladdr", strings.TrimSpace(w.far.Run("cat", "/sys/class/net/oasis0/address")), "dev", "oasis0")
	w.h1.WaitFor(6*time.Second, "a path MTU of 1280", func() bool {
		w.h1.Try("ping", "-c1", "-W1", "-s", "1340", "-M", "do", "2001:db8:d::2")
		out, _ := w.h1.Try("ip", "-6", "route", "get", "2001:db8:d::2")
		return strings.Contains(out, "mtu 1280")
	})
}

func TestRulesReadAsNftPrintsThem(t *testing.T) {
	w := newWorld(t)
	w.open()
	d := w.site()
	w.box.Run("ip", "-6", "neigh", "replace", "fe80::10", "lladdr", "00:00:5e:00:53:10", "dev", "br-lan")
	for _, open := range []bool{false, true} {
		d.Firewall.Open = open
		w.apply(d)
		listed := strings.ReplaceAll(w.box.Run("nft", "-s", "list", "table", "ip6", tableName), "\t", "")
		rs := w.rules()
		for i, r := range rs.rules {
			line := r.text + ` comment "` + rs.comment(i) + `"`
			if !strings.Contains(listed, line+"\n") {
				t.Errorf("rule %d, want %q in:\n%s", i, line, listed)
			}
		}
		if !strings.Contains(listed, `elements = { "br-`) {
			t.Errorf("names in sets are unreadable:\n%s", listed)
		}
		if !strings.Contains(listed, "elements = { "+testRouted+" . 00:00:5e:00:53:10 }") {
			t.Errorf("a router's prefix is unreadable:\n%s", listed)
		}
	}
}

func TestPrefixSetMergesWhatOverlaps(t *testing.T) {
	var in []netip.Prefix
	for _, s := range []string{"2001:db8:2::/64", "2001:db8:1::/56", "2001:db8:1::/64", "2001:db8:2:1::/64", "2001:db8:2::/64", "ffff::/16"} {
		in = append(in, netip.MustParsePrefix(s))
	}
	var got []string
	for _, e := range prefixSet("x", in).elems {
		s := netip.AddrFrom16([16]byte(e.Key)).String()
		if e.IntervalEnd {
			s = "-" + s
		}
		got = append(got, s)
	}
	const want = "2001:db8:1:: -2001:db8:1:100:: 2001:db8:2:: -2001:db8:2:2:: ffff::"
	if g := strings.Join(got, " "); g != want {
		t.Errorf("prefixSet = %s, want %s", g, want)
	}
}
