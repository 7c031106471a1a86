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
)

const wide = "2001:db8:ebbd:9900::/56"

// lanClient is a DHCPv6 client on br-lan, by the library: what it asks is what others ask.
type lanClient struct {
	*boxTest
	ll   netip.Addr
	duid lib.DUID
}

func (b *boxTest) lanClient(n byte) *lanClient {
	return &lanClient{b, netip.AddrFrom16([16]byte{0xfe, 0x80, 11: 0xff, 12: 0xfe, 14: 0x53, 15: n}), &lib.DUIDEN{EnterpriseNumber: 32473, EnterpriseIdentifier: []byte{n}}}
}

// ask sends a message and returns the answers that came at once.
func (c *lanClient) ask(t lib.MessageType, opts ...lib.Option) (out []*lib.Message) {
	c.Helper()
	m := &lib.Message{MessageType: t, TransactionID: lib.TransactionID{1, 2, 3}}
	m.AddOption(lib.OptClientID(c.duid))
	m.AddOption(lib.OptElapsedTime(0))
	for _, o := range opts {
		m.AddOption(o)
	}
	conn := c.plane.DHCPv6("br-lan")
	if conn == nil {
		c.Fatal("no DHCPv6 socket on br-lan")
	}
	conn.In <- dataplane.Received{Iface: "br-lan", Src: c.ll, Data: m.ToBytes()}
	synctest.Wait()
	return c.heard()
}

// heard are the messages to this client since the last call.
func (c *lanClient) heard() (out []*lib.Message) {
	c.Helper()
	conn := c.plane.DHCPv6("br-lan")
	for len(conn.Out) > 0 {
		s := <-conn.Out
		if s.To != c.ll {
			continue
		}
		r, err := lib.MessageFromBytes(s.Data)
		if err != nil {
			c.Fatalf("the library cannot read our message: %v", err)
		}
		out = append(out, r)
	}
	return out
}

func iaPD(prefixes ...string) *lib.OptIAPD {
	ia := &lib.OptIAPD{IaId: [4]byte{0, 0, 0, 7}}
	for _, p := range prefixes {
		ia.Options.Add(&lib.OptIAPrefix{Prefix: ipNet(netip.MustParsePrefix(p))})
	}
	return ia
}

var rapid = &lib.OptionGeneric{OptionCode: lib.OptionRapidCommit}

// bind gets a prefix by two messages.
func (c *lanClient) bind() string {
	c.Helper()
	got := c.ask(lib.MessageTypeSolicit, rapid, iaPD(), &lib.OptionGeneric{OptionCode: lib.OptionReconfAccept})
	if len(got) != 1 || got[0].MessageType != lib.MessageTypeReply || len(prefixesOf(got[0])) != 1 {
		c.Fatalf("Solicit with Rapid Commit is answered by %v", got)
	}
	return prefixesOf(got[0])[0].Prefix.String()
}

func prefixesOf(m *lib.Message) []*lib.OptIAPrefix {
	if m.Options.OneIAPD() == nil {
		return nil
	}
	return m.Options.OneIAPD().Options.Prefixes()
}

// RFC 9818: the route to the asking router stands before it hears of its prefix, and its packets may leave.
func TestRFC9818_RouteBeforeReply(t *testing.T) {
	run(t, wide, nil, func(b *boxTest) {
		c := b.lanClient(1)
		p := c.bind()
		k := b.plane.String()
		if !strings.Contains(k, "route "+p+" via "+c.ll.String()+" dev br-lan") || !strings.Contains(k, "routed "+p) {
			t.Errorf("delegated %s, kernel state:\n%s", p, k)
		}
		if !netip.MustParsePrefix(wide).Overlaps(netip.MustParsePrefix(p)) || p == "2001:db8:ebbd:9900::/64" {
			t.Errorf("delegated %s", p)
		}
		d := b.status().LANs[0].DHCPv6
		if d == nil || len(d.Bindings) != 1 || d.Bindings[0].Address != c.ll.String() || d.Bindings[0].Prefixes[0].Prefix != p {
			t.Errorf("status %+v", d)
		}
		c.ask(lib.MessageTypeRelease, serverIDOf(b), iaPD(p))
		if b.after(serverPlanEvery); strings.Contains(b.plane.String(), p) {
			t.Errorf("released, kernel state:\n%s", b.plane.String())
		}
	})
}

func serverIDOf(b *boxTest) lib.Option {
	got := b.lanClient(250).ask(lib.MessageTypeSolicit, iaPD())
	return lib.OptServerID(got[0].Options.ServerID())
}

