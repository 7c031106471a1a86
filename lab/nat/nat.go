// SPDX-License-Identifier: MIT

// Package nat is the lab's IPv4: routers, address translators (RFC 4787 UDP, RFC 5382 TCP, RFC 5508 ICMP) and the
// network of an airport, which lets no UDP through.
//
// Machine translates packets and is pure. Node is a router with ports on wires, which may have a Machine, and then is
// what stands between a home and its provider. Neither knows IPv6, tunnels or hosts. Start at NewNode and at
// Machine.Outward.
package nat

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Behaviour is how much of the other end counts, RFC 4787 sections 4.1 and 5.
type Behaviour uint8

const (
	EndpointIndependent Behaviour = iota
	AddressDependent
	AddressAndPortDependent
)

func (b Behaviour) String() string {
	switch b {
	case AddressDependent:
		return "address-dependent"
	case AddressAndPortDependent:
		return "address and port-dependent"
	}
	return "endpoint-independent"
}

// Config of a Machine. Zero values take the defaults below.
type Config struct {
	Outside netip.Addr // what all inside become; a Node takes that of its outer port
	// Mapping: whether packets of one inside address and port get the same outside port for all remotes ("cone", the
	// default) or another one for each ("symmetric": any of the two dependent ones).
	Mapping Behaviour
	// Filtering: from whom packets come in by a mapping.
	Filtering Behaviour
	// RandomPorts: outside ports are drawn. Else the inside port is kept where it is free.
	RandomPorts bool
	NoHairpin   bool // packets from the inside to the outside address do not come back in
	// MaxSessions bounds the table.
	MaxSessions int

	UDP            time.Duration // of a session that was answered
	TCPEstablished time.Duration
	TCPTransitory  time.Duration
	ICMP           time.Duration
}

// Defaults.
const (
	DefaultUDP            = 2 * time.Minute             // RFC 4787 REQ-5: not less
	DefaultTCPEstablished = 2*time.Hour + 4*time.Minute // RFC 5382 REQ-5
	DefaultTCPTransitory  = 4 * time.Minute             // RFC 5382 REQ-5
	DefaultICMP           = time.Minute                 // RFC 5508 REQ-2
	DefaultMaxSessions    = 1024                        // a home's router has 1,000 to 65,000
	unanswered            = 30 * time.Second            // UDP that nobody has answered, as Linux has it
	fragmentsWait         = 30 * time.Second            // RFC 1122 section 3.3.2 has 60 to 120 s, Linux 30 s
	maxFragments          = 64                          // datagrams in pieces at one time
	lowestPort            = 1024                        // RFC 4787 REQ-3 a: those below are not given to those above
	portTries             = 32                          // at random; then the next free one
)

// Proto is what has ports, or what stands for them.
type Proto uint8

const (
	ICMP Proto = 1 // the identifier of an echo is its port
	TCP  Proto = 6
	UDP  Proto = 17
)

func (p Proto) String() string {
	switch p {
	case ICMP:
		return "icmp"
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	}
	return "?"
}

// Entry is one session of the table.
type Entry struct {
	Proto   Proto
	Inside  netip.AddrPort
	Outside netip.AddrPort
	Remote  netip.AddrPort // port 0 for ICMP
	Expires time.Time      // if no packet comes before
}

// Machine is one translator. It is not safe for concurrent use.
type Machine struct {
	cfg  Config
	rand func() float64

	byInside  map[insideKey]*mapping
	byOutside map[outsideKey]*mapping
	sessions  int
	nextSweep time.Time
	barred    map[outsideKey]bool // in use before the last Rebind
	reserved  map[outsideKey]bool // of programs beside the machine
	fragments map[fragmentKey]fragment
}

// New makes a machine with an empty table. rand gives values in [0,1).
func New(cfg Config, rand func() float64) *Machine {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	set(&cfg.UDP, DefaultUDP)
	set(&cfg.TCPEstablished, DefaultTCPEstablished)
	set(&cfg.TCPTransitory, DefaultTCPTransitory)
	set(&cfg.ICMP, DefaultICMP)
	if cfg.MaxSessions == 0 {
		cfg.MaxSessions = DefaultMaxSessions
	}
	m := &Machine{cfg: cfg, rand: rand, reserved: map[outsideKey]bool{}}
	m.clear()
	return m
}

// Reserve keeps an outside port for somebody else: no new mapping gets it.
func (m *Machine) Reserve(proto Proto, port uint16) { m.reserved[outsideKey{proto, port}] = true }

func (m *Machine) clear() {
	m.byInside, m.byOutside = map[insideKey]*mapping{}, map[outsideKey]*mapping{}
	m.fragments = map[fragmentKey]fragment{}
	m.sessions = 0
}

// Rebind forgets the table, as a translator does that restarts: what comes from the outside finds nobody, and what goes
// out next gets another port than it had.
func (m *Machine) Rebind() {
	m.barred = map[outsideKey]bool{}
	for k := range m.byOutside {
		m.barred[k] = true
	}
	m.clear()
}

// Entries are the sessions that live, in the order of their outside ports.
func (m *Machine) Entries(now time.Time) []Entry {
	var out []Entry
	for _, p := range m.byOutside {
		for _, s := range p.sessions {
			if s.expires.After(now) {
				out = append(out, Entry{p.proto, p.inside, netip.AddrPortFrom(m.cfg.Outside, p.port), s.remote, s.expires})
			}
		}
	}
	slices.SortFunc(out, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(b.Proto, a.Proto), a.Outside.Compare(b.Outside), a.Remote.Compare(b.Remote))
	})
	return out
}

// Verdict is what becomes of a packet.
type Verdict uint8

const (
	Dropped Verdict = iota
	Passed
	Local   // it is for the translator itself
	Refused // dropped, and the sender may be told that no session could be made
)

// Result of a translation.
type Result struct {
	Verdict Verdict
	Packet  []byte // when Passed: a new one
	Text    string // what was done or why not, in words
	RFC     string // where that is written
}

func drop(text, rfc string) Result { return Result{Text: text, RFC: rfc} }
