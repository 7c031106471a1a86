// SPDX-License-Identifier: MIT

// Package enroll is the hub's book of invitations and of the sites that came by one: it makes invitations, answers the
// boxes that use them, and says which peers the WireGuard device must have for that.
//
// State is pure: records go to disk, datagrams to boxes and peers into the device as its Actions say. It must not know
// files, devices, leases or the configuration's form. Limits: MaxInvitations, MaxJoined. The messages are internal/invite's.
// Start at State.Step, State.Invite and State.Peers.
package enroll

import (
	"bytes"
	"iter"
	"net/netip"
	"slices"
	"time"

	"oasis6/internal/invite"
	"oasis6/internal/lifetime"
	"oasis6/internal/note"
	"oasis6/internal/wgkey"
)

// Limits.
const (
	// MaxInvitations that are open, used but not confirmed, or expired and kept. Each is a peer of the device, of some 25 KiB.
	MaxInvitations = 1000
	// MaxJoined is how many join at most; fewer where the file has so many sites that not all fit into maxPeers.
	MaxJoined = 60000
	maxPeers  = 1<<16 - 1 // wireguard-go's limit
	// MinValid and MaxValid of an invitation: time to copy it, and no secret forgotten in a chat for ever.
	MinValid = time.Minute
	MaxValid = 30 * 24 * time.Hour
	// ExpiredKept is how long a box with an invitation that is over still hears so, instead of nothing.
	ExpiredKept = 24 * time.Hour

	// SessionOver is after how long WireGuard uses the keys of a handshake no more (REJECT_AFTER_TIME).
	SessionOver = 180 * time.Second

	answersAtOnce = 10 // for one invitation or site
	answersEvery  = time.Second
	maxTalks      = 2 * MaxInvitations
	retryWrite    = time.Minute // what was not asked for by anybody is written again after a failure
	lookAtWall    = time.Hour   // nothing wakes us when somebody sets the clock
)

// Instant is one moment by two clocks. Boot counts wherever it can: Wall may be wrong by years until the hub has asked for
// the time, and jumps then.
type Instant struct {
	Boot time.Time // of internal/bootclock
	Wall time.Time
}

// Content is what is true now at the hub.
type Content struct {
	Hub       wgkey.Public
	LinkLocal netip.Addr // the hub's on the tunnel, if it is not the one that its key stands for
	Endpoint  string     // of invitations that do not say; may be empty
	File      []FilePeer
	BootID    string
}

// FilePeer is a site of the configuration file.
type FilePeer struct {
	Name      string // may be empty
	Key       wgkey.Public
	LinkLocal netip.Addr // zero: the one that its key stands for
}

// Origin says where a Peer comes from.
type Origin uint8

const (
	Invited Origin = iota // a temporary peer: it may speak with Port only and has no leases
	Joined
)

// Peer is what the device must have beside the file's sites.
type Peer struct {
	Origin    Origin
	Name      string
	Key       wgkey.Public
	Preshared wgkey.Preshared // of Invited only: a preshared key out of the invitation would be as public as its line
	LinkLocal netip.Addr      // its allowed-ips begin with this one
}

// Change is one record for the store. A nil Value deletes.
type Change struct {
	Key   string
	Value []byte
}

// Datagram is an answer, from invite.Port to invite.Port.
type Datagram struct {
	To   wgkey.Public
	Data []byte
}

// Actions are what a step wants done, in the order of the fields. Nothing behind Commit may be done before all that was
// committed since the last Saved is on disk; if that fails, it must not be done at all: step Saved{OK: false}, and do what
// that says.
type Actions struct {
	Commit []Change
	// Peers says that Peers() gives others now.
	Peers bool
	// Anew are peers to be removed from the device and added again: WireGuard takes no handshake with an older time than the
	// last one's, and a box without a clock may have gone back in time. Peers is set with it.
	Anew []wgkey.Public
	Send []Datagram
	Wake time.Time // of the boot clock; zero: none
	// Notes are to be logged at once.
	Notes []note.Note
}

// Event is what happens to a State.
type Event interface{ enrollEvent() }

