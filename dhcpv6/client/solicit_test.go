// SPDX-License-Identifier: MIT

package client

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// "The client transmits the message according to Section 15" with IRT SOL_TIMEOUT; on a point-to-point
// link the first Solicit leaves in the step of LinkUp.
func TestCE_1_1_07_TransmissionOfSolicit(t *testing.T) {
	script(t, testConfig, `
	0s      LinkUp -> send:Solicit wake 1.05s soliciting
	1.049s  Tick   -> wake 1.05s soliciting
	1.05s   Tick   -> send:Solicit wake 3.15s soliciting
	3.15s   Tick   -> send:Solicit wake 7.35s soliciting
	7.35s   Tick   -> send:Solicit wake 15.75s soliciting`)
}

// "The first Solicit message from the client on the interface SHOULD be delayed by a random amount of
// time between 0 and SOL_MAX_DELAY."
func TestRFC9915_18_2_1_FirstSolicitIsDelayed(t *testing.T) {
	cfg := testConfig
	cfg.PointToPoint = false
	script(t, cfg, `
	0s     LinkUp -> wake 500ms soliciting
	499ms  Tick   -> wake 500ms soliciting
	# nothing was sent, so nothing can be an answer
	499ms  Reply rapid 2001:db8:1::/64=1/2 -> drop wake 500ms soliciting
	500ms  Tick   -> send:Solicit wake 1.55s soliciting`)
}

// "The client MUST include a Client Identifier option", Elapsed Time, "an Option Request option to
// request the SOL_MAX_RT option"; "MUST NOT include any other options".
func TestRFC9915_18_2_1_SolicitContents(t *testing.T) {
	b := script(t, testConfig, `0s LinkUp -> send:Solicit wake 1.05s soliciting`)
	for code, want := range map[uint16][]byte{
		1: []byte(ourDUID), 2: nil, 6: {0, 23, 0, 24, 0, 56, 0, 67, 0, 82, 0, 144}, 8: {0, 0}, 14: {}, 20: {},
		25: {0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0},
	} {
		if got := b.option(code); !bytes.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("option %d = %x, want %x", code, got, want)
		}
	}
}

// "A client MAY send a non-zero value in the prefix-length field and the unspecified value (::) in the
// IPv6-prefix field to indicate a preference for the size".
func TestCE_1_2_03_SolicitForPrefixDelegation(t *testing.T) {
	for hint, want := range map[string]string{
		"::/56": "send:Solicit,::/56", "2001:db8:9::/60": "send:Solicit,2001:db8:9::/60",
		"2001:db8:9::1/60": "send:Solicit,2001:db8:9::/60", "::/0": "send:Solicit", "": "send:Solicit",
	} {
		script(t, pd(1, hint), "0s LinkUp -> "+want+" wake 1.05s soliciting")
	}
}

// "The elapsed-time value [...] 0xffff is used to represent any elapsed-time values greater than the
// largest time value that can be represented".
func TestCE_1_1_05_ElapsedTime(t *testing.T) {
	b := newBox(t, testConfig, seeded(5))
	act := b.step(t0, LinkUp{})
	previous, saturated := -1, 0
	for act.Wake.Before(t0.Add(2 * time.Hour)) {
		elapsed := int(b.last.ElapsedTime)
		want := min(b.now.Sub(t0).Milliseconds()/10, 0xffff)
		if elapsed < previous || int64(elapsed) != want {
			t.Fatalf("at %v elapsed time is %d, before %d, want %d", b.now.Sub(t0), elapsed, previous, want)
		}
		if elapsed == 0xffff {
			saturated++
		}
		previous = elapsed
		act = b.step(act.Wake, Tick{})
	}
	if saturated < 2 {
		t.Errorf("elapsed time saturated in %d messages", saturated)
	}
}

