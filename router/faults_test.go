// SPDX-License-Identifier: MIT

package router

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	lib "github.com/insomniacslk/dhcp/dhcpv6"

	"oasis6/config"
	"oasis6/dataplane"
	"oasis6/internal/control"
	"oasis6/internal/drift"
	"oasis6/internal/wgkey"
	"oasis6/ra"
)

// One LAN host that takes our address makes every Apply fail; hosts must hear of a dead tunnel all the same.
func TestADeadTunnelIsToldWhileTheKernelRefuses(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		b.after(time.Minute)
		b.plane.FailApply(errors.New("address 2001:db8:ebbd:990a::1/64 dev br-lan: another node on the link uses it"))
		b.plane.Push(dataplane.Drift{What: "address 2001:db8:ebbd:990a::1/64"})
		b.after(time.Second)
		b.wantSummary("degraded: the kernel refuses")
		b.newRAs("br-lan")
		b.hub.answer(false)
		b.after(45 * time.Second)
		if m := b.lastRA("br-lan"); m.RouterLifetime != 0 {
			t.Errorf("router lifetime %d while the tunnel is dead and the kernel refuses, want 0", m.RouterLifetime)
		}
		b.hub.answer(true)
		b.plane.FailApply(nil)
		b.after(time.Minute)
		if m := b.lastRA("br-lan"); m.RouterLifetime != 2700 {
			t.Errorf("router lifetime %d when all is well again, want 2700", m.RouterLifetime)
		}
	})
}

func TestAFightIsSaid(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		b.after(time.Minute)
		for i := range 100 {
			b.plane.Push(dataplane.Drift{What: fmt.Sprintf("route %d flushed", i%2)})
			b.after(100 * time.Millisecond)
		}
		b.wantSummary("degraded: another program keeps changing")
		s := b.status()
		n := 0
		for _, e := range s.Events {
			if strings.HasPrefix(e.What, "kernel state changed") {
				n += int(e.Count)
			}
		}
		if s.Ready || n == 0 || n > drift.Fight {
			t.Errorf("ready %v, %d events of 100 changes", s.Ready, n)
		}
		b.after(drift.Quiet)
		b.wantSummary("up: ")
	})
}

// The predecessor was killed, its lease is lost, the hub is gone: hosts still think that we are their router.
func TestTakeoverWithoutALeaseTellsHostsInTheEnd(t *testing.T) {
	prepare := func(b *boxTest) { b.opt.Takeover, b.hub.answering = true, false }
	run(t, delegated, prepare, func(b *boxTest) {
		if got := b.newRAs("br-lan"); len(got) != 0 {
			t.Errorf("%d RAs before anything is known", len(got))
		}
		b.after(takeoverGrace + time.Second)
		if m := b.lastRA("br-lan"); m.RouterLifetime != 0 {
			t.Errorf("router lifetime %d, want 0", m.RouterLifetime)
		}
	})
	run(t, delegated, prepare, func(b *boxTest) {
		b.command(control.Stop)
		if m := b.lastRA("br-lan"); m.RouterLifetime != 0 {
			t.Errorf("router lifetime of the final RA %d, want 0", m.RouterLifetime)
		}
	})
}

func TestReloadWithANewHubAsksIt(t *testing.T) {
	run(t, delegated, func(b *boxTest) {
		next := *b.opt.Config
		next.Peers = []config.Peer{next.Peers[0]}
		next.Peers[0].PublicKey = wgkey.Public{9}
		b.opt.Reload = func() (*config.Config, error) { return &next, nil }
	}, func(b *boxTest) {
		b.after(10 * time.Minute)
		b.newRAs("br-lan")
		b.command(control.Reload)
		b.after(6 * time.Second)
		if want := []lib.MessageType{lib.MessageTypeSolicit, lib.MessageTypeRebind}; !slices.Equal(b.hub.sent, want) {
			t.Errorf("messages %v, want %v", b.hub.sent, want)
		}
		for _, m := range b.newRAs("br-lan") {
			if m.RouterLifetime == 0 {
				t.Error("hosts were told to leave for a hub that answers")
			}
		}
		b.wantSummary("up: ")
	})
}

// "A prefix dies in order": also on a LAN that is no longer in the file.
func TestARemovedLANLosesItsPrefix(t *testing.T) {
	run(t, "2001:db8:ebbd:9900::/56", func(b *boxTest) {
		one := *b.opt.Config
		b.opt.Config.LANs = append(b.opt.Config.LANs, config.NewLAN("br-guest", 1))
		one.LANs = one.LANs[:1]
		b.plane.SetLink(lanLink("br-guest"))
		b.opt.Reload = func() (*config.Config, error) { return &one, nil }
	}, func(b *boxTest) {
		b.after(time.Minute)
		b.newRAs("br-guest")
		b.command(control.Reload)
		m := b.lastRA("br-guest")
		if p := raPrefixes(m); m.RouterLifetime != 0 || len(p) != 1 || p[0].Valid != 0 {
			t.Errorf("last RA: lifetime %d, prefixes %+v; want 0 and the prefix with 0", m.RouterLifetime, p)
		}
	})
}

