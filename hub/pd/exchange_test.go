// SPDX-License-Identifier: MIT

package pd

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/dhcpv6test"
)

// RFC 9915 section 18.3: from Solicit to Release, each answer once.
func TestExchange(t *testing.T) {
	w := newWorld(t)
	w.want("solicit pd1", "advertise pd1 2001:db8:1:1::/64=2700/5400")
	w.did(false, false)
	w.want("request pd1 2001:db8:1:1::/64", "reply pd1 2001:db8:1:1::/64=2700/5400")
	w.did(true, true)
	w.wantRouted("a", "2001:db8:1:1::/64")
	w.want("solicit site=b rapid pd1", "reply rapid pd1 2001:db8:1:2::/64=2700/5400")
	w.wait(1350 * time.Second)
	w.want("renew pd1 2001:db8:1:1::/64", "reply pd1 2001:db8:1:1::/64=2700/5400")
	w.did(false, false)
	w.want("rebind site=b pd1 2001:db8:1:2::/64", "reply pd1 2001:db8:1:2::/64=2700/5400")
	w.want("release site=b pd1 2001:db8:1:2::/64", "reply Success")
	w.did(true, false)
	w.wantAll("a pd1 2001:db8:1:1::/64=2700/5400| b pd1 2001:db8:1:2::/64=0/5400/released")
}

// Half and four fifths of the preferred lifetime; five minutes for those that Reconfigure cannot reach, and in any case for
// those that have nothing that they may use.
func TestTimes(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		words  string
		t1, t2 uint32
	}{
		{"solicit pd1", 300, 2160},
		{"solicit pd1 accept", 1350, 2160},
		{"request pd1 accept", 1350, 2160},
		{"renew pd1 accept", 1350, 2160},
		{"renew pd1", 300, 2160},        // accepts it no longer
		{"renew pd1 accept", 300, 2160}, // and has no key, as far as we know
		{"request pd1 accept", 1350, 2160},
		{"renew pd1 pd2 accept", 1350, 2160},
		{"request site=b pd1", 300, 2160},
	} {
		_, m := w.ask(tc.words)
		if len(m.IAs) == 0 || m.IAs[0].T1 != tc.t1 || m.IAs[0].T2 != tc.t2 {
			t.Errorf("%s: %s, T1 and T2 %+v, want %d and %d", tc.words, dhcpv6test.Text(m), m.IAs, tc.t1, tc.t2)
		}
	}
	w.change(func(c *Content) { c.Pools = nil })
	if _, m := w.ask("renew pd1 accept"); m.IAs[0].T1 != 300 || m.IAs[0].T2 != 2160 {
		t.Errorf("nothing but what it should not use: %+v", m.IAs)
	}
	w = newWorld(t)
	w.change(func(c *Content) { c.Preferred, c.Valid = 100*time.Second, time.Minute }) // preferred is cut
	if m := w.want("request pd1", "reply pd1 2001:db8:1:1::/64=60/60"); m.IAs[0].T1 != 30 || m.IAs[0].T2 != 48 {
		t.Errorf("%+v", m.IAs)
	}
}

// A stray Solicit of a bound site harms nothing: odhcpd lets the lease die in a minute. With Rapid Commit it renews.
func TestRFC9915_18_3_1_SolicitOfABoundSite(t *testing.T) {
	w := newWorld(t)
	w.ask("request pd1")
	w.wait(1000 * time.Second)
	for _, words := range []string{"solicit pd1", "solicit pd1 ::/60", "solicit pd1 2001:db8:1:77::/64", "solicit pd1 duid=x accept"} {
		w.want(words, map[bool]string{true: "advertise accept", false: "advertise"}[strings.HasSuffix(words, "accept")]+" pd1 2001:db8:1:1::/64=2700/5400")
		w.did(false, false)
		w.wantAll("a pd1 2001:db8:1:1::/64=1700/4400")
	}
	w.want("solicit rapid pd1 ::/60", "reply rapid pd1 2001:db8:1:1::/64=2700/5400")
	w.did(false, false)
	w.wantAll("a pd1 2001:db8:1:1::/64=2700/5400")
}