// "A client MUST leave the transaction ID unchanged in retransmissions of a message."
func TestRFC9915_16_1_TransactionID(t *testing.T) {
	b := newBox(t, testConfig, seeded(1))
	act := b.step(t0, LinkUp{})
	xid := b.last.XID
	for range 5 {
		act = b.step(act.Wake, Tick{})
		if b.last.XID != xid {
			t.Fatalf("transaction id changed from %x to %x", xid, b.last.XID)
		}
	}
	b.step(b.now, b.event(strings.Fields("Advertise 2001:db8:1::/64=1/2")))
	if b.last.XID == xid || b.last.Type.String() != "Request" {
		t.Errorf("%s has the transaction id of the Solicit", b.last.Type)
	}
	// Even a rand that repeats itself gives the next message another id.
	c := script(t, testConfig, `
	0s LinkUp -> send:Solicit wake 1.05s soliciting
	0s Advertise pref=255 2001:db8:1::/64=1/2 -> send:Request>s1,2001:db8:1::/64 wake 1s requesting`)
	if c.last.XID != 1<<23+1 {
		t.Errorf("transaction id %x", c.last.XID)
	}
}

// "A client MUST collect valid Advertise messages for the first RT seconds, unless it receives a valid
// Advertise message with a preference value of 255."
func TestRFC9915_18_2_1_CollectsForTheFirstRT(t *testing.T) {
	script(t, testConfig, `
	0s      LinkUp -> send:Solicit wake 1.05s soliciting
	100ms   Advertise from=s1 2001:db8:1::/64=1/2 -> wake 1.05s soliciting
	200ms   Advertise from=s2 pref=7 2001:db8:2::/64=1/2 -> wake 1.05s soliciting
	300ms   Advertise from=s3 pref=3 2001:db8:3::/64=1/2 -> wake 1.05s soliciting
	1.049s  Tick -> wake 1.05s soliciting
	1.05s   Tick -> send:Request>s2,2001:db8:2::/64 wake 2.05s requesting`)
	script(t, testConfig, `
	0s      LinkUp -> send:Solicit wake 1.05s soliciting
	100ms   Advertise from=s1 pref=254 2001:db8:1::/64=1/2 -> wake 1.05s soliciting
	200ms   Advertise from=s2 pref=255 2001:db8:2::/64=1/2 -> send:Request>s2,2001:db8:2::/64 wake 1.2s requesting`)
}

// "The client terminates the retransmission process as soon as it receives any valid Advertise message,
// and the client acts on the received Advertise message without waiting".
func TestRFC9915_18_2_1_AfterTheFirstRTAnyAdvertise(t *testing.T) {
	script(t, testConfig, `
	0s      LinkUp -> send:Solicit wake 1.05s soliciting
	1.05s   Tick -> send:Solicit wake 3.15s soliciting
	1.1s    Advertise 2001:db8:1::/64=1/2 -> send:Request>s1,2001:db8:1::/64 wake 2.1s requesting`)
}

// A server that answers after 30 s still answers the message that we send again and again.
func TestRFC9915_15_AnswersThatTake30Seconds(t *testing.T) {
	script(t, testConfig, `
	0s      LinkUp -> send:Solicit wake 1.05s soliciting
	1.05s   Tick -> send:Solicit wake 3.15s soliciting
	3.15s   Tick -> send:Solicit wake 7.35s soliciting
	7.35s   Tick -> send:Solicit wake 15.75s soliciting
	15.75s  Tick -> send:Solicit wake 32.55s soliciting
	30s     Advertise 2001:db8:1::/64=2000/4000 -> send:Request>s1,2001:db8:1::/64 wake 31s requesting
	31s     Tick -> send:Request>s1,2001:db8:1::/64 wake 33s requesting
	33s     Tick -> send:Request>s1,2001:db8:1::/64 wake 37s requesting
	37s     Tick -> send:Request>s1,2001:db8:1::/64 wake 45s requesting
	45s     Tick -> send:Request>s1,2001:db8:1::/64 wake 1m1s requesting
	60s     Reply t1=1000 t2=1600 2001:db8:1::/64=2000/4000 -> persist changed wake 17m40s bound`)
}

// "Upon receipt of a valid Reply with the Rapid Commit option" at any time while soliciting; "The client
// will discard any Reply messages that do not contain the Rapid Commit option."
func TestRFC9915_18_2_1_RapidCommit(t *testing.T) {
	b := script(t, testConfig, `
	0s      LinkUp -> send:Solicit wake 1.05s soliciting
	100ms   Reply 2001:db8:1::/64=2000/4000 -> drop wake 1.05s soliciting
	200ms   Advertise from=s2 pref=9 2001:db8:2::/64=2000/4000 -> wake 1.05s soliciting
	300ms   Reply rapid ia=NoPrefixAvail -> wake 1.05s soliciting
	400ms   Reply rapid 2001:db8:1::/64=0/0 -> wake 1.05s soliciting
	500ms   Reply rapid 2001:db8:1::/64=2000/4000 -> persist changed wake 16m40.5s bound
	# the offer of s2 is forgotten
	1.05s   Tick -> wake 16m40.5s bound`)
	b.wantLease("2001:db8:1::/64=1999/3999")
}

