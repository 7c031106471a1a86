// SPDX-License-Identifier: MIT

package device

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"oasis6/internal/wgkey"
)

func TestWrongKeys(t *testing.T) {
	for _, c := range []struct {
		name string
		at   func(box, hub *node)
		want Verdict
	}{
		{"the hub has another key", func(_, hub *node) { hub.dev.public = keyOf("other") }, NotForUs},
		{"the hub does not know the box", func(box, _ *node) { box.dev.public = keyOf("other") }, Stranger},
		{"the preshared keys differ", func(box, hub *node) { box.dev.byKey[hub.key].psk = wgkey.Preshared{1} }, Forged},
	} {
		w, box, hub := pair(t)
		c.at(box, hub)
		w.out(box)
		w.run("4s")
		v := hub.last
		if c.want == Forged {
			v = box.last // by the response
		}
		if v != c.want {
			t.Errorf("%s: %v, want %v", c.name, v, c.want)
		}
		if len(hub.in) != 0 {
			t.Errorf("%s: a packet arrives", c.name)
		}
	}
}

func TestAnyChangedOctetIsNoticed(t *testing.T) {
	w, box, _ := pair(t)
	var sent [][]byte
	w.drop = func(_, _ *node, b []byte) bool { sent = append(sent, b); return false }
	w.out(box)
	w.run("1s")
	if len(sent) != 3 {
		t.Fatalf("%d messages, want 3", len(sent))
	}
	for _, whole := range sent {
		for i := range whole {
			w, box, hub := pair(t)
			w.drop = func(from, to *node, b []byte) bool {
				if kind(b) == kind(whole) && len(b) == len(whole) {
					b[i] ^= 0x10
				}
				return false
			}
			w.out(box)
			w.run("1s")
			if macs := len(whole) - 16; kind(whole) != TypeTransport && i >= macs {
				continue // mac2 counts under load only
			}
			if len(hub.in) != 0 {
				t.Fatalf("octet %d of %s changed: the packet arrives", i, sort(whole))
			}
		}
	}
}

func TestReplays(t *testing.T) {
	w, box, hub := pair(t)
	var init, data []byte
	w.drop = func(_, _ *node, b []byte) bool {
		switch kind(b) {
		case TypeInitiation:
			init = slices.Clone(b)
		case TypeTransport:
			data = slices.Clone(b)
		}
		return false
	}
	w.out(box)
	w.run("1s")
	n := len(hub.in)
	evil := netip.MustParseAddrPort("203.0.113.66:6")
	if v := w.do(hub, Received{evil, data}).Verdict; v != Replayed {
		t.Errorf("data again: %v, want Replayed", v)
	}
	if v := w.do(hub, Received{evil, init}).Verdict; v != OldTime {
		t.Errorf("initiation again: %v, want OldTime", v)
	}
	if st, _ := hub.dev.Peer(box.key); st.Endpoint != box.at || len(hub.in) != n {
		t.Errorf("after the replays: endpoint %v, %d packets; want %v and %d", st.Endpoint, len(hub.in), box.at, n)
	}
}

// Two initiations of a peer within 20 ms: the second is not answered.
func TestInitiationFlood(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		want  Verdict
	}{{InitiationEvery, Flood}, {InitiationEvery + 1, Answered}} {
		w, box, hub := pair(t)
		a := w.do(box, Initiate{hub.key})
		w.do(hub, Received{box.at, a.Send[0].Data})
		w.do(box, SetWall{Ahead: time.Minute})
		w.do(box, SetEndpoint{hub.key, hub.at, true})
		b := w.do(box, Initiate{hub.key})
		w.now = w.now.Add(c.after)
		if v := w.do(hub, Received{box.at, b.Send[0].Data}).Verdict; v != c.want {
			t.Errorf("after %v: %v, want %v", c.after, v, c.want)
		}
	}
}

