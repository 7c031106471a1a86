// SPDX-License-Identifier: MIT

// Package ra builds and parses Router Advertisements and Solicitations and decides when to send
// them (RFC 4861 sections 6.2 and 6.3, RFC 4191, RFC 7559, RFC 7772, RFC 8106, RFC 8781, RFC 8910,
// RFC 9096, RFC 9463, RFC 9762).
//
// It knows prefixes with lifetimes, the options and the schedule. It must not know sockets,
// interfaces, the clock, or where a prefix came from. Start at Sender.Step for a LAN and at
// Receiver.Step for a link to other routers; the codec starts at RouterAdvertisement and ParseRA.
package ra

import (
	"fmt"
	"net/netip"
	"time"

	"oasis6/internal/lifetime"
	"oasis6/internal/note"
)

// AllNodes is where multicast RAs go (RFC 4861 section 2.3).
var AllNodes = netip.AddrFrom16([16]byte{0xff, 0x02, 15: 1})

// RFC 4861 section 10, router constants.
const (
	MaxInitialRtrAdvertInterval = 16 * time.Second
	MaxInitialRtrAdvertisements = 3
	MinDelayBetweenRAs          = 3 * time.Second
	MaxRADelayTime              = 500 * time.Millisecond
)

// RFC 9096 section 3.4. The router lifetime is NDPreferredLimit too.
const (
	NDPreferredLimit = 2700 * time.Second
	NDValidLimit     = 5400 * time.Second
)

// Defaults of the schedule: 6.9 multicast RAs an hour on average, where RFC 7772 wants
// no more than about seven on networks with sleeping phones. RFC 4861's own 200 s and 600 s give 9.
const (
	DefaultMinRtrAdvInterval = 450 * time.Second
	DefaultMaxRtrAdvInterval = 600 * time.Second
)

// MinPrefixLimit is what multicasts at the shortest MaxRtrAdvInterval keep alive, with two of them lost.
const MinPrefixLimit = rollingRAs * 4 * time.Second

// rollingRAs multicasts leave while hosts hold what one of them said, if a Limit is in force.
const rollingRAs = 3

// Preference is the default router preference (RFC 4191 section 2.1), two bits on the wire.
type Preference uint8

const (
	Medium Preference = 0b00
	High   Preference = 0b01
	Low    Preference = 0b11
)

// Config is the schedule of one LAN. Zero fields take the defaults; Min without a value is
// three quarters of Max.
type Config struct {
	MinInterval time.Duration // MinRtrAdvInterval, default 450 s
	MaxInterval time.Duration // MaxRtrAdvInterval, default 600 s
	// Resumed says that a predecessor advertised on this LAN a moment ago: hosts may hold us as default
	// router, so the first content is told, and the end, even if there is no prefix to speak of.
	Resumed bool
}

// Check says what is wrong with the intervals (RFC 4861 section 6.2.1). NewSender takes the
// nearest allowed value instead, so a caller that wants to tell somebody calls Check first.
func (c Config) Check() error {
	d := c.filled()
	if d.MaxInterval < 4*time.Second || d.MaxInterval > 1800*time.Second {
		return fmt.Errorf("MaxRtrAdvInterval %v: allowed are 4s to 1800s", d.MaxInterval)
	}
	if d.MinInterval < 3*time.Second || d.MinInterval > d.MaxInterval*3/4 {
		return fmt.Errorf("MinRtrAdvInterval %v: allowed are 3s to %v, three quarters of MaxRtrAdvInterval",
			d.MinInterval, d.MaxInterval*3/4)
	}
	return nil
}

func (c Config) filled() Config {
	if c.MaxInterval == 0 {
		c.MaxInterval = DefaultMaxRtrAdvInterval
	}
	if c.MinInterval == 0 {
		c.MinInterval = max(3*time.Second, c.MaxInterval*3/4)
	}
	return c
}

func (c Config) clamped() Config {
	c = c.filled()
	c.MaxInterval = min(max(c.MaxInterval, 4*time.Second), 1800*time.Second)
	c.MinInterval = max(3*time.Second, min(c.MinInterval, c.MaxInterval*3/4))
	return c
}

// Content is what is true on this LAN now; the Sender decides how and when hosts are told.
// Everything that was ever advertised and is no longer in Content is withdrawn by name
// (RFC 9096 section 3.5), in every RA until no host can hold it any more.
type Content struct {
	// DefaultRouter is the truth of "we lead to the IPv6 Internet" (RFC 7084 L-4, G-4, G-5).
	// Without a valid prefix that is not ULA the router lifetime is 0 all the same (ULA-5).
	DefaultRouter bool
	Preference    Preference
	Managed       bool // M flag
	OtherConfig   bool // O flag
	LinkMTU       uint32
	Prefixes      []Prefix
	RDNSS         []netip.Addr
	DNSSL         []string
	EncryptedDNS  []EncryptedDNS // each name once
	Routes        []Route
	PREF64        netip.Prefix // NAT64 prefix of a length that RFC 8781 has; zero: none
	CaptivePortal string       // URI of the captive portal API (RFC 8910); empty: none
}

// Route is one Route Information option (RFC 4191): what hosts reach through us whether or not we are their default
// router (RFC 7084 L-3). It is left out where a prefix of Content is the same.
type Route struct {
	Prefix     netip.Prefix // not ::/0: that would overrule the router lifetime
	Preference Preference
	Valid      lifetime.Until
}

