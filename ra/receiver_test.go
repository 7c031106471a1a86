// SPDX-License-Identifier: MIT

package ra

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// rworld drives one Receiver in virtual time.
type rworld struct {
	t       failer
	r       *Receiver
	now     time.Duration // since boot
	wake    time.Time
	sent    []time.Duration
	changed []time.Duration
	notes   int
}

// newRWorld is a receiver on a tunnel: point-to-point, no MAC.
func newRWorld(t failer, rand func() float64) *rworld {
	return &rworld{t: t, r: NewReceiver(ReceiverConfig{PointToPoint: true}, rand)}
}

func (w *rworld) step(ev Event) ReceiverActions {
	w.t.Helper()
	now := boot.Add(w.now)
	a := w.r.Step(now, ev)
	w.wake = a.Wake
	for range a.Send {
		w.sent = append(w.sent, w.now)
	}
	if a.Changed {
		w.changed = append(w.changed, w.now)
	}
	if w.notes += len(a.Notes); len(a.Notes) > 1 || len(a.Notes) == 1 && !a.Changed {
		w.t.Fatalf("at %v after %T: notes %v, changed %v", w.now, ev, a.Notes, a.Changed)
	}
	if len(a.Send) > 1 || len(a.Send) == 1 && a.Send[0].To != AllRouters {
		w.t.Fatalf("at %v after %T: sent %v", w.now, ev, a.Send)
	}
	if !a.Wake.IsZero() && !a.Wake.After(now) {
		w.t.Fatalf("at %v after %T: wake %v is not in the future", w.now, ev, a.Wake.Sub(boot))
	}
	return a
}

func (w *rworld) until(d time.Duration) {
	w.t.Helper()
	for !w.wake.IsZero() && w.wake.Sub(boot) <= d {
		w.now = w.wake.Sub(boot)
		w.step(Tick{})
	}
	w.now = d
}

func (w *rworld) at(d time.Duration, ev Event) ReceiverActions {
	w.t.Helper()
	w.until(d)
	return w.step(ev)
}

func (w *rworld) wantSent(want ...time.Duration) {
	w.t.Helper()
	if !slices.Equal(w.sent, want) {
		w.t.Fatalf("solicitations at %v, want %v", w.sent, want)
	}
}

func (w *rworld) wantChanged(want ...time.Duration) {
	w.t.Helper()
	if !slices.Equal(w.changed, want) {
		w.t.Fatalf("changed at %v, want %v", w.changed, want)
	}
}

// raFrom is an RA with the flags M and O as in "MO".
func raFrom(src netip.Addr, seconds uint16, flags string) Received {
	m := RouterAdvertisement{RouterLifetime: seconds, Managed: slices.Contains([]byte(flags), 'M'),
		OtherConfig: slices.Contains([]byte(flags), 'O')}
	b, err := m.Append(nil)
	if err != nil {
		panic(err)
	}
	return Received{Src: src, HopLimit: 255, Data: b}
}

const sec = time.Second

// "a host SHOULD transmit up to MAX_RTR_SOLICITATIONS Router Solicitation messages, each separated by at least
// RTR_SOLICITATION_INTERVAL seconds."
func TestCE_1_6_01_RSTransmission(t *testing.T) {
	w := newRWorld(t, half)
	a := w.step(LinkUp{})
	if len(a.Send) != 1 || a.Send[0].To != netip.MustParseAddr("ff02::2") {
		t.Fatalf("sent %v", a.Send)
	}
	// Without MAC there is no source link-layer address to tell.
	if _, problems, drop := ParseRS(hostA, 255, a.Send[0].Data); drop != Accepted || len(problems) > 0 || !slices.Equal(a.Send[0].Data, rsBytes) {
		t.Errorf("solicitation %x: %v, %v", a.Send[0].Data, drop, problems)
	}
	w.until(13 * sec)
	w.wantSent(0, 4*sec, 12*sec)
}

