// SPDX-License-Identifier: MIT

package hub

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"oasis6/config"
	"oasis6/dhcpv6"
	"oasis6/hub/store"
	"oasis6/internal/underrace"
	"oasis6/internal/wgkey"
	"oasis6/status"
	"oasis6/tun"
)

// The order of issue and end of a lease: on disk, allowed-ips, route, Reply; Reply, valid lifetime over, route,
// allowed-ips.
func TestLeaseOwnsRouteAndAllowedIPs(t *testing.T) {
	w := newWorld(t, 2)
	w.consistent()
	a := w.order[0]
	w.ops = nil
	p := a.bind()
	if got := strings.Join(w.ops, " "); got != "commit allowed apply send" {
		t.Errorf("a new lease: %s, want commit allowed apply send", got)
	}
	if !testPool.Contains(p.Addr()) || p.Bits() != 64 {
		t.Fatalf("got %v, want a /64 of %s\n%s", p, testPool, w.log.String())
	}
	w.consistent()

	w.wait(20 * time.Minute)
	w.ops = nil
	if m := a.say(dhcpv6.Renew, nil); len(m.IAs) != 1 || len(m.IAs[0].Prefixes) != 1 || m.IAs[0].Prefixes[0].Valid != 5400 {
		t.Fatalf("Renew: %+v", m)
	}
	if got := strings.Join(w.ops, " "); got != "send" {
		t.Errorf("a mere renewal: %s, want send alone", got)
	}

	w.ops = nil
	if m := a.say(dhcpv6.Release, nil); m.Type != dhcpv6.Reply || m.Status.Code != dhcpv6.Success {
		t.Fatalf("Release: %+v", m)
	}
	if got := strings.Join(w.ops, " "); got != "commit send" {
		t.Errorf("Release: %s, want commit send", got)
	}
	if !slices.Contains(w.plane.routes(), p) {
		t.Error("the route went before the valid lifetime was over")
	}
	w.ops = nil
	w.wait(91 * time.Minute)
	end := slices.DeleteFunc(slices.Clone(w.ops), func(s string) bool { return s == "send" })
	if got := strings.Join(end, " "); !strings.HasPrefix(got, "commit apply allowed") {
		t.Errorf("the end of a lease: %s, want commit apply allowed", got)
	}
	if routes := w.plane.routes(); len(routes) != 0 {
		t.Errorf("routes left: %v", routes)
	}
	w.consistent()

	// It rests: another site does not get it, its own does.
	if q := w.order[1].bind(); !q.IsValid() || q == p {
		t.Errorf("another site got %v at once", q)
	}
	if q := a.bind(); q != p {
		t.Errorf("the site got %v, want %v again", q, p)
	}
	w.consistent()
}

// Disk full when a lease is written: no Reply leaves, nobody loses anything, and when there is room all goes on.
func TestDiskFull(t *testing.T) {
	w := newWorld(t, 3)
	a, b := w.order[0], w.order[1]
	p := a.bind()
	w.wait(10 * time.Minute)
	w.disk.Refuse(errors.New("no space left on device"))
	if m := b.say(dhcpv6.Solicit, func(m *dhcpv6.Message) { m.RapidCommit = true }); m.Type != 0 {
		t.Errorf("an answer left: %+v", m)
	}
	w.consistent()
	if s := w.h.snapshot(w.now); s.Hub.StoreError == "" || !strings.HasPrefix(s.Summary, "degraded: leases cannot be saved") {
		t.Errorf("status: %q, store_error %q", s.Summary, s.Hub.StoreError)
	}
	if m := a.say(dhcpv6.Renew, nil); m.Type != dhcpv6.Reply || len(a.held()) != 1 || a.held()[0] != p {
		t.Errorf("the site with a lease: %+v", m)
	}
	w.disk.Refuse(nil)
	if q := b.bind(); !q.IsValid() {
		t.Error("nothing given when there is room again")
	}
	w.consistent()
	if s := w.h.snapshot(w.now); s.Hub.StoreError != "" || !s.Ready {
		t.Errorf("status after: %q, store_error %q", s.Summary, s.Hub.StoreError)
	}
}

