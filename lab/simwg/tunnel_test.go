// SPDX-License-Identifier: MIT

package simwg

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"oasis6/internal/ip6pkt"
	"oasis6/internal/note"
	"oasis6/internal/wgkey"
	"oasis6/lab/simwg/device"
	"oasis6/tun"
	"oasis6/tun/health"
)

// watcher is the health machine of the box, run as router does.
type watcher struct {
	s       *sim
	m       *health.Machine
	wake    func()
	changes []change
	state   health.State
}

type change struct {
	state health.State
	at    time.Duration
}

func watch(s *sim) *watcher {
	w := &watcher{s: s, m: health.New(func() float64 { return 0.5 })}
	w.look()
	return w
}

func (w *watcher) look() {
	now := w.s.e.Now()
	sample := w.s.box.Sample()
	a := w.m.Step(now, health.Sampled{Sample: sample})
	w.s.box.Perform(a, sample)
	if a.State != w.state {
		w.state = a.State
		w.changes = append(w.changes, change{a.State, now.Sub(w.s.e.Start())})
	}
	w.set(a.Wake.Sub(now))
}

func (w *watcher) set(d time.Duration) {
	if w.wake != nil {
		w.wake()
	}
	t := w.s.e.AfterFunc(d, w.look)
	w.wake = func() { t.Stop() }
}

// run runs in small steps, so that events reach the machine.
func (w *watcher) run(d time.Duration) {
	for range d / (100 * time.Millisecond) {
		w.s.run(100 * time.Millisecond)
		if len(drain(w.s.box.Events())) > 0 {
			w.look()
		}
	}
}

// An idle tunnel that is cut is found dead within 40 s and its return within 6 s, as with wireguard-go.
func TestHealthSeesTheCut(t *testing.T) {
	s := newSim(t, boxConfig(hubAt.String()))
	s.sites(boxSite(lease))
	w := watch(s)
	w.run(10 * time.Minute)
	s.cut = true
	w.run(5 * time.Minute)
	s.cut = false
	w.run(5 * time.Minute)
	if len(w.changes) != 3 {
		t.Fatalf("%v, want up, down, up", w.changes)
	}
	for i, c := range []struct {
		state    health.State
		from, to time.Duration
	}{{health.Up, 0, time.Second}, {health.Down, 10 * time.Minute, 10*time.Minute + 40*time.Second}, {health.Up, 15 * time.Minute, 15*time.Minute + 6*time.Second}} {
		if got := w.changes[i]; got.state != c.state || got.at < c.from || got.at > c.to {
			t.Errorf("change %d: %v, want %v from %v to %v", i, got, c.state, c.from, c.to)
		}
	}
	if r := s.box.Snapshot(); r.HandshakeAge > 3*time.Minute || r.HandshakeAge < 0 {
		t.Errorf("the last handshake was %v ago", r.HandshakeAge)
	}
}

func TestNameIsLookedUpUntilItIsFound(t *testing.T) {
	s := newSim(t, boxConfig("hub.example:51820"))
	s.sites(boxSite(lease))
	s.run(20 * time.Second)
	if n := len(s.asked); n < 4 || n > 6 {
		t.Errorf("asked at %v, want some 5 times: after 1, 3, 7, 15 s", s.asked)
	}
	if got := s.box.Snapshot(); got.ResolveError != "no such host" || got.Endpoint.IsValid() || s.sent != 0 {
		t.Errorf("%+v with %d datagrams, want an error and none", got, s.sent)
	}
	if !slices.ContainsFunc(s.notes, func(n note.Note) bool { return n.Msg == "endpoint name not resolved" }) {
		t.Errorf("notes %v: nothing of the name", s.notes)
	}
	s.dns = func(string) ([]netip.Addr, error) { return []netip.Addr{hubAt.Addr()}, nil }
	s.run(20 * time.Second)
	asked := len(s.asked)
	s.run(10 * time.Minute)
	if len(s.asked) != asked {
		t.Errorf("asked %d times more by itself", len(s.asked)-asked)
	}
	all := drain(s.box.Events())
	if got := s.box.Snapshot(); got.ResolveError != "" || got.Endpoint != hubAt || count[tun.Handshake](all) != 1 {
		t.Errorf("%+v, %v: want the endpoint and a handshake", got, all)
	}
}