// "Those Advertise messages with the highest server preference value SHOULD be preferred"; within one
// value "a client MAY select those servers whose Advertise messages advertise information of interest".
func TestRFC9915_18_2_9_ChoiceOfServer(t *testing.T) {
	for _, tc := range []struct{ hint, s1, s2, want string }{
		{"::/56", "2001:db8:1::/64=1/2", "2001:db8:2::/56=1/2", "s2,2001:db8:2::/56"},
		{"::/56", "2001:db8:1::/56=1/2", "2001:db8:2::/56=1/2", "s1,2001:db8:1::/56"},
		{"2001:db8:2::/64", "2001:db8:1::/64=1/2", "2001:db8:2::/64=1/2", "s2,2001:db8:2::/64"},
		{"::/60", "2001:db8:1::/72=1/2", "2001:db8:2::/64=1/2", "s2,2001:db8:2::/64"},
		{"::/60", "pref=1 2001:db8:1::/72=1/2", "2001:db8:2::/60=1/2", "s1,2001:db8:1::/72"},
	} {
		cfg := testConfig
		cfg.IAs = pd(1, tc.hint).IAs
		script(t, cfg, fmt.Sprintf(`
		0s     LinkUp -> send:Solicit,%s wake 1.05s soliciting
		0s     Advertise from=s1 %s -> wake 1.05s soliciting
		0s     Advertise from=s2 %s -> wake 1.05s soliciting
		1.05s  Tick -> send:Request>%s wake 2.05s requesting`, tc.hint, tc.s1, tc.s2, tc.want))
	}
}

// "The client MUST ignore any Advertise message that contains no [...] delegated prefixes [...] with the
// exception that the client MUST process an included SOL_MAX_RT option", and "MUST NOT restart the
// Solicit retransmission timer".
func TestCE_1_1_21_SolMaxRT(t *testing.T) {
	b := newBox(t, testConfig, randHalf)
	b.run(`
	0s    LinkUp -> send:Solicit wake 1.05s soliciting
	0.5s  Advertise pref=255 ia=NoPrefixAvail solmaxrt=60 -> wake 1.05s soliciting
	0.5s  Advertise status=NoPrefixAvail -> wake 1.05s soliciting
	0.5s  Advertise iaid=2 2001:db8:1::/64=1/2 -> wake 1.05s soliciting
	0.5s  Advertise 2001:db8:1::/64=0/0 -> wake 1.05s soliciting
	0.5s  Advertise 2001:db8:1::/64=1/2/NoPrefixAvail -> wake 1.05s soliciting`)
	if e := b.c.Status().LastError; !strings.Contains(e, "server offers no prefix") || !strings.Contains(e, "NoPrefixAvail") {
		t.Errorf("LastError = %q", e)
	}
	var rts []time.Duration
	for range 12 {
		before := b.act.Wake
		rts = append(rts, b.step(before, Tick{}).Wake.Sub(before))
	}
	if got, want := fmt.Sprint(rts), "[2.1s 4.2s 8.4s 16.8s 33.6s 1m0s 1m0s 1m0s 1m0s 1m0s 1m0s 1m0s]"; got != want {
		t.Errorf("RTs = %s, want %s", got, want)
	}
	// It stays for the next Solicit too.
	b.step(b.now, LinkDown{})
	act := b.step(b.now, LinkUp{})
	for range 9 {
		act = b.step(act.Wake, Tick{})
	}
	if rt := act.Wake.Sub(b.now); rt != time.Minute {
		t.Errorf("RT = %v, want 1m", rt)
	}
}

