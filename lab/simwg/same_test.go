// SPDX-License-Identifier: MIT

package simwg

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn/bindtest"

	"oasis6/hub"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/underrace"
	"oasis6/router"
	"oasis6/tun"
	"oasis6/tun/health"
)

// both is a box and a hub, true or simulated, and their hosts.
type both struct {
	box            router.Tunnel
	hub            hub.Tunnel
	boxOut, hubOut func(pkt []byte) // what the hosts send
	settle         func()
	got            func() (box, hub [][]byte) // what the hosts got since the last
}

// The same story with wireguard-go and with the simulation: what box and hub see of it must not differ.
func TestStoryIsThatOfWireGuard(t *testing.T) {
	if underrace.Is {
		t.Skip("wireguard-go repeats what is late: make lab-seeds runs it")
	}
	real, sim := story(t, realBoth(t)), story(t, simBoth(t))
	for i := range max(len(real), len(sim)) {
		if i >= len(real) || i >= len(sim) {
			t.Fatalf("%d lines with wireguard-go, %d simulated", len(real), len(sim))
		}
		if real[i] != sim[i] {
			t.Errorf("wireguard-go %s\nsimulated    %s", real[i], sim[i])
		}
	}
	if len(real) < 30 || strings.Contains(real[0], "handshake") == false {
		t.Errorf("the story has %d lines and begins %q", len(real), real[0])
	}
}

func story(t *testing.T, w *both) (lines []string) {
	do := func(what string, f func() error) {
		err := f()
		w.settle()
		line := what + ":"
		if err != nil {
			line += " error"
		}
		lines = append(lines, line+" box"+names(drain(w.box.Events()))+", hub"+names(drain(w.hub.Events()))+hosts(w))
	}
	sites := func(s ...tun.Site) func() error { return func() error { return w.hub.SetSites(s) } }
	box := func(p []byte) func() error { return func() error { w.boxOut(p); return nil } }
	hub := func(p []byte) func() error { return func() error { w.hubOut(p); return nil } }
	guest := boxSite()
	guest.Guest = true
	keeping := boxSite(lease)
	keeping.Keepalive = 25 * time.Second

	do("site without a lease", sites(boxSite()))
	do("solicit", func() error { return w.box.Send(ip6pkt.UDP(boxLL, allDHCP, 546, 547, 1, []byte("solicit"))) })
	do("reply", func() error { return w.hub.Send(ip6pkt.UDP(hubLL, boxLL, 547, 546, 64, []byte("reply"))) })
	do("join", func() error { return w.box.Send(ip6pkt.UDP(boxLL, hubLL, 5, 40000, 64, []byte("join"))) })
	do("solicitation", func() error { return w.box.Send(ip6pkt.ICMPv6(boxLL, hubLL, 255, []byte{133, 0, 0, 0, 0, 0, 0, 0})) })
	do("before the lease", box(data(boxGUA, farGUA, "early")))
	do("lease", func() error {
		return w.hub.SetAllowed([]tun.Allowed{{Site: boxKey.Public(), IPs: boxSite(lease).AllowedIPs}})
	})
	do("with the lease", box(data(boxGUA, farGUA, "there")))
	do("back", hub(data(farGUA, boxGUA, "back")))
	do("to nobody", hub(data(farGUA, netip.MustParseAddr("2001:db8:9::9"), "lost")))
	do("the box's kernel speaks", box(ip6pkt.ICMPv6(boxLL, hubLL, 255, []byte{135, 0, 0, 0, 0, 0, 0, 0})))
	do("the hub's kernel speaks", hub(ip6pkt.UDP(hubLL, boxLL, 547, 546, 64, []byte("beside"))))
	do("link-local", box(data(boxLL, hubLL, "echo")))
	do("guest", sites(guest))
	do("link-local of a guest", box(data(boxLL, hubLL, "echo")))
	do("solicit of a guest", func() error { return w.box.Send(ip6pkt.UDP(boxLL, allDHCP, 546, 547, 1, []byte("solicit"))) })
	do("site again", sites(boxSite(lease)))
	do("keepalive", sites(keeping))
	do("dhcp from a global address", box(ip6pkt.UDP(boxGUA, hubLL, 546, 547, 64, []byte("strange"))))
	do("probe", func() error { w.box.Perform(health.Actions{Probe: true}, w.box.Sample()); return nil })
	do("watch", func() error { w.box.Perform(health.Actions{Watch: true}, w.box.Sample()); return nil })
	do("data that is watched", box(data(boxGUA, farGUA, "there")))
	do("more data", box(data(boxGUA, farGUA, "there")))
	do("watch from before", func() error { w.box.Perform(health.Actions{Watch: true}, health.Sample{}); return nil })
	do("initiate within 5 s", func() error { w.box.Perform(health.Actions{Initiate: true}, w.box.Sample()); return nil })
	do("not a packet", func() error { return w.box.Send([]byte{1, 2, 3}) })
	do("readings", func() error { _, err := w.hub.Sites(); return err })
	do("a fixed mtu", func() error {
		cfg := boxConfig("hub.example:4")
		cfg.MTU = 1300
		return w.box.Reconfigure(cfg)
	})
	do("another name", func() error { cfg := boxConfig("hub.example:4"); cfg.Name = "other"; return w.box.Reconfigure(cfg) })
	do("bad sites", sites(boxSite(lease), boxSite()))
	do("allowed of nobody", func() error { return w.hub.SetAllowed([]tun.Allowed{{Site: otherKey.Public()}}) })
	do("no sites", sites())
	do("to a site that is no more", hub(data(farGUA, boxGUA, "back")))
	do("a site without endpoint", sites(boxSite(lease)))
	do("which has never been heard", hub(data(farGUA, boxGUA, "lonely")))
	return append(lines, counters(t, w)...)
}