func TestRFC4861_6_3_7_SolicitationOfAnInterfaceWithMAC(t *testing.T) {
	w := newRWorld(t, half)
	a := w.step(linkUp)
	rs, _, drop := ParseRS(ourLL, 255, a.Send[0].Data)
	if drop != Accepted || !slices.Equal(rs.Options, []Option{SourceLinkLayer(ourMAC)}) {
		t.Errorf("solicitation %+v, %v", rs, drop)
	}
}

// "Before a host sends an initial solicitation, it SHOULD delay the transmission for a random amount of time between
// 0 and MAX_RTR_SOLICITATION_DELAY." Not on a tunnel, which has one host.
func TestRFC4861_6_3_7_InitialDelay(t *testing.T) {
	for _, c := range []struct {
		rand float64
		want time.Duration
	}{{0, 0}, {0.5, 500 * time.Millisecond}, {0.999, 999 * time.Millisecond}} {
		w := newRWorld(t, func() float64 { return c.rand })
		w.r.cfg.PointToPoint = false
		w.step(LinkUp{})
		w.at(c.want/2, LinkUp{}) // again, before the first has left: the delay does not start over
		w.until(3 * sec)
		w.wantSent(c.want)
	}
}

// "each separated by at least RTR_SOLICITATION_INTERVAL seconds", and RAND of RFC 3315 section 14 within a tenth.
func TestRFC4861_6_3_7_LeastInterval(t *testing.T) {
	for seed := range uint64(200) {
		w := newRWorld(t, seeded(seed))
		w.step(LinkUp{})
		w.until(60 * sec)
		if gap := w.sent[1] - w.sent[0]; gap < RtrSolicitationInterval || gap > 4400*time.Millisecond {
			t.Fatalf("seed %d: second solicitation after %v", seed, gap)
		}
	}
}

// "If a host sends MAX_RTR_SOLICITATIONS solicitations, and receives no Router Advertisements after having waited
// MAX_RTR_SOLICITATION_DELAY seconds after sending the last solicitation, the host concludes that there are no
// routers on the link".
func TestRFC4861_6_3_7_NoRouter(t *testing.T) {
	w := newRWorld(t, half)
	w.step(LinkUp{})
	w.until(13*sec - 1)
	if l := w.r.Learned(); l.NoRouter || l.Heard {
		t.Errorf("just before: %+v", l)
	}
	w.until(13 * sec)
	if l := w.r.Learned(); !l.NoRouter || l.Heard {
		t.Errorf("at 13 s: %+v", l)
	}
	w.wantChanged(13 * sec)
	w.at(20*sec, raFrom(hostA, 0, "")) // no default router, but a router
	if l := w.r.Learned(); l.NoRouter || !l.Heard {
		t.Errorf("after an RA: %+v", l)
	}
	w.until(2 * time.Hour) // it goes on asking, and never concludes so again while the link stays up
	if w.r.Learned().NoRouter {
		t.Error("concluded again")
	}
	// An RA in the last second: nobody concludes anything.
	w = newRWorld(t, half)
	w.step(LinkUp{})
	w.at(13*sec-1, raFrom(hostA, 0, ""))
	w.until(60 * sec)
	w.wantChanged(13*sec - 1)
}

// "Once the host sends a Router Solicitation, and receives a valid Router Advertisement with a non-zero Router
// Lifetime, the host MUST desist from sending additional solicitations on that interface".
func TestRFC4861_6_3_7_DesistsAfterAnAdvertisement(t *testing.T) {
	for _, at := range []time.Duration{0, 4*sec - 1, 5 * sec, 100 * sec} {
		w := newRWorld(t, half)
		w.step(LinkUp{})
		w.at(at, raFrom(hostA, 1, ""))
		n := len(w.sent)
		w.until(24 * time.Hour)
		if len(w.sent) != n {
			t.Errorf("RA at %v: solicited later at %v", at, w.sent[n:])
		}
	}
}

