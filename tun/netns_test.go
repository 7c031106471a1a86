// SPDX-License-Identifier: MIT

package tun

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"oasis6/internal/netlab"
)

// world is a box with our tunnel and a hub with the upstream wireguard-go, on one wire.
type world struct {
	*testing.T
	box, hub *netlab.Node
	proc     *netlab.Proc
	fifo     *os.File
}

const soon = 10 * time.Second

func newWorld(t *testing.T) *world { return newWorldTo(t, "192.0.2.2:51820") }

// needTUN skips, or fails where namespaces are required, without the TUN device.
func needTUN(t *testing.T) {
	t.Helper()
	netlab.Need(t, "wg", "ip")
	if f, err := os.OpenFile(cloneDevice, os.O_RDWR, 0); err != nil {
		reason := fmt.Sprintf("needs %s: %v (run as root or make it accessible)", cloneDevice, err)
		if os.Getenv("OASIS6_REQUIRE_NETNS") == "1" {
			t.Fatal(reason)
		}
		t.Skip(reason)
	} else {
		_ = f.Close()
	}
}

func newWorldTo(t *testing.T, endpoint string) *world {
	needTUN(t)
	l := netlab.New(t)
	w := &world{T: t, box: l.Node("box"), hub: l.Node("hub")}
	l.Wire(w.box, "eth0", w.hub, "eth0")
	w.box.Addr("eth0", "192.0.2.1/24")
	w.hub.Addr("eth0", "192.0.2.2/24")
	w.startHub()
	w.startBox(endpoint)
	return w
}

// fifoAt makes a FIFO for commands to a helper.
func (w *world) fifoAt(path string) *os.File {
	w.Helper()
	if err := unix.Mkfifo(path, 0o600); err != nil {
		w.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = f.Close() })
	return f
}

// startBox starts the box's tunnel to endpoint.
func (w *world) startBox(endpoint string) {
	w.Helper()
	w.fifo = w.fifoAt(w.box.Path("commands"))
	w.proc = w.box.Start("env", envFIFO+"="+w.fifo.Name(), envPeer+"="+testHub.Public().String(), envTo+"="+endpoint, exe(w.T))
	w.wants("open mtu 1420")
	w.box.Run("ip", "link", "set", "oasis0", "up")
	w.box.Run("ip", "addr", "add", testBox.Public().LinkLocal().String()+"/64", "dev", "oasis0", "nodad")
}

