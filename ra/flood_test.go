// SPDX-License-Identifier: MIT

package ra

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// numbered is one of many link-local addresses.
func numbered(i int) netip.Addr {
	a := hostA.As16()
	binary.BigEndian.PutUint32(a[12:], uint32(i)+1)
	return netip.AddrFrom16(a)
}

// Everybody who solicits, forged or not, is answered within the floor and the delay, yet a forger with a new source
// for each packet cannot make us send more unicast than the bucket of all has.
func TestRFC4861_6_2_6_ForgedSourcesShareOneBucket(t *testing.T) {
	w := startWorld(t, seeded(12), content(forever(prefixA)))
	w.until(100 * time.Second)
	first := len(w.sent)
	asked := map[netip.Addr]time.Duration{}
	const flood = 10 * time.Second
	for i := range 5000 {
		at := 100*time.Second + time.Duration(i)*flood/5000
		asked[numbered(i)] = at
		w.at(at, rsFrom(numbered(i)))
	}
	w.until(105*time.Second + flood)
	sent := w.sent[first:]
	all := len(multicasts(sent))
	if unicasts := len(sent) - all; unicasts > solicitedBurst+int(flood/solicitedRefill) || unicasts < solicitedBurst {
		t.Errorf("%d unicast RAs in 10 s, want %d to %d", unicasts, solicitedBurst, solicitedBurst+int(flood/solicitedRefill))
	}
	if all > 5 {
		t.Errorf("%d multicasts in 15 s, want at most 5", all)
	}
	for src, at := range asked {
		if !slices.ContainsFunc(sent, func(r sentRA) bool {
			return (r.multicast() || r.to == src) && r.at >= at && r.at <= at+MinDelayBetweenRAs+MaxRADelayTime
		}) {
			t.Fatalf("%v solicited at %v and got no answer", src, at)
		}
	}
}

// Ten a second is what remains for real hosts after the burst; beyond that the multicast serves them.
func TestSolicitedBucketRefills(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.until(100 * time.Second)
	for i := range solicitedBurst {
		w.at(100*time.Second+time.Duration(i)*time.Microsecond, rsFrom(numbered(i)))
	}
	if n := len(w.until(101 * time.Second)); n != solicitedBurst {
		t.Fatalf("%d answers for the burst, want %d", n, solicitedBurst)
	}
	w.until(100*time.Second + 60*time.Second)
	for i := range solicitedBurst {
		w.step(rsFrom(numbered(1000 + i)))
		w.until(w.now + MaxRADelayTime/solicitedBurst)
	}
	if n := len(multicasts(w.until(w.now + time.Second))); n != 0 {
		t.Errorf("the bucket did not fill up again: %d multicasts", n)
	}
}

// 256 forged solicitations push every real host out of the list; those whom the data plane names are told first.
func TestForgedSolicitationsDoNotHideTheNeighbors(t *testing.T) {
	c := content(forever(prefixA))
	w := startWorld(t, half, c)
	w.at(2*time.Second, rsFrom(hostA))
	for i := range 2 * maxHosts {
		w.at(3*time.Second, rsFrom(numbered(i)))
	}
	w.at(16*time.Second, PortUp{})
	w.until(17 * time.Second)
	var neighbors []netip.Addr
	for i := range 10 {
		neighbors = append(neighbors, numbered(100000+i))
	}
	c.DefaultRouter = false
	got := w.step(SetContent{Content: c, Neighbors: append(neighbors, hostA)})
	if len(got) != maxHosts {
		t.Errorf("%d were told, want %d", len(got), maxHosts)
	}
	for i, n := range append(neighbors, hostA) {
		if got[i].to != n {
			t.Errorf("place %d is %v, want the neighbor %v", i, got[i].to, n)
		}
	}
	wantSent(t, w.until(20*time.Second), "19s ff02::1")
}

// Whom the number leaves out keeps the answer that it waits for.
func TestAnswerOfAHostThatWasLeftOutStays(t *testing.T) {
	c := content(forever(prefixA))
	w := startWorld(t, func() float64 { return 0.5 }, c)
	var neighbors []netip.Addr
	for i := range maxHosts {
		neighbors = append(neighbors, numbered(1000+i))
	}
	w.at(17*time.Second, rsFrom(hostA))
	c.DefaultRouter = false
	if n := len(w.step(SetContent{Content: c, Neighbors: neighbors})); n != maxHosts {
		t.Errorf("%d were told, want %d", n, maxHosts)
	}
	wantSent(t, w.until(20*time.Second), "17.25s fe80::a", "19s ff02::1")
}

// A router role that flaps ten times a second: one round a second, and all hear the final state at the floor.
func TestFlappingRoleTellsHostsOnceASecond(t *testing.T) {
	for _, flaps := range []int{100, 101} { // ends as it began, or not
		c := content(forever(prefixA))
		w := startWorld(t, seeded(13), c)
		w.until(100 * time.Second)
		var neighbors []netip.Addr
		for i := range maxHosts {
			neighbors = append(neighbors, numbered(i))
		}
		first := len(w.sent)
		for i := range flaps {
			c.DefaultRouter = i%2 == 1
			w.at(100*time.Second+time.Duration(i)*100*time.Millisecond, SetContent{Content: c, Neighbors: neighbors})
		}
		w.until(w.now + MinDelayBetweenRAs)
		sent := w.sent[first:]
		if unicasts := len(sent) - len(multicasts(sent)); unicasts > (10+tellBurst)*maxHosts || unicasts < 5*maxHosts {
			t.Errorf("%d unicast RAs in 10 s, want %d to %d", unicasts, 5*maxHosts, (10+tellBurst)*maxHosts)
		}
		last := sent[len(sent)-1]
		if want := map[bool]uint16{true: 2700}[c.DefaultRouter]; !last.multicast() || last.ra.RouterLifetime != want {
			t.Errorf("%d flaps: the last RA goes to %v with router lifetime %d, want %d to all", flaps, last.to, last.ra.RouterLifetime, want)
		}
	}
}
