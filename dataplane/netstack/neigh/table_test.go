// SPDX-License-Identifier: MIT

package neigh

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"oasis6/internal/ip6pkt"
)

var (
	mac  = MAC{0x00, 0x00, 0x5e, 0x00, 0x53, 0x01}
	hers = MAC{0x00, 0x00, 0x5e, 0x00, 0x53, 0x02}
	his  = MAC{0x00, 0x00, 0x5e, 0x00, 0x53, 0x03}

	me   = netip.MustParseAddr("fe80::1")
	host = netip.MustParseAddr("2001:db8:1::2")
	all  = netip.IPv6LinkLocalAllNodes()

	epoch = time.Unix(1000, 0)
)

// bench drives a Table and writes down what it does.
type bench struct {
	*testing.T
	t   *Table[string]
	now time.Time
}

func newBench(t *testing.T) *bench {
	b := &bench{T: t, t: New(func() float64 { return 0.5 }, func(s string) int { return len(s) }), now: epoch}
	b.t.SetSolicitor(Solicitor{me, mac})
	return b
}

// at moves the time, and Tick comes when it was wanted.
func (b *bench) at(s string) string {
	b.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		b.Fatal(err)
	}
	end, out := epoch.Add(d), []string(nil)
	for {
		w := b.t.Wake()
		if w.IsZero() || w.After(end) {
			break
		}
		b.now = w
		if s := text(b.t.Tick(b.now)); s != "" {
			out = append(out, fmt.Sprintf("%v: %s", w.Sub(epoch), s))
		}
	}
	b.now = end
	return strings.Join(out, "; ")
}

func (b *bench) wants(what, got, want string) {
	b.Helper()
	if got != want {
		b.Errorf("%v %s:\n got %q\nwant %q", b.now.Sub(epoch), what, got, want)
	}
}

func (b *bench) resolve(a netip.Addr, p string) string { return text(b.t.Resolve(b.now, a, p)) }

func (b *bench) hear(pkt []byte) string {
	return text(b.t.Hear(b.now, pkt, func(a netip.Addr) bool { return a == me }))
}

func (b *bench) lookup(a netip.Addr) string {
	m, ok := b.t.Lookup(b.now, a)
	if !ok {
		return "no"
	}
	return short(m)
}

func short(m MAC) string { return fmt.Sprintf("%02x", m[5]) }

func text(act Actions[string]) string {
	var out []string
	for _, n := range act.News {
		verb := "new"
		switch {
		case n.Gone:
			verb = "gone"
		case n.Answered:
			verb = "answers"
		}
		out = append(out, fmt.Sprintf("%s %s %s", verb, n.Addr, short(n.MAC)))
	}
	for _, a := range act.Ask {
		m, ok := parse(a.Packet)
		if !ok || m.typ != typeNS || m.src != me || m.mac != mac {
			out = append(out, "bad solicitation")
		}
		out = append(out, fmt.Sprintf("ask %s at %s", m.target, short(a.To)))
	}
	for _, o := range act.Send {
		out = append(out, fmt.Sprintf("send %s to %s", o.Packet, short(o.To)))
	}
	for _, p := range act.Unreachable {
		out = append(out, "unreachable "+p)
	}
	return strings.Join(out, ", ")
}

func message4861(typ byte, src, dst, target netip.Addr, flags byte, lla *MAC) []byte {
	n := lenNS
	switch typ {
	case typeRS:
		n = lenRS
	case typeRA:
		n = lenRA
	}
	body := make([]byte, n)
	body[0] = typ
	opt := byte(optSource)
	if typ == typeNS || typ == typeNA {
		ip := target.As16()
		body[4] = flags
		copy(body[8:], ip[:])
	}
	if typ == typeNA {
		opt = optTarget
	}
	if lla != nil {
		body = append(append(body, opt, 1), lla[:]...)
	}
	return ip6pkt.ICMPv6(src, dst, 255, body)
}

func na(target netip.Addr, flags byte, lla *MAC) []byte {
	to := me
	if flags&flagSolicited == 0 {
		to = all
	}
	return message4861(typeNA, target, to, target, flags, lla)
}