// names are the kinds of events, without what two worlds cannot have in common.
func names(all []tun.Event) string {
	s := ""
	for _, ev := range all {
		switch ev := ev.(type) {
		case tun.Received:
			s += fmt.Sprintf(" received %x", ev.Packet)
			if !ev.Site.IsZero() {
				s += " of " + ev.Site.String()
			}
		case tun.MTUChanged:
			s += fmt.Sprint(" mtu ", ev.MTU)
		case tun.Handshake:
			s += " handshake"
		case tun.EndpointChanged:
			s += " endpoint"
		case tun.Activity:
			s += " activity"
		default:
			s += fmt.Sprintf(" %T", ev)
		}
	}
	return s
}

func hosts(w *both) string {
	box, hub := w.got()
	return fmt.Sprintf(", hosts %x %x", box, hub)
}

func counters(t *testing.T, w *both) []string {
	s := w.box.Sample()
	b, h := w.box.Snapshot(), w.hub.Snapshot()
	sites, err := w.hub.Sites()
	if err != nil {
		t.Fatal(err)
	}
	r := sites[boxKey.Public()]
	return []string{
		fmt.Sprintf("sample: data %d, initiations %d, life %d, handshake %v", s.DataSent, s.Initiations, s.Life, !s.LastHandshake.IsZero()),
		fmt.Sprintf("box: %s %s %s mtu %d peer %s %s endpoint %s errors %q %q age %v rx %d tx %d taken %d dropped %d injected %d silenced %d",
			b.Interface, b.PublicKey, b.LinkLocal, b.MTU, b.Peer, b.PeerLinkLocal, b.EndpointName, b.ResolveError, b.SendError, b.HandshakeAge >= 0,
			b.RxBytes, b.TxBytes, b.Taken, b.Dropped, b.Injected, b.Silenced),
		fmt.Sprintf("hub: %s %s %s mtu %d taken %d strange %d limited %d dropped %d refused %d injected %d silenced %d lonely %d",
			h.Interface, h.PublicKey, h.LinkLocal, h.MTU, h.Taken, h.Strange, h.Limited, h.Dropped, h.Refused, h.Injected, h.Silenced, h.Lonely),
		fmt.Sprintf("site: %d of %d, rx %d tx %d allowed %d initiations %d moves %d limited %d drifted %v age %v", len(sites), 1, r.RxBytes, r.TxBytes,
			r.AllowedIPs, r.Initiations, r.Moves, r.Limited, r.Drifted, r.HandshakeAge >= 0),
	}
}

