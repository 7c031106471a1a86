// SPDX-License-Identifier: MIT

package device

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFirstPacketMakesAHandshake(t *testing.T) {
	w, box, hub := pair(t)
	if v := w.out(box); v != Waiting {
		t.Errorf("first packet: %v, want Waiting", v)
	}
	w.run("1s")
	w.wants("0s box>hub init 148", "10ms hub>box resp 92", "20ms box>hub data 144")
	if len(hub.in) != 1 || string(hub.in[0]) != string(ping(boxHost, hubHost, 100)) {
		t.Errorf("the hub gets %x, want the packet as it was", hub.in)
	}
	if v := w.back(hub); v != Sent {
		t.Errorf("answer: %v, want Sent", v)
	}
	w.run("2s")
	w.wants("1s hub>box data 144")
	if len(box.in) != 1 {
		t.Errorf("the box gets %d packets, want 1", len(box.in))
	}
}

// Who answers may send only after the first data has shown that its response arrived.
func TestResponderWaitsForConfirmation(t *testing.T) {
	w, box, hub := pair(t)
	w.do(box, Initiate{hub.key})
	w.run("15ms")
	if v := w.back(hub); v != Waiting {
		t.Errorf("before the confirmation: %v, want Waiting", v)
	}
	w.run("1s")
	w.wants("0s box>hub init 148", "10ms hub>box resp 92", "20ms box>hub data 32", "30ms hub>box data 144")
}

// "it will be retransmitted after REKEY_TIMEOUT", with a jitter of up to 333 ms, for 90 s (whitepaper section 6.4).
func TestInitiationIsRepeatedAndGivenUp(t *testing.T) {
	w, box, hub := pair(t)
	box.still()
	w.dead["hub"] = true
	w.out(box)
	w.run("4.999s")
	w.wants("0s box>hub init 148")
	w.run("5.001s")
	w.wants("5s box>hub init 148")
	w.run("99.999s")
	if got := len(w.log); got != 18 {
		t.Errorf("%d initiations more within 100 s, want 18: 20 in all", got)
	}
	st, _ := box.dev.Peer(hub.key)
	if st.Waiting != 1 || st.Attempts != MaxAttempts {
		t.Errorf("before the end: %+v, want a packet that waits and %d attempts", st, MaxAttempts)
	}
	w.log = nil
	w.run("1000s")
	w.wants()
	if st, _ = box.dev.Peer(hub.key); st.Waiting != 0 || st.Shaking {
		t.Errorf("after it was given up: %+v, want nothing that waits", st)
	}
	w.out(box)
	w.wants("16m40s box>hub init 148")
}

func TestRetransmissionHasItsJitter(t *testing.T) {
	w, box, _ := pair(t)
	w.dead["hub"] = true
	w.out(box)
	last := begin
	for range 15 {
		at := box.wake
		if gap := at.Sub(last); gap < RekeyTimeout || gap >= RekeyTimeout+RekeyJitter {
			t.Errorf("repeated after %v, want 5 s to 5.333 s", gap)
		}
		last = at
		w.runTo(at.Add(time.Millisecond))
	}
	if len(w.log) != 16 {
		t.Errorf("%d initiations, want 16", len(w.log))
	}
}

// established is a pair whose session began at 20 ms for the box and 10 ms for the hub, both without jitter.
func established(t testing.TB) (w *world, box, hub *node) {
	w, box, hub = pair(t)
	box.still()
	hub.still()
	w.out(box)
	w.run("40ms")
	w.back(hub)
	w.run("60ms")
	w.log = nil
	return w, box, hub
}

// "After REKEY_AFTER_TIME seconds", only the initiator begins anew, when it sends (section 6.2).
func TestInitiatorRekeysAfter120s(t *testing.T) {
	w, box, hub := established(t)
	w.run("120.02s")
	w.log = nil
	w.back(hub)
	w.out(box) // 120 s old to the nanosecond: not yet
	w.run("120.021s")
	w.out(box)
	w.run("121s")
	w.wants("2m0.02s hub>box data 144", "2m0.02s box>hub data 144", "2m0.021s box>hub data 144", "2m0.021s box>hub init 148",
		"2m0.031s hub>box resp 92", "2m0.041s box>hub data 32")
	st, _ := box.dev.Peer(hub.key)
	if len(st.Sessions) != 2 || !st.Sessions[0].Initiator || st.Sessions[0].Created != begin.Add(120041*time.Millisecond) {
		t.Errorf("sessions %+v, want a new one and the one before", st.Sessions)
	}
}

