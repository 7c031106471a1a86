// SPDX-License-Identifier: MIT

package hub

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"oasis6/config"
	"oasis6/dhcpv6"
	"oasis6/hub/enroll"
	"oasis6/hub/store"
	"oasis6/internal/invite"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/wgkey"
	"oasis6/tun"
)

// reserve makes a prefix that one site has the reservation of another, who waits for it.
func (w *world) reserve(p netip.Prefix, site int) {
	w.Helper()
	cfg := *w.cfg
	cfg.Sites = slices.Clone(cfg.Sites)
	cfg.Sites[site].Prefixes = []netip.Prefix{p}
	w.reconfigure(&cfg)
	w.order[site].bind()
}

func (w *world) reconfigure(cfg *config.HubConfig) {
	w.Helper()
	w.cfg = cfg
	if err := w.h.configure(w.now, cfg); err != nil {
		w.Fatal(err)
	}
	w.settle()
}

// A lease ends, and the site that waits for the prefix asks before the hub has come to that: in one turn the prefix goes from
// the one's allowed-ips to the other's.
func TestPrefixGoesToAnotherSiteInOneTurn(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.order[0], w.order[1]
	p := a.bind()
	w.reserve(p, 1)
	w.now = w.now.Add(91 * time.Minute) // and the timer is late
	if got := b.bind(); got != p {
		t.Errorf("the site got %v, want its reservation %v", got, p)
	}
	w.consistent()
}

// The same where the kernel does not take the end of the lease, so that its route stands and its allowed-ips, too.
func TestPrefixGoesToAnotherSiteWhileTheKernelRefuses(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.order[0], w.order[1]
	p := a.bind()
	w.reserve(p, 1)
	w.wait(89 * time.Minute)
	b.say(dhcpv6.Renew, nil)
	w.plane.FailApply(errors.New("no memory"))
	w.wait(2 * time.Minute)
	if m := b.say(dhcpv6.Renew, nil); m.Type != 0 {
		t.Errorf("a Reply left without a route: %+v", m)
	}
	w.plane.FailApply(nil)
	w.wait(time.Minute)
	b.say(dhcpv6.Renew, nil)
	if !slices.Contains(b.held(), p) {
		t.Errorf("the site has %v, want its reservation %v among them", b.held(), p)
	}
	w.consistent()
}

// Somebody takes a site out with wg, and its lease ends before the hub has seen that: no reason to die.
func TestLeaseEndsOfASiteThatWgTookOut(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.order[0], w.order[1]
	p, q := a.bind(), b.bind()
	w.wait(30 * time.Minute)
	b.say(dhcpv6.Renew, nil)
	w.wait(60*time.Minute - time.Second)
	delete(w.tunnel.sites, a.key)
	w.wait(2 * time.Second)
	if routes := w.plane.routes(); slices.Contains(routes, p) || !slices.Contains(routes, q) {
		t.Errorf("routes %v, want that of %v alone", routes, q)
	}
	if _, ok := w.tunnel.sites[a.key]; !ok {
		t.Error("the site is not put back")
	}
	if !strings.Contains(w.log.String(), "wg") {
		t.Errorf("the log does not say it:\n%s", w.log.String())
	}
	w.consistent()
}

// A full disk at the moment when lost leases are over does not make the next hub believe sites once more.
func TestLostLeasesAreOverOnAFullDisk(t *testing.T) {
	w := newWorld(t, 1)
	w.disk = store.NewMemory()
	if _, err := w.disk.Commit(t.Context(), []store.Change{{Key: store.KeyLost, Value: []byte("hub.db was damaged")}}); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.disk.Refuse(errors.New("no space left on device"))
	w.wait(2 * time.Hour)
	w.disk.Refuse(nil)
	w.wait(time.Minute)
	if n := strings.Count(w.log.String(), "no lost lease can be in use any more"); n != 1 {
		t.Errorf("the log says %d times that it is over, want once", n)
	}
	w.start()
	if w.h.records.lost {
		t.Error("the next hub believes that leases are lost")
	}
}

