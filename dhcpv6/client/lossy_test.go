// SPDX-License-Identifier: MIT

package client

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"oasis6/dhcpv6"
)

// modelServer answers as a simple, correct server does: it has one prefix.
type modelServer struct {
	rapid     bool
	preferred uint32
	valid     uint32
}

func (s modelServer) answer(raw []byte) []byte {
	q, _, err := dhcpv6.ParseMessage(raw)
	if err != nil || q.ServerID != "" && q.ServerID != server("s1") {
		return nil
	}
	r := dhcpv6.Message{Type: dhcpv6.Reply, XID: q.XID, ClientID: q.ClientID, ServerID: server("s1"),
		IAs: []dhcpv6.IA{{IAID: 1, T1: s.preferred / 2, T2: s.preferred / 5 * 4,
			Prefixes: []dhcpv6.IAPrefix{{Prefix: netip.MustParsePrefix("2001:db8:1::/64"), Preferred: s.preferred, Valid: s.valid}}}}}
	if q.Type == dhcpv6.Solicit {
		if r.RapidCommit = s.rapid && q.RapidCommit; !r.RapidCommit {
			r.Type = dhcpv6.Advertise
		}
	}
	return r.Append(nil)
}

// link carries messages in virtual time and loses some of them, in both directions.
type link struct {
	b      *box
	rand   *rand.Rand
	loss   float64
	answer func(now time.Time, raw []byte) []byte
	flying []arrival
}

type arrival struct {
	at   time.Time
	data []byte
}

func (l *link) do(now time.Time, ev Event) {
	for _, m := range l.b.step(now, ev).Send {
		if l.rand.Float64() < l.loss {
			continue
		}
		a := l.answer(now, m)
		if a == nil || l.rand.Float64() < l.loss {
			continue
		}
		delay := 10*time.Millisecond + time.Duration(l.rand.Float64()*float64(90*time.Millisecond))
		l.flying = append(l.flying, arrival{now.Add(delay), a})
	}
}

// run goes from event to event until the end or until done.
func (l *link) run(end time.Time, done func() bool) {
	for !done() {
		next, data := l.b.act.Wake, -1
		for i, a := range l.flying {
			if next.IsZero() || !a.at.After(next) {
				next, data = a.at, i
			}
		}
		if next.IsZero() || next.After(end) {
			return
		}
		if data < 0 {
			l.do(next, Tick{})
			continue
		}
		a := l.flying[data]
		l.flying = slices.Delete(l.flying, data, data+1)
		l.do(a.at, Received{From: serverAddr, Data: a.data})
	}
}

// bindTimes are how long 1000 clients take where 30 % of the messages are lost in each direction.
func bindTimes(t *testing.T, cfg Config, s modelServer) []time.Duration {
	t.Helper()
	var took []time.Duration
	for seed := range uint64(1000) {
		b := newBox(t, cfg, seeded(seed))
		l := &link{b: b, rand: rand.New(rand.NewPCG(seed, 7)), loss: 0.3, answer: func(_ time.Time, raw []byte) []byte { return s.answer(raw) }}
		l.do(t0, LinkUp{})
		l.run(t0.Add(3*time.Hour), func() bool { return b.c.Status().State == Bound })
		if b.c.Status().State != Bound {
			t.Fatalf("seed %d: %s after three hours", seed, b.c.Status().State)
		}
		took = append(took, b.now.Sub(t0))
	}
	slices.Sort(took)
	t.Logf("lossy %v rapid %v: p50 %v p95 %v p99 %v max %v", cfg.LossyLink, s.rapid, took[500], took[950], took[990], took[999])
	return took
}

// 30 % lost each way: 99 % of the clients are bound within 20 s with LossyLink. The RFC's own timers
// reach 95 % with Rapid Commit.
func TestLossyLinkBindsWithin20Seconds(t *testing.T) {
	insisting := testConfig
	insisting.LossyLink = true
	for _, rapid := range []bool{true, false} {
		s := modelServer{rapid: rapid, preferred: 2700, valid: 5400}
		if took := bindTimes(t, insisting, s); took[990] >= 20*time.Second {
			t.Errorf("rapid %v: p99 %v, want below 20s", rapid, took[990])
		}
		if took := bindTimes(t, testConfig, s); rapid && took[950] >= 20*time.Second {
			t.Errorf("by the RFC's timers: p95 %v, want below 20s", took[950])
		}
	}
}