// "no packets are sent or received after REJECT_AFTER_TIME".
func TestSessionIsGoodFor180s(t *testing.T) {
	w, _, hub := established(t)
	w.dead["box"] = true // nothing comes back, but data goes
	w.run("179.9s")
	w.dead["box"] = false
	w.log = nil
	if v := w.do(hub, PacketOut{ping(hubHost, boxHost, 100)}).Verdict; v != Sent {
		t.Errorf("after 179.89 s the hub's packet: %v, want Sent", v)
	}
	w.now = begin.Add(180*time.Second + 10*time.Millisecond)
	if v := w.do(hub, PacketOut{ping(hubHost, boxHost, 100)}).Verdict; v != Waiting {
		t.Errorf("after 180 s the hub's packet: %v, want Waiting", v)
	}
}

func TestOldSessionReceivesNothing(t *testing.T) {
	w, box, hub := established(t)
	d := w.do(hub, PacketOut{ping(hubHost, boxHost, 100)}).Send[0]
	e := w.do(hub, PacketOut{ping(hubHost, boxHost, 100)}).Send[0]
	w.way = nil
	made := begin.Add(20 * time.Millisecond) // the box's session
	w.now = made.Add(RejectAfterTime)
	if v := w.do(box, Received{hub.at, d.Data}).Verdict; v != Delivered {
		t.Errorf("at 180 s: %v, want Delivered", v)
	}
	w.now = made.Add(RejectAfterTime + 1)
	if v := w.do(box, Received{hub.at, e.Data}).Verdict; v != Expired {
		t.Errorf("after 180 s: %v, want Expired", v)
	}
}

// "If a peer has received a validly-authenticated transport data message, but does not have any packets itself to send back
// for KEEPALIVE_TIMEOUT seconds, it sends a keepalive message" (section 6.5).
func TestPassiveKeepalive(t *testing.T) {
	w, box, _ := established(t)
	w.run("10.049s") // the box got the last packet at 50 ms
	w.wants()
	w.run("10.051s")
	w.wants("10.05s box>hub data 32")
	w.run("60s")
	w.wants() // a keepalive is not answered
	w.out(box)
	w.run("69s")
	w.out(box) // while the keepalive for the first is due: one more follows
	w.run("95s")
	w.wants("1m0s box>hub data 144", "1m9s box>hub data 144", "1m10.01s hub>box data 32", "1m20.01s hub>box data 32")
}

// "If a peer has sent data and hears nothing for KEEPALIVE_TIMEOUT + REKEY_TIMEOUT seconds, it begins a handshake".
func TestSilenceBeginsAHandshake(t *testing.T) {
	w, box, _ := established(t)
	w.run("20s")
	w.log = nil
	w.dead["hub"] = true
	w.out(box)
	w.run("30s")
	w.out(box)
	w.run("34.999s")
	w.wants("20s box>hub data 144", "30s box>hub data 144")
	w.run("35.001s")
	w.wants("35s box>hub init 148")
}

func TestPersistentKeepalive(t *testing.T) {
	w, box, hub := pair(t)
	box.still()
	hub.still()
	w.do(box, SetKeepalive{hub.key, 25 * time.Second})
	w.run("1s")
	w.wants("0s box>hub init 148", "10ms hub>box resp 92", "20ms box>hub data 32")
	w.run("25.021s")
	w.wants("25.02s box>hub data 32")
	w.run("30s")
	w.out(box)
	w.run("49s")
	w.wants("30s box>hub data 144", "40.01s hub>box data 32") // each message puts it off, received ones too
	w.run("65.021s")
	w.wants("1m5.02s box>hub data 32")
	w.do(box, SetKeepalive{hub.key, 0})
	w.run("100s")
	w.wants()
}