// Lengths that sites wish: nothing else than 1 to 128 is a length, longer ones than 64 get a /64, shorter ones than
// MaxSiteLength that.
func TestRFC8168_3_2_LengthsOfSites(t *testing.T) {
	for _, tc := range []struct {
		length, longest int // of Content; 0: as it is
		hint            byte
		want            string
	}{
		{0, 0, 64, "2001:db8:1:1::/64"},
		{0, 0, 63, "2001:db8:1:2::/63"},
		{0, 0, 60, "2001:db8:1:10::/60"},
		{0, 0, 56, "2001:db8:1:10::/60"},
		{0, 0, 1, "2001:db8:1:10::/60"},
		{0, 0, 0, "2001:db8:1:1::/64"},
		{0, 0, 65, "2001:db8:1:1::/64"},
		{0, 0, 128, "2001:db8:1:1::/64"},
		{0, 0, 200, "2001:db8:1:1::/64"},
		{0, 0, 255, "2001:db8:1:1::/64"},
		{62, 60, 0, "2001:db8:1:4::/62"},
		{62, 60, 64, "2001:db8:1:1::/64"},
		{62, 64, 63, "2001:db8:1:2::/63"}, // MaxSiteLength cannot be the longer one
		{48, 48, 0, "2001:db8:1:80::/57"}, // nothing larger is free
		{99, 99, 62, "2001:db8:1:1::/64"},
	} {
		w := newWorld(t)
		w.change(func(c *Content) { c.SiteLength, c.MaxSiteLength = tc.length, tc.longest })
		ev, _ := w.query("request")
		ia := []byte{0, 25, 0, 41, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 26, 0, 25, 0, 0, 0, 0, 0, 0, 0, 0, tc.hint}
		ev.Data = append(append(ev.Data, ia...), make([]byte, 16)...)
		act := w.step(w.now, ev)
		m, _, _ := dhcpv6.ParseMessage(act.Send[0].Data)
		if want := "reply pd1 " + tc.want + "=2700/5400"; dhcpv6test.Text(m) != want {
			t.Errorf("%+v: %s", tc, dhcpv6test.Text(m))
		}
	}
}

// A prefix that is wished is given if it is free; its length counts if not. Of several wishes the first in a pool counts.
func TestRFC8168_3_2_HintsOfSites(t *testing.T) {
	for _, tc := range []struct{ words, want string }{
		{"pd1 2001:db8:1:42::/64", "pd1 2001:db8:1:42::/64"},
		{"pd1 2001:db8:1:40::/60", "pd1 2001:db8:1:40::/60"},
		{"pd1 2001:db8:1:40::/58", "pd1 2001:db8:1:40::/60"},
		{"pd1 2001:db8:1::/64", "pd1 2001:db8:1:1::/64"},       // the hub's own
		{"pd1 2001:db8:1::/63", "pd1 2001:db8:1:4::/63"},       // a part of it is
		{"pd1 2001:db8:1:2::/64", "pd1 2001:db8:1:1::/64"},     // b's
		{"pd1 2001:db8:1:3::/64", "pd1 2001:db8:1:1::/64"},     // b's reservation
		{"pd1 2001:db8:9::/62", "pd1 2001:db8:1:4::/62"},       // in no pool
		{"pd1 2001:db8:1:42::1/128", "pd1 2001:db8:1:42::/64"}, // an address
		{"pd1 ::/61 2001:db8:1:42::/64", "pd1 2001:db8:1:42::/64"},
		{"pd1 2001:db8:9::/62 ::/61", "pd1 2001:db8:1:8::/61"},
		{"pd1 fe80::/64", "pd1 2001:db8:1:1::/64"},
		{"pd1 pd2 ::/63", "pd1 2001:db8:1:1::/64 pd2 2001:db8:1:4::/63"},
		{"pd1 2001:db8:1:42::/64 pd2 2001:db8:1:42::/64", "pd1 2001:db8:1:42::/64 pd2 2001:db8:1:1::/64"},
	} {
		for _, message := range []string{"solicit", "request"} {
			w := newWorld(t)
			w.ask("request site=b pd7 2001:db8:1:2::/64")
			w.change(func(c *Content) { c.Sites = sites("a b=2001:db8:1:3::/64 c") })
			got, _ := w.ask(message + " " + tc.words)
			got = strings.ReplaceAll(strings.TrimPrefix(strings.TrimPrefix(got, "reply "), "advertise "), "=2700/5400", "")
			if got != tc.want {
				t.Errorf("%s %s: %s, want %s", message, tc.words, got, tc.want)
			}
		}
	}
}

