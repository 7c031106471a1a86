// SPDX-License-Identifier: MIT

package lab

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"oasis6/lab/page"
)

// liveSource is a source of a world that runs beside the test, fast.
func liveSource(t *testing.T, o Options) *Source {
	t.Helper()
	w := newTestWorld(t, o)
	s := NewSource(w)
	w.Engine.SetSpeed(20)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return s
}

// until asks for the state until it is right.
func until(t *testing.T, s *Source, what string, right func(page.State) bool) page.State {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(gatherEvery) {
		st := s.State()
		if right(st) {
			return st
		}
		if time.Now().After(end) {
			t.Fatalf("%s: never: %+v", what, st)
		}
	}
}

func passedAll(st page.State) bool {
	return len(st.Steps) > 0 && !slices.ContainsFunc(st.Steps, func(x page.Step) bool { return x.State != page.Passed })
}

// Every part of the state speaks of parts of the world, and hosts say who gave them what.
func TestStateFitsTheWorld(t *testing.T) {
	for _, x := range Scenarios() {
		if x.Missing != "" {
			continue
		}
		t.Run(x.Name, func(t *testing.T) {
			s := liveSource(t, Options{Scenario: x.Name, Seed: 2})
			world := s.World()
			st := until(t, s, "addresses", func(st page.State) bool {
				return slices.ContainsFunc(st.Nodes[nodeH1].Addresses, func(a page.Address) bool {
					return strings.HasPrefix(a.From, "RA of r1 (fe80::") && !a.ValidUntil.IsZero() && !a.Since.IsZero()
				})
			})
			if len(st.Nodes) != len(world.Nodes) || len(st.Wires) != len(world.Wires) || len(st.Tunnels) != len(world.Tunnels) {
				t.Errorf("%d of %d nodes, %d of %d wires, %d of %d tunnels", len(st.Nodes), len(world.Nodes), len(st.Wires), len(world.Wires), len(st.Tunnels), len(world.Tunnels))
			}
			for _, p := range world.Tunnels {
				if len(p.Path) == 0 || st.Tunnels[p.ID].Endpoint == "" {
					t.Errorf("tunnel %+v: %+v", p, st.Tunnels[p.ID])
				}
			}
			if len(st.Nodes[nodeNAT1].NAT) == 0 || len(st.Prefixes) != 1 || len(st.Prefixes[0].Children) == 0 || len(st.Prefixes[0].Children[0].Children) == 0 {
				t.Errorf("NAT %+v, plan %+v", st.Nodes[nodeNAT1].NAT, st.Prefixes)
			}
		})
	}
}

// Routers that are no product tell what they know, too; what the box gives to one behind its LAN stands in the plan.
func TestRoutersOfTheLabAreShown(t *testing.T) {
	s := liveSource(t, Options{Scenario: scenarioDownstream, Seed: 2})
	st := until(t, s, "end of the scenario", passedAll)
	r3 := st.Nodes[nodeR3]
	def := slices.IndexFunc(r3.Routes, func(r page.Route) bool { return r.Dst == "::/0" })
	if def < 0 || r3.Routes[def].From != "RA of r1" || r3.Routes[def].Until.Before(start) || !strings.HasPrefix(r3.Routes[def].Via, "fe80::") {
		t.Errorf("r3's default route: %+v", r3.Routes)
	}
	own := slices.IndexFunc(r3.Addresses, func(a page.Address) bool { return a.Iface == "r3-h3" && a.ValidUntil.After(start) })
	if own < 0 || !slices.Contains(r3.Badges, "default router on its LAN") {
		t.Fatalf("r3: %+v", r3)
	}
	site := st.Prefixes[0].Children[0].Children[0]
	at := slices.IndexFunc(site.Children, func(p page.Prefix) bool { return p.Owner == nodeR3 && p.Kind == "delegation" })
	if at < 0 || len(site.Children[at].Children) != 1 {
		t.Fatalf("the plan of %s: %+v", site.Owner, site.Children)
	}
	lan := site.Children[at].Children[0]
	if !strings.HasSuffix(lan.Prefix, "::/64") || !strings.HasPrefix(r3.Addresses[own].Addr, strings.TrimSuffix(lan.Prefix, "/64")) || lan.Kind != "LAN" {
		t.Errorf("r3's LAN %+v, its address %+v", lan, r3.Addresses[own])
	}
	if !slices.ContainsFunc(st.Nodes[nodeR1].Routes, func(r page.Route) bool {
		return r.Dst == site.Children[at].Prefix && r.From == "its own lease to r3" && strings.HasPrefix(r.Via, "fe80::")
	}) {
		t.Errorf("r1's routes: %+v", st.Nodes[nodeR1].Routes)
	}
	if !slices.ContainsFunc(st.Nodes[nodeNet6].Routes, func(r page.Route) bool { return r.Dst == providerPrefix && r.Via == "2001:db8:0:2::2" }) {
		t.Errorf("the IPv6 Internet's routes: %+v", st.Nodes[nodeNet6].Routes)
	}
	if rogue := st.Nodes[nodeRogue]; len(rogue.Addresses) != 1 || !slices.Equal(rogue.Badges, []string{"quiet"}) {
		t.Errorf("the laptop before it speaks: %+v", rogue)
	}
	if _, err := s.Do(t.Context(), page.Action{Action: doRogue}); err != nil {
		t.Fatal(err)
	}
	until(t, s, "the laptop speaks, and the box hears it", func(st page.State) bool {
		return slices.Contains(st.Nodes[nodeRogue].Badges, "says it is a router") && slices.Contains(st.Nodes[nodeR1].Badges, "also says it is a router: rogue")
	})
}

