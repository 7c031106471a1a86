// SPDX-License-Identifier: MIT

package lab

import (
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"oasis6/dataplane/netstack"
	"oasis6/hub"
	"oasis6/internal/bootclock"
	"oasis6/internal/note"
	"oasis6/internal/wgkey"
	"oasis6/lab/engine"
	"oasis6/lab/nat"
	"oasis6/lab/simwg"
	"oasis6/router"
	"oasis6/tun"
)

// LinkKind is what the tunnels are made of.
type LinkKind string

// Kinds.
const (
	Sim LinkKind = "sim" // WireGuard's messages, sizes and timers without cryptography, in virtual time
	WG  LinkKind = "wg"  // wireguard-go, in real time
)

// tunnelEnd is one end of a tunnel: also a router.Tunnel or a hub.Tunnel.
type tunnelEnd interface {
	Close() error
}

var (
	_ router.Tunnel = (*simwg.Tunnel)(nil)
	_ hub.Tunnel    = (*simwg.Hub)(nil)
	_ router.Tunnel = realEnd{}
	_ hub.Tunnel    = realHub{}
)

// scheduler is the engine for simwg.
type scheduler struct{ *engine.Engine }

// AfterFunc is simwg.Scheduler's.
func (s scheduler) AfterFunc(d time.Duration, f func()) func() {
	t := s.Engine.AfterFunc(d, f)
	return func() { t.Stop() }
}

// newTunnel makes a box's end, whose datagrams go by the node and whose packets by the plane.
func (w *World) newTunnel(n *nat.Node, p *netstack.Plane, cfg tun.Config, name string, log *slog.Logger) (tunnelEnd, error) {
	mtu, err := n.PathMTU(addr4(r2Addr4))
	if err != nil {
		return nil, err
	}
	if w.opt.Link == WG {
		// wireguard-go asks on goroutines of its own, the node is the engine's.
		way := &atomic.Int64{}
		way.Store(int64(mtu))
		w.ways[n.Name()] = func() {
			if mtu, err := n.PathMTU(addr4(r2Addr4)); err == nil {
				way.Store(int64(mtu))
			}
		}
		path := func(netip.AddrPort) (int, error) { return int(way.Load()), nil }
		l := &listener{ring: w.keys, own: cfg.PrivateKey}
		out := tun.Outside{Bind: newBind(w.Engine, n, l), PathMTU: path, Made: l.made(log, cfg.Peer.Public)}
		t, err := tun.OpenOn(cfg, p.Device(), out, log)
		return realEnd{t, sinceBoot(w.Engine)}, err
	}
	opt := w.simOptions(n, p, name, log)
	opt.PathMTU = mtu
	t, err := simwg.NewTunnel(cfg, opt)
	if err != nil {
		return nil, err
	}
	port := p.Tunnel()
	port.Output(func(pkt []byte) { t.Packet(pkt) })
	return &simEnd{Tunnel: t, node: n, port: t.Port()}, n.Listen(t.Port(), nat.Program{
		Receive: func(from netip.AddrPort, data []byte) string {
			return t.Datagram(from, append([]byte(nil), data...)).String()
		},
		Failed: func(to netip.AddrPort, _ string) {
			if mtu, err := n.PathMTU(to.Addr()); err == nil {
				t.SetPathMTU(mtu)
			}
		},
	})
}

// newHubTunnel makes the hub's end.
func (w *World) newHubTunnel(n *nat.Node, p *netstack.Plane, cfg tun.HubConfig, name string, log *slog.Logger) (tunnelEnd, error) {
	if w.opt.Link == WG {
		l := &listener{ring: w.keys, own: cfg.PrivateKey}
		w.ways[name] = func() { // sites come later than the device
			for _, b := range w.boxes {
				l.know(b.key.Public())
			}
		}
		t, err := tun.OpenHubOn(cfg, p.Device(), tun.Outside{Bind: newBind(w.Engine, n, l), Made: l.made(log)}, log)
		return realHub{t, sinceBoot(w.Engine)}, err
	}
	h, err := simwg.NewHub(cfg, w.simOptions(n, p, name, log))
	if err != nil {
		return nil, err
	}
	p.Tunnel().Output(func(pkt []byte) { h.Packet(pkt) })
	return &simHub{Hub: h, node: n, port: h.Port()}, n.Listen(h.Port(), nat.Program{
		Receive: func(from netip.AddrPort, data []byte) string {
			return h.Datagram(from, append([]byte(nil), data...)).String()
		},
	})
}

func (w *World) simOptions(n *nat.Node, p *netstack.Plane, name string, log *slog.Logger) simwg.Options {
	return simwg.Options{
		Scheduler: scheduler{w.Engine}, OnRest: w.Engine.OnRest, Rand: w.Engine.Rand(name + " wireguard").Uint64, SendUDP: n.SendUDP,
		Deliver: p.Tunnel().Deliver, Note: func(x note.Note) { log.Debug(x.Msg) },
	}
}

// simEnd is a box's simulated end that gives its port back.
type simEnd struct {
	*simwg.Tunnel
	node *nat.Node
	port uint16
}

// Close ends the tunnel.
func (s *simEnd) Close() error {
	if s.node == nil {
		return nil
	}
	err := s.node.Listen(s.port, nat.Program{})
	s.node = nil
	_ = s.Tunnel.Close() // it has nothing that could fail
	return err
}

// simHub is simEnd for the hub.
type simHub struct {
	*simwg.Hub
	node *nat.Node
	port uint16
}

// Close ends the tunnels.
func (s *simHub) Close() error {
	if s.node == nil {
		return nil
	}
	err := s.node.Listen(s.port, nat.Program{})
	s.node = nil
	_ = s.Hub.Close() // it has nothing that could fail
	return err
}

// sinceBoot is what to add to an instant of the boot clock, which wireguard-go's ends have, to have one of the lab's.
func sinceBoot(e *engine.Engine) time.Duration { return e.Now().Sub(bootclock.Now()) }

// realEnd is a box's end of wireguard-go, with the lab's clock.
type realEnd struct {
	*tun.Tunnel
	ahead time.Duration // of the boot clock
}

// Snapshot is router.Tunnel's.
func (r realEnd) Snapshot() tun.Snapshot {
	s := r.Tunnel.Snapshot()
	s.HandshakeAt = moved(s.HandshakeAt, r.ahead)
	return s
}

// realHub is realEnd for the hub.
type realHub struct {
	*tun.Hub
	ahead time.Duration // of the boot clock
}

// Sites is hub.Tunnel's.
func (r realHub) Sites() (map[wgkey.Public]tun.Reading, error) {
	all, err := r.Hub.Sites()
	for k, x := range all {
		x.HandshakeAt = moved(x.HandshakeAt, r.ahead)
		all[k] = x
	}
	return all, err
}

// moved is an instant by another clock; zero stays zero.
func moved(at time.Time, by time.Duration) time.Time {
	if at.IsZero() {
		return at
	}
	return at.Add(by)
}
