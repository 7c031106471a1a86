// SPDX-License-Identifier: MIT

package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"oasis6/internal/netlab"
)

// What a server like odhcpd gives the first client that wishes for a /64 out of the usual pool: subnet 0 is its own.
var odhcpdFirst = netip.MustParsePrefix("2001:db8:ebbd:9901::/64")

// quickOdhcpd makes T1 10 s.
func quickOdhcpd() []string { return []string{"-max-preferred=20", "-max-valid=60"} }

// newOdhcpdBox is a box whose R2 is a router with OpenWrt: odhcpd makes the routes, its interface has the first /64 of the
// pool. The mode is "rapid" for what odhcpd does; "good" leaves Rapid Commit out.
func newOdhcpdBox(t *testing.T, pool netip.Prefix, mode string, flags ...string) *badBox {
	t.Helper()
	b := &badBox{box: newBox(t, netlab.WorldConfig{NoDHCPv6: true, OpenPeer: true, ServerRoutes: true, Pool: pool})}
	b.WriteBoxConfig(b.BoxConfig("[Prefix]", "Hint = ::/64"))
	b.StartR2()
	b.bootOdhcpd(mode, flags...)
	return b
}

// bootOdhcpd starts what an R2 with a tunnel lacks.
func (b *badBox) bootOdhcpd(mode string, flags ...string) {
	b.Helper()
	b.R2.Addr("wg0", netip.PrefixFrom(b.Config.Pool.Addr().Next(), 64).String())
	b.seen = b.WatchDHCPv6()
	b.watchRate(b.seen)
	b.srv = b.StartOdhcpd(mode, flags...)
}

// waitOnlineBy waits until h1 has an address of p and an echo reply.
func (b *badBox) waitOnlineBy(d time.Duration, p netip.Prefix) {
	b.Helper()
	if !netlab.Poll(d, func() bool { return b.HostHasGUA(b.H1, p) && b.online(b.H1) }) {
		b.Fatalf("h1 is not on IPv6 by %s within %v: GUAs %v, default route %v\n%s\n%s", p, d, b.H1.GUAs("eth0"), b.HostDefaultRoute(b.H1), b.text(), b.srv.Output())
	}
}

// wantNoSolicit checks that the box sent no Solicit since a count was taken: it would cost a lease that is bound.
func (b *badBox) wantNoSolicit(since int) {
	b.Helper()
	if n := b.seen.Count(dhcpv6.MessageTypeSolicit); n != since {
		b.Errorf("%d Solicits were sent while a prefix was held:\n%s", n-since, b.srv.Output())
	}
}

// The article's R2 with its own software: out of an assignment of /63 odhcpd keeps the first /64 and delegates the second,
// whatever was wished, and addresses come out of the first.
func TestOdhcpdOfTheArticle(t *testing.T) {
	b := newOdhcpdBox(t, assigned, "rapid")
	b.WriteBoxConfig(b.articleConfig("::/64"))
	b.R2.StartRadvd("wg0", articleRAs(b.BoxKey.Public().LinkLocal())...)
	b.start()
	second := netip.MustParsePrefix("2001:db8:ebbd:990b::/64")
	b.waitOnlineBy(enough, second)
	b.wantAddress("2001:db8:ebbd:990a::/64")
	if p := b.status().Prefixes; len(p) != 1 || p[0].PreferredS > 2700 || p[0].ValidS > 5400 || p[0].PreferredS < 2600 {
		t.Errorf("prefixes %+v, want lifetimes of 45 and 90 minutes", p)
	}
	// The M flag may have come after the prefix: an address is asked for without a second Solicit.
	if n := b.seen.Count(dhcpv6.MessageTypeSolicit); n != 1 {
		t.Errorf("%d Solicits, want one:\n%s", n, b.srv.Output())
	}
}

