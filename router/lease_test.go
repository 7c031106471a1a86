// SPDX-License-Identifier: MIT

package router

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	lib "github.com/insomniacslk/dhcp/dhcpv6"

	"oasis6/config"
	"oasis6/dhcpv6/client"
	"oasis6/tun"
)

// The lease comes back from the server: the LAN hears that the prefix is gone, the kernel has it no longer, and only
// then the Release leaves. The box stops, its identity stays.
func TestLeaveReleasesAndStops(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		b.after(10 * time.Minute)
		b.newRAs("br-lan")
		left := make(chan client.Left, 1)
		go func() {
			l, err := b.r.Leave(context.Background())
			if err != nil {
				t.Errorf("Leave: %v", err)
			}
			left <- l
		}()
		synctest.Wait()
		if l := <-left; !l.Released {
			t.Errorf("left %+v", l)
		}
		if want := []lib.MessageType{lib.MessageTypeSolicit, lib.MessageTypeRelease}; !slices.Equal(b.hub.sent, want) {
			t.Errorf("sent %v, want %v", b.hub.sent, want)
		}
		ras := b.newRAs("br-lan")
		if len(ras) == 0 {
			t.Fatal("the LAN was told nothing")
		}
		for _, m := range ras {
			if p := raPrefixes(m); m.RouterLifetime != 0 || len(p) != 1 || p[0].Preferred != 0 || p[0].Valid != 0 {
				t.Errorf("RA: router lifetime %d, prefixes %+v; want the prefix withdrawn", m.RouterLifetime, p)
			}
		}
		if !b.plane.Restored() {
			t.Error("the kernel was not put back")
		}
		if f := b.leaseFile(); !strings.Contains(f, `"duid"`) || strings.Contains(f, "2001:db8") {
			t.Errorf("lease.json after leaving: %s", f)
		}
	})
}

// Nobody answers the Release: four are sent, and the box stops all the same within 17 s.
func TestLeaveUnanswered(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		b.hub.mu.Lock()
		b.hub.prefix = netip.Prefix{} // silent
		b.hub.mu.Unlock()
		begin := time.Now()
		l, err := b.r.Leave(context.Background())
		if err != nil || l.Released || !strings.Contains(l.How, "no server answers") {
			t.Errorf("left %+v %v", l, err)
		}
		n := b.hub.count(lib.MessageTypeRelease)
		if d := time.Since(begin); n != 4 || d > 17*time.Second {
			t.Errorf("%d Releases, %v", n, d)
		}
	})
}

// A static prefix has no lease; the LAN is told all the same. A tunnel that is dead cannot carry a Release.
func TestLeaveWithoutALeaseOrTunnel(t *testing.T) {
	run(t, "", func(b *boxTest) {
		b.opt.Config.Prefix = config.Prefix{Source: config.Static, Static: prefix("2001:db8:ebbd:9900::/56")}
	}, func(b *boxTest) {
		b.newRAs("br-lan")
		if l, err := b.r.Leave(context.Background()); err != nil || !l.Released {
			t.Errorf("static: %+v %v", l, err)
		}
		if p := raPrefixes(b.lastRA("br-lan")); len(p) != 1 || p[0].Valid != 0 {
			t.Errorf("static: prefixes %+v", p)
		}
	})
	run(t, delegated, nil, func(b *boxTest) {
		b.hub.answer(false)
		b.after(time.Minute)
		if l, err := b.r.Leave(context.Background()); err != nil || l.Released || !strings.Contains(l.How, "tunnel is down") {
			t.Errorf("dead tunnel: %+v %v", l, err)
		}
	})
}

// The wall clock jumps by 56 years, back by a day, to 1970: what is sent and when is the same as without, to the second.
func TestWallClockSteps(t *testing.T) {
	base := sentDuring(t, nil)
	for name, step := range map[string]func(time.Time) time.Time{
		"+56 years": func(w time.Time) time.Time { return w.AddDate(56, 0, 0) },
		"-1 day":    func(w time.Time) time.Time { return w.AddDate(0, 0, -1) },
		"1970":      func(time.Time) time.Time { return time.Unix(0, 0) },
	} {
		if got := sentDuring(t, step); got != base {
			t.Errorf("%s: %s\nwant %s", name, got, base)
		}
	}
}

// sentDuring is what a box sends in three hours with a restart in between; the wall clock steps twice on the way.
func sentDuring(t *testing.T, step func(time.Time) time.Time) (text string) {
	state := t.TempDir()
	stepped := false
	wall := func() time.Time {
		if stepped && step != nil {
			return step(time.Now())
		}
		return time.Now()
	}
	for part := range 2 {
		run(t, delegated, func(b *boxTest) {
			b.opt.State, b.opt.Wall, b.opt.Takeover = state, wall, part == 1
		}, func(b *boxTest) {
			begin := time.Now()
			seen := 0
			for range 90 * 60 / 10 {
				b.after(10 * time.Second)
				if time.Since(begin) == 40*time.Minute {
					stepped = !stepped
				}
				for got := b.hub.got(); seen < len(got); seen++ {
					text += time.Since(begin).String() + " " + got[seen].MessageType.String() + " "
				}
			}
			if !strings.HasPrefix(b.status().Summary, "up: ") {
				t.Errorf("after 90 minutes: %s", b.status().Summary)
			}
		})
	}
	return text
}

