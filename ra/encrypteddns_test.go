// SPDX-License-Identifier: MIT

package ra

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func resolver(name string, addrs ...netip.Addr) EncryptedDNS {
	return EncryptedDNS{Priority: 1, Name: name, Addrs: addrs, Params: dotParams}
}

func withResolvers(r ...EncryptedDNS) Content {
	c := content(forever(prefixA))
	c.EncryptedDNS = r
	return c
}

// "The value of Lifetime SHOULD by default be at least 3 * MaxRtrAdvInterval": what RDNSS has.
func TestRFC9463_6_1_Advertised(t *testing.T) {
	c := withResolvers(resolver("DNS.example.", dns1, dns1, dns2), EncryptedDNS{Priority: 2, Name: "adn.example"})
	c.RDNSS = []netip.Addr{dns1}
	w := startWorld(t, half, c)
	o, ok := w.sent[0].resolver("dns.example")
	if !ok || o.Lifetime != 5400 || !o.equal(resolver("dns.example", dns1, dns2)) {
		t.Errorf("%+v, %v", o, ok)
	}
	if l, _ := w.sent[0].server(dns1); l != o.Lifetime {
		t.Errorf("RDNSS has lifetime %d", l)
	}
	if o, ok := w.sent[0].resolver("adn.example"); !ok || o.Priority != 2 || len(o.Addrs) > 0 || o.Params != "" {
		t.Errorf("ADN-only: %+v, %v", o, ok)
	}
	if a := w.s.Announced(boot); !slices.Equal(a.EncryptedDNS, []string{"dns.example", "adn.example"}) {
		t.Errorf("Announced %v", a.EncryptedDNS)
	}
	for _, ct := range []struct {
		valid, want uint32
	}{{4000, 4000}, {100, 2700}} {
		c := withResolvers(resolver("dns.example", dns1))
		c.Prefixes = []Prefix{lease(prefixA, 0, ct.valid, ct.valid)}
		if o, _ := startWorld(t, half, c).sent[0].resolver("dns.example"); o.Lifetime != ct.want {
			t.Errorf("valid %d: lifetime %d, want %d", ct.valid, o.Lifetime, ct.want)
		}
	}
}

// "A value of zero means that this Authentication Domain Name MUST no longer be used": by name, for as long as a host
// may hold it.
func TestRFC9463_6_1_WithdrawnByName(t *testing.T) {
	old := resolver("old.example", dns1)
	w := startWorld(t, half, withResolvers(old, resolver("kept.example", dns2)))
	w.until(90 * time.Second)
	r := w.at(100*time.Second, SetContent{Content: withResolvers(resolver("kept.example", dns2), resolver("new.example", dns2))})[0]
	if o, ok := r.resolver("old.example"); !ok || o.Lifetime != 0 || !o.equal(old) {
		t.Errorf("old: %+v, %v: want what hosts have, with lifetime 0", o, ok)
	}
	for _, name := range []string{"kept.example", "new.example"} {
		if o, ok := r.resolver(name); !ok || o.Lifetime != 5400 {
			t.Errorf("%s: %+v, %v", name, o, ok)
		}
	}
	if a := w.s.Announced(boot.Add(w.now)); !slices.Equal(a.EncryptedDNS, []string{"kept.example", "new.example"}) {
		t.Errorf("Announced %v", a.EncryptedDNS)
	}
	end := 32*time.Second + NDValidLimit // told last at 32 s
	w.until(end - time.Second)
	if r := w.step(PortUp{})[0]; !slices.ContainsFunc(r.ra.Options, func(o Option) bool {
		e, ok := o.(EncryptedDNSOption)
		return ok && e.Name == "old.example"
	}) {
		t.Error("not named a second before hosts forget it")
	}
	w.until(end + 3*time.Second)
	if r := w.step(PortUp{})[0]; slices.ContainsFunc(r.ra.Options, func(o Option) bool {
		e, ok := o.(EncryptedDNSOption)
		return ok && e.Name == "old.example"
	}) {
		t.Errorf("still named at %v", w.now)
	}
}

