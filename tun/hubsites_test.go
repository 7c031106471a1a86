// SPDX-License-Identifier: MIT

package tun

import (
	"bytes"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"oasis6/internal/ip6pkt"
	"oasis6/internal/wgkey"
)

// passes says whether what s sends from src comes out at the hub's host.
func passes(t *testing.T, s *testSite, host *Memory, src netip.Addr) bool {
	t.Helper()
	pkt := ip6pkt.UDP(src, farGUA, 1, 2, 64, []byte("data"))
	end := ip6pkt.UDP(s.ll, farGUA, 1, 3, 64, []byte("end"))
	s.send(t, bytes.Clone(pkt), bytes.Clone(end))
	first := next(t, host.Packets())
	if bytes.Equal(first, end) {
		return false
	}
	if last := next(t, host.Packets()); !bytes.Equal(first, pkt) || !bytes.Equal(last, end) {
		t.Fatalf("the host gets %x and %x", first, last)
	}
	return true
}

// Whatever becomes of the other sites and of its own prefixes, a site that stays keeps its session.
func TestSetSitesKeepsSessions(t *testing.T) {
	noLeaks(t)
	h, host := openHub(t)
	one, two, three := testSiteConfig(1), testSiteConfig(2), testSiteConfig(3)
	setSites(t, h, one, two)
	a, b := openSite(t, h, 1), openSite(t, h, 2)
	if !passes(t, a, host, a.addr()) || !passes(t, b, host, b.addr()) {
		t.Fatal("a lease does not pass")
	}
	session := readSite(t, h, 1)
	if session.HandshakeAge < 0 || session.HandshakeAge > soon || session.RxBytes == 0 || session.TxBytes == 0 || session.Drifted || session.AllowedIPs != 2 {
		t.Errorf("reading %+v", session)
	}
	for range 2 { // an idle call changes nothing either
		more := one
		more.AllowedIPs = append(slices.Clone(one.AllowedIPs), testLease(11))
		setSites(t, h, three, more)
	}
	if !passes(t, a, host, a.addr()) || !passes(t, a, host, testLease(11).Addr().Next()) {
		t.Error("the lease or the new one does not pass")
	}
	if now := readSite(t, h, 1); now.HandshakeAt != session.HandshakeAt || now.Initiations != session.Initiations {
		t.Errorf("another handshake: %+v, had %+v", now, session)
	}
	b.send(t, ip6pkt.UDP(b.addr(), farGUA, 1, 2, 64, []byte("gone")))
	a.send(t, ip6pkt.UDP(a.addr(), farGUA, 1, 2, 64, []byte("here")))
	if p := next(t, host.Packets()); !bytes.HasSuffix(p, []byte("here")) {
		t.Errorf("a site that was removed still speaks: %x", p)
	}
	if err := h.SetAllowedIPs(one.Public, one.AllowedIPs[:1]); err != nil {
		t.Fatal(err)
	}
	if passes(t, a, host, a.addr()) {
		t.Error("a lease that was taken away passes")
	}
}

// A prefix goes over to another site, in one call of either kind.
func TestPrefixMovesToAnotherSite(t *testing.T) {
	noLeaks(t)
	h, host := openHub(t)
	one, two := testSiteConfig(1), testSiteConfig(2)
	setSites(t, h, one, two)
	a, b := openSite(t, h, 1), openSite(t, h, 2)
	without, both := one, two
	without.AllowedIPs = one.AllowedIPs[:1]
	both.AllowedIPs = append(slices.Clone(two.AllowedIPs), testLease(1))
	for _, list := range [][]Site{{both, without}, {without, both}} { // the order does not matter
		setSites(t, h, one, two)
		setSites(t, h, list...)
		if passes(t, a, host, a.addr()) || !passes(t, b, host, a.addr()) {
			t.Error("SetSites: the prefix did not move")
		}
		setSites(t, h, one, two)
		if !passes(t, a, host, a.addr()) || passes(t, b, host, a.addr()) {
			t.Error("SetSites: the prefix did not come back")
		}
		var quick []Allowed
		for _, s := range list {
			quick = append(quick, Allowed{s.Public, s.AllowedIPs})
		}
		if err := h.SetAllowed(quick); err != nil {
			t.Fatal(err)
		}
		if passes(t, a, host, a.addr()) || !passes(t, b, host, a.addr()) {
			t.Error("SetAllowed: the prefix did not move")
		}
	}
}

