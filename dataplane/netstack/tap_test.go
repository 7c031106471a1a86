// SPDX-License-Identifier: MIT

package netstack

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"oasis6/dataplane"
	"oasis6/dataplane/kernel"
	"oasis6/dataplane/netstack/offload"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m) }

const soon = 10 * time.Second

// machine is a Plane on the bridges of this process's network namespace, of which there is one: no such test runs beside
// another.
type machine struct {
	*testing.T
	p   *Plane
	h1  *netlab.Node
	dir string

	mu    sync.Mutex
	links map[string]dataplane.Link
	ups   int
	drift []string
	out   [][]byte
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// newMachine makes a bridge with one host behind it.
func newMachine(t *testing.T) *machine {
	t.Helper()
	netlab.Need(t, "ip", "ping")
	netlab.NeedTun(t)
	m := &machine{T: t, h1: netlab.New(t).Node("h1"), dir: t.TempDir(), links: map[string]dataplane.Link{}}
	m.h1.Run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "lan1")
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	if err := m.h1.Do(func() error {
		l, err := netlink.LinkByName("lan1")
		if err != nil {
			return err
		}
		return netlink.LinkSetNsFd(l, int(here.Fd()))
	}); err != nil {
		t.Fatal(err)
	}
	m.h1.Run("ip", "link", "set", "eth0", "up")
	m.h1.Run("ip", "address", "add", host.String()+"/64", "dev", "eth0", "nodad")
	m.bridge()
	t.Cleanup(func() { // each is perhaps gone already
		_ = exec.Command("ip", "link", "delete", "br-lan").Run()
		_ = exec.Command("ip", "link", "delete", "lan1").Run()
	})
	return m
}

func (m *machine) bridge() {
	ip(m.T, "link", "add", "br-lan", "type", "bridge")
	ip(m.T, "link", "set", "lan1", "master", "br-lan", "up")
	ip(m.T, "link", "set", "br-lan", "up")
}

func (m *machine) open() {
	m.Helper()
	p, err := Open(Options{RunDir: m.dir, BootID: "boot", Tunnel: "oasis0", Identity: []byte("box")})
	if err != nil {
		m.Fatal(err)
	}
	m.p = p
	p.Tunnel().Output(func(pkt []byte) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.out = append(m.out, pkt)
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ev := range p.Events() {
			m.mu.Lock()
			switch ev := ev.(type) {
			case dataplane.LinkChanged:
				m.links[ev.Link.Name] = ev.Link
			case dataplane.PortUp:
				m.ups++
			case dataplane.Drift:
				m.drift = append(m.drift, ev.What)
			}
			m.mu.Unlock()
		}
	}()
	m.Cleanup(func() {
		if err := p.Close(); err != nil {
			m.Error(err)
		}
		<-done
	})
	if err := errors.Join(p.Watch([]string{"oasis0", "br-lan"}), p.Apply(m.Context(), desired())); err != nil {
		m.Fatal(err)
	}
}

// wait waits for a state of the LAN.
func (m *machine) wait(what string, ok func(l dataplane.Link) bool) {
	m.Helper()
	var l dataplane.Link
	if !netlab.Poll(soon, func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		l = m.links["br-lan"]
		return ok(l)
	}) {
		m.Fatalf("%s: %+v", what, l)
	}
}

func ready2(l dataplane.Link) bool { return l.Up && l.LinkLocal.IsValid() }

func bridgeMAC(t *testing.T) string {
	t.Helper()
	i, err := net.InterfaceByName("br-lan")
	if err != nil {
		t.Fatal(err)
	}
	return i.HardwareAddr.String()
}

func taps(t *testing.T) (out []net.Interface) {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if strings.HasPrefix(i.Name, "oasis6lan") {
			out = append(out, i)
		}
	}
	return out
}

func TestTapIsAStationOnTheBridge(t *testing.T) {
	m := newMachine(t)
	mac := bridgeMAC(t)
	if err := writeConf("br-lan", "accept_ra", "2"); err != nil {
		t.Fatal(err)
	}
	m.open()
	m.wait("no link-local address", ready2)
	if got := bridgeMAC(t); got != mac {
		t.Errorf("the bridge's MAC is %s now, was %s", got, mac)
	}
	tap := taps(t)
	if len(tap) != 1 || tap[0].MTU != 1500 || tap[0].HardwareAddr[0] != 0xfe {
		t.Fatalf("taps %+v", tap)
	}
	for conf, want := range map[[2]string]string{{tap[0].Name, "disable_ipv6"}: "1", {"br-lan", "accept_ra"}: "0"} {
		if got, err := readConf(conf[0], conf[1]); err != nil || got != want {
			t.Errorf("%s of %s is %q, %v, want %s", conf[1], conf[0], got, err, want)
		}
	}
	m.h1.Run("ip", "-6", "route", "add", "default", "via", m.links["br-lan"].LinkLocal.String(), "dev", "eth0")
	for _, a := range []netip.Addr{box, subnet} {
		var err error
		if !netlab.Poll(soon, func() bool { err = m.h1.Ping(a.String()); return err == nil }) { // it may still be checked
			t.Errorf("the box does not answer at %s: %v", a, err)
		}
	}
	nobodyAnswers := m.h1.Ping(far.String())
	m.mu.Lock()
	n := len(m.out)
	m.mu.Unlock()
	if n == 0 {
		t.Errorf("nothing came to the tunnel: %v, %+v", nobodyAnswers, m.p.fwd.Stats())
	}
	if err := m.p.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := taps(t); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
	if got, _ := readConf("br-lan", "accept_ra"); got != "2" {
		t.Errorf("accept_ra is %s afterwards, was 2", got)
	}
}

