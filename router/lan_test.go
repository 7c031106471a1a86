// SPDX-License-Identifier: MIT

package router

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"oasis6/config"
	"oasis6/dataplane"
	"oasis6/internal/control"
	"oasis6/ra"
)

const renumbered = "2001:db8:ebbd:8800::/64"

// wipe removes a state file, as a damaged flash does.
func (b *boxTest) wipe(name string) {
	b.Helper()
	if err := os.Remove(filepath.Join(b.opt.State, name)); err != nil {
		b.Fatal(err)
	}
}

// kill ends the box as kill -9 does: nothing is said and nothing written.
func (b *boxTest) kill() *boxTest {
	b.Helper()
	state := b.T.TempDir()
	if err := os.CopyFS(state, os.DirFS(b.opt.State)); err != nil {
		b.Fatal(err)
	}
	b.end()
	next := testBox(b.T, "")
	next.hub, next.opt.State, next.opt.Config, next.opt.Clock = b.hub, state, b.opt.Config, b.opt.Clock
	next.opt.Tunnel = b.hub
	next.opt.BootID = b.opt.BootID
	return next
}

// days pass; RAs are taken away meanwhile, for the fake socket holds so many only.
func (b *boxTest) days(n int) {
	for range n * 24 {
		b.after(time.Hour)
		b.newRAs("br-lan")
	}
}

func findPIO(m ra.RouterAdvertisement, p string) *ra.PrefixInformation {
	for _, x := range raPrefixes(m) {
		if x.Prefix == netip.MustParsePrefix(p) {
			return &x
		}
	}
	return nil
}

// "The CE router SHOULD record on stable storage [...] the list of prefixes advertised", and after a reboot "send RAs with
// a PIO for each of them with both lifetimes 0", A and L as before.
func TestRFC9096_L13_StalePrefixAfterReboot(t *testing.T) {
	for _, boot := range []string{"boot", "another boot"} {
		synctest.Test(t, func(t *testing.T) {
			b := testBox(t, delegated)
			b.start()
			b.after(time.Minute)
			b = b.kill()
			b.opt.BootID = boot
			b.wipe("lease.json")
			b.hub.prefix = netip.MustParsePrefix(renumbered)
			b.start()
			defer func() { b.end() }()
			m := b.newRAs("br-lan")[0]
			old, now := findPIO(m, delegated), findPIO(m, renumbered)
			if old == nil || old.Valid != 0 || old.Preferred != 0 || !old.Autonomous || !old.OnLink {
				t.Errorf("%s: the first RA says of the old prefix %+v, want 0/0 with A and L", boot, old)
			}
			if now == nil || now.Preferred != 2700 {
				t.Errorf("%s: the first RA says of the new prefix %+v", boot, now)
			}
			if k := b.plane.String(); !strings.Contains(k, "stale "+delegated) {
				t.Errorf("%s: nobody answers for the old prefix:\n%s", boot, k)
			}
			b.after(89 * time.Minute)
			if m := b.lastRA("br-lan"); findPIO(m, delegated) == nil {
				t.Errorf("%s: the old prefix is not withdrawn any more although a host may hold it", boot)
			}
			b.after(30 * time.Minute)
			if m := b.lastRA("br-lan"); findPIO(m, delegated) != nil {
				t.Errorf("%s: the old prefix is withdrawn for ever", boot)
			}
			if k := b.plane.String(); strings.Contains(k, "stale") {
				t.Errorf("%s: what nobody holds is answered for:\n%s", boot, k)
			}
		})
	}
}

// The prefix of before is the prefix of now: no host hears otherwise, whatever came between.
func TestRFC9096_L13_SamePrefixAfterRebootIsNeverStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := testBox(t, delegated)
		b.start()
		for i := range 5 {
			b.after(time.Minute)
			b = b.kill()
			b.opt.BootID = strings.Repeat("x", i+1)
			b.start()
			all := b.newRAs("br-lan")
			if len(all) == 0 {
				t.Errorf("start %d: no RA", i)
			}
			for _, m := range all {
				if p := findPIO(m, delegated); p == nil || p.Preferred == 0 {
					t.Errorf("start %d: an RA says of the prefix %+v", i, p)
				}
			}
		}
		b.end()
	})
}