type (
	// Restored gives it what is on disk, once, right after the first SetContent. Records of others are passed over.
	Restored struct{ Records []Change }
	// SetContent must be the first event. The same content again does nothing.
	SetContent struct{ Content Content }
	// Received is the payload of a datagram to Port from the peer whose allowed-ips have its source. Only the call has it.
	Received struct {
		From wgkey.Public
		Data []byte
	}
	// Seen says how long ago a peer's last handshake was. It is due for peers of Peers(), whenever the device is asked.
	Seen struct {
		Key wgkey.Public
		Age time.Duration
	}
	// Saved says what became of all Commits since the last one.
	Saved struct{ OK bool }
	// Tick says that Wake has come.
	Tick struct{}
)

func (Restored) enrollEvent()   {}
func (SetContent) enrollEvent() {}
func (Received) enrollEvent()   {}
func (Seen) enrollEvent()       {}
func (Saved) enrollEvent()      {}
func (Tick) enrollEvent()       {}

// invitation is one of the book. A value that is in the book does not change; another one takes its place.
//
//	open --a box sends its key--> used --the box's own key makes a handshake--> gone
//	open, used --ExpiredKept after the end--> gone
//	open, used --Remove--> gone
type invitation struct {
	name      string
	key       wgkey.Public // of the temporary peer
	link      netip.Addr   // that the key stands for
	preshared wgkey.Preshared
	created   time.Time // wall
	expires   time.Time // wall; told in the text
	until     lifetime.Until
	// otherBoot: it was made before the last reboot. Then until is only the latest that is possible, and the wall clock counts too.
	otherBoot bool
	usedBy    wgkey.Public // zero: open
}

// expired looks at both clocks. The wall clock alone never makes an invitation live longer than it had left when it was
// written; one that is wrong into the future makes it expire, which is over as soon as the clock is put right.
func (i *invitation) expired(now Instant) bool {
	return i.until.Over(now.Boot) || i.otherBoot && !now.Wall.Before(i.expires)
}

// goes says whether it need not be kept any more.
func (i *invitation) goes(now Instant) bool {
	ago := Instant{Boot: now.Boot.Add(-ExpiredKept), Wall: now.Wall.Add(-ExpiredKept)}
	return i.expired(ago)
}

// site is one that joined.
type site struct {
	name   string
	key    wgkey.Public
	link   netip.Addr // that the key stands for
	joined time.Time  // wall, for people
	host   string     // what the box called itself, for people
}

// change is one of the book, and how to take it back.
type change struct {
	record string
	back   func()
}

// grant is a promise to the box with the new key.
type grant struct{ to, key wgkey.Public }

// State is the book. It is not safe for concurrent use.
type State struct {
	content Content
	hubLink netip.Addr              // the hub's on the tunnel
	file    map[wgkey.Public]string // names
	fileLL  map[netip.Addr]wgkey.Public
	fileOf  map[string]wgkey.Public // by name

	invitations map[wgkey.Public]*invitation
	joined      map[wgkey.Public]*site
	openOf      map[string]wgkey.Public       // unused invitations by name
	joinedOf    map[string]wgkey.Public       // joined sites by name
	usedFor     map[wgkey.Public]wgkey.Public // temporary key by the site's own
	links       map[netip.Addr]wgkey.Public   // of invitations and joined sites

	undo    []change  // newest last, since the last Saved
	doubt   []string  // records of writes that failed: who knows what is on disk
	granted []grant   // boxes that were let in since the last Saved
	holdOff time.Time // no write of our own before
	wakeAt  time.Time // what the last step has said of it

	talks   map[wgkey.Public]*talk
	dropped uint64
}

// New makes an empty book.
func New() *State {
	return &State{
		file: map[wgkey.Public]string{}, fileLL: map[netip.Addr]wgkey.Public{}, fileOf: map[string]wgkey.Public{},
		invitations: map[wgkey.Public]*invitation{}, joined: map[wgkey.Public]*site{},
		openOf: map[string]wgkey.Public{}, joinedOf: map[string]wgkey.Public{}, usedFor: map[wgkey.Public]wgkey.Public{},
		links: map[netip.Addr]wgkey.Public{}, talks: map[wgkey.Public]*talk{},
	}
}

// Step takes one event.
func (s *State) Step(now Instant, ev Event) Actions {
	var a Actions
	switch ev := ev.(type) {
	case Restored:
		s.restore(now, ev.Records, &a)
	case SetContent:
		s.setContent(ev.Content, &a)
	case Received:
		s.receive(now, ev, &a)
	case Seen:
		if !s.waitsFor(ev.Key) { // most sites of a large hub: that must cost nothing
			return Actions{Wake: s.wakeAt}
		}
		s.seen(now, ev, &a)
	case Saved:
		s.saved(now, ev.OK, &a)
	case Tick:
	}
	s.sweep(now, &a)
	s.finish(now, &a)
	return a
}