// A suspend of eight hours: lifetimes have run on. A lease that is over is asked for again with its prefix as the wish,
// and is back within seconds; one that is not over is renewed at once and never withdrawn.
func TestSuspendOfEightHours(t *testing.T) {
	for _, tc := range []struct {
		valid time.Duration
		first lib.MessageType
	}{
		{90 * time.Minute, lib.MessageTypeSolicit},
		{11 * time.Hour, lib.MessageTypeRebind}, // T2 is 7.04 h
		{14 * time.Hour, lib.MessageTypeRenew},  // T1 is 5.6 h, T2 8.96 h
		{24 * time.Hour, lib.MessageTypeRebind}, // T1 is 9.6 h: the handshake after a silence verifies the lease
	} {
		run(t, delegated, func(b *boxTest) {
			b.hub.preferred, b.hub.valid = tc.valid*4/5, tc.valid
		}, func(b *boxTest) {
			b.after(20 * time.Minute)
			b.newRAs("br-lan")
			asked := len(b.hub.got())
			b.opt.Clock.(*bubbleClock).suspend(8 * time.Hour)
			b.after(15 * time.Second)
			b.wantSummary("up: ")
			got := b.hub.got()[asked:]
			if len(got) == 0 {
				t.Fatalf("valid for %v: nothing was sent after the suspend", tc.valid)
			}
			m := got[0]
			if m.MessageType != tc.first || m.Options.OneIAPD().Options.Prefixes()[0].Prefix.String() != delegated {
				t.Errorf("valid for %v: the first message is %s", tc.valid, m.Summary())
			}
			gone := false
			for _, m := range b.newRAs("br-lan") {
				for _, p := range raPrefixes(m) {
					gone = gone || p.Valid == 0
				}
			}
			if want := tc.first == lib.MessageTypeSolicit; gone != want {
				t.Errorf("valid for %v: withdrawn %v, want %v", tc.valid, gone, want)
			}
		})
	}
}

// The hub's DHCPv6 server is away for most of an hour and comes back without a word. The next routine handshake of the
// tunnel makes the box ask; without one, RFC 9915's times would have it wait for up to 600 s.
func TestServerIsBackWithTheNextHandshake(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		b.hub.mu.Lock()
		there := b.hub.prefix
		b.hub.prefix = netip.Prefix{} // silent
		b.hub.mu.Unlock()
		b.after(62 * time.Minute) // T1 22.5 min, T2 36 min
		b.wantSummary("degraded: ")
		b.hub.mu.Lock()
		b.hub.prefix = there
		b.hub.mu.Unlock()
		b.hub.events <- tun.Handshake{At: b.opt.Clock.Now()}
		b.after(5 * time.Second)
		b.wantSummary("up: ")
		if n := b.status().DHCPv6.NextS; n < 1200 {
			t.Errorf("the next message is %v s away, want T1", n)
		}
	})
}

// A handshake after more than REJECT_AFTER_TIME ends a silence: the lease is verified at once. That it is not done twice
// in 30 s is the client's to keep.
func TestHandshakeAfterASilenceVerifies(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		rebinds := func() int { return b.hub.count(lib.MessageTypeRebind) }
		shake := func() {
			b.hub.events <- tun.Handshake{At: b.opt.Clock.Now()}
			synctest.Wait()
		}
		for range 4 { // routine ones
			b.after(2 * time.Minute)
			shake()
		}
		if n := rebinds(); n != 0 {
			t.Errorf("%d Rebinds after routine handshakes", n)
		}
		b.opt.Clock.(*bubbleClock).suspend(sessionLife + time.Second)
		shake()
		if n := rebinds(); n != 1 {
			t.Errorf("%d Rebinds after a silence, want 1", n)
		}
	})
}

// A hub that was started anew within the time that a tunnel may be silent: it answers nothing but the handshake that the box
// begins for that. The lease is verified: a hub that forgets leases with its start does not route them before.
func TestHandshakeThatWasCalledForVerifies(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		b.after(time.Minute)
		b.hub.mu.Lock()
		b.hub.forgotten = true
		shakes := b.hub.initiated
		b.hub.mu.Unlock()
		b.after(40 * time.Second)
		b.wantSummary("up: ")
		b.hub.mu.Lock()
		shakes = b.hub.initiated - shakes
		b.hub.mu.Unlock()
		if shakes != 1 {
			t.Errorf("%d handshakes were begun, want 1", shakes)
		}
		if n := b.hub.count(lib.MessageTypeRebind); n != 1 {
			t.Errorf("%d Rebinds, want 1", n)
		}
	})
}

// A hub that answers no echo requests is called again and again while nobody uses the tunnel. That is no reason to ask it each
// time.
func TestHandshakesThatAreCalledForAllTheTime(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		b.hub.mu.Lock()
		b.hub.deaf = true
		b.hub.mu.Unlock()
		b.after(20 * time.Minute)
		b.wantSummary("up: ")
		b.hub.mu.Lock()
		shakes := b.hub.initiated
		b.hub.mu.Unlock()
		if n := b.hub.count(lib.MessageTypeRebind); shakes < 20 || n > 1 {
			t.Errorf("%d handshakes and %d Rebinds in 20 minutes, want many and at most one", shakes, n)
		}
	})
}