func exe(t *testing.T) string {
	t.Helper()
	p, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (w *world) startHub() {
	w.hub.Start(netlab.Build(w.T, netlab.WireGuardPackage), "-f", "wg0")
	// Not by asking wg: it removes a socket that refuses it, as one does between its bind and its listen, and
	// wireguard-go then gives up.
	const accepts = " 00010000 " // __SO_ACCEPTCON
	w.hub.WaitFor(soon, "no wg0", func() bool {
		for line := range strings.Lines(w.hub.Run("cat", "/proc/net/unix")) {
			if strings.Contains(line, accepts) && strings.HasSuffix(line, "/wireguard/wg0.sock\n") {
				return true
			}
		}
		return false
	})
	w.hub.WriteFile("/run/key", testHub.Reveal()+"\n", 0o600)
	box := testBox.Public()
	w.hub.Run("wg", "set", "wg0", "private-key", "/run/key", "listen-port", "51820",
		"peer", box.String(), "allowed-ips", box.LinkLocal().String()+"/128,2001:db8:ebbd:9900::/56")
	w.hub.Run("ip", "link", "set", "wg0", "up")
	w.hub.Run("ip", "addr", "add", hubLL.String()+"/64", "dev", "wg0", "nodad")
}

func (w *world) do(cmd string) {
	w.Helper()
	if _, err := fmt.Fprintln(w.fifo, cmd); err != nil {
		w.Fatal(err)
	}
}

func (w *world) wants(text string) {
	w.Helper()
	if !w.proc.WaitOutput(soon, text) {
		w.Fatalf("no %q within %v from the tunnel", text, soon)
	}
}

// count is how often a line with this beginning was printed.
func (w *world) count(beginning string) int {
	return strings.Count("\n"+w.proc.Output(), "\n"+beginning)
}

type state struct {
	life, sent, silenced, inits uint64
	line                        string
}

// state asks the helper and waits for the answer.
func (w *world) state() state {
	w.Helper()
	mark := strconv.Itoa(w.count("state "))
	w.do("state " + mark)
	w.wants("state " + mark + " life")
	_, rest, _ := strings.Cut(w.proc.Output(), "state "+mark+" ")
	w.waitLine(&rest, mark)
	var s state
	s.line, _, _ = strings.Cut(rest, "\n")
	if _, err := fmt.Sscanf(s.line, "life %d sent %d silenced %d", &s.life, &s.sent, &s.silenced); err != nil {
		w.Fatalf("%q: %v", s.line, err)
	}
	_, inits, _ := strings.Cut(s.line, "inits ")
	inits, _, _ = strings.Cut(inits, " ")
	s.inits, _ = strconv.ParseUint(inits, 10, 64)
	return s
}

func (w *world) waitLine(rest *string, mark string) {
	netlab.Poll(soon, func() bool {
		_, *rest, _ = strings.Cut(w.proc.Output(), "state "+mark+" ")
		return strings.Contains(*rest, "\n")
	})
}

// answered probes until the peer's life shows.
func (w *world) answered(why string) {
	w.Helper()
	before := w.state().life
	if !netlab.Poll(soon, func() bool {
		w.do("probe") // one alone may come before the peer's kernel has the address
		return netlab.Poll(soon/10, func() bool { return w.state().life > before })
	}) {
		w.Fatalf("%s: no answer to a probe: %s", why, w.state().line)
	}
}

func (w *world) rxPackets() string {
	w.Helper()
	rx, _ := packetsOf(w.T, w.box, "oasis0")
	return rx
}

// packetsOf is how many packets a node's kernel got through an interface and gave to it.
func packetsOf(t *testing.T, n *netlab.Node, iface string) (rx, tx string) {
	t.Helper()
	for line := range strings.Lines(n.Run("cat", "/proc/net/dev")) {
		if f := strings.Fields(line); len(f) > 10 && f[0] == iface+":" {
			return f[2], f[10]
		}
	}
	t.Fatalf("no %s in /proc/net/dev", iface)
	return "", ""
}

func (w *world) sessions() string {
	w.Helper()
	return w.hub.Run("wg", "show", "wg0", "latest-handshakes")
}

// dhcp6 is a UDP socket of the hub on port 547, and the box's address as seen from there.
func (w *world) dhcp6() (net.PacketConn, *net.UDPAddr) {
	w.Helper()
	var c net.PacketConn
	to := &net.UDPAddr{IP: net.IP(testBox.Public().LinkLocal().AsSlice()), Port: 546}
	err := w.hub.Do(func() (err error) {
		i, err := net.InterfaceByName("wg0")
		if err != nil {
			return err
		}
		to.Zone = strconv.Itoa(i.Index)
		c, err = net.ListenPacket("udp6", "[::]:547")
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = c.Close() })
	return c, to
}

func TestTunnelAgainstUpstreamWireGuard(t *testing.T) {
	w := newWorld(t)
	w.wants("handshake after ")
	m := regexp.MustCompile(`handshake after (\d+)ms told (\d+)ms late`).FindStringSubmatch(w.proc.Output())
	if after, _ := strconv.Atoi(m[1]); after > 3000 {
		t.Errorf("first handshake after %d ms, want at once", after)
	}
	if late, _ := strconv.Atoi(m[2]); late > 100 {
		t.Errorf("handshake told %d ms late, want 100 at most", late)
	}
	w.wants("endpoint 192.0.2.2:51820")

	t.Run("wg show", func(t *testing.T) {
		out := w.box.Run("wg", "show", "oasis0")
		for _, want := range []string{
			"interface: oasis0\n", "public key: " + testBox.Public().String(), "private key: (hidden)", "listening port: ",
			"peer: " + testHub.Public().String(), "endpoint: 192.0.2.2:51820", "allowed ips: ::/0\n",
			"latest handshake: ", "transfer: ", "persistent keepalive: every 25 seconds",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("wg show lacks %q:\n%s", want, out)
			}
		}
	})
	t.Run("control packets", func(t *testing.T) { testControlPackets(t, w) })
	t.Run("session survives", func(t *testing.T) { testSessionSurvives(t, w) })
	t.Run("errors", func(t *testing.T) {
		w.do("second")
		w.wants("error: interface oasis0 exists: ")
		w.do("rename")
		w.wants("needs a restart")
	})
	t.Run("close", func(t *testing.T) {
		w.do("close")
		w.wants("closed")
		if code := w.proc.WaitTimeout(soon); code != 0 {
			t.Errorf("exit code %d", code)
		}
		if _, err := w.box.Try("ip", "link", "show", "oasis0"); err == nil {
			t.Error("the interface is still there")
		}
		if _, err := w.box.Try("test", "-e", "/var/run/wireguard/oasis0.sock"); err == nil {
			t.Error("the socket is still there")
		}
	})
}

func testControlPackets(t *testing.T, w *world) {
	conn, box := w.dhcp6()
	w.do("solicit one")
	buf := make([]byte, 1500)
	if err := conn.SetReadDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	n, from, err := conn.ReadFrom(buf)
	if err != nil || !bytes.Equal(buf[:n], []byte("one")) || from.(*net.UDPAddr).Port != 546 {
		t.Fatalf("the hub reads %q from %v, %v, want the injected packet", buf[:n], from, err)
	}
	// The reply is taken out: our kernel's interface does not count it. The one to another port is counted.
	before := w.rxPackets()
	if _, err := conn.WriteTo([]byte("reply"), box); err != nil {
		t.Fatal(err)
	}
	w.wants("received udp 547 546 reply")
	if after := w.rxPackets(); after != before {
		t.Errorf("the kernel saw the reply: %s packets before, %s after", before, after)
	}
	box.Port = 1000
	if _, err := conn.WriteTo([]byte("other"), box); err != nil {
		t.Fatal(err)
	}
	if !netlab.Poll(soon, func() bool { return w.rxPackets() != before }) {
		t.Error("the kernel does not see a packet to another port")
	}
	// What the kernel says by itself stays here: as a router it joins ff02::2 and reports that by MLD.
	w.box.Sysctl("net.ipv6.conf.oasis0.forwarding", "1")
	if !netlab.Poll(soon, func() bool { return w.state().silenced > 0 }) {
		t.Error("nothing of the kernel's own RS and MLD was silenced")
	}
	w.do("watch")
	w.do("probe")
	w.wants("activity")
}