// What is wrong with a list is said, and nothing is changed.
func TestSitesThatAreRefused(t *testing.T) {
	noLeaks(t)
	h, _ := openHub(t)
	setSites(t, h, testSiteConfig(1), testSiteConfig(2))
	before, err := h.AllowedIPs()
	if err != nil {
		t.Fatal(err)
	}
	edited := func(n int, edit func(*Site)) Site {
		s := testSiteConfig(n)
		edit(&s)
		return s
	}
	for _, c := range []struct {
		want string
		list []Site
	}{
		{"without public key", []Site{{}}},
		{"the hub's own", []Site{{Public: testHub.Public()}}},
		{": twice", []Site{testSiteConfig(3), testSiteConfig(3)}},
		{"keepalive 18h12m16s", []Site{edited(3, func(s *Site) { s.Keepalive = 65536 * time.Second })}},
		{"keepalive -1s", []Site{edited(3, func(s *Site) { s.Keepalive = -time.Second })}},
		{"want an IPv6 prefix", []Site{edited(3, func(s *Site) { s.AllowedIPs = prefixes("192.0.2.0/24") })}},
		{"want an IPv6 prefix", []Site{edited(3, func(s *Site) { s.AllowedIPs = []netip.Prefix{{}} })}},
		{testLease(3).String() + " is site", []Site{testSiteConfig(3), edited(4, func(s *Site) { s.AllowedIPs = []netip.Prefix{netip.PrefixFrom(testLease(3).Addr().Next(), 64)} })}},
		{"want 65536 at most", make([]Site, maxSites+1)},
	} {
		if err := h.SetSites(c.list); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("SetSites = %.200v, want %q", err, c.want)
		}
	}
	one, two := testSiteConfig(1), testSiteConfig(2)
	for _, c := range []struct {
		want string
		list []Allowed
	}{
		{"not on the device", []Allowed{{testKey(9).Public(), nil}}},
		{": twice", []Allowed{{one.Public, nil}, {one.Public, nil}}},
		{"want an IPv6 prefix", []Allowed{{one.Public, prefixes("0.0.0.0/0")}}},
		{testLease(2).String() + " is site", []Allowed{{one.Public, two.AllowedIPs}}},
		{testLease(2).String() + " is site", []Allowed{{one.Public, two.AllowedIPs}, {two.Public, two.AllowedIPs}}},
		{testLease(5).String() + " is site", []Allowed{{one.Public, []netip.Prefix{testLease(5)}}, {two.Public, []netip.Prefix{testLease(5)}}}},
	} {
		if err := h.SetAllowed(c.list); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("SetAllowed = %v, want %q", err, c.want)
		}
	}
	if after, err := h.AllowedIPs(); err != nil || !maps.EqualFunc(before, after, slices.Equal) {
		t.Errorf("after the refusals the device has %v, %v, had %v", after, err, before)
	}
}

// wg set behaves as the hub's own socket for wg does.
func wgSet(t testing.TB, h *Hub, lines ...string) {
	t.Helper()
	if err := h.dev.IpcSet(strings.Join(lines, "\n") + "\n"); err != nil {
		t.Fatal(err)
	}
}