// RFC 4861 section 7.2.2: "If no Neighbor Advertisement is received after MAX_MULTICAST_SOLICIT solicitations, address
// resolution has failed. The sender MUST return ICMP destination unreachable indications with code 3".
func TestRFC4861_7_2_2_ThreeQuestionsThenUnreachable(t *testing.T) {
	b := newBench(t)
	b.wants("resolve", b.resolve(host, "one"), "ask 2001:db8:1::2 at 02")
	b.wants("resolve", b.resolve(host, "two"), "")
	b.wants("just before", b.at("999ms"), "")
	b.wants("asks again", b.at("2s"), "1s: ask 2001:db8:1::2 at 02; 2s: ask 2001:db8:1::2 at 02")
	b.wants("gives up", b.at("10s"), "3s: unreachable one, unreachable two")
	b.wants("begins anew", b.resolve(host, "three"), "ask 2001:db8:1::2 at 02")
	if s := b.t.Stats(); s.Failed != 1 {
		t.Errorf("Stats = %+v", s)
	}
}

func TestAnswerLetsPacketsGo(t *testing.T) {
	b := newBench(t)
	b.resolve(host, "one")
	b.resolve(host, "two")
	b.wants("lookup", b.lookup(host), "no")
	// "If the link layer has addresses and no Target Link-Layer Address option is included, the receiving node SHOULD
	// silently discard the received advertisement."
	b.wants("no option", b.hear(na(host, flagSolicited, nil)), "")
	b.wants("answer", b.hear(na(host, flagSolicited|flagOverride, &hers)), "new 2001:db8:1::2 02, answers 2001:db8:1::2 02, send one to 02, send two to 02")
	b.wants("lookup", b.lookup(host), "02")
	b.wants("reachable", b.at("29.9s"), "")
	if !b.t.Wake().IsZero() {
		t.Error("a reachable neighbor needs no timer")
	}
}

// RFC 4861 section 7.3.3.
func TestRFC4861_7_3_3_Unreachability(t *testing.T) {
	b := newBench(t)
	b.resolve(host, "one")
	b.hear(na(host, flagSolicited, &hers))
	b.at("31s") // stale
	b.wants("used", b.lookup(host), "02")
	b.wants("delay", b.at("35.9s"), "")
	b.wants("probes", b.at("37s"), "36s: ask 2001:db8:1::2 at 02; 37s: ask 2001:db8:1::2 at 02")
	b.wants("answers", b.hear(na(host, flagSolicited, nil)), "")
	b.wants("quiet", b.at("60s"), "")
	b.wants("used", b.lookup(host), "02")
	b.at("70s")
	b.lookup(host)
	b.wants("gone", b.at("90s"), "1m15s: ask 2001:db8:1::2 at 02; 1m16s: ask 2001:db8:1::2 at 02; 1m17s: ask 2001:db8:1::2 at 02; 1m18s: gone 2001:db8:1::2 02")
	b.wants("lookup", b.lookup(host), "no")
}

// RFC 4861 section 7.2.5: without Override another MAC does not replace the one that is known.
func TestRFC4861_7_2_5_Override(t *testing.T) {
	b := newBench(t)
	b.resolve(host, "one")
	b.hear(na(host, flagSolicited, &hers))
	b.wants("another", b.hear(na(host, 0, &his)), "")
	b.wants("lookup", b.lookup(host), "02")
	b.wants("is asked", b.at("5s"), "5s: ask 2001:db8:1::2 at 02") // it was made stale
	b.hear(na(host, flagSolicited, nil))
	b.wants("override", b.hear(na(host, flagOverride, &his)), "new 2001:db8:1::2 03")
	b.wants("lookup", b.lookup(host), "03")
}

func TestWhoAsksIsKnown(t *testing.T) {
	b := newBench(t)
	group := ip6pkt.SolicitedNode(me)
	b.wants("solicitation", b.hear(message4861(typeNS, host, group, me, 0, &hers)), "new 2001:db8:1::2 02")
	b.wants("again", b.hear(message4861(typeNS, host, group, me, 0, &hers)), "")
	b.wants("lookup", b.lookup(host), "02")
	b.wants("is asked", b.at("5s"), "5s: ask 2001:db8:1::2 at 02")
	ll := netip.MustParseAddr("fe80::3")
	b.wants("router solicitation", b.hear(message4861(typeRS, ll, netip.IPv6LinkLocalAllRouters(), ll, 0, &his)), "new fe80::3 03")
	b.wants("for itself", b.hear(message4861(typeNS, me, ip6pkt.SolicitedNode(host), host, 0, &his)), "")
	b.wants("detection", b.hear(message4861(typeNS, netip.IPv6Unspecified(), ip6pkt.SolicitedNode(host), host, 0, nil)), "")
}

