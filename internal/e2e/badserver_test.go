// SPDX-License-Identifier: MIT

package e2e

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"oasis6/internal/netlab"
)

// What the bad server delegates, at first and after renumbering.
var (
	usual      = netip.MustParsePrefix("2001:db8:ebbd:9900::/64")
	renumbered = netip.MustParsePrefix("2001:db8:ebbd:9940::/64")
)

// badBox is a box whose hub delegates by the bad server.
type badBox struct {
	*box
	srv  *netlab.BadServer
	seen *netlab.DHCPv6Watch
}

// newBadBox makes the world; the box is not started. Whatever the server does, the box keeps to the rate: see watchRate.
func newBadBox(t *testing.T, mode string, flags ...string) *badBox {
	t.Helper()
	b := &badBox{box: newBox(t, netlab.WorldConfig{NoDHCPv6: true})}
	b.StartR2()
	b.seen = b.WatchDHCPv6()
	b.srv = b.StartBadServer(mode, flags...)
	b.watchRate(b.seen)
	return b
}

// watchRate checks in the end that the box kept to the rate of RFC 9915 section 14.1.
func (b *badBox) watchRate(seen *netlab.DHCPv6Watch) {
	b.Cleanup(func() {
		if n := seen.Busiest(20 * time.Second); n > 20 {
			b.Errorf("the box sent %d DHCPv6 messages within 20s, want at most 20:\n%s", n, b.srv.Output())
		}
		if b.Failed() {
			b.Log(b.text())
		}
	})
}

// waitGot waits until so many messages whose line has the text have come to the server.
func (b *badBox) waitGot(d time.Duration, text string, n int) {
	b.Helper()
	if !netlab.Poll(d, func() bool { return b.srv.Got(text) >= n }) {
		b.Fatalf("%d messages with %q have come within %v, want %d:\n%s\n%s", b.srv.Got(text), text, d, n, b.srv.Output(), b.text())
	}
}

// wantOnline is waitOnline for a host that was online all the time.
func (b *badBox) wantOnline(h *netlab.Node) {
	b.Helper()
	if !b.online(h) {
		b.Errorf("%s is not on IPv6: GUAs %v, default route %v", h.Name, h.GUAs("eth0"), b.HostDefaultRoute(h))
	}
}

// A hub that was good and goes bad does not cost the LAN its prefix while that is valid. T1 is 10 s, T2 16 s, the
// valid lifetime 90 s.
func TestServerGoesBadWhileBound(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, mode string
		until      string // what the server gets, in the end, and how often
		times      int
		status     string // what the status says then, beside that IPv6 works
		refused    bool   // messages were, which the status counts
	}{
		// odhcp6c 61: the status inside an IA Prefix was not read.
		{"NoBinding in the prefix", "renew+rebind:prefix=NoBinding", "REQUEST ", 2, "", false},
		{"UnspecFail in the prefix", "renew+rebind:prefix=UnspecFail", "REBIND ", 1, "UnspecFail", false},
		// systemd 15455, 18090.
		{"NoPrefixAvail in the IA", "renew+rebind:pd=NoPrefixAvail", "REBIND ", 1, "NoPrefixAvail", false},
		{"NoBinding in the IA", "renew+rebind:pd=NoBinding", "REQUEST ", 3, "", false},
		// odhcp6c 144: Request and NoBinding in a loop.
		{"NoBinding to all", "renew+rebind+request:pd=NoBinding", "REBIND ", 1, "NoBinding", false},
		{"UnspecFail", "renew+rebind+request:top=UnspecFail", "REBIND ", 1, "UnspecFail", false},
		{"NotOnLink", "renew+rebind+request:top=NotOnLink", "REBIND ", 1, "NotOnLink", false},
		{"UseMulticast", "renew+rebind+request:top=UseMulticast", "REBIND ", 1, "UseMulticast", false},
		{"no IA_PD", "renew+rebind:no-pd", "REBIND ", 1, "server gives no prefix", false},
		{"T1 beyond T2", "t1-beyond-t2", "REBIND ", 1, "server gives no prefix", false},
		{"preferred beyond valid", "preferred-beyond-valid", "REBIND ", 1, "server gives no prefix", false},
		{"foreign IAID", "foreign-iaid", "REBIND ", 1, "server gives no prefix", false},
		{"answers to somebody else", "wrong-xid", "REBIND ", 1, "", true},
		{"no server id", "no-server", "REBIND ", 1, "", true},
		{"broken datagrams, and each answer thrice", "garbage,thrice", "RENEW ", 2, "", true},
		// Another server takes over: from then on the Renews are for that one.
		{"another server answers Rebind", "renew:silent,rebind:other-server", " server 000200007ed9bad001", 1, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBadBox(t, "good")
			b.start()
			b.waitOnline(b.H1)
			addrs := b.H1.GUAs("eth0")
			ping := b.pinging()
			b.srv.Mode(tc.mode)
			b.waitGot(40*time.Second, tc.until, tc.times)
			time.Sleep(time.Second) // the answer takes effect
			b.reportLoss(tc.name, ping)
			b.wantOnline(b.H1)
			if got := b.H1.GUAs("eth0"); len(got) != 1 || got[0] != addrs[0] {
				t.Errorf("h1 has %v, want %v all the time", got, addrs)
			}
			if text := b.text(); !strings.Contains(text, tc.status) {
				t.Errorf("status does not say %q:\n%s", tc.status, text)
			}
			if n := b.status().DHCPv6.Dropped; (n > 0) != tc.refused {
				t.Errorf("%d messages refused, want some: %v\n%s", n, tc.refused, b.srv.Output())
			}
		})
	}
}

