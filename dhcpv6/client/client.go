// SPDX-License-Identifier: MIT

// Package client is the DHCPv6 client as a pure machine: prefix delegation, DNS and search list
// (RFC 9915, RFC 3646, RFC 7084 section 4.2).
//
// It knows messages, timers and leases. It must not know sockets, the clock, files or where the
// prefix goes. It has one IA_PD, always multicasts, releases nothing and takes no Reconfigure.
// Start at Client.Step.
package client

import (
	"net/netip"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/lifetime"
	"oasis6/internal/note"
)

// AllServers is All_DHCP_Relay_Agents_and_Servers (RFC 9915 section 7.1).
var AllServers = netip.AddrFrom16([16]byte{0xff, 0x02, 13: 1, 15: 2})

// Config is what the client is to ask for.
type Config struct {
	DUID dhcpv6.DUID
	IAID dhcpv6.IAID // of the one IA_PD
	// Hint is the wished prefix; ::/56 wishes a length only (RFC 8168); the zero value wishes nothing.
	Hint netip.Prefix
	// PointToPoint leaves out the random delay before the first Solicit: it exists to spread the
	// clients of one link, and here is only one.
	PointToPoint bool
	// LossyLink sends the early retransmissions of Solicit and Request as two copies each: see
	// earlyCopies. It deviates from RFC 9915 section 15 and is for a tunnel with one server behind it.
	LossyLink bool
}

// State is where the client stands.
//
//	            LinkUp              best Advertise              Reply
//	Stopped ────────────► Soliciting ─────────────► Requesting ───────► Bound
//	   ▲                   │  ▲   ▲                  │  ▲               │  ▲
//	   │ LinkDown, Stop    │  │   └──────────────────┘  │            T1 │  │ Reply
//	   └── (no lease)      │  │    refused or silent    │ NoBinding     ▼  │
//	                       │  │                         ├──────────── Renewing
//	     Reply with Rapid  │  │ all valid               │               │
//	     Commit: Bound  ◄──┘  │ lifetimes over          │ NoBinding  T2 │
//	                          │                         │               ▼
//	                          └─────────────────────────┴─────────── Rebinding ──► Bound
//	                                                       T2, or LinkUp with     Reply, or nobody
//	                                                       a lease (verify)       answers a verify
//
// While a lease is valid, a Request that is refused or not answered goes to Rebinding and not to
// Soliciting: "The client MUST NOT be using any of the [...] delegated prefixes for which it tries
// to obtain the bindings by sending the Solicit message" (RFC 9915 section 18).
// LinkDown with a lease is Bound: the lease runs on and ends by its lifetimes.
type State uint8

const (
	Stopped    State = iota // no link and no lease, or Stop
	Soliciting              // Solicit sent, collecting Advertises
	Requesting              // Request sent
	Bound
	Renewing
	Rebinding
)

// String is the state as `oasis6 status` prints it.
func (s State) String() string {
	return [...]string{"stopped", "soliciting", "requesting", "bound", "renewing", "rebinding"}[s]
}

// Event is what happens to the client.
type Event interface{ clientEvent() }

type (
	// LinkUp says that packets can reach a server now. It may come again while the link is up, for example when
	// a tunnel shakes hands after a silence: whoever waits for an answer then asks again at once.
	LinkUp struct{}
	// LinkDown says that they cannot; leases go on and expire by their lifetimes.
	LinkDown struct{}
	// Received is one DHCPv6 message (UDP payload) that came to our port. Data is not kept.
	Received struct {
		From netip.Addr
		Data []byte
	}
	// Tick says that the deadline of Actions.Wake has come (or any other time: a Tick too early does nothing).
	Tick struct{}
	// Restored gives the lease that an earlier process kept on disk, with remaining lifetimes as of now.
	// It must come before the first LinkUp.
	Restored struct{ Lease Lease }
	// Reconfigured replaces the configuration; a change of Hint takes effect at the next Solicit.
	Reconfigured struct{ Config Config }
	// Stop ends all sending until a LinkUp. The lease is left as it is; nothing is released
	// (RFC 9096 WPD-9).
	Stop struct{}
)

func (LinkUp) clientEvent()       {}
func (LinkDown) clientEvent()     {}
func (Received) clientEvent()     {}
func (Tick) clientEvent()         {}
func (Restored) clientEvent()     {}
func (Reconfigured) clientEvent() {}
func (Stop) clientEvent()         {}

// Actions is what the runner must carry out, in the order of the fields.
type Actions struct {
	// Persist, when set, must reach the disk before anything else is done.
	Persist *Lease
	// Changed says that Lease() differs from before this step in a way that the LAN must see, or that
	// a preferred or valid lifetime in it has just ended.
	Changed bool
	// Send are DHCPv6 messages (UDP payloads) for AllServers.
	Send [][]byte
	// Wake is the one next deadline; zero means none.
	Wake time.Time
	// Notes are log records.
	Notes []note.Note
}

// Lease is what the client holds. The zero value holds nothing. A Lease that was given out is never changed.
type Lease struct {
	Server     dhcpv6.DUID
	ServerAddr netip.Addr // where the last Reply came from
	Prefixes   []Prefix
	DNS        []netip.Addr
	Search     []string
	T1, T2     lifetime.Until
}

// Prefix is one delegated prefix.
type Prefix struct {
	Prefix    netip.Prefix
	Preferred lifetime.Until
	Valid     lifetime.Until
}

// Status is the machine as `oasis6 status` shows it.
type Status struct {
	State     State
	Lease     Lease
	NextAt    time.Time // of the next action; zero: none
	Next      string    // what it is, in words: "send Renew"
	LastError string    // in words, empty when all is well
	LastDrop  string    // why the last refused message was refused
	Sent      uint64    // messages sent
	Received  uint64    // messages accepted
	Dropped   uint64    // messages refused
}

// Client is the machine. It is not safe for concurrent use.
type Client struct {
	cfg   Config
	rand  func() float64
	state State
	link  bool
	lease Lease
	seen  time.Time // the instant of the last Step: lifetimes that ended until then are dealt with

	x         exchange
	offers    []offer       // usable Advertises of this Solicit, best first
	solMaxRT  time.Duration // SOL_MAX_RT, as a server may have set it
	refusalRT time.Duration // how long the last refusal made us wait; 0 after success
	probedAt  time.Time     // when a LinkUp last started an exchange
	verifyAt  time.Time     // when one that was cut off is to be done again; zero: none
	lost      netip.Prefix  // the last prefix we held, offered again as a hint
	limit     limiter

	act       Actions // of the running Step
	next      deadline
	lastError string
	lastDrop  string
	grumbled  string // problems last reported, so that a renewal does not repeat them
	sent      uint64
	received  uint64
	dropped   uint64
}

// New makes a client that waits for LinkUp. rand gives numbers in [0, 1); transaction ids are made of
// it, so it should come from a source that cannot be guessed.
func New(cfg Config, rand func() float64) *Client {
	return &Client{cfg: cfg, rand: rand, solMaxRT: SolMaxRT}
}

// Lease is what the client holds now.
func (c *Client) Lease() Lease { return c.lease }

// Status is a snapshot for people.
func (c *Client) Status() Status {
	return Status{State: c.state, Lease: c.lease, NextAt: c.next.at, Next: c.next.what,
		LastError: c.lastError, LastDrop: c.lastDrop, Sent: c.sent, Received: c.received, Dropped: c.dropped}
}