// An initiator that only receives begins anew 15 s before the session ends, once.
func TestReceiverRekeysBeforeTheEnd(t *testing.T) {
	w, _, hub := established(t)
	w.run("165.01s")
	w.log = nil
	w.back(hub)
	w.run("165.05s")
	w.back(hub)
	w.dead["hub"] = true
	w.run("166s")
	w.wants("2m45.01s hub>box data 144", "2m45.05s hub>box data 144", "2m45.06s box>hub init 148")
}

func TestKeysAreZeroedAfter540s(t *testing.T) {
	w, box, hub := established(t)
	w.run("540.019s")
	if st, _ := box.dev.Peer(hub.key); len(st.Sessions) != 1 {
		t.Errorf("after 539.999 s: %d sessions, want 1", len(st.Sessions))
	}
	w.run("540.021s")
	if st, _ := box.dev.Peer(hub.key); len(st.Sessions) != 0 {
		t.Errorf("after 540 s: %d sessions, want none", len(st.Sessions))
	}
	if n := len(box.dev.index); n != 0 {
		t.Errorf("%d indices are left, want none", n)
	}
}

func TestStagedPacketsAreBounded(t *testing.T) {
	w, box, hub := pair(t)
	w.drop = func(from, _ *node, _ []byte) bool { return true }
	for i := range Staged + 5 {
		p := ping(boxHost, hubHost, 100)
		p[50] = byte(i)
		w.do(box, PacketOut{p})
	}
	st, _ := box.dev.Peer(hub.key)
	if st.Waiting != Staged || st.Counters.Crowded != 5 {
		t.Errorf("%d wait and %d were dropped, want %d and 5", st.Waiting, st.Counters.Crowded, Staged)
	}
	w.drop = nil
	w.run("7s")
	if len(hub.in) != Staged || hub.in[0][50] != 5 || hub.in[Staged-1][50] != Staged+4 {
		t.Errorf("%d arrive, from number %d on, want the last %d in order", len(hub.in), hub.in[0][50], Staged)
	}
}

// Both begin at once: each answers the other, and both end with sessions that agree.
func TestSimultaneousInitiations(t *testing.T) {
	w, box, hub := pair(t)
	w.do(hub, SetEndpoint{Peer: box.key, Endpoint: box.at})
	w.out(box)
	w.back(hub)
	w.run("30s")
	if len(hub.in) == 0 || len(box.in) == 0 {
		t.Errorf("%d and %d packets arrive, want the first of both", len(hub.in), len(box.in))
	}
	hub.in, box.in = nil, nil
	w.out(box)
	w.back(hub)
	w.run("31s")
	if len(hub.in) != 1 || len(box.in) != 1 {
		t.Errorf("then %d and %d packets arrive, want 1 and 1", len(hub.in), len(box.in))
	}
}

func TestRoaming(t *testing.T) {
	w, box, hub := established(t)
	seen := box.at
	w.nat = func(n *node) netip.AddrPort {
		if n == box {
			return seen
		}
		return n.at
	}
	seen = netip.MustParseAddrPort("203.0.113.9:4242")
	w.back(hub) // to where it was: a NAT that forgot it
	if st, _ := hub.dev.Peer(box.key); st.Endpoint != box.at {
		t.Errorf("before the box speaks it is at %v, want %v", st.Endpoint, box.at)
	}
	w.out(box)
	w.run("1s")
	if st, _ := hub.dev.Peer(box.key); st.Endpoint != seen {
		t.Errorf("after that it is at %v, want %v", st.Endpoint, seen)
	}
	box.in = nil
	w.back(hub)
	w.run("2s")
	if len(box.in) != 1 {
		t.Errorf("%d packets come back, want 1", len(box.in))
	}
}

func TestNotesTellWhy(t *testing.T) {
	w, box, _ := pair(t)
	w.dead["hub"] = true
	w.out(box)
	w.run("700s")
	for _, want := range []string{"handshake initiation sent", "handshake unanswered for 5 s: initiation repeated", "handshake given up: no answer for 90 s", "keys removed: no new ones for 540 s"} {
		if !slices.Contains(box.note, want) {
			t.Errorf("notes %s: %q is missing", strings.Join(box.note, "; "), want)
		}
	}
}

func TestVerdictsHaveNames(t *testing.T) {
	for v := Sent; v < verdicts; v++ {
		if v.String() == "" {
			t.Errorf("verdict %d has no name", v)
		}
	}
}
