// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"oasis6/config"
	"oasis6/dataplane/kernel"
	"oasis6/dhcpv6"
	"oasis6/dhcpv6/server"
	"oasis6/hub"
	"oasis6/hub/store"
	"oasis6/internal/bootclock"
	"oasis6/internal/control"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/wgkey"
	"oasis6/tun"
)

// relay is a hub whose WireGuard device is a UDP socket on an interface: what each DHCPv6 client there sends comes out of
// the tunnel of a site of its own. Everything else is the hub's: the loop, the DHCPv6 machine, the store with its fsync, and
// the routes in the kernel.
type relay struct {
	key    wgkey.Private
	own    tun.HubSnapshot // of an interface that stands in for the tunnel
	sites  []wgkey.Public
	links  []netip.Addr
	events chan tun.Event
	// answer takes the DHCPv6 message out of what the hub sends.
	answer func(message []byte)
}

const (
	relayQueue = 16384                                  // as the hub's device
	payloadAt  = ip6pkt.HeaderLen + ip6pkt.UDPHeaderLen // in a packet
	nextHeader = 6                                      // likewise
	manyEvents = "more messages wait than the hub's queue has room for"
)

func newRelay(sites int) *relay {
	r := &relay{key: wgkey.GeneratePrivate(), events: make(chan tun.Event, relayQueue)}
	public := r.key.Public()
	r.own = tun.HubSnapshot{Interface: iface, PublicKey: public, LinkLocal: public.LinkLocal(), MTU: 1420}
	for range sites {
		public := wgkey.GeneratePrivate().Public()
		r.sites, r.links = append(r.sites, public), append(r.links, public.LinkLocal())
	}
	return r
}

// receive is a message of a site.
func (r *relay) receive(site int, message []byte) bool {
	p := ip6pkt.UDP(r.links[site], server.AllServers, dhcpv6.ClientPort, dhcpv6.ServerPort, 64, message)
	select {
	case r.events <- tun.Received{Packet: p, Site: r.sites[site]}:
		return true
	default:
		return false
	}
}

// Events and what follows make it a hub.Tunnel.
func (r *relay) Events() <-chan tun.Event { return r.events }

// Send gives DHCPv6 messages to the clients, and drops Router Advertisements.
func (r *relay) Send(p []byte) error {
	if len(p) > payloadAt && p[nextHeader] == ip6pkt.ProtoUDP {
		r.answer(p[payloadAt:])
	}
	return nil
}

// SetSites has nobody to tell.
func (r *relay) SetSites([]tun.Site) error { return nil }

// SetAllowed has nobody to tell.
func (r *relay) SetAllowed([]tun.Allowed) error { return nil }

// Sites says that all are there.
func (r *relay) Sites() (map[wgkey.Public]tun.Reading, error) {
	all, now := make(map[wgkey.Public]tun.Reading, len(r.sites)), bootclock.Now()
	for _, s := range r.sites {
		all[s] = tun.Reading{HandshakeAt: now, AllowedIPs: 2}
	}
	return all, nil
}

// Initiate does nothing: there are no handshakes.
func (r *relay) Initiate(wgkey.Public) bool { return true }

// Reconfigure is never called.
func (r *relay) Reconfigure(tun.HubConfig) error { return nil }

// Snapshot never changes.
func (r *relay) Snapshot() tun.HubSnapshot { return r.own }