// A box whose hub is silent at one address of its name goes to the next.
func TestDeafAddressIsLeft(t *testing.T) {
	s := newSim(t, boxConfig("hub.example:51820"))
	s.sites(boxSite(lease))
	dead := netip.MustParseAddr("198.51.100.77")
	s.dns = func(string) ([]netip.Addr, error) { return []netip.Addr{dead, hubAt.Addr()}, nil }
	w := watch(s)
	w.run(time.Minute)
	if got := s.box.Snapshot().Endpoint; got != hubAt || w.state != health.Up {
		t.Errorf("%v at %v, want up at %v", w.state, got, hubAt)
	}
}

func TestPathMTU(t *testing.T) {
	s := up(t)
	s.box.SetPathMTU(1400)
	s.run(0)
	if all := drain(s.box.Events()); len(all) != 1 || all[0] != (tun.MTUChanged{MTU: 1320}) || s.box.Snapshot().MTU != 1320 {
		t.Errorf("%v, want MTU 1320", all)
	}
	s.box.SetPathMTU(1400)
	s.box.SetPathMTU(1300) // below what IPv6 needs
	s.run(0)
	if all := drain(s.box.Events()); len(all) != 1 || all[0] != (tun.MTUChanged{MTU: 1280}) {
		t.Errorf("%v, want MTU 1280, once", all)
	}
	cfg := boxConfig(hubAt.String())
	cfg.MTU = 1350
	if err := s.box.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	s.box.SetPathMTU(1500)
	s.run(0)
	if all := drain(s.box.Events()); len(all) != 1 || all[0] != (tun.MTUChanged{MTU: 1350}) {
		t.Errorf("%v, want MTU 1350, as it is fixed", all)
	}
}

// Another hub: the session ends, another begins, and the counters of the health machine do not go back.
func TestReconfigureToAnotherPeer(t *testing.T) {
	s := up(t)
	s.box.Packet(data(boxGUA, farGUA, "there"))
	s.run(time.Second)
	was := s.box.Sample()
	cfg := boxConfig(hubAt.String())
	cfg.Peer.Public = otherKey.Public()
	if err := s.box.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	s.run(time.Second)
	now := s.box.Sample()
	if now.DataSent < was.DataSent || now.Life < was.Life || now.Initiations != was.Initiations+1 || !now.LastHandshake.IsZero() {
		t.Errorf("sample %+v after %+v", now, was)
	}
	if err := s.box.Reconfigure(boxConfig(hubAt.String())); err != nil {
		t.Fatal(err)
	}
	s.run(10 * time.Second)
	if all := drain(s.box.Events()); count[tun.Handshake](all) != 1 {
		t.Errorf("%v, want a handshake with the old peer", all)
	}
}

// What cannot be told because nobody reads is told when somebody does; packets are dropped and counted.
func TestEventsWaitForTheReader(t *testing.T) {
	s := newSim(t, boxConfig(hubAt.String()))
	s.sites(boxSite(lease))
	s.run(time.Second)
	s.box.Packet(data(boxGUA, farGUA, "there"))
	for range tun.EventQueue + 10 {
		if err := s.hub.Send(ip6pkt.UDP(hubLL, boxLL, 547, 546, 64, []byte("reply"))); err != nil {
			t.Fatal(err)
		}
		s.run(10 * time.Millisecond)
	}
	if got := s.box.Snapshot().Dropped; got == 0 {
		t.Error("nothing dropped")
	}
	s.box.SetPathMTU(1400) // takes the last place
	s.box.Perform(health.Actions{Watch: true}, health.Sample{})
	s.run(time.Minute)
	first := drain(s.box.Events())
	s.run(time.Second)
	if rest := drain(s.box.Events()); count[tun.MTUChanged](first) != 1 || count[tun.Activity](rest) != 1 || len(rest) != 1 {
		t.Errorf("then %v, want the activity that found no room", rest)
	}
}

