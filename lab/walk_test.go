// SPDX-License-Identifier: MIT

package lab

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"oasis6/dataplane/netstack"
	"oasis6/dataplane/netstack/forward"
	"oasis6/internal/ip6pkt"
	"oasis6/lab/host"
	"oasis6/lab/page"
)

// explained waits until a node's forwarding says something and cites something, and gives what the packet's walk tells of it.
func explained(t *testing.T, w *World, node, text, rfc string) page.Decision {
	t.Helper()
	var found *record
	ok, err := w.Engine.RunUntil(t.Context(), 20*time.Second, func() bool {
		w.rec.all(0, func(r *record) bool {
			said, cited := "", ""
			for _, v := range r.verdict { // the recorder is locked
				said, cited = said+v.text, both(cited, v.rfc)
			}
			if r.To == node && strings.Contains(said, text) && cited == rfc {
				found = r
			}
			return false
		})
		return found != nil
	})
	if !ok || err != nil {
		t.Errorf("%s never says %q (%s): %v", node, text, rfc, err)
		return page.Decision{}
	}
	walk, _ := (&Source{w: w}).Walk(frameNumber(found.id))
	for _, h := range walk.Hops {
		if h.ID == frameNumber(found.id) && h.Decision.Node == node && h.Decision.RFC == rfc && strings.Contains(strings.ReplaceAll(h.Decision.Text, ". Later: ", ""), text) {
			return h.Decision
		}
	}
	t.Errorf("the walk does not tell that %s says %q (%s): %+v", node, text, rfc, walk)
	return page.Decision{}
}

// begun is a world whose scenario has passed.
func begun(t *testing.T, o Options) *World {
	t.Helper()
	w := newTestWorld(t, o)
	finish(t, w)
	return w
}

func ping(w *World, from string, to netip.Addr, o host.PingOptions) {
	w.Engine.Post(func() { w.hosts[from].Ping(to, o, func(host.Pong) {}) })
}

// What box and hub decide about a packet is the forwarding's own verdict, on both kinds of link.
func TestWalkTellsHowAPacketIsForwarded(t *testing.T) {
	for _, link := range []LinkKind{Sim, WG} {
		t.Run(string(link), func(t *testing.T) {
			w := begun(t, Options{Seed: 1, Link: link})
			ping(w, nodeH1, wwwAt, host.PingOptions{HopLimit: 17})
			explained(t, w, nodeR2, "Hop limit 16 → 15", "RFC 8200 section 3") // then it has left the box
			d := explained(t, w, nodeR1, "Hop limit 17 → 16. The route leads into the tunnel, oasis0", "RFC 8200 section 3")
			if !strings.Contains(d.Text, ". There it is encrypted for the peer") || !strings.Contains(d.Text, "to 203.0.113.66:51820") {
				t.Errorf("the box does not say where it sends it: %s", d.Text)
			}
			d = explained(t, w, nodeR2, "Hop limit 16 → 15. The route leads to the next hop 2001:db8:0:2::1 on eth1", "RFC 8200 section 3")
			if !strings.Contains(d.Text, "ecrypted, and the source is one that this peer may have. Hop") {
				t.Errorf("the hub says nothing of the tunnel: %s", d.Text)
			}
			explained(t, w, nodeR1, "Hop limit 62 → 61. The destination is on the link of br-lan", "RFC 8200 section 3")
			ping(w, nodeH1, wwwAt, host.PingOptions{HopLimit: 1})
			explained(t, w, nodeR1, "Not forwarded: its hop limit is used up. The sender is told: Time Exceeded", "RFC 8200 section 3, RFC 4443 section 3.3")
		})
	}
}

func TestWalkTellsWhyAPacketEnds(t *testing.T) {
	w := begun(t, Options{Seed: 1})
	lan := netip.PrefixFrom(w.address(nodeH1), 64).Masked().Addr()
	ping(w, nodeH1, netip.MustParseAddr("2001:db8:ebbd:99ff::1"), host.PingOptions{})
	explained(t, w, nodeR2, "nobody has this part of the delegated prefix", "RFC 7084 WPD-5, RFC 4443 section 3.1")
	ping(w, nodeWWW, lan.Next().Next(), host.PingOptions{})
	explained(t, w, nodeR1, "to itselfNot forwarded: nobody answered the solicitations", "RFC 8200 section 3, RFC 4861 section 7.2.2, RFC 4443 section 3.1")
	w.Engine.Post(func() { w.check(w.scan()) })
	explained(t, w, nodeR1, "Dropped: nobody was heard with this address", "RFC 6583 section 7.1")
	// A host that lies about its source (BCP 38).
	r1, h1 := w.port("lan-r1", nodeR1).MAC(), w.port("lan-h1", nodeH1).MAC()
	lie := ip6pkt.EchoRequest(netip.MustParseAddr("2001:db8:bad::1"), wwwAt, 64, 1, 1)
	w.Engine.Post(func() { w.check(w.port("lan-h1", nodeH1).Send(slices.Concat(r1[:], h1[:], []byte{0x86, 0xdd}, lie))) })
	explained(t, w, nodeR1, "its source is not of our delegation", "RFC 7084 S-2, BCP 38, RFC 4443 section 3.1")
}

