// SPDX-License-Identifier: MIT

package ra

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// "For the first few advertisements (up to MAX_INITIAL_RTR_ADVERTISEMENTS) sent from an interface when
// it becomes an advertising interface, if the randomly chosen interval is greater than
// MAX_INITIAL_RTR_ADVERT_INTERVAL, the timer SHOULD be set to MAX_INITIAL_RTR_ADVERT_INTERVAL instead."
func TestRFC4861_6_2_4_FirstThreeAreQuick(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	wantSent(t, w.sent, "0s ff02::1")
	wantSent(t, w.until(600*time.Second), "16s ff02::1", "32s ff02::1", "9m17s ff02::1") // 32 s + 525 s
}

// "Whenever a multicast advertisement is sent from an interface, the timer is reset to a
// uniformly distributed random value between the interface's configured MinRtrAdvInterval and
// MaxRtrAdvInterval".
func TestRFC4861_6_2_4_IntervalIsUniform(t *testing.T) {
	w := newWorld(t, Config{}, seeded(1))
	w.step(linkUp)
	w.step(SetContent{Content: content(forever(prefixA))})
	w.until(32 * time.Second)
	const n = 10000
	last, sum := w.now, time.Duration(0)
	for range n {
		w.now = w.wake.Sub(boot)
		w.step(Tick{})
		gap := w.now - last
		if gap < 450*time.Second || gap > 600*time.Second {
			t.Fatalf("gap %v, want 450s to 600s", gap)
		}
		last, sum = w.now, sum+gap
	}
	if mean := (sum / n).Seconds(); math.Abs(mean-525) > 525*0.02 {
		t.Errorf("mean gap %v s, want 525 within 2 %%", mean)
	}
}

// "MinRtrAdvInterval […] MUST be no less than 3 seconds and no greater than .75 * MaxRtrAdvInterval."
func TestRFC4861_6_2_1_IntervalRules(t *testing.T) {
	for _, c := range []struct {
		min, max time.Duration
		ok       bool
		use      Config
	}{
		{0, 0, true, Config{MinInterval: 450 * time.Second, MaxInterval: 600 * time.Second}},
		{0, 4 * time.Second, true, Config{MinInterval: 3 * time.Second, MaxInterval: 4 * time.Second}},
		{0, 3 * time.Second, false, Config{MinInterval: 3 * time.Second, MaxInterval: 4 * time.Second}},
		{0, 1800 * time.Second, true, Config{MinInterval: 1350 * time.Second, MaxInterval: 1800 * time.Second}},
		{0, 1801 * time.Second, false, Config{MinInterval: 1350 * time.Second, MaxInterval: 1800 * time.Second}},
		{2 * time.Second, 600 * time.Second, false, Config{MinInterval: 3 * time.Second, MaxInterval: 600 * time.Second}},
		{451 * time.Second, 0, false, Config{MinInterval: 450 * time.Second, MaxInterval: 600 * time.Second}},
		{3 * time.Second, 0, true, Config{MinInterval: 3 * time.Second, MaxInterval: 600 * time.Second}},
	} {
		cfg := Config{MinInterval: c.min, MaxInterval: c.max}
		if err := cfg.Check(); (err == nil) != c.ok {
			t.Errorf("Config{%v, %v}.Check() = %v", c.min, c.max, err)
		}
		if got := NewSender(cfg, half).cfg; got != c.use {
			t.Errorf("NewSender(%v, %v) uses %v, want %v", c.min, c.max, got, c.use)
		}
	}
	w := newWorld(t, Config{MaxInterval: 4 * time.Second}, seeded(2))
	w.step(linkUp)
	w.step(SetContent{Content: content(forever(prefixA))})
	ras := w.until(1000 * time.Second)
	for i := 1; i < len(ras); i++ {
		if gap := ras[i].at - ras[i-1].at; gap < 3*time.Second || gap > 4*time.Second {
			t.Fatalf("gap %v with MaxRtrAdvInterval 4 s", gap)
		}
	}
}

// "In all cases, Router Advertisements sent in response to a Router Solicitation MUST be delayed by a
// random time between 0 and MAX_RA_DELAY_TIME seconds."
func TestRFC4861_6_2_6_SolicitedAnswerIsDelayed(t *testing.T) {
	for _, c := range []struct {
		rand float64
		want string
	}{{0, "1m40s fe80::a"}, {0.5, "1m40.25s fe80::a"}, {0.998, "1m40.499s fe80::a"}} {
		w := startWorld(t, func() float64 { return c.rand }, content(forever(prefixA)))
		w.until(100 * time.Second)
		periodic, n := w.s.next, len(w.sent)
		w.step(rsFrom(hostA))
		w.until(101 * time.Second)
		wantSent(t, w.sent[n:], c.want)
		if w.s.next != periodic {
			t.Errorf("the unicast answer moved the periodic timer from %v to %v", periodic, w.s.next)
		}
	}
}

