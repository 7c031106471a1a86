// SPDX-License-Identifier: MIT

// Package device is WireGuard as a pure machine without cryptography: its messages with their sizes, its handshake, its
// sessions and all its timers (whitepaper sections 5 and 6; wireguard-go is the model where the paper leaves a choice).
//
// wireguard-go takes its clock, its keys and its goroutines from the runtime, so no simulation can hold it. Here time and
// randomness are arguments, and what a real message proves stands in it in clear: whoever reads a datagram can show what is
// inside, and whoever wants to forge one can. It must not know sockets, interfaces, names, or oasis6. Start at Device.Step.
package device

import (
	"net/netip"
	"slices"
	"time"

	"oasis6/internal/bucket"
	"oasis6/internal/note"
	"oasis6/internal/wgkey"
)

// Config is what a Device is made of.
type Config struct {
	Public wgkey.Public
	MTU    int // of the tunnel interface: a packet is never padded beyond it; 0: no such limit
	// Rand gives 64 uniform bits: a real message is full of such, so the house's func() float64 is not enough here.
	Rand func() uint64
}

// Peer is the other end of a tunnel, as it is configured.
type Peer struct {
	Public     wgkey.Public
	Preshared  wgkey.Preshared
	AllowedIPs []netip.Prefix // IPv6; of two peers with the same one the later has it
	Endpoint   netip.AddrPort // counts when the peer is new to the device; then SetEndpoint, and what the peer sends
	Keepalive  time.Duration  // zero: off
}

// Event is what happens to a Device.
type Event interface{ deviceEvent() }

type (
	// PacketOut is a whole IPv6 packet from inside. It belongs to the device.
	PacketOut struct{ Packet []byte }
	// Received is a datagram from outside. What the device delivers is a part of Data.
	Received struct {
		From netip.AddrPort
		Data []byte
	}
	// Tick says that the deadline of Actions.Wake has come; too early it does nothing.
	Tick struct{}
	// SetPeers makes the peers those given. Those that stay keep their sessions and endpoints.
	SetPeers struct{ Peers []Peer }
	// SetEndpoint says where the peer is. Fresh forgets what was tried before, so that an initiation leaves at once and
	// not up to 5 s later; it is for a peer that never had an endpoint, as a session would end with it.
	SetEndpoint struct {
		Peer     wgkey.Public
		Endpoint netip.AddrPort
		Fresh    bool
	}
	// SetKeepalive changes the persistent keepalive of one peer; zero: off.
	SetKeepalive struct {
		Peer  wgkey.Public
		Every time.Duration
	}
	// Initiate begins a handshake, whether or not there is a session, unless one began less than RekeyTimeout ago.
	Initiate struct{ Peer wgkey.Public }
	// SetLoad says whether the device is to answer as under load: by cookies.
	SetLoad struct{ Under bool }
	// SetMTU is Config.MTU anew.
	SetMTU struct{ MTU int }
	// SetWall says how far the wall clock is ahead of now. Initiations carry its time, and a peer takes no older one
	// than it had: a board that believes it is 1970 is not heard.
	SetWall struct{ Ahead time.Duration }
)

func (PacketOut) deviceEvent()    {}
func (Received) deviceEvent()     {}
func (Tick) deviceEvent()         {}
func (SetPeers) deviceEvent()     {}
func (SetEndpoint) deviceEvent()  {}
func (SetKeepalive) deviceEvent() {}
func (Initiate) deviceEvent()     {}
func (SetLoad) deviceEvent()      {}
func (SetMTU) deviceEvent()       {}
func (SetWall) deviceEvent()      {}

// Actions is what to do, in this order.
type Actions struct {
	Send    []Datagram
	Deliver []Packet
	Verdict Verdict   // what became of the PacketOut or the Received
	Wake    time.Time // the next deadline; zero means none
	Notes   []note.Note
}

// Datagram is one to send. It belongs to the receiver.
type Datagram struct {
	Peer wgkey.Public
	To   netip.AddrPort
	Data []byte
}

// Packet is an inner packet whose source is one of the peer's allowed-ips. It is a part of the datagram that it came in.
type Packet struct {
	Peer wgkey.Public
	Data []byte
}