// What somebody does with wg shows, and SetSites puts it right.
func TestHubMendsWhatWgDid(t *testing.T) {
	noLeaks(t)
	h, _ := openHub(t)
	sites := []Site{testSiteConfig(1), testSiteConfig(2), testSiteConfig(3), testSiteConfig(4)}
	sites[1].Preshared, sites[2].Preshared = wgkey.Preshared{1}, wgkey.Preshared{2}
	setSites(t, h, sites...)
	want, err := h.AllowedIPs()
	if err != nil {
		t.Fatal(err)
	}
	stranger := testKey(7).Public()
	wgSet(t, h, "public_key="+sites[0].Public.Hex(), "remove=true",
		"public_key="+sites[1].Public.Hex(), "allowed_ip=-"+testLease(2).String(), "preshared_key="+wgkey.Preshared{}.RevealHex(),
		"public_key="+stranger.Hex(), "allowed_ip="+testLease(3).String(),
		"public_key="+sites[3].Public.Hex(), "persistent_keepalive_interval=9")
	all, err := h.Sites()
	if err != nil {
		t.Fatal(err)
	}
	drifted := map[wgkey.Public]bool{sites[0].Public: true, sites[1].Public: true, sites[2].Public: true, sites[3].Public: false, stranger: true}
	for key, r := range all {
		if r.Drifted != drifted[key] {
			t.Errorf("site %s: drifted %v, want %v", key, r.Drifted, drifted[key])
		}
	}
	if len(all) != len(drifted) {
		t.Errorf("%d readings, want %d", len(all), len(drifted))
	}
	setSites(t, h, sites...)
	have, err := h.readPeers()
	if err != nil {
		t.Fatal(err)
	}
	if len(have) != len(sites) {
		t.Errorf("%d peers, want %d", len(have), len(sites))
	}
	for _, s := range sites {
		d := have[s.Public]
		if d == nil || d.preshared != s.Preshared || d.keepalive != 0 || !sameSet(d.allowed, want[s.Public]) {
			t.Errorf("site %s: %+v", s.Public, d)
		}
	}
}

func sameSet(a, b []netip.Prefix) bool { return len(a) == len(b) && len(missing(a, b)) == 0 }

// The preshared key is used, and a keepalive begins with the first handshake that is found.
func TestHubPresharedKeyAndKeepalive(t *testing.T) {
	noLeaks(t)
	h, host := openHub(t)
	one := testSiteConfig(1)
	one.Preshared, one.Keepalive = wgkey.Preshared{5}, 2500*time.Millisecond
	setSites(t, h, one)
	key := testKey(1)
	s := &testSite{key: key, ll: key.Public().LinkLocal(), lease: testLease(1)}
	s.Tunnel, s.host = openMemory(t, Config{
		Name: "site", PrivateKey: key,
		Peer: Peer{Public: testHub.Public(), Preshared: one.Preshared, Endpoint: loopback(h.Snapshot().ListenPort), AllowedIPs: prefixes("::/0")},
	})
	if r := readSite(t, h, 1); r.Drifted {
		t.Errorf("reading %+v", r)
	}
	event[Handshake](t, s.Events())
	if !passes(t, s, host, s.addr()) {
		t.Error("nothing passes with a preshared key")
	}
	_ = readSite(t, h, 1)
	if have, err := h.readPeers(); err != nil || have[one.Public].keepalive != 2*time.Second {
		t.Errorf("keepalive %v, %v, want 2s", have[one.Public].keepalive, err)
	}
	one.Keepalive = 0
	setSites(t, h, one)
	if have, err := h.readPeers(); err != nil || have[one.Public].keepalive != 0 {
		t.Errorf("keepalive %v, %v, want none", have[one.Public].keepalive, err)
	}
}

// Random operations against a model: what the device has, and whom the index names, is what was said last. Somebody
// meddles with wg, and changes break off in the middle.
func TestRandomSites(t *testing.T) {
	noLeaks(t)
	h, _ := openHub(t)
	rapid.Check(t, func(rt *rapid.T) {
		m := &sitesModel{h: h}
		m.setAll(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"": m.check, "all": m.setAll, "some": m.setSome, "wg": m.meddle, "break off": m.breakOff,
		})
	})
}

