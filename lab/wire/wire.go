// SPDX-License-Identifier: MIT

// Package wire is the lab's Ethernet: wires between two ports, and learning switches.
//
// It must not know what frames mean. Start at New.
package wire

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"oasis6/lab/engine"
)

// Header is the length of an Ethernet header without VLAN tag; a wire's MTU is without it.
const Header = 14

// Port is one end of a wire, at a node. Its methods may be called from any goroutine.
type Port struct {
	wire *Wire
	end  int
	node string
	mac  [6]byte

	deliver func(frame []byte)
	state   func(up bool)
}

// Config of a wire.
type Config struct {
	ID    string
	Delay time.Duration // each way
	MTU   int           // 0: 1500
}

// Wire carries frames both ways, in order. What a node sends at one instant arrives Delay later, as an event each.
type Wire struct {
	e     *engine.Engine
	cfg   Config
	ports [2]*Port
	rand  *rand.Rand // of losses; the engine's goroutine only

	mu     sync.Mutex
	down   bool
	mtu    int
	loss   float64
	filter func(from *Port, frame []byte) string
	taps   []func(*Passage)
	outbox []sent
}

type sent struct {
	from  *Port
	frame []byte
}

// Passage is one frame on its way.
type Passage struct {
	At      time.Time // when it left
	Wire    string
	From    string // nodes
	To      string
	Flight  time.Duration
	Frame   []byte // not to be changed
	Dropped string // why it does not arrive, in words; empty: it does
}

// New makes a wire between ports of two nodes, with these addresses.
func New(e *engine.Engine, c Config, nodes [2]string, macs [2][6]byte) *Wire {
	if c.MTU == 0 {
		c.MTU = 1500
	}
	w := &Wire{e: e, cfg: c, mtu: c.MTU, rand: e.Rand("wire " + c.ID)}
	for i := range w.ports {
		w.ports[i] = &Port{wire: w, end: i, node: nodes[i], mac: macs[i]}
	}
	e.OnRest(w.flush)
	return w
}

// ID is that of the configuration.
func (w *Wire) ID() string { return w.cfg.ID }

// Port is one of the two ends, 0 or 1.
func (w *Wire) Port(end int) *Port { return w.ports[end] }

// Tap calls f for each frame that is sent, on the engine's goroutine.
func (w *Wire) Tap(f func(*Passage)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taps = append(w.taps, f)
}

// SetUp plugs the cable in or pulls it: both ends see their carrier go. What is on its way is lost.
func (w *Wire) SetUp(up bool) {
	w.mu.Lock()
	changed := w.down == up
	w.down = !up
	w.mu.Unlock()
	if !changed {
		return
	}
	for _, p := range w.ports {
		w.e.Post(func() {
			if f := p.stateFunc(); f != nil {
				f(up)
			}
		})
	}
}

// Up says whether the cable is plugged in.
func (w *Wire) Up() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.down
}

// SetMTU changes what fits. What is longer is dropped without a word, as a real wire does it: nodes must know.
func (w *Wire) SetMTU(mtu int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mtu = mtu
}

// MTU is the longest packet that fits.
func (w *Wire) MTU() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mtu
}

// SetLoss loses so many of all frames, 0 to 1.
func (w *Wire) SetLoss(share float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loss = share
}

// SetFilter asks f for each frame why it is to be dropped, in words; empty: it is not. nil: no filter.
func (w *Wire) SetFilter(f func(from *Port, frame []byte) string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.filter = f
}

// Filtered says whether there is a filter.
func (w *Wire) Filtered() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.filter != nil
}

// flush takes what was sent since it was last called. In virtual time that is when all is at rest, so that the order of
// frames of different wires does not depend on the order in which goroutines ran.
func (w *Wire) flush() bool {
	w.mu.Lock()
	out := w.outbox
	w.outbox = nil
	w.mu.Unlock()
	// Each end in its own order.
	for end := range w.ports {
		for _, s := range out {
			if s.from.end == end {
				w.carry(s)
			}
		}
	}
	return len(out) > 0
}

func (w *Wire) carry(s sent) {
	to := w.ports[1-s.from.end]
	w.mu.Lock()
	down, mtu, loss, filter, taps := w.down, w.mtu, w.loss, w.filter, w.taps
	w.mu.Unlock()
	p := Passage{At: w.e.Now(), Wire: w.cfg.ID, From: s.from.node, To: to.node, Flight: w.cfg.Delay, Frame: s.frame}
	switch {
	case down:
		p.Dropped = "the cable is not plugged in"
	case len(s.frame) > mtu+Header:
		p.Dropped = fmt.Sprintf("%d octets do not fit: the MTU of this wire is %d", len(s.frame)-Header, mtu)
	case loss > 0 && w.rand.Float64() < loss:
		p.Dropped = "lost"
	case filter != nil:
		p.Dropped = filter(s.from, s.frame)
	}
	for _, f := range taps {
		f(&p)
	}
	if p.Dropped != "" {
		return
	}
	w.e.AfterFunc(w.cfg.Delay, func() {
		if !w.Up() {
			return
		}
		if f := to.deliverFunc(); f != nil {
			f(s.frame)
		}
	})
}

// Node is whose port it is.
func (p *Port) Node() string { return p.node }

// Wire is where the port leads to.
func (p *Port) Wire() *Wire { return p.wire }

// MAC is the port's own address.
func (p *Port) MAC() [6]byte { return p.mac }

// MTU is the wire's.
func (p *Port) MTU() int { return p.wire.MTU() }

// Up is the carrier.
func (p *Port) Up() bool { return p.wire.Up() }

// Attach names what gets the frames that arrive and what hears of the carrier's changes, both on the engine's goroutine.
// A frame is not to be changed. Either may be nil.
func (p *Port) Attach(deliver func(frame []byte), state func(up bool)) {
	p.wire.mu.Lock()
	defer p.wire.mu.Unlock()
	p.deliver, p.state = deliver, state
}

func (p *Port) deliverFunc() func([]byte) {
	p.wire.mu.Lock()
	defer p.wire.mu.Unlock()
	return p.deliver
}

func (p *Port) stateFunc() func(bool) {
	p.wire.mu.Lock()
	defer p.wire.mu.Unlock()
	return p.state
}

// errShort is for frames without a whole header.
var errShort = errors.New("frame is shorter than an Ethernet header")

// Send takes a whole frame, without checksum. The frame belongs to the wire afterwards. A frame that cannot arrive is
// no error.
func (p *Port) Send(frame []byte) error {
	if len(frame) < Header {
		return errShort
	}
	w := p.wire
	w.mu.Lock()
	if p.deliver == nil && p.state == nil {
		w.mu.Unlock()
		return net.ErrClosed
	}
	first := len(w.outbox) == 0
	w.outbox = append(w.outbox, sent{p, frame})
	w.mu.Unlock()
	if first {
		w.e.Post(func() {}) // whatever was sent from outside of an event is carried after this one
	}
	return nil
}

// Close takes the node off the port.
func (p *Port) Close() error {
	p.Attach(nil, nil)
	return nil
}