// Where the kernel refuses the route, nobody is told of the prefix.
func TestRFC9818_NoReplyWithoutRoute(t *testing.T) {
	run(t, wide, nil, func(b *boxTest) {
		b.plane.FailApply(errors.New("no room in the routing table"))
		c := b.lanClient(1)
		if got := c.ask(lib.MessageTypeSolicit, rapid, iaPD()); len(got) != 0 {
			t.Errorf("answered although the route is missing: %v", got)
		}
		b.plane.FailApply(nil)
		b.after(time.Minute)
		if p := c.bind(); !strings.Contains(b.plane.String(), p) {
			t.Errorf("delegated %s without a route", p)
		}
	})
}

// A crash between any two messages: the client has what it had, and nobody else gets it.
func TestBindingsOutliveACrash(t *testing.T) {
	for _, boot := range []string{"boot", "another boot"} {
		synctest.Test(t, func(t *testing.T) {
			b := testBox(t, wide)
			b.start()
			had := b.lanClient(1).bind()
			b = b.kill()
			b.opt.BootID = boot
			b.start()
			defer func() { b.end() }()
			b.after(time.Second)
			if k := b.plane.String(); !strings.Contains(k, "route "+had+" via ") {
				t.Errorf("%s: the route is not back:\n%s", boot, k)
			}
			if other := b.lanClient(2).bind(); other == had {
				t.Errorf("%s: %s has two owners", boot, had)
			}
			c := b.lanClient(1)
			id := serverIDOf(b)
			got := c.ask(lib.MessageTypeRenew, id, iaPD(had))
			if len(got) != 1 || len(prefixesOf(got[0])) != 1 || prefixesOf(got[0])[0].Prefix.String() != had || prefixesOf(got[0])[0].ValidLifetime == 0 {
				t.Errorf("%s: Renew after the crash is answered by %v", boot, got)
			}
		})
	}
}

func TestBindingsFileThatIsDamaged(t *testing.T) {
	run(t, wide, func(b *boxTest) {
		if err := os.WriteFile(filepath.Join(b.opt.State, "bindings.json"), []byte(`{"version":`), 0o600); err != nil {
			t.Fatal(err)
		}
	}, func(b *boxTest) {
		b.wantSummary("up: ")
		if _, err := os.Stat(filepath.Join(b.opt.State, "bindings.json.bad")); err != nil {
			t.Error(err)
		}
		b.lanClient(1).bind()
	})
}

// RFC 9096 section 3.5: "replies with zero lifetimes", and who accepts a Reconfigure hears at once.
func TestRFC9096_3_5_RenumberingReachesRoutersBehindTheLAN(t *testing.T) {
	run(t, wide, func(b *boxTest) { b.hub.preferred, b.hub.valid = 20*time.Minute, 40*time.Minute }, func(b *boxTest) {
		c := b.lanClient(1)
		had := c.bind()
		b.hub.old, b.hub.prefix = b.hub.prefix, netip.MustParsePrefix("2001:db8:ebbd:8800::/56")
		c.heard()
		var reconfigured []*lib.Message
		for i := 0; i < 1200 && len(reconfigured) == 0; i++ { // T1 of the box's own lease
			b.after(time.Second)
			b.newRAs("br-lan")
			reconfigured = c.heard()
		}
		if len(reconfigured) == 0 || reconfigured[0].MessageType != lib.MessageTypeReconfigure {
			t.Fatalf("after the renumbering the client hears %v", reconfigured)
		}
		if k := b.plane.String(); strings.Contains(k, "routed "+had) || !strings.Contains(k, "stale "+had) {
			t.Errorf("kernel state:\n%s", k)
		}
		id := serverIDOf(b)
		b.after(serverPlanEvery) // its plan is not put off
		got := c.ask(lib.MessageTypeRenew, id, iaPD(had))
		if len(got) != 1 {
			t.Errorf("Renew is answered by %v", got)
			return
		}
		var old, fresh bool
		for _, p := range prefixesOf(got[0]) {
			old = old || p.Prefix.String() == had && p.ValidLifetime == 0
			fresh = fresh || strings.HasPrefix(p.Prefix.String(), "2001:db8:ebbd:88") && p.ValidLifetime > 0
		}
		if !old || !fresh {
			t.Errorf("Renew is answered by %s", got[0].Summary())
		}
	})
}