func simBoth(t *testing.T) *both {
	s := newSimNamed(t)
	return &both{
		box: s.box, hub: s.hub, boxOut: func(p []byte) { s.box.Packet(p) }, hubOut: func(p []byte) { s.hub.Packet(p) },
		settle: func() { s.run(200 * time.Millisecond) },
		got: func() (b, h [][]byte) {
			b, h, s.boxGot, s.hubGot = s.boxGot, s.hubGot, nil, nil
			return b, h
		},
	}
}

// newSimNamed is a pair whose box looks its hub up, over a path of 1400 octets.
func newSimNamed(t *testing.T) *sim {
	s := newSim(t, boxConfig(hubAt.String()))
	_ = s.box.Close()
	s.dns = func(string) ([]netip.Addr, error) { return []netip.Addr{hubAt.Addr()}, nil }
	opt := s.options()
	opt.PathMTU = 1400
	send := opt.SendUDP
	opt.SendUDP = func(from uint16, _ netip.AddrPort, b []byte) error { return send(from, hubAt, b) }
	s.hubAt = netip.AddrPortFrom(hubAt.Addr(), 4) // the port that bindtest wants
	var err error
	if s.box, err = NewTunnel(boxConfig("hub.example:4"), opt); err != nil {
		t.Fatal(err)
	}
	return s
}

func realBoth(t *testing.T) *both {
	log := slog.New(slog.DiscardHandler)
	binds := bindtest.NewChannelBinds()
	boxHost, hubHost := tun.NewMemory("oasis0", 1420), tun.NewMemory("oasis0", 1420)
	h, err := tun.OpenHubOn(tun.HubConfig{Name: "oasis0", PrivateKey: hubKey, Port: 40000}, hubHost, tun.Outside{Bind: binds[0]}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	b, err := tun.OpenOn(boxConfig("hub.example:4"), boxHost, tun.Outside{
		Bind:    binds[1],
		Lookup:  func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{hubAt.Addr()}, nil },
		PathMTU: func(netip.AddrPort) (int, error) { return 1400, nil },
	}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	send := func(m *tun.Memory) func([]byte) {
		return func(p []byte) {
			if err := m.Send(p); err != nil {
				t.Error(err)
			}
		}
	}
	return &both{
		box: b, hub: h, boxOut: send(boxHost), hubOut: send(hubHost),
		settle: func() { quiet(b, h) },
		got:    func() (x, y [][]byte) { return take(boxHost), take(hubHost) },
	}
}

// quiet returns when nothing has changed for a while, and not before the first handshake.
func quiet(b *tun.Tunnel, h *tun.Hub) {
	state := func() string {
		x, y := b.Snapshot(), h.Snapshot()
		return fmt.Sprint(x.HandshakeAge >= 0, x.RxBytes, x.TxBytes, x.Taken, x.Injected, x.Silenced, y.Taken, y.Injected, y.Silenced, y.Refused, y.Strange, y.Lonely)
	}
	was, since := state(), time.Now()
	for deadline := since.Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if is := state(); is != was || strings.HasPrefix(is, "false") {
			was, since = is, time.Now()
		}
		if time.Since(since) > 80*time.Millisecond {
			return
		}
	}
}

func take(m *tun.Memory) (got [][]byte) {
	for {
		select {
		case p := <-m.Packets():
			got = append(got, p)
		default:
			return got
		}
	}
}
