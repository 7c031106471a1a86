// SPDX-License-Identifier: MIT

package tun

import (
	"bufio"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"oasis6/internal/ip6pkt"
	"oasis6/internal/netlab"
)

// envHub makes the test binary a program that only opens a hub for the box of helperConfig and for site 2. Its value is
// the box's endpoint, or "none".
const envHub = "OASIS6_TUN_HUB"

var boxLease = netip.MustParsePrefix("2001:db8:ebbd:990a::/64")

func hubHelper(fifo string) error {
	commands, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	idle := runtime.NumGoroutine()
	h, err := OpenHub(HubConfig{Name: "hub0", PrivateKey: testHub, ListenPort: 51820, LinkLocal: hubLL}, slog.New(slog.NewTextHandler(os.Stdout, nil)))
	if err != nil {
		return err
	}
	box := Site{Public: testBox.Public(), AllowedIPs: []netip.Prefix{netip.PrefixFrom(testBox.Public().LinkLocal(), 128), boxLease}}
	box.Endpoint, _ = netip.ParseAddrPort(os.Getenv(envHub))
	if err := h.SetSites([]Site{box, testSiteConfig(2)}); err != nil {
		return err
	}
	fmt.Println("open")
	lines := make(chan string)
	go func() {
		for s := bufio.NewScanner(commands); s.Scan(); {
			lines <- s.Text()
		}
	}()
	for {
		select {
		case ev := <-h.Events():
			if r, ok := ev.(Received); ok && r.Site != box.Public {
				fmt.Println("error: received from", r.Site)
			}
			printEvent(ev, time.Time{})
		case cmd := <-lines:
			switch cmd {
			case "initiate":
				fmt.Println("initiate", h.Initiate(box.Public))
			case "answer":
				if err := h.Send(ip6pkt.UDP(hubLL, testBox.Public().LinkLocal(), 547, 546, 64, []byte("answer"))); err != nil {
					return err
				}
			case "close":
				if err := h.Close(); err != nil {
					return err
				}
				_ = h.Close() // twice is fine
				return leaked(idle + 1)
			}
		}
	}
}

// hubWorld is a box behind a NAT, and a hub with our own device.
type hubWorld struct {
	*world
	nat     *netlab.Node
	hubProc *netlab.Proc
	hubFIFO *os.File
}

func newHubWorld(t *testing.T) *hubWorld {
	w := newHubWires(t)
	w.nat.WriteFile("/run/nat.nft", `table ip nat {
	chain postrouting {
		type nat hook postrouting priority srcnat
		oifname "out0" masquerade
	}
}
table inet firewall {
	chain forward {
		type filter hook forward priority filter
		iifname "out0" meta l4proto udp ct state != { established, related } drop
	}
}
`, 0o600)
	w.nat.Run("nft", "-f", "/run/nat.nft")
	w.startOurHub("none")
	return w
}

// The hub's addresses: the kernel sends from the first of each pair, unless told otherwise.
const (
	hubFirst4, hubSecond4 = "192.0.2.2", "192.0.2.3"
	hubFirst6, hubSecond6 = "2001:db8:0:2::2", "2001:db8:0:2::3"
)

// newHubWires is the world without a NAT and a firewall, and without programs.
func newHubWires(t *testing.T) *hubWorld {
	needTUN(t)
	l := netlab.New(t)
	w := &hubWorld{world: &world{T: t, box: l.Node("box"), hub: l.Node("hub")}, nat: l.Node("nat")}
	l.Wire(w.box, "eth0", w.nat, "in0")
	l.Wire(w.nat, "out0", w.hub, "eth0")
	w.box.Addr("eth0", "10.0.0.2/24")
	w.nat.Addr("in0", "10.0.0.1/24")
	w.nat.Addr("out0", "192.0.2.1/24")
	w.hub.Addr("eth0", hubFirst4+"/24")
	w.box.Run("ip", "route", "add", "default", "via", "10.0.0.1")
	w.nat.Sysctl("net.ipv4.ip_forward", "1")
	w.box.Addr("eth0", "2001:db8:0:1::2/64")
	w.nat.Addr("in0", "2001:db8:0:1::1/64")
	w.nat.Addr("out0", "2001:db8:0:2::1/64")
	w.hub.Addr("eth0", hubSecond4+"/24")
	w.hub.Run("ip", "addr", "add", hubSecond6+"/64", "dev", "eth0", "nodad", "preferred_lft", "0") // not chosen by itself
	w.hub.Addr("eth0", hubFirst6+"/64")
	w.box.Run("ip", "-6", "route", "add", "default", "via", "2001:db8:0:1::1")
	w.hub.Run("ip", "-6", "route", "add", "2001:db8:0:1::/64", "via", "2001:db8:0:2::1")
	w.hub.Run("ip", "route", "add", "10.0.0.0/24", "via", "192.0.2.1")
	w.nat.Sysctl("net.ipv6.conf.all.forwarding", "1")
	w.hubFIFO = w.fifoAt(w.hub.Path("hub-commands"))
	return w
}

// startOurHub starts a hub that knows the box's endpoint, or none.
func (w *hubWorld) startOurHub(endpoint string) {
	w.Helper()
	w.hubProc = w.hub.Start("env", envHub+"="+endpoint, envFIFO+"="+w.hubFIFO.Name(), exe(w.T))
	if !w.hubProc.WaitOutput(soon, "open\n") {
		w.Fatalf("no hub:\n%s", w.hubProc.Output())
	}
	w.hub.Run("ip", "link", "set", "hub0", "up")
	w.hub.Run("ip", "addr", "add", hubLL.String()+"/64", "dev", "hub0", "nodad")
}

