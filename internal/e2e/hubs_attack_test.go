// SPDX-License-Identifier: MIT

package e2e

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"oasis6/internal/netlab"
)

// badSite is a site whose box is the test's: upstream wireguard-go with a key that the hub knows.
type badSite struct {
	*ourHub
	site   *netlab.Site
	asker  *netlab.Asker
	server dhcpv6.DUID
}

// ask is one message for IA_PD 1, and what the answer says of its prefixes: "2001:db8::/64 45m0s/1h30m0s", or its status.
func (s *badSite) ask(typ dhcpv6.MessageType, prefixes ...dhcpv6.Option) string {
	s.Helper()
	pd := &dhcpv6.OptIAPD{IaId: [4]byte{3: 1}}
	for _, o := range prefixes {
		pd.Options.Add(o)
	}
	server := s.server
	if typ == dhcpv6.MessageTypeSolicit || typ == dhcpv6.MessageTypeRebind {
		server = nil
	}
	m := s.asker.Must(typ, server, pd)
	s.server = m.Options.ServerID()
	var out []string
	for _, ia := range m.Options.IAPD() {
		for _, p := range ia.Options.Prefixes() {
			out = append(out, p.Prefix.String()+" "+p.PreferredLifetime.String()+"/"+p.ValidLifetime.String())
		}
		if st := ia.Options.Status(); st != nil {
			out = append(out, st.StatusCode.String())
		}
	}
	return strings.Join(out, ", ")
}

func wish(p string) dhcpv6.Option {
	ip, n, err := net.ParseCIDR(p)
	if err != nil {
		panic(err) // tests write them
	}
	n.IP = ip
	return &dhcpv6.OptIAPrefix{Prefix: n}
}

// rawWish is an IA Prefix option with any length.
func rawWish(length byte) dhcpv6.Option {
	return &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionIAPrefix, OptionData: append(make([]byte, 8), append([]byte{length}, make([]byte, 16)...)...)}
}

