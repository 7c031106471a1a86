// SPDX-License-Identifier: MIT

package router

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	lib "github.com/insomniacslk/dhcp/dhcpv6"

	"oasis6/config"
	"oasis6/dataplane"
	"oasis6/internal/control"
	"oasis6/ra"
	"oasis6/status"
	"oasis6/tun"
)

const delegated = "2001:db8:ebbd:990a::/64"

// run has f work with a box in a bubble of virtual time.
func run(t *testing.T, prefix string, prepare func(*boxTest), f func(*boxTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := testBox(t, prefix)
		if prepare != nil {
			prepare(b)
		}
		b.start()
		defer b.end()
		f(b)
	})
}

func TestColdStart(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		// No time has passed: handshake, prefix, kernel and RA follow each other without a wait of ours.
		m := b.lastRA("br-lan")
		if p := raPrefixes(m); m.RouterLifetime != 2700 || len(p) != 1 || p[0].Prefix.String() != delegated {
			t.Errorf("first RA: router lifetime %d, prefixes %v", m.RouterLifetime, p)
		}
		if want := []lib.MessageType{lib.MessageTypeSolicit}; !slices.Equal(b.hub.sent, want) {
			t.Errorf("hub got %v, want %v", b.hub.sent, want)
		}
		if k := b.plane.String(); !strings.Contains(k, "2001:db8:ebbd:990a::1/64") || !strings.Contains(k, "default from "+delegated) {
			t.Errorf("kernel state:\n%s", k)
		}
		b.wantSummary("up: 2001:db8:ebbd:990a::/64 on br-lan")
	})
}

// The kernel comes first: a host that sends at once after the RA finds the route in place.
func TestApplyComesBeforeTheRA(t *testing.T) {
	refused := errors.New("route default: operation not permitted")
	run(t, delegated, func(b *boxTest) { b.plane.FailApply(refused) }, func(b *boxTest) {
		if got := b.newRAs("br-lan"); len(got) != 0 {
			t.Errorf("%d RAs although the kernel refused", len(got))
		}
		b.wantSummary("degraded: the kernel refuses")
		n := len(b.plane.Applies())
		b.after(10 * time.Second)
		if more := len(b.plane.Applies()) - n; more < 2 || more > 5 {
			t.Errorf("%d attempts in 10s, want a few", more)
		}
		b.plane.FailApply(nil)
		b.after(40 * time.Second)
		b.lastRA("br-lan")
		b.wantSummary("up: ")
	})
}

func TestHubSilentThenThere(t *testing.T) {
	run(t, delegated, func(b *boxTest) { b.hub.answering = false }, func(b *boxTest) {
		b.wantSummary("starting: ")
		b.after(20 * time.Second)
		b.wantSummary("down: hub 198.51.100.2:51820 has never answered")
		if got := b.newRAs("br-lan"); len(got) != 0 {
			t.Errorf("%d RAs without a prefix: hosts would stop soliciting", len(got))
		}
		b.hub.answer(true)
		b.after(6 * time.Second)
		b.wantSummary("up: ")
	})
}

func TestHubWithoutDHCPv6(t *testing.T) {
	run(t, "", nil, func(b *boxTest) {
		b.wantSummary("starting: ")
		b.after(30 * time.Second)
		b.wantSummary("degraded: the hub does not answer DHCPv6")
		if s := b.status(); !strings.Contains(s.Summary, "fe80::a/128") {
			t.Errorf("summary %q does not say what the hub needs", s.Summary)
		}
	})
}

func TestTunnelDiesAndComesBack(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		b.after(time.Minute)
		b.newRAs("br-lan")
		b.hub.answer(false)
		b.after(45 * time.Second)
		m := b.lastRA("br-lan")
		if p := raPrefixes(m); m.RouterLifetime != 0 || len(p) != 1 || p[0].Valid == 0 {
			t.Errorf("RA of a dead tunnel: lifetime %d, prefixes %v; want 0 and the prefix as it was", m.RouterLifetime, p)
		}
		b.wantSummary("down: no answer from hub")
		b.hub.answer(true)
		begin := time.Now()
		for b.hub.Snapshot().HandshakeAt.Before(begin) {
			b.after(100 * time.Millisecond)
		}
		b.after(900 * time.Millisecond)
		if m := b.lastRA("br-lan"); m.RouterLifetime != 2700 {
			t.Errorf("router lifetime within 1s of the handshake = %d, want 2700", m.RouterLifetime)
		}
		b.wantSummary("up: ")
	})
}