// A hub that is late after a reboot costs nothing by itself; a lost lease does, and the prefix comes back without a loop.
func TestLateHubWithoutLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := testBox(t, delegated)
		b.start()
		b.after(time.Minute)
		b = b.kill()
		b.wipe("lease.json")
		b.hub.answer(false)
		b.start()
		defer func() { b.end() }()
		b.after(time.Minute)
		if m := b.lastRA("br-lan"); m.RouterLifetime != 0 || findPIO(m, delegated) == nil || findPIO(m, delegated).Valid != 0 {
			t.Errorf("without a lease hosts hear %+v", m)
		}
		b.hub.answer(true)
		b.after(10 * time.Second)
		for range 20 {
			b.after(10 * time.Minute)
			if m := b.lastRA("br-lan"); findPIO(m, delegated) == nil || findPIO(m, delegated).Preferred == 0 {
				t.Fatalf("the prefix that is back is told as %+v", findPIO(m, delegated))
			}
		}
	})
}

// Steady state writes nothing: not for a renewal, not for an RA.
func TestRA_27_AdvertisedPrefixesAreWrittenOnChangeOnly(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		file := filepath.Join(b.opt.State, "prefixes.json")
		read := func() string {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			return string(data)
		}
		b.after(time.Minute)
		first := read()
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		b.days(1)
		if _, err := os.Stat(file); err == nil {
			t.Errorf("written within a day of renewals:\n%s", read())
		}
		if !strings.Contains(first, delegated) || !json.Valid([]byte(first)) {
			t.Errorf("prefixes.json: %s", first)
		}
		b.hub.prefix = netip.MustParsePrefix(renumbered)
		b.days(1)
		if s := read(); !strings.Contains(s, renumbered) {
			t.Errorf("prefixes.json after a renumbering: %s", s)
		}
	})
}

func TestPrefixFileThatIsDamagedOrReadOnly(t *testing.T) {
	for _, text := range []string{"", "{", `{"version":9}`, `{"version":1,"lans":[{"interface":"br-lan","records":[{"kind":"prefix","name":"x","live":true}]}]}`} {
		run(t, delegated, func(b *boxTest) {
			if err := os.WriteFile(filepath.Join(b.opt.State, "prefixes.json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}, func(b *boxTest) {
			b.wantSummary("up: ")
		})
	}
	run(t, delegated, func(b *boxTest) { b.opt.State = "/proc/nonesuch" }, func(b *boxTest) {
		b.after(time.Minute)
		b.wantSummary("degraded: state cannot be saved")
		if m := b.lastRA("br-lan"); m.RouterLifetime == 0 {
			t.Error("no default router although only the disk is missing")
		}
	})
}

// "A flap of under 10 s is not announced, a recovery at once": seen by hosts, whatever the moment.
func TestRFC7084_G5_ShortFlapIsNotAnnounced(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		b.after(time.Minute)
		b.newRAs("br-lan")
		for i := range 40 {
			b.hub.answer(false)
			b.after(9900 * time.Millisecond)
			b.hub.answer(true)
			b.after(time.Duration(i)*time.Second + 20*time.Second)
		}
		all := b.newRAs("br-lan")
		if len(all) == 0 {
			t.Fatal("no RA in half an hour")
		}
		for _, m := range all {
			if m.RouterLifetime == 0 {
				t.Fatal("a flap of less than 10 s took the default route from hosts")
			}
		}
	})
}