// run is the hub until the context ends.
func (r *relay) run(ctx context.Context, dir string) (err error) {
	cfg := &config.HubConfig{
		Interface: config.Interface{Name: iface, PrivateKey: r.key, ListenPort: port},
		Hub: config.Hub{
			Pools: []netip.Prefix{netip.MustParsePrefix(pool)}, SiteLength: 64, MaxSiteLength: 60,
			Preferred: 45 * time.Minute, Valid: 90 * time.Minute,
		},
		FirewallOpen: true,
	}
	for i, s := range r.sites {
		cfg.Sites = append(cfg.Sites, config.Site{Name: fmt.Sprintf("site%d", i), PublicKey: s})
	}
	log := slog.New(slog.DiscardHandler)
	leases, _, err := store.OpenFile(ctx, filepath.Join(dir, "hub.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leases.Close()) }()
	plane, err := kernel.Open(kernel.Options{RunDir: dir, Log: log, BootID: bootclock.BootID()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plane.Close()) }()
	timer, err := bootclock.NewTimer()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, timer.Close()) }()
	h, err := hub.New(ctx, hub.Options{
		Config: cfg, Tunnel: r, Plane: plane, Store: leases, Clock: clock{timer}, Rand: rand.Float64, Wall: time.Now, BootID: bootclock.BootID(),
		Log: log, Version: "bench", OnLink: func() []netip.Prefix { return nil }, Commands: make(chan control.Command),
	})
	if err != nil {
		return err
	}
	return h.Run(ctx)
}

// clock is the boot clock as the hub wants it.
type clock struct{ t *bootclock.Timer }

func (c clock) Now() time.Time         { return bootclock.Now() }
func (c clock) Set(at time.Time) error { return c.t.Set(at) }
func (c clock) C() <-chan struct{}     { return c.t.C }

// clients are those on the interface, told apart by their DUIDs. All are seen at the one address of perfdhcp.
type clients struct {
	*relay
	conn    *net.UDPConn
	numbers map[dhcpv6.DUID]int
	from    atomic.Pointer[netip.AddrPort]
}

// runRelay is the role of a process: a relay for perfdhcp on an interface.
func runRelay(sites int, dir, link string) error {
	signals, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(signals)
	defer cancel()
	ifi, err := net.InterfaceByName(link)
	if err != nil {
		return err
	}
	c := &clients{relay: newRelay(sites), numbers: map[dhcpv6.DUID]int{}}
	if c.conn, err = net.ListenMulticastUDP("udp6", ifi, &net.UDPAddr{IP: server.AllServers.AsSlice(), Port: dhcpv6.ServerPort}); err != nil {
		return err
	}
	_ = c.conn.SetReadBuffer(1 << 20) // Kea asks for none: the kernel's default stays if this is refused
	c.answer = c.reply
	var reading sync.WaitGroup
	reading.Go(func() { defer cancel(); c.read() })
	fmt.Print(ready)
	err = c.run(ctx, dir)
	_ = c.conn.Close() // ends read
	reading.Wait()
	return err
}

func (c *clients) read() {
	b := make([]byte, 1<<16)
	for {
		n, from, err := c.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		duid, ok := clientID(b[:n])
		if !ok {
			continue
		}
		number, known := c.numbers[duid]
		if !known {
			if number = len(c.numbers); number == len(c.sites) {
				fmt.Fprintf(os.Stderr, "more than %d clients\n", number)
				return
			}
			c.numbers[duid] = number
		}
		if last := c.from.Load(); last == nil || *last != from {
			c.from.Store(&from)
		}
		if !c.receive(number, append([]byte(nil), b[:n]...)) {
			fmt.Fprintln(os.Stderr, manyEvents)
		}
	}
}

func (c *clients) reply(message []byte) {
	if to := c.from.Load(); to != nil {
		_, _ = c.conn.WriteToUDPAddrPort(message, *to) // perfdhcp counts what it misses
	}
}

// clientID finds the Client Identifier of a message without reading the rest.
func clientID(m []byte) (dhcpv6.DUID, bool) {
	const header = 4
	for at := header; at+4 <= len(m); {
		code, n := binary.BigEndian.Uint16(m[at:]), int(binary.BigEndian.Uint16(m[at+2:]))
		if at += 4; at+n > len(m) {
			break
		}
		if code == uint16(dhcpv6.OptionClientID) {
			return dhcpv6.DUID(m[at : at+n]), true
		}
		at += n
	}
	return "", false
}
