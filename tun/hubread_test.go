// SPDX-License-Identifier: MIT

package tun

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/device"

	"oasis6/internal/ip6pkt"
	"oasis6/internal/netlab"
	"oasis6/internal/wgkey"
)

// parsePeers gives the parser a text in pieces of so many octets.
func parsePeers(text string, piece int) map[wgkey.Public]*devicePeer {
	peers := map[wgkey.Public]*devicePeer{}
	p := peerParser{each: func(key wgkey.Public, d *devicePeer) {
		c := *d
		c.allowed = slices.Clone(d.allowed)
		peers[key] = &c
	}}
	for some := range slices.Chunk([]byte(text), piece) {
		_, _ = p.Write(some) // never fails
	}
	p.finish()
	return peers
}

func TestParsePeers(t *testing.T) {
	for _, piece := range []int{1, 7, 64, 1 << 20} {
		t.Run(fmt.Sprint(piece), func(t *testing.T) { testParsePeers(t, piece) })
	}
}

func testParsePeers(t *testing.T, piece int) {
	t.Helper()
	a, b := testKey(1).Public(), testKey(2).Public()
	psk := wgkey.Preshared{7}
	peers := parsePeers("private_key=00\nlisten_port=51820\nfwmark=1\n"+
		"public_key="+a.Hex()+"\npreshared_key="+psk.RevealHex()+"\nprotocol_version=1\nendpoint=192.0.2.9:9\nlast_handshake_time_sec=5\n"+
		"last_handshake_time_nsec=6\ntx_bytes=7\nrx_bytes=8\npersistent_keepalive_interval=25\nallowed_ip=fe80::1/128\nallowed_ip=2001:db8::/64\n"+
		"public_key="+b.Hex()+"\npreshared_key="+wgkey.Preshared{}.RevealHex()+"\npersistent_keepalive_interval=0\n", piece)
	if len(peers) != 2 || peers[a] == nil || peers[b] == nil {
		t.Fatalf("peers %v", peers)
	}
	want := peerReading{endpoint: netip.MustParseAddrPort("192.0.2.9:9"), handshake: handshakeStamp{5, 6}, rx: 8, tx: 7}
	if d := peers[a]; d.peerReading != want || d.preshared != psk || d.keepalive != 25*time.Second || !slices.Equal(d.allowed, prefixes("fe80::1/128", "2001:db8::/64")) {
		t.Errorf("the first: %+v", d)
	}
	if d := peers[b]; d.peerReading != (peerReading{}) || !d.preshared.IsZero() || d.keepalive != 0 || len(d.allowed) != 0 {
		t.Errorf("the second: %+v", d)
	}
}

// The device writes the text; should it ever write another, nothing panics.
func FuzzParsePeers(f *testing.F) {
	f.Add("listen_port=1\npublic_key=" + testKey(1).Public().Hex() + "\nendpoint=192.0.2.9:9\nallowed_ip=::/0\nrx_bytes=1\n")
	f.Add("public_key") // found: a line without a value is a peer, too
	f.Add("public_key=xyz\nallowed_ip=::/999\npersistent_keepalive_interval=-1")
	f.Fuzz(func(t *testing.T, text string) {
		whole := parsePeers(text, len(text)+1)
		if n := len(whole); n > strings.Count(text, "public_key") {
			t.Errorf("%d peers out of %q", n, text)
		}
		if pieces := parsePeers(text, 3); !reflect.DeepEqual(whole, pieces) {
			t.Errorf("%q in pieces: %v, as a whole %v", text, pieces, whole)
		}
	})
}

// The wall clock's stamp tells when, between the last reading and this one, whatever it is set to.
func TestHandshakeTimeIsOfTheBootClock(t *testing.T) {
	boot, wall := time.Unix(5000, 0), time.Unix(1_800_000_000, 0)
	last := boot.Add(-10 * time.Second)
	for _, c := range []struct {
		name string
		ago  time.Duration // by the wall clock
		want time.Duration
	}{
		{"between", 3 * time.Second, 3 * time.Second},
		{"the clock was set back", -time.Hour, 0},
		{"the clock was set forward", time.Hour, 10 * time.Second},
	} {
		s := newSite(testKey(1).Public())
		at := wall.Add(-c.ago)
		s.take(peerReading{handshake: handshakeStamp{at.Unix(), int64(at.Nanosecond())}}, boot, last, wall)
		if r := s.reading(boot); r.HandshakeAge != c.want || r.HandshakeAt != boot.Add(-c.want) {
			t.Errorf("%s: age %v, want %v", c.name, r.HandshakeAge, c.want)
		}
		// The same stamp is the same handshake.
		s.take(peerReading{handshake: s.stamp}, boot.Add(time.Minute), boot, wall)
		if r := s.reading(boot.Add(time.Minute)); r.HandshakeAge != c.want+time.Minute {
			t.Errorf("%s: age %v a minute later", c.name, r.HandshakeAge)
		}
		s.take(peerReading{}, boot.Add(time.Minute), boot, wall)
		if r := s.reading(boot); r.HandshakeAge != -1 {
			t.Errorf("%s: age %v after the peer was made again", c.name, r.HandshakeAge)
		}
	}
}