func TestRFC7084_G5_DeadTunnelAndRecovery(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		b.after(time.Minute)
		b.hub.answer(false)
		b.after(45 * time.Second)
		if m := b.lastRA("br-lan"); m.RouterLifetime != 0 || findPIO(m, delegated).Preferred == 0 {
			t.Errorf("with a dead tunnel: %+v", m)
		}
		b.hub.answer(true)
		begin := time.Now()
		for b.newRAs("br-lan"); ; b.after(50 * time.Millisecond) {
			if all := b.newRAs("br-lan"); len(all) > 0 && all[len(all)-1].RouterLifetime > 0 {
				break
			}
			if time.Since(begin) > time.Minute {
				t.Fatal("the recovery is not told")
			}
		}
		// InitiateEvery and its jitter until the handshake; nothing after it.
		if d := time.Since(begin); d > 5400*time.Millisecond {
			t.Errorf("the recovery was told after %v", d)
		}
	})
}

func TestRFC7084_ULA2_KeptOverReboot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := testBox(t, delegated)
		b.opt.Config.Prefix.ULA = config.ULAAuto
		b.start()
		ula := b.r.ula
		if !ula.IsValid() || ula.Bits() != 48 || !strings.HasPrefix(ula.String(), "fd") {
			t.Fatalf("ULA %s", ula)
		}
		m := b.lastRA("br-lan")
		if p := findPIO(m, netip.PrefixFrom(ula.Addr(), 64).String()); p == nil || p.Valid != 5400 || p.Preferred != 2700 {
			t.Errorf("PIO of the ULA: %+v", p)
		}
		if k := b.plane.String(); !strings.Contains(k, "route unreachable "+ula.String()) || !strings.Contains(k, "local "+ula.String()) {
			t.Errorf("kernel state:\n%s", k)
		}
		b = b.kill()
		b.opt.BootID = "another boot"
		b.start()
		defer func() { b.end() }()
		if b.r.ula != ula {
			t.Errorf("ULA %s after a reboot, before %s", b.r.ula, ula)
		}
	})
}

// "MUST NOT advertise itself as a default router with a Router Lifetime greater than zero [...] solely on ULA", but the
// site's own prefix is there from the start on.
func TestRFC7084_ULA5_AloneIsNoDefaultRouter(t *testing.T) {
	run(t, delegated, func(b *boxTest) {
		b.opt.Config.Prefix.ULA, b.opt.Config.Prefix.ULAPrefix = config.ULAStatic, netip.MustParsePrefix("fd00:db8::/48")
		b.hub.answering = false
	}, func(b *boxTest) {
		b.after(time.Minute)
		m := b.lastRA("br-lan")
		if m.RouterLifetime != 0 || findPIO(m, "fd00:db8::/64") == nil {
			t.Errorf("ULA alone: %+v", m)
		}
		if !slices.ContainsFunc(m.Options, func(o ra.Option) bool {
			r, ok := o.(ra.RouteInformation)
			return ok && r.Prefix.String() == "fd00:db8::/48"
		}) {
			t.Errorf("no route information for the ULA: %+v", m.Options)
		}
	})
}

