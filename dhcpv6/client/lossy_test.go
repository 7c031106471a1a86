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
	twice  float64             // how many packets arrive two times
	late   float64             // how many are overtaken: they take up to two seconds
	watch  *watcher            // nil: nobody looks at the times of messages
	sent   func(now time.Time) // called for each message; may be nil
	answer func(now time.Time, raw []byte) []byte
	flying []arrival
}

// arrival is a packet on its way: to the server, or back.
type arrival struct {
	at   time.Time
	data []byte
	back bool
}

func (l *link) do(now time.Time, ev Event) {
	sent := l.b.step(now, ev).Send
	if l.watch != nil {
		l.watch.sent(l.b.t, now, sent)
	}
	for _, m := range sent {
		if l.sent != nil {
			l.sent(now)
		}
		l.carry(now, m, false)
	}
}

// carry puts a packet on its way, or loses it, or lets it arrive twice.
func (l *link) carry(now time.Time, data []byte, back bool) {
	copies := 1
	if l.rand.Float64() < l.twice {
		copies = 2
	}
	for range copies {
		if l.rand.Float64() < l.loss {
			continue
		}
		delay := 5*time.Millisecond + time.Duration(l.rand.Float64()*float64(45*time.Millisecond))
		if l.rand.Float64() < l.late {
			delay += time.Duration(l.rand.Float64() * float64(2*time.Second))
		}
		l.flying = append(l.flying, arrival{now.Add(delay), data, back})
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
		if a.back {
			l.do(a.at, Received{From: serverAddr, Data: a.data})
		} else if r := l.answer(a.at, a.data); r != nil {
			l.carry(a.at, r, true)
		}
	}
}

// watcher checks the times between the messages of each exchange against RFC 9915 section 15, and their elapsed time.
type watcher struct {
	kind        dhcpv6.MessageType
	xid         uint32
	first, last time.Time
	rt          time.Duration
	elapsed     uint16
	messages    int // retransmissions that were checked
	saturated   int // messages whose elapsed time is at its end
}

func (w *watcher) sent(t testing.TB, now time.Time, raw [][]byte) {
	t.Helper()
	for i, r := range raw {
		if i > 0 && string(r) == string(raw[i-1]) {
			continue // the second copy of one transmission
		}
		m, _, err := dhcpv6.ParseMessage(r)
		if err != nil {
			t.Fatal(err)
		}
		if m.Type != w.kind || m.XID != w.xid {
			*w = watcher{kind: m.Type, xid: m.XID, first: now, last: now, messages: w.messages, saturated: w.saturated}
			if m.ElapsedTime != 0 {
				t.Fatalf("%s: the first message has an elapsed time of %d", m.Type, m.ElapsedTime)
			}
			continue
		}
		irt, mrt := timesOf(m.Type)
		_, least, most := bounds(irt, mrt, w.rt)
		if m.Type == dhcpv6.Solicit && w.rt == 0 {
			least = SolTimeout + 1
		}
		w.rt, w.last = now.Sub(w.last), now
		if w.rt < least || w.rt > most {
			t.Fatalf("%s: RT is %v, want %v to %v", m.Type, w.rt, least, most)
		}
		if want := min(now.Sub(w.first).Milliseconds()/10, 0xffff); int64(m.ElapsedTime) != want || m.ElapsedTime < w.elapsed {
			t.Fatalf("%s: elapsed time is %d after %d, want %d", m.Type, m.ElapsedTime, w.elapsed, want)
		}
		if w.elapsed = m.ElapsedTime; w.elapsed == 0xffff {
			w.saturated++
		}
		w.messages++
	}
}

// timesOf are IRT and MRT of RFC 9915 section 7.6.
func timesOf(t dhcpv6.MessageType) (irt, mrt time.Duration) {
	switch t {
	case dhcpv6.Solicit:
		return SolTimeout, SolMaxRT
	case dhcpv6.Request:
		return ReqTimeout, ReqMaxRT
	case dhcpv6.Renew:
		return RenTimeout, RenMaxRT
	}
	return RebTimeout, RebMaxRT
}

// bindTimes are how long clients take where 30 % of the packets are lost in each direction, some arrive twice and
// a tenth late. Every RT is inside of the RFC's bounds, and the elapsed time right.
func bindTimes(t *testing.T, cfg Config, s modelServer, seeds int, twice float64) []time.Duration {
	t.Helper()
	var took []time.Duration
	checked := 0
	for seed := range uint64(seeds) {
		b := newBox(t, cfg, seeded(seed))
		l := &link{b: b, rand: rand.New(rand.NewPCG(seed, 7)), loss: 0.3, twice: twice, late: 0.1, watch: &watcher{},
			answer: func(_ time.Time, raw []byte) []byte { return s.answer(raw) }}
		l.do(t0, LinkUp{})
		l.run(t0.Add(6*time.Hour), func() bool { return b.c.Status().State == Bound })
		if b.c.Status().State != Bound {
			t.Fatalf("seed %d: %s after six hours", seed, b.c.Status().State)
		}
		took = append(took, b.now.Sub(t0))
		checked += l.watch.messages
	}
	slices.Sort(took)
	at := func(permille int) time.Duration { return took[seeds*permille/1000].Round(time.Millisecond) }
	t.Logf("copies %v, rapid %v, duplicates %.0f %%, %d seeds: p50 %v p95 %v p99 %v p99.9 %v max %v; %d retransmission times checked",
		cfg.LossyLink, s.rapid, 100*twice, seeds, at(500), at(950), at(990), at(999), took[seeds-1], checked)
	if checked < seeds/2 {
		t.Errorf("only %d retransmission times were checked", checked)
	}
	return took
}

