// SPDX-License-Identifier: MIT

// Package host is a node of the lab that uses networks: a host on a LAN, which configures itself, or a server on the
// Internet, which is configured by hand.
//
// What a host believes after Router Advertisements, and which source address it takes, internal/hostmodel decides: it is
// measured against Linux, knows lifetimes, RFC 6724 with rule 5.5 and who said what, and runs by events. gVisor's own host
// part has none of the last three, and ignores the MTU option. gVisor does what needs packets: duplicate address detection,
// address resolution, MLD, ICMP, UDP and TCP.
//
// Programs on a host are callbacks on the engine's goroutine, which alone may call a Host. It must not know routers,
// tunnels or scenarios. Start at New.
package host

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"oasis6/internal/hostmodel"
	"oasis6/lab/engine"
	"oasis6/lab/wire"
)

// Config of a host.
type Config struct {
	Name string
	Port wire.End

	// Autoconf: by Router Advertisements. Model says what kind of host it is then; its MAC and RealDAD are set by New,
	// Optimistic is not possible here.
	Autoconf bool
	Model    hostmodel.Config

	// What is configured by hand. IPv6 and Gateway6 are for hosts without Autoconf.
	IPv6     []netip.Prefix // address and length of the subnet
	Gateway6 netip.Addr
	IPv4     netip.Prefix
	Gateway4 netip.Addr
	DNS      []netip.Addr // after those that Router Advertisements name

	// Explain, if there is one, hears what was decided about a frame that arrived, on the engine's goroutine.
	Explain func(Decision)
}

// Decision is what a host does with a frame.
type Decision struct {
	Port  wire.End
	Frame []byte
	Text  string
	RFC   string
}

// One NIC for each family, since the MTU of a Router Advertisement is IPv6's alone, and gVisor has one for a NIC.
const (
	nic6 tcpip.NICID = 6
	nic4 tcpip.NICID = 4
)

// Sizes of TCP's buffers: a lab has a dozen stacks in one process, and short paths.
const (
	tcpBufferMin, tcpBuffer, tcpBufferMax = 4 << 10, 64 << 10, 256 << 10
)

// timeWait is shorter than RFC 9293 has it: a packet of the lab does not wander for minutes.
const timeWait = 10 * time.Second

// Host is one node.
type Host struct {
	e     *engine.Engine
	cfg   Config
	stack *stack.Stack
	link6 *link
	link4 *link
	model *hostmodel.Host
	timer *engine.Timer

	addrs     map[netip.Addr]*address // in gVisor, of IPv6
	holders   map[netip.Addr][6]byte  // of duplicates that were found, the other's MAC
	routers   map[netip.Addr][6]byte  // MACs of routers whose advertisements were heard
	table     []tcpip.Route
	redirects []redirected
	silence   silence
	mtu       int // of the port when the host was made: what happens to the wire later, nobody tells it
	rand      *rand.Rand
	watchers  map[flow]func(ICMPError)
	suspended bool
	closed    bool
	slept     time.Time
	muted     atomic.Bool   // suspended or closed: nothing is sent
	ids       atomic.Uint32 // of IPv4 packets
	reports   reports
}

// reports are those of MLD that wait to be sent.
type reports struct {
	mu     sync.Mutex
	frames [][]byte
}

// address is one that gVisor has.
type address struct {
	assigned   bool // duplicate address detection has passed
	deprecated bool
}

// New makes a host that is awake and on its wire.
func New(e *engine.Engine, cfg Config) (*Host, error) {
	if cfg.Autoconf && (len(cfg.IPv6) > 0 || cfg.Gateway6.IsValid()) {
		return nil, fmt.Errorf("host %s: configures itself and has IPv6 by hand: choose one", cfg.Name)
	}
	h := &Host{e: e, cfg: cfg, addrs: map[netip.Addr]*address{}, holders: map[netip.Addr][6]byte{},
		routers: map[netip.Addr][6]byte{}, watchers: map[flow]func(ICMPError){},
		silence: silence{since: map[netip.Addr]time.Time{}, asked: map[netip.Addr]time.Time{}},
		mtu:     cfg.Port.MTU(), rand: e.Rand("programs " + cfg.Name)}
	cfg.Model.MAC, cfg.Model.RealDAD, cfg.Model.Optimistic = cfg.Port.MAC(), true, false
	h.model = hostmodel.New(cfg.Model, e.Rand("host "+cfg.Name).Float64)
	random := &source{from: e.Source("stack " + cfg.Name)}
	dad := stack.DADConfigurations{}
	if cfg.Autoconf {
		dad = stack.DADConfigurations{DupAddrDetectTransmits: 1, RetransmitTimer: time.Second}
	}
	h.stack = stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{arp.NewProtocol, ipv4.NewProtocol,
			ipv6.NewProtocolWithOptions(ipv6.Options{NDPDisp: dadReports{h: h}, DADConfigs: dad, MLD: ipv6.MLDOptions{Enabled: true}})},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
		Clock:              e.Clock(),
		HandleLocal:        true,
		RandSource:         random,
		SecureRNG:          random,
		NUDDisp:            &neighborReports{h: h, waiting: map[tcpip.Address]bool{}},
	})
	if err := h.setup(); err != nil {
		h.stack.Destroy()
		return nil, fmt.Errorf("host %s: %w", cfg.Name, err)
	}
	cfg.Port.Attach(h.receive, h.carrier)
	if cfg.Port.Up() {
		e.Post(func() { h.carrier(true) })
	}
	return h, nil
}