func TestULAThatCannotBeKeptIsMadeOfTheKey(t *testing.T) {
	var last netip.Prefix
	for range 2 {
		run(t, delegated, func(b *boxTest) {
			b.opt.State, b.opt.Config.Prefix.ULA = "/proc/nonesuch", config.ULAAuto
		}, func(b *boxTest) {
			if last.IsValid() && b.r.ula != last {
				t.Errorf("ULA %s, the start before %s", b.r.ula, last)
			}
			last = b.r.ula
		})
	}
	run(t, delegated, func(b *boxTest) {
		b.opt.Config.Prefix.ULA = config.ULAAuto
		if err := os.WriteFile(filepath.Join(b.opt.State, "ula"), []byte("2001:db8::/48\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}, func(b *boxTest) {
		if _, err := os.Stat(filepath.Join(b.opt.State, "ula.bad")); err != nil || !netip.MustParsePrefix("fd00::/8").Contains(b.r.ula.Addr()) {
			t.Errorf("a damaged file: %v, ULA %s", err, b.r.ula)
		}
	})
}

// configured, learned by DHCPv6, learned by RA, the box itself, off.
func TestOwnDNSServerIsFoundAndLost(t *testing.T) {
	answering, asked := true, 0
	run(t, delegated, func(b *boxTest) {
		b.opt.ProbeDNS = func(_ context.Context, a netip.Addr) bool {
			if a.String() != "2001:db8:ebbd:990a::1" {
				t.Errorf("asked at %s", a)
			}
			asked++
			return answering
		}
	}, func(b *boxTest) {
		b.after(10 * time.Second)
		if l := b.status().LANs[0]; !slices.Equal(l.RDNSS, []string{"2001:db8:ebbd:990a::1"}) || l.RDNSSSource != "self" {
			t.Errorf("RDNSS %v from %s", l.RDNSS, l.RDNSSSource)
		}
		answering = false
		b.after(130 * time.Second) // two misses are a restart
		if l := b.status().LANs[0]; l.RDNSSSource != "self" {
			t.Errorf("RDNSS from %s after two misses", l.RDNSSSource)
		}
		b.after(2 * time.Minute)
		if l := b.status().LANs[0]; len(l.RDNSS) != 0 || l.RDNSSSource != "off" {
			t.Errorf("RDNSS %v from %s", l.RDNSS, l.RDNSSSource)
		}
		if m := b.lastRA("br-lan"); !slices.ContainsFunc(m.Options, func(o ra.Option) bool { r, ok := o.(ra.RDNSS); return ok && r.Lifetime == 0 }) {
			t.Errorf("the server that is gone is not withdrawn by name: %+v", m.Options)
		}
		before := asked
		b.hub.dns = []netip.Addr{netip.MustParseAddr("2001:db8::53")}
		b.after(2 * time.Hour)
		if asked > before+120 || b.status().LANs[0].RDNSSSource != "dhcpv6" {
			t.Errorf("%d more questions, RDNSS from %s", asked-before, b.status().LANs[0].RDNSSSource)
		}
		last := asked
		b.after(time.Hour)
		if asked != last {
			t.Errorf("asked %d times although another server is told", asked-last)
		}
	})
}

// RFC 7084 L-3, with erratum 7699: a route for what is wider than the LAN's prefix, whatever the tunnel does.
// RFC 7084 L-2: a /64 each out of the delegation and the ULA, and the guest LAN has its own.
// RFC 9762: the P flag with room for every host to ask, and nothing else changes by it.
// RFC 7084 L-9: "O flag set to 1", M only with addresses.
func TestHostsTableIsBounded(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		var ns []dataplane.Neighbor
		for i := range 300 {
			for j := range 20 {
				a := netip.MustParsePrefix(delegated).Addr().As16()
				a[14], a[15] = byte(i), byte(j)
				ns = append(ns, dataplane.Neighbor{Addr: netip.AddrFrom16(a), MAC: [6]byte{0, 0, 0x5e, byte(i >> 8), 0x53, byte(i)}, Seen: time.Duration(i+j) * time.Second})
			}
		}
		b.plane.SetNeighbors(ns...)
		hosts := b.status().LANs[0].Hosts
		if len(hosts) != maxHosts || len(hosts[0].Addresses) != maxHostAddresses || hosts[5].SeenS != 5 {
			t.Errorf("%d hosts, the first with %d addresses", len(hosts), len(hosts[0].Addresses))
		}
	})
}

// What a flood leaves to the loop is bounded, and other events go on.
func TestFloodIsCutAtTheSocket(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		nd := b.plane.ND("br-lan")
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 20000 {
				nd.In <- dataplane.Received{Src: netip.MustParseAddr("fe80::1:2"), HopLimit: 255, Data: []byte{133, 0, 0, 0}}
				nd.In <- dataplane.Received{Src: netip.MustParseAddr("fe80::1:2"), HopLimit: 255, Data: []byte{133, 0, 0, 0, 0, 0, 0, 0, 1, 0}}
			}
		}()
		<-done
		synctest.Wait()
		dropped := b.status().LANs[0].Dropped
		if dropped["too short"] != junkBurst || dropped["option past the end"]+dropped["option of length zero"] != crowdBurst || dropped["ND messages too many at once"] != 40000-junkBurst-crowdBurst {
			t.Errorf("dropped %v", dropped)
		}
		b.after(time.Minute)
		b.wantSummary("up: ")
	})
}

