// SPDX-License-Identifier: MIT

package hub

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"oasis6/config"
	"oasis6/dataplane"
	"oasis6/dataplane/dataplanetest"
	"oasis6/dhcpv6"
	"oasis6/dhcpv6/server"
	"oasis6/hub/store"
	"oasis6/internal/invite"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/wgkey"
	"oasis6/tun"
)

// fakeTunnel is a device whose sites are what the test says. Each change is an entry of the world's journal.
type fakeTunnel struct {
	w       *world
	events  chan tun.Event
	sites   map[wgkey.Public]tun.Site
	given   []wgkey.Public // by SetSites; one that is not among sites was taken out with wg
	reading map[wgkey.Public]tun.Reading
	began   []wgkey.Public
	most    int // sites that it has had at once
	key     wgkey.Private
	// linkLocal is that of the last Reconfigure.
	linkLocal netip.Addr
	counted   tun.HubSnapshot // only its counters are used
}

func (f *fakeTunnel) Events() <-chan tun.Event { return f.events }

func (f *fakeTunnel) Send(p []byte) error {
	f.w.op("send")
	f.w.received(p)
	return nil
}

func (f *fakeTunnel) SetSites(all []tun.Site) error {
	f.w.op("sites")
	f.most = max(f.most, len(all))
	f.sites, f.given = map[wgkey.Public]tun.Site{}, nil
	for _, s := range all {
		f.sites[s.Public] = s
		f.given = append(f.given, s.Public)
	}
	return f.check()
}

func (f *fakeTunnel) SetAllowed(list []tun.Allowed) error {
	f.w.op("allowed")
	for _, a := range list {
		s, ok := f.sites[a.Site]
		if !ok {
			return fmt.Errorf("no site %s", a.Site)
		}
		s.AllowedIPs = a.IPs
		f.sites[a.Site] = s
	}
	return f.check()
}

// check refuses what the true one refuses: one prefix of two sites.
func (f *fakeTunnel) check() error {
	owner := map[netip.Prefix]wgkey.Public{}
	for k, s := range f.sites {
		for _, p := range s.AllowedIPs {
			if o, taken := owner[p]; taken && o != k {
				f.w.Errorf("%s is in the allowed-ips of two sites", p)
				return fmt.Errorf("%s is another site's", p)
			}
			owner[p] = k
		}
	}
	return nil
}

func (f *fakeTunnel) Sites() (map[wgkey.Public]tun.Reading, error) {
	all := map[wgkey.Public]tun.Reading{}
	for _, k := range f.given {
		r, ok := f.reading[k]
		if !ok {
			r.HandshakeAge = -1
		}
		if _, there := f.sites[k]; !there {
			r = tun.Reading{HandshakeAge: -1, Drifted: true}
		}
		all[k] = r
	}
	return all, nil
}

func (f *fakeTunnel) Initiate(k wgkey.Public) bool { f.began = append(f.began, k); return true }

func (f *fakeTunnel) Reconfigure(c tun.HubConfig) error { f.linkLocal = c.LinkLocal; return nil }

func (f *fakeTunnel) Snapshot() tun.HubSnapshot {
	s := f.counted
	s.Interface, s.PublicKey, s.LinkLocal, s.MTU, s.ListenPort = "oasis0", f.key.Public(), f.linkLocal, 1420, 51820
	if !s.LinkLocal.IsValid() {
		s.LinkLocal = f.key.Public().LinkLocal()
	}
	return s
}

// fakePlane keeps routes as they were applied last, over the death of a hub.
type fakePlane struct {
	*dataplanetest.Plane
	w    *world
	last dataplane.Desired
}

func (p *fakePlane) Apply(ctx context.Context, d dataplane.Desired) error {
	p.w.op("apply")
	err := p.Plane.Apply(ctx, d)
	if err == nil {
		p.last = d
	}
	return err
}

func (p *fakePlane) Restore(context.Context) error {
	p.last = dataplane.Desired{}
	return nil
}

