// SPDX-License-Identifier: MIT

package client

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"oasis6/dhcpv6"
)

// answers gives a Reply to the last message, a millisecond after it.
func (b *box) answers(words string) {
	b.t.Helper()
	b.step(b.now.Add(time.Millisecond), b.event(strings.Fields("Reply "+words)))
}

// A server that advertised and then was silent for hours is back: it is asked within a second of its next Advertise,
// although the retransmission time is an hour by now.
func TestServerThatWasSilentAfterItsOffer(t *testing.T) {
	b := newBox(t, testConfig, randHalf)
	b.step(t0, LinkUp{})
	b.step(t0, b.event(strings.Fields("Advertise pref=255 2001:db8:1::/64=2000/4000")))
	for b.now.Before(t0.Add(6 * time.Hour)) {
		b.step(b.act.Wake, Tick{})
	}
	b.step(b.now.Add(time.Minute), Reachable{})
	if len(b.act.Send) == 0 || b.last.Type != dhcpv6.Solicit {
		t.Fatalf("Reachable: %s", b.did(0))
	}
	begin := b.now
	b.step(b.now, b.event(strings.Fields("Advertise pref=255 2001:db8:1::/64=2000/4000")))
	b.step(b.act.Wake, Tick{})
	if b.last.Type != dhcpv6.Request || b.now.Sub(begin) > SolTimeout {
		t.Errorf("%s %v after the Advertise", b.last.Type, b.now.Sub(begin))
	}
}

// A stateless client whose link flaps asks again as soon as it may; after a stop too.
func TestStatelessLinkFlaps(t *testing.T) {
	script(t, wants(), `
	0s    LinkUp -> send:Information-request wake 1s informing
	100ms LinkDown -> stopped
	2s    LinkUp -> wake 30s informing
	30s   Tick -> send:Information-request wake 31s informing
	30s   Reply dns=2001:db8::53 -> persist changed wake 24h0m30s informed
	35s   Stop -> stopped
	36s   LinkUp -> wake 1m0s informing
	60s   Tick -> send:Information-request wake 1m1s informing`)
}

// A server extends the address and has no prefix; another one has both. The Rebind goes on until the second has spoken.
func TestPartialReplyDoesNotEndARebind(t *testing.T) {
	b := script(t, wants("pd1", "na1"), boundBoth+`
	1600s Tick -> send:Rebind,2001:db8:1::/64,na:2001:db8::7/128 wake 26m50s rebinding
	1601s Reply from=s2 na=1 t1=1000 t2=1600 2001:db8::7=2000/4000 pd=1 ia=NoPrefixAvail -> persist changed wake 26m50s rebinding
	1602s Reply from=s1 pd=1 t1=1000 t2=1600 2001:db8:1::/64=2000/4000 na=1 t1=1000 t2=1600 2001:db8::7=2000/4000 -> persist changed wake 43m22s bound`)
	b.wantLease("2001:db8:1::/64=2000/4000 2001:db8::7/128=2000/4000")
	if b.c.Lease().Server != server("s1") {
		t.Errorf("server %s", b.c.Lease().Server)
	}
}

// A LinkUp some seconds after a verification that nobody answered is made up for, like one after an answer.
func TestRFC9915_18_2_12_LinkUpAfterAnUnansweredVerify(t *testing.T) {
	b := script(t, testConfig, boundAt0)
	b.step(t0.Add(100*time.Second), LinkUp{})
	for b.act.Wake.Before(t0.Add(115 * time.Second)) {
		b.step(b.act.Wake, Tick{})
	}
	b.run(`
	115s LinkUp -> wake 2m10s bound
	130s Tick -> send:Rebind,2001:db8:1::/64 wake 2m11s rebinding`)
}

