// SPDX-License-Identifier: MIT

package client

import (
	"strings"
	"testing"
	"time"

	"oasis6/dhcpv6"
)

const boundBoth = `
	0s LinkUp -> send:Solicit,na: wake 1.05s soliciting
	0s Reply rapid pd=1 t1=1000 t2=1600 2001:db8:1::/64=2000/4000 na=1 t1=1000 t2=1600 2001:db8::7=2000/4000 -> persist changed wake 16m40s bound
`

// Release with REL_TIMEOUT 1 s and REL_MAX_RC 4. The lease is gone, from the disk and from the LAN, in the step
// that sends the first one: "MUST stop using all of the leases being released before the client begins".
func TestCE_1_1_13_Release(t *testing.T) {
	b := script(t, wants("pd1", "na1"), boundBoth+`
	10s Leave -> persist changed send:Release>s1,2001:db8:1::/64,na:2001:db8::7/128 wake 11s releasing
	10s LinkUp -> wake 11s releasing
	10s Leave -> wake 11s releasing
	11s Tick -> send:Release>s1,2001:db8:1::/64,na:2001:db8::7/128 wake 13s releasing
	13s Tick -> send:Release>s1,2001:db8:1::/64,na:2001:db8::7/128 wake 17s releasing
	17s Tick -> send:Release>s1,2001:db8:1::/64,na:2001:db8::7/128 wake 25s releasing
	24.999s Tick -> wake 25s releasing
	25s Tick -> left released=false stopped
	26s LinkUp -> stopped`)
	if l := b.c.Lease(); l.Server != "" || len(l.IAs) != 0 {
		t.Errorf("lease after Leave: %+v", l)
	}
}

// Release of a prefix; "the client considers the Release event completed" upon a valid Reply, whatever its status.
func TestCE_1_2_07_Release(t *testing.T) {
	for _, status := range []string{"Success", "NoBinding", "UnspecFail"} {
		b := script(t, testConfig, boundAt0+`
		10s Leave -> persist changed send:Release>s1,2001:db8:1::/64 wake 11s releasing
		10s Reply from=s2 status=`+status+` -> drop wake 11s releasing
		10.1s Reply status=`+status+` -> left released=true stopped`)
		if how := b.act.Left.How; status != "Success" && !strings.Contains(how, status) {
			t.Errorf("%s: %q", status, how)
		}
	}
	b := script(t, testConfig, boundAt0+"10s Leave -> persist changed send:Release>s1,2001:db8:1::/64 wake 11s releasing")
	for code, want := range map[uint16]bool{1: true, 2: true, 6: false, 8: true, 14: false, 20: false, 25: true} {
		if got := b.option(code) != nil; got != want {
			t.Errorf("Release: option %d there %v, want %v", code, got, want)
		}
	}
}

// Leave in every other situation ends too.
func TestRFC9915_18_2_7_Leave(t *testing.T) {
	for _, tc := range []struct{ name, text string }{
		{"before anything", `0s Leave -> persist left released=true stopped`},
		{"while soliciting", `
		0s LinkUp -> send:Solicit wake 1.05s soliciting
		1s Leave -> persist left released=true stopped
		1s Reply rapid 2001:db8:1::/64=9/9 -> drop stopped`},
		{"with the link down", boundAt0 + `
		1s LinkDown -> wake 33m20s bound
		2s Leave -> persist changed left released=false stopped`},
		{"the link goes down meanwhile", boundAt0 + `
		1s Leave -> persist changed send:Release>s1,2001:db8:1::/64 wake 2s releasing
		1.5s LinkDown -> left released=false stopped`},
		{"during a Renew", boundAt0 + `
		1000s Tick -> send:Renew>s1,2001:db8:1::/64 wake 16m50s renewing
		1001s Leave -> persist changed send:Release>s1,2001:db8:1::/64 wake 16m42s releasing
		1001s Reply -> left released=true stopped`},
		{"Stop ends it", boundAt0 + `
		1s Leave -> persist changed send:Release>s1,2001:db8:1::/64 wake 2s releasing
		2s Stop -> left released=false stopped`},
	} {
		t.Run(tc.name, func(t *testing.T) { script(t, testConfig, tc.text) })
	}
}