// L-10, and the options of the hub that hosts want (L-12).
func TestRFC7084_L10_StatelessConfiguration(t *testing.T) {
	run(t, delegated, func(b *boxTest) {
		b.hub.dns = []netip.Addr{netip.MustParseAddr("2001:db8::53")}
		b.opt.Config.Interface.Search = []string{"lan.example"}
		b.opt.Config.LANs[0].CaptivePortal = "https://portal.example/api"
	}, func(b *boxTest) {
		got := b.lanClient(1).ask(lib.MessageTypeInformationRequest,
			lib.OptRequestedOption(lib.OptionDNSRecursiveNameServer, lib.OptionDomainSearchList, lib.OptionInformationRefreshTime, lib.OptionCode(103)))
		if len(got) != 1 {
			t.Fatalf("answers %v", got)
		}
		o := got[0].Options
		if dns := o.DNS(); len(dns) != 1 || dns[0].String() != "2001:db8::53" {
			t.Errorf("DNS %v", dns)
		}
		if s := o.DomainSearchList(); s == nil || !slices.Equal(s.Labels, []string{"lan.example"}) {
			t.Errorf("search %v", s)
		}
		if p := got[0].GetOneOption(lib.OptionCode(103)); p == nil || string(p.ToBytes()) != "https://portal.example/api" {
			t.Errorf("captive portal %v", p)
		}
		if got := b.lanClient(2).ask(lib.MessageTypeSolicit, &lib.OptIANA{IaId: [4]byte{1}}); len(got) > 0 && got[0].Options.OneIANA() != nil && got[0].Options.OneIANA().Options.OneAddress() != nil {
			t.Errorf("a stateless LAN gives an address: %s", got[0].Summary())
		}
	})
}

func TestStatefulLANGivesAddresses(t *testing.T) {
	run(t, delegated, func(b *boxTest) { b.opt.Config.LANs[0].DHCPv6 = config.DHCPv6Stateful }, func(b *boxTest) {
		got := b.lanClient(1).ask(lib.MessageTypeSolicit, rapid, &lib.OptIANA{IaId: [4]byte{1}})
		if len(got) != 1 || got[0].Options.OneIANA() == nil || got[0].Options.OneIANA().Options.OneAddress() == nil {
			t.Fatalf("answers %v", got)
		}
		a := got[0].Options.OneIANA().Options.OneAddress()
		if ip, _ := netip.AddrFromSlice(a.IPv6Addr); !netip.MustParsePrefix(delegated).Contains(ip) || a.ValidLifetime > ra.NDValidLimit {
			t.Errorf("address %s for %v", a.IPv6Addr, a.ValidLifetime)
		}
		if m := b.lastRA("br-lan"); !m.Managed || !m.OtherConfig {
			t.Errorf("flags of the RA: %+v", m)
		}
	})
}

// Another program has port 547: RAs go on, the status says what is wrong, and it is tried again.
func TestPort547IsTaken(t *testing.T) {
	run(t, delegated, func(b *boxTest) { b.plane.FailDHCPv6(errors.New("br-lan: UDP port 547 is in use")) }, func(b *boxTest) {
		b.wantSummary("degraded: no DHCPv6 server on LAN br-lan: br-lan: UDP port 547 is in use")
		if m := b.lastRA("br-lan"); m.RouterLifetime == 0 {
			t.Error("no default router although only DHCPv6 is missing")
		}
		b.plane.FailDHCPv6(nil)
		b.after(time.Minute)
		b.wantSummary("up: ")
		if got := b.lanClient(1).ask(lib.MessageTypeInformationRequest); len(got) != 1 {
			t.Errorf("answers %v", got)
		}
	})
}

// Many clients at once are not as many plans, and each of them hears only when its route stands.
func TestManyClientsAreFewPlans(t *testing.T) {
	run(t, wide, nil, func(b *boxTest) {
		before := len(b.plane.Applies())
		conn := b.plane.DHCPv6("br-lan")
		for i := range 40 {
			c := b.lanClient(byte(i + 1))
			m := &lib.Message{MessageType: lib.MessageTypeSolicit, TransactionID: lib.TransactionID{1, 2, byte(i)}}
			for _, o := range []lib.Option{lib.OptClientID(c.duid), lib.OptElapsedTime(0), rapid, iaPD()} {
				m.AddOption(o)
			}
			conn.In <- dataplane.Received{Iface: "br-lan", Src: c.ll, Data: m.ToBytes()}
		}
		synctest.Wait()
		if n := len(conn.Out); n != 1 {
			t.Errorf("%d answers before the second plan, want one", n)
		}
		b.after(serverPlanEvery)
		if n := len(conn.Out); n != 40 {
			t.Errorf("%d answers, want 40", n)
		}
		if n := len(b.plane.Applies()) - before; n > 3 {
			t.Errorf("%d plans for 40 clients", n)
		}
		if n := strings.Count(b.plane.String(), " via fe80::"); n != 40 {
			t.Errorf("%d routes, want 40", n)
		}
	})
}