func testSessionSurvives(t *testing.T, w *world) {
	session := w.sessions()
	w.do("reload")
	w.box.WaitFor(soon, "no new allowed-ips", func() bool {
		out := w.box.Run("wg", "show", "oasis0")
		return strings.Contains(out, "allowed ips: ::/1, 8000::/1\n") && strings.Contains(out, "every 20 seconds")
	})
	w.answered("after a reload")

	w.box.Run("ip", "link", "set", "oasis0", "down")
	w.box.Run("ip", "link", "set", "oasis0", "up")
	w.box.Run("ip", "addr", "replace", testBox.Public().LinkLocal().String()+"/64", "dev", "oasis0", "nodad")
	w.answered("after the link was down")

	// Another address on the WAN: a pinned source would now be refused by the kernel, or sent in vain.
	w.box.Run("ip", "addr", "add", "192.0.2.9/24", "dev", "eth0")
	w.box.Run("ip", "addr", "del", "192.0.2.1/24", "dev", "eth0")
	w.box.Run("ip", "addr", "replace", "192.0.2.9/24", "dev", "eth0")
	w.answered("after the WAN's address changed")
	if out := w.hub.Run("wg", "show", "wg0", "endpoints"); !strings.Contains(out, "192.0.2.9:") {
		t.Errorf("the hub sees the box at %s, want 192.0.2.9", out)
	}

	w.do("rebind")
	w.wants("outer sockets reopened")
	w.answered("after the sockets were reopened")

	w.hub.Run("ip", "link", "set", "eth0", "mtu", "1400")
	w.box.Run("ip", "link", "set", "eth0", "mtu", "1400")
	w.do("resolve") // measures too
	w.wants("mtu 1320")
	if now := w.sessions(); now != session {
		t.Errorf("another handshake: %s, had %s", now, session)
	}
	// A fresh one when asked, although there is a session; wireguard-go forbids it for 5 s after the last.
	handshakes := w.count("handshake ")
	if !netlab.Poll(soon, func() bool {
		w.do("initiate")
		time.Sleep(200 * time.Millisecond)
		return w.count("handshake ") > handshakes
	}) {
		t.Error("Initiate makes no handshake beside a session")
	}
}

// The peer restarts and begins: its initiation alone is no life, the handshake it completes is.
func TestTunnelAnswersThePeersInitiation(t *testing.T) {
	w := newWorld(t)
	w.wants("handshake after ")
	handshakes := w.count("handshake ")
	port := strings.TrimSpace(w.box.Run("wg", "show", "oasis0", "listen-port"))
	box := testBox.Public().String()
	allowed := testBox.Public().LinkLocal().String() + "/128"
	w.hub.Run("wg", "set", "wg0", "peer", box, "remove")
	w.hub.Run("wg", "set", "wg0", "peer", box, "allowed-ips", allowed, "endpoint", "192.0.2.1:"+port)
	_, _ = w.hub.Try("ping", "-c", "1", "-W", "3", testBox.Public().LinkLocal().String()+"%wg0") // only to begin
	if !netlab.Poll(soon, func() bool { return w.count("handshake ") > handshakes }) {
		t.Error("a handshake of the peer's making is not told")
	}
	if s := w.state(); s.inits == 0 {
		t.Errorf("no authenticated initiation counted: %s", s.line)
	}
}

func TestTunnelFailsWhenTheInterfaceIsRemoved(t *testing.T) {
	w := newWorld(t)
	w.wants("handshake after ")
	w.box.Run("ip", "link", "del", "oasis0")
	w.wants("failed: interface oasis0: the device was closed")
	w.do("close")
	w.wants("closed")
}

// A name that resolves late costs its own time only: what the LAN sent before does not hold up the first initiation for
// WireGuard's 5 s, and the address without a route is left aside.
func TestTunnelWithALateName(t *testing.T) {
	w := newWorldTo(t, "hub.example.net:51820")
	w.do("solicit early")
	w.wants("endpoint name not resolved")
	if s := w.state(); !strings.Contains(s.line, "no such host") {
		t.Errorf("state does not show the lookup's error: %s", s.line)
	}
	w.wants("handshake after ")
	w.wants("endpoint 192.0.2.2:51820")
	m := regexp.MustCompile(`handshake after (\d+)ms`).FindStringSubmatch(w.proc.Output())
	if after, _ := strconv.Atoi(m[1]); after > 4000 {
		t.Errorf("first handshake after %d ms, want about one second", after)
	}
	if s := w.state(); !strings.Contains(s.line, `lookup ""`) {
		t.Errorf("the lookup's error stays: %s", s.line)
	}
}
