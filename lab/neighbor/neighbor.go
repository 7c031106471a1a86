// SPDX-License-Identifier: MIT

// Package neighbor is the neighbor cache of one port: who has which MAC, which packets wait for it, and whether the way
// there still works (RFC 4861 sections 7.2 and 7.3). Routers of IPv6 have it for Neighbor Discovery; those of IPv4 for ARP,
// as Linux does, which gives both the same states.
//
// It must not know messages, wires or the clock. Start at New and Cache.Step.
package neighbor

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// State is what is known of a neighbor.
//
//	           a packet              answered
//	(nothing) ─────────► Incomplete ─────────► Reachable ◄──────── answered ─┐
//	                         │                     │ ReachableTime           │
//	                         │ 3 questions         ▼            a packet     │
//	    asked ───────────────│────────────►      Stale ────────► Delay ──────┤
//	                         ▼                                     │ 5 s     │
//	                     (nothing) ◄──────── 3 questions ─────── Probe ──────┘
type State uint8

// The states of RFC 4861 section 7.3.2. The zero value: nothing is known.
const (
	Unknown State = iota
	Incomplete
	Reachable
	Stale
	Delay
	Probe
)

// String is the name that the RFC has for it.
func (s State) String() string {
	return [...]string{"", "INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE"}[s]
}

// RFC 4861 section 10.
const (
	MaxMulticastSolicit = 3
	MaxUnicastSolicit   = 3
	ReachableTime       = 30 * time.Second
	RetransTimer        = time.Second
	DelayFirstProbeTime = 5 * time.Second
	MinRandomFactor     = 0.5
	MaxRandomFactor     = 1.5
)

// Bounds: somebody who scans a LAN, or makes up addresses on it, costs no more.
const (
	MaxEntries = 512
	MaxWaiting = 8 // packets for one neighbor
	// unused entries are forgotten when there is no room for another one, as Linux does (gc_stale_time).
	unused = time.Minute
)

// Event is what happens to a cache.
type Event interface{ neighborEvent() }

type (
	// Packet is to go to a neighbor. Data belongs to the cache.
	Packet struct {
		To   netip.Addr
		Data []byte
	}
	// Asked says that a neighbor looked for us and said its own MAC: a Neighbor Solicitation with a source link-layer
	// address, or an ARP request.
	Asked struct {
		By  netip.Addr
		MAC [6]byte
	}
	// Answered is a Neighbor Advertisement, or an ARP reply, which is Solicited and Override and has a MAC. Who was asked
	// alone need not say its own (RFC 4861 section 7.2.4).
	Answered struct {
		Addr                netip.Addr
		MAC                 [6]byte
		HasMAC              bool
		Solicited, Override bool
	}
	// Tick says that the deadline of Actions.Wake has come.
	Tick struct{}
	// LinkDown forgets all.
	LinkDown struct{}
)

func (Packet) neighborEvent()   {}
func (Asked) neighborEvent()    {}
func (Answered) neighborEvent() {}
func (Tick) neighborEvent()     {}
func (LinkDown) neighborEvent() {}

// Frame is a packet that can go now.
type Frame struct {
	To   [6]byte
	Data []byte
}

// Question is one for a neighbor's MAC: to all, or to itself, whether it is still there.
type Question struct {
	For   netip.Addr
	ToAll bool
	MAC   [6]byte // whom to ask, unless ToAll
}

// Actions is what is to be done, in this order.
type Actions struct {
	Send []Frame
	Ask  []Question
	Lost [][]byte  // nobody answered
	Wake time.Time // zero: never by itself
}

// Cache is that of one port. It is not safe for concurrent use.
type Cache struct {
	rand    func() float64
	entries map[netip.Addr]*entry
}

type entry struct {
	state   State
	mac     [6]byte
	due     time.Time // the end of Reachable, the next thing of Incomplete, Delay and Probe
	asked   int
	used    time.Time // by a packet, or by the neighbor itself
	waiting [][]byte
}

// New makes an empty one. rand gives values in [0,1).
func New(rand func() float64) *Cache { return &Cache{rand, map[netip.Addr]*entry{}} }

// Len is how many neighbors are known or looked for.
func (c *Cache) Len() int { return len(c.entries) }

// Lookup is what is known of a neighbor; the MAC counts for states above Incomplete.
func (c *Cache) Lookup(now time.Time, a netip.Addr) (mac [6]byte, s State) {
	e := c.entries[a]
	if e == nil {
		return mac, Unknown
	}
	e.age(now)
	return e.mac, e.state
}

// Step does what ev and the time ask for.
func (c *Cache) Step(now time.Time, ev Event) Actions {
	var a Actions
	switch ev := ev.(type) {
	case Packet:
		c.packet(now, ev, &a)
	case Asked:
		c.asked(now, ev, &a)
	case Answered:
		c.answered(now, ev, &a)
	case Tick:
		c.tick(now, &a)
	case LinkDown:
		clear(c.entries)
	}
	for _, e := range c.entries {
		if e.state != Reachable && e.state != Stale && (a.Wake.IsZero() || e.due.Before(a.Wake)) {
			a.Wake = e.due
		}
	}
	return a
}