// The lifetime is about the name: other addresses, parameters or priority under it are told at once and withdraw
// nothing.
func TestRFC9463_6_1_SameNameIsAnUpdate(t *testing.T) {
	old := resolver("dns.example", dns1)
	for name, change := range map[string]EncryptedDNS{
		"address":  resolver("dns.example", dns2),
		"more":     resolver("dns.example", dns1, dns2),
		"priority": {7, "dns.example", []netip.Addr{dns1}, dotParams},
		"params":   {1, "dns.example", []netip.Addr{dns1}, dotParams[:8]},
		"ADN-only": {1, "dns.example", nil, ""},
	} {
		w := startWorld(t, half, withResolvers(old))
		r := w.at(100*time.Second, SetContent{Content: withResolvers(change)})
		if len(r) != 1 {
			t.Fatalf("%s: sent %v", name, r)
		}
		if o, ok := r[0].resolver("dns.example"); !ok || o.Lifetime != 5400 || !o.equal(change) {
			t.Errorf("%s: %+v, %v", name, o, ok)
		}
		r = w.at(200*time.Second, SetContent{Content: withResolvers()})
		if o, ok := r[0].resolver("dns.example"); !ok || o.Lifetime != 0 || !o.equal(change) {
			t.Errorf("%s, withdrawn: %+v, %v", name, o, ok)
		}
	}
	w := startWorld(t, half, withResolvers(old))
	w.at(100*time.Second, SetContent{Content: withResolvers(resolver("Dns.Example.", dns1))})
	wantSent(t, w.until(500*time.Second)) // the same in other words
}

// A resolver, or an address of it, that is taken away is told by unicast at once when the floor holds the multicast.
func TestRFC9463_6_1_TakenAwayIsToldAtOnce(t *testing.T) {
	base := withResolvers(resolver("dns.example", dns1, dns2))
	for name, c := range map[string]struct {
		content Content
		away    bool
	}{
		"resolver":       {withResolvers(), true},
		"address":        {withResolvers(resolver("dns.example", dns2)), true},
		"order":          {withResolvers(resolver("dns.example", dns2, dns1)), false},
		"one more":       {withResolvers(base.EncryptedDNS[0], resolver("doh.example", dns2)), false},
		"other priority": {withResolvers(EncryptedDNS{2, "dns.example", []netip.Addr{dns1, dns2}, dotParams}), false},
	} {
		w := startWorld(t, half, base)
		w.at(5*time.Second, rsFrom(hostA))
		w.until(17 * time.Second)
		want := []string{}
		if c.away {
			want = []string{"17s fe80::a"}
		}
		wantSent(t, w.step(SetContent{Content: c.content}), want...)
		wantSent(t, w.until(20*time.Second), "19s ff02::1")
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// The resolver is reachable only through us: the last RA takes it back.
func TestRFC9463_6_1_FinalAdvertisement(t *testing.T) {
	w := startWorld(t, half, withResolvers(resolver("dns.example", dns2)))
	r := w.at(17*time.Second, Stop{Final: true})[0]
	if o, ok := r.resolver("dns.example"); !ok || o.Lifetime != 0 || len(o.Addrs) != 1 {
		t.Errorf("%+v, %v", o, ok)
	}
}

// What may not be sent is left out, each with a note, and does not hide the rest.
func TestRFC9463_6_1_Refused(t *testing.T) {
	multicast, loopback := netip.MustParseAddr("ff02::fb"), netip.MustParseAddr("::1")
	param := func(kv ...string) string { return strings.Join(kv, "") }
	for name, d := range map[string]EncryptedDNS{
		"empty":           {},
		"no name":         {Priority: 1, Addrs: []netip.Addr{dns1}},
		"name":            resolver("a..b", dns1),
		"name not text":   resolver("a\n\x1b[31m", dns1),
		"alias":           {Name: "dns.example", Addrs: []netip.Addr{dns1}},
		"no address left": resolver("dns.example", multicast, loopback, netip.MustParseAddr("192.0.2.1"), netip.Addr{}),
		"only parameters": resolver("dns.example"),
		"long parameters": {1, "dns.example", []netip.Addr{dns1}, "\x00\x01\x01\x00" + strings.Repeat("x", 256)},
		"half a key":      {1, "dns.example", []netip.Addr{dns1}, "\x00\x01\x00"},
		"value past end":  {1, "dns.example", []netip.Addr{dns1}, "\x00\x01\x00\x02x"},
		"key twice":       {1, "dns.example", []netip.Addr{dns1}, param("\x00\x01\x00\x00", "\x00\x01\x00\x00")},
		"not in order":    {1, "dns.example", []netip.Addr{dns1}, param("\x00\x03\x00\x00", "\x00\x01\x00\x00")},
		"IPv4 hint":       {1, "dns.example", []netip.Addr{dns1}, "\x00\x04\x00\x04\xc0\x00\x02\x01"},
		"IPv6 hint":       {1, "dns.example", []netip.Addr{dns1}, "\x00\x06\x00\x00"},
		"name twice":      resolver("OK.example", dns2),
	} {
		c := withResolvers(resolver("ok.example", multicast, dns1), d)
		w := startWorld(t, half, c)
		var got []EncryptedDNS
		for _, o := range w.sent[0].ra.Options {
			if o, ok := o.(EncryptedDNSOption); ok {
				got = append(got, o.EncryptedDNS)
			}
		}
		if len(got) != 1 || !got[0].equal(resolver("ok.example", dns1)) {
			t.Errorf("%s: advertised %+v", name, got)
		}
		if !w.hasNote("encrypted DNS resolver not advertised: ") {
			t.Errorf("%s: notes %v", name, w.notes)
		}
		for _, n := range w.notes {
			if strings.ContainsAny(n.Msg+n.Detail(), "\n\x1b") {
				t.Errorf("%s: note %q", name, n.Detail())
			}
		}
	}
	var c Content
	for i := range 20 {
		c.EncryptedDNS = append(c.EncryptedDNS, resolver(fmt.Sprintf("r%d.example", i), dns1))
	}
	if got, notes := usable(c); len(got.EncryptedDNS) != maxResolvers || len(notes) != 20-maxResolvers {
		t.Errorf("%d resolvers, %d notes", len(got.EncryptedDNS), len(notes))
	}
	c.EncryptedDNS = []EncryptedDNS{resolver("dns.example")}
	for i := range 20 {
		c.EncryptedDNS[0].Addrs = append(c.EncryptedDNS[0].Addrs, netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)))
	}
	if got, _ := usable(c); len(got.EncryptedDNS[0].Addrs) != maxResolverAddrs || len(c.EncryptedDNS[0].Addrs) != 20 {
		t.Errorf("%d addresses of one resolver, %d in the content", len(got.EncryptedDNS[0].Addrs), len(c.EncryptedDNS[0].Addrs))
	}
}

