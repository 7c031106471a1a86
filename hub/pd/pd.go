// SPDX-License-Identifier: MIT

// Package pd delegates prefixes to the sites of a hub: a DHCPv6 server (RFC 9915 section 18.3) as a pure machine, for ten
// thousand sites and more.
//
// A site is a WireGuard key, which the runner has proven before a message comes here; what it has is bound to (key,
// IAID), and its DUID is a label. A lease owns its route: what Routed says is to be routed to the site and to stand in
// its allowed-ips, and nothing else. No two sites are ever routed overlapping prefixes. What a Reply says is on disk
// before it leaves.
//
// It must not know sockets, files, the clock, WireGuard, netlink or Router Advertisements. Why it is not
// dhcpv6/server: docs/decisions/0016-hub-machine.md. Start at Machine.Step.
package pd

import (
	"net/netip"
	"time"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/server"
	"oasis6/internal/lifetime"
	"oasis6/internal/note"
	"oasis6/internal/wgkey"
)

// Config does not change while a machine runs.
type Config struct {
	DUID dhcpv6.DUID
	// Secret is what reconfigure keys are made of, so that none need be kept. The zero value: sites get no key, and
	// Reconfigure is never sent.
	Secret [32]byte
	// MaxPerSite is how many IAs one site has at most; 0: DefaultMaxPerSite.
	MaxPerSite int
}

// DefaultMaxPerSite is more IAs than a box with several LANs asks for.
const DefaultMaxPerSite = 8

// Defaults of Content: what a CE router tells its LAN at most (RFC 9096 L-16), and a /64, which is one LAN.
const (
	DefaultPreferred     = 45 * time.Minute
	DefaultValid         = 90 * time.Minute
	DefaultSiteLength    = 64
	DefaultMaxSiteLength = 60
)

// Info is the configuration that sites are told if they ask for it.
type Info = server.Info

// Content is what is true now. Maps and slices are kept and must not change.
type Content struct {
	// Pools: a binding gets a prefix from the first that has room for it. They may overlap. Longer than /64: no use.
	Pools []netip.Prefix
	// Taken is never delegated: prefixes on the hub's own links, its addresses.
	Taken []netip.Prefix
	Sites map[wgkey.Public]Site // a message from another one gets no answer, and nothing is routed to it
	// Preferred and Valid are the lifetimes that sites are told; 0: the defaults. Sites renew at half of Preferred, those
	// that do not accept Reconfigure every ShortT1 at least.
	Preferred, Valid time.Duration
	SiteLength       int // length of the prefix of a site that does not ask for one; 0: DefaultSiteLength
	MaxSiteLength    int // shortest length that a site gets if it asks; 0: DefaultMaxSiteLength
	Info             Info
}

// Site is what the operator says of a site.
type Site struct {
	Name string // for notes
	// Reserved goes to this site alone, before anything else and all of it to the first IA that asks. It may lie outside of
	// the pools, and be of any length. Those of two sites must not overlap.
	Reserved []netip.Prefix
}

// Event is what happens to a Machine.
type Event interface{ pdEvent() }

type (
	// Restored brings what an earlier process has committed; it comes first.
	Restored struct {
		Bindings []Binding // in any order
		Replay   uint64    // the last Actions.Replay that was written
		// Lost says that there were more bindings: sites hold prefixes that look free. From the first content on, for as long as
		// a site may have been told to, a prefix that a site names in a Renew or Rebind is its own if nobody else has it, and
		// who names none gets one from the far end of the largest free block. See Machine.Lost.
		Lost bool
	}
	// SetContent replaces the content; the same content again does nothing. Nothing is answered and nothing ends before
	// the first.
	SetContent struct{ Content Content }
	// Received is the payload of a datagram to port 547. That it is of this site must have been proven.
	Received struct {
		Site wgkey.Public
		Data []byte // not kept
	}
	// Saved says how it went with all that the steps since the last Saved wanted to be written, together. If it was not OK,
	// none of it may have been written, and none of their Send may have left: the machine goes back to what is on disk.
	Saved struct{ OK bool }
	// Stop ends the machine for now. Nothing is put off, so that there is nothing to write.
	Stop struct{}
	// Tick says that the deadline of Actions.Wake has come; too early it does nothing.
	Tick struct{}
)

func (Restored) pdEvent()   {}
func (SetContent) pdEvent() {}
func (Received) pdEvent()   {}
func (Saved) pdEvent()      {}
func (Stop) pdEvent()       {}
func (Tick) pdEvent()       {}

// Actions is what the runner must carry out, in this order. It may put those of several steps together, and then do each
// part once. A step while a write is not yet confirmed belongs to that write: what it sends waits too.
type Actions struct {
	// Commit is to be on disk before anything else is done. Of two changes of one key the later one counts.
	Commit []Change
	Replay uint64 // to be written in the same way; 0: as before
	// Changed are the sites whose Routed may be another, in no order and without doubles.
	Changed []wgkey.Public
	Send    []Datagram // when routes and allowed-ips stand
	Wake    time.Time  // next deadline; zero means none
	Notes   []note.Note
}

// MustSave says that something is to be written, and Saved to follow.
func (a *Actions) MustSave() bool { return len(a.Commit) > 0 || a.Replay != 0 }

// Datagram is a message from port 547 of our link-local address to port 546 of the site's.
type Datagram struct {
	Site wgkey.Public
	Data []byte
}

// Change is a record to write.
type Change struct {
	Key     BindingKey
	Binding *Binding // belongs to the runner; nil: the record goes
}

// BindingKey is what tells bindings apart. Not the DUID: cloned boxes have the same one, and anybody can copy it.
type BindingKey struct {
	Site wgkey.Public
	IAID dhcpv6.IAID
}

// Binding is what a site has, and had, for one IA.
type Binding struct {
	Site wgkey.Public
	IAID dhcpv6.IAID
	DUID dhcpv6.DUID // the last that the site used
	// Reconfigure: the site has said that it accepts Reconfigure, and has our key.
	Reconfigure bool
	Leases      []Lease
}

// Key is the key of the binding's record.
func (b *Binding) Key() BindingKey { return BindingKey{b.Site, b.IAID} }

// Lease is one prefix. In a Change the lifetimes of one that can be renewed are longer than any Reply has told, by
// SaveInterval: so a renewal needs no write, and after a crash nobody else gets what a site may hold.
type Lease struct {
	Prefix           netip.Prefix
	Preferred, Valid lifetime.Until // Valid: until when the site may hold it; until then it is routed to it
	Released         bool           // the site gave it back
	Stale            bool           // to be replaced: in no pool and not reserved for this site any more
	// Ended counts the ends of leases: a greater one was later. 0: it is not over.
	Ended uint64
	// Rests is of one that is over: until then no other site gets it. After that it is remembered for its site, and others
	// get it if nothing else is left.
	Rests lifetime.Until
	// AtMost: the lifetimes are those of the disk, since the site has not asked yet after the machine was started. It may have been
	// told less. Not in a record.
	AtMost bool
}

// Stats are the counters of a Machine.
type Stats struct {
	Received uint64            // messages that were valid
	Sent     uint64            // messages
	Dropped  map[string]uint64 // by reason; only those that happened
	// Leases by what they are now: those not over, those in quarantine, those that are remembered.
	Live, Resting, Remembered int
}

// SiteStats are those of one site.
type SiteStats struct{ Received, Dropped uint64 }