// "a host SHOULD send at least one solicitation in the case where an advertisement is received prior to having sent a
// solicitation."
func TestRFC4861_6_3_7_AsksOnceEvenIfHeard(t *testing.T) {
	w := newRWorld(t, half)
	w.r.cfg.PointToPoint = false
	w.step(LinkUp{})
	w.at(100*time.Millisecond, raFrom(hostA, 1800, ""))
	w.until(time.Hour)
	w.wantSent(500 * time.Millisecond)
	// The same where the backoff of the burst before goes on.
	w = newRWorld(t, half)
	w.step(LinkUp{})
	w.at(sec, LinkDown{})
	w.at(2*sec, LinkUp{})
	w.at(3*sec, raFrom(hostA, 1800, ""))
	w.until(time.Hour)
	w.wantSent(0, 4*sec)
}

// "Hosts complying to this specification MUST use the exponential backoff algorithm [...] IRT 4 seconds, MRT 3600
// seconds, MRC 0, MRD 0".
func TestRFC7559_2_Backoff(t *testing.T) {
	w := newRWorld(t, half) // RAND is 0
	w.step(LinkUp{})
	w.until(5 * time.Hour)
	var want []time.Duration
	at, rt := time.Duration(0), 4*sec
	for at <= 5*time.Hour {
		want = append(want, at)
		at, rt = at+rt, min(2*rt, 3600*sec)
	}
	w.wantSent(want...)
	if len(want) != 14 {
		t.Fatalf("the test expects %v", want)
	}
}

// RAND is between -0.1 and +0.1; above MRT it is MRT that is varied.
func TestRFC7559_2_Randomness(t *testing.T) {
	for _, c := range []struct {
		rand float64
		want []time.Duration // gaps
	}{
		{0, []time.Duration{4 * sec, 7600 * time.Millisecond, 14440 * time.Millisecond}},
		{0.999999, []time.Duration{4399999 * time.Microsecond, 9239998 * time.Microsecond}},
	} {
		w := newRWorld(t, func() float64 { return c.rand })
		w.step(LinkUp{})
		w.until(50 * time.Hour)
		for i, want := range c.want {
			if got := w.sent[i+1] - w.sent[i]; (got - want).Abs() > 2*time.Microsecond {
				t.Errorf("rand %v, gap %d: %v, want %v", c.rand, i, got, want)
			}
		}
		last := w.sent[len(w.sent)-1] - w.sent[len(w.sent)-2]
		if want := time.Duration((1 + (c.rand-0.5)/5) * float64(3600*sec)); (last - want).Abs() > time.Millisecond {
			t.Errorf("rand %v: at last every %v, want %v", c.rand, last, want)
		}
	}
}

// "If an RA is received from a router and it does not result in a default route (i.e., Router Lifetime is zero), the
// host MUST continue retransmitting the RSs."
func TestRFC7559_2_1_LifetimeZeroIsNoEnd(t *testing.T) {
	w := newRWorld(t, half)
	w.step(LinkUp{})
	w.at(sec, raFrom(hostA, 0, "M"))
	w.until(30 * sec)
	w.wantSent(0, 4*sec, 12*sec, 28*sec)
	w.at(31*sec, raFrom(hostB, 30, ""))
	w.until(10 * time.Hour)
	w.wantSent(0, 4*sec, 12*sec, 28*sec)
}

