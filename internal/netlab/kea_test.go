// SPDX-License-Identifier: MIT

package netlab

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

const testDUID = "000466666666666646668666666666666666" // as Kea's file has it

// newTestClient brings up R1's end of the tunnel by upstream wireguard-go, and a socket on it. R2 must be running.
func newTestClient(t *testing.T, w *World) *Asker {
	t.Helper()
	w.StartForeign()
	return w.Ask(w.BoxKey.Public().LinkLocal(), &dhcpv6.DUIDUUID{UUID: [16]byte{
		0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x46, 0x66, 0x86, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66}})
}

func iapd(iaid byte, prefixes ...string) *dhcpv6.OptIAPD {
	o := &dhcpv6.OptIAPD{IaId: [4]byte{3: iaid}}
	for _, p := range prefixes {
		_, n, _ := net.ParseCIDR(p)
		o.Options.Add(&dhcpv6.OptIAPrefix{Prefix: n})
	}
	return o
}

// prefixes is what a message says of an IA_PD: "2001:db8::/64 20/40".
func prefixes(m *dhcpv6.Message, iaid byte) (out []string) {
	for _, ia := range m.Options.IAPD() {
		for _, p := range ia.Options.Prefixes() {
			if ia.IaId[3] == iaid {
				out = append(out, p.Prefix.String()+" "+p.PreferredLifetime.String()+"/"+p.ValidLifetime.String())
			}
		}
	}
	slices.Sort(out)
	return out
}

const keaLifetimes = " 45m0s/1h30m0s"

func TestKeaGivesAddressesPrefixesAndNTP(t *testing.T) {
	w := NewWorld(t, WorldConfig{Addresses: true})
	w.StartR2()
	seen := w.WatchDHCPv6()
	c := newTestClient(t, w)
	rapid := &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit}
	m := c.Must(dhcpv6.MessageTypeSolicit, nil, rapid, &dhcpv6.OptIANA{IaId: [4]byte{3: 1}}, iapd(1), iapd(2),
		dhcpv6.OptRequestedOption(dhcpv6.OptionNTPServer, dhcpv6.OptionDNSRecursiveNameServer))
	if m.MessageType != dhcpv6.MessageTypeReply {
		t.Errorf("Kea answers a Solicit with Rapid Commit by %s", m.MessageType)
	}
	first, second := prefixes(m, 1), prefixes(m, 2)
	if len(first) != 1 || len(second) != 1 || first[0] == second[0] || !strings.HasPrefix(first[0], "2001:db8:ebbd:99") {
		t.Errorf("IA_PD 1 has %v, IA_PD 2 has %v, want a prefix each", first, second)
	}
	addr := m.Options.OneIANA().Options.OneAddress()
	if addr == nil || !netip.MustParsePrefix(AddressPool).Contains(netip.MustParseAddr(addr.IPv6Addr.String())) {
		t.Fatalf("IA_NA has %v, want an address of %s", addr, AddressPool)
	}
	var ntp []string
	if o, ok := m.GetOneOption(dhcpv6.OptionNTPServer).(*dhcpv6.OptNTPServer); ok {
		for _, s := range o.Suboptions {
			ntp = append(ntp, s.String())
		}
	}
	if text := strings.Join(ntp, " "); !strings.Contains(text, NTPv6) || !strings.Contains(text, NTPName) {
		t.Errorf("NTP servers = %q, want %s and %s", text, NTPv6, NTPName)
	}
	// R2 routes the address to the box.
	w.R1.Addr(HandMadeTunnel, addr.IPv6Addr.String()+"/128")
	w.R1.Run("ip", "-6", "route", "add", "default", "dev", HandMadeTunnel)
	w.R1.WaitFor(5*time.Second, "no echo reply to the address of IA_NA", func() bool { return w.R1.Ping(WWWv6) == nil })
	if n := seen.Count(dhcpv6.MessageTypeSolicit); n == 0 || n != seen.Busiest(time.Minute) {
		t.Errorf("the watch saw %d Solicits, at most %d messages in a minute", n, seen.Busiest(time.Minute))
	}
}

// What an administrator does to a server while clients hold leases.
func TestKeaForgetsRenumbersAndReserves(t *testing.T) {
	w := NewWorld(t, WorldConfig{NoRapid: true})
	w.StartR2()
	c := newTestClient(t, w)
	reserved, other := netip.MustParsePrefix("2001:db8:ebbd:aa07::/64"), netip.MustParsePrefix("2001:db8:ebbd:bb00::/56")
	m := c.Must(dhcpv6.MessageTypeSolicit, nil, &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit}, iapd(1))
	if m.MessageType != dhcpv6.MessageTypeAdvertise {
		t.Errorf("Kea without Rapid Commit answers by %s", m.MessageType)
	}
	server := m.Options.ServerID()
	old, _, _ := strings.Cut(prefixes(c.Must(dhcpv6.MessageTypeRequest, server, iapd(1)), 1)[0], " ")
	renew := func() *dhcpv6.Message { return c.Must(dhcpv6.MessageTypeRenew, server, iapd(1, old)) }
	if got := prefixes(renew(), 1); !slices.Equal(got, []string{old + keaLifetimes}) {
		t.Errorf("Renew of %s gives %v", old, got)
	}

	w.KeaRenumber(other)
	got := prefixes(renew(), 1)
	if len(got) != 2 || got[0] != old+" 0s/0s" || !strings.HasPrefix(got[1], "2001:db8:ebbd:bb") {
		t.Errorf("Renew after renumbering gives %v, want %s with 0/0 and one of %s", got, old, other)
	}
	if r := w.R2.Run("ip", "-6", "route", "show", "dev", "wg0"); !strings.Contains(r, other.String()) || !strings.Contains(r, DefaultPool) {
		t.Errorf("R2 does not route both pools:\n%s", r)
	}

	w.KeaForget()
	if leases := strings.Count(w.KeaLeases(), "\n"); leases != 1 {
		t.Errorf("lease file has %d lines, want the heading alone", leases)
	}
	w.KeaReserve(testDUID, reserved)
	m = c.Must(dhcpv6.MessageTypeRequest, server, iapd(1))
	if got := prefixes(m, 1); !slices.Equal(got, []string{reserved.String() + keaLifetimes}) {
		t.Errorf("with a reservation Request gives %v %v, want %s", got, m.Options.Status(), reserved)
	}
	if w.Delegated() != reserved {
		t.Errorf("lease file says %s, want %s", w.Delegated(), reserved)
	}
}