// routes are the leases' routes.
func (p *fakePlane) routes() (all []netip.Prefix) {
	for _, r := range p.last.Routes {
		if r.Kind == dataplane.Unicast && !r.Dst.Addr().IsLinkLocalUnicast() {
			all = append(all, r.Dst)
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return all
}

// fakeStore counts commits.
type fakeStore struct {
	*store.Memory
	w *world
}

func (s fakeStore) Commit(ctx context.Context, c []store.Change) (store.Revision, error) {
	s.w.op("commit")
	return s.Memory.Commit(ctx, c)
}

type fakeClock struct{ w *world }

func (c fakeClock) Now() time.Time      { return c.w.now }
func (c fakeClock) Set(time.Time) error { return nil }
func (c fakeClock) C() <-chan struct{}  { return nil }
func (w *world) Write(b []byte) (int, error) {
	w.log.Write(b)
	return len(b), nil
}

// world is a hub with sites that speak DHCPv6, in virtual time, without goroutines.
type world struct {
	*testing.T
	now     time.Time
	boot    string
	ops     []string
	crashAt int // die at that many operations from now; 0: never
	cfg     *config.HubConfig
	disk    *store.Memory
	plane   *fakePlane
	tunnel  *fakeTunnel
	h       *Hub
	clients map[wgkey.Public]*client
	order   []*client
	log     bytes.Buffer
	key     wgkey.Private
	onLink  []netip.Prefix // of the machine
}

// died is the panic of a crash.
type died struct{ at string }

// op is one thing done to the world outside. A crash comes before it.
func (w *world) op(what string) {
	w.ops = append(w.ops, what)
	if w.crashAt > 0 {
		if w.crashAt--; w.crashAt == 0 {
			panic(died{what})
		}
	}
}

var testPool = netip.MustParsePrefix("2001:db8:ebbd:9900::/56")

func newWorld(t *testing.T, sites int) *world {
	t.Helper()
	w := &world{T: t, now: t0, boot: "boot-1", disk: store.NewMemory(), clients: map[wgkey.Public]*client{}, key: wgkey.Private{1: 1}}
	w.cfg = &config.HubConfig{
		Interface: config.Interface{Name: "oasis0", PrivateKey: w.key, ListenPort: 51820},
		Hub: config.Hub{
			Pools: []netip.Prefix{testPool}, SiteLength: 64, MaxSiteLength: 60, Preferred: 45 * time.Minute, Valid: 90 * time.Minute,
			DNS: []netip.Addr{netip.MustParseAddr("2001:db8:1::53")}, Search: []string{"lab.example"}, Endpoint: "203.0.113.1:51820",
		},
		FirewallOpen: true,
	}
	for i := range sites {
		c := w.addClient(wgkey.Private{4: byte(i), 5: byte(i >> 8), 6: 7}.Public())
		w.cfg.Sites = append(w.cfg.Sites, config.Site{Name: fmt.Sprintf("site%d", i), PublicKey: c.key})
	}
	w.plane = &fakePlane{Plane: dataplanetest.New(), w: w}
	w.start()
	return w
}

// start makes a hub of what the last one has left: the store and the routes. The device is a new one.
func (w *world) start() {
	w.Helper()
	w.tunnel = &fakeTunnel{w: w, events: make(chan tun.Event, 1024), key: w.key, sites: map[wgkey.Public]tun.Site{}, reading: map[wgkey.Public]tun.Reading{}}
	h, err := New(w.Context(), Options{
		Config: w.cfg, Tunnel: w.tunnel, Plane: w.plane, Store: fakeStore{w.disk, w}, Clock: fakeClock{w},
		Rand: func() float64 { return 0.5 }, Wall: func() time.Time { return w.now.Add(1e6 * time.Hour) }, BootID: w.boot,
		Log: slog.New(slog.NewTextHandler(w, nil)), Version: "test", OnLink: func() []netip.Prefix { return w.onLink },
	})
	if err != nil {
		w.Fatalf("New: %v", err)
	}
	w.h = h
	h.reapply = true
	w.settle()
}

func (w *world) settle() {
	w.Helper()
	if err := w.h.settle(w.Context(), w.now); err != nil {
		w.Fatalf("settle: %v", err)
	}
}

// wait lets time pass, with all deadlines of the hub in it.
func (w *world) wait(d time.Duration) {
	w.Helper()
	end := w.now.Add(d)
	for n := 0; ; n++ {
		at := w.h.nextWake()
		if at.IsZero() || at.After(end) {
			break
		}
		if n > 1_000_000 {
			w.Fatal("the hub does not come to rest")
		}
		if at.After(w.now) {
			w.now = at
		}
		w.h.tick(w.now)
		if w.h.polling {
			w.h.onPoll(w.now, <-w.h.polled)
		}
		w.settle()
	}
	w.now = end
}

// deliver gives the hub a packet as the tap would, and what follows from it.
func (w *world) deliver(from wgkey.Public, packet []byte) {
	w.Helper()
	w.h.onPacket(w.now, tun.Received{Packet: packet, Site: from})
	w.settle()
}

// client is a site.
type client struct {
	w       *world
	key     wgkey.Public
	duid    dhcpv6.DUID
	xid     uint32
	holds   map[netip.Prefix]time.Time // until when the hub has said that it may
	last    dhcpv6.Message
	adverts int
	said    []invite.Answer
	reconf  int
}

func (w *world) addClient(key wgkey.Public) *client {
	c := &client{w: w, key: key, duid: dhcpv6.DUIDFromPublicKey(key), holds: map[netip.Prefix]time.Time{}}
	w.clients[key] = c
	w.order = append(w.order, c)
	return c
}

// say sends a message for IA_PD 1 and gives the answer, or a message without a type.
func (c *client) say(t dhcpv6.MessageType, change func(*dhcpv6.Message)) dhcpv6.Message {
	c.w.Helper()
	c.xid++
	m := dhcpv6.Message{Type: t, XID: c.xid, ClientID: c.duid, IAs: []dhcpv6.IA{{Type: dhcpv6.PD, IAID: 1}}, ReconfigureAccept: true}
	switch t {
	case dhcpv6.Request, dhcpv6.Renew, dhcpv6.Release:
		m.ServerID = machineConfig(c.w.cfg).DUID
	}
	if t != dhcpv6.Solicit {
		for p, until := range c.holds {
			if until.After(c.w.now) {
				m.IAs[0].Prefixes = append(m.IAs[0].Prefixes, dhcpv6.IAPrefix{Prefix: p})
			}
		}
	}
	if change != nil {
		change(&m)
	}
	c.last = dhcpv6.Message{}
	from := c.key.LinkLocal()
	c.w.deliver(c.key, ip6pkt.UDP(from, server.AllServers, dhcpv6.ClientPort, dhcpv6.ServerPort, 64, m.Append(nil)))
	return c.last
}

// bind gets a prefix by Solicit with Rapid Commit.
func (c *client) bind() netip.Prefix {
	c.w.Helper()
	m := c.say(dhcpv6.Solicit, func(m *dhcpv6.Message) { m.RapidCommit = true })
	if len(m.IAs) == 1 && len(m.IAs[0].Prefixes) > 0 {
		return m.IAs[0].Prefixes[0].Prefix
	}
	return netip.Prefix{}
}

// held are the prefixes that the site may use now, in order.
func (c *client) held() (all []netip.Prefix) {
	for p, until := range c.holds {
		if until.After(c.w.now) {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return all
}

// received is a packet at a site. What a Reply gives must be on disk, in the allowed-ips and routed by then.
func (w *world) received(packet []byte) {
	w.Helper()
	u, err := ip6pkt.ParseUDP(packet)
	if err != nil {
		if m, err := ip6pkt.ParseICMPv6(packet); err == nil {
			for _, c := range w.order {
				if c.key.LinkLocal() == m.Dst {
					c.adverts++
				}
			}
		}
		return
	}
	var c *client
	for _, x := range w.order {
		if x.key.LinkLocal() == u.Dst.Addr() {
			c = x
		}
	}
	if c == nil {
		return
	}
	if u.Src.Port() == invite.Port {
		a, err := invite.ParseAnswer(u.Payload)
		if err != nil {
			w.Errorf("answer to a box that joins: %v", err)
		}
		c.said = append(c.said, a)
		return
	}
	m, _, err := dhcpv6.ParseMessage(u.Payload)
	if err != nil {
		w.Fatalf("the hub sends %x: %v", u.Payload, err)
	}
	if m.Type == dhcpv6.Reconfigure {
		c.reconf++
		return
	}
	c.last = m
	if m.Type == dhcpv6.Reply {
		c.take(m)
	}
}

// take is what a client makes of a Reply.
func (c *client) take(m dhcpv6.Message) {
	w := c.w
	w.Helper()
	stored := w.stored()
	for _, ia := range m.IAs {
		for _, p := range ia.Prefixes {
			if p.Valid == 0 {
				delete(c.holds, p.Prefix)
				continue
			}
			until := w.now.Add(time.Duration(p.Valid) * time.Second)
			if l, ok := stored[p.Prefix]; !ok || l.PublicKey != c.key.String() || l.ValidS < float64(p.Valid)-1 {
				w.Errorf("%s was told of %s for %d s, on disk is %+v", c.key.String()[:6], p.Prefix, p.Valid, l)
			}
			if !slices.Contains(w.tunnel.sites[c.key].AllowedIPs, p.Prefix) {
				w.Errorf("%s was told of %s before its allowed-ips stood", c.key.String()[:6], p.Prefix)
			}
			if !slices.Contains(w.plane.routes(), p.Prefix) {
				w.Errorf("%s was told of %s before its route stood", c.key.String()[:6], p.Prefix)
			}
			c.holds[p.Prefix] = until
		}
	}
	w.noTwoOwners()
}

// noTwoOwners is the promise of a hub.
func (w *world) noTwoOwners() {
	w.Helper()
	type hold struct {
		p netip.Prefix
		c *client
	}
	var all []hold
	for _, c := range w.order {
		for _, p := range c.held() {
			for _, o := range all {
				if o.c != c && o.p.Overlaps(p) {
					w.Fatalf("two sites have a part of %s", p)
				}
			}
			all = append(all, hold{p, c})
		}
	}
}

// stored are the leases on disk.
func (w *world) stored() map[netip.Prefix]Lease {
	w.Helper()
	records, _, err := w.disk.Load(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	all, err := StoredLeases(records, w.cfg, w.now, w.boot)
	if err != nil {
		w.Fatal(err)
	}
	out := map[netip.Prefix]Lease{}
	for _, l := range all {
		out[netip.MustParsePrefix(l.Prefix)] = l
	}
	return out
}

// consistent says whether leases, routes and allowed-ips are the same.
func (w *world) consistent() {
	w.Helper()
	var leases, allowed []netip.Prefix
	for _, p := range w.h.machine.AllRouted {
		leases = append(leases, p)
	}
	for k, s := range w.tunnel.sites {
		for _, p := range s.AllowedIPs {
			if p != netip.PrefixFrom(k.LinkLocal(), 128) {
				allowed = append(allowed, p)
			}
		}
	}
	slices.SortFunc(leases, netip.Prefix.Compare)
	slices.SortFunc(allowed, netip.Prefix.Compare)
	if routes := w.plane.routes(); !slices.Equal(leases, routes) || !slices.Equal(leases, allowed) {
		w.Fatalf("leases %v\nroutes %v\nallowed-ips %v\n%s", leases, routes, allowed, strings.Join(w.ops[max(0, len(w.ops)-20):], " "))
	}
}

// crashing runs f and says whether the hub died in it. Then a new one is started.
func (w *world) crashing(f func()) (crashed bool) {
	w.Helper()
	defer func() {
		w.crashAt = 0
		if r := recover(); r != nil {
			if _, ok := r.(died); !ok {
				panic(r)
			}
			crashed = true
			w.start()
		}
	}()
	f()
	return false
}