func TestMovesAndReturns(t *testing.T) {
	s := newSite(testKey(1).Public())
	see := func(ep string) {
		d := peerReading{}
		if ep != "" {
			d.endpoint = netip.MustParseAddrPort(ep)
		}
		s.take(d, time.Time{}, time.Time{}, time.Time{})
	}
	const a, b, c = "192.0.2.1:1", "192.0.2.2:2", "[2001:db8::3]:3"
	for _, step := range []struct {
		ep             string
		moves, returns uint64
	}{{"", 0, 0}, {a, 0, 0}, {a, 0, 0}, {b, 1, 0}, {"", 1, 0}, {b, 1, 0}, {c, 2, 0}, {a, 3, 0}, {c, 4, 1}, {a, 5, 2}, {a, 5, 2}} {
		see(step.ep)
		if s.moves != step.moves || s.returns != step.returns {
			t.Errorf("at %q: %d moves, %d returns, want %d, %d", step.ep, s.moves, s.returns, step.moves, step.returns)
		}
	}
}

func TestTrafficOfAPeerThatWasMadeAgainAddsUp(t *testing.T) {
	s := newSite(testKey(1).Public())
	for _, d := range []peerReading{{rx: 5, tx: 7}, {rx: 6, tx: 9}, {rx: 1, tx: 2}, {rx: 3, tx: 2}} {
		s.take(d, time.Time{}, time.Time{}, time.Time{})
	}
	if r := s.reading(time.Time{}); r.RxBytes != 9 || r.TxBytes != 11 {
		t.Errorf("received %d, sent %d, want 9, 11", r.RxBytes, r.TxBytes)
	}
}

// handshake begins a new handshake at once, as a box that does not hear the hub any more.
func (s *testSite) handshake(t *testing.T) {
	t.Helper()
	p := s.dev.LookupPeer(device.NoisePublicKey(testHub.Public()))
	for range 20 { // WireGuard's clock has steps of 17 ms: an initiation in the same one as the last is refused
		p.ExpireCurrentKeypairs()
		_ = p.SendHandshakeInitiation(false)
		if s.shakes() {
			return
		}
	}
	t.Fatal("no handshake")
}

// shakes waits a moment for a handshake.
func (s *testSite) shakes() bool {
	return netlab.Poll(soon/20, func() bool {
		select {
		case ev := <-s.Events():
			_, ok := ev.(Handshake)
			return ok
		default:
			return false
		}
	})
}

// Two boxes with one key take the session from each other, and that shows. One that moves does not look so.
func TestHubSeesTwoBoxesWithOneKey(t *testing.T) {
	noLeaks(t)
	h, host := openHub(t)
	setSites(t, h, testSiteConfig(1), testSiteConfig(2))
	first, second, mover := openSite(t, h, 1), openSite(t, h, 1), openSite(t, h, 2)
	_ = readSite(t, h, 1)
	const turns = 3
	for range turns {
		for _, s := range []*testSite{first, second} {
			s.handshake(t)
			if !passes(t, s, host, s.addr()) {
				t.Fatal("nothing passes")
			}
			_ = readSite(t, h, 1)
		}
	}
	if r := readSite(t, h, 1); r.Initiations < 2+2*turns || r.Moves < 2*turns-1 || r.Returns < 2*turns-2 {
		t.Errorf("two boxes with one key: %+v", r)
	}
	for range turns {
		_ = mover.Close()
		mover = openSite(t, h, 2)
		_ = readSite(t, h, 2)
	}
	if r := readSite(t, h, 2); r.Returns != 0 || r.Moves == 0 || r.Drifted || r.HandshakeAge < 0 {
		t.Errorf("a box that moves: %+v", r)
	}
}

// A hub that starts again finds its sites where they were; before their endpoint is known it leaves them alone.
func TestHubBeginsHandshakes(t *testing.T) {
	noLeaks(t)
	h, _ := openHub(t)
	setSites(t, h, testSiteConfig(1))
	s := openSite(t, h, 1)
	at, port := readSite(t, h, 1).Endpoint, h.Snapshot().ListenPort
	if !at.IsValid() {
		t.Fatal("no endpoint")
	}
	_ = h.Close()

	again, _, err := OpenHubMemory(HubConfig{Name: "hub", PrivateKey: testHub, ListenPort: port}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Close() })
	one, two := testSiteConfig(1), testSiteConfig(2)
	one.Endpoint, one.Keepalive, two.Keepalive = at, 25*time.Second, 25*time.Second
	setSites(t, again, one, two)
	if r := readSite(t, again, 1); r.Endpoint != at || r.HandshakeAge != -1 || r.Moves != 0 {
		t.Errorf("reading %+v", r)
	}
	if n := again.obs.initiationsSent.Load(); n != 0 {
		t.Errorf("%d initiations before any was asked for", n)
	}
	if !again.Initiate(two.Public) || !again.Initiate(testKey(9).Public()) || !again.Initiate(one.Public) {
		t.Error("no room in the queue")
	}
	event[Handshake](t, s.Events())
	if n := again.obs.initiationsSent.Load(); n != 1 {
		t.Errorf("%d initiations, want one to the site with an endpoint", n)
	}
	if !netlab.Poll(soon, func() bool { return readSite(t, again, 1).HandshakeAge >= 0 }) {
		t.Error("the handshake does not show")
	}
	// One that is there already stays where it is.
	one.Endpoint = netip.MustParseAddrPort("192.0.2.9:9")
	setSites(t, again, one, two)
	if r := readSite(t, again, 1); r.Endpoint != at {
		t.Errorf("endpoint %s, want %s", r.Endpoint, at)
	}
}