// A board that starts in 1970 is not heard by a hub that heard it before, until its clock is right.
func TestInitiationFromThePastIsNotAnswered(t *testing.T) {
	w, box, hub := pair(t)
	w.do(box, SetWall{Ahead: 50 * 365 * 24 * time.Hour})
	w.out(box)
	w.run("1s")
	if len(hub.in) != 1 {
		t.Fatal("no handshake")
	}
	w.do(box, SetWall{})
	w.do(box, SetEndpoint{hub.key, hub.at, true})
	w.out(box)
	w.run("4s")
	if hub.last != OldTime {
		t.Errorf("in 1970: %v, want OldTime", hub.last)
	}
	w.do(box, SetWall{Ahead: 50 * 365 * 24 * time.Hour})
	w.run("10s")
	if len(hub.in) != 2 {
		t.Errorf("%d packets when the clock is right again, want 2", len(hub.in))
	}
}

// Section 5.3: under load an initiation is answered by a cookie, and the next one that carries it by a response.
func TestCookies(t *testing.T) {
	w, box, hub := pair(t)
	box.still()
	w.do(hub, SetLoad{true})
	w.out(box)
	w.run("6s")
	w.wants("0s box>hub init 148", "10ms hub>box cookie 64", "5s box>hub init 148", "5.01s hub>box resp 92", "5.02s box>hub data 144")
	if st, _ := box.dev.Peer(hub.key); st.CookieAt != begin.Add(20*time.Millisecond) {
		t.Errorf("cookie of %v, want 20 ms", st.CookieAt)
	}
	a := w.do(box, SetEndpoint{hub.key, hub.at, true}) // a new session, from elsewhere: the cookie is of the address
	a = w.do(box, Initiate{hub.key})
	if v := w.do(hub, Received{netip.MustParseAddrPort("192.0.2.77:1"), a.Send[0].Data}).Verdict; v != CookieSent {
		t.Errorf("with the cookie of another address: %v, want CookieSent", v)
	}
}

func TestCookieIsGoodFor120s(t *testing.T) {
	for _, c := range []struct {
		age  time.Duration
		want Verdict
	}{{CookieRefreshTime - 10*time.Millisecond, Answered}, {CookieRefreshTime + 1, CookieSent}} {
		w, box, hub := pair(t)
		w.do(hub, SetLoad{true})
		w.do(box, Initiate{hub.key})
		w.run("50ms")
		w.dead["hub"] = true
		w.runTo(begin.Add(20*time.Millisecond + c.age - RekeyTimeout - time.Second))
		w.do(box, SetPeers{[]Peer{hub.peer(true, "::/0")}})
		w.now = begin.Add(10*time.Millisecond + c.age)
		w.do(box, SetEndpoint{hub.key, hub.at, true})
		a := w.do(box, Initiate{hub.key})
		if v := w.do(hub, Received{box.at, a.Send[len(a.Send)-1].Data}).Verdict; v != c.want {
			t.Errorf("cookie of %v: %v, want %v", c.age, v, c.want)
		}
	}
}

func TestLoadLimitsEachSource(t *testing.T) {
	w, box, hub := pair(t)
	w.do(hub, SetLoad{true})
	w.do(box, Initiate{hub.key})
	w.run("50ms")
	var got []Verdict
	for range 8 {
		w.do(box, SetEndpoint{hub.key, hub.at, true})
		a := w.do(box, Initiate{hub.key})
		got = append(got, w.do(hub, Received{box.at, a.Send[0].Data}).Verdict)
	}
	if slices.Index(got, Limited) != loadBurst {
		t.Errorf("%v, want Limited from number %d on", got, loadBurst)
	}
}

func TestCookieOfNobodyIsNotKept(t *testing.T) {
	w, box, hub := pair(t)
	w.do(hub, SetLoad{true})
	a := w.do(box, Initiate{hub.key})
	w.way = nil
	r := w.do(hub, Received{box.at, a.Send[0].Data}).Send[0].Data
	r[offCookie] ^= 1
	if v := w.do(box, Received{hub.at, r}).Verdict; v != Forged {
		t.Errorf("a changed cookie: %v, want Forged", v)
	}
}
