// SPDX-License-Identifier: MIT

// Package client is the DHCPv6 client as a pure machine: prefix delegation, addresses, and what comes
// along, DNS, search list, NTP, encrypted DNS (RFC 9915, RFC 3646, RFC 5908, RFC 6603, RFC 9463, RFC 7084
// section 4.2).
//
// It knows messages, timers and leases. It must not know sockets, the clock, files or where the
// prefix goes. It always multicasts, runs one exchange at a time for all its IAs, and releases
// nothing unless it is told to leave. Start at Client.Step.
package client

import (
	"net/netip"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/note"
)

// AllServers is All_DHCP_Relay_Agents_and_Servers (RFC 9915 section 7.1).
var AllServers = netip.AddrFrom16([16]byte{0xff, 0x02, 13: 1, 15: 2})

// Config is what the client is to ask for.
type Config struct {
	DUID dhcpv6.DUID
	// IAs are asked for together, at most MaxIAs. With none the client is a stateless one: it asks for
	// configuration by Information-request.
	IAs []Wanted
	// PointToPoint leaves out the random delays before the first message of some exchanges: they exist to
	// spread the clients of one link, and here is only one.
	PointToPoint bool
	// LossyLink sends the early retransmissions of Solicit and Request as two copies each: see
	// earlyCopies. It deviates from RFC 9915 section 15 and is for a tunnel with one server behind it.
	LossyLink bool
}

// MaxIAs bounds a message, with maxAsked.
const MaxIAs = 8

// Wanted is one identity association that the client asks for. Type and IAID tell it apart: they must
// stay the same over restarts (RFC 9096 WPD-10).
type Wanted struct {
	Type dhcpv6.IAType
	IAID dhcpv6.IAID
	// Hint is the wished prefix; ::/56 wishes a length only (RFC 8168); the zero value wishes nothing.
	// For an IA_NA it is a wished address as a /128.
	Hint netip.Prefix
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
//
// Beside these: Confirming verifies a lease of addresses alone as Rebinding verifies one with prefixes.
// Declining gives a duplicate address back and ends in Bound or Soliciting. Informing asks for
// configuration: from Bound when a server wants it, and as all there is (then Informed) for a
// stateless client. Releasing comes from everywhere by Leave and ends in Stopped for good.
type State uint8

const (
	Stopped    State = iota // no link and no lease, or Stop
	Soliciting              // Solicit sent, collecting Advertises
	Requesting              // Request sent
	Bound
	Renewing
	Rebinding
	Confirming
	Declining
	Informing
	Informed // stateless, with configuration
	Releasing
)

// String is the state as `oasis6 status` prints it.
func (s State) String() string {
	return [...]string{"stopped", "soliciting", "requesting", "bound", "renewing", "rebinding",
		"confirming", "declining", "informing", "informed", "releasing"}[s]
}

// Event is what happens to the client.
type Event interface{ clientEvent() }

type (
	// LinkUp says that packets can reach a server now, perhaps another one than before: the lease is verified.
	// It may come again while the link is up, when a tunnel shakes hands after a silence.
	LinkUp struct{}
	// LinkDown says that they cannot; leases go on and expire by their lifetimes.
	LinkDown struct{}
	// Reachable says that packets have just got through, as a routine handshake of the tunnel shows. Whoever
	// waits for a server that was silent then asks again, instead of sitting out a retransmission time
	// of minutes; who waits for nothing does nothing.
	Reachable struct{}
	// Received is one DHCPv6 message (UDP payload) that came to our port. Data is not kept.
	Received struct {
		From netip.Addr
		To   netip.Addr // a multicast address cannot carry a Reconfigure
		Data []byte
	}
	// Tick says that the deadline of Actions.Wake has come (or any other time: a Tick too early does nothing).
	Tick struct{}
	// Restored gives the lease that an earlier process kept on disk, with remaining lifetimes as of now.
	// It must come before the first LinkUp.
	Restored struct{ Lease Lease }
	// Reconfigured replaces the configuration. What is newly wanted is asked for at once where a lease is
	// held; IAs that are wanted no longer are used no longer.
	Reconfigured struct{ Config Config }
	// Duplicate says that another node uses an address of the lease: it is given up and declined.
	Duplicate struct{ Addr netip.Addr }
	// Leave gives the lease back and ends in Actions.Left. No other event stops that but Stop and LinkDown.
	Leave struct{}
	// Stop ends all sending until a LinkUp. The lease is left as it is; nothing is released
	// (RFC 9096 WPD-9).
	Stop struct{}
)

func (LinkUp) clientEvent()       {}
func (LinkDown) clientEvent()     {}
func (Reachable) clientEvent()    {}
func (Received) clientEvent()     {}
func (Tick) clientEvent()         {}
func (Restored) clientEvent()     {}
func (Reconfigured) clientEvent() {}
func (Duplicate) clientEvent()    {}
func (Leave) clientEvent()        {}
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
	// Left, when set, says how Leave has ended.
	Left *Left
	// Wake is the one next deadline; zero means none.
	Wake time.Time
	// Notes are log records.
	Notes []note.Note
}