// What stands still is told once: a state that flickers is sent ten times a second to each page.
func TestStateStandsStill(t *testing.T) {
	s := liveSource(t, Options{Seed: 1})
	first := until(t, s, "end of the scenario", passedAll)
	same := 0
	for range 10 {
		time.Sleep(gatherEvery)
		st := s.State()
		if st.Tunnels[pipeOf(nodeR1)].HandshakeAt.Equal(first.Tunnels[pipeOf(nodeR1)].HandshakeAt) && st.Prefixes[0].Children[0].Children[0].Until.Equal(first.Prefixes[0].Children[0].Children[0].Until) {
			same++
		}
	}
	if same != 10 {
		t.Errorf("%d of 10 states tell the same instants", same)
	}
}

// heard tries something again and again until the timeline has texts, the first before the others.
func heard(t *testing.T, s *Source, what string, try func(), first string, others ...string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(gatherEvery) {
		try()
		said := ""
		for _, e := range s.Past(page.Mark{}).Log {
			said += e.Text + "\n"
		}
		_, after, found := strings.Cut(said, first)
		for _, x := range others {
			found = found && strings.Contains(after, x)
		}
		if found {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not in the timeline:\n%s", what, said)
		}
	}
}

func TestButtonsDoWhatTheySay(t *testing.T) {
	s := liveSource(t, Options{Seed: 1})
	do := func(action, target, arg string) {
		t.Helper()
		if _, err := s.Do(t.Context(), page.Action{Action: action, Target: target, Arg: arg}); err != nil {
			t.Errorf("%s %s %s: %v", action, target, arg, err)
		}
	}
	until(t, s, "end of the scenario", passedAll)
	for _, x := range []struct {
		action string
		seen   func(page.State) bool
	}{
		{doTunnel, func(st page.State) bool { return st.Wires[cutWire].Blocked == "tunnel" }},
		{doICMPv6, func(st page.State) bool { return st.Wires[icmpWire].Blocked == "ICMPv6" }},
		{doMTU, func(st page.State) bool { return st.Wires[narrowWire].MTU == narrowMTU }},
		{doRogue, func(st page.State) bool {
			return slices.ContainsFunc(st.Nodes[nodeH2].Addresses, func(a page.Address) bool { return strings.HasPrefix(a.From, "RA of rogue (") })
		}},
		{doCable, func(st page.State) bool { return !st.Wires["lan-h1"].Up && !st.Nodes[nodeH1].Up }},
	} {
		do(x.action, "", "")
		until(t, s, x.action, func(st page.State) bool { return x.seen(st) && st.Actions[x.action].On })
		do(x.action, "", "")
		until(t, s, x.action+" undone", func(st page.State) bool { return !st.Actions[x.action].On })
	}
	do(doReboot, nodeR1, "")
	heard(t, s, "r1 is back", func() {}, "has no power", "tunnel up")
	do(doRebind, nodeNAT1, "")
	heard(t, s, "a page and a pong", func() { do(doFetch, nodeH2, "www4"); do(doPing, nodeH2, "v4") },
		"nat1 forgets its table", "the server saw 203.0.113.2", "ping of www by IPv4: answered in")
	for _, a := range []page.Action{{Action: "nonsense"}, {Action: doPing, Target: "nobody"}, {Action: doReboot, Target: "h1"}, {Action: doCable, Target: "x"}, {Action: doRebind, Target: "www"}} {
		if _, err := s.Do(t.Context(), a); err == nil {
			t.Errorf("%+v is done", a)
		}
	}
	if err := s.StartLesson("nonsense"); err == nil {
		t.Error("a lesson that there is not is started")
	}
}

