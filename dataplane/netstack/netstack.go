// SPDX-License-Identifier: MIT

// Package netstack is the data plane without the kernel: a router in this process, on Ethernet links that it is given or
// on taps that are ports of the LAN bridges.
//
// Forwarding is ours (dataplane/netstack/forward decides, dataplane/netstack/neigh finds the neighbors): gVisor's has
// faults that break a router. gVisor has what is local: duplicate address detection, answers to solicitations, MLD, echo,
// and the sockets of the box. What it sends is routed by our table, so that there is one.
//
// It must not know why a route is wanted, nor WireGuard, but for the tun.Device that it offers. Start at Open.
package netstack

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"oasis6/dataplane"
	"oasis6/dataplane/netstack/forward"
	"oasis6/dataplane/netstack/neigh"
	"oasis6/internal/bootclock"
)

// Options are what a Plane is made of. The zero value is the machine: its clock, its randomness, taps on its bridges.
type Options struct {
	Log    *slog.Logger
	Clock  tcpip.Clock      // of gVisor and of all timers; nil: the machine's
	Now    func() time.Time // the instant that goes with it; nil: the boot clock
	Random Random           // nil: crypto/rand
	// OpenLAN finds the link of an interface of Desired. It is asked again every second while it fails; ErrNoInterface says
	// that there is none yet. nil: a tap on
	// the bridge of that name.
	OpenLAN func(name string) (Link, error)
	// Identity is what tells this box from all others, its public key for instance: the taps have the same MAC after
	// every start. Without a tap it is not needed.
	Identity []byte
	// RunDir has, until Restore, a file with what a successor of the same boot, which BootID names, must know; both only
	// without OpenLAN.
	RunDir, BootID string
	// Tunnel is the name of the tunnel's interface, for texts and before Apply has named it.
	Tunnel string
	// Explain, if there is one, hears of each packet that came in what was decided, and again of one whose next hop does not
	// answer. It is called on the packet's path, by any goroutine, and must not wait.
	Explain func(Decision)
	// Given is what the node has beside what Apply wants, as an administrator would configure it: the uplink of a hub.
	Given Given
}

// Given are addresses and routes that Apply neither makes nor removes.
type Given struct {
	Addresses []dataplane.Address
	Routes    []dataplane.Route
}

// Random is the source of all that is chosen at random. It need not be safe for concurrent use.
type Random interface {
	io.Reader
	Int63() int64
	Seed(int64)
	Float64() float64
}

// Link is an Ethernet link. Its methods may be called from any goroutine.
type Link interface {
	MAC() [6]byte // of our station on it
	MTU() int     // of packets; it may change
	Up() bool     // there is a carrier
	// Attach begins to call deliver for each frame that arrives, whoever it is for, and state when the carrier or the MTU
	// has changed. A frame is not changed, and not kept after the call. Neither is called any more after Close.
	Attach(deliver func(frame []byte), state func(up bool))
	// Send takes a whole frame, which belongs to the link afterwards. It does not wait, and what it cannot send is lost.
	Send(frame []byte) error
	Close() error
}

// ErrNoInterface is no error of Apply: when the interface comes, that is an event.
var ErrNoInterface = errors.New("no such interface")

// tunnelNIC is the index of the tunnel, in gVisor and in the forwarder. LANs have those that follow.
const tunnelNIC = 1

// upkeepEvery is how often the forwarder is told of neighbors again, which it forgets in hours, a link-local address
// that another node had is tried once more, and what was lost is logged.
const upkeepEvery = time.Minute

// Plane is a router in this process.
type Plane struct {
	random
	o      Options
	log    *slog.Logger
	stack  *stack.Stack
	fwd    *forward.Forwarder
	tunnel *tunnel
	events *mailbox
	view   atomic.Pointer[view]
	lost   [losses]atomic.Uint64 // beside what the forwarder counts
	// batches are kept for reuse: each goroutine that writes to the device has one.
	batches  sync.Pool
	sendings sync.Pool         // of *sending, for reuse
	bridges  *bridges          // nil where links are given
	owner    *net.UnixListener // keeps another box out of the network namespace
	mark     mark
	closing  sync.WaitGroup // of ports whose link has gone

	newsMu sync.Mutex
	news   []func() // what callbacks have left to be done

	mu          sync.Mutex // guards what follows; not held while a packet is on its way
	names       []string   // by Watch
	want        dataplane.Desired
	active      bool // between the first Apply and Restore
	ports       map[string]*port
	tunnelAddrs addresses
	nextNIC     tcpip.NICID
	retry       tcpip.Timer      // for links that could not be opened
	tried       map[string]error // why they could not
	upkeep      tcpip.Timer
	logged      lossLog // that the upkeep has logged
	told        map[string]dataplane.Link
	closed      bool
}