// accept_ra is changed while the LAN is served: the kernel of the machine must not take our own Router Advertisements.
func TestTheMachineTakesNoneOfItsOwnAdvertisements(t *testing.T) {
	m := newMachine(t)
	m.open()
	m.wait("no link-local address", ready2)
	c, err := m.p.OpenND("br-lan")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	prefix := netip.MustParseAddr("2001:db8:77::").As16()
	ra := slices.Concat([]byte{typeRA, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0}, // router lifetime 1800 s
		[]byte{3, 4, 64, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10, 0, 0, 0, 0}, prefix[:])
	for _, accept := range []string{"1", "2"} {
		for conf, value := range map[string]string{"forwarding": "0", "accept_ra": accept} {
			if err := writeConf("br-lan", conf, value); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Send(netip.IPv6LinkLocalAllNodes(), ra); err != nil {
			t.Fatal(err)
		}
		has := func(node func(args ...string) string) bool {
			return strings.Contains(node("-6", "address"), "2001:db8:77:")
		}
		if !netlab.Poll(soon, func() bool { return has(func(a ...string) string { return m.h1.Run(append([]string{"ip"}, a...)...) }) }) {
			t.Fatal("the host takes no advertisement")
		}
		here := func(a ...string) string {
			out, err := exec.Command("ip", a...).CombinedOutput()
			if err != nil {
				t.Fatal(err)
			}
			return string(out)
		}
		if has(here) { // the bridge has flooded it to the machine first
			t.Errorf("with accept_ra=%s the machine has taken it:\n%s", accept, here("-6", "address"))
		}
		if now, _ := readConf("br-lan", "accept_ra"); now != "0" {
			t.Errorf("accept_ra is %s", now)
		}
		m.h1.Run("ip", "-6", "address", "flush", "dev", "eth0", "scope", "global")
	}
	m.mu.Lock()
	drift := strings.Join(m.drift, "; ")
	m.mu.Unlock()
	if !strings.Contains(drift, "accept_ra of br-lan set to 2") {
		t.Errorf("drift %q", drift)
	}
	if err := m.p.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now, _ := readConf("br-lan", "accept_ra"); now != "2" {
		t.Errorf("accept_ra is %s afterwards, want what was set last", now)
	}
}

// What the kernel says of the bridge is what the consumer hears.
func TestTapFollowsItsBridge(t *testing.T) {
	m := newMachine(t)
	m.open()
	m.wait("no link-local address", ready2)
	m.h1.Run("ip", "link", "set", "eth0", "down")
	m.wait("up without a port that has carrier", func(l dataplane.Link) bool { return !l.Up })
	m.h1.Run("ip", "link", "set", "eth0", "up")
	m.h1.Run("ip", "address", "add", host.String()+"/64", "dev", "eth0", "nodad") // the kernel forgets it
	m.wait("down", ready2)
	if !netlab.Poll(soon, func() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.ups > 0 }) {
		t.Error("that a port came up was not said")
	}
	ip(t, "link", "set", "br-lan", "mtu", "1400")
	m.wait("another MTU", func(l dataplane.Link) bool { return l.MTU == 1400 })
	ip(t, "link", "delete", "br-lan")
	m.wait("still there", func(l dataplane.Link) bool { return !l.Exists })
	m.bridge()
	m.wait("not there again", ready2)
	var err error
	if !netlab.Poll(soon, func() bool { err = m.h1.Ping(box.String()); return err == nil }) { // h1 may still look for the old port
		t.Errorf("the box does not answer: %v", err)
	}
}

// A bridge has the smallest MTU of its ports. When a small port has gone the tap must not keep it small.
func TestTapLetsTheBridgeGrowAgain(t *testing.T) {
	m := newMachine(t)
	m.open()
	m.wait("no link-local address", ready2)
	ip(t, "link", "add", "small", "mtu", "1400", "type", "veth", "peer", "name", "small2")
	ip(t, "link", "set", "small", "master", "br-lan", "up")
	m.wait("not as small as its port", func(l dataplane.Link) bool { return l.MTU == 1400 })
	ip(t, "link", "delete", "small")
	m.wait("small for ever", func(l dataplane.Link) bool { return l.MTU == 1500 })
}