type sitesModel struct {
	h   *Hub
	has map[wgkey.Public][]netip.Prefix
}

// draw gives up to n sites prefixes out of a dozen, none twice.
func drawSites(t *rapid.T, n int) map[wgkey.Public][]netip.Prefix {
	out := map[wgkey.Public][]netip.Prefix{}
	var keys []wgkey.Public
	for _, k := range rapid.SliceOfNDistinct(rapid.IntRange(0, 7), 0, n, rapid.ID[int]).Draw(t, "sites") {
		keys = append(keys, testKey(k).Public())
		out[testKey(k).Public()] = nil
	}
	for p := range 12 {
		if k := rapid.IntRange(0, 7).Draw(t, "owner"); k < len(keys) {
			out[keys[k]] = append(out[keys[k]], testLease(p))
		}
	}
	return out
}

func (m *sitesModel) set(t *rapid.T, all map[wgkey.Public][]netip.Prefix) {
	var list []Site
	for key, ips := range all {
		list = append(list, Site{Public: key, AllowedIPs: ips})
	}
	if err := m.h.SetSites(list); err != nil {
		t.Fatal(err)
	}
	m.has = all
}

func (m *sitesModel) setAll(t *rapid.T) { m.set(t, drawSites(t, 6)) }

func (m *sitesModel) setSome(t *rapid.T) {
	some := drawSites(t, 4)
	var list []Allowed
	refused := false
	for key, ips := range some {
		_, there := m.has[key]
		refused = refused || !there
		for other, has := range m.has {
			if _, changes := some[other]; !changes && len(missing(ips, has)) < len(ips) {
				refused = true
			}
		}
		list = append(list, Allowed{key, ips})
	}
	if err := m.h.SetAllowed(list); (err != nil) != refused {
		t.Fatalf("SetAllowed(%v) = %v, want it refused: %v; there is %v", list, err, refused, m.has)
	}
	if !refused {
		maps.Copy(m.has, some)
	}
}

// meddle does what wg can do, and sets the same sites again.
func (m *sitesModel) meddle(t *rapid.T) {
	key := testKey(rapid.IntRange(0, 7).Draw(t, "site")).Public()
	what := rapid.SampledFrom([]string{"remove=true", "replace_allowed_ips=true", "allowed_ip=" + testLease(3).String()}).Draw(t, "what")
	if err := m.h.dev.IpcSet("public_key=" + key.Hex() + "\n" + what + "\n"); err != nil {
		t.Fatal(err)
	}
	m.set(t, m.has)
}

// breakOff leaves a change half done, as an error of the device would.
func (m *sitesModel) breakOff(t *rapid.T) {
	var texts string
	for key := range m.has {
		p := testLease(rapid.IntRange(0, 11).Draw(t, "prefix"))
		texts += existing(key) + "allowed_ip=" + rapid.SampledFrom([]string{"", "-"}).Draw(t, "sign") + p.String() + "\n"
	}
	if err := m.h.dev.IpcSet(texts); err != nil {
		t.Fatal(err)
	}
	m.h.unsure = true
	var err error
	if m.has, err = m.h.AllowedIPs(); err != nil {
		t.Fatal(err)
	}
}

func (m *sitesModel) check(t *rapid.T) {
	device, err := m.h.AllowedIPs()
	if err != nil || !maps.EqualFunc(device, m.has, sameSet) {
		t.Fatalf("the device has %v, %v, want %v", device, err, m.has)
	}
	if m.h.unsure {
		return
	}
	n := 0
	for key, ips := range m.has {
		n += len(ips)
		for _, p := range ips {
			if s := m.h.owner[p]; s == nil || s.key != key {
				t.Fatalf("the index gives %s to %v, want %s", p, s, key)
			}
		}
	}
	if len(m.h.owner) != n || len(m.h.sites) != len(m.has) {
		t.Fatalf("the index has %d prefixes and %d sites, want %d and %d", len(m.h.owner), len(m.h.sites), n, len(m.has))
	}
}
