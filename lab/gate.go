// SPDX-License-Identifier: MIT

package lab

import (
	"bytes"
	"slices"
	"sync"

	"oasis6/lab/engine"
	"oasis6/lab/wire"
)

// gates stand between a node and its wires, so that they can be shut for good.
type gates struct {
	e   *engine.Engine
	all []*gate
}

// gate passes frames. gVisor makes the reports of Multicast Listener Discovery that are due at one instant in the order of
// a map; the gate sorts them, so that the same seed gives the same world.
type gate struct {
	wire.End
	e *engine.Engine

	mu      sync.Mutex
	shut    bool
	reports [][]byte
}

func (g *gates) open(end wire.End) *gate {
	x := &gate{End: end, e: g.e}
	g.all = append(g.all, x)
	return x
}

// shut lets nothing through any more, in neither direction.
func (g *gates) shut() {
	for _, x := range g.all {
		x.mu.Lock()
		x.shut = true
		x.mu.Unlock()
		x.Attach(nil, nil)
	}
}

// Send is wire.End's.
func (x *gate) Send(frame []byte) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.shut:
		return nil
	case isReport(frame):
		if len(x.reports) == 0 {
			x.e.Post(x.flush)
		}
		x.reports = append(x.reports, frame)
		return nil
	}
	return x.End.Send(frame)
}

func (x *gate) flush() {
	x.mu.Lock()
	defer x.mu.Unlock()
	slices.SortFunc(x.reports, bytes.Compare)
	for _, f := range x.reports {
		if !x.shut {
			_ = x.End.Send(f) // as lost as on any wire
		}
	}
	x.reports = nil
}

// isReport says whether a frame is for the group of MLDv2-capable routers, RFC 9777 section 5.2.14.
func isReport(frame []byte) bool { return bytes.HasPrefix(frame, []byte{0x33, 0x33, 0, 0, 0, 0x16}) }