// A wish is raised to /62, and tried longer and longer down to /64; the box makes do.
func TestOdhcpdGivesLongerPrefixes(t *testing.T) {
	b := newOdhcpdBox(t, delegated, "rapid")
	for _, tc := range []struct{ upstream, hint, want string }{
		{"2001:db8:ebbd:9900::/56", "::/56", "2001:db8:ebbd:9904::/62"},
		{"2001:db8:ebbd:9900::/62", "::/56", "2001:db8:ebbd:9902::/63"},
		{"2001:db8:ebbd:9900::/63", "2001:db8:ebbd:9940::/60", "2001:db8:ebbd:9901::/64"},
	} {
		b.srv.Kill()
		b.srv = b.StartOdhcpd("rapid")
		b.srv.Upstream(tc.upstream + " 86400 86400")
		b.WriteBoxConfig(b.BoxConfig("[Prefix]", "Hint = "+tc.hint))
		b.stage("rapid")
		want := netip.MustParsePrefix(tc.want)
		b.waitOnlineBy(enough, netip.PrefixFrom(want.Addr(), 64))
		if p := b.status().Prefixes; len(p) != 1 || p[0].Prefix != tc.want {
			t.Errorf("%s out of %s: prefixes %+v, want %s", tc.hint, tc.upstream, p, tc.want)
		}
	}
	// An interface without more than its own /64 has nothing to give.
	b.srv.Kill()
	b.srv = b.StartOdhcpd("rapid")
	b.srv.Upstream("2001:db8:ebbd:9900::/64 86400 86400")
	b.stage("rapid")
	b.waitSummary("degraded: ", "NoPrefixAvail")
}

// odhcpd knows no lease after its start. The next Renew is answered NoBinding, and a Request brings the prefix back; a box
// that starts anew sends a Rebind, which creates the lease. Nothing is a Solicit.
func TestOdhcpdForgetsLeases(t *testing.T) {
	b := newOdhcpdBox(t, delegated, "rapid", quickOdhcpd()...)
	b.start()
	b.waitOnlineBy(enough, odhcpdFirst)
	addrs, solicits := b.H1.GUAs("eth0"), b.seen.Count(dhcpv6.MessageTypeSolicit)
	b.restartOdhcpd("rapid", quickOdhcpd()...)
	b.waitGot(enough, "REQUEST ", 1)
	b.waitOnlineBy(soon, odhcpdFirst)

	b.restartOdhcpd("rapid", quickOdhcpd()...)
	b.proc.Kill()
	b.start()
	b.waitGot(soon, "REBIND ", 1)
	b.waitOnlineBy(soon, odhcpdFirst)
	if got := b.H1.GUAs("eth0"); len(got) != 1 || got[0] != addrs[0] {
		t.Errorf("h1 has %v, want %v all the time", got, addrs)
	}
	b.wantNoSolicit(solicits)
}

func (b *badBox) restartOdhcpd(mode string, flags ...string) {
	b.Helper()
	b.srv.Kill()
	b.srv = b.StartOdhcpd(mode, flags...)
}

// R2 reboots while somebody on the LAN uses it. The new handshake makes the box ask again, long before T1, and it is online,
// whatever odhcpd gives it now.
func TestOdhcpdReboots(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		quick bool   // so that the tunnel is never called dead: its network is restarted, say
		pool  string // of the provider, after the reboot
		flag  string
		want  string
	}{
		{"and is as before", true, "2001:db8:ebbd:9900::/56", "-others=0", "2001:db8:ebbd:9901::/64"},
		{"and another site is quicker", false, "2001:db8:ebbd:9900::/56", "-others=1", "2001:db8:ebbd:9902::/64"},
		{"and has another prefix", false, "2001:db8:ebbd:bb00::/56", "-others=0", "2001:db8:ebbd:bb01::/64"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newOdhcpdBox(t, delegated, "rapid")
			b.start()
			b.waitOnlineBy(enough, odhcpdFirst)
			b.H1.Start("ping", "-n", "-i", "0.5", netlab.WWWv6)
			time.Sleep(6 * time.Second) // wireguard-go may repeat the first handshake after 5 s, for nothing
			b.StopR2()
			b.srv.Kill()
			if !tc.quick {
				b.waitSummary("down: ", "") // routers take longer to start than the 15 s of this
			}
			b.StartR2()
			b.bootOdhcpd("rapid", "-pool="+tc.pool, tc.flag)
			b.waitGot(2*enough, "REBIND ", 1) // verifications are 30 s apart, and the start was one
			want := netip.MustParsePrefix(tc.want)
			if !netlab.Poll(soon, func() bool { return b.HostHasGUA(b.H1, want) && b.H1.Ping(netlab.WWWv6) == nil }) {
				t.Fatalf("h1 has %v, want an address of %s\n%s\n%s", b.H1.GUAs("eth0"), want, b.text(), b.srv.Output())
			}
			if want != odhcpdFirst && b.HostHasGUA(b.H1, odhcpdFirst) {
				t.Errorf("h1 still begins with %v", b.H1.GUAs("eth0"))
			}
			b.wantNoSolicit(0)
		})
	}
}