// There are prefixes only: what is said to other things.
func TestRFC9915_18_3_3_AddressesAndOtherMessages(t *testing.T) {
	w := newWorld(t)
	w.want("solicit na1 pd1", "advertise na1 NoAddrsAvail pd1 2001:db8:1:1::/64=2700/5400")
	w.want("request na1 pd1", "reply na1 NoAddrsAvail pd1 2001:db8:1:1::/64=2700/5400")
	w.want("renew na1 2001:db8::1 pd1", "reply na1 NoBinding pd1 2001:db8:1:1::/64=2700/5400")
	w.want("rebind na1 2001:db8::1", "reply na1 NoBinding")
	w.want("release na1 2001:db8::1", "reply Success na1 NoBinding")
	w.want("decline na1 2001:db8::1 pd1 2001:db8:1:1::/64", "reply Success na1 NoBinding")
	w.want("confirm na1 2001:db8::1", "")
	w.want("confirm pd1 2001:db8:1:1::/64", "")
	w.wantAll("a pd1 2001:db8:1:1::/64=2700/5400")
	if got := w.m.Stats().Dropped["Confirm, where there are no addresses"]; got != 2 {
		t.Errorf("%v", w.m.Stats())
	}
}

// NoBinding is said of each IA that we do not know, also by Rebind (RFC 9915 section 18.3.5); what a bound site names and
// does not have gets lifetimes of 0.
func TestRFC9915_18_3_4_UnknownBindings(t *testing.T) {
	w := newWorld(t)
	w.want("renew pd1 2001:db8:1:1::/64", "reply pd1 NoBinding")
	w.want("rebind pd1 2001:db8:1:1::/64", "reply pd1 NoBinding")
	w.want("release pd1 2001:db8:1:1::/64", "reply Success pd1 NoBinding")
	w.did(false, false)
	w.ask("request pd1")
	w.want("renew pd1 2001:db8:1:1::/64 2001:db8:1:9::/64 pd2", "reply pd1 2001:db8:1:1::/64=2700/5400 2001:db8:1:9::/64=0/0 pd2 NoBinding")
	w.want("rebind pd1 2001:db8:9::/64", "reply pd1 2001:db8:1:1::/64=2700/5400 2001:db8:9::/64=0/0")
	w.want("renew pd1 ::/60", "reply pd1 2001:db8:1:1::/64=2700/5400")
	w.want("renew", "reply")
}

// Only what is asked for is told.
func TestInformation(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		words       string
		dns, search bool
		refresh     uint32
	}{
		{"information-request oro=23", true, false, 0},
		{"information-request oro=23,24,32 duid=none", true, true, 2700},
		{"information-request server=us oro=24", false, true, 0},
		{"solicit pd1 oro=23,32", true, false, 0},
		{"request pd1 oro=24", false, true, 0},
		{"renew pd1 oro=23,24", true, true, 0},
		{"release pd1 oro=23", false, false, 0},
	} {
		_, m := w.ask(tc.words)
		if (len(m.DNS) > 0) != tc.dns || (len(m.Search) > 0) != tc.search || m.RefreshTime != tc.refresh {
			t.Errorf("%s: %+v", tc.words, m)
		}
	}
}

// RFC 9915 section 16: what is no message for us is dropped and counted, in all and by site.
func TestRFC9915_16_MessagesThatTheHubDrops(t *testing.T) {
	w := newWorld(t)
	w.ask("request pd1")
	before := w.dump()
	for _, tc := range []struct{ words, why string }{
		{"advertise pd1", "not a message of a client"},
		{"reply pd1", "not a message of a client"},
		{"reconfigure", "not a message of a client"},
		{"relay-forward", "not a message of a client"},
		{"solicit pd1 duid=none", "no Client Identifier"},
		{"solicit pd1 server=us", "Server Identifier in a message to all servers"},
		{"rebind pd1 server=us", "Server Identifier in a message to all servers"},
		{"request pd1 server=none", "no Server Identifier"},
		{"release pd1 2001:db8:1:1::/64 server=other", "for another server"},
		{"renew pd1 server=other", "for another server"},
		{"information-request pd1", "IA in an Information-request"},
		{"request pd1 site=z", "not from a site"},
	} {
		was := w.m.Stats().Dropped[tc.why]
		site := w.m.SiteStats(keyOfSite("a")).Dropped
		w.want(tc.words, "")
		if got := w.m.Stats().Dropped[tc.why]; got != was+1 || (w.m.SiteStats(keyOfSite("a")).Dropped != site+1) != strings.Contains(tc.words, "site=z") {
			t.Errorf("%s: %v", tc.words, w.m.Stats())
		}
	}
	if w.dump() != before || len(w.m.sites) != 3 {
		t.Errorf("they change something: %s", w.dump())
	}
	seen := map[string]bool{}
	for i, text := range dropReasons() {
		if (text == "") != (i == 0) || seen[text] {
			t.Errorf("reason %d is %q", i, text)
		}
		seen[text] = true
	}
}

