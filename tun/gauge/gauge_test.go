// SPDX-License-Identifier: MIT

package gauge

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"

	"oasis6/internal/ip6pkt"
	"oasis6/internal/wgkey"
	"oasis6/tun"
)

// loopback is where the hub is, unless a test says otherwise.
var loopback = netip.MustParseAddr("127.0.0.1")

// sizes is a conn.Bind that notes how long the transport messages are that come in.
type sizes struct {
	conn.Bind
	mu   sync.Mutex
	data []int
}

func (s *sizes) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	fns, port, err := s.Bind.Open(port)
	for i, fn := range fns {
		fns[i] = func(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
			n, err := fn(packets, sizes, eps)
			s.mu.Lock()
			for j := range n {
				if packets[j][0] == 4 {
					s.data = append(s.data, sizes[j])
				}
			}
			s.mu.Unlock()
			return n, err
		}
	}
	return fns, port, err
}

func (s *sizes) last() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.data) == 0 {
		return 0
	}
	return s.data[len(s.data)-1]
}

// hub is another WireGuard, on loopback.
type hub struct {
	*tun.Memory
	key   wgkey.Private
	seen  *sizes
	at    netip.AddrPort
	close func()
}

func startHub(t *testing.T, site wgkey.Public, psk string) *hub {
	t.Helper()
	h := &hub{Memory: tun.NewMemory("hub", 1420), key: wgkey.GeneratePrivate(), seen: &sizes{Bind: conn.NewStdNetBind()}}
	dev := device.NewDevice(h.Memory, h.seen, &device.Logger{Verbosef: device.DiscardLogf, Errorf: t.Logf})
	t.Cleanup(dev.Close)
	h.close = dev.Close
	text := "private_key=" + h.key.RevealHex() + "\nlisten_port=0\npublic_key=" + site.Hex() + "\n" + psk + "allowed_ip=::/0\n"
	if err := dev.IpcSet(text); err != nil {
		t.Fatal(err)
	}
	if err := dev.Up(); err != nil {
		t.Fatal(err)
	}
	state, err := dev.IpcGet()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(state) {
		if port, ok := strings.CutPrefix(line, "listen_port="); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(port), 10, 16)
			if err != nil {
				t.Fatal(err)
			}
			h.at = netip.AddrPortFrom(loopback, uint16(n))
		}
	}
	return h
}

func open(t *testing.T, cfg Config) *End {
	t.Helper()
	e, err := Open(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func config(key wgkey.Private, h *hub) Config {
	return Config{
		Private: key, Peer: h.key.Public(), Endpoint: h.at, MTU: 1420,
		AllowedIPs: []netip.Prefix{netip.MustParsePrefix("::/0")},
	}
}

func receive[T any](t *testing.T, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(10 * time.Second):
		t.Fatalf("no %s within 10s", what)
	}
	return v
}

// bothFamilies runs a test against the hub at either loopback address.
func bothFamilies(t *testing.T, f func(t *testing.T, at netip.Addr)) {
	t.Helper()
	for _, at := range []netip.Addr{loopback, netip.IPv6Loopback()} {
		t.Run(at.String(), func(t *testing.T) { f(t, at) })
	}
}

func TestHandshake(t *testing.T) { bothFamilies(t, handshake) }

func handshake(t *testing.T, at netip.Addr) {
	key := wgkey.GeneratePrivate()
	h := startHub(t, key.Public(), "")
	h.at = netip.AddrPortFrom(at, h.at.Port())
	e := open(t, config(key, h))
	e.Initiate()
	if rtt := receive(t, e.Handshakes(), "handshake"); rtt <= 0 || rtt > 5*time.Second {
		t.Errorf("handshake of %v", rtt)
	}
	if s := e.Signs(); s.Initiations != 1 || s.Responses != 1 || s.Cookies != 0 || len(s.Faults) != 0 || s.SendError != nil {
		t.Errorf("signs %+v, want one initiation and one response", s)
	}
	pkt := ip6pkt.EchoRequest(netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), 64, 1, 1)
	if err := e.Send(bytes.Clone(pkt)); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, h.Packets(), "packet at the hub"); !bytes.Equal(got, pkt) {
		t.Errorf("the hub got %x, want %x", got, pkt)
	}
	if err := h.Send(bytes.Clone(pkt)); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, e.Packets(), "packet from the hub"); !bytes.Equal(got, pkt) {
		t.Errorf("the end got %x, want %x", got, pkt)
	}
	e.Initiate() // within REKEY_TIMEOUT
	if s := e.Signs(); s.Initiations != 1 {
		t.Errorf("%d initiations, want WireGuard to hold the second back", s.Initiations)
	}
}