func (w *hubWorld) tell(cmd, answer string) {
	w.Helper()
	if _, err := fmt.Fprintln(w.hubFIFO, cmd); err != nil {
		w.Fatal(err)
	}
	if !w.hubProc.WaitOutput(soon, answer) {
		w.Fatalf("no %q from the hub within %v:\n%s", answer, soon, w.hubProc.Output())
	}
}

func number(s string) int {
	n, _ := strconv.Atoi(s) // the kernel writes numbers
	return n
}

// Over the kernel: control packets of a site come with its key and are answered, and none of its packets reaches the
// hub's kernel with an address that is another's.
func TestHubOverTheKernel(t *testing.T) {
	w := newHubWorld(t)
	w.startBox(hubFirst4 + ":51820")
	w.wants("handshake after ")
	out := w.hub.Run("wg", "show", "hub0")
	for _, want := range []string{"peer: " + testBox.Public().String(), "peer: " + testKey(2).Public().String(), boxLease.String(), "endpoint: 192.0.2.1:", "listening port: 51820"} {
		if !strings.Contains(out, want) {
			t.Errorf("wg show lacks %q:\n%s", want, out)
		}
	}
	w.do("solicit one")
	if !w.hubProc.WaitOutput(soon, "received udp 546 547 one") {
		t.Fatalf("the hub does not get the packet:\n%s", w.hubProc.Output())
	}
	w.tell("answer", "")
	w.wants("received udp 547 546 answer")

	other, far := testLease(2).Addr().Next(), "2001:db8:ffff::1"
	for _, a := range []string{boxLease.Addr().Next().String() + "/128", other.String() + "/128", testKey(2).Public().LinkLocal().String() + "/64"} {
		w.box.Run("ip", "addr", "add", a, "dev", "oasis0", "nodad")
	}
	w.box.Run("ip", "-6", "route", "replace", "default", "dev", "oasis0")
	ping := func(from, to string) { _, _ = w.box.Try("ping", "-c", "1", "-W", "1", "-I", from, to) }
	before, _ := packetsOf(t, w.hub, "hub0")
	_, left := packetsOf(t, w.box, "oasis0")
	ping(other.String(), far)
	ping(testKey(2).Public().LinkLocal().String()+"%oasis0", hubLL.String()+"%oasis0")
	if _, now := packetsOf(t, w.box, "oasis0"); number(now) < number(left)+2 {
		t.Errorf("the box's kernel gave %d packets to the tunnel, want two forged ones", number(now)-number(left))
	}
	if after, _ := packetsOf(t, w.hub, "hub0"); after != before {
		t.Errorf("the hub's kernel saw forged packets: %s before, %s after", before, after)
	}
	ping(boxLease.Addr().Next().String(), far)
	if !netlab.Poll(soon, func() bool { now, _ := packetsOf(t, w.hub, "hub0"); return now != before }) {
		t.Error("the hub's kernel sees nothing from the lease")
	}
	if strings.Contains(w.hubProc.Output(), "error: ") {
		t.Errorf("the hub says:\n%s", w.hubProc.Output())
	}
	w.tell("close", "closed")
	if code := w.hubProc.WaitTimeout(soon); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := w.hub.Try("ip", "link", "show", "hub0"); err == nil {
		t.Error("the interface is still there")
	}
}

// The hub is killed and starts again: it begins with the box where it was, through the box's NAT, and the box is back
// long before it would itself have noticed.
func TestHubFindsABoxBehindNAT(t *testing.T) {
	w := newHubWorld(t)
	w.startBox(hubFirst4 + ":51820")
	w.wants("handshake after ")
	w.answered("before the restart")
	_, endpoint, _ := strings.Cut(strings.TrimSpace(w.hub.Run("sh", "-c", "wg show hub0 endpoints | grep "+testBox.Public().String())), "\t")
	if !strings.HasPrefix(endpoint, "192.0.2.1:") {
		t.Fatalf("endpoint %q, want the NAT's", endpoint)
	}
	handshakes := w.count("handshake ")
	w.hubProc.Kill()
	w.startOurHub(endpoint)
	w.tell("initiate", "initiate true")
	if !netlab.Poll(soon, func() bool { return w.count("handshake ") > handshakes }) {
		t.Fatal("the box does not answer the hub's initiation")
	}
	if s := w.state(); s.inits == 0 {
		t.Errorf("the handshake was the box's own: %s", s.line)
	}
	w.answered("after the restart")
}

// A NAT, and a firewall that knows flows, let an answer in that comes from the address which was asked, and no other.
func TestHubAnswersFromTheAddressAsked(t *testing.T) {
	for _, addr := range []string{hubFirst4, hubSecond4, hubFirst6, hubSecond6} {
		t.Run(addr, func(t *testing.T) {
			w := newHubWorld(t)
			w.startBox(netip.AddrPortFrom(netip.MustParseAddr(addr), 51820).String())
			w.wants("handshake after ")
			w.answered("from " + addr)
		})
	}
}

// Once that address is gone, the kernel chooses another.
func TestHubAnswersAfterItsAddressIsGone(t *testing.T) {
	for _, addr := range []string{hubSecond4 + "/24", hubSecond6 + "/64"} {
		t.Run(addr, func(t *testing.T) {
			w := newHubWires(t)
			w.startOurHub("none")
			w.startBox(netip.AddrPortFrom(netip.MustParsePrefix(addr).Addr(), 51820).String())
			w.wants("handshake after ")
			w.answered("before")
			w.hub.Run("ip", "addr", "del", addr, "dev", "eth0")
			w.tell("answer", "")
			w.wants("received udp 547 546 answer")
		})
	}
}
