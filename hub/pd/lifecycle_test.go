// SPDX-License-Identifier: MIT

package pd

import (
	"fmt"
	"testing"
	"time"
)

// A lease goes from live to resting to remembered, to the second, and its route with it.
func TestLifeOfALease(t *testing.T) {
	w := newWorld(t)
	w.change(func(c *Content) { c.Pools = prefixes("2001:db8:1::/62"); c.Sites = sites("a b c d") })
	w.ask("request pd1")
	w.ask("request site=b pd1")
	w.wait(1000 * time.Second)
	w.ask("renew site=b pd1")
	w.wait(4399 * time.Second)
	w.wantRouted("a", "2001:db8:1:1::/64")
	w.wait(time.Second)
	w.did(true, true)
	if w.noted("lease is over") != 1 {
		t.Errorf("notes %+v", w.act.Notes)
	}
	w.wantRouted("a", "")
	w.wantRouted("b", "2001:db8:1:2::/64")
	w.wantAll("a pd1 2001:db8:1:1::/64=rests/5400| b pd1 2001:db8:1:2::/64=0/1000")
	// It rests: others get the last free one, then nothing.
	w.want("request site=c pd1", "reply pd1 2001:db8:1:3::/64=2700/5400")
	w.want("request site=d pd1", "reply pd1 NoPrefixAvail")
	if w.noted("no prefix is left to delegate") != 1 || len(w.m.Exhausted()) != 1 {
		t.Errorf("notes %+v", w.act.Notes)
	}
	w.want("request site=d pd1 2001:db8:1:1::/64", "reply pd1 NoPrefixAvail")
	if w.noted("no prefix is left to delegate") != 0 {
		t.Error("noted again")
	}
	w.wait(5399 * time.Second)
	w.want("request site=d pd1", "reply pd1 NoPrefixAvail")
	w.want("solicit pd1", "advertise pd1 2001:db8:1:1::/64=2700/5400") // its own site gets it
	w.wait(time.Second)
	w.want("solicit site=d pd1", "advertise pd1 2001:db8:1:1::/64=2700/5400")
	w.did(false, false)
	w.wantAll("a pd1 2001:db8:1:1::/64=over| b pd1 2001:db8:1:2::/64=rests/1000| c pd1 2001:db8:1:3::/64=rests/5400")
	w.want("request site=d pd1", "reply pd1 2001:db8:1:1::/64=2700/5400")
	w.wantAll("b pd1 2001:db8:1:2::/64=rests/1000| c pd1 2001:db8:1:3::/64=rests/5400| d pd1 2001:db8:1:1::/64=2700/5400")
}

// A prefix rests ten minutes even where lifetimes are shorter.
func TestQuarantineHasAFloor(t *testing.T) {
	w := newWorld(t)
	w.change(func(c *Content) { c.Preferred, c.Valid = 30*time.Second, time.Minute })
	w.ask("request pd1")
	w.wait(time.Minute)
	w.wantAll("a pd1 2001:db8:1:1::/64=rests/600")
}

// What is released stays routed for as long as the site was told, rests, and comes back to its site at any time.
func TestRFC9915_18_3_7_Release(t *testing.T) {
	for _, tc := range []struct {
		after time.Duration
		state string
	}{
		{0, "2001:db8:1:1::/64=0/4400/released"},
		{4399 * time.Second, "2001:db8:1:1::/64=0/1/released"},
		{4400 * time.Second, "2001:db8:1:1::/64=rests/5400"},
		{9800 * time.Second, "2001:db8:1:1::/64=over"},
	} {
		w := newWorld(t)
		w.ask("request pd1 accept")
		w.wait(1000 * time.Second)
		w.want("release pd1 2001:db8:1:1::/64", "reply Success")
		w.did(true, false)
		w.want("renew pd1 2001:db8:1:1::/64", "reply pd1 NoBinding")
		w.want("release pd1 2001:db8:1:1::/64", "reply Success pd1 NoBinding")
		w.did(false, false)
		w.wait(tc.after)
		w.wantAll("a pd1 " + tc.state)
		w.want("request site=b pd1 2001:db8:1:1::/64", "reply pd1 2001:db8:1:2::/64=2700/5400")
		w.want("solicit pd1", "advertise pd1 2001:db8:1:1::/64=2700/5400")
		w.want("request pd1", "reply pd1 2001:db8:1:1::/64=2700/5400")
		w.did(true, tc.after >= 4400*time.Second)
		w.wantRouted("a", "2001:db8:1:1::/64")
	}
}

// A Release of something that the IA does not have is Success and changes nothing (RFC 9915 section 18.3.7).
func TestRFC9915_18_3_7_ReleaseOfNothing(t *testing.T) {
	w := newWorld(t)
	w.ask("request pd1")
	for _, words := range []string{"release pd1", "release pd1 2001:db8:1:7::/64", "release pd1 2001:db8:1::/60"} {
		w.want(words, "reply Success")
		w.did(false, false)
	}
	w.wantAll("a pd1 2001:db8:1:1::/64=2700/5400")
}