// odhcpd restarts and its provider has given another prefix: Renew is NoBinding, a Request for the old one NotOnLink.
func TestOdhcpdForgetsAndRenumbers(t *testing.T) {
	b := newOdhcpdBox(t, delegated, "rapid", quickOdhcpd()...)
	b.start()
	b.waitOnlineBy(enough, odhcpdFirst)
	b.restartOdhcpd("rapid", append(quickOdhcpd(), "-pool=2001:db8:ebbd:bb00::/56")...)
	b.waitGot(enough, "REQUEST ", 1)
	other := netip.MustParsePrefix("2001:db8:ebbd:bb01::/64")
	begin := time.Now()
	if !netlab.Poll(enough, func() bool { return b.HostHasGUA(b.H1, other) && b.H1.Ping(netlab.WWWv6) == nil }) {
		t.Fatalf("h1 has %v, want an address of %s\n%s\n%s", b.H1.GUAs("eth0"), other, b.text(), b.srv.Output())
	}
	t.Logf("online by the new prefix %v after the Request for the old one", time.Since(begin).Round(100*time.Millisecond))
	if b.HostHasGUA(b.H1, odhcpdFirst) {
		t.Errorf("h1 still begins with %v", b.H1.GUAs("eth0"))
	}
}

// A Solicit of somebody with our DUID, a copied card say, takes our route away and ends our lease in 60 s: the next Renew
// mends it. The box itself never does that to its lease, nor does another client that runs on it.
func TestOdhcpdAndASolicit(t *testing.T) {
	b := newOdhcpdBox(t, delegated, "rapid", quickOdhcpd()...)
	b.start()
	b.waitOnlineBy(enough, odhcpdFirst)
	addrs, solicits := b.H1.GUAs("eth0"), b.seen.Count(dhcpv6.MessageTypeSolicit)
	b.srv.Stray()
	if !netlab.Poll(soon, func() bool { return b.H1.Ping(netlab.WWWv6) != nil }) {
		t.Error("the double does no harm: it proves nothing")
	}
	b.waitOnlineBy(enough, odhcpdFirst) // T1 is 10 s

	ping := b.pinging()
	if !b.Config.Userspace { // there is no interface that another client could take
		b.solicitBesideTheBox()
	}
	b.WriteBoxConfig(b.BoxConfig("[Prefix]", "Hint = ::/62", "RequestAddress = yes"))
	b.proc.Signal(syscall.SIGHUP)
	if !netlab.Poll(soon, func() bool { return len(b.status().DHCPv6.IAs) == 2 && b.status().DHCPv6.State == "bound" }) {
		t.Errorf("no address after the reload:\n%s", b.text())
	}
	b.proc.Kill()
	b.start()
	b.waitGot(soon, "REBIND ", 1)
	b.waitSummary("up: ", "")
	b.reportLoss("a reload with another wish, kill -9", ping)
	if got := b.H1.GUAs("eth0"); len(got) != 1 || got[0] != addrs[0] {
		t.Errorf("h1 has %v, want %v all the time", got, addrs)
	}
	b.wantNoSolicit(solicits)
}

// solicitBesideTheBox sends a Solicit into the tunnel as another DHCPv6 client on R1 would.
func (b *badBox) solicitBesideTheBox() {
	b.Helper()
	m := &dhcpv6.Message{MessageType: dhcpv6.MessageTypeSolicit}
	m.AddOption(dhcpv6.OptClientID(&dhcpv6.DUIDUUID{UUID: [16]byte{15: 9}}))
	m.AddOption(&dhcpv6.OptIAPD{IaId: [4]byte{3: 1}})
	err := b.R1.Do(func() error {
		c, err := net.DialUDP("udp6", nil, &net.UDPAddr{IP: net.ParseIP("ff02::1:2"), Zone: netlab.BoxTunnel, Port: 547})
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }() // nothing is buffered
		_, err = c.Write(m.ToBytes())
		return err
	})
	if err != nil {
		b.Errorf("r1: %v", err)
	}
}