// RFC 4861 section 6.2.4 counts advertisements of the interface timer; a unicast answer is none.
func TestRFC4861_6_2_6_UnicastDoesNotCountAsInitial(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.at(time.Second, rsFrom(hostA))
	wantSent(t, w.until(33*time.Second), "1.25s fe80::a", "16s ff02::1", "32s ff02::1")
}

// "(If a single advertisement is sent in response to multiple solicitations, the delay is relative to
// the first solicitation.)"
func TestRFC4861_6_2_6_OneAnswerToSeveralSolicitations(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.at(100*time.Second, rsFrom(hostA))
	w.at(100*time.Second+200*time.Millisecond, rsFrom(hostA))
	wantSent(t, w.until(110*time.Second), "1m40.25s fe80::a")
}

// An answer to the unspecified address can only go to all, and then "the interface's interval timer is
// reset to a new random value, as if an unsolicited advertisement had just been sent".
func TestRFC4861_6_2_6_UnspecifiedIsAnsweredToAll(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.at(100*time.Second, rsFrom(netip.IPv6Unspecified()))
	wantSent(t, w.until(700*time.Second), "1m40.25s ff02::1", "10m25.25s ff02::1") // 525 s later
}

// A source that is not link-local might be routed away from this LAN.
func TestRFC4861_6_2_6_GlobalSourceIsAnsweredToAll(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.at(100*time.Second, rsFrom(netip.MustParseAddr("2001:db8:a::5")))
	wantSent(t, w.until(101*time.Second), "1m40.25s ff02::1")
}

// "If the router sent a multicast Router Advertisement […] within the last MIN_DELAY_BETWEEN_RAS
// seconds, schedule the advertisement to be sent at a time corresponding to MIN_DELAY_BETWEEN_RAS plus
// the random value after the previous advertisement was sent."
func TestRFC4861_6_2_6_MulticastRAsKeepDistance(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.at(100*time.Second, rsFrom(netip.IPv6Unspecified()))
	w.at(101*time.Second, rsFrom(netip.IPv6Unspecified())) // the last one was at 100.25 s
	w.at(102*time.Second, rsFrom(netip.IPv6Unspecified()))
	wantSent(t, w.until(110*time.Second), "1m43.5s ff02::1") // 100.25 + 3 + 0.25
}

// "consecutive Router Advertisements sent to the all-nodes multicast address MUST be rate limited to no
// more than one advertisement every MIN_DELAY_BETWEEN_RAS seconds."
func TestRFC4861_6_2_6_StormOfUnspecifiedSolicitations(t *testing.T) {
	w := startWorld(t, seeded(3), content(forever(prefixA)))
	w.until(100 * time.Second)
	n := len(w.sent)
	for i := range 1000 {
		w.at(100*time.Second+time.Duration(i)*10*time.Millisecond, rsFrom(netip.IPv6Unspecified()))
	}
	if got := len(w.sent) - n; got > 4 || got < 3 {
		t.Errorf("%d multicast RAs in 10 s, want 3 or 4", got)
	}
}

// "If the computed value corresponds to a time later than the time the next multicast Router
// Advertisement is scheduled to be sent, ignore the random delay and send the advertisement at the
// already-scheduled time."
func TestRFC4861_6_2_6_PendingMulticastIsTheAnswer(t *testing.T) {
	for _, rand := range []float64{0, 0.5, 0.999} {
		w := startWorld(t, func() float64 { return rand }, content(forever(prefixA)))
		w.at(16*time.Second-100*time.Millisecond, rsFrom(hostA))
		w.step(rsFrom(netip.IPv6Unspecified()))
		wantSent(t, w.until(20*time.Second), "16s ff02::1")
	}
}

// A multicast that leaves while a unicast answer waits serves that host too.
func TestRFC4861_6_2_6_MulticastServesThoseWhoWait(t *testing.T) {
	w := startWorld(t, func() float64 { return 0.9 }, content(forever(prefixA)))
	w.at(100*time.Second, rsFrom(hostA))
	wantSent(t, w.at(100*time.Second+10*time.Millisecond, PortUp{}), "1m40.01s ff02::1")
	wantSent(t, w.until(110*time.Second))
}