// The preshared key goes into the response: one that does not fit shows by a response that is not believed.
func TestResponseThatIsNotBelieved(t *testing.T) {
	key := wgkey.GeneratePrivate()
	h := startHub(t, key.Public(), "preshared_key="+strings.Repeat("07", 32)+"\n")
	e := open(t, config(key, h))
	e.Initiate()
	for end := time.Now().Add(5 * time.Second); e.Signs().Responses == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	select {
	case <-e.Handshakes():
		t.Error("a handshake without the preshared key")
	case <-time.After(50 * time.Millisecond):
	}
	if s := e.Signs(); s.Responses == 0 {
		t.Errorf("signs %+v, want a response", s)
	}
}

func TestNobodyListens(t *testing.T) { bothFamilies(t, nobodyListens) }

func nobodyListens(t *testing.T, at netip.Addr) {
	key := wgkey.GeneratePrivate()
	h := startHub(t, key.Public(), "")
	h.at = netip.AddrPortFrom(at, h.at.Port())
	h.close()
	e := open(t, config(key, h))
	e.Initiate()
	for end := time.Now().Add(5 * time.Second); len(e.Signs().Faults) == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	want := Fault{From: at, What: "port unreachable", Refused: true}
	if s := e.Signs(); len(s.Faults) != 1 || s.Faults[0] != want {
		t.Errorf("faults %v, want %v", s.Faults, want)
	}
}

// "The padding must not exceed the MTU": a packet of the MTU is the longest datagram.
func TestPaddingStaysWithinTheMTU(t *testing.T) {
	key := wgkey.GeneratePrivate()
	h := startHub(t, key.Public(), "")
	e := open(t, config(key, h))
	for _, c := range []struct{ mtu, packet, datagram int }{
		{1420, 1403, 1408 + 32}, {1420, 1411, 1420 + 32}, {1411, 1411, 1411 + 32}, {1420, 1411, 1420 + 32}, {1432, 1432, 1432 + 32},
	} {
		e.SetMTU(c.mtu)
		a := netip.MustParseAddr("2001:db8::1")
		if err := e.Send(ip6pkt.UDP(a, a, 1, 1, 64, make([]byte, c.packet-ip6pkt.HeaderLen-ip6pkt.UDPHeaderLen))); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, h.Packets(), "packet at the hub"); len(got) != c.packet {
			t.Errorf("%d octets arrive, want %d", len(got), c.packet)
		}
		if got := h.seen.last(); got != c.datagram {
			t.Errorf("mtu %d: a packet of %d octets is a datagram of %d, want %d", c.mtu, c.packet, got, c.datagram)
		}
	}
}

func TestSetMTUAfterClose(t *testing.T) {
	key := wgkey.GeneratePrivate()
	e := open(t, config(key, startHub(t, key.Public(), "")))
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e.SetMTU(1300) // must return
	if err := e.Fragment(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Fragment after Close: %v", err)
	}
}

func TestPathOnLoopback(t *testing.T) { bothFamilies(t, pathOnLoopback) }

func pathOnLoopback(t *testing.T, at netip.Addr) {
	ctx := t.Context()
	r := Path{}.Reach(ctx, netip.AddrPortFrom(at, 9))
	if r.ClosedPort == nil || !r.ClosedPort.Refused || r.ClosedPort.From != at {
		t.Errorf("closed port: %v, want port unreachable from %s", r.ClosedPort, at)
	}
	if !r.TCP {
		t.Error("a refused connection is an answer")
	}
	if r.EchoError == nil && r.Echo <= 0 || r.EchoError != nil && !errors.Is(r.EchoError, ErrNoEcho) {
		t.Errorf("echo %v, %v, want a time, or ErrNoEcho", r.Echo, r.EchoError)
	}
	mtu, err := Path{}.MTU(netip.AddrPortFrom(at, 9))
	if err != nil || mtu < 1280 {
		t.Errorf("mtu %d, %v", mtu, err)
	}
}