// The same site gets the same prefix for ever, unless somebody else needed it: then those go first that ended first.
func TestPrefixesAreRemembered(t *testing.T) {
	w := newWorld(t)
	w.change(func(c *Content) { c.Pools = prefixes("2001:db8:1::/62"); c.Sites = sites("a b c d e") })
	for _, site := range []string{"b", "a", "c"} {
		w.ask("request pd1 site=" + site)
		w.wait(time.Second)
	}
	w.wait(100 * time.Hour)
	w.wantAll("a pd1 2001:db8:1:2::/64=over| b pd1 2001:db8:1:1::/64=over| c pd1 2001:db8:1:3::/64=over")
	w.restart() // nor does a restart forget the order
	w.want("request pd1 site=c", "reply pd1 2001:db8:1:3::/64=2700/5400")
	w.want("request pd1 site=d", "reply pd1 2001:db8:1:1::/64=2700/5400")
	w.want("request pd1 site=a ::/64", "reply pd1 2001:db8:1:2::/64=2700/5400")
	w.want("request pd1 site=b", "reply pd1 NoPrefixAvail")
}

// Who wishes more than what is free in one piece gets what is remembered in pieces, else something smaller.
func TestRoomIsMadeOfMemories(t *testing.T) {
	w := newWorld(t)
	w.change(func(c *Content) { c.Pools, c.Taken = prefixes("2001:db8:1::/62"), nil })
	w.ask("request pd1 pd2 pd3 pd4")
	for range 6 {
		w.wait(1350 * time.Second)
		w.ask("renew pd4")
	}
	w.wait(5400 * time.Second)
	w.ask("request pd4")
	w.want("solicit site=b pd1 ::/62", "advertise pd1 2001:db8:1::/63=2700/5400")
	w.want("solicit site=b pd1 ::/63 pd2 ::/63", "advertise pd1 2001:db8:1::/63=2700/5400 pd2 2001:db8:1:2::/64=2700/5400")
	w.want("request site=b pd1 ::/62", "reply pd1 2001:db8:1::/63=2700/5400")
	w.wantAll("a pd3 2001:db8:1:2::/64=over| a pd4 2001:db8:1:3::/64=2700/5400| b pd1 2001:db8:1::/63=2700/5400")
	w.want("request pd1 pd2", "reply pd1 2001:db8:1:2::/64=2700/5400 pd2 NoPrefixAvail")
}

// A site whose IAID is another after each start, as dhcpcd's on a tunnel, has the same prefix all the same.
func TestAnotherIAIDGetsWhatTheSiteHad(t *testing.T) {
	w := newWorld(t)
	for i := range 20 {
		w.want(fmt.Sprintf("request pd%d", i+1), fmt.Sprintf("reply pd%d 2001:db8:1:1::/64=2700/5400", i+1))
		w.wait(5400 * time.Second)
	}
	w.wantAll("a pd20 2001:db8:1:1::/64=rests/5400")
}

// What one site is remembered for is bounded: what ended first goes.
func TestMemoryOfASiteIsBounded(t *testing.T) {
	w := newWorld(t)
	for i := range 30 {
		w.change(func(c *Content) { c.Pools = prefixes(fmt.Sprintf("2001:db8:%x::/56", i+1)) })
		w.ask("request pd1")
		w.wait(3 * time.Hour)
	}
	if st := w.m.Stats(); st.Remembered > maxOver+1 || st.Remembered < maxOver || st.Live+st.Resting > 1 {
		t.Errorf("%+v: %s", st, w.dump())
	}
	if len(w.read(BindingKey{keyOfSite("a"), 1}).Leases) > maxOver+1 {
		t.Error("on disk is more")
	}
}

// A site that is removed is routed nothing. What it had is nobody else's until hosts have forgotten it, and its own again if
// the site comes back.
func TestRemovedSite(t *testing.T) {
	w := newWorld(t)
	w.ask("request pd1 accept")
	w.ask("request site=b pd1")
	gone := func(c *Content) { c.Sites = sites("b c") }
	w.change(gone)
	w.did(false, true)
	w.wantRouted("a", "")
	w.wantRouted("b", "2001:db8:1:2::/64")
	w.want("renew pd1 2001:db8:1:1::/64", "")
	w.change(func(c *Content) { c.Sites = sites("a b c") })
	w.did(false, true)
	w.wantRouted("a", "2001:db8:1:1::/64")
	w.want("renew pd1", "reply pd1 2001:db8:1:1::/64=2700/5400")
	w.change(gone)
	w.restart()
	w.wantRouted("a", "")
	w.wait(2*5400*time.Second - 1)
	w.want("request site=c pd1 2001:db8:1:1::/64", "reply pd1 2001:db8:1:3::/64=2700/5400")
	w.wait(2 * time.Hour)
	w.change(func(c *Content) { c.Sites = sites("a b c") })
	w.want("request pd1", "reply pd1 2001:db8:1:1::/64=2700/5400")
}

// Of a site that is gone and that nothing is remembered of, nothing is left.
func TestSitesThatComeAndGo(t *testing.T) {
	w := newWorld(t)
	for i := range 100 {
		w.change(func(c *Content) { c.Sites = sites(fmt.Sprintf("a s%d", i)) })
	}
	if len(w.m.sites) != 2 {
		t.Errorf("%d sites", len(w.m.sites))
	}
}