// RFC 7772 wants solicitations with a source answered by unicast, so that sleeping hosts are not woken.
func TestRFC7772_SolicitedAnswerIsUnicast(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.at(100*time.Second, rsFrom(hostA))
	w.step(rsFrom(hostB))
	wantSent(t, w.until(110*time.Second), "1m40.25s fe80::a", "1m40.25s fe80::b")
}

// RFC 7772 wants no more than about seven multicast RAs an hour where devices have batteries: what the
// defaults do on average in a quiet network.
func TestRFC7772_FewMulticastsEachHour(t *testing.T) {
	w := startWorld(t, seeded(4), content(forever(prefixA)))
	w.until(time.Hour)
	if n := len(w.until(101 * time.Hour)); n > 700 {
		t.Errorf("%d multicast RAs in 100 hours, want at most 700", n)
	}
}

// A unicast RA needs neighbor discovery, which some switches with MLD snooping break.
func TestRA_10_SecondSolicitationIsAnsweredToAll(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.at(100*time.Second, rsFrom(hostA))
	w.at(104*time.Second, rsFrom(hostA))
	wantSent(t, w.until(105*time.Second), "1m44.25s ff02::1")
	w.at(108*time.Second, rsFrom(hostA)) // the last answer went to all
	wantSent(t, w.until(109*time.Second), "1m48.25s fe80::a")
	w.at(120*time.Second, rsFrom(hostA)) // 10 s have passed
	wantSent(t, w.until(121*time.Second), "2m0.25s fe80::a")
}

func TestRA_09_OneHostCannotMakeUsTalk(t *testing.T) {
	w := startWorld(t, seeded(5), content(forever(prefixA)))
	w.until(100 * time.Second)
	n := len(w.sent)
	for i := range 1000 {
		w.at(100*time.Second+time.Duration(i)*time.Millisecond, rsFrom(hostA))
	}
	for i := range 1000 {
		w.at(101*time.Second+time.Duration(i)*8*time.Millisecond, rsFrom(hostA))
	}
	if got := len(w.sent) - n; got < 1 || got > answerBurst {
		t.Errorf("%d RAs for 2000 solicitations of one host in 9 s, want 1 to %d", got, answerBurst)
	}
	st := w.s.Stats()
	if st.RSReceived != 2000 {
		t.Errorf("RSReceived = %d", st.RSReceived)
	}
	// What is neither sent nor limited was served by an answer that was under way.
	if st.Dropped[RateLimited.String()] == 0 {
		t.Errorf("Dropped = %v, want some rate limited", st.Dropped)
	}
}

func TestManyHostsAreAnsweredByOneMulticast(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.until(100 * time.Second)
	for i := range 300 {
		a := hostA.As16()
		binary.BigEndian.PutUint16(a[12:], uint16(i+1))
		w.step(rsFrom(netip.AddrFrom16(a)))
	}
	if len(w.s.answers) != maxAnswers {
		t.Errorf("%d answers wait, want %d", len(w.s.answers), maxAnswers)
	}
	if len(w.s.hosts) != maxHosts {
		t.Errorf("%d hosts remembered, want %d", len(w.s.hosts), maxHosts)
	}
	wantSent(t, w.until(105*time.Second), "1m40.25s ff02::1")
}

func TestHostsForgetTheOneNotHeardForLongest(t *testing.T) {
	var h hosts
	addr := func(i int) netip.Addr {
		a := hostA.As16()
		binary.BigEndian.PutUint16(a[12:], uint16(i))
		return netip.AddrFrom16(a)
	}
	for i := range maxHosts {
		h.heard(boot.Add(time.Duration(i)*time.Second), addr(i))
	}
	h.heard(boot.Add(time.Hour), addr(0))
	h.heard(boot.Add(time.Hour), addr(maxHosts))
	known := func(a netip.Addr) bool {
		return slices.ContainsFunc(h, func(e host) bool { return e.addr == a })
	}
	if !known(addr(0)) || known(addr(1)) || !known(addr(maxHosts)) || len(h) != maxHosts {
		t.Errorf("len %d; first %v, second %v, newest %v known", len(h), known(addr(0)), known(addr(1)), known(addr(maxHosts)))
	}
}