func TestClosedTunnelIsStill(t *testing.T) {
	cfg := boxConfig(hubAt.String())
	cfg.Peer.Keepalive = 5 * time.Second
	s := newSim(t, cfg)
	s.sites(boxSite(lease))
	s.run(time.Minute)
	if err := s.box.Close(); err != nil {
		t.Fatal(err)
	}
	_ = s.box.Close()
	s.run(time.Second)
	drain(s.box.Events())
	sent := s.sent
	if err := s.box.Send(data(boxGUA, farGUA, "x")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Send: %v, want os.ErrClosed", err)
	}
	s.box.Perform(health.Actions{Resolve: true, Initiate: true, Probe: true, Watch: true}, health.Sample{})
	s.box.Packet(data(boxGUA, farGUA, "x"))
	s.hub.SetLoad(false)
	s.run(time.Hour)
	if all := drain(s.box.Events()); s.sent != sent || len(all) != 0 {
		t.Errorf("%d datagrams and events %v after Close", s.sent-sent, all)
	}
}

func TestSendErrorIsShown(t *testing.T) {
	s := up(t)
	s.boxErr = errors.New("network is unreachable")
	s.box.Packet(data(boxGUA, farGUA, "there"))
	s.run(0)
	if got := s.box.Snapshot().SendError; got != "network is unreachable" {
		t.Errorf("SendError %q", got)
	}
	if got := s.box.Sample().DataSent; got == 0 {
		t.Error("data that could not leave is data without an answer")
	}
	s.boxErr = nil
	s.box.Packet(data(boxGUA, farGUA, "there"))
	s.run(0)
	if got := s.box.Snapshot().SendError; got != "" {
		t.Errorf("SendError %q when sending works again", got)
	}
}

func TestListenPorts(t *testing.T) {
	s := up(t)
	cfg := boxConfig(hubAt.String())
	cfg.ListenPort = 0
	if err := s.box.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	if p := s.box.Port(); p < firstDynamic || p != s.box.Snapshot().ListenPort {
		t.Errorf("any port is %d, snapshot %d", p, s.box.Snapshot().ListenPort)
	}
	cfg.ListenPort = 4500
	if err := s.box.Reconfigure(cfg); err != nil || s.box.Port() != 4500 {
		t.Errorf("port %d, %v; want 4500", s.box.Port(), err)
	}
}

// Without OnRest what loops want is done as soon as the engine comes to it.
func TestWithoutOnRest(t *testing.T) {
	s := newSim(t, boxConfig(hubAt.String()))
	_ = s.box.Close()
	opt := s.options()
	opt.OnRest = nil
	var err error
	if s.box, err = NewTunnel(boxConfig(hubAt.String()), opt); err != nil {
		t.Fatal(err)
	}
	s.sites(boxSite(lease))
	s.run(time.Second)
	if err := s.box.Send(data(boxGUA, farGUA, "there")); err != nil {
		t.Fatal(err)
	}
	s.run(time.Second)
	if !has(s.hubGot, "there") {
		t.Error("the packet does not arrive")
	}
}

func TestVerdictsForWhoExplains(t *testing.T) {
	s := up(t)
	if got := s.box.Packet(data(boxGUA, farGUA, "x")); got != device.Sent.String() {
		t.Errorf("a packet: %q", got)
	}
	if got := s.box.Packet(ip6pkt.ICMPv6(boxLL, hubLL, 255, []byte{135, 0, 0, 0, 0, 0, 0, 0})); got != silenced {
		t.Errorf("the kernel's neighbor solicitation: %q", got)
	}
	if got := s.box.Datagram(hubAt, []byte("hello")); got != device.Malformed {
		t.Errorf("no message: %v", got)
	}
	if st, ok := s.box.Peer(hubKey.Public()); !ok || len(st.Sessions) != 1 || !st.Sessions[0].Initiator {
		t.Errorf("peer %+v, want one session of the box", st)
	}
	if _, ok := s.box.Peer(wgkey.Public{1}); ok {
		t.Error("a peer that is none")
	}
}

func TestBadConfigurations(t *testing.T) {
	s := up(t)
	for _, cfg := range []tun.Config{{}, {Name: "oasis0"}, boxConfig("nonsense")} {
		if _, err := NewTunnel(cfg, s.options()); err == nil {
			t.Errorf("NewTunnel takes %+v", cfg)
		}
		if err := s.box.Reconfigure(cfg); err == nil {
			t.Errorf("Reconfigure takes %+v", cfg)
		}
	}
	if _, err := NewHub(tun.HubConfig{}, s.options()); err == nil {
		t.Error("NewHub takes an empty configuration")
	}
}