// finish writes again what a failed write may have left on disk, or a box that was let in by it would be a site after the next
// start, beside another with the same invitation.
func (s *State) finish(now Instant, a *Actions) {
	if len(a.Commit) > 0 || !now.Boot.Before(s.holdOff) {
		for _, key := range s.doubt {
			if !slices.ContainsFunc(a.Commit, func(c Change) bool { return c.Key == key }) {
				a.Commit = append(a.Commit, Change{Key: key, Value: s.value(now, key)})
			}
			s.undo = append(s.undo, change{key, func() {}})
		}
		s.doubt = nil
	}
	a.Wake = s.wake(now)
}

// waitsFor says that something hangs on the handshakes of the key.
func (s *State) waitsFor(key wgkey.Public) bool {
	_, used := s.usedFor[key]
	return used || s.invitations[key] != nil
}

// seen ends an invitation whose site has its own key in use, and lets a box whose clock went back try again.
func (s *State) seen(now Instant, ev Seen, a *Actions) {
	if ev.Age < 0 {
		return
	}
	if s.invitations[ev.Key] != nil && ev.Age >= SessionOver {
		a.Anew, a.Peers = append(a.Anew, ev.Key), true
	}
	s.confirm(now, ev.Key, a)
}

// confirm: the box holds the private key of the site and has what it needs to use it.
func (s *State) confirm(now Instant, key wgkey.Public, a *Actions) {
	temporary, ok := s.usedFor[key]
	if !ok || now.Boot.Before(s.holdOff) {
		return
	}
	a.note(note.Info, "site uses its own key, the invitation is gone", "peer", s.invitations[temporary].name)
	s.setInvitation(now, temporary, nil, a)
}

// sweep removes what is over.
func (s *State) sweep(now Instant, a *Actions) {
	if now.Boot.Before(s.holdOff) {
		return
	}
	over := func(yield func(wgkey.Public) bool) {
		for k, i := range s.invitations {
			if i.goes(now) && !yield(k) {
				return
			}
		}
	}
	for _, k := range inOrder(over) {
		if i := s.invitations[k]; i.usedBy.IsZero() {
			a.note(note.Info, "invitation has expired", "peer", i.name)
		}
		s.setInvitation(now, k, nil, a)
	}
}

// inOrder sorts keys: equal steps have equal actions.
func inOrder(keys iter.Seq[wgkey.Public]) []wgkey.Public {
	return slices.SortedFunc(keys, func(a, b wgkey.Public) int { return bytes.Compare(a[:], b[:]) })
}

// wake is when sweep has work.
func (s *State) wake(now Instant) (next time.Time) {
	defer func() { s.wakeAt = next }()
	for _, i := range s.invitations {
		at := now.Boot.Add(lookAtWall)
		if !i.otherBoot {
			end, _ := i.until.Time()
			at = end.Add(ExpiredKept)
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	if len(s.doubt) > 0 || !next.IsZero() && next.Before(s.holdOff) {
		next = s.holdOff
	}
	return next
}

func (s *State) saved(now Instant, ok bool, a *Actions) {
	if !ok {
		for n := len(s.undo) - 1; n >= 0; n-- {
			s.undo[n].back()
			if key := s.undo[n].record; !slices.Contains(s.doubt, key) {
				s.doubt = append(s.doubt, key)
			}
		}
		a.Peers = len(s.undo) > 0
		s.holdOff = now.Boot.Add(retryWrite)
		for _, g := range s.granted {
			if s.invitations[g.to] != nil {
				a.send(g.to, invite.Answer{Code: invite.Later, Key: g.key, Time: now.Wall, Text: "the hub cannot write to its disk"})
			}
		}
	}
	s.undo = nil
	s.granted = nil
}

// note adds one.
func (a *Actions) note(l note.Level, msg string, kv ...string) {
	a.Notes = append(a.Notes, note.New(l, msg, kv...))
}

func (a *Actions) send(to wgkey.Public, ans invite.Answer) {
	a.Send = append(a.Send, Datagram{To: to, Data: ans.Marshal()})
}