// Left is the end of Leave.
type Left struct {
	Released bool   // the server has the lease back, or there was none
	How      string // in words
}

// Status is the machine as `oasis6 status` shows it.
type Status struct {
	State       State
	Lease       Lease
	IAs         []IAStatus // as in Config.IAs
	NextAt      time.Time  // of the next action; zero: none
	Next        string     // what it is, in words: "send Renew"
	LastError   string     // in words, empty when all is well
	LastDrop    string     // why the last refused message was refused
	Sent        uint64     // messages sent
	Received    uint64     // messages accepted
	Dropped     uint64     // messages refused
	Reconfigure bool       // the server may send Reconfigure: it gave us a key
}

// IAStatus is one IA.
type IAStatus struct {
	Wanted
	Prefixes  []Prefix // empty: nothing is bound to it
	LastError string   // what the server last said against it, empty when it gave something
}

// Client is the machine. It is not safe for concurrent use.
type Client struct {
	cfg   Config
	ias   []ia // as in cfg.IAs
	rand  func() float64
	state State
	link  bool
	lease Lease
	seen  time.Time // the instant of the last Step: lifetimes that ended until then are dealt with

	x         exchange
	done      uint32        // transaction id of the last exchange that was answered; noXID before
	offers    []offer       // usable Advertises of this Solicit, best first
	greedy    []dhcpv6.DUID // servers that offered something and then refused it; none after success
	solMaxRT  time.Duration // SOL_MAX_RT, as a server may have set it
	infMaxRT  time.Duration // INF_MAX_RT, likewise
	refusalRT time.Duration // how long the last refusal made us wait; 0 after success
	declineRT time.Duration // how long the last Decline made us wait; 0 after a Renew
	probedAt  time.Time     // when a LinkUp or Reachable last made us send
	verifyAt  time.Time     // when a verification that was cut off is to be done again; zero: none
	silent    bool          // nobody has answered the last verification
	grown     bool          // the configuration wants more than the running exchange asked for
	leaving   bool          // Leave has come: nothing starts any more
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

// ia is what the client knows of one IA beside its lease.
type ia struct {
	Wanted
	lost   netip.Prefix // the last that we held, offered again as a hint
	err    string       // what the server last said against it
	rehint bool         // the wish is newer than what is held
	// unbound: the server of the lease has said that it knows of no binding; what it then gives is all there is.
	unbound bool
}

// noXID is no transaction id: those have 24 bits.
const noXID = 1 << 24

// New makes a client that waits for LinkUp. rand gives numbers in [0, 1); transaction ids are made of
// it, so it should come from a source that cannot be guessed.
func New(cfg Config, rand func() float64) *Client {
	c := &Client{rand: rand, solMaxRT: SolMaxRT, infMaxRT: InfMaxRT, done: noXID}
	c.setConfig(cfg)
	return c
}

// setConfig keeps what is known of the IAs that stay.
func (c *Client) setConfig(cfg Config) {
	old := c.ias
	c.cfg, c.ias = cfg, nil
	for _, w := range cfg.IAs[:min(len(cfg.IAs), MaxIAs)] {
		a := ia{Wanted: w}
		for _, o := range old {
			if o.Type == w.Type && o.IAID == w.IAID {
				a.lost, a.err = o.lost, o.err
				a.rehint = o.rehint || o.Hint != w.Hint
			}
		}
		c.ias = append(c.ias, a)
	}
}

// stateless says that no IA is wanted.
func (c *Client) stateless() bool { return len(c.ias) == 0 }

// wantsPrefix says whether prefixes are what this client is for; otherwise addresses are.
func (c *Client) wantsPrefix() bool {
	for _, a := range c.ias {
		if a.Type == dhcpv6.PD {
			return true
		}
	}
	return false
}

// Lease is what the client holds now.
func (c *Client) Lease() Lease { return c.lease }

// Status is a snapshot for people.
func (c *Client) Status() Status {
	s := Status{State: c.state, Lease: c.lease, NextAt: c.next.at, Next: c.next.what,
		LastError: c.lastError, LastDrop: c.lastDrop, Sent: c.sent, Received: c.received, Dropped: c.dropped,
		Reconfigure: c.lease.Reconfigure.Key != dhcpv6.ReconfigureKey{}}
	for _, a := range c.ias {
		s.IAs = append(s.IAs, IAStatus{Wanted: a.Wanted, Prefixes: c.lease.bound(a.Type, a.IAID), LastError: a.err})
	}
	return s
}