// What puts a verification off does not cancel it: a Decline, a Renew that runs, an Information-request.
func TestRFC9915_18_2_12_VerificationIsNotForgotten(t *testing.T) {
	script(t, wants("pd1", "na1"), boundBoth+`
	100s LinkUp -> send:Rebind,2001:db8:1::/64,na:2001:db8::7/128 wake 1m41s rebinding
	101s Duplicate 2001:db8::7 -> persist changed send:Decline>s1,na:2001:db8::7/128 wake 1m42s declining
	101s Reply -> wake 2m10s bound
	130s Tick -> send:Rebind,2001:db8:1::/64,na: wake 2m11s rebinding`)
	script(t, wants("pd1", "na1"), boundBoth+`
	100s Duplicate 2001:db8::7 -> persist changed send:Decline>s1,na:2001:db8::7/128 wake 1m41s declining
	100s LinkUp -> wake 1m41s declining
	100s Reply -> send:Rebind,2001:db8:1::/64,na: wake 1m41s rebinding`)
	script(t, testConfig, boundAt0+`
	990s  LinkUp -> send:Rebind,2001:db8:1::/64 wake 16m31s rebinding
	990s  LinkDown -> wake 33m20s bound
	1000s LinkUp -> send:Renew>s1,2001:db8:1::/64 wake 16m50s renewing
	1010s Tick -> send:Renew>s1,2001:db8:1::/64 wake 17m0s renewing
	1020s Tick -> send:Rebind,2001:db8:1::/64 wake 17m1s rebinding`)
}

// A server that gives another prefix with each Renew: the newest is used, and the oldest deprecated one makes room. No
// message outgrows a packet of 1280 octets.
func TestServerThatRenumbersAllTheTime(t *testing.T) {
	b := script(t, testConfig, boundAt0)
	for i := 2; i < 40; i++ {
		for len(b.act.Send) == 0 || b.last.Type != dhcpv6.Renew {
			b.step(b.act.Wake, Tick{})
		}
		b.answers(fmt.Sprintf("t1=100 t2=200 2001:db8:%x::/64=3000/2592000", i))
		ps := b.c.Lease().Prefixes()
		newest := netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::/64", i))
		if at := findPrefix(ps, newest); len(ps) > MaxPrefixes || at < 0 || ps[at].Preferred.Over(b.now) {
			t.Fatalf("after %s: %s", newest, b.prefixes())
		}
	}
}

func TestMessagesFitAPacket(t *testing.T) {
	b := newBox(t, wants("pd1", "pd2", "pd3", "pd4", "pd5", "pd6", "pd7", "na1"), randHalf)
	b.step(t0, LinkUp{})
	words := "pref=255"
	for ia := 1; ia <= 7; ia++ {
		words += fmt.Sprintf(" pd=%d t1=100 t2=200", ia)
		for p := range 20 {
			words += fmt.Sprintf(" 2001:db8:%x:%x00::/64=3000/4000", ia, p)
		}
	}
	b.step(t0, b.event(strings.Fields("Advertise "+words)))
	size := len(b.sentB)
	b.answers(words)
	for range 3 {
		b.step(b.act.Wake, Tick{})
		size = max(size, len(b.sentB))
	}
	if most := 1280 - 40 - 8; size > most || size < 900 {
		t.Errorf("the largest message has %d octets, want at most %d", size, most)
	}
}

// One of two prefixes is confirmed: the other stays unconfirmed.
func TestConfirmationIsForEachPrefix(t *testing.T) {
	b := script(t, wants("pd1", "pd2"), `
	0s LinkUp -> send:Solicit,pd2: wake 1.05s soliciting
	0s Reply rapid pd=1 t1=1000 t2=1600 2001:db8:1::/64=20000/40000 pd=2 t1=1000 t2=1600 2001:db8:2::/64=20000/40000 -> persist changed wake 16m40s bound`)
	data, err := EncodeLease(b.c.Lease(), ourDUID, 1, t0, wallTime, "boot-a")
	if err != nil {
		t.Fatal(err)
	}
	l, _, _, _, err := DecodeLease(data, t0, wallTime, "boot-b")
	if err != nil {
		t.Fatal(err)
	}
	next := newBox(t, wants("pd1", "pd2"), randHalf)
	next.step(t0, Restored{l})
	next.step(t0, LinkUp{})
	next.answers("pd=1 t1=1000 t2=1600 2001:db8:1::/64=2000/4000")
	ps := next.c.Lease().Prefixes()
	if len(ps) != 2 || ps[0].Unconfirmed || !ps[1].Unconfirmed || !next.c.Lease().Unconfirmed() {
		t.Errorf("prefixes %+v", ps)
	}
}