// The provider of R2 gives another prefix. odhcpd calls its clients, but has given the key to those alone that sent a
// Request: after Rapid Commit nobody can believe it, and the next Renew brings the new prefix.
func TestOdhcpdRenumbers(t *testing.T) {
	t.Parallel()
	const upstream = "2001:db8:ebbd:%s00::/56 86400 86400"
	other := netip.MustParsePrefix("2001:db8:ebbd:bb01::/64")
	t.Run("without a key", func(t *testing.T) {
		b := newOdhcpdBox(t, delegated, "rapid", quickOdhcpd()...)
		b.start()
		b.waitOnlineBy(enough, odhcpdFirst)
		b.srv.Upstream(fmt.Sprintf(upstream, "bb"))
		if !netlab.Poll(soon, func() bool { return b.status().DHCPv6.Dropped > 0 }) {
			t.Errorf("a Reconfigure that nobody can check is not counted as refused\n%s", b.text())
		}
		b.waitMoved(enough, other, odhcpdFirst)
	})
	t.Run("with a key", func(t *testing.T) {
		b := newOdhcpdBox(t, delegated, "good", "-max-preferred=50", "-max-valid=90")
		b.start()
		b.waitOnlineBy(enough, odhcpdFirst)
		b.srv.Upstream(fmt.Sprintf(upstream, "bb"))
		b.waitMoved(inACrowd, other, odhcpdFirst)
		// The wall clock is the replay detection. Back by an hour, no call is believed until the time is reached again; the
		// lease lives on, and the Renew brings what there is.
		b.srv.StepClock(-time.Hour)
		b.srv.Upstream(fmt.Sprintf(upstream, "99"))
		if !netlab.Poll(soon, func() bool { return strings.Contains(b.status().DHCPv6.LastRefused, "replay") }) {
			t.Errorf("a Reconfigure of the past is not refused as a replay\n%s", b.text())
		}
		b.waitMoved(2*enough, odhcpdFirst, other) // T1 is 25 s
		b.srv.StepClock(2 * time.Hour)
		b.srv.Upstream(fmt.Sprintf(upstream, "bb"))
		b.waitMoved(inACrowd, other, odhcpdFirst)
	})
}

// waitMoved waits until h1 has an address of the one prefix, and none of the other that it would begin with.
func (b *badBox) waitMoved(d time.Duration, to, from netip.Prefix) {
	b.Helper()
	// DAD is h1's own second.
	if !netlab.Poll(d+2*time.Second, func() bool {
		return b.HostHasGUA(b.H1, to) && !b.HostHasGUA(b.H1, from) && b.H1.Ping(netlab.WWWv6) == nil
	}) {
		b.Fatalf("h1 has %v, want an address of %s alone\n%s\n%s", b.H1.GUAs("eth0"), to, b.text(), b.srv.Output())
	}
}

// The prefix of R2 is about to end, and each Renew brings less: hosts are never told more than is left, and when R2 has a
// new lease from its provider they are online again.
func TestOdhcpdLifetimesDecay(t *testing.T) {
	b := newOdhcpdBox(t, delegated, "rapid", "-preferred=24", "-valid=40")
	begin := time.Now() // the server began a little earlier
	ras := b.H1.WatchRA("eth0")
	b.start()
	b.waitOnlineBy(enough, odhcpdFirst)
	b.waitGot(enough, "RENEW ", 1)
	b.wantOnline(b.H1)
	if !netlab.Poll(time.Until(begin.Add(45*time.Second)), func() bool { return !b.HostDefaultRoute(b.H1).IsValid() }) {
		t.Errorf("h1 has a default route %v after the start of a prefix that lives 40 s\n%s\n%s", time.Since(begin), b.text(), b.srv.Output())
	}
	for _, r := range ras.All() {
		for _, p := range r.PIOs() {
			if end := r.At.Add(p.Valid).Sub(begin); end > 41*time.Second {
				t.Errorf("RA after %v: valid lifetime %v, to %v", r.At.Sub(begin), p.Valid, end)
			}
			if end := r.At.Add(p.Preferred).Sub(begin); p.Preferred > 0 && end > 25*time.Second {
				t.Errorf("RA after %v: preferred lifetime %v, to %v", r.At.Sub(begin), p.Preferred, end)
			}
		}
	}
	b.srv.Upstream("2001:db8:ebbd:9900::/56 86400 86400")
	b.waitOnlineBy(2*enough, odhcpdFirst)
	if _, err := os.Stat(b.BoxState() + "/lease.json"); err != nil {
		t.Error(err)
	}
}