func TestLANComesLater(t *testing.T) {
	run(t, delegated, func(b *boxTest) { b.plane.SetLink(dataplane.Link{Name: "br-lan"}) }, func(b *boxTest) {
		b.wantSummary("degraded: LAN br-lan does not exist")
		l := lanLink("br-lan")
		l.LinkLocal = netip.Addr{}
		b.plane.SetLink(l)
		synctest.Wait()
		b.wantSummary("degraded: LAN br-lan has no link-local address")
		b.plane.SetLink(lanLink("br-lan"))
		synctest.Wait()
		b.lastRA("br-lan")
		b.wantSummary("up: ")
	})
}

func TestLANIsAPortOfABridge(t *testing.T) {
	l := lanLink("br-lan")
	l.Master = "br0"
	run(t, delegated, func(b *boxTest) { b.plane.SetLink(l) }, func(b *boxTest) {
		b.wantSummary("degraded: no Router Advertisements on LAN br-lan: br-lan is a port of bridge br0")
	})
}

func TestDriftIsPutRight(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		n := len(b.plane.Applies())
		b.plane.Push(dataplane.Drift{What: "route flushed"})
		synctest.Wait()
		if got := len(b.plane.Applies()); got != n+1 {
			t.Errorf("%d applies after a drift, want 1", got-n)
		}
	})
}

func TestStopTellsHostsAndRestores(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		b.newRAs("br-lan")
		b.command(control.Stop)
		if m := b.lastRA("br-lan"); m.RouterLifetime != 0 {
			t.Errorf("final RA: router lifetime %d, want 0", m.RouterLifetime)
		}
		if !b.plane.Restored() || !b.plane.ND("br-lan").IsClosed() {
			t.Errorf("restored %v, ND socket closed %v", b.plane.Restored(), b.plane.ND("br-lan").IsClosed())
		}
	})
}

// RFC 9096 WPD-9: "CE routers SHOULD NOT automatically send DHCPv6-PD RELEASE messages upon restart events."
func TestRFC9096_WPD9_LeaveAndStopSendNoRelease(t *testing.T) {
	for _, c := range []control.Command{control.Stop, control.Handover} {
		run(t, delegated, nil, func(b *boxTest) {
			b.command(c)
			if slices.Contains(b.hub.sent, lib.MessageTypeRelease) {
				t.Errorf("a Release was sent: %v", b.hub.sent)
			}
		})
	}
}

func TestLeaveIsSilentAndASuccessorTakesOver(t *testing.T) {
	var state string
	run(t, delegated, func(b *boxTest) { state = b.opt.State }, func(b *boxTest) {
		b.after(10 * time.Minute)
		b.newRAs("br-lan")
		b.command(control.Handover)
		if got := b.newRAs("br-lan"); len(got) != 0 || b.plane.Restored() {
			t.Errorf("%d RAs, restored %v; want silence", len(got), b.plane.Restored())
		}
		// The successor finds a hub that is slow to answer; the LAN must not notice.
		next := testBox(t, delegated)
		next.opt.State, next.opt.Takeover = state, true
		next.hub.answering = false
		next.start()
		defer next.end()
		m := next.lastRA("br-lan")
		if p := raPrefixes(m); m.RouterLifetime != 2700 || len(p) != 1 || p[0].Valid != 4800 {
			t.Errorf("successor's first RA: lifetime %d, prefixes %+v; want 2700 and 80 minutes valid", m.RouterLifetime, p)
		}
		next.hub.answer(true)
		next.after(6 * time.Second)
		if want := []lib.MessageType{lib.MessageTypeRebind}; !slices.Equal(next.hub.sent, want) {
			t.Errorf("successor sent %v, want %v", next.hub.sent, want)
		}
	})
}

func TestDUIDIsKept(t *testing.T) {
	var first string
	state := t.TempDir()
	run(t, delegated, func(b *boxTest) { b.opt.State = state }, func(b *boxTest) { first = b.status().DHCPv6.DUID })
	run(t, delegated, func(b *boxTest) { b.opt.State = state }, func(b *boxTest) {
		if got := b.status().DHCPv6.DUID; got != first || first == "" {
			t.Errorf("DUID after a restart = %q, before %q", got, first)
		}
	})
}