// Not below 30 s from burst to burst, whatever the link does: a tick early goes on with the backoff, on time starts.
func TestRFC7559_2_FlappingLinkMakesNoStorm(t *testing.T) {
	for _, c := range []struct {
		again time.Duration
		want  []time.Duration
	}{
		{2 * sec, []time.Duration{0, 4 * sec, 12 * sec, 28 * sec, 60 * sec}},
		{10 * sec, []time.Duration{0, 4 * sec, 12 * sec, 28 * sec, 60 * sec}},
		{20 * sec, []time.Duration{0, 4 * sec, 20 * sec, 36 * sec, 68 * sec}}, // 12 s was missed: at once
		{30*sec - 1, []time.Duration{0, 4 * sec, 30*sec - 1, 46*sec - 1}},
		{30 * sec, []time.Duration{0, 4 * sec, 30 * sec, 34 * sec, 42 * sec, 58 * sec}},
	} {
		w := newRWorld(t, half)
		w.step(LinkUp{})
		w.at(min(c.again-1, 5*sec), LinkDown{})
		if !w.wake.IsZero() {
			t.Errorf("again at %v: wake %v while the link is down", c.again, w.wake)
		}
		w.at(c.again, LinkUp{})
		w.until(70 * sec)
		w.wantSent(c.want...)
	}
	// A new burst keeps its distance to what the backoff sent just before.
	b := newRWorld(t, half)
	b.step(LinkUp{})
	b.at(29*sec, LinkDown{})
	b.at(31*sec, LinkUp{})
	b.until(40 * sec)
	b.wantSent(0, 4*sec, 12*sec, 28*sec, 32*sec, 36*sec)
	// Ten times a second, with and without LinkDown, answered and not: at most four in any 30 s.
	for _, down := range []bool{false, true} {
		for _, answer := range []bool{false, true} {
			w := newRWorld(t, seeded(3))
			for i := range 6000 {
				w.at(time.Duration(i)*100*time.Millisecond, LinkUp{})
				if answer {
					w.step(raFrom(hostA, 1800, "O"))
				}
				if down {
					w.step(LinkDown{})
				}
			}
			for i := 4; i < len(w.sent); i++ {
				if w.sent[i]-w.sent[i-4] < 29*sec {
					t.Fatalf("down %v, answer %v: five solicitations from %v to %v", down, answer, w.sent[i-4], w.sent[i])
				}
			}
			if len(w.sent) < 20*3 {
				t.Errorf("down %v, answer %v: only %d solicitations in ten minutes", down, answer, len(w.sent))
			}
		}
	}
}

// The knowledge stays while the link is down, and is asked for again when it is up.
func TestRFC4861_6_3_7_AsksAgainAfterLinkUp(t *testing.T) {
	w := newRWorld(t, half)
	w.step(LinkUp{})
	w.at(sec, raFrom(hostA, 1800, "MO"))
	w.at(100*sec, LinkDown{})
	w.until(10 * time.Hour)
	if l := w.r.Learned(); !l.Managed || !l.OtherConfig || len(l.Routers) != 1 || l.Routers[0].Earlier {
		t.Errorf("link down: %+v", l)
	}
	w.step(LinkUp{})
	if l := w.r.Learned(); !l.Managed || !l.OtherConfig || !l.Routers[0].Earlier {
		t.Errorf("link up: %+v", l)
	}
	w.at(w.now+sec, raFrom(hostB, 1800, "")) // it leads to another router now
	if l := w.r.Learned(); l.Managed || l.OtherConfig || len(l.Routers) != 2 {
		t.Errorf("another router: %+v", l)
	}
	w.wantSent(0, 10*time.Hour)
	// The default router's lifetime was over at 1801 s, with the link down.
	w.wantChanged(sec, 1801*sec, 10*time.Hour+sec)
}

// "Hosts accept the union of all received information"; of each router, "the most recently received information is
// considered authoritative".
func TestRFC4861_6_3_4_UnionOfRouters(t *testing.T) {
	w := newRWorld(t, half)
	w.step(LinkUp{})
	for i, c := range []struct {
		ev                     Received
		managed, other, change bool
	}{
		{raFrom(hostA, 1800, "M"), true, false, true},
		{raFrom(hostB, 0, "O"), true, true, true}, // no default router, yet its flags count
		{raFrom(hostB, 0, ""), true, false, true},
		{raFrom(hostB, 900, "M"), true, false, false},
		{raFrom(hostA, 1800, ""), true, false, false}, // the other still says so
		{raFrom(hostB, 0, ""), false, false, true},
	} {
		n := len(w.changed)
		w.at(time.Duration(i+1)*20*sec, c.ev)
		if l := w.r.Learned(); l.Managed != c.managed || l.OtherConfig != c.other || (len(w.changed) > n) != c.change {
			t.Errorf("step %d: %+v, changed %v", i, l, len(w.changed) > n)
		}
	}
	l := w.r.Learned()
	if len(l.Routers) != 2 || l.Routers[0].Addr != hostA || l.Routers[1].Addr != hostB {
		t.Fatalf("routers %+v", l.Routers)
	}
	if end, _ := l.Routers[0].Lifetime.Time(); end != boot.Add(100*sec+1800*sec) || !l.Routers[1].Lifetime.Over(boot) {
		t.Errorf("lifetimes %+v", l.Routers)
	}
	l.Routers[0].Addr = hostB // a copy
	if w.r.Learned().Routers[0].Addr != hostA {
		t.Error("Learned gives away its own slice")
	}
}