// stage starts a box that knows nothing, beside a server that has the fault from the start.
func (b *badBox) stage(mode string) {
	b.Helper()
	if b.proc != nil && b.proc.Running() {
		b.stop()
	}
	if err := os.RemoveAll(b.BoxState()); err != nil {
		b.Fatal(err)
	}
	// A box that knows nothing cannot tell hosts that the prefix of the stage before is over.
	b.H1.Run("ip", "-6", "addr", "flush", "dev", "eth0", "scope", "global")
	b.srv.Mode(mode)
	b.start()
}

// What a client can overlook, it overlooks: the LAN gets IPv6.
func TestServerThatCanBeUsedAllTheSame(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		stages []string
	}{
		{"options", []string{"dns-15", "search-bad,dns-15", "search-pointer", "max-rt", "thrice"}},
		{"leases", []string{"length-0", "length-129", "length-200", "host-bits", "many", "rapid,many,thrice"}},
		{"times and servers", []string{"t-zero", "t1-one", "t-beyond-life", "two", "two,silent", "two,request:pd=NoPrefixAvail", "rapid,two"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBadBox(t, "good")
			for _, mode := range tc.stages {
				b.stage(mode)
				begin := time.Now()
				if !netlab.Poll(enough, func() bool { return b.online(b.H1) }) {
					t.Fatalf("%s: h1 has %v and the default route %v\n%s\n%s", mode, b.H1.GUAs("eth0"), b.HostDefaultRoute(b.H1), b.text(), b.srv.Output())
				}
				t.Logf("%s: online after %v", mode, time.Since(begin).Round(100*time.Millisecond))
				b.waitSummary("up: ", "")
			}
		})
	}
}

// What it cannot overlook, the status names, hosts are told nothing, and a server that comes to its senses is used.
func TestServerThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, mode string
		summary    string
	}{
		{"no prefix to give", "pd=NoPrefixAvail", "NoPrefixAvail"},
		{"a Request refused", "request:pd=NoPrefixAvail", "NoPrefixAvail"},
		{"a preference of 255 and a refusal", "preference-255,request:top=UnspecFail", "UnspecFail"},
		{"not on link", "top=NotOnLink", "NotOnLink"},
		{"lifetimes that cannot be", "preferred-beyond-valid", "no prefix"},
		{"a prefix that is over", "withdraw", "no prefix"},
		{"answers without a server id", "no-server", "does not answer DHCPv6"},
		{"a DUID of 131 octets", "duid-131", "does not answer DHCPv6"},
		{"answers to somebody else", "foreign-client", "does not answer DHCPv6"},
		{"silence", "silent", "does not answer DHCPv6"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBadBox(t, tc.mode)
			b.start()
			b.waitSummary("degraded: ", tc.summary)
			b.wantNoDefaultRoute(b.H1)
			if g := b.H1.GUAs("eth0"); len(g) != 0 {
				t.Errorf("h1 has %v", g)
			}
			b.srv.Mode("good")
			// The next Solicit or Request may be 18 s away.
			if !netlab.Poll(30*time.Second, func() bool { return b.online(b.H1) }) {
				t.Errorf("h1 is not on IPv6 after the server came to its senses:\n%s", b.srv.Output())
			}
		})
	}
}