// While the kernel refuses a plan for whatever reason, who needs no new route is served.
func TestRefusedPlanKeepsOthersServed(t *testing.T) {
	run(t, wide, nil, func(b *boxTest) {
		id := serverIDOf(b)
		had := b.lanClient(1).bind()
		b.after(time.Second)
		b.plane.FailApply(errors.New("address 2001:db8:ebbd:9900::1/64 dev br-lan: another node on the link uses it"))
		b.plane.Push(dataplane.Drift{What: "test"})
		synctest.Wait()
		if got := b.lanClient(2).ask(lib.MessageTypeInformationRequest); len(got) != 1 {
			t.Errorf("an Information-request is answered by %v", got)
		}
		if got := b.lanClient(1).ask(lib.MessageTypeRenew, id, iaPD(had)); len(got) != 1 {
			t.Errorf("a Renew is answered by %v", got)
		}
		if got := b.lanClient(3).ask(lib.MessageTypeSolicit, rapid, iaPD()); len(got) != 0 {
			t.Errorf("a new prefix is told without its route: %v", got)
		}
	})
}

// The first plan of a successor is refused: what hosts and routers hold is left to them.
func TestRefusedFirstPlanTakesNothingAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := testBox(t, wide)
		b.start()
		b.lanClient(1).bind()
		b.after(time.Minute)
		b = b.kill()
		b.opt.Takeover = true
		b.plane.FailApply(errors.New("address 2001:db8:ebbd:9900::1/64 dev br-lan: another node on the link uses it"))
		b.start()
		defer func() { b.end() }()
		b.after(10 * time.Second)
		for _, m := range b.newRAs("br-lan") {
			if p := findPIO(m, "2001:db8:ebbd:9900::/64"); m.RouterLifetime == 0 || p == nil || p.Valid == 0 {
				t.Errorf("hosts are told %+v", m)
			}
		}
		for _, x := range b.status().LANs[0].DHCPv6.Bindings {
			if x.Prefixes[0].Stale {
				t.Errorf("taken back: %+v", x)
			}
		}
	})
}

// What was put off when a successor was called for is on the disk: it leads to where the router is now.
func TestSuccessorKnowsTheNextHop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := testBox(t, wide)
		b.start()
		had := b.lanClient(1).bind()
		b.after(time.Minute)
		c := b.lanClient(1)
		c.ll = netip.MustParseAddr("fe80::1234")
		if got := c.ask(lib.MessageTypeRenew, serverIDOf(b), iaPD(had)); len(got) != 1 {
			t.Fatalf("Renew from another address: %v", got)
		}
		b.after(time.Second)
		state := b.opt.State
		b.command(control.Handover)
		next := testBox(t, "")
		next.hub, next.opt.State, next.opt.Config, next.opt.Clock, next.opt.Takeover = b.hub, state, b.opt.Config, b.opt.Clock, true
		next.opt.Tunnel = next.hub
		next.start()
		defer next.end()
		next.after(time.Second)
		if k := next.plane.String(); !strings.Contains(k, "route "+had+" via fe80::1234 ") {
			t.Errorf("kernel state of the successor:\n%s", k)
		}
	})
}

// A reload switches the server off and on.
func TestReloadSwitchesTheServer(t *testing.T) {
	run(t, delegated, func(b *boxTest) {
		b.opt.Reload = func() (*config.Config, error) {
			c := *b.r.cfg
			c.LANs = slices.Clone(c.LANs)
			c.LANs[0].DHCPv6 = config.DHCPv6Off - c.LANs[0].DHCPv6 // off and stateless in turn
			return &c, nil
		}
	}, func(b *boxTest) {
		b.command(control.Reload)
		b.after(5 * time.Second) // the floor between two multicasts
		if c := b.plane.DHCPv6("br-lan"); !c.IsClosed() || b.status().LANs[0].DHCPv6 != nil {
			t.Error("the server goes on after it was switched off")
		}
		if m := b.lastRA("br-lan"); m.OtherConfig {
			t.Error("O flag without a server")
		}
		b.command(control.Reload)
		if got := b.lanClient(1).ask(lib.MessageTypeInformationRequest); len(got) != 1 {
			t.Errorf("switched on again: answers %v", got)
		}
	})
}