// RFC 9096 WPD-9: "MUST NOT automatically send DHCPv6 RELEASE messages upon restart events". Nothing but Leave sends
// one: not a stop, a link that flaps, an expiry, or another configuration.
func TestRFC9096_WPD9_NoReleaseByItself(t *testing.T) {
	for _, ev := range []Event{Stop{}, LinkDown{}, Reconfigured{wants("pd2")}, Reconfigured{Config{DUID: otherDUID}}, Tick{}, LinkUp{}} {
		b := script(t, testConfig, boundAt0)
		for _, at := range []time.Duration{10 * time.Second, 4000 * time.Second} { // with the lease, and at its end
			for _, e := range []Event{ev, LinkUp{}, Stop{}} {
				for _, raw := range b.step(t0.Add(at), e).Send {
					if raw[0] == byte(dhcpv6.Release) {
						t.Errorf("%T sends a Release", ev)
					}
				}
			}
		}
	}
}

// "the client SHOULD [...] send a Decline message to the server" for an address that another node has: DEC_TIMEOUT
// 1 s, DEC_MAX_RC 4; the prefix stays, and the address is asked for again with the next Renew.
func TestCE_1_1_14_Decline(t *testing.T) {
	b := script(t, wants("pd1", "na1"), boundBoth+`
	1s Duplicate 2001:db8::8 -> wake 16m40s bound
	1s Duplicate 2001:db8::7 -> persist changed send:Decline>s1,na:2001:db8::7/128 wake 2s declining
	2s Tick -> send:Decline>s1,na:2001:db8::7/128 wake 4s declining
	3s Reply -> wake 16m40s bound
	1000s Tick -> send:Renew>s1,2001:db8:1::/64,na: wake 16m50s renewing`)
	b.wantLease("2001:db8:1::/64=1000/3000")
	c := script(t, wants("pd1", "na1"), boundBoth+"1s Duplicate 2001:db8::7 -> persist changed send:Decline>s1,na:2001:db8::7/128 wake 2s declining")
	for code, want := range map[uint16]bool{1: true, 2: true, 6: false, 8: true, 14: false, 20: false, 25: false} {
		if got := c.option(code) != nil; got != want {
			t.Errorf("Decline: option %d there %v, want %v", code, got, want)
		}
	}
}

// Nobody answers the Decline: it ends after DEC_MAX_RC transmissions. A client that had nothing else looks for an
// address again, less and less often, lest a server and a squatter make it a storm.
func TestRFC9915_18_2_8_DeclineUnanswered(t *testing.T) {
	script(t, wants("na1"), boundNA+`
	1s Duplicate 2001:db8::7 -> persist changed send:Decline>s1,na:2001:db8::7/128 wake 2s declining
	2s Tick -> send:Decline>s1,na:2001:db8::7/128 wake 4s declining
	4s Tick -> send:Decline>s1,na:2001:db8::7/128 wake 8s declining
	8s Tick -> send:Decline>s1,na:2001:db8::7/128 wake 16s declining
	16s Tick -> wake 17s soliciting
	17s Tick -> send:Solicit,na: wake 18.05s soliciting`)
	b := newBox(t, wants("na1"), seeded(8))
	b.step(t0, LinkUp{})
	sent := 0
	for b.now.Before(t0.Add(time.Hour)) { // the server gives the same address again and again
		switch b.last.Type.String() {
		case "Solicit":
			b.step(b.now, b.event(strings.Fields("Reply rapid na=1 2001:db8::7=2000/4000")))
			b.step(b.now.Add(time.Second), b.event(strings.Fields("Duplicate 2001:db8::7")))
			b.step(b.now, b.event(strings.Fields("Reply")))
			sent += 2
		}
		b.step(b.act.Wake, Tick{})
	}
	if sent > 40 {
		t.Errorf("%d messages in an hour", sent)
	}
}