// "REQ_MAX_RC 10": after ten Requests the next server is asked, and after the last one all of them.
func TestCE_1_1_08_ExchangeTermination(t *testing.T) {
	script(t, testConfig, `
	0s      LinkUp -> send:Solicit wake 1.05s soliciting
	0s      Advertise from=s1 2001:db8:1::/64=1/2 -> wake 1.05s soliciting
	0s      Advertise from=s2 pref=9 2001:db8:2::/64=1/2 -> wake 1.05s soliciting
	1.05s   Tick -> send:Request>s2,2001:db8:2::/64 wake 2.05s requesting
	2.05s   Tick -> send:Request>s2,2001:db8:2::/64 wake 4.05s requesting
	4.05s   Tick -> send:Request>s2,2001:db8:2::/64 wake 8.05s requesting
	8.05s   Tick -> send:Request>s2,2001:db8:2::/64 wake 16.05s requesting
	16.05s  Tick -> send:Request>s2,2001:db8:2::/64 wake 32.05s requesting
	32.05s  Tick -> send:Request>s2,2001:db8:2::/64 wake 1m2.05s requesting
	62.05s  Tick -> send:Request>s2,2001:db8:2::/64 wake 1m32.05s requesting
	92.05s  Tick -> send:Request>s2,2001:db8:2::/64 wake 2m2.05s requesting
	122.05s Tick -> send:Request>s2,2001:db8:2::/64 wake 2m32.05s requesting
	152.05s Tick -> send:Request>s2,2001:db8:2::/64 wake 3m2.05s requesting
	182.04s Tick -> wake 3m2.05s requesting
	182.05s Tick -> send:Request>s1,2001:db8:1::/64 wake 3m3.05s requesting`)
}

// The next server takes over from one that takes its offer back; when none is left, discovery starts
// again, later after each refusal.
func TestRFC9915_18_2_2_RefusedRequest(t *testing.T) {
	script(t, testConfig, `
	0s     LinkUp -> send:Solicit wake 1.05s soliciting
	0s     Advertise from=s2 2001:db8:2::/64=1/2 -> wake 1.05s soliciting
	0s     Advertise from=s1 pref=255 2001:db8:1::/64=1/2 -> send:Request>s1,2001:db8:1::/64 wake 1s requesting
	0.5s   Reply from=s1 status=UnspecFail -> wake 1s requesting
	0.6s   Reply from=s1 ia=NoPrefixAvail -> send:Request>s2,2001:db8:2::/64 wake 1.6s requesting
	0.7s   Reply from=s2 ia=NoPrefixAvail -> wake 1.7s soliciting
	1.7s   Tick -> send:Solicit wake 2.75s soliciting
	1.8s   Advertise from=s1 pref=255 2001:db8:1::/64=1/2 -> wake 2.75s soliciting
	2.75s  Tick -> send:Request>s1,2001:db8:1::/64 wake 3.75s requesting
	2.8s   Reply from=s1 status=NotOnLink -> wake 4.8s soliciting
	4.8s   Tick -> send:Solicit wake 5.85s soliciting
	5s     Advertise from=s1 pref=255 2001:db8:1::/64=1/2 -> wake 5.85s soliciting
	5.85s  Tick -> send:Request>s1,2001:db8:1::/64 wake 6.85s requesting
	6s     Reply from=s1 -> wake 10s soliciting
	# a LinkUp is a reason to believe that something changed
	40s    LinkUp -> send:Solicit wake 41.05s soliciting
	40s    Advertise from=s1 pref=255 2001:db8:1::/64=1/2 -> send:Request>s1,2001:db8:1::/64 wake 41s requesting`)
}

// A LinkUp on a link that is up cuts the backoff short, once in 30 s.
func TestRFC9915_14_1_LinkUpWhileSoliciting(t *testing.T) {
	b := newBox(t, testConfig, randHalf)
	act := b.step(t0, LinkUp{})
	for act.Wake.Before(t0.Add(29 * time.Second)) {
		act = b.step(act.Wake, Tick{})
	}
	b.run(`
	29.999s LinkUp -> wake 32.55s soliciting
	30s     LinkUp -> send:Solicit wake 31.05s soliciting
	30.5s   LinkUp -> wake 31.05s soliciting`)
}