func TestDamagedLeaseIsSetAside(t *testing.T) {
	run(t, delegated, func(b *boxTest) {
		if err := os.WriteFile(filepath.Join(b.opt.State, "lease.json"), []byte(`{"duid":`), 0o600); err != nil {
			t.Fatal(err)
		}
	}, func(b *boxTest) {
		b.wantSummary("up: ")
		if _, err := os.Stat(filepath.Join(b.opt.State, "lease.json.bad")); err != nil {
			t.Errorf("lease.json.bad: %v", err)
		}
		if ev := b.status().Events; !slices.ContainsFunc(ev, func(e status.Event) bool { return strings.Contains(e.Detail, "damaged") }) {
			t.Errorf("no event tells of the damaged file: %v", ev)
		}
	})
}

// A kill -9 in the middle of a write leaves a temporary file.
func TestLeftoversOfAWriteAreSwept(t *testing.T) {
	run(t, delegated, func(b *boxTest) {
		for _, name := range []string{".lease.json123", ".prefixes.json4", ".bindings.json56"} {
			if err := os.WriteFile(filepath.Join(b.opt.State, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}, func(b *boxTest) {
		left, err := filepath.Glob(filepath.Join(b.opt.State, ".*"))
		if err != nil || len(left) != 0 {
			t.Errorf("left in the state folder: %v, %v", left, err)
		}
	})
}

func TestNameThatIsNotResolvedYet(t *testing.T) {
	run(t, delegated, func(b *boxTest) {
		b.hub.answering = false
		b.hub.snap.EndpointName, b.hub.snap.Endpoint = "hub.example.net:51820", netip.AddrPort{}
	}, func(b *boxTest) {
		b.wantSummary("starting: looking up the hub's address: hub.example.net:51820")
		b.hub.mu.Lock()
		b.hub.snap.ResolveError = "lookup hub.example.net: no such host"
		b.hub.mu.Unlock()
		b.wantSummary("starting: the hub's name cannot be resolved: lookup")
	})
}

func TestStateThatCannotBeWritten(t *testing.T) {
	run(t, delegated, func(b *boxTest) {
		b.opt.State = filepath.Join(b.opt.State, "file")
		if err := os.WriteFile(b.opt.State, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}, func(b *boxTest) {
		b.wantSummary("degraded: state cannot be saved")
		b.lastRA("br-lan") // but the LAN is served
	})
}

// "At most one small flash write per lease change or per hour."
func TestRenewalsAreWrittenOncePerHour(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		writes, last := 0, b.leaseFile()
		for range 24 * 60 {
			b.after(time.Minute)
			if f := b.leaseFile(); f != last {
				writes, last = writes+1, f
			}
		}
		if renews := len(b.hub.sent); renews < 50 || writes > 24 || writes < 20 {
			t.Errorf("%d messages and %d writes in a day, want renewals and at most 24 writes", renews, writes)
		}
		b.wantSummary("up: ")
	})
}

func TestReload(t *testing.T) {
	run(t, delegated, func(b *boxTest) {
		next := *b.opt.Config
		next.LANs = []config.LAN{config.NewLAN("br-lan", 0), config.NewLAN("br-guest", 1)}
		next.LANs[0].DNSSL = []string{"lan.example"}
		answers := []func() (*config.Config, error){
			func() (*config.Config, error) { return nil, errors.New("oasis6.conf:3: Subnett: unknown key") },
			func() (*config.Config, error) { return &next, nil },
			func() (*config.Config, error) {
				c := next
				c.Interface.Name = "wg0"
				return &c, nil
			},
			func() (*config.Config, error) {
				c := next
				c.LANs = c.LANs[:1]
				return &c, nil
			},
		}
		b.opt.Reload = func() (*config.Config, error) {
			f := answers[0]
			answers = answers[1:]
			return f()
		}
	}, func(b *boxTest) {
		b.command(control.Reload)
		b.wantSummary("degraded: last reload refused: oasis6.conf:3")
		b.hub.prefix = netip.MustParsePrefix("2001:db8:ebbd:9900::/56")
		b.plane.SetLink(lanLink("br-guest"))
		b.command(control.Reload)
		if got := b.status().LANs; len(got) != 2 || len(b.hub.reconfig) != 1 {
			t.Errorf("after a reload: LANs %v, %d tunnel configurations", got, len(b.hub.reconfig))
		}
		b.command(control.Reload)
		if s := b.status(); !strings.Contains(strings.Join(s.Problems, " "), "cannot change while running") {
			t.Errorf("problems = %q", s.Problems)
		}
		guest := b.plane.ND("br-guest")
		b.command(control.Reload)
		if !guest.IsClosed() || len(b.status().LANs) != 1 {
			t.Errorf("removed LAN: socket closed %v, LANs %v", guest.IsClosed(), b.status().LANs)
		}
	})
}

func TestStaticPrefixNeedsNoServer(t *testing.T) {
	run(t, "", func(b *boxTest) {
		b.opt.Config.Prefix = config.Prefix{Source: config.Static, Static: netip.MustParsePrefix("2001:db8:ebbd:9900::/56")}
		b.opt.Config.LANs[0].Subnet = 0xa
	}, func(b *boxTest) {
		m := b.lastRA("br-lan")
		if p := raPrefixes(m); m.RouterLifetime != 2700 || len(p) != 1 || p[0].Prefix.String() != delegated || p[0].Valid != 5400 {
			t.Errorf("RA: lifetime %d, prefixes %+v", m.RouterLifetime, p)
		}
		if len(b.hub.sent) != 0 {
			t.Errorf("DHCPv6 messages %v for a static prefix", b.hub.sent)
		}
		b.wantSummary("up: ")
	})
}

func TestLeaseRunsOutWithADeadHub(t *testing.T) {
	run(t, delegated, nil, func(b *boxTest) {
		b.after(time.Minute)
		b.hub.answer(false)
		b.after(91 * time.Minute)
		if s := b.status(); len(s.Prefixes) != 0 {
			t.Errorf("prefixes after the valid lifetime: %+v", s.Prefixes)
		}
		if k := b.plane.String(); strings.Contains(k, "990a") {
			t.Errorf("kernel state after the valid lifetime:\n%s", k)
		}
	})
}

func TestTunnelDeviceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := testBox(t, delegated)
		b.start()
		b.hub.events <- tun.Failed{Err: errors.New("somebody removed the interface")}
		if err := <-b.ended; !errors.Is(err, ErrTunnelFailed) || !strings.Contains(err.Error(), "somebody") {
			t.Errorf("Run = %v, want ErrTunnelFailed with its cause", err)
		}
		if b.plane.Restored() {
			t.Error("the kernel state was given up: the LAN's IPv6 could leak past the tunnel")
		}
		synctest.Wait()
	})
}