// Prefix is one Prefix Information option. Lifetimes are those of the delegation; the Sender caps
// them (RFC 9096 L-16: 45 and 90 minutes).
type Prefix struct {
	Prefix     netip.Prefix
	OnLink     bool
	Autonomous bool
	DHCPv6PD   bool // P flag: hosts had better ask for a prefix of their own (RFC 9762)
	Preferred  lifetime.Until
	Valid      lifetime.Until
	// Limit is the most that hosts are told at any moment for both lifetimes, again and again, while the lifetimes of
	// the delegation are not sure: hosts are then not left with a dead prefix for longer. Router lifetime and DNS
	// follow, and multicasts come three in each Limit, more than RFC 7772 wants. Zero is no such limit; other values
	// are raised to MinPrefixLimit.
	Limit time.Duration
}

// Event is what happens to a Sender or, where that says so, to a Receiver.
type Event interface{ raEvent() }

type (
	// SetContent replaces the content. The same content again does nothing; longer lifetimes alone
	// are left to the next RA unless what hosts hold runs out around then.
	SetContent struct {
		Content Content
		// Neighbors are addresses of hosts that somebody else has seen on the LAN, one for each host: they
		// too hear at once of what cannot wait. Those who solicited need not be named.
		Neighbors []netip.Addr
	}
	// LinkUp says that the interface can send, or that its MAC or link-local address changed.
	LinkUp struct {
		MAC       [6]byte
		HasMAC    bool
		LinkLocal netip.Addr
	}
	// LinkDown says that nothing can be sent; lifetimes run on, nothing becomes stale by it.
	LinkDown struct{}
	// PortUp says that a host may have just been plugged in: it is told without waiting for its
	// solicitation, which would come 1 to 2 s later.
	PortUp struct{}
	// Received is an ICMPv6 message of type 133 or 134 from the LAN, unchecked but for the
	// checksum: the kernel verifies it on a raw socket, a userspace edge has to. Data is not kept.
	Received struct {
		Src      netip.Addr
		HopLimit int
		Data     []byte
	}
	// Restored brings what an earlier process advertised on this LAN; it comes before anything else.
	Restored struct{ Records []Record }
	// Tick says that the deadline of Actions.Wake has come; too early it does nothing.
	Tick struct{}
	// Stop ends the sender. Final: the box goes for good, a last RA with router lifetime 0 is sent at
	// once; otherwise a successor takes over and nothing is sent.
	Stop struct{ Final bool }
)

func (SetContent) raEvent() {}
func (LinkUp) raEvent()     {}
func (LinkDown) raEvent()   {}
func (PortUp) raEvent()     {}
func (Received) raEvent()   {}
func (Tick) raEvent()       {}
func (Stop) raEvent()       {}
func (Restored) raEvent()   {}

// Datagram is one ICMPv6 message to be sent from the link-local address with hop limit 255.
// The checksum field is zero; whoever sends fills it in. Data may be shared between datagrams
// and must not be changed.
type Datagram struct {
	To   netip.Addr
	Data []byte
}

// Actions is what the runner must carry out.
type Actions struct {
	// Persist: Records is to be written to disk, before anything is sent: a crash right after it must not
	// make us forget what hosts have been told.
	Persist bool
	Send    []Datagram
	Wake    time.Time // next deadline; zero means none
	Notes   []note.Note
}

// Record is one thing that hosts of a LAN have been told of and may still hold, as it goes to disk
// (RFC 9096 section 3.5).
type Record struct {
	Kind string // prefix | rdnss | dnssl | encrypted dns | route | pref64 | captive portal
	// Name is its identity: a prefix, an address, a domain, a URI.
	Name               string
	OnLink, Autonomous bool // of a prefix
	// Live: the last RA gave it a lifetime, so hosts may hold it for the longest time there is from now on.
	// Else it has been withdrawn, and nobody holds it after Hold.
	Live bool
	Hold time.Time // an instant of the boot clock
}

// Stats are the counters of one Sender.
type Stats struct {
	Sent       uint64            // RAs, multicast and unicast
	Multicast  uint64            // of them, those to ff02::1
	RSReceived uint64            // valid ones
	ForeignRAs uint64            // valid RAs of other routers
	Dropped    map[string]uint64 // by DropReason; only those that happened
}

// Announced is what the LAN was last told, as the status page shows it.
type Announced struct {
	RouterLifetime uint16 // seconds, as in the last RA; 0 also before the first
	LinkMTU        uint32 // 0: no MTU option
	Prefixes       []AnnouncedPrefix
	RDNSS          []netip.Addr // those withdrawn are not shown
	DNSSL          []string
	EncryptedDNS   []string // names
	Managed        bool
	OtherConfig    bool
	Routes         []netip.Prefix
	PREF64         netip.Prefix // zero: none
	CaptivePortal  string
}

// Router is another router that advertises on the LAN.
type Router struct {
	Addr           netip.Addr // link-local
	LinkLayer      [6]byte
	HasLinkLayer   bool
	RouterLifetime uint16
	Preference     Preference
	Prefixes       []netip.Prefix
	Heard          time.Time
	Conflicts      []string // in what it contradicts us, in words (RFC 4861 section 6.2.7)
}

// AnnouncedPrefix is a prefix that hosts on the LAN may hold.
type AnnouncedPrefix struct {
	Prefix     netip.Prefix
	OnLink     bool
	Autonomous bool
	DHCPv6PD   bool
	Preferred  time.Duration // left of what the last RA said
	Valid      time.Duration
	Stale      bool          // withdrawn; both lifetimes are 0
	Held       time.Duration // how long a host that missed the withdrawal may still hold it
}