// The biggest content goes in several packets, no option cut, nor is it refused.
func TestRFC6980_5_BigResolversInSeveralPackets(t *testing.T) {
	var r []EncryptedDNS
	for i := range maxResolvers {
		d := resolver(strings.Repeat("a-long-label.", 18)+fmt.Sprintf("s%d.example", i), dns1)
		for j := range maxResolverAddrs - 1 {
			d.Addrs = append(d.Addrs, netip.MustParseAddr(fmt.Sprintf("2001:db8:53::%x", j+1)))
		}
		d.Params = "\x00\x01\x00\xfc" + strings.Repeat("x", 252)
		r = append(r, d)
	}
	w := startWorld(t, half, withResolvers(r...))
	if len(w.sent) != 1 || len(w.sent[0].data) < 4 {
		t.Fatalf("sent %v", w.sent)
	}
	for _, d := range r {
		if o, ok := w.sent[0].resolver(d.Name); !ok || !o.equal(d) {
			t.Errorf("%s: %+v, %v", d.Name, o, ok)
		}
	}
}

// The list of what is withdrawn is bounded as all are.
func TestRFC9463_6_1_StaleListIsBounded(t *testing.T) {
	w := startWorld(t, half, withResolvers(resolver("r.example", dns1)))
	for i := range 40 {
		w.at(time.Duration(i+1)*10*time.Second, SetContent{Content: withResolvers(resolver(fmt.Sprintf("r%d.example", i), dns1))})
	}
	n := 0
	for _, o := range w.sent[len(w.sent)-1].ra.Options {
		if o, ok := o.(EncryptedDNSOption); ok && o.Lifetime == 0 {
			n++
		}
	}
	if n != maxStale || !w.hasNote("too many stale announcements: no longer withdrawn prefix=r.example") {
		t.Errorf("%d withdrawn, notes %v", n, w.notes)
	}
}

// Whatever a DHCPv6 server said: the RA can be sent and read, and the resolver is in it or there is a note.
func FuzzEncryptedDNSContent(f *testing.F) {
	f.Add(uint16(1), "dns.example", []byte{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, dotParams)
	f.Add(uint16(0), "a..b", []byte{}, "\x00\x04\x00\x00")
	f.Fuzz(func(t *testing.T, priority uint16, name string, addrs []byte, params string) {
		d := EncryptedDNS{Priority: priority, Name: name, Params: params}
		for ; len(addrs) >= 16; addrs = addrs[16:] {
			d.Addrs = append(d.Addrs, netip.AddrFrom16([16]byte(addrs)))
		}
		s := NewSender(Config{}, half)
		s.Step(boot, linkUp)
		a := s.Step(boot, SetContent{Content: withResolvers(d)})
		refused, advertised := 0, 0
		for _, n := range a.Notes {
			if strings.HasPrefix(n.Msg, "encrypted DNS resolver not advertised") {
				refused++
			}
		}
		for _, p := range a.Send {
			m, problems, drop := ParseRA(ourLL, 255, p.Data)
			if drop != Accepted || len(problems) > 0 {
				t.Fatalf("%v, %v: %x", drop, problems, p.Data)
			}
			for _, o := range m.Options {
				if _, ok := o.(EncryptedDNSOption); ok {
					advertised++
				}
			}
		}
		if len(a.Send) == 0 || refused+advertised != 1 {
			t.Fatalf("%+v: %d packets, %d refused, %d advertised", d, len(a.Send), refused, advertised)
		}
	})
}
