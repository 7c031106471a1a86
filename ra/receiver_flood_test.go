// SPDX-License-Identifier: MIT

package ra

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// A flood from ever new sources: the list is bounded, the router in use stays, and there is no storm of Changed.
func TestReceiverFlood(t *testing.T) {
	for _, seconds := range []uint16{0, 1800} {
		w := newRWorld(t, seeded(1))
		w.step(LinkUp{})
		w.at(sec, raFrom(ourLL, 1800, "O"))
		for i := range 20000 {
			w.at(2*sec+time.Duration(i)*time.Millisecond, raFrom(numbered(i), seconds, []string{"M", ""}[i%2]))
			if n := len(w.r.routers); n > maxLearned {
				t.Fatalf("%d routers", n)
			}
		}
		l := w.r.Learned()
		if !slices.ContainsFunc(l.Routers, func(x LearnedRouter) bool { return x.Addr == ourLL }) {
			t.Errorf("lifetime %d: the router in use was pushed out: %+v", seconds, l.Routers)
		}
		if n := len(w.changed); n > changeBurst+2 {
			t.Errorf("lifetime %d: changed %d times in 22 s", seconds, n)
		}
		if n := w.r.Dropped()["too many routers"]; (n > 0) != (seconds > 0) {
			t.Errorf("lifetime %d: dropped %v", seconds, w.r.Dropped())
		}
	}
}

// One router that changes its mind all the time: Changed is rationed, and the final state is always told.
func TestReceiverFlipFlop(t *testing.T) {
	w := newRWorld(t, half)
	w.step(LinkUp{})
	for i := range 1001 {
		w.at(time.Duration(i)*100*time.Millisecond, raFrom(hostA, 1800, []string{"M", "O"}[i%2]))
	}
	if n := len(w.changed); n < 5 || n > changeBurst+10 {
		t.Errorf("changed %d times in 100 s", n)
	}
	w.until(111 * sec)
	if w.r.told != w.r.summary(boot.Add(w.now)) || !w.r.told.managed {
		t.Errorf("told %+v", w.r.told)
	}
	n := len(w.changed)
	w.until(140 * sec)
	if len(w.changed) != n {
		t.Errorf("changed at %v with nothing new", w.changed[n:])
	}
}

func TestReceiverStops(t *testing.T) {
	w := newRWorld(t, half)
	w.step(LinkUp{})
	w.at(sec, Stop{Final: true})
	if !w.wake.IsZero() {
		t.Errorf("wake %v", w.wake)
	}
	w.at(40*sec, LinkUp{})
	w.wantSent(0)
}

// Events of a Sender, and ticks too early, do nothing.
func TestReceiverIgnoresWhatIsNotItsOwn(t *testing.T) {
	w := newRWorld(t, half)
	for _, ev := range []Event{Tick{}, PortUp{}, SetContent{Content: content(forever(prefixA))}, LinkDown{}} {
		if w.step(ev); !w.wake.IsZero() {
			t.Errorf("%T: wake %v", ev, w.wake)
		}
	}
	w.step(LinkUp{})
	wake := w.wake
	for _, ev := range []Event{Tick{}, PortUp{}, SetContent{Content: content(forever(prefixA))}} {
		if w.at(sec, ev); w.wake != wake {
			t.Errorf("%T: wake %v, want %v", ev, w.wake, wake)
		}
	}
	w.wantSent(0)
}

// Random histories: bounded, never a wake in the past, and solicitations never closer than the backoff allows.
func playReceiver(t failer, c choices, seed uint64, steps int) {
	w := newRWorld(t, seeded(seed))
	w.r.cfg.PointToPoint = seed%2 == 0
	for range steps {
		var ev Event
		switch c.pick(8) {
		case 0, 1:
			ev = LinkUp{HasMAC: c.pick(2) > 0}
		case 2:
			ev = LinkDown{}
		case 3, 4:
			ev = raFrom(numbered(c.pick(12)), uint16(c.pick(3)*1800), []string{"", "M", "O", "MO"}[c.pick(4)])
		case 5:
			ev = dnsFrom(numbered(c.pick(3)), RDNSS{uint32(c.pick(3) * 100), []netip.Addr{dns1, dns2}[c.pick(2):]}, DNSSL{uint32(c.pick(2) * 300), []string{"lan.example"}})
		case 6:
			ev = Received{Src: hostA, HopLimit: 254 + c.pick(2), Data: rsBytes}
		default:
			ev = Tick{}
		}
		w.at(w.now+pauses[c.pick(len(pauses))], ev)
		if n := len(w.r.routers); n > maxLearned {
			t.Fatalf("%d routers", n)
		}
		for _, x := range w.r.dns {
			if x.until.Over(boot.Add(w.now)) || len(w.r.dns) > maxLearnedServers+maxLearnedDomains {
				t.Fatalf("at %v: %+v", w.now, w.r.dns)
			}
		}
		if l := w.r.Learned(); l.Heard != (len(l.Routers) > 0) || !l.Heard && (l.Managed || l.OtherConfig) || l.NoRouter && w.r.conclude.After(boot) {
			t.Fatalf("learned %+v", l)
		}
	}
	for i := 1; i < len(w.sent); i++ {
		if gap := w.sent[i] - w.sent[i-1]; gap < RtrSolicitationInterval {
			t.Fatalf("solicitations %v apart", gap)
		}
	}
	w.step(LinkUp{})
	w.at(w.now+30*sec, raFrom(hostA, 1800, "M"))
	w.until(w.now + 2*changeRefill)
	if w.r.news(boot.Add(w.now)) {
		t.Fatalf("told %+v, so is %+v", w.r.told, w.r.summary(boot.Add(w.now)))
	}
}

func TestReceiverRandomHistories(t *testing.T) {
	for seed := range uint64(1000) {
		playReceiver(t, seededChoices{seeded(seed)}, seed, 60)
	}
}

func FuzzReceiverStep(f *testing.F) {
	for i := range 4 {
		f.Add(uint64(i), []byte(fmt.Sprintf("%d0 3 17 22 4 0 1 2 3 4 5 6 7 8 9", i)))
	}
	f.Fuzz(func(t *testing.T, seed uint64, b []byte) {
		b = b[:min(len(b), 600)]
		playReceiver(t, byteChoices{&b}, seed, len(b)/4)
	})
}

// The receiver's share of hostile octets: any message that is accepted leaves one router of that source.
func FuzzReceiverReceive(f *testing.F) {
	for _, g := range golden {
		f.Add(unhex(f, g.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReceiver(ReceiverConfig{PointToPoint: true}, half)
		r.Step(boot, LinkUp{})
		r.Step(boot, Received{Src: hostA, HopLimit: 255, Data: b})
		if l := r.Learned(); l.Heard == (len(r.Dropped()) > 0) {
			t.Fatalf("learned %+v, dropped %v", l, r.Dropped())
		}
	})
}