// age makes Reachable Stale when its time is over. Nobody has to be woken for that.
func (e *entry) age(now time.Time) {
	if e.state == Reachable && !now.Before(e.due) {
		e.state = Stale
	}
}

// packet is RFC 4861 section 7.3.3: "The first time a node sends a packet to a neighbor whose entry is STALE, the sender
// changes the state to DELAY and sets a timer to expire in DELAY_FIRST_PROBE_TIME seconds."
func (c *Cache) packet(now time.Time, p Packet, a *Actions) {
	e := c.entries[p.To]
	if e == nil {
		if e = c.add(now, p.To); e == nil {
			a.Lost = append(a.Lost, p.Data)
			return
		}
		c.ask(now, p.To, e, a)
	}
	e.age(now)
	e.used = now
	switch e.state {
	case Incomplete:
		// "When a queue overflows, the new arrival SHOULD replace the oldest entry" (section 7.2.2).
		if len(e.waiting) == MaxWaiting {
			e.waiting = e.waiting[1:]
		}
		e.waiting = append(e.waiting, p.Data)
		return
	case Stale:
		e.state, e.due = Delay, now.Add(DelayFirstProbeTime)
	}
	a.Send = append(a.Send, Frame{e.mac, p.Data})
}

// add makes an entry, if there is room for it.
func (c *Cache) add(now time.Time, addr netip.Addr) *entry {
	if len(c.entries) >= MaxEntries {
		maps.DeleteFunc(c.entries, func(_ netip.Addr, e *entry) bool {
			e.age(now)
			return e.state == Stale && now.Sub(e.used) >= unused
		})
	}
	if len(c.entries) >= MaxEntries {
		return nil
	}
	e := &entry{state: Incomplete, used: now}
	c.entries[addr] = e
	return e
}

// ask asks the next time, all or the neighbor itself.
func (c *Cache) ask(now time.Time, addr netip.Addr, e *entry, a *Actions) {
	e.asked++
	e.due = now.Add(RetransTimer)
	a.Ask = append(a.Ask, Question{addr, e.state == Incomplete, e.mac})
}

// tick goes on with what is due.
func (c *Cache) tick(now time.Time, a *Actions) {
	for _, addr := range slices.SortedFunc(maps.Keys(c.entries), func(x, y netip.Addr) int {
		return cmp.Or(c.entries[x].due.Compare(c.entries[y].due), x.Compare(y))
	}) {
		e := c.entries[addr]
		if e.state == Reachable || e.state == Stale || now.Before(e.due) {
			continue
		}
		switch {
		case e.state == Delay:
			e.state, e.asked = Probe, 0
			c.ask(now, addr, e, a)
		case e.state == Incomplete && e.asked < MaxMulticastSolicit, e.state == Probe && e.asked < MaxUnicastSolicit:
			c.ask(now, addr, e, a)
		default: // "the entry SHOULD be deleted": what comes for it looks for it anew
			a.Lost = append(a.Lost, e.waiting...)
			delete(c.entries, addr)
		}
	}
}

// asked is RFC 4861 section 7.2.3: who asks is about to talk to us. That it can be reached this does not show.
func (c *Cache) asked(now time.Time, ev Asked, a *Actions) {
	e := c.entries[ev.By]
	if e == nil {
		if e = c.add(now, ev.By); e == nil {
			return
		}
	}
	e.age(now)
	e.used = now
	if e.state == Incomplete || e.mac != ev.MAC {
		e.state = Stale
		e.learn(ev.MAC, a)
	}
}

// answered is RFC 4861 section 7.2.5. No entry is made of it.
func (c *Cache) answered(now time.Time, ev Answered, a *Actions) {
	e := c.entries[ev.Addr]
	if e == nil {
		return
	}
	e.age(now)
	if !ev.HasMAC {
		if e.state == Incomplete {
			return // "the receiving node SHOULD silently discard the received advertisement"
		}
		ev.MAC = e.mac
	}
	other := e.mac != ev.MAC
	switch {
	case e.state == Incomplete: // the Override flag is ignored
		e.state = Stale
	case other && !ev.Override:
		if e.state == Reachable {
			e.state = Stale
		}
		return
	case other && !ev.Solicited:
		e.state = Stale
	}
	e.learn(ev.MAC, a)
	if ev.Solicited {
		factor := MinRandomFactor + c.rand()*(MaxRandomFactor-MinRandomFactor)
		e.state, e.due = Reachable, now.Add(time.Duration(factor*float64(ReachableTime)))
	}
}

// learn takes the MAC and lets go what waited for it.
func (e *entry) learn(mac [6]byte, a *Actions) {
	e.mac = mac
	for _, b := range e.waiting {
		a.Send = append(a.Send, Frame{mac, b})
	}
	e.waiting = nil
}