// Solicit, Advertise, Request, Reply.
func TestCE_1_2_02_BasicExchange(t *testing.T) {
	b := script(t, testConfig, `
	0s      LinkUp -> send:Solicit wake 1.05s soliciting
	100ms   Advertise t1=1000 t2=1600 2001:db8:1::/64=2000/4000 -> wake 1.05s soliciting
	1.05s   Tick -> send:Request>s1,2001:db8:1::/64 wake 2.05s requesting
	1.15s   Reply t1=1000 t2=1600 2001:db8:1::/64=2000/4000 dns=2001:db8::53 -> persist changed wake 16m41.15s bound`)
	b.wantLease("2001:db8:1::/64=2000/4000")
	if l := b.c.Lease(); l.Server != server("s1") || l.ServerAddr != serverAddr || l.Info.DNS[0] != netip.MustParseAddr("2001:db8::53") {
		t.Errorf("lease = %+v", l)
	}
}

// A Request has client and server identifier, elapsed time, an Option Request option with SOL_MAX_RT and
// the IA_PD with what was advertised; "T1 and T2 fields SHOULD be set to 0", the lifetimes too. Renew and
// Rebind have the same but for the server identifier of the latter.
func TestCE_1_2_04_Request(t *testing.T) {
	ia := append([]byte{0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 26, 0, 25, 0, 0, 0, 0, 0, 0, 0, 0, 64}, netip.MustParseAddr("2001:db8:1::").AsSlice()...)
	for _, tc := range []struct {
		name, script string
		server       []byte
	}{
		{"Request", `
		0s LinkUp -> send:Solicit wake 1.05s soliciting
		0s Advertise pref=255 2001:db8:1::/64=9/9 -> send:Request>s1,2001:db8:1::/64 wake 1s requesting`, []byte(server("s1"))},
		{"Renew", boundAt0 + `1000s Tick -> send:Renew>s1,2001:db8:1::/64 wake 16m50s renewing`, []byte(server("s1"))},
		{"Rebind", boundAt0 + `1600s Tick -> send:Rebind,2001:db8:1::/64 wake 26m50s rebinding`, nil},
	} {
		b := script(t, testConfig, tc.script)
		for code, want := range map[uint16][]byte{1: []byte(ourDUID), 2: tc.server, 6: {0, 23, 0, 24, 0, 56, 0, 67, 0, 82, 0, 144}, 8: {0, 0}, 14: nil, 20: {}, 25: ia} {
			if got := b.option(code); !bytes.Equal(got, want) || (got == nil) != (want == nil) {
				t.Errorf("%s: option %d = %x, want %x", tc.name, code, got, want)
			}
		}
	}
}

// A server with the highest preference refuses each Request: after that it comes last, and the good one beside it is
// asked. Alone it is asked again, less and less often. After a success it is a server like others.
func TestGreedyServerComesLast(t *testing.T) {
	b := script(t, testConfig, `
	0s      LinkUp -> send:Solicit wake 1.05s soliciting
	0s      Advertise from=s1 pref=255 2001:db8:1::/64=9/9 -> send:Request>s1,2001:db8:1::/64 wake 1s requesting
	0s      Reply from=s1 ia=NoPrefixAvail -> wake 1s soliciting
	1s      Tick -> send:Solicit wake 2.05s soliciting
	1s      Advertise from=s1 pref=255 2001:db8:1::/64=9/9 -> wake 2s soliciting
	1s      Advertise from=s2 2001:db8:2::/72=9/9 -> wake 2s soliciting
	2s      Tick -> send:Request>s2,2001:db8:2::/72 wake 3s requesting
	2s      Reply from=s2 t1=100 t2=160 2001:db8:2::/72=200/200 -> persist changed wake 1m42s bound`)
	b.run(`202s Tick -> persist changed send:Solicit,2001:db8:2::/72 wake 3m23.05s soliciting
	202s Advertise from=s1 pref=255 2001:db8:1::/64=9/9 -> send:Request>s1,2001:db8:1::/64 wake 3m23s requesting`)
	script(t, testConfig, `
	0s      LinkUp -> send:Solicit wake 1.05s soliciting
	0s      Advertise from=s1 pref=255 2001:db8:1::/64=9/9 -> send:Request>s1,2001:db8:1::/64 wake 1s requesting
	0s      Reply from=s1 ia=NoPrefixAvail -> wake 1s soliciting
	1s      Tick -> send:Solicit wake 2.05s soliciting
	1s      Advertise from=s1 pref=255 2001:db8:1::/64=9/9 -> wake 2s soliciting
	2s      Tick -> send:Request>s1,2001:db8:1::/64 wake 3s requesting`)
}
