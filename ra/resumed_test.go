// SPDX-License-Identifier: MIT

package ra

import (
	"testing"
	"time"
)

func resumedWorld(t *testing.T) *world {
	t.Helper()
	return newWorld(t, Config{Resumed: true}, half)
}

// "A Lifetime of 0 indicates that the router is not a default router": hosts that hold us
// as one, because a predecessor said so, must hear it even if there is no prefix to speak of.
func TestRFC4861_6_2_5_RESUMED_FirstContentIsTold(t *testing.T) {
	for name, c := range map[string]Content{
		"nothing":              {},
		"uplink, no prefix":    {DefaultRouter: true, OtherConfig: true},
		"prefix that is over":  content(lease(prefixA, 0, 5, 9)),
		"prefix, but no route": {Prefixes: []Prefix{forever(prefixA)}},
	} {
		w := resumedWorld(t)
		w.step(linkUp)
		w.until(10 * time.Second)
		got := w.step(SetContent{Content: c})
		if len(got) != 1 || !got[0].multicast() || got[0].ra.RouterLifetime != 0 {
			t.Errorf("%s: sent %v, want one RA with router lifetime 0 to all", name, got)
		}
		wantSent(t, w.until(50*time.Second), "26s ff02::1", "42s ff02::1")
		wantSent(t, w.step(SetContent{Content: c}))
	}
}

// With something to say it is as without a predecessor.
func TestResumedWithAPrefix(t *testing.T) {
	w := resumedWorld(t)
	w.step(linkUp)
	got := w.step(SetContent{Content: content(forever(prefixA))})
	wantSent(t, got, "0s ff02::1")
	if got[0].ra.RouterLifetime != 2700 {
		t.Errorf("router lifetime %d", got[0].ra.RouterLifetime)
	}
}

// The content came while the link was down: it is told when the link is up, and again only as ever.
func TestResumedContentBeforeTheLink(t *testing.T) {
	w := resumedWorld(t)
	w.step(SetContent{Content: Content{}})
	wantSent(t, w.until(10*time.Second))
	wantSent(t, w.step(linkUp), "10s ff02::1")
	wantSent(t, w.until(50*time.Second), "26s ff02::1", "42s ff02::1")
}

// While the router does not know yet what is so, it says nothing, to nobody.
func TestResumedIsSilentWithoutContent(t *testing.T) {
	w := resumedWorld(t)
	w.step(linkUp)
	w.at(time.Second, rsFrom(hostA))
	w.at(2*time.Second, PortUp{})
	w.at(3*time.Second, LinkDown{})
	w.at(4*time.Second, linkUp)
	wantSent(t, w.until(2*time.Hour))
	if len(w.sent) != 0 {
		t.Errorf("sent %v", w.sent)
	}
}

// The box goes for good before it knew what is so: hosts are told that the predecessor's word is over.
func TestRFC4861_6_2_5_RESUMED_FinalWithoutContent(t *testing.T) {
	w := resumedWorld(t)
	w.step(linkUp)
	got := w.at(time.Second, Stop{Final: true})
	wantSent(t, got, "1s ff02::1")
	if r := got[0].ra; r.RouterLifetime != 0 || len(r.Options) != 1 {
		t.Errorf("final RA %+v, want router lifetime 0 and the link-layer address", r)
	}
	down := resumedWorld(t)
	wantSent(t, down.step(Stop{Final: true}))
	successor := resumedWorld(t)
	successor.step(linkUp)
	wantSent(t, successor.step(Stop{}))
}