// The bucket refills by one each ten seconds, up to the burst.
func TestHostBucket(t *testing.T) {
	var h hosts
	e := h.heard(boot, hostA)
	for i, c := range []struct {
		at time.Duration
		ok bool
	}{{0, true}, {0, true}, {0, true}, {0, false}, {9999 * time.Millisecond, false}, {15 * time.Second, true},
		{15 * time.Second, false}, {20 * time.Second, true}, {20 * time.Second, false}, {1000 * time.Second, true}, {1000 * time.Second, true}, {1000 * time.Second, true},
		{1000 * time.Second, false}} {
		if got := e.bucket.Take(boot.Add(c.at), 1); got != c.ok {
			t.Errorf("take %d at %v = %v, want %v", i, c.at, got, c.ok)
		}
	}
}

// "A router MUST silently discard any received Router Solicitation messages that do not satisfy all of
// the following validity checks".
func TestCE_2_4_15_InvalidSolicitationsAreIgnored(t *testing.T) {
	sllaFrom := append(slices.Clone(rsBytes), 1, 1, 0, 0, 0x5e, 0, 0x53, 9)
	for _, c := range []struct {
		name string
		ev   Received
		want DropReason
	}{
		{"hop limit", Received{hostA, 254, rsBytes}, WrongHopLimit},
		{"code", Received{hostA, 255, []byte{133, 1, 0, 0, 0, 0, 0, 0}}, WrongCode},
		{"seven octets", Received{hostA, 255, rsBytes[:7]}, TooShort},
		{"empty", Received{hostA, 255, nil}, TooShort},
		{"option length 0", Received{hostA, 255, append(slices.Clone(rsBytes), 1, 0, 0, 0, 0, 0, 0, 0)}, OptionLengthZero},
		{"option past the end", Received{hostA, 255, append(slices.Clone(rsBytes), 1, 2, 0, 0, 0, 0, 0, 0)}, OptionTruncated},
		{"one octet left", Received{hostA, 255, append(slices.Clone(rsBytes), 1)}, OptionTruncated},
		{"link-layer from ::", Received{netip.IPv6Unspecified(), 255, sllaFrom}, LinkLayerFromUnspecified},
		{"from multicast", Received{netip.MustParseAddr("ff02::1"), 255, rsBytes}, WrongSource},
		{"from IPv4", Received{netip.MustParseAddr("192.0.2.1"), 255, rsBytes}, WrongSource},
		{"no source", Received{netip.Addr{}, 255, rsBytes}, WrongSource},
		{"from ourselves", Received{ourLL, 255, rsBytes}, OwnMessage},
		{"echo request", Received{hostA, 255, []byte{128, 0, 0, 0, 0, 0, 0, 0}}, WrongType},
	} {
		w := startWorld(t, half, content(forever(prefixA)))
		w.at(100*time.Second, c.ev)
		wantSent(t, w.until(110*time.Second))
		st := w.s.Stats()
		if st.RSReceived != 0 || len(st.Dropped) != 1 || st.Dropped[c.want.String()] != 1 {
			t.Errorf("%s: received %d, dropped %v, want %v once", c.name, st.RSReceived, st.Dropped, c.want)
		}
	}
}