var _ dataplane.Plane = (*Plane)(nil)

// view is what the path of a packet needs to know. It is never changed, only replaced.
type view struct {
	ports   map[forward.Index]*port
	own     map[netip.Addr]tcpip.NICID // addresses but link-local ones
	anycast map[netip.Addr]anycast
}

// Open makes a router without links, which forwards nothing. OpenLAN is called from Watch and Apply.
func Open(o Options) (*Plane, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = tcpip.NewStdClock()
	}
	if o.Now == nil {
		o.Now = bootclock.Now
	}
	p := &Plane{
		o: o, log: o.Log, random: random{from: o.Random}, ports: map[string]*port{}, nextNIC: tunnelNIC + 1,
		tunnelAddrs: addresses{}, tried: map[string]error{}, told: map[string]dataplane.Link{},
	}
	p.batches.New = func() any { return newBatch() }
	p.sendings.New = func() any { return &sending{} }
	p.fwd = forward.New(forward.Options{Seed: [2]uint64{p.uint64(), p.uint64()}})
	p.events = newMailbox()
	if err := p.open(); err != nil {
		p.closeMachine()
		p.events.close()
		return nil, fmt.Errorf("userspace data plane: %w", err)
	}
	p.rebuild()
	p.upkeep = p.o.Clock.AfterFunc(upkeepEvery, p.lookAfter)
	return p, nil
}

func (p *Plane) open() (err error) {
	if p.o.OpenLAN == nil {
		if err := p.openMachine(); err != nil {
			return err
		}
	}
	if p.stack, err = newStack(p); err != nil {
		return err
	}
	p.tunnel = newTunnel(p)
	if err := p.tunnel.attach(); err != nil {
		p.stack.Destroy()
		return err
	}
	return nil
}

// lookAfter does from time to time what nothing else calls for.
func (p *Plane) lookAfter() {
	p.settle()
	c := p.Counters()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.logged.report(p.log, c)
		p.upkeep.Reset(upkeepEvery)
	}
}

// Stack is gVisor's, for sockets of the box itself.
func (p *Plane) Stack() *stack.Stack { return p.stack }

// Events is dataplane.Plane's.
func (p *Plane) Events() <-chan dataplane.Event { return p.events.out }

// Close takes the node off its links and forgets all. What it did for the LANs ends with it.
func (p *Plane) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	if p.retry != nil {
		p.retry.Stop()
	}
	p.upkeep.Stop()
	ports := p.ports
	p.ports = map[string]*port{}
	p.view.Store(&view{})
	p.mu.Unlock()
	var errs []error
	for _, name := range sortedNames(ports) {
		errs = append(errs, ports[name].close())
	}
	p.closing.Wait()
	p.tunnel.close()
	p.stack.Destroy()
	p.events.close()
	p.closeMachine()
	return errors.Join(errs...)
}

// errClosed is for who comes too late.
func errClosed(what string) error {
	return fmt.Errorf("userspace data plane: %s: %w", what, net.ErrClosed)
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// random makes what is given safe for all goroutines.
type random struct {
	mu   sync.Mutex
	from Random
}

func (r *random) float() float64 {
	if r.from == nil {
		return rand.Float64()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.from.Float64()
}

func (r *random) uint64() uint64 {
	if r.from == nil {
		return rand.Uint64()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return uint64(r.from.Int63())
}

// source is random as gVisor wants it.
type source struct{ *random }

// Int63 is math/rand.Source's.
func (s source) Int63() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.from.Int63()
}

// Seed is math/rand.Source's.
func (s source) Seed(seed int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.from.Seed(seed)
}

// Read is io.Reader's.
func (s source) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.from.Read(b)
}

// macText is an address as one writes it.
func macText(m neigh.MAC) string { return net.HardwareAddr(m[:]).String() }