// What a world does not come by at the press of a button.
func TestVerdictsAreInWords(t *testing.T) {
	src, dst := netip.MustParseAddr("2001:db8:1::1"), wwwAt
	pkt := ip6pkt.EchoRequest(src, dst, 64, 1, 1)
	policy := ip6pkt.ICMPv6(dst, src, 64, append([]byte{1, 5, 0, 0, 0, 0, 0, 0}, pkt...))
	reset := ip6pkt.Packet(dst, src, protoTCP, 64, make([]byte, 20))
	for _, x := range []struct {
		v         forward.Verdict
		text, rfc string
	}{
		{forward.Verdict{Action: forward.Answer, Reason: forward.Stale, Packet: policy},
			"Not forwarded: its source is of a prefix that is gone. The sender is told: Destination Unreachable: source address failed ingress/egress policy", "RFC 7084 L-14, RFC 4443 section 3.1"},
		{forward.Verdict{Action: forward.Answer, Reason: forward.TunnelDead, Packet: reset}, "Not forwarded: the tunnel is dead", "RFC 9293 section 3.10.7.1"},
		{forward.Verdict{Action: forward.Drop, Reason: forward.NoRoute}, "Dropped: no route leads there. No error is sent", "RFC 4443 section 2.4"},
		{forward.Verdict{Action: forward.Drop, Reason: forward.Unsolicited}, "Dropped: nobody inside began this flow", "RFC 6092 section 3"},
		{forward.Verdict{Action: forward.Local}, "For an address of this node: its own stack takes it and answers the echo", "RFC 4443 section 4.2"},
	} {
		text, rfc := verdictText(netstack.Decision{Packet: pkt, Out: "br-lan", Verdict: x.v}, "oasis0")
		if !strings.HasPrefix(text, x.text) || rfc != x.rfc {
			t.Errorf("%v, %v: %q (%s)", x.v.Action, x.v.Reason, text, rfc)
		}
	}
}

func TestWalkTellsOfRedirectsAndOfSitesKeptApart(t *testing.T) {
	w := begun(t, Options{Seed: 1, Scenario: scenarioDownstream})
	explained(t, w, nodeR1, "so a Redirect tells it of this next hop", "RFC 8200 section 3, RFC 4861 section 8.2")
	w = begun(t, Options{Seed: 1, Scenario: scenarioTwoSites})
	explained(t, w, nodeR2, "Not forwarded: this hub keeps its sites apart", "RFC 4443 section 3.1")
	between := w.rec.all(0, func(r *record) bool {
		return r.Wire == "r2-inet" && r.To == nodeR2 && len(r.verdict) > 0 && strings.Contains(r.verdict[0].text, "The route leads into the tunnel")
	})
	if len(between) == 0 {
		t.Fatal("no packet from one site to the other")
	}
	walk, _ := (&Source{w: w}).Walk(frameNumber(between[0].id))
	if !slices.ContainsFunc(walk.Hops, func(h page.Hop) bool {
		return h.Decision.Node == nodeR2 && strings.Contains(h.Decision.Text, "decrypted, and the source is one that this peer may have") &&
			strings.Contains(h.Decision.Text, ". There it is encrypted again for the peer")
	}) {
		t.Errorf("from one site to another: %+v", walk)
	}
}

// What is still under way is not said to have ended.
func TestWalkOfAPacketOnTheWire(t *testing.T) {
	w := begun(t, Options{Seed: 1})
	src := &Source{w: w}
	ping(w, nodeH1, wwwAt, host.PingOptions{})
	var last *record
	ok, err := w.Engine.RunUntil(t.Context(), time.Second, func() bool {
		all := w.rec.all(0, func(r *record) bool { return r.Wire == "r2-inet" && r.inner != nil })
		last = all[len(all)-1]
		return last.At.Equal(w.Engine.Now())
	})
	if !ok || err != nil {
		t.Fatal(err)
	}
	walk, _ := src.Walk(frameNumber(last.id))
	if d := walk.Hops[len(walk.Hops)-1].Decision; d.Text != "Nothing yet: the packet is still on the wire" {
		t.Errorf("while it is on the wire: %+v", d)
	}
}

// Each reason of the forwarder is put in words.
func TestEachReasonIsInWords(t *testing.T) {
	n := 0
	for r := forward.NoReason + 1; !strings.HasPrefix(r.String(), "reason "); r++ {
		if why := refusalOf(r); why.text == "" || strings.HasSuffix(why.text, ".") {
			t.Errorf("%v: %q", r, why.text)
		}
		n++
	}
	if len(refusals) > n || n < 41 {
		t.Errorf("%d reasons, words for %d", n, len(refusals))
	}
}
