// SPDX-License-Identifier: MIT

package neighbor

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var (
	t0  = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	who = netip.MustParseAddr("fe80::200:5eff:fe00:5301")
	one = [6]byte{0x00, 0x00, 0x5e, 0x00, 0x53, 1}
	two = [6]byte{0x00, 0x00, 0x5e, 0x00, 0x53, 2}
)

// cache is one with a neighbor that is looked at; rand is one half, so that Reachable takes ReachableTime.
type cache struct {
	*testing.T
	*Cache
}

func start(t *testing.T) *cache { return &cache{t, New(func() float64 { return 0.5 })} }

// at does ev so many seconds after t0 and wants actions and state as text.
func (c *cache) at(seconds float64, ev Event, want string) {
	c.Helper()
	now := t0.Add(time.Duration(seconds * float64(time.Second)))
	got := text(c.Step(now, ev))
	if _, s := c.Lookup(now, who); s != Unknown {
		got = strings.TrimSpace(got + " " + s.String())
	}
	if got != want {
		c.Errorf("%v s, %T: %q, want %q", seconds, ev, got, want)
	}
}

// text has MACs by their last octet, and deadlines in seconds after t0.
func text(a Actions) string {
	var out []string
	for _, f := range a.Send {
		out = append(out, fmt.Sprintf("send %s to %d,", f.Data, f.To[5]))
	}
	for _, q := range a.Ask {
		if q.ToAll {
			out = append(out, "ask all,")
		} else {
			out = append(out, fmt.Sprintf("ask %d,", q.MAC[5]))
		}
	}
	for _, b := range a.Lost {
		out = append(out, fmt.Sprintf("lost %s,", b))
	}
	if !a.Wake.IsZero() {
		out = append(out, fmt.Sprintf("wake %v", a.Wake.Sub(t0).Seconds()))
	}
	return strings.TrimSuffix(strings.Join(out, " "), ",")
}

func packet(s string) Packet { return Packet{who, []byte(s)} }

// "the sender ... SHOULD retransmit Neighbor Solicitation messages approximately every RetransTimer milliseconds"; "If no
// Neighbor Advertisement is received after MAX_MULTICAST_SOLICIT solicitations, address resolution has failed" (RFC 4861
// section 7.2.2).
func TestNobodyAnswers(t *testing.T) {
	c := start(t)
	c.at(0, packet("a"), "ask all, wake 1 INCOMPLETE")
	c.at(0.5, packet("b"), "wake 1 INCOMPLETE")
	c.at(0.999, Tick{}, "wake 1 INCOMPLETE")
	c.at(1, Tick{}, "ask all, wake 2 INCOMPLETE")
	c.at(2, Tick{}, "ask all, wake 3 INCOMPLETE")
	c.at(2.999, Tick{}, "wake 3 INCOMPLETE")
	c.at(3, Tick{}, "lost a, lost b")
	c.at(4, packet("c"), "ask all, wake 5 INCOMPLETE")
}

// What waited goes in its order, and the neighbor is reachable for ReachableTime.
func TestAnswer(t *testing.T) {
	c := start(t)
	c.at(0, packet("a"), "ask all, wake 1 INCOMPLETE")
	c.at(0.1, packet("b"), "wake 1 INCOMPLETE")
	c.at(0.5, Answered{who, one, true, true, true}, "send a to 1, send b to 1 REACHABLE")
	c.at(1, Tick{}, "REACHABLE")
	c.at(30.499, packet("c"), "send c to 1 REACHABLE")
	c.at(30.5, Tick{}, "STALE")
	c.at(1000, Tick{}, "STALE")
}

// RFC 4861 section 7.3.3: DELAY_FIRST_PROBE_TIME after the first packet to one that is stale it is asked itself, three times,
// and packets go there meanwhile; then it is nobody, and looked for by all.
func TestSilentNeighbor(t *testing.T) {
	c := start(t)
	c.at(0, Asked{who, one}, "STALE")
	c.at(100, packet("a"), "send a to 1, wake 105 DELAY")
	c.at(104.999, packet("b"), "send b to 1, wake 105 DELAY")
	c.at(105, Tick{}, "ask 1, wake 106 PROBE")
	c.at(105.5, packet("c"), "send c to 1, wake 106 PROBE")
	c.at(106, Tick{}, "ask 1, wake 107 PROBE")
	c.at(107, Tick{}, "ask 1, wake 108 PROBE")
	c.at(107.999, Tick{}, "wake 108 PROBE")
	c.at(108, Tick{}, "")
	c.at(109, packet("d"), "ask all, wake 110 INCOMPLETE")
}