// Device is one end of WireGuard with any number of peers. It is not safe for concurrent use.
type Device struct {
	public  wgkey.Public
	mtu     int
	rand    func() uint64
	ahead   time.Duration
	peers   []*peer // in the order in which they came
	byKey   map[wgkey.Public]*peer
	index   map[uint32]slot
	routes  routes
	load    bool
	cookie  secret // of which cookies are made
	since   time.Time
	sources map[netip.Addr]*bucket.Bucket // under load
}

// slot is what an index of ours stands for: a handshake that began, or a session if that is not nil.
type slot struct {
	peer    *peer
	session *session
}

// New makes a device without peers.
func New(cfg Config) *Device {
	return &Device{
		public: cfg.Public, mtu: cfg.MTU, rand: cfg.Rand,
		byKey: map[wgkey.Public]*peer{}, index: map[uint32]slot{}, sources: map[netip.Addr]*bucket.Bucket{},
	}
}

// step is one call of Step.
type step struct {
	*Device
	now time.Time
	Actions
}

// Step takes one event at the instant now. Timers that have run out go first.
func (d *Device) Step(now time.Time, ev Event) Actions {
	s := step{Device: d, now: now}
	s.expire()
	switch ev := ev.(type) {
	case PacketOut:
		s.Verdict = s.packetOut(ev.Packet)
	case Received:
		s.Verdict = s.received(ev.From, ev.Data)
	case SetPeers:
		s.setPeers(ev.Peers)
	case SetEndpoint:
		s.setEndpoint(ev)
	case SetKeepalive:
		if p := s.byKey[ev.Peer]; p != nil {
			s.setKeepalive(p, ev.Every)
			s.sendStaged(p)
		}
	case Initiate:
		if p := s.byKey[ev.Peer]; p != nil {
			s.initiate(p, false)
		}
	case SetLoad:
		d.load = ev.Under
	case SetMTU:
		d.mtu = ev.MTU
	case SetWall:
		d.ahead = ev.Ahead
	}
	s.Wake = d.wake()
	return s.Actions
}

func (s *step) note(p *peer, msg string) {
	s.Notes = append(s.Notes, note.New(note.Debug, msg, "peer", p.key.String()))
}

// setPeers takes away first, so that no prefix has two owners.
func (s *step) setPeers(want []Peer) {
	stays := make(map[wgkey.Public]bool, len(want))
	for _, w := range want {
		stays[w.Public] = true
	}
	s.peers = slices.DeleteFunc(s.peers, func(p *peer) bool {
		if stays[p.key] {
			return false
		}
		s.forget(p)
		delete(s.byKey, p.key)
		return true
	})
	s.routes = newRoutes()
	for _, w := range want {
		if w.Public == s.public || w.Public.IsZero() {
			continue // as wireguard-go does: a device does not speak with itself
		}
		p := s.byKey[w.Public]
		if p == nil {
			p = &peer{key: w.Public, endpoint: w.Endpoint}
			s.byKey[w.Public] = p
			s.peers = append(s.peers, p)
		}
		p.psk, p.allowed = w.Preshared, w.AllowedIPs
		for _, prefix := range w.AllowedIPs {
			s.routes.add(prefix, p)
		}
	}
	for _, w := range want {
		if p := s.byKey[w.Public]; p != nil {
			s.setKeepalive(p, w.Keepalive)
			s.sendStaged(p)
		}
	}
}

func (s *step) setEndpoint(ev SetEndpoint) {
	p := s.byKey[ev.Peer]
	if p == nil {
		return
	}
	if ev.Fresh {
		s.expireSessions(p)
	}
	p.endpoint = ev.Endpoint
	s.sendStaged(p)
}

// setKeepalive sends one at once if there was none, as wireguard-go does.
func (s *step) setKeepalive(p *peer, every time.Duration) {
	was := p.keepalive
	p.keepalive = every
	if was == 0 && every != 0 {
		s.sendKeepalive(p)
	}
}

// newIndex gives what w stands for an index of ours that no other has.
func (s *step) newIndex(w slot) uint32 {
	for {
		i := uint32(s.rand())
		if _, taken := s.index[i]; !taken {
			s.index[i] = w
			return i
		}
	}
}

// fill is what looks random in a message.
func (s *step) fill(b []byte) {
	for len(b) > 0 {
		var word [8]byte
		put64(word[:], s.rand())
		b = b[copy(b, word[:]):]
	}
}