// Several IAs of a site, as many as it may have; an IA that has nothing any more does not count.
func TestIAsOfOneSite(t *testing.T) {
	w := newWorld(t)
	w.want("solicit pd1 pd2 pd3 pd4 pd5 pd6 pd7 pd8 pd9", "advertise pd1 2001:db8:1:1::/64=2700/5400 pd2 2001:db8:1:2::/64=2700/5400 pd3 2001:db8:1:3::/64=2700/5400 "+
		"pd4 2001:db8:1:4::/64=2700/5400 pd5 2001:db8:1:5::/64=2700/5400 pd6 2001:db8:1:6::/64=2700/5400 pd7 2001:db8:1:7::/64=2700/5400 pd8 2001:db8:1:8::/64=2700/5400 pd9 NoPrefixAvail")
	w.ask("request pd1 pd2 pd3 pd4 pd5 pd6 pd7")
	w.want("request pd8 pd9", "reply pd8 2001:db8:1:8::/64=2700/5400 pd9 NoPrefixAvail")
	w.want("request pd9", "reply pd9 NoPrefixAvail")
	w.want("solicit pd9", "advertise pd9 NoPrefixAvail")
	w.did(false, false)
	w.want("request site=b pd9", "reply pd9 2001:db8:1:9::/64=2700/5400")
	for range 4 {
		w.wait(1350 * time.Second)
		w.ask("renew pd2 pd3 pd4 pd5 pd6 pd7 pd8")
	}
	// pd1 is over. Its prefix goes to another IA of the same site, though it rests.
	w.want("request pd9", "reply pd9 2001:db8:1:1::/64=2700/5400")
	w.want("request pd1", "reply pd1 NoPrefixAvail")
}

// Nothing is answered before there is a content, and after Stop.
func TestBeforeAndAfter(t *testing.T) {
	w := newWorld(t)
	ev, _ := w.query("request pd1")
	m := New(testConfig)
	if act := m.Step(t0, ev); len(act.Send) > 0 || act.MustSave() || !act.Wake.IsZero() {
		t.Errorf("before: %+v", act)
	}
	w.ask("request pd1")
	w.step(w.now, Stop{})
	if act := w.step(w.now.Add(time.Second), ev); len(act.Send) > 0 || act.MustSave() || !act.Wake.IsZero() {
		t.Errorf("after: %+v", act)
	}
}

// The same content does nothing. What is no prefix for sites is passed over.
func TestContentIsChecked(t *testing.T) {
	w := newWorld(t)
	w.ask("request pd1 accept")
	w.set(testContent())
	w.did(false, false)
	if len(w.act.Send) > 0 || len(w.act.Notes) > 0 {
		t.Errorf("%+v", w.act)
	}
	odd := append(prefixes("fe80::/64 ff00::/8 ::/0 2001:db8:7::/80 192.0.2.0/24"), netip.Prefix{})
	w.change(func(c *Content) { c.Pools, c.Taken = append(odd, prefixes("2001:db8:3::7/62")...), odd[:3] })
	w.want("request site=b pd1", "reply pd1 2001:db8:3::/64=2700/5400")
	w.change(func(c *Content) { c.Sites = sites("a b c="); c.Sites[keyOfSite("c")] = Site{Reserved: odd} })
	w.want("request site=c pd1", "reply pd1 2001:db8:7::/80=2700/5400") // a reservation may be of any length
}

// What there is to read, of sites that are known and of others.
func TestReadings(t *testing.T) {
	w := newWorld(t)
	w.ask("request pd2 pd1")
	w.ask("request site=b pd1")
	all := w.m.Bindings(keyOfSite("a"), w.now)
	if len(all) != 2 || all[0].IAID != 1 || all[0].DUID != dhcpv6test.DUID("a") || len(all[1].Leases) != 1 || all[1].Leases[0].Valid.Seconds(w.now) != 5400 {
		t.Errorf("%+v", all)
	}
	if w.m.Bindings(keyOfSite("z"), w.now) != nil || w.m.Routed(keyOfSite("z")) != nil || w.m.SiteStats(keyOfSite("z")) != (SiteStats{}) {
		t.Error("something is known of nobody")
	}
	if len(w.m.Bindings(keyOfSite("a"), w.now.Add(5400*time.Second))) != 0 {
		t.Error("what is over is told")
	}
	n := 0
	for range w.m.AllBindings() {
		n++
		break
	}
	for range w.m.AllRouted {
		n++
		break
	}
	if st := w.m.Stats(); n != 2 || st.Live != 3 || st.Received != 2 || st.Sent != 2 || w.m.SiteStats(keyOfSite("b")) != (SiteStats{Received: 1}) {
		t.Errorf("%d, %+v", n, st)
	}
}
