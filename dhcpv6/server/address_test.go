// SPDX-License-Identifier: MIT

package server

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"oasis6/dhcpv6/dhcpv6test"
)

// The identifiers that no host may have.
func TestRFC5453_3_ReservedInterfaceIdentifiers(t *testing.T) {
	for id, want := range map[uint64]bool{
		0: true, 1: true, 0xffff: true, 0x10000: false, 1 << 48: false,
		0x02005efffe000000: true, 0x02005efffe005213: true, 0x02005efffeffffff: true, 0x02005efffdffffff: false, 0x02005effff000000: false,
		0xfdffffffffffff7f: false, 0xfdffffffffffff80: true, 0xfdffffffffffffff: true, 0xfe00000000000000: false,
	} {
		b := netip.MustParseAddr("2001:db8:1::").As16()
		binary.BigEndian.PutUint64(b[8:], id)
		if got := reservedID(netip.AddrFrom16(b)); got != want {
			t.Errorf("%#x: reserved %v, want %v", id, got, want)
		}
	}
}

// The same client, IAID and prefix have the same address, whatever was forgotten; another of any of them another one.
func TestRFC7943_4_AddressIsMadeOfSecretDUIDIAIDAndPrefix(t *testing.T) {
	w := newWorld(t)
	seen := map[string]string{}
	for _, q := range []string{"solicit na1", "solicit na2", "solicit na1 client=c2", "solicit na1 link=guest"} {
		got, m := w.ask(q)
		a := m.IAs[0].Prefixes[0].Prefix.Addr()
		if id := fmt.Sprintf("%x", a.AsSlice()[8:]); seen[id] != "" {
			t.Errorf("%s and %s have the same identifier %s", q, seen[id], id)
		} else {
			seen[id] = q
		}
		if again, _ := newWorld(t).ask(q); again != got {
			t.Errorf("%s: %s, and after all was forgotten %s", q, got, again)
		}
	}
	other := testConfig
	other.Secret[5]++
	if a := addr1(worldWith(t, other, testContent())); a == addr1(w) {
		t.Errorf("another secret makes the same address %s", a)
	}
}

// One address from each prefix that hosts may prefer; deprecated ones are extended but not given.
func TestAddressesOfEachPrefix(t *testing.T) {
	c := testContent()
	lan := &c.Links[0]
	lan.OnLink = append(lan.OnLink, OnLink{Prefix: netip.MustParsePrefix("fd00:1::/64"), Preferred: at(100 * time.Hour), Valid: at(200 * time.Hour)},
		OnLink{Prefix: netip.MustParsePrefix("2001:db8:2::/64"), Preferred: at(0), Valid: at(200 * time.Hour)},
		OnLink{Prefix: netip.MustParsePrefix("2001:db8:3::/120"), Preferred: at(100 * time.Hour), Valid: at(200 * time.Hour)})
	w := worldWith(t, testConfig, c)
	_, m := w.ask("request na1")
	if len(m.IAs[0].Prefixes) != 2 || !lan.OnLink[0].Prefix.Contains(m.IAs[0].Prefixes[0].Prefix.Addr()) || !lan.OnLink[1].Prefix.Contains(m.IAs[0].Prefixes[1].Prefix.Addr()) {
		t.Fatal(dhcpv6test.Text(m))
	}
	first, second := m.IAs[0].Prefixes[0].Prefix.Addr(), m.IAs[0].Prefixes[1].Prefix.Addr()
	lan.OnLink[1].Preferred = at(0)
	w.set(c)
	m = w.want("renew na1", fmt.Sprintf("reply na1 %s=2700/5400 %s=0/5400", first, second))
	if m.IAs[0].T1 != 1350 {
		t.Errorf("T1 %d: a deprecated address must not count", m.IAs[0].T1)
	}
	lan.OnLink[0].Preferred = at(0)
	w.set(c)
	if m = w.want("renew na1", fmt.Sprintf("reply na1 %s=0/5400 %s=0/5400", first, second)); m.IAs[0].T1 != 5400 || m.IAs[0].T2 != 5400 {
		t.Errorf("T1 %d T2 %d, want the valid lifetime: there is nothing to renew before", m.IAs[0].T1, m.IAs[0].T2)
	}
}

// A client that moves has addresses of its new link, and is told that the old ones are none there.
func TestAddressIsJudgedByTheLink(t *testing.T) {
	w := newWorld(t)
	a := addr1(w)
	w.want("request na1", "reply na1 "+a+"=2700/5400")
	_, m := w.ask("solicit na1 link=guest")
	b := m.IAs[0].Prefixes[0].Prefix.Addr().String()
	w.want("rebind na1 "+a+" link=guest", "reply na1 "+b+"=2700/5400 "+a+"=0/0")
	w.wantBound("guest c1 na1 " + a + "=0/5400/stale " + b + "=2700/5400")
	w.want("renew na1 "+b+" link=guest", "reply na1 "+b+"=2700/5400")
	w.wantBound("guest c1 na1 " + b + "=2700/5400")
}

// In a prefix so small that numbers collide, nobody gets what another one has, and in the end there is nothing.
func TestAddressesNeverCollide(t *testing.T) {
	c := testContent()
	c.Links[0].OnLink[0].Prefix = netip.MustParsePrefix("2001:db8:1:0:1::/112")
	cfg := testConfig
	cfg.MaxBindings = 3000
	w := worldWith(t, cfg, c)
	w.oracle, w.big = false, true
	given := 0
	for i := range 800 {
		w.now = w.now.Add(grantEvery)
		if _, m := w.ask(fmt.Sprintf("request na1 client=%d", i)); len(m.IAs) == 1 && len(m.IAs[0].Prefixes) == 1 {
			given++
		}
	}
	if given != 800 {
		t.Errorf("%d of 800 clients have an address", given)
	}
	w.checkBindings()
}