// LossyLink sends no copy where nothing is lost, five to a silent server, and stays within the limit.
func TestLossyLinkCopies(t *testing.T) {
	cfg := testConfig
	cfg.LossyLink = true
	b := newBox(t, cfg, randHalf)
	copies := 0
	for act := b.step(t0, LinkUp{}); act.Wake.Before(t0.Add(2 * time.Hour)); act = b.step(act.Wake, Tick{}) {
		copies += max(0, len(act.Send)-1)
		if len(act.Send) == 2 && string(act.Send[0]) != string(act.Send[1]) {
			t.Errorf("copies differ: %x %x", act.Send[0], act.Send[1])
		}
	}
	if copies != 5 {
		t.Errorf("%d copies to a silent server, want 5", copies)
	}
	script(t, cfg, boundAt0+`
	1000s Tick -> send:Renew>s1,2001:db8:1::/64 wake 16m50s renewing
	1010s Tick -> send:Renew>s1,2001:db8:1::/64 wake 17m10s renewing`)
}

// Three days at 30 % loss: no client ever loses its lease, with lifetimes of 45 and 90 minutes.
func TestLossyLinkKeepsTheLeaseForDays(t *testing.T) {
	for seed := range uint64(20) {
		b := newBox(t, testConfig, seeded(seed))
		s := modelServer{rapid: true, preferred: 2700, valid: 5400}
		l := &link{b: b, rand: rand.New(rand.NewPCG(seed, 8)), loss: 0.3, answer: func(_ time.Time, raw []byte) []byte { return s.answer(raw) }}
		l.do(t0, LinkUp{})
		bound, lost := false, false
		l.run(t0.Add(72*time.Hour), func() bool {
			held := len(b.c.Lease().Prefixes()) > 0
			lost = lost || bound && !held
			bound = bound || held
			return lost
		})
		if !bound || lost {
			t.Errorf("seed %d: bound %v, lost %v after %v", seed, bound, lost, b.now.Sub(t0))
		}
		if b.c.Status().Sent > 1000 {
			t.Errorf("seed %d: %d messages in three days", seed, b.c.Status().Sent)
		}
	}
}

// retransmissions are the RTs of the exchange that runs, until it leaves the state.
func retransmissions(b *box, n int) []time.Duration {
	state := b.c.Status().State
	var rts []time.Duration
	sentAt := b.now
	for len(rts) < n {
		b.step(b.act.Wake, Tick{})
		if b.c.Status().State != state {
			return rts
		}
		if len(b.act.Send) > 0 {
			rts = append(rts, b.now.Sub(sentAt))
			sentAt = b.now
		}
	}
	return rts
}

// "RT = IRT + RAND*IRT", "RT = 2*RTprev + RAND*RTprev", "if (RT > MRT) RT = MRT + RAND*MRT", RAND between
// -0.1 and +0.1; for the first Solicit "strictly greater than 0". 1000 seeds for each message.
func TestRFC9915_15_RetransmissionTimes(t *testing.T) {
	for _, tc := range []struct {
		name  string
		reach string // script lines after which the first message has just left
		irt   time.Duration
		mrt   time.Duration
		n     int
	}{
		{"Solicit", "", SolTimeout, SolMaxRT, 16},
		{"Request", "Advertise pref=255 2001:db8:1::/64=9/9", ReqTimeout, ReqMaxRT, ReqMaxRC - 1},
		{"Renew", "Reply rapid t1=1000 t2=900000 2001:db8:1::/64=900000/900000", RenTimeout, RenMaxRT, 12},
		{"Rebind", "Reply rapid t1=1000 t2=1000 2001:db8:1::/64=900000/900000", RebTimeout, RebMaxRT, 12},
	} {
		var lo, hi [3]bool // for each rule: RTs below and above the middle of its range came
		for seed := range uint64(1000) {
			b := newBox(t, testConfig, seeded(seed))
			b.step(t0, LinkUp{})
			if tc.reach != "" {
				b.step(t0, b.event(strings.Fields(tc.reach)))
			}
			if tc.name == "Renew" || tc.name == "Rebind" {
				b.step(b.act.Wake, Tick{})
			}
			if b.last.Type.String() != tc.name {
				t.Fatalf("%s: %s was sent", tc.name, b.last.Type)
			}
			rts := retransmissions(b, tc.n)
			if len(rts) != tc.n {
				t.Fatalf("%s seed %d: %d retransmissions, want %d", tc.name, seed, len(rts), tc.n)
			}
			prev := time.Duration(0)
			for i, rt := range rts {
				rule, least, most := bounds(tc.irt, tc.mrt, prev)
				if tc.name == "Solicit" && i == 0 {
					least = SolTimeout + 1
				}
				if rt < least || rt > most {
					t.Fatalf("%s seed %d: RT %d is %v after %v, want %v to %v", tc.name, seed, i, rt, prev, least, most)
				}
				lo[rule], hi[rule] = lo[rule] || rt < (least+most)/2, hi[rule] || rt > (least+most)/2
				prev = rt
			}
		}
		if all := [3]bool{true, true, true}; lo != all || hi != all {
			t.Errorf("%s: RAND does not go both ways in each rule: below %v, above %v", tc.name, lo, hi)
		}
	}
}