// Storms (systemd 23625): with T1 of 1 s, and with a preferred lifetime of 0, the box stays calm.
func TestServerThatInvitesAStorm(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		mode   string
		most   int // messages in 25 s after the first Reply
		status string
	}{
		{"t1-one", 3, "up: "},
		{"t-zero", 1, "up: "},
		{"preferred-0", 3, "deprecated"},
		{"good,request:pd=NoBinding", 20, "NoBinding"},
	} {
		t.Run(tc.mode, func(t *testing.T) {
			b := newBadBox(t, tc.mode)
			b.start()
			b.waitGot(soon, "REQUEST ", 1)
			before := len(b.seen.All())
			time.Sleep(25 * time.Second)
			if n := len(b.seen.All()) - before; n > tc.most {
				t.Errorf("%d messages in 25s, want at most %d:\n%s", n, tc.most, b.srv.Output())
			}
			if text := b.text(); !strings.Contains(text, tc.status) {
				t.Errorf("status does not say %q:\n%s", tc.status, text)
			}
		})
	}
}

// dhcpcd 174: a silent server costs the prefix when its valid lifetime is over, not at T2, and not later.
func TestServerFallsSilent(t *testing.T) {
	b := newBadBox(t, "good", "-preferred=25", "-valid=32")
	b.start()
	b.waitOnline(b.H1)
	bound := time.Now()
	b.srv.Mode("silent")
	b.waitGot(30*time.Second, "REBIND ", 1)
	b.wantOnline(b.H1)
	if text := b.text(); !strings.Contains(text, "rebinding") {
		t.Errorf("status after T2:\n%s", text)
	}
	// Renewals before the silence began may have moved the end a little.
	if !netlab.Poll(40*time.Second, func() bool { return !b.HostDefaultRoute(b.H1).IsValid() }) {
		t.Fatalf("h1 has a default route %v after the last Reply\n%s", time.Since(bound), b.text())
	}
	b.waitGot(enough, "SOLICIT ", 2)
	if g := b.H1.GUAs("eth0"); len(g) != 0 {
		t.Errorf("h1 has %v after the valid lifetime", g)
	}
	b.srv.Mode("good")
	b.waitOnline(b.H1)
}

// The hub renumbers by the way: hosts turn to the new prefix within seconds (openwrt 21050, odhcpd 65).
func TestServerRenumbers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		mode string
		over bool // the old prefix is taken back at once
	}{
		{"renumber", true},
		{"renumber-new-only", false},
	} {
		t.Run(tc.mode, func(t *testing.T) {
			b := newBadBox(t, "good")
			ras := b.H1.WatchRA("eth0")
			b.start()
			b.waitOnline(b.H1)
			b.srv.Mode(tc.mode)
			b.waitGot(enough, "RENEW ", 1)
			begin := time.Now()
			fresh, err := ras.First(soon, func(r netlab.RA) bool { return r.Prefix(renumbered) != nil })
			if err != nil {
				t.Fatalf("RA with %s: %v", renumbered, err)
			}
			if d := fresh.At.Sub(begin); d > inACrowd {
				t.Errorf("RA with the new prefix %v after the Renew", d)
			}
			old := fresh.Prefix(usual)
			if old == nil || tc.over && (old.ValidLifetime != 0 || old.PreferredLifetime != 0) || !tc.over && old.ValidLifetime == 0 {
				t.Errorf("the old prefix in that RA: %+v", old)
			}
			if !netlab.Poll(soon, func() bool { return b.HostHasGUA(b.H1, renumbered) }) {
				t.Errorf("h1 has %v, want an address of %s", b.H1.GUAs("eth0"), renumbered)
			}
			if tc.over && b.HostHasGUA(b.H1, usual) {
				t.Errorf("h1 still begins with %v", b.H1.GUAs("eth0"))
			}
			b.wantOnline(b.H1)
		})
	}
}

// The hub takes the prefix away and gives none: hosts hear it at once, and the status says why.
func TestServerTakesThePrefixBack(t *testing.T) {
	b := newBadBox(t, "good")
	ras := b.H1.WatchRA("eth0")
	b.start()
	b.waitOnline(b.H1)
	b.srv.Mode("withdraw")
	b.waitGot(enough, "RENEW ", 1)
	begin := time.Now()
	gone, err := ras.First(soon, func(r netlab.RA) bool {
		p := r.Prefix(usual)
		return r.Msg.RouterLifetime == 0 && p != nil && p.ValidLifetime == 0
	})
	if err != nil {
		t.Fatalf("RA with lifetimes 0: %v\n%s", err, b.text())
	}
	if d := gone.At.Sub(begin); d > inACrowd {
		t.Errorf("hosts heard of it %v after the Renew", d)
	}
	b.waitSummary("degraded: ", "no prefix")
	b.wantNoDefaultRoute(b.H1)
	b.srv.Mode("good")
	if !netlab.Poll(30*time.Second, func() bool { return b.online(b.H1) }) {
		t.Errorf("h1 is not on IPv6 after the server gave a prefix again:\n%s", b.srv.Output())
	}
}