// A duplicate of our link-local address on the LAN is named.
func TestDuplicateLinkLocalIsNamed(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		l := lanLink("br-lan")
		l.Taken, l.LinkLocal, l.TakenBy = l.LinkLocal, netip.Addr{}, "00:00:5e:00:53:99"
		b.plane.SetLink(l)
		synctest.Wait()
		s := b.status()
		if s.LANs[0].State != "duplicate link-local" || !slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, "00:00:5e:00:53:99") }) {
			t.Errorf("state %s, problems %q", s.LANs[0].State, s.Problems)
		}
		b.plane.SetLink(lanLink("br-lan"))
		synctest.Wait()
		b.wantSummary("up: ")
	})
}

// An unconfirmed delegation has no end that anybody may rely on, so neither hosts nor clients are told of more than ten minutes.
// The pool of a delegation is without what our own LANs have and what the hub keeps (RFC 9818, RFC 6603).
// RFC 7084 L-14: a subnet that no LAN has any more is answered for, also if the delegation that it was cut from is still ours.

// DNS servers that the box itself is, or that routers on the tunnel told, are not taken back by a start.
func TestRestartKeepsDNSServers(t *testing.T) {
	for _, own := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := testBox(t, delegated)
			b.opt.ProbeDNS = func(context.Context, netip.Addr) bool { return own }
			if !own {
				b.hub.ra = &ra.RouterAdvertisement{RouterLifetime: 1800, Options: []ra.Option{ra.RDNSS{Lifetime: 1800, Servers: []netip.Addr{netip.MustParseAddr("2001:db8::53")}}}}
			}
			b.start()
			b.after(time.Minute)
			if l := b.status().LANs[0]; len(l.RDNSS) != 1 {
				t.Fatalf("own %v: RDNSS %v from %s", own, l.RDNSS, l.RDNSSSource)
			}
			probe := b.opt.ProbeDNS
			b = b.kill()
			b.opt.Takeover, b.opt.ProbeDNS = true, probe
			b.start()
			defer func() { b.end() }()
			b.after(30 * time.Second)
			all := b.newRAs("br-lan")
			if len(all) == 0 {
				t.Errorf("own %v: no RA", own)
			}
			for _, m := range all {
				for _, o := range m.Options {
					if r, ok := o.(ra.RDNSS); ok && r.Lifetime == 0 {
						t.Errorf("own %v: %v was withdrawn", own, r.Servers)
					}
				}
			}
		})
	}
}

// The box ends while a probe waits for its answer: the probe ends too.
func TestProbeEndsWithTheBox(t *testing.T) {
	run(t, delegated, func(b *boxTest) {
		b.opt.ProbeDNS = func(ctx context.Context, _ netip.Addr) bool { <-ctx.Done(); return false }
	}, func(b *boxTest) {
		b.after(dnsProbeFirst)
		b.command(control.Handover)
	})
}

// A file that cannot be read for a moment is not written over, and the one on a disk that is back is the same.
func TestRFC7084_ULA2_StaysTheSame(t *testing.T) {
	run(t, delegated, func(b *boxTest) { b.opt.Config.Prefix.ULA = config.ULAAuto }, func(b *boxTest) {
		first := b.r.ula
		if err := os.Remove(filepath.Join(b.opt.State, "ula")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("ula", filepath.Join(b.opt.State, "ula")); err != nil { // ELOOP
			t.Fatal(err)
		}
		b.command(control.Reload)
		if b.r.ula != first {
			t.Errorf("ULA %s after a reload, before %s", b.r.ula, first)
		}
		if again := b.r.keptULA(); again != first {
			t.Errorf("ULA %s without its file, before %s", again, first)
		}
	})
}