func TestPreviewNamesTheExample(t *testing.T) {
	cfg := boxConfig()
	text := Preview(cfg)
	for _, want := range []string{"an example", "2001:db8:ebbd:9900::1/64", "advertise 2001:db8:ebbd:9900::/64 on br-lan mtu 1420"} {
		if !strings.Contains(text, want) {
			t.Errorf("Preview lacks %q:\n%s", want, text)
		}
	}
}

// A host that took the first multicast never solicits; the kernel knows it all the same.
func TestNeighborsHearOfADeadTunnelAtOnce(t *testing.T) {
	neighbor := netip.MustParseAddr("fe80::200:5eff:fe00:5302")
	run(t, delegated, nil, func(b *boxTest) {
		b.plane.SetNeighbors(dataplane.Neighbor{Addr: neighbor})
		b.after(time.Minute)
		b.newRAs("br-lan")
		nd := b.plane.ND("br-lan")
		b.plane.Push(dataplane.PortUp{Iface: "br-lan"}) // a multicast now, so that the floor holds
		b.hub.answer(false)
		var told []netip.Addr
		for range 450 {
			b.after(100 * time.Millisecond)
			for len(nd.Out) > 0 {
				s := <-nd.Out
				m, _, _ := ra.ParseRA(netip.MustParseAddr(lanLL), 255, s.Data)
				if m.RouterLifetime == 0 {
					told = append(told, s.To)
				}
			}
			b.plane.Push(dataplane.PortUp{Iface: "br-lan"})
		}
		if len(told) < 2 || told[0] != neighbor || told[1] != ra.AllNodes {
			t.Errorf("told of router lifetime 0: %v, want first %s, then all", told, neighbor)
		}
	})
}