// 30 % lost each way: 99 % of the clients are bound within 20 s with LossyLink. The RFC's own timers
// reach 95 % with Rapid Commit.
func TestLossyLinkBindsWithin20Seconds(t *testing.T) {
	insisting := testConfig
	insisting.LossyLink = true
	const seeds = 10000
	for _, rapid := range []bool{true, false} {
		s := modelServer{rapid: rapid, preferred: 2700, valid: 5400}
		for _, twice := range []float64{0, 0.1} { // a duplicate is a second chance, so without any it is harder
			if took := bindTimes(t, insisting, s, seeds, twice); took[seeds*99/100] >= 20*time.Second {
				t.Errorf("rapid %v: p99 %v, want below 20s", rapid, took[seeds*99/100])
			}
		}
		if took := bindTimes(t, testConfig, s, seeds/10, 0); rapid && took[seeds/10*95/100] >= 20*time.Second {
			t.Errorf("by the RFC's timers: p95 %v, want below 20s", took[seeds/10*95/100])
		}
	}
}

// Nobody answers for two days: the times of all messages stay inside their bounds, and the elapsed time rises and
// saturates.
func TestRFC9915_21_9_ElapsedTimeRisesAndSaturates(t *testing.T) {
	for seed := range uint64(50) {
		b := newBox(t, testConfig, seeded(seed))
		s := modelServer{rapid: true, preferred: 20000, valid: 90000}
		w := &watcher{}
		l := &link{b: b, rand: rand.New(rand.NewPCG(seed, 11)), watch: w, answer: func(now time.Time, raw []byte) []byte {
			if b.c.Status().State != Bound && now.Before(t0.Add(time.Second)) {
				return s.answer(raw)
			}
			return nil
		}}
		l.do(t0, LinkUp{})
		l.run(t0.Add(48*time.Hour), func() bool { return false })
		// Renew, Rebind and the Solicit after the end are all longer than 655 s.
		if w.saturated < 100 || w.messages < 150 {
			t.Errorf("seed %d: %d of %d messages have the greatest elapsed time", seed, w.saturated, w.messages)
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
		l := &link{b: b, rand: rand.New(rand.NewPCG(seed, 8)), loss: 0.3, twice: 0.1, late: 0.1, watch: &watcher{}, answer: func(_ time.Time, raw []byte) []byte { return s.answer(raw) }}
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
		cfg := [...]Config{testConfig, wants("pd1", "na1"), wants("pd1", "pd2", "na1"), wants("na1"), wants()}[seed%5]
		cfg.LossyLink = seed%2 == 0
		b := newBox(t, cfg, seeded(seed))
		var sent []time.Time
		l := &link{b: b, rand: r, twice: 0.2, answer: func(_ time.Time, raw []byte) []byte { return contradiction(r, raw) }}
		l.sent = func(now time.Time) { sent = append(sent, now) }
		l.do(t0, LinkUp{})
		for now := t0; now.Before(t0.Add(time.Hour)); now = b.now {
			l.run(now.Add(time.Duration(r.IntN(100))*time.Second), func() bool { return false })
			ev := []Event{LinkUp{}, LinkDown{}, LinkUp{}, Tick{}, Reachable{}, Duplicate{netip.MustParseAddr("2001:db8::7")}, Reconfigured{cfg}}[r.IntN(7)]
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
	for _, asked := range append(q.IAs, dhcpv6.IA{IAID: 9}) {
		ia := dhcpv6.IA{Type: asked.Type, IAID: asked.IAID, T1: small(), T2: small()}
		if r.IntN(3) == 0 {
			ia.Status.Code = dhcpv6.StatusCode(r.IntN(7))
		}
		for range r.IntN(3) {
			p := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(r.IntN(4))}), 64)
			if ia.Type == dhcpv6.NA {
				p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(r.IntN(8))}), 128)
			}
			ia.Prefixes = append(ia.Prefixes, dhcpv6.IAPrefix{Prefix: p, Preferred: small(), Valid: small()})
		}
		if r.IntN(5) > 0 {
			m.IAs = append(m.IAs, ia)
		}
	}
	m.RefreshTime, m.InfMaxRT, m.SolMaxRT = small(), 60, 60
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