func TestInitiateNeverWaits(t *testing.T) {
	noLeaks(t)
	h, _ := openHub(t)
	h.mu.Lock() // the loop waits for it
	for range hubInitiate {
		h.Initiate(testKey(1).Public())
	}
	full := netlab.Poll(soon, func() bool { return !h.Initiate(testKey(1).Public()) })
	h.mu.Unlock()
	if !full {
		t.Error("the queue is never full")
	}
}

// Port, mark and addresses change live, other things do not, and what is refused leaves all as it was.
func TestHubReconfigure(t *testing.T) {
	noLeaks(t)
	h, host := openHub(t)
	setSites(t, h, testSiteConfig(1))
	s := openSite(t, h, 1)
	cfg := HubConfig{Name: "hub", PrivateKey: testHub, ListenPort: h.Snapshot().ListenPort, Port: onboarding}
	for _, bad := range []HubConfig{{Name: "other", PrivateKey: testHub}, {Name: "hub", PrivateKey: testBox}} {
		if err := h.Reconfigure(bad); !errors.Is(err, ErrRestart) {
			t.Errorf("Reconfigure = %v, want ErrRestart", err)
		}
	}
	for want, bad := range map[string]HubConfig{
		"no private key": {Name: "hub"}, "mtu 1279": {Name: "hub", PrivateKey: testHub, MTU: 1279}, `interface name ""`: {PrivateKey: testHub},
		"not in fe80::/10": {Name: "hub", PrivateKey: testHub, LinkLocal: farGUA},
	} {
		if err := h.Reconfigure(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Reconfigure = %v, want %q", err, want)
		}
	}
	taken := cfg
	taken.ListenPort = s.Snapshot().ListenPort
	if err := h.Reconfigure(taken); err == nil || strings.Contains(err.Error(), "restore") {
		t.Errorf("the port is taken: %v", err)
	}
	if !passes(t, s, host, s.addr()) || h.Snapshot().ListenPort != cfg.ListenPort {
		t.Errorf("after a refused port: %+v", h.Snapshot())
	}
	cfg.Port, cfg.LinkLocal, cfg.MTU = onboarding+1, hubLL, 1300
	if err := h.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	s.send(t, ip6pkt.UDP(s.ll, testHub.Public().LinkLocal(), 1, onboarding, 64, []byte("old")), ip6pkt.UDP(s.ll, hubLL, 1, onboarding+1, 64, []byte("new")))
	if p := event[Received](t, h.Events()).Packet; !strings.HasSuffix(string(p), "new") {
		t.Errorf("received %q", p)
	}
	if p := next(t, host.Packets()); !strings.HasSuffix(string(p), "old") {
		t.Errorf("the host gets %q", p)
	}
	if now := h.Snapshot(); now.LinkLocal != hubLL || now.MTU != 1300 {
		t.Errorf("Snapshot = %+v", now)
	}
}

// New sockets on the same port: the session goes on.
func TestHubReopensItsSockets(t *testing.T) {
	noLeaks(t)
	h, host := openHub(t)
	setSites(t, h, testSiteConfig(1))
	s := openSite(t, h, 1)
	if !passes(t, s, host, s.addr()) { // before, the handshake need not be complete for the hub
		t.Fatal("nothing passes")
	}
	port, session := h.Snapshot().ListenPort, readSite(t, h, 1).HandshakeAt
	h.obs.broken.Store(true)
	signal(h.obs.trouble)
	if !netlab.Poll(soon, func() bool { return !h.obs.broken.Load() }) {
		t.Fatal("the sockets are not opened again")
	}
	if !passes(t, s, host, s.addr()) || h.Snapshot().ListenPort != port || readSite(t, h, 1).HandshakeAt != session {
		t.Errorf("after new sockets: %+v", h.Snapshot())
	}
}

// The device's end is told once.
func TestHubFails(t *testing.T) {
	noLeaks(t)
	h, m := openHub(t)
	_ = m.Close()
	if ev := event[Failed](t, h.Events()); !errors.Is(ev.Err, errDeviceClosed) {
		t.Errorf("failed: %v", ev.Err)
	}
}
