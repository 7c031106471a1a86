// SPDX-License-Identifier: MIT

package netstack

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"oasis6/internal/ip6pkt"
)

// Whatever the box does not send on is in the counters, by why.
func TestWhatIsNotSentOnIsCounted(t *testing.T) {
	w := ready(t)
	if c := w.p.Counters(); c.Refused == nil || len(c.Lost) > 0 {
		t.Fatalf("at the start %+v", c)
	}
	w.fromHost(boxMAC, datagram(netip.MustParseAddr("2001:db8:77::1"), far, 100)) // of no prefix of ours
	w.fromHub(ip6pkt.UDP(far, host, 9, 1000, 64, make([]byte, 100)))              // nobody has asked for it
	w.fromHub(make([]byte, 50))                                                   // no IPv6
	w.fromHost(boxMAC, datagram(host, far, 100))
	for range 100 { // for a host that does not answer, and for which few can wait
		w.fromHub(ip6pkt.UDP(far, host, 9, 1000, 64, make([]byte, 100)))
	}
	c := w.p.Counters()
	for why, want := range map[string]uint64{"source not ours, RFC 7084 S-2 and L-14": 1, "unsolicited": 1} {
		if c.Refused[why] != want {
			t.Errorf("refused: %d %s, want %d", c.Refused[why], why, want)
		}
	}
	for why, want := range map[loss]uint64{lostMalformed: 1, lostWaiting: 84} {
		if c.Lost[why.String()] != want {
			t.Errorf("lost: %d %s, want %d", c.Lost[why.String()], why, want)
		}
	}
	if c.Flows == 0 {
		t.Errorf("%d flows, want some", c.Flows)
	}
	if err := w.p.Watch(nil); err != nil { // what a link has lost is not forgotten with it
		t.Fatal(err)
	}
	if err := w.p.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := w.p.Counters().Lost[lostWaiting.String()]; n < 84 {
		t.Errorf("%d lost for want of room when the LAN has gone, want 84 and more", n)
	}
}

// What a link that is up does not take is counted, what one without carrier does not take is not.
func TestWhatTheLinkDoesNotTakeIsCounted(t *testing.T) {
	w := ready(t)
	r := w.p.ports["br-lan"]
	r.sent(nil)
	r.sent(errors.New("no memory"))
	w.lan.setUp(false)
	r.sent(errors.New("network is down"))
	if n := w.p.Counters().Lost[lostLink.String()]; n != 1 {
		t.Errorf("%d counted, want 1", n)
	}
}

// One warning when a trouble begins, and one when it begins again, however long it lasts; noise is for debugging only.
func TestTroubleIsLoggedWhenItBegins(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var l lossLog
	lost := map[string]uint64{}
	for _, c := range []struct {
		why       loss
		n         uint64
		warn, all int
	}{
		{lostSocket, 0, 0, 0},
		{lostSocket, 3, 1, 2},
		{lostSocket, 4, 0, 1},
		{lostSocket, 0, 0, 0},
		{lostTunnel, 9, 0, 1},
		{lostSocket, 1, 1, 2},
		{lostWaiting, 1, 0, 1}, // a host that sleeps
		{lostCrowded, 1, 1, 2},
	} {
		lost[c.why.String()] += c.n
		now := map[string]uint64{}
		for why, n := range lost {
			now[why] = n
		}
		l.report(log, Counters{Lost: now})
		text := out.String()
		out.Reset()
		if warn, all := strings.Count(text, "level=WARN"), strings.Count(text, "\n"); warn != c.warn || all != c.all {
			t.Errorf("%d more of %q: logged\n%swant %d lines, of them %d warnings", c.n, c.why, text, c.all, c.warn)
		}
	}
}

// The upkeep looks.
func TestLossesAreLogged(t *testing.T) {
	w := ready(t)
	var out bytes.Buffer
	w.p.log = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.p.lost[lostSocket].Add(7)
	w.pass(upkeepEvery + time.Second)
	if got := out.String(); !strings.Contains(got, "packets=7") {
		t.Errorf("logged %q", got)
	}
}