// The kernel refuses: what tells of a lease waits, and comes when the route stands.
func TestKernelRefuses(t *testing.T) {
	w := newWorld(t, 1)
	a := w.order[0]
	w.plane.FailApply(errors.New("no memory"))
	if m := a.say(dhcpv6.Solicit, func(m *dhcpv6.Message) { m.RapidCommit = true }); m.Type != 0 {
		t.Errorf("a Reply left without a route: %+v", m)
	}
	if s := w.h.snapshot(w.now); s.Ready || !strings.Contains(s.Summary, "no memory") {
		t.Errorf("status: %q", s.Summary)
	}
	w.plane.FailApply(nil)
	w.wait(2 * time.Second)
	if p := a.bind(); !p.IsValid() {
		t.Error("no prefix when the kernel takes routes again")
	}
	w.consistent()
}

// After a crash at any moment of any sequence: leases, routes and allowed-ips are the same, and no prefix has two owners.
func TestCrashAtAThousandPoints(t *testing.T) {
	crashes, enough := 0, 1000
	if underrace.Is {
		enough = 100 // the thousand are in make renumber
	}
	for seed := uint64(0); crashes < enough; seed++ {
		w := newWorld(t, 12)
		w.cfg.Hub.Pools = []netip.Prefix{netip.MustParsePrefix("2001:db8:ebbd:9900::/61")} // eight for twelve
		if err := w.h.configure(w.now, w.cfg); err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(seed, 1))
		for range 60 {
			w.crashAt = 1 + r.IntN(12)
			if w.crashing(func() { w.random(r) }) {
				crashes++
			}
			w.consistent()
			w.noTwoOwners()
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d crashes", crashes)
}

// random does one thing that happens to a hub.
func (w *world) random(r *rand.Rand) {
	w.Helper()
	c := w.order[r.IntN(len(w.order))]
	switch k := r.IntN(24); {
	case k < 3:
		c.bind()
	case k < 5: // of another length, so that leases lie in each other, and pools in leases
		c.say(dhcpv6.Solicit, func(m *dhcpv6.Message) {
			m.RapidCommit = true
			m.IAs[0].Prefixes = []dhcpv6.IAPrefix{{Prefix: netip.PrefixFrom(netip.IPv6Unspecified(), 61+r.IntN(4))}}
		})
	case k < 8:
		c.say(dhcpv6.Renew, nil)
	case k < 10:
		if c.say(dhcpv6.Release, nil).Type == dhcpv6.Reply {
			clear(c.holds)
		}
	case k < 11:
		c.say(dhcpv6.Rebind, nil)
	case k < 12:
		victim := w.order[r.IntN(len(w.order))]
		c.say(dhcpv6.Request, func(m *dhcpv6.Message) {
			m.ClientID = victim.duid
			for _, p := range victim.held() {
				m.IAs[0].Prefixes = append(m.IAs[0].Prefixes, dhcpv6.IAPrefix{Prefix: p})
			}
		})
	case k < 15:
		w.wait(time.Duration(r.IntN(40)) * time.Minute)
	case k < 16:
		w.boot = fmt.Sprintf("boot-%d", r.Uint32())
		w.start()
	case k < 17:
		w.disk.Refuse(errors.New("full"))
		c.bind()
		w.disk.Refuse(nil)
	case k < 18:
		pools := []string{"2001:db8:ebbd:9900::/61", "2001:db8:aa00::/61", "2001:db8:ebbd:9908::/61", "2001:db8:ebbd:9900::/60", "2001:db8:ebbd:9902::/63"}
		cfg := *w.cfg
		cfg.Hub.Pools = []netip.Prefix{netip.MustParsePrefix(pools[r.IntN(len(pools))])}
		w.reconfigure(&cfg)
	case k < 22:
		w.disturb(r, c)
	default:
		c.say(dhcpv6.Solicit, nil)
	}
}

// Renumbering by a new pool: each site has the new prefix with its next Renew, and the old one goes on until it dies.
func TestRenumber(t *testing.T) {
	w := newWorld(t, 3)
	var old []netip.Prefix
	for _, c := range w.order {
		// The key for Reconfigure comes with this Reply.
		old = append(old, c.bind())
	}
	w.wait(10 * time.Minute)
	cfg := *w.cfg
	cfg.Hub.Pools = []netip.Prefix{netip.MustParsePrefix("2001:db8:aa00::/56")}
	w.cfg = &cfg
	if err := w.h.configure(w.now, w.cfg); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.wait(time.Second)
	for i, c := range w.order {
		if c.reconf != 1 {
			t.Errorf("site %d: %d Reconfigures within a second, want 1", i, c.reconf)
		}
		m := c.say(dhcpv6.Renew, nil)
		got := map[netip.Prefix]dhcpv6.IAPrefix{}
		for _, p := range m.IAs[0].Prefixes {
			got[p.Prefix] = p
		}
		if x := got[old[i]]; x.Preferred != 0 || x.Valid == 0 || x.Valid > 80*60 {
			t.Errorf("site %d: the old prefix has preferred %d, valid %d", i, x.Preferred, x.Valid)
		}
		if len(got) != 2 || len(c.held()) != 2 {
			t.Errorf("site %d: told of %v", i, m.IAs[0].Prefixes)
		}
	}
	w.consistent()
	if n := len(w.plane.routes()); n != 6 {
		t.Errorf("%d routes, want the old and the new one of each", n)
	}
	w.wait(50 * time.Minute)
	for _, c := range w.order {
		c.say(dhcpv6.Renew, nil)
	}
	w.wait(41 * time.Minute)
	if n := len(w.plane.routes()); n != 3 {
		t.Errorf("%d routes after the old ones have died, want 3: %v", n, w.plane.routes())
	}
	w.consistent()
	if len(w.h.retired) != 0 {
		t.Errorf("pools still kept: %v", w.h.retired)
	}
}

// What is on a link of the hub itself is nobody's lease, also where its address comes late; with OnLink it is.
func TestOwnPrefixesAreNotDelegated(t *testing.T) {
	w := newWorld(t, 2)
	w.onLink = []netip.Prefix{netip.MustParsePrefix("2001:db8:ebbd:9900::5/64")}
	w.wait(10 * time.Second)
	if p := w.order[0].bind(); !p.IsValid() || p.Overlaps(w.onLink[0]) {
		t.Errorf("delegated %v beside %v on the uplink", p, w.onLink)
	}
	w.onLink = []netip.Prefix{netip.MustParsePrefix("2001:db8:ebbd:9900::5/56")}
	w.wait(10 * time.Second)
	if s := w.h.snapshot(w.now); !strings.Contains(s.Summary, "is on a link of this machine") {
		t.Errorf("summary with the whole pool on the uplink: %q", s.Summary)
	}
	if p := w.order[1].bind(); p.IsValid() {
		t.Errorf("delegated %v of a pool on the uplink", p)
	}
	cfg := *w.cfg
	cfg.Hub.OnLink, cfg.Hub.Uplink = true, "eth0"
	w.cfg = &cfg
	if err := w.h.configure(w.now, w.cfg); err != nil {
		t.Fatal(err)
	}
	w.settle()
	p := w.order[1].bind()
	if !p.IsValid() {
		t.Error("with OnLink nothing is delegated")
	}
	if x := w.plane.last.Proxy; len(x) != 1 || x[0].Iface != "eth0" || !slices.Contains(x[0].Prefixes, p) {
		t.Errorf("solicitations answered for %+v, want %v on eth0", x, p)
	}
}

func TestPoolExhausted(t *testing.T) {
	w := newWorld(t, 3)
	cfg := *w.cfg
	cfg.Hub.Pools = prefixes("2001:db8:ebbd:9900::/63")
	w.cfg = &cfg
	w.start()
	for _, c := range w.order[:2] {
		if !c.bind().IsValid() {
			t.Fatal("no prefix while there is one")
		}
	}
	m := w.order[2].say(dhcpv6.Solicit, func(m *dhcpv6.Message) { m.RapidCommit = true })
	if len(m.IAs) != 1 || m.IAs[0].Status.Code != dhcpv6.NoPrefixAvail {
		t.Errorf("the third site is told %+v, want NoPrefixAvail", m)
	}
	if s := w.h.snapshot(w.now); !strings.Contains(s.Summary, "pool 2001:db8:ebbd:9900::/63 has no /64 left") {
		t.Errorf("summary %q", s.Summary)
	}
	w.consistent()
}

// A site that speaks for the first time shows in the status within a second.
func TestSiteShowsSoon(t *testing.T) {
	w := newWorld(t, 1)
	a := w.order[0]
	w.wait(20 * time.Second)
	w.tunnel.reading[a.key] = tun.Reading{HandshakeAt: w.now, Endpoint: netip.MustParseAddrPort("198.51.100.2:1")}
	a.bind()
	w.wait(time.Second)
	if s := w.h.snapshot(w.now); s.Summary != "up: 1 of 1 site up, 1 lease" {
		t.Errorf("summary a second after a site came: %q", s.Summary)
	}
}

// A shared key is an alarm in status and log.
func TestTwoBoxesWithOneKey(t *testing.T) {
	w := newWorld(t, 1)
	a := w.order[0]
	for i := range 12 {
		ep := netip.AddrPortFrom(netip.MustParseAddr("198.51.100.2"), uint16(1000+i%2))
		w.tunnel.reading[a.key] = tun.Reading{HandshakeAt: w.now, Endpoint: ep, Returns: uint64(max(0, i-1))}
		w.wait(6 * time.Second)
	}
	s := w.h.snapshot(w.now)
	if !s.Sites[0].Flapping || !strings.Contains(s.Summary, "two boxes seem to share the key of site0") {
		t.Errorf("summary %q, flapping %v", s.Summary, s.Sites[0].Flapping)
	}
	if n := strings.Count(w.log.String(), "two boxes seem to share one key"); n != 1 {
		t.Errorf("%d log lines, want one", n)
	}
}

// Sites come and go with a reload; what stays keeps its lease.
func TestReloadOfSites(t *testing.T) {
	w := newWorld(t, 3)
	for _, c := range w.order {
		c.bind()
	}
	kept := w.order[0].held()
	cfg := *w.cfg
	cfg.Sites = slices.Clone(cfg.Sites[:2])
	late := w.addClient(wgkey.Private{9: 9}.Public())
	cfg.Sites = append(cfg.Sites, config.Site{Name: "late", PublicKey: late.key, Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:beef::/56")}})
	w.cfg = &cfg
	w.ops = nil
	if err := w.h.configure(w.now, w.cfg); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if got := strings.Join(w.ops, " "); !strings.HasPrefix(got, "sites") || !strings.Contains(got, "apply sites") {
		t.Errorf("a reload did %s, want the new sites first and the old ones last, behind their routes", got)
	}
	w.consistent()
	if p := late.bind(); p.String() != "2001:db8:beef::/56" {
		t.Errorf("the reservation is %v", p)
	}
	w.order[0].say(dhcpv6.Renew, nil)
	if got := w.order[0].held(); !slices.Equal(got, kept) {
		t.Errorf("the one that stayed has %v, want %v", got, kept)
	}
	if m := w.order[2].say(dhcpv6.Renew, nil); m.Type != 0 {
		t.Errorf("the one that went is answered: %+v", m)
	}
	w.consistent()
}

// A store that has lost leases: a site that asks for what it had gets it, though another came first; when nobody can hold
// a lost one any more all is as usual.
func TestLostLeases(t *testing.T) {
	w := newWorld(t, 3)
	a, b := w.order[0], w.order[1]
	had := a.bind()
	w.disk = store.NewMemory()
	if _, err := w.disk.Commit(t.Context(), []store.Change{{Key: store.KeyLost, Value: []byte("hub.db was damaged")}}); err != nil {
		t.Fatal(err)
	}
	w.start()
	if s := w.h.snapshot(w.now); !strings.Contains(s.Summary, "leases of the store were lost") || !strings.Contains(s.Summary, "put a copy of hub.db back, or invite them anew") {
		t.Errorf("summary %q", s.Summary)
	}
	if p := b.bind(); !p.IsValid() || p == had {
		t.Errorf("another site got %v, which the first one had", p)
	}
	a.say(dhcpv6.Rebind, nil)
	if got := a.held(); len(got) != 1 || got[0] != had {
		t.Errorf("after a Rebind the site has %v, want %v", got, had)
	}
	w.consistent()
	w.wait(3 * time.Hour)
	if s := w.h.snapshot(w.now); !s.Ready || strings.Contains(s.Summary, "lost") {
		t.Errorf("summary three hours later: %q", s.Summary)
	}
	w.start()
	if w.h.records.lost {
		t.Error("the next hub still believes that leases are lost")
	}
}

// A pool of which nothing can be delegated: sites go on with what they have, and the status says so.
func TestPoolWithoutRoomTakesNothingBack(t *testing.T) {
	w := newWorld(t, 3)
	for _, c := range w.order {
		c.bind()
	}
	cfg := *w.cfg
	cfg.Hub.Pools = []netip.Prefix{netip.MustParsePrefix("2001:db8:aa00::/64")}
	w.reconfigure(&cfg)
	for range 5 {
		for _, c := range w.order {
			m := c.say(dhcpv6.Renew, nil)
			if !slices.ContainsFunc(m.IAs[0].Prefixes, func(p dhcpv6.IAPrefix) bool { return p.Preferred > 0 }) {
				t.Fatalf("a site without a preferred prefix: %+v", m.IAs)
			}
		}
		w.wait(30 * time.Minute)
	}
	w.consistent()
	want := "2 leases should be replaced, and are renewed for want of another prefix"
	if s := w.h.snapshot(w.now); !slices.ContainsFunc(s.Problems, func(p string) bool { return strings.HasPrefix(p, want) }) {
		t.Errorf("problems %q, want one that begins with %q", s.Problems, want)
	}
}

// After a restart the hub knows of a lease only what the disk says, until its site asks again: that is marked.
func TestLifetimesAfterARestart(t *testing.T) {
	w := newWorld(t, 1)
	w.order[0].bind()
	lease := func() status.SiteLease {
		t.Helper()
		s := w.h.snapshot(w.now)
		if len(s.Sites) != 1 || len(s.Sites[0].Leases) != 1 {
			t.Fatalf("sites %+v", s.Sites)
		}
		return s.Sites[0].Leases[0]
	}
	w.wait(10 * time.Minute)
	if l := lease(); l.AtMost || l.PreferredS != 35*60 || l.ValidS != 80*60 {
		t.Errorf("before: %+v", l)
	}
	w.start()
	if l := lease(); !l.AtMost || l.PreferredS != 95*60 || l.ValidS != 140*60 {
		t.Errorf("after a restart: %+v, want what the disk says, marked", l)
	}
	w.order[0].say(dhcpv6.Renew, nil)
	if l := lease(); l.AtMost || l.PreferredS != 45*60 {
		t.Errorf("after it was renewed: %+v", l)
	}
}

// A pool that is no longer in the configuration is in the status as long as leases are out of it, also of a hub that was
// started since.
func TestFormerPoolsAreShown(t *testing.T) {
	w := newWorld(t, 3)
	w.cfg.Sites[2].Prefixes = []netip.Prefix{netip.MustParsePrefix("2001:db8:9::/64")}
	w.reconfigure(w.cfg)
	for _, c := range w.order {
		c.bind()
	}
	w.wait(10 * time.Minute)
	cfg := *w.cfg
	cfg.Hub.Pools = []netip.Prefix{netip.MustParsePrefix("2001:db8:aa00::/56")}
	w.reconfigure(&cfg)
	former := func(want ...status.FormerPool) {
		t.Helper()
		if got := w.h.snapshot(w.now).Hub.FormerPools; !slices.Equal(got, want) {
			t.Errorf("former pools %+v, want %+v", got, want)
		}
	}
	former(status.FormerPool{Prefix: testPool.String(), Leases: 2, ValidS: 80 * 60})
	for _, c := range w.order {
		c.say(dhcpv6.Renew, nil)
	}
	former(status.FormerPool{Prefix: testPool.String(), Leases: 2, ValidS: 80 * 60})
	w.start()
	former(status.FormerPool{Prefix: "2001:db8:ebbd:9900::/63", Leases: 2, ValidS: 80 * 60})
	w.wait(80 * time.Minute)
	former()
}