// The prefix is renewed for long, and the address beside it not: it is asked for again before it is over.
func TestUnservedAddressIsAskedForInTime(t *testing.T) {
	b := script(t, wants("pd1", "na1"), boundBoth+`
	1000s Tick -> send:Renew>s1,2001:db8:1::/64,na:2001:db8::7/128 wake 16m50s renewing
	1000s Reply pd=1 t1=10000 t2=16000 2001:db8:1::/64=20000/40000 -> persist changed wake 16m50s bound
	1010s Tick -> send:Renew>s1,2001:db8:1::/64,na:2001:db8::7/128 wake 17m0s renewing`)
	b.run(`1010s Reply pd=1 t1=10000 t2=16000 2001:db8:1::/64=20000/40000 na=1 t1=1000 t2=1600 2001:db8::7=2000/4000 -> persist changed wake 33m30s bound`)
}

// Anything in any order for hours: a prefix that is valid goes for a reason only, the rate holds, and a client with a link
// always has something to wait for.
func TestRandomEventsLoseNoPrefix(t *testing.T) {
	configs := []Config{testConfig, wants("pd1", "na1"), wants("pd1", "pd2", "na1")}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 12))
		b := newBox(t, configs[seed%3], seeded(seed))
		for range 400 {
			b.now = b.now.Add(time.Duration(r.IntN(300)) * time.Second / time.Duration(1+r.IntN(50)))
			before := b.c.Lease().Prefixes()
			ev := []Event{LinkUp{}, LinkDown{}, Reachable{}, Tick{}, Tick{}, Tick{}, Stop{}, Reconfigured{b.c.cfg}, Duplicate{netip.MustParseAddr("2001:db8::7")}}[r.IntN(9)]
			b.step(b.now, ev)
			for _, p := range before {
				if findPrefix(b.c.Lease().Prefixes(), p.Prefix) < 0 && !p.Valid.Over(b.now) {
					t.Fatalf("seed %d: %T lost %s", seed, ev, p.Prefix)
				}
			}
			if b.c.link && b.act.Wake.IsZero() {
				t.Fatalf("seed %d: %T: nothing to wait for in %s", seed, ev, b.c.Status().State)
			}
			if len(b.act.Send) > 0 && r.IntN(3) > 0 {
				b.step(b.now, Received{From: serverAddr, Data: helpful(r, b.act.Send[0])})
			}
		}
	}
}

// helpful is a correct answer with lifetimes of some minutes; one IA in four gets nothing.
func helpful(r *rand.Rand, raw []byte) []byte {
	q, _, _ := dhcpv6.ParseMessage(raw)
	m := dhcpv6.Message{Type: dhcpv6.Reply, XID: q.XID, ClientID: q.ClientID, ServerID: server("s1"), RapidCommit: true}
	for _, a := range q.IAs {
		ia := dhcpv6.IA{Type: a.Type, IAID: a.IAID, T1: 100, T2: 200}
		p := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 5: byte(a.IAID)}), 64)
		if a.Type == dhcpv6.NA {
			p = netip.MustParsePrefix("2001:db8::7/128")
		}
		if r.IntN(4) > 0 {
			ia.Prefixes = []dhcpv6.IAPrefix{{Prefix: p, Preferred: 300, Valid: 600}}
			m.IAs = append(m.IAs, ia)
		}
	}
	return m.Append(nil)
}