// RFC 9131 section 6.1.1.
func TestRFC9131_6_1_1_UnsolicitedAdvertisementIsHeard(t *testing.T) {
	b := newBench(t)
	b.wants("advertisement", b.hear(na(host, flagOverride, &hers)), "new 2001:db8:1::2 02")
	b.wants("lookup", b.lookup(host), "02")
	b.wants("ours", b.hear(na(me, flagOverride, &hers)), "")
}

func TestMalformedIsNotHeard(t *testing.T) {
	good := message4861(typeNS, host, ip6pkt.SolicitedNode(me), me, 0, &hers)
	change := func(f func(p []byte)) []byte {
		p := slices.Clone(good)
		f(p)
		p[42], p[43] = 0, 0
		sum := ip6pkt.Checksum(netip.AddrFrom16([16]byte(p[8:24])), netip.AddrFrom16([16]byte(p[24:40])), 58, p[40:])
		binary.BigEndian.PutUint16(p[42:], sum)
		return p
	}
	group := MAC{1}
	for name, p := range map[string][]byte{
		"empty":            nil,
		"hop limit":        change(func(p []byte) { p[7] = 254 }),
		"code":             change(func(p []byte) { p[41] = 1 }),
		"option length 0":  change(func(p []byte) { p[65] = 0 }),
		"option too long":  change(func(p []byte) { p[65] = 2 }),
		"multicast source": change(func(p []byte) { p[8] = 0xff }),
		"multicast target": change(func(p []byte) { p[48] = 0xff }),
		"multicast MAC":    message4861(typeNS, host, ip6pkt.SolicitedNode(me), me, 0, &group),
		"checksum":         append(slices.Clone(good[:70]), good[70]^1, good[71]),
		"cut":              good[:60],
	} {
		b := newBench(t)
		b.wants(name, b.hear(p), "")
	}
	b := newBench(t)
	// RFC 4861 section 7.1.2: "If the IP Destination Address is a multicast address the Solicited flag is zero."
	b.wants("solicited to all", b.hear(message4861(typeNA, host, all, host, flagSolicited, &hers)), "")
}

// RFC 6583 section 7.1: resolving what is not there must not cost those that are.
func TestScanDisplacesNobody(t *testing.T) {
	b := newBench(t)
	b.resolve(host, "x")
	b.hear(na(host, flagSolicited, &hers))
	for i := range 3 * maxAsked {
		b.resolve(numbered(i), "scan")
	}
	for i := range 3 * maxHeard { // and who speaks with forged addresses
		b.hear(message4861(typeNS, numbered(1<<16+i), ip6pkt.SolicitedNode(me), me, 0, &his))
	}
	b.wants("lookup", b.lookup(host), "02")
	if n := b.t.Stats().Entries; n > maxAsked+maxHeard+1 {
		t.Errorf("%d entries, want at most %d", n, maxAsked+maxHeard+1)
	}
	for i := range MaxKnown + 10 {
		b.resolve(numbered(1<<20+i), "x")
		b.hear(na(numbered(1<<20+i), flagSolicited, &his))
	}
	if n := b.t.ranks[rankKnown].Len(); n != MaxKnown {
		t.Errorf("%d neighbors that have answered, want %d", n, MaxKnown)
	}
}

func numbered(i int) netip.Addr {
	a := netip.MustParseAddr("2001:db8:1:0:1::").As16()
	binary.BigEndian.PutUint32(a[12:], uint32(i))
	return netip.AddrFrom16(a)
}

func TestWaitingIsBounded(t *testing.T) {
	b := newBench(t)
	for i := range maxWaiting + 2 {
		b.resolve(host, fmt.Sprint(i))
	}
	got := b.hear(na(host, flagSolicited, &hers))
	if strings.Contains(got, "send 1 ") || !strings.Contains(got, "send 2 ") || !strings.Contains(got, "send 17 ") {
		t.Errorf("%s, want the newest %d", got, maxWaiting)
	}
	big := strings.Repeat("x", 70000)
	crowded, lost := uint64(0), uint64(0)
	for i := range 100 {
		act := b.t.Resolve(b.now, numbered(i), big)
		crowded, lost = crowded+act.Crowded, lost+act.Lost
	}
	if room := uint64(maxOctets / len(big)); crowded != 100-room || lost != 0 {
		t.Errorf("%d had no room and %d were lost, want %d and 0", crowded, lost, 100-room)
	}
	if b.t.octets > maxOctets {
		t.Errorf("%d octets wait, want at most %d", b.t.octets, maxOctets)
	}
	b.at("10s")
	if b.t.octets != 0 {
		t.Errorf("%d octets wait for nobody", b.t.octets)
	}
}