// Routes to the hub at an IPv6 address: they follow what is known of it.
func TestEndpointChangeIsPlanned(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		b.hub.mu.Lock()
		b.hub.snap.Endpoint = netip.MustParseAddrPort("[2001:db8:1::2]:51820")
		b.hub.mu.Unlock()
		b.hub.events <- endpointChanged("[2001:db8:1::2]:51820")
		synctest.Wait()
		if k := b.plane.String(); strings.Contains(k, "if no other") {
			t.Errorf("a plain default would swallow the tunnel's own datagrams:\n%s", k)
		}
	})
}

func TestTunnelInterfaceIsTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := testBox(t, delegated)
		b.plane.SetLink(dataplane.Link{Name: "oasis0", Exists: true, Index: 9})
		b.start()
		b.plane.SetLink(dataplane.Link{Name: "oasis0"})
		if err := <-b.ended; !errors.Is(err, ErrTunnelFailed) {
			t.Errorf("Run = %v, want ErrTunnelFailed", err)
		}
		synctest.Wait()
	})
}

// The hub lives, its DHCPv6 server does not: the prefix grows old.
func TestAPrefixThatIsNotRenewedIsSaid(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		b.hub.mu.Lock()
		b.hub.prefix = netip.Prefix{}
		b.hub.mu.Unlock()
		b.after(22 * time.Minute)
		b.wantSummary("up: ")
		b.after(22 * time.Minute)
		b.wantSummary("degraded: no DHCPv6 server answers Rebind; 2001:db8:ebbd:990a::/64 stays valid for another 46m0s")
		b.after(2 * time.Minute)
		b.wantSummary("degraded: prefix 2001:db8:ebbd:990a::/64 is deprecated: the hub does not renew it")
		b.after(45 * time.Minute)
		b.wantSummary("degraded: no prefix: ")
	})
}

// Flash renumbering: hosts hear of both prefixes in one RA, and what still comes from the old one is answered
// for as long as a host may hold it.
func TestRenumbering(t *testing.T) {
	const fresh = "2001:db8:ebbd:990b::/64"
	run(t, delegated, nil, func(b *boxTest) {
		b.after(10 * time.Minute)
		b.newRAs("br-lan")
		b.hub.mu.Lock()
		b.hub.prefix, b.hub.old = netip.MustParsePrefix(fresh), netip.MustParsePrefix(delegated)
		b.hub.mu.Unlock()
		var m ra.RouterAdvertisement
		for i := 0; ; i++ {
			if i == 30*60 {
				t.Fatal("the new prefix was not advertised at T1")
			}
			b.after(time.Second)
			if all := b.newRAs("br-lan"); len(all) > 0 {
				if m = all[len(all)-1]; len(raPrefixes(m)) == 2 {
					break
				}
			}
		}
		for _, p := range raPrefixes(m) {
			isOld := p.Prefix.String() == delegated
			if isOld && (p.Valid != 0 || p.Preferred != 0) || !isOld && (p.Valid != 5400 || p.Preferred != 2700) {
				t.Errorf("RA says %+v", p)
			}
		}
		if got := b.plane.Want().Firewall; fmt.Sprint(got.Stale) != "["+delegated+"]" || fmt.Sprint(got.Delegations) != "["+fresh+"]" {
			t.Errorf("firewall: stale %v, delegations %v", got.Stale, got.Delegations)
		}
		if k := b.plane.String(); !strings.Contains(k, "route "+delegated+" dev br-lan") || strings.Contains(k, "2001:db8:ebbd:990a::1") {
			t.Errorf("no way back for the answers, or the old address is still there:\n%s", k)
		}
		b.wantSummary("up: 2001:db8:ebbd:990b::/64")
		for range 91 {
			b.after(time.Minute)
			b.newRAs("br-lan")
		}
		if k := b.plane.String(); strings.Contains(k, "990a") {
			t.Errorf("no host can hold the old prefix any more:\n%s", k)
		}
	})
}

// What a bridge that has just come lacks is nobody's doing.
func TestALANThatComesIsNoFight(t *testing.T) {
	run(t, delegated, func(b *boxTest) { b.plane.SetLink(dataplane.Link{Name: "br-lan"}) }, func(b *boxTest) {
		b.after(time.Minute)
		b.plane.SetLink(lanLink("br-lan"))
		b.plane.Push(dataplane.Drift{What: "address 2001:db8:ebbd:990a::1/64 dev br-lan missing"})
		synctest.Wait()
		for _, e := range b.status().Events {
			if strings.HasPrefix(e.What, "kernel state changed") {
				t.Errorf("event %q: %s", e.What, e.Detail)
			}
		}
	})
}

// A server with lifetimes of a second must not wear the flash out.
func TestShortLeasesAreNotWrittenAllTheTime(t *testing.T) {
	run(t, delegated, func(b *boxTest) { b.hub.preferred, b.hub.valid = time.Second, time.Second }, func(b *boxTest) {
		writes, last := 0, b.leaseFile()
		for range 3600 {
			b.after(time.Second)
			b.newRAs("br-lan")
			if f := b.leaseFile(); f != last {
				writes, last = writes+1, f
			}
		}
		if writes > 40 {
			t.Errorf("%d writes in an hour", writes)
		}
	})
}