// duidOf is the DUID that a box's status shows.
func duidOf(t *testing.T, b *box) dhcpv6.DUID {
	t.Helper()
	var raw []byte
	for text := b.status().DHCPv6.DUID; len(text) >= 2; text = text[2:] {
		raw = append(raw, unhex(text[0])<<4|unhex(text[1]))
	}
	d, err := dhcpv6.DUIDFromBytes(raw)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func unhex(c byte) byte { return byte(strings.IndexByte("0123456789abcdef", c)) }

// Issue 6, attacks of a site with a valid key on another one: it asks for the other's prefix, with the other's DUID, from the
// other's addresses, gives back what is not its own, and sends nonsense. The other one notices nothing.
func TestHubAndABadSite(t *testing.T) {
	h := newHub(t, netlab.WorldConfig{TwoSites: true})
	victim := h.box
	h.upHub(victim)
	theirs, duid := victim.prefixOf(), duidOf(t, victim)
	ping := victim.pinging()

	a := h.B
	ll := a.BoxKey.Public().LinkLocal()
	a.StartForeign()
	s := &badSite{ourHub: h, site: a, asker: a.Ask(ll, duid)}
	own := s.asksForTheirs(theirs)
	s.losesNothingBySolicit(own)
	s.hints(own)
	s.forges(victim, netip.MustParsePrefix(own))
	s.nonsense()

	if ps := victim.prefixOf(); ps != theirs {
		t.Errorf("the other site has %s now, had %s", ps, theirs)
	}
	victim.reportLoss("a bad site beside a good one", ping)
	h.wantAgreement("after the attacks")
}

// asksForTheirs: leases are of (public key, IAID): with the other's DUID, and naming its prefix, a site gets its own.
func (s *badSite) asksForTheirs(theirs netip.Prefix) (own string) {
	s.Helper()
	offer := s.ask(dhcpv6.MessageTypeSolicit, wish(theirs.String()))
	own, _, _ = strings.Cut(offer, " ")
	if own == theirs.String() || !strings.HasPrefix(own, "2001:db8:ebbd:99") {
		s.Fatalf("asked for the prefix of another site, the hub offers %q", offer)
	}
	for _, typ := range []dhcpv6.MessageType{dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind} {
		got := s.ask(typ, wish(theirs.String()))
		for part := range strings.SplitSeq(got, ", ") {
			if strings.HasPrefix(part, theirs.String()) && !strings.HasSuffix(part, " 0s/0s") {
				s.Errorf("%s for the prefix of another site: %q", typ, got)
			}
		}
	}
	s.ask(dhcpv6.MessageTypeRelease, wish(theirs.String()))
	if l := s.site1Leases(); len(l) != 1 || l[0] != theirs.String()+" bound" {
		s.Errorf("after the Release of another site's prefix by its DUID, that site has %v", l)
	}
	if got := s.ask(dhcpv6.MessageTypeRequest, wish(own)); !strings.HasPrefix(got, own+" 45m0s/1h30m0s") {
		s.Errorf("Request for the own prefix: %q", got)
	}
	return own
}

// site1Leases are the leases of the first box, with their states.
func (h *ourHub) site1Leases() (out []string) {
	h.Helper()
	for _, l := range h.site(h.box).Leases {
		out = append(out, l.Prefix+" "+l.State)
	}
	return out
}

// losesNothingBySolicit: a stray Solicit does not harm a lease that is bound.
func (s *badSite) losesNothingBySolicit(own string) {
	s.Helper()
	before := slices.Clone(owners(s.leases()))
	if got := s.ask(dhcpv6.MessageTypeSolicit); !strings.HasPrefix(got, own+" ") {
		s.Errorf("a Solicit of a bound site is offered %q, want what it has, %s", got, own)
	}
	if after := owners(s.leases()); !slices.Equal(before, after) {
		s.Errorf("leases after a stray Solicit %v, before %v", after, before)
	}
	s.wantAgreement("after a stray Solicit")
	if got := s.ask(dhcpv6.MessageTypeRenew, wish(own)); got != own+" 45m0s/1h30m0s" {
		s.Errorf("Renew after a stray Solicit: %q", got)
	}
}

// hints of any length are harmless.
func (s *badSite) hints(own string) {
	s.Helper()
	for _, length := range []byte{0, 1, 65, 128, 129, 200, 255} {
		if got := s.ask(dhcpv6.MessageTypeSolicit, rawWish(length)); !strings.HasPrefix(got, own+" ") {
			s.Errorf("hint of length %d: %q, want %s", length, got, own)
		}
	}
	// Another IA, which has nothing yet.
	for length, want := range map[byte]string{0: "/64", 48: "/60", 62: "/62", 128: "/64", 200: "/64"} {
		pd := &dhcpv6.OptIAPD{IaId: [4]byte{3: 2}}
		pd.Options.Add(rawWish(length))
		m := s.asker.Must(dhcpv6.MessageTypeSolicit, nil, pd)
		var got string
		if ia := m.Options.OneIAPD(); ia != nil && len(ia.Options.Prefixes()) == 1 {
			got = ia.Options.Prefixes()[0].Prefix.String()
		}
		if !strings.HasSuffix(got, want) {
			s.Errorf("hint of length %d for a new IA: %q, want a %s", length, got, want)
		}
	}
}

// forges: packets from another site's addresses do not come out of the hub, neither to the Internet nor to its DHCPv6 server.
func (s *badSite) forges(victim *box, own netip.Prefix) {
	s.Helper()
	tunnel := netlab.HandMadeTunnel
	good := own.Addr().Next().String()
	bad := netip.MustParseAddr(victim.gua())
	s.site.R1.Addr(tunnel, good+"/128")
	s.site.R1.Run("ip", "-6", "route", "replace", "default", "dev", tunnel, "metric", "1") // the one of the hub's RA may be there
	at, here := s.WWW.WatchIPv6("eth1"), s.R2.WatchIPv6(netlab.BoxTunnel)
	if !netlab.Poll(soon, func() bool { return s.site.R1.Ping(netlab.WWWv6) == nil }) {
		s.Error("the bad site does not reach www from its own address: what follows proves nothing")
	}
	forged := func(p netlab.Packet) bool { return p.ICMPv6 == [2]byte{128, netlab.ForgedCode} }
	s.site.R1.SendRaw(tunnel, own.Addr().Next(), netip.MustParseAddr(netlab.WWWv6))
	if !netlab.Poll(soon, func() bool { return at.Count(forged) == 1 }) {
		s.Error("a raw packet from the site's own address does not reach www: what follows proves nothing")
	}
	for _, src := range []netip.Addr{bad, netip.MustParseAddr("2001:db8:77::7"), netip.MustParseAddr(netlab.WWWv6)} {
		s.site.R1.SendRaw(tunnel, src, netip.MustParseAddr(netlab.WWWv6))
		s.site.R1.SendRaw(tunnel, src, netip.MustParseAddr("2001:db8:0:6::1")) // the hub itself
	}
	dhcp := s.hubStatus().Hub.Received
	other := victim.BoxKey.Public().LinkLocal()
	s.site.R1.Addr(tunnel, other.String()+"/64")
	forger := s.site.Ask(other, s.asker.DUID)
	for range 3 {
		m := forger.Message(dhcpv6.MessageTypeRelease, s.server, &dhcpv6.OptIAPD{IaId: [4]byte{3: 1}})
		if err := forger.Send(m.ToBytes()); err != nil {
			s.Fatal(err)
		}
	}
	time.Sleep(time.Second)
	if n := at.Count(forged) + here.Count(forged); n != 2 { // the good one, seen at both places
		s.Errorf("%d forged packets came out of the tunnel", n-2)
	}
	if n := s.hubStatus().Hub.Received; n != dhcp {
		s.Errorf("%d forged DHCPv6 messages were taken", n-dhcp)
	}
	s.site.R1.Run("ip", "addr", "del", other.String()+"/64", "dev", tunnel)
}

// nonsense: 100,000 malformed messages of a valid site cost the others nothing, and the hub no memory.
func (s *badSite) nonsense() {
	s.Helper()
	before := s.hub.RSS()
	begin := time.Now()
	s.flood(100_000)
	took := time.Since(begin)
	if !netlab.Poll(enough, func() bool { _, err := s.hubStatusErr(); return err == nil }) {
		s.Fatal("the hub does not answer after the flood")
	}
	after := s.hub.RSS()
	s.Logf("100,000 malformed messages in %v: resident memory of the hub %.1f MiB before, %.1f MiB after; dropped: %v",
		took.Round(10*time.Millisecond), float64(before)/(1<<20), float64(after)/(1<<20), s.hubStatus().Hub.Dropped)
	if after-before > 24<<20 {
		s.Errorf("the hub grew by %.1f MiB", float64(after-before)/(1<<20))
	}
	if got := s.ask(dhcpv6.MessageTypeRenew); got == "" {
		s.Error("no answer after the flood")
	}
}

// flood sends variations of a Solicit: cut off, with broken options, with nonsense in them.
func (s *badSite) flood(n int) {
	s.Helper()
	whole := s.asker.Message(dhcpv6.MessageTypeSolicit, nil, &dhcpv6.OptIAPD{IaId: [4]byte{3: 1}}).ToBytes()
	for i := range n {
		b := slices.Clone(whole)
		switch at := 4 + i%(len(b)-4); i % 3 {
		case 0:
			b = b[:at]
		case 1:
			b[at] ^= byte(i >> 4)
			b[4+(i*7)%(len(b)-4)] = byte(i >> 3)
		case 2:
			b[0] = byte(i)
			b = append(b, byte(i>>8), byte(i), byte(i>>2), byte(i>>3), 1)
		}
		if err := s.asker.Send(b); err != nil {
			time.Sleep(time.Millisecond) // the queue is full
		}
	}
}