// "The contents of […] any unrecognized options MUST be ignored."
func TestCE_2_4_17_SolicitationsWithUnknownOptionsAreAnswered(t *testing.T) {
	for name, opts := range map[string][]byte{
		"unknown":      {200, 1, 1, 2, 3, 4, 5, 6},
		"long SLLA":    {1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"nonce":        {14, 1, 1, 2, 3, 4, 5, 6},
		"SLLA":         {1, 1, 0, 0, 0x5e, 0, 0x53, 9},
		"broken RDNSS": {25, 1, 0, 0, 0, 0, 0, 0},
	} {
		w := startWorld(t, half, content(forever(prefixA)))
		w.at(100*time.Second, Received{hostA, 255, append(slices.Clone(rsBytes), opts...)})
		if got := w.until(110 * time.Second); len(got) != 1 || got[0].to != hostA {
			t.Errorf("%s: sent %v, want one RA to %v", name, got, hostA)
		}
	}
}

// Only advertising interfaces answer; on return it is as when the interface becomes an advertising one.
func TestRFC4861_6_2_6_PausedSenderIgnoresSolicitations(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.at(100*time.Second, rsFrom(hostA))
	w.step(LinkDown{})
	if !w.wake.IsZero() {
		t.Errorf("wake at %v while the link is down", w.wake)
	}
	w.at(200*time.Second, rsFrom(hostA))
	w.at(250*time.Second, PortUp{})
	if n := w.s.Stats().Dropped[NotAdvertising.String()]; n != 1 {
		t.Errorf("dropped as not advertising: %d, want 1", n)
	}
	wantSent(t, w.until(300*time.Second))
	wantSent(t, w.step(linkUp), "5m0s ff02::1")
	wantSent(t, w.until(340*time.Second), "5m16s ff02::1", "5m32s ff02::1")
}

// Nothing to say: hosts that hear nothing keep soliciting, one that heard any RA stops (Linux 6.18).
func TestSilentUntilThereIsAPrefix(t *testing.T) {
	w := startWorld(t, half, Content{DefaultRouter: true, OtherConfig: true, RDNSS: []netip.Addr{dns2}})
	w.step(rsFrom(hostA))
	w.step(PortUp{})
	w.at(10*time.Second, SetContent{Content: content(lease(prefixA, 0, 5, 9))}) // over already
	w.at(11*time.Second, LinkDown{})
	w.at(12*time.Second, linkUp)
	wantSent(t, w.until(2*time.Hour))
	wantSent(t, w.step(SetContent{Content: content(forever(prefixA))}), "2h0m0s ff02::1")
}

func TestLinkUpAgainIsNoNews(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.at(100*time.Second, linkUp)
	wantSent(t, w.until(400*time.Second))
}

// The source link-layer address is that "of the interface from which the Router Advertisement is sent".
func TestRFC4861_4_2_ChangedMACIsAdvertised(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	up := linkUp
	up.MAC[5] = 0x77
	got := w.at(100*time.Second, up)
	wantSent(t, got, "1m40s ff02::1")
	if ll, _ := got[0].ra.sourceLinkLayer(); ll != SourceLinkLayer(up.MAC) {
		t.Errorf("source link-layer address %x, want %x", ll, up.MAC)
	}
	wantSent(t, w.until(140*time.Second), "1m56s ff02::1", "2m12s ff02::1")
	up.HasMAC = false
	got = w.step(up)
	if _, ok := got[0].ra.sourceLinkLayer(); ok {
		t.Error("an interface without MAC sends a source link-layer address")
	}
}

// "Source Address: MUST be the link-local address assigned to the interface".
func TestRFC4861_4_2_NoLinkLocalNoAdvertisement(t *testing.T) {
	w := newWorld(t, Config{}, half)
	w.step(LinkUp{MAC: ourMAC, HasMAC: true})
	w.model.up = false
	w.step(SetContent{Content: content(forever(prefixA))})
	wantSent(t, w.until(time.Hour))
	if !w.hasNote("no link-local address") {
		t.Errorf("notes %v", w.notes)
	}
	wantSent(t, w.step(linkUp), "1h0m0s ff02::1")
}

// A host behind a port that came up hears the RA 1 to 2 s before its own solicitation could leave.
func TestPortUp(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	wantSent(t, w.at(100*time.Second, PortUp{}), "1m40s ff02::1")
	wantSent(t, w.at(101*time.Second, PortUp{}))
	wantSent(t, w.at(102*time.Second, PortUp{}))
	wantSent(t, w.until(400*time.Second), "1m43s ff02::1")
}

func TestTickTooEarlyDoesNothing(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	wake := w.wake
	wantSent(t, w.at(16*time.Second-time.Nanosecond, Tick{}))
	if w.wake != wake {
		t.Errorf("wake moved from %v to %v", wake, w.wake)
	}
	w.now = 16 * time.Second
	wantSent(t, w.step(Tick{}), "16s ff02::1")
}

// Suspend: the deadline is long past when the machine wakes up.
func TestLateTickSendsOne(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.now = 48 * time.Hour
	wantSent(t, w.step(Tick{}), "48h0m0s ff02::1")
	wantSent(t, w.until(48*time.Hour+10*time.Second))
}

func TestRA_40_TwoLANsAreIndependent(t *testing.T) {
	w1 := startWorld(t, half, content(forever(prefixA)))
	w2 := newWorld(t, Config{}, half)
	w2.now = 7 * time.Second
	w2.step(linkUp)
	w2.step(SetContent{Content: content(forever(prefixB))})
	wantSent(t, w1.until(17*time.Second), "16s ff02::1")
	wantSent(t, w2.until(24*time.Second), "23s ff02::1")
	wantSent(t, w1.step(Stop{Final: true}), "17s ff02::1")
	wantSent(t, w2.until(40*time.Second), "39s ff02::1")
}