// An uplink that gets its address late, by SLAAC for example, in the prefix that its link shares with sites: no site may
// send from it.
func TestOwnAddressComesLateOnLink(t *testing.T) {
	w := newWorld(t, 1)
	cfg := *w.cfg
	cfg.Hub.OnLink, cfg.Hub.Uplink = true, "eth0"
	w.reconfigure(&cfg)
	w.order[0].bind()
	w.onLink = []netip.Prefix{netip.MustParsePrefix("2001:db8:ebbd:9900::5/64")}
	w.wait(10 * time.Second)
	if got, want := w.plane.last.Hub.Taken, netip.MustParsePrefix("2001:db8:ebbd:9900::5/128"); !slices.Contains(got, want) {
		t.Errorf("sources that no site may have: %v, want %v among them", got, want)
	}
}

// The box's key stands in the file by the time it is used first: the invitation is over all the same.
func TestInvitationEndsWithAKeyOfTheFile(t *testing.T) {
	w := newWorld(t, 0)
	ticket, err := w.h.invite(t.Context(), w.now, enroll.Order{Name: "museum", Valid: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	inv, err := invite.Parse(ticket.Text)
	if err != nil {
		t.Fatal(err)
	}
	temporary, box := inv.Keys().Private.Public(), wgkey.Private{5: 5}.Public()
	ask := invite.Request{Key: box}
	w.deliver(temporary, ip6pkt.UDP(temporary.LinkLocal(), w.h.linkLocal(), invite.Port, invite.Port, 64, ask.Marshal()))
	cfg := *w.cfg
	cfg.Sites = []config.Site{{Name: "museum", PublicKey: box}}
	w.reconfigure(&cfg)
	w.tunnel.reading[box] = tun.Reading{HandshakeAt: w.now, Endpoint: netip.MustParseAddrPort("198.51.100.2:1")}
	w.wait(10 * time.Second)
	if _, there := w.tunnel.sites[temporary]; there {
		t.Error("the temporary key is still a peer after the box has used its own")
	}
	if _, there := w.tunnel.sites[box]; !there {
		t.Error("the box is no peer")
	}
}

// disturb does one thing to a hub that people and kernels do to it.
func (w *world) disturb(r *rand.Rand, c *client) {
	w.Helper()
	cfg := *w.cfg
	cfg.Sites = slices.Clone(cfg.Sites)
	switch r.IntN(4) {
	case 0: // the kernel refuses for a while
		w.plane.FailApply(errors.New("no memory"))
		defer w.plane.FailApply(nil)
		c.bind()
		w.wait(time.Duration(r.IntN(3)) * time.Hour)
		w.order[r.IntN(len(w.order))].bind()
		w.plane.FailApply(nil)
		w.wait(time.Minute)
	case 1: // somebody uses wg
		delete(w.tunnel.sites, c.key)
		w.wait(time.Duration(1+r.IntN(120)) * time.Minute)
	case 2: // a reservation goes from one site to another
		for i := range cfg.Sites {
			cfg.Sites[i].Prefixes = nil
		}
		p := netip.MustParsePrefix("2001:db8:ebbd:9900::/62")
		if held := c.held(); len(held) > 0 {
			p = held[0]
		}
		cfg.Sites[r.IntN(len(cfg.Sites))].Prefixes = []netip.Prefix{p}
		w.reconfigure(&cfg)
	default: // a site goes, or comes again
		i := slices.IndexFunc(cfg.Sites, func(s config.Site) bool { return s.PublicKey == c.key })
		if i < 0 {
			cfg.Sites = append(cfg.Sites, config.Site{PublicKey: c.key})
		} else {
			clear(c.holds) // its tunnel is closed
			cfg.Sites = slices.Delete(cfg.Sites, i, i+1)
		}
		w.reconfigure(&cfg)
	}
}