// Who says that it is there, without having been asked, is asked no more often for that.
func TestProbesGoOnWhenSomebodySpeaksUnasked(t *testing.T) {
	c := in(t, Probe)
	c.at(0.5, Answered{who, one, true, false, true}, "wake 1 PROBE")
	c.at(1, Tick{}, "ask 1, wake 2 PROBE")
	c.at(1.5, Asked{who, one}, "wake 2 PROBE")
	c.at(2, Tick{}, "ask 1, wake 3 PROBE")
	c.at(3, Tick{}, "")
}

func TestProbeIsAnswered(t *testing.T) {
	c := start(t)
	c.at(0, Asked{who, one}, "STALE")
	c.at(1, packet("a"), "send a to 1, wake 6 DELAY")
	c.at(6, Tick{}, "ask 1, wake 7 PROBE")
	c.at(6.9, Answered{who, one, true, true, true}, "REACHABLE")
	c.at(36.8, Tick{}, "REACHABLE")
	c.at(36.9, packet("b"), "send b to 1, wake 41.9 DELAY")
}

// in brings the neighbor, with MAC one, into a state at 0 s.
func in(t *testing.T, s State) *cache {
	c := start(t)
	switch s {
	case Incomplete:
		c.Step(t0, packet("a"))
	case Reachable:
		c.Step(t0, packet("a"))
		c.Step(t0, Answered{who, one, true, true, true})
	case Stale:
		c.Step(t0, Asked{who, one})
	case Delay, Probe:
		c.Step(t0.Add(-DelayFirstProbeTime), Asked{who, one})
		c.Step(t0.Add(-DelayFirstProbeTime), packet("a"))
		if s == Probe {
			c.Step(t0, Tick{})
		}
	}
	if _, got := c.Lookup(t0.Add(-1), who); got != s {
		t.Fatalf("%v, want %v", got, s)
	}
	return c
}

// What others say, in each state. RFC 4861 section 7.2.3 for who asks, section 7.2.5 and appendix C for who answers.
func TestWhatOthersSay(t *testing.T) {
	const solicited, override = true, true
	for _, tc := range []struct {
		ev   Event
		want map[State]string
	}{
		{Asked{who, one}, map[State]string{Unknown: "STALE 1", Incomplete: "STALE 1", Reachable: "REACHABLE 1", Stale: "STALE 1", Delay: "DELAY 1", Probe: "PROBE 1"}},
		{Asked{who, two}, map[State]string{Unknown: "STALE 2", Incomplete: "STALE 2", Reachable: "STALE 2", Stale: "STALE 2", Delay: "STALE 2", Probe: "STALE 2"}},
		{Answered{who, one, true, solicited, override}, map[State]string{Unknown: " 0", Incomplete: "REACHABLE 1", Reachable: "REACHABLE 1", Stale: "REACHABLE 1", Delay: "REACHABLE 1", Probe: "REACHABLE 1"}},
		{Answered{who, one, true, solicited, false}, map[State]string{Unknown: " 0", Incomplete: "REACHABLE 1", Reachable: "REACHABLE 1", Stale: "REACHABLE 1", Delay: "REACHABLE 1", Probe: "REACHABLE 1"}},
		{Answered{who, one, true, false, override}, map[State]string{Unknown: " 0", Incomplete: "STALE 1", Reachable: "REACHABLE 1", Stale: "STALE 1", Delay: "DELAY 1", Probe: "PROBE 1"}},
		{Answered{who, two, true, solicited, override}, map[State]string{Unknown: " 0", Incomplete: "REACHABLE 2", Reachable: "REACHABLE 2", Stale: "REACHABLE 2", Delay: "REACHABLE 2", Probe: "REACHABLE 2"}},
		{Answered{who, two, true, solicited, false}, map[State]string{Unknown: " 0", Incomplete: "REACHABLE 2", Reachable: "STALE 1", Stale: "STALE 1", Delay: "DELAY 1", Probe: "PROBE 1"}},
		{Answered{who, two, true, false, override}, map[State]string{Unknown: " 0", Incomplete: "STALE 2", Reachable: "STALE 2", Stale: "STALE 2", Delay: "STALE 2", Probe: "STALE 2"}},
		{Answered{who, [6]byte{}, false, solicited, false}, map[State]string{Unknown: " 0", Incomplete: "INCOMPLETE 0", Reachable: "REACHABLE 1", Stale: "REACHABLE 1", Delay: "REACHABLE 1", Probe: "REACHABLE 1"}},
		{Answered{who, [6]byte{}, false, false, override}, map[State]string{Unknown: " 0", Incomplete: "INCOMPLETE 0", Reachable: "REACHABLE 1", Stale: "STALE 1", Delay: "DELAY 1", Probe: "PROBE 1"}},
	} {
		for s, want := range tc.want {
			c := in(t, s)
			c.Step(t0, tc.ev)
			mac, got := c.Lookup(t0, who)
			if x := fmt.Sprintf("%v %d", got, mac[5]); x != want {
				t.Errorf("%v, %+v: %q, want %q", s, tc.ev, x, want)
			}
		}
	}
}

