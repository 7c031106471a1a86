// SPDX-License-Identifier: MIT

// Package link is a neighbor cache at work: on a port of a wire, in an engine's time. How neighbors are asked, and what they
// say, is of the protocol that has it.
//
// Start at New and Link.Send.
package link

import (
	"encoding/binary"
	"net/netip"

	"oasis6/lab/engine"
	"oasis6/lab/neighbor"
	"oasis6/lab/wire"
)

// Protocol is what a Link is for.
type Protocol struct {
	EtherType uint16 // of the packets
	// Ask sends a question.
	Ask func(neighbor.Question)
	// Lost is told of packets whose neighbor did not answer. It may send others.
	Lost func(packets [][]byte)
}

// Link knows the neighbors on one port. It is used on the engine's goroutine.
type Link struct {
	e     *engine.Engine
	port  wire.End
	proto Protocol
	cache *neighbor.Cache
	timer *engine.Timer
}

// New makes a Link that knows nobody. The name tells its random numbers from those of others on the wire.
func New(e *engine.Engine, port wire.End, name string, p Protocol) *Link {
	r := e.Rand("neighbors " + port.Wire().ID() + " " + name)
	return &Link{e: e, port: port, proto: p, cache: neighbor.New(r.Float64)}
}

// Send sends a packet to a neighbor, as soon as its MAC is known.
func (l *Link) Send(to netip.Addr, b []byte) { l.Step(neighbor.Packet{To: to, Data: b}) }

// Forget is for a cable that was pulled.
func (l *Link) Forget() { l.Step(neighbor.LinkDown{}) }

// Lookup is neighbor.Cache's.
func (l *Link) Lookup(a netip.Addr) (mac [6]byte, s neighbor.State) {
	return l.cache.Lookup(l.e.Now(), a)
}

// Len is neighbor.Cache's.
func (l *Link) Len() int { return l.cache.Len() }

// Step tells the cache what has happened, and does what it wants.
func (l *Link) Step(ev neighbor.Event) {
	now := l.e.Now()
	a := l.cache.Step(now, ev)
	if l.timer != nil {
		l.timer.Stop()
	}
	if !a.Wake.IsZero() {
		l.timer = l.e.AfterFunc(a.Wake.Sub(now), func() { l.Step(neighbor.Tick{}) })
	}
	for _, f := range a.Send {
		l.Frame(f.To, l.proto.EtherType, f.Data)
	}
	for _, q := range a.Ask {
		l.proto.Ask(q)
	}
	if len(a.Lost) > 0 {
		l.proto.Lost(a.Lost) // last: it may come here again
	}
}

// Frame sends content to a MAC.
func (l *Link) Frame(to [6]byte, etherType uint16, content []byte) {
	own := l.port.MAC()
	f := append(append(make([]byte, 0, wire.Header+len(content)), to[:]...), own[:]...)
	f = append(binary.BigEndian.AppendUint16(f, etherType), content...)
	_ = l.port.Send(f) // fails only when the node was taken off the wire
}