// setup makes NICs and what does not change.
func (h *Host) setup() error {
	send := tcpip.TCPSendBufferSizeRangeOption{Min: tcpBufferMin, Default: tcpBuffer, Max: tcpBufferMax}
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: tcpBufferMin, Default: tcpBuffer, Max: tcpBufferMax}
	wait := tcpip.TCPTimeWaitTimeoutOption(timeWait)
	for _, o := range []tcpip.SettableTransportProtocolOption{&send, &receive, &wait} {
		if err := h.stack.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fmt.Errorf("gvisor: %T: %s", o, err)
		}
	}
	h.link6 = h.newLink(ipv6.ProtocolNumber)
	if err := h.stack.CreateNIC(nic6, h.link6); err != nil {
		return fmt.Errorf("gvisor: %s", err)
	}
	if h.cfg.IPv4.IsValid() {
		h.link4 = h.newLink(ipv4.ProtocolNumber, arp.ProtocolNumber)
		if err := h.stack.CreateNIC(nic4, h.link4); err != nil {
			return fmt.Errorf("gvisor: %s", err)
		}
		a := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: withPrefix(h.cfg.IPv4)}
		if err := h.stack.AddProtocolAddress(nic4, a, stack.AddressProperties{}); err != nil {
			return fmt.Errorf("address %v: %s", h.cfg.IPv4, err)
		}
	}
	if !h.cfg.Autoconf {
		for _, p := range append([]netip.Prefix{linkLocal(h.cfg.Port.MAC())}, h.cfg.IPv6...) {
			if err := h.add(p); err != nil {
				return err
			}
			h.addrs[p.Addr()].assigned = true
		}
	}
	h.route()
	return nil
}

// Name is that of the configuration.
func (h *Host) Name() string { return h.cfg.Name }

// Close takes the host off its wire. Programs that run on it are not told.
func (h *Host) Close() {
	if h.closed {
		return
	}
	h.closed = true
	_ = h.cfg.Port.Close() // never fails
	h.muted.Store(true)
	if h.timer != nil {
		h.timer.Stop()
	}
	h.stack.Destroy()
}

// Suspend lets the host sleep: it neither hears nor says anything, and its clock goes on.
func (h *Host) Suspend() {
	if !h.suspended {
		h.suspended, h.slept = true, h.e.Now()
		h.muted.Store(true)
	}
}

// Resume wakes the host: what came to its end meanwhile is gone. Like Linux where the carrier stayed, it does not solicit;
// what it has missed it learns from the next advertisement.
func (h *Host) Resume() {
	if !h.suspended {
		return
	}
	h.suspended = false
	h.muted.Store(false)
	if up := h.cfg.Port.Up(); up != h.model.Up() {
		h.carrier(up)
	}
	h.step(hostmodel.Resumed{Slept: h.e.Now().Sub(h.slept)})
}

// Suspended says whether the host sleeps.
func (h *Host) Suspended() bool { return h.suspended }

// source is the stream of random numbers of a stack, whose goroutines share it.
type source struct {
	mu   sync.Mutex
	from engine.Source
}

// Int63 is math/rand.Source's.
func (s *source) Int63() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.from.Int63()
}

// Seed is math/rand.Source's; the seed is the engine's.
func (s *source) Seed(int64) {}

// Read is io.Reader's.
func (s *source) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.from.Read(b)
}

// linkLocal is the address made of the MAC (RFC 2464 section 5), of a host that is configured by hand.
func linkLocal(m [6]byte) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{
		0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5],
	}), 64)
}

func toAddr(a tcpip.Address) netip.Addr {
	ip, _ := netip.AddrFromSlice(a.AsSlice()) // zero for none
	return ip
}

func fromAddr(a netip.Addr) tcpip.Address {
	if !a.IsValid() {
		return tcpip.Address{}
	}
	return tcpip.AddrFromSlice(a.AsSlice())
}

func withPrefix(p netip.Prefix) tcpip.AddressWithPrefix {
	return tcpip.AddressWithPrefix{Address: fromAddr(p.Addr()), PrefixLen: p.Bits()}
}

func subnet(p netip.Prefix) tcpip.Subnet {
	a := withPrefix(p.Masked())
	return a.Subnet()
}