// Reachable takes between one half and one and a half of ReachableTime.
func TestReachableTimeIsRandom(t *testing.T) {
	for rand, want := range map[float64]time.Duration{0: 15 * time.Second, 0.999: 45 * time.Second} {
		c := New(func() float64 { return rand })
		c.Step(t0, Asked{who, one})
		c.Step(t0, Answered{who, one, true, true, true})
		for _, d := range []time.Duration{-time.Second, time.Second} {
			if _, s := c.Lookup(t0.Add(want+d), who); (s == Reachable) != (d < 0) {
				t.Errorf("%v at %v: %v", rand, want+d, s)
			}
		}
	}
}

func other(i int) netip.Addr {
	a := who.As16()
	a[8], a[9] = byte(i>>8), byte(i)
	return netip.AddrFrom16(a)
}

// A queue keeps the newest, the table those that are used.
func TestBounds(t *testing.T) {
	c := start(t)
	for i := range MaxWaiting + 2 {
		c.Step(t0, packet(string(rune('a'+i))))
	}
	c.at(0.1, Answered{who, one, true, true, true}, "send c to 1, send d to 1, send e to 1, send f to 1, send g to 1, send h to 1, send i to 1, send j to 1 REACHABLE")
	for i := range 2 * MaxEntries {
		c.Step(t0, Packet{other(i), []byte("x")})
	}
	if c.Len() != MaxEntries {
		t.Errorf("%d entries", c.Len())
	}
	c.at(0.2, packet("k"), "send k to 1, wake 1 REACHABLE")

	c = start(t)
	for i := range MaxEntries {
		c.Step(t0, Asked{other(i), two})
	}
	used := t0.Add(30 * time.Second)
	c.Step(used, Packet{other(7), []byte("x")})
	c.Step(used, Answered{other(7), two, true, true, true})
	if c.at(59.999, Packet{who, []byte("a")}, "lost a"); c.Len() != MaxEntries {
		t.Errorf("%d entries", c.Len())
	}
	if c.at(60, Packet{who, []byte("b")}, "ask all, wake 61 INCOMPLETE"); c.Len() != 2 {
		t.Errorf("%d entries", c.Len())
	}
	if c.at(61, LinkDown{}, ""); c.Len() != 0 {
		t.Errorf("%d entries on a link that is down", c.Len())
	}
}

// In whatever order things happen, a packet leaves once, is lost once or waits, within the bounds, and who waits for time is
// woken.
func FuzzStep(f *testing.F) {
	f.Add([]byte{0, 8, 16, 1, 9, 3, 255, 3, 100})
	f.Add([]byte{2, 0, 3, 60, 0, 3, 20, 3, 10, 3, 10, 3, 10, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		c := New(func() float64 { return 0.25 })
		now := t0
		given, gone := 0, 0
		for i, op := range ops {
			a := other(int(op >> 5))
			mac := [6]byte{0x00, 0x00, 0x5e, 0x00, 0x53, op >> 4 & 1}
			var ev Event = Tick{}
			switch op & 7 {
			case 0, 1:
				ev = Packet{a, []byte{byte(i)}}
				given++
			case 2:
				ev = Asked{a, mac}
			case 3:
				now = now.Add(time.Duration(op>>3) * 200 * time.Millisecond)
			case 4, 5:
				ev = Answered{a, mac, op&64 == 0, op&8 != 0, op&1 != 0}
			case 6:
				if op == 255 {
					ev = LinkDown{}
				}
			}
			act := c.Step(now, ev)
			gone += len(act.Send) + len(act.Lost)
			waiting, pending := 0, false
			for _, e := range c.entries {
				waiting += len(e.waiting)
				pending = pending || e.state == Incomplete || e.state == Delay || e.state == Probe
				if len(e.waiting) > MaxWaiting || e.state != Incomplete && len(e.waiting) > 0 || e.asked > MaxMulticastSolicit {
					t.Fatalf("%+v", e)
				}
			}
			if gone+waiting > given || pending == act.Wake.IsZero() || ev == (Event)(Tick{}) && pending && !act.Wake.After(now) {
				t.Fatalf("after %v: %d given, %d gone, %d wait; %+v", ops[:i+1], given, gone, waiting, act)
			}
		}
	})
}