// A port that the spanning tree does not let through yet is as good as none.
func TestTapWaitsForTheSpanningTree(t *testing.T) {
	m := newMachine(t)
	ip(t, "link", "set", "br-lan", "type", "bridge", "stp_state", "1", "forward_delay", "200")
	begin := time.Now()
	m.open()
	m.wait("no link-local address", ready2)
	if took := time.Since(begin); took < 4*time.Second {
		t.Errorf("ready after %v, before the port forwards", took)
	}
}

func TestCardWithoutABridgeIsRefused(t *testing.T) {
	m := newMachine(t)
	ip(t, "link", "set", "lan1", "nomaster")
	m.open()
	want := desired()
	want.LANs = []string{"lan1"}
	err := errors.Join(m.p.Watch([]string{"oasis0", "lan1"}), m.p.Apply(t.Context(), want))
	if err == nil || !strings.Contains(err.Error(), "lan1 is no bridge") {
		t.Errorf("Apply: %v", err)
	}
}

// One box for a network namespace, whatever its data plane.
func TestSecondPlaneIsRefused(t *testing.T) {
	m := newMachine(t)
	m.open()
	if _, err := Open(Options{}); !errors.Is(err, ErrInUse) {
		t.Errorf("a second one: %v, want ErrInUse", err)
	}
	if _, err := kernel.Open(kernel.Options{RunDir: t.TempDir()}); !errors.Is(err, kernel.ErrInUse) {
		t.Errorf("the kernel's: %v, want ErrInUse", err)
	}
}

// Who leaves for a successor changes nothing back, and the successor has the same station.
func TestSuccessorIsTheSameStation(t *testing.T) {
	m := newMachine(t)
	if err := writeConf("br-lan", "accept_ra", "2"); err != nil {
		t.Fatal(err)
	}
	m.open()
	m.wait("no link-local address", ready2)
	first := m.links["br-lan"].LinkLocal
	if m.p.TookOver() {
		t.Error("the first one took over")
	}
	if err := m.p.Close(); err != nil {
		t.Fatal(err)
	}
	m.links = map[string]dataplane.Link{}
	m.open()
	m.p.mu.Lock()
	l := m.p.describe("br-lan")
	m.p.mu.Unlock()
	if !ready2(l) {
		t.Errorf("the successor begins without a link-local address: %+v", l)
	}
	m.wait("no link-local address", ready2)
	if !m.p.TookOver() || m.links["br-lan"].LinkLocal != first {
		t.Errorf("took over %v with link-local %v, want true and %v", m.p.TookOver(), m.links["br-lan"].LinkLocal, first)
	}
	if err := m.p.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, _ := readConf("br-lan", "accept_ra"); got != "2" {
		t.Errorf("accept_ra is %s afterwards, was 2", got)
	}
	if _, err := os.Stat(m.dir + "/" + markFile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the mark is still there: %v", err)
	}
}

func TestVnetHeader(t *testing.T) {
	for _, size := range []uint16{0, 1200} {
		for _, field := range []uint16{6, 16} {
			var h [vnetHeader]byte
			want := offload.Info{Size: size, Partial: true, Start: ip6pkt.HeaderLen, Field: field}
			writeVnet(h[:], want)
			if got, ok := readVnet(h[:]); !ok || got != want {
				t.Errorf("%+v, %v, want %+v", got, ok, want)
			}
		}
	}
	for name, h := range map[string][vnetHeader]byte{
		"IPv4":               {0, 1, 0, 0, 1, 1},
		"super without size": {1, vnetTCPv6},
		"unknown":            {0, 9, 0, 0, 1, 1},
		"sum in the frame":   {vnetNeedsSum, 0, 0, 0, 0, 0, 2, 0, 2, 0},
	} {
		if _, ok := readVnet(h[:]); ok {
			t.Errorf("%s is taken", name)
		}
	}
}

func FuzzArrived(f *testing.F) {
	f.Add([]byte{1, vnetTCPv6}, ip6pkt.UDP(host, far, 1, 2, 64, []byte("x")))
	f.Add([]byte{0, 0}, ip6pkt.EchoRequest(host, netip.MustParseAddr("2001:db8:1::1"), 64, 1, 1))
	f.Fuzz(func(t *testing.T, vnet, pkt []byte) {
		w := newWorld(t, Given{})
		w.apply(desired())
		w.pass(3 * time.Second)
		var h [vnetHeader]byte
		copy(h[:], vnet)
		off, ok := readVnet(h[:])
		if !ok {
			return
		}
		frame := append(append(append([]byte{}, boxMAC[:]...), hostMAC[:]...), 0x86, 0xdd)
		w.p.ports["br-lan"].arrived(append(frame, pkt...), off)
		w.p.Tunnel().Deliver(append([]byte{}, pkt...))
		w.pass(4 * time.Second)
	})
}