func TestNobodyAsksWithoutAnAddress(t *testing.T) {
	b := newBench(t)
	b.t.SetSolicitor(Solicitor{MAC: mac})
	act := b.t.Resolve(b.now, host, "x")
	b.wants("resolve", text(act), "")
	if s := b.t.Stats(); act.Lost != 1 || act.Crowded != 0 || s.Entries != 0 {
		t.Errorf("Stats = %+v", s)
	}
}

func TestFlush(t *testing.T) {
	b := newBench(t)
	b.resolve(host, "one")
	b.hear(na(host, flagSolicited, &hers))
	b.resolve(numbered(1), "two")
	if got := text(b.t.Flush()); got != "gone 2001:db8:1::2 02" {
		t.Errorf("Flush: %s", got)
	}
	if b.t.octets != 0 || len(b.t.entries) != 0 || !b.t.Wake().IsZero() {
		t.Errorf("left: %d octets, %d entries, wake %v", b.t.octets, len(b.t.entries), b.t.Wake())
	}
}

func TestKnownAreThoseHeardLast(t *testing.T) {
	b := newBench(t)
	for i := range 3 {
		b.at(fmt.Sprintf("%ds", i))
		b.hear(na(numbered(i), flagOverride, &hers))
	}
	b.resolve(host, "x")
	k := b.t.Known(2)
	if len(k) != 2 || k[0].Addr != numbered(2) || k[1].Addr != numbered(1) || k[0].MAC != hers {
		t.Errorf("Known = %+v", k)
	}
}

// The path of every packet.
// Who was only heard is told apart from who has answered.
func TestKnownSaysWhoHasAnswered(t *testing.T) {
	b := newBench(t)
	b.resolve(host, "x")
	b.hear(na(host, flagSolicited, &hers))
	b.hear(message4861(typeNS, numbered(1), ip6pkt.SolicitedNode(me), me, 0, &his))
	got := map[netip.Addr]bool{}
	for _, k := range b.t.Known(10) {
		got[k.Addr] = k.Answered
	}
	if want := map[netip.Addr]bool{host: true, numbered(1): false}; !maps.Equal(got, want) {
		t.Errorf("answered: %v, want %v", got, want)
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	b := newBench(t)
	b.resolve(host, "x")
	b.hear(na(host, flagSolicited, &hers))
	if n := testing.AllocsPerRun(100, func() { b.t.Lookup(b.now, host) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	t := New(func() float64 { return 0.5 }, func(s string) int { return len(s) })
	t.SetSolicitor(Solicitor{me, mac})
	for i := range 1000 {
		t.Hear(epoch, na(numbered(i), flagOverride, &hers), func(netip.Addr) bool { return false })
	}
	a := numbered(500)
	for b.Loop() {
		t.Lookup(epoch, a)
	}
}

// Whatever is heard: bounded, nothing kept of the packet, and the next deadline in the future.
func FuzzHear(f *testing.F) {
	f.Add(na(host, flagSolicited|flagOverride, &hers), uint8(0))
	f.Add(message4861(typeNS, host, ip6pkt.SolicitedNode(me), me, 0, &hers), uint8(3))
	f.Add(message4861(typeRA, netip.MustParseAddr("fe80::9"), all, me, 0, &hers), uint8(7))
	f.Fuzz(func(t *testing.T, pkt []byte, n uint8) {
		tab := New(func() float64 { return 0 }, func(s string) int { return len(s) })
		tab.SetSolicitor(Solicitor{me, mac})
		now := epoch
		if len(pkt) >= 24 {
			tab.Resolve(now, netip.AddrFrom16([16]byte(pkt[8:24])), "x")
		}
		for range n%8 + 1 {
			now = now.Add(time.Duration(n) * 100 * time.Millisecond)
			before := string(pkt)
			tab.Hear(now, pkt, func(a netip.Addr) bool { return a == me })
			if string(pkt) != before {
				t.Fatal("the packet was changed")
			}
			tab.Tick(now)
			if w := tab.Wake(); !w.IsZero() && !w.After(now) {
				t.Fatalf("wake %v is not after %v", w, now)
			}
			for _, k := range tab.Known(10) {
				if k.MAC[0]&1 != 0 || k.Addr.IsMulticast() || k.Addr == me {
					t.Fatalf("learned %+v", k)
				}
				tab.Lookup(now, k.Addr)
			}
		}
		if s, err := ParseSolicitation(pkt); err == nil {
			if _, err := ip6pkt.ParseICMPv6(s.Advertisement(me, mac)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