// bounds are the least and greatest RT after prev, and which rule gives it: the first, the doubling, or
// MRT. Where either of the latter two may apply it counts as the doubling.
func bounds(irt, mrt, prev time.Duration) (rule int, least, most time.Duration) {
	switch {
	case prev == 0:
		return 0, irt * 9 / 10, irt * 11 / 10
	case prev*21/10 <= mrt:
		return 1, prev * 19 / 10, prev * 21 / 10
	case prev*19/10 > mrt:
		return 2, mrt * 9 / 10, mrt * 11 / 10
	}
	return 1, min(prev*19/10, mrt*9/10), mrt * 11 / 10
}

// One hour of a server that contradicts itself and leaves T1 at 0 or 1, preferred at 0: "A DHCPv6 client
// MUST limit the rate of DHCP messages it transmits or retransmits", never more than 20 in 20 s.
func TestRFC9915_14_1_NoStorm(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 9))
		cfg := testConfig
		cfg.LossyLink = seed%2 == 0
		b := newBox(t, cfg, seeded(seed))
		var sent []time.Time
		l := &link{b: b, rand: r, answer: func(now time.Time, raw []byte) []byte {
			sent = append(sent, now)
			return contradiction(r, raw)
		}}
		l.do(t0, LinkUp{})
		for now := t0; now.Before(t0.Add(time.Hour)); now = b.now {
			l.run(now.Add(time.Duration(r.IntN(100))*time.Second), func() bool { return false })
			ev := []Event{LinkUp{}, LinkDown{}, LinkUp{}, Tick{}, LinkUp{}}[r.IntN(5)]
			l.do(now.Add(time.Duration(r.IntN(100))*time.Second), ev)
			if ev == (LinkDown{}) {
				l.do(b.now, LinkUp{})
			}
		}
		for i := RateLimit; i < len(sent); i++ {
			if sent[i].Sub(sent[i-RateLimit]) < RateInterval {
				t.Fatalf("seed %d: %d messages within %v, at %v", seed, RateLimit+1, sent[i].Sub(sent[i-RateLimit]), sent[i].Sub(t0))
			}
		}
		if len(sent) < 20 {
			t.Errorf("seed %d: only %d messages, the test shows nothing", seed, len(sent))
		}
	}
}

// contradiction is any answer that passes as one.
func contradiction(r *rand.Rand, raw []byte) []byte {
	q, _, _ := dhcpv6.ParseMessage(raw)
	s := q.ServerID
	if s == "" {
		s = server("s" + fmt.Sprint(r.IntN(3)))
	}
	m := dhcpv6.Message{Type: dhcpv6.Reply, XID: q.XID, ClientID: q.ClientID, ServerID: s, RapidCommit: r.IntN(2) == 0}
	if q.Type == dhcpv6.Solicit && !m.RapidCommit {
		m.Type, m.Preference = dhcpv6.Advertise, 255
	}
	small := func() uint32 { return []uint32{0, 0, 1, 2, 3, 30, 0xffffffff}[r.IntN(7)] }
	ia := dhcpv6.IA{IAID: 1, T1: small(), T2: small()}
	if r.IntN(3) == 0 {
		ia.Status.Code = dhcpv6.StatusCode(r.IntN(7))
	}
	for range r.IntN(3) {
		p := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(r.IntN(4))}), 64)
		ia.Prefixes = append(ia.Prefixes, dhcpv6.IAPrefix{Prefix: p, Preferred: small(), Valid: small()})
	}
	if r.IntN(5) > 0 {
		m.IAs = []dhcpv6.IA{ia}
	}
	if r.IntN(5) == 0 {
		m.Status.Code = dhcpv6.StatusCode(r.IntN(7))
	}
	return m.Append(nil)
}

// A steady server with the worst values that are still obeyed: one Renew each 10 s and no more.
func TestRFC9915_14_1_SteadyServerWithT1Of1(t *testing.T) {
	for _, s := range []modelServer{{rapid: true, preferred: 2, valid: 4000}, {rapid: true, preferred: 0, valid: 4000}, {rapid: true, preferred: 1, valid: 1}} {
		b := newBox(t, testConfig, seeded(1))
		l := &link{b: b, rand: rand.New(rand.NewPCG(1, 10)), answer: func(_ time.Time, raw []byte) []byte { return s.answer(raw) }}
		l.do(t0, LinkUp{})
		l.run(t0.Add(time.Hour), func() bool { return false })
		most := uint64(361)
		if s.valid == 1 {
			most = 3620 // its lifetimes leave no choice but the rate limit
		}
		if n := b.c.Status().Sent; n > most {
			t.Errorf("%+v: %d messages in an hour, want at most %d", s, n, most)
		}
	}
}