// The end of a router lifetime is news, to the instant; a router long silent is forgotten with its flags.
func TestRFC4861_6_3_5_Timeouts(t *testing.T) {
	w := newRWorld(t, half)
	w.step(LinkUp{})
	w.at(10*sec, raFrom(hostA, 100, "M"))
	w.until(110*sec - 1)
	w.wantChanged(10 * sec)
	w.until(110 * sec)
	w.wantChanged(10*sec, 110*sec)
	if l := w.r.Learned(); !l.Managed {
		t.Errorf("router lifetime over: %+v", l)
	}
	w.until(10*sec + forgetAfter - 1)
	w.wantChanged(10*sec, 110*sec)
	w.until(10*sec + forgetAfter)
	w.wantChanged(10*sec, 110*sec, 10*sec+forgetAfter)
	if l := w.r.Learned(); l.Heard || l.Managed {
		t.Errorf("forgotten: %+v", l)
	}
	// A longer lifetime keeps it for longer.
	w = newRWorld(t, half)
	w.step(LinkUp{})
	w.at(0, raFrom(hostA, 9000, "M"))
	w.until(9000*sec - 1)
	if !w.r.Learned().Heard {
		t.Error("forgotten within its lifetime")
	}
	w.until(9000 * sec)
	if w.r.Learned().Heard {
		t.Error("remembered")
	}
}

// "A node MUST silently discard" what is not valid: nothing is learned and solicitation goes on. CE 1.3.11.
func TestCE_1_3_11_InvalidAdvertisements(t *testing.T) {
	good := raFrom(hostA, 1800, "MO")
	for name, c := range map[string]struct {
		change func(*Received)
		want   DropReason
	}{
		"hop limit":   {func(r *Received) { r.HopLimit = 254 }, WrongHopLimit},
		"global":      {func(r *Received) { r.Src = dns1 }, WrongSource},
		"code":        {func(r *Received) { r.Data[1] = 1 }, WrongCode},
		"short":       {func(r *Received) { r.Data = r.Data[:15] }, TooShort},
		"empty":       {func(r *Received) { r.Data = nil }, TooShort},
		"option of 0": {func(r *Received) { r.Data = append(r.Data, 5, 0, 0, 0, 0, 0, 0, 0) }, OptionLengthZero},
	} {
		w := newRWorld(t, half)
		w.step(LinkUp{})
		ev := good
		ev.Data = slices.Clone(good.Data)
		c.change(&ev)
		w.at(sec, ev)
		w.until(5 * sec)
		w.wantSent(0, 4*sec)
		if l := w.r.Learned(); l.Heard || w.r.Dropped()[c.want.String()] != 1 {
			t.Errorf("%s: %+v, dropped %v", name, l, w.r.Dropped())
		}
	}
}

func TestCE_1_3_09_HostIgnoresSolicitations(t *testing.T) {
	w := newRWorld(t, half)
	w.step(LinkUp{})
	if a := w.at(sec, rsFrom(hostA)); len(a.Send) > 0 || w.r.Learned().Heard {
		t.Errorf("answered %v, learned %+v", a, w.r.Learned())
	}
}
