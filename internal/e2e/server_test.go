// SPDX-License-Identifier: MIT

package e2e

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"oasis6/internal/netlab"
)

// otherPool is what an operator renumbers to.
var otherPool = netip.MustParsePrefix("2001:db8:ebbd:bb00::/56")

// quickLeases make renewals come within a test: T1 is 10 s.
func quickLeases(c netlab.WorldConfig) netlab.WorldConfig {
	c.Preferred, c.Valid = 20*time.Second, time.Minute
	return c
}

// A server whose lease file is lost: the LAN does not notice.
func TestServerLosesItsMemory(t *testing.T) {
	b := newBox(t, quickLeases(netlab.WorldConfig{}))
	b.up()
	seen, addrs, prefix := b.WatchDHCPv6(), b.H1.GUAs("eth0"), b.Delegated()
	ping := b.pinging()
	b.KeaForget()
	if b.Delegated().IsValid() {
		t.Fatal("Kea has not forgotten")
	}
	if !netlab.Poll(enough, func() bool { return b.Delegated().IsValid() }) {
		t.Fatalf("no lease %v after the server lost it\n%s", enough, b.text())
	}
	time.Sleep(time.Second) // the Reply takes effect
	b.reportLoss("server without memory", ping)
	if got := b.H1.GUAs("eth0"); b.Delegated() != prefix || len(got) != 1 || got[0] != addrs[0] {
		t.Errorf("prefix %s and addresses %v, before %s and %v", b.Delegated(), got, prefix, addrs)
	}
	if n := seen.Count(dhcpv6.MessageTypeSolicit) + seen.Count(dhcpv6.MessageTypeRelease); n != 0 {
		t.Errorf("%d Solicits and Releases, want none while the prefix is in use", n)
	}
	b.waitSummary("up: ", prefix.String())
}

// An operator gives Kea another pool and lets it reload: hosts move to the new prefix at the next renewal.
func TestOperatorRenumbers(t *testing.T) {
	b := newBox(t, quickLeases(netlab.WorldConfig{}))
	ras := b.H1.WatchRA("eth0")
	b.up()
	old := b.Delegated()
	b.KeaRenumber(otherPool)
	fresh, err := ras.First(enough, func(r netlab.RA) bool { return r.Prefix(otherPool) != nil })
	if err != nil {
		t.Fatalf("RA with the new pool: %v\n%s", err, b.text())
	}
	if p := fresh.Prefix(old); p == nil || p.ValidLifetime != 0 {
		t.Errorf("the old prefix in that RA: %+v, want it withdrawn", p)
	}
	if !netlab.Poll(soon, func() bool { return b.HostHasGUA(b.H1, otherPool) && b.H1.Ping(netlab.WWWv6) == nil }) {
		t.Errorf("h1 is not on IPv6 by the new prefix: %v", b.H1.GUAs("eth0"))
	}
	if b.HostHasGUA(b.H1, old) {
		t.Errorf("h1 still begins with %v", b.H1.GUAs("eth0"))
	}
	b.waitSummary("up: 2001:db8:ebbd:bb", "")
}

// A prefix set apart at the hub for this box, by the DUID that its status shows.
func TestReservedPrefix(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{NoDHCPv6: true})
	b.StartR2()
	b.start()
	if !b.proc.WaitOutput(soon, "tunnel up") {
		t.Fatalf("no tunnel:\n%s", b.proc.Output())
	}
	reserved := netip.MustParsePrefix("2001:db8:ebbd:aa07::/64")
	b.KeaReserve(b.status().DHCPv6.DUID, reserved)
	b.StartKea()
	if !netlab.Poll(enough, func() bool { return b.HostHasGUA(b.H1, reserved) && b.H1.Ping(netlab.WWWv6) == nil }) {
		t.Fatalf("h1 has %v, want an address of %s\n%s", b.H1.GUAs("eth0"), reserved, b.text())
	}
}

// Dibbler as the hub's server, and a pool that changes while it is away: NoBinding, and a Request.
func TestDibblerAtTheHub(t *testing.T) {
	b := newBox(t, quickLeases(netlab.WorldConfig{NoDHCPv6: true}))
	b.StartR2()
	seen := b.WatchDHCPv6()
	p := b.StartDibbler()
	b.start()
	b.waitOnline(b.H1)
	p = b.DibblerRenumber(p, otherPool)
	if !netlab.Poll(enough, func() bool { return b.HostHasGUA(b.H1, otherPool) && b.H1.Ping(netlab.WWWv6) == nil }) {
		t.Fatalf("h1 has %v, want an address of %s\n%s\n%s", b.H1.GUAs("eth0"), otherPool, b.text(), p.Output())
	}
	if n := seen.Count(dhcpv6.MessageTypeSolicit); n > 1 {
		t.Errorf("%d Solicits, want the first one alone", n)
	}
	if !strings.Contains(p.Output(), "Received RENEW") {
		t.Errorf("dibbler saw no Renew:\n%s", p.Output())
	}
}