// A page that comes late and one that stays are told the same, each packet once.
func TestReadersAreToldAll(t *testing.T) {
	s := liveSource(t, Options{Seed: 1})
	ctx, cancel := context.WithCancel(t.Context())
	updates := s.Subscribe(ctx)
	past := s.Past(page.Mark{})
	var last, lastLog uint64
	if n := len(past.Packets); n > 0 {
		last = past.Packets[n-1].ID
	}
	if n := len(past.Log); n > 0 {
		lastLog = past.Log[n-1].ID
	}
	deadline := time.After(30 * time.Second)
	inside := 0
	for last < 800 {
		select {
		case u := <-updates:
			for _, p := range u.Packets {
				if p.ID > last {
					if p.ID%2 == 1 {
						inside++
					}
					if p.ID%2 == 1 && (p.ID != last+1 || p.Wire != pipeOf(nodeR1)) || p.ID%2 == 0 && recordOf(p.ID) != recordOf(last)+1 || p.Wire == "" || p.Kind == "" || p.Summary == "" || p.Walk == 0 {
						t.Fatalf("after packet %d comes %+v", last, p)
					}
					last = p.ID
				}
			}
			for _, e := range u.Log {
				if e.ID > lastLog {
					if e.ID != lastLog+1 {
						t.Fatalf("after entry %d comes %+v", lastLog, e)
					}
					lastLog = e.ID
				}
			}
			if u.Missed > 0 {
				t.Fatalf("%d packets are missed by a reader that reads", u.Missed)
			}
		case <-deadline:
			t.Fatalf("after 30 s only %d packets", last)
		}
	}
	cancel()
	for range updates {
	}
	if inside < 20 {
		t.Errorf("%d packets were seen inside the tunnel", inside)
	}
	if err := s.Time(page.TimeOp{Op: "pause"}); err != nil {
		t.Fatal(err)
	}
	s.State() // what was under way is done
	all := s.Past(page.Mark{}).Packets
	for i := range all[:len(all)-1] {
		if next := s.Past(page.Mark{Packet: all[i].ID}).Packets; len(next) == 0 || next[0].ID != all[i+1].ID {
			t.Fatalf("after packet %d the past begins with %+v, not with %+v", all[i].ID, next[:min(1, len(next))], all[i+1])
		}
		w, ok := s.Walk(all[i].ID)
		if !ok || !slices.ContainsFunc(w.Hops, func(h page.Hop) bool { return h.ID == all[i].ID }) {
			t.Fatalf("the walk of %+v does not have it: %v", all[i], ok)
		}
	}
	if _, ok := s.Walk(last); !ok {
		t.Error("no walk of the last packet")
	}
	if _, ok := s.Walk(last + 1<<40); ok {
		t.Error("a walk of a packet that there is not")
	}
}

func TestTimeIsStopped(t *testing.T) {
	s := liveSource(t, Options{Seed: 1})
	until(t, s, "end of the scenario", passedAll)
	if err := s.Time(page.TimeOp{Op: "pause"}); err != nil {
		t.Fatal(err)
	}
	a := s.State()
	time.Sleep(150 * time.Millisecond)
	if b := s.State(); !b.Clock.Paused || !b.Clock.Now.Equal(a.Clock.Now) || !b.Clock.CanPause {
		t.Errorf("paused: %+v, then %+v", a.Clock, b.Clock)
	}
	for range 3 {
		before := s.w.rec.newest()
		if err := s.Time(page.TimeOp{Op: "step"}); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(10 * time.Second); s.w.rec.newest() == before; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("a step shows no packet")
			}
		}
	}
	if err := s.Time(page.TimeOp{Op: "play"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Time(page.TimeOp{Op: "speed", Speed: 1000}); err != nil {
		t.Fatal(err)
	}
	until(t, s, "an hour later", func(st page.State) bool { return st.Clock.Now.Sub(start) > time.Hour && st.Clock.Speed == 1000 })
}

func TestRealTimeIsNotStopped(t *testing.T) {
	s := liveSource(t, Options{Seed: 1, Link: WG})
	until(t, s, "a tunnel", func(st page.State) bool { return st.Tunnels[pipeOf(nodeR1)].State == "up" })
	if err := s.Time(page.TimeOp{Op: "pause"}); err == nil || s.State().Clock.CanPause {
		t.Errorf("real time is paused: %v", err)
	}
	if s.World().Link != "wg" {
		t.Error("the page is not told which link it is")
	}
}

// A source costs an engine that nobody asks nothing, and says so when it has ended.
func TestSourceOfAnEndedWorld(t *testing.T) {
	w := newTestWorld(t, Options{Seed: 1})
	s := NewSource(w)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Do(ctx, page.Action{Action: doRenumber}); err == nil {
		t.Error("a world that does not run has done something")
	}
}

func TestCaptureOfNothing(t *testing.T) {
	w := newTestWorld(t, Options{Seed: 1})
	var out bytes.Buffer
	if err := NewSource(w).Pcap(&out, "wan", true); err != nil || out.Len() < 28 {
		t.Errorf("%v, %d octets", err, out.Len())
	}
}
