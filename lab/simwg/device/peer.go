// SPDX-License-Identifier: MIT

package device

import (
	"net/netip"
	"slices"
	"time"

	"oasis6/internal/wgkey"
)

// peer is all that a device knows of a peer.
type peer struct {
	key       wgkey.Public
	psk       wgkey.Preshared
	allowed   []netip.Prefix
	endpoint  netip.AddrPort
	keepalive time.Duration

	shake                   handshake
	previous, current, next *session
	staged                  [][]byte // packets; an empty one is a keepalive
	timers                  timers
	attempts                int  // retries of the present initiation
	another                 bool // data came while a keepalive was due: one more follows it
	lastMinute              bool // the receiver has begun a handshake before the session ends
	cookie                  [16]byte
	cookieAt                time.Time
	mac1                    [16]byte // of the last handshake message that was sent, to which a cookie belongs
	sentMAC1                bool

	counters  Counters
	completed time.Time
	heardAt   time.Time // the last handshake message that was authenticated
}

// handshake is one that is under way.
//
//	idle ──initiation sent──▶ begun ──response received──▶ idle, with a session
//	  └──initiation received──▶ response sent: idle, with a session to be confirmed
type handshake struct {
	begun      bool
	local      uint32 // our index; zero: none
	hasLocal   bool
	ephemeral  [32]byte
	last       Timestamp // of the peer's last initiation
	consumedAt time.Time // when that came
	sentAt     time.Time // our last initiation or response
}

// session is a pair of keys.
type session struct {
	send, receive secret
	nonce         uint64 // of the next message
	window        window
	initiator     bool
	created       time.Time
	local, remote uint32
}

// tooOld says whether messages under it are taken no more.
func (k *session) tooOld(now time.Time) bool { return now.Sub(k.created) > RejectAfterTime }

// usable says whether messages may be sent under it.
func (k *session) usable(now time.Time) bool {
	return k != nil && k.nonce < RejectAfterMessages && now.Sub(k.created) < RejectAfterTime
}

// Counters only grow.
type Counters struct {
	RxBytes, TxBytes     uint64 // whole datagrams, received ones if they were authentic
	Initiations          uint64 // sent, as far as an endpoint was known
	InitiationsReceived  uint64 // and authentic
	Data, Keepalives     uint64 // transport messages sent, as far as an endpoint was known
	DataIn, KeepalivesIn uint64
	Crowded              uint64 // packets that lost their place among those that wait
}

// State is a peer at one moment.
type State struct {
	Public     wgkey.Public
	Endpoint   netip.AddrPort // invalid: unknown
	AllowedIPs []netip.Prefix // not to be changed
	Keepalive  time.Duration
	Counters   Counters
	// Completed is when the last handshake was; zero: never. For who answers it that is when the first data comes.
	Completed time.Time
	HeardAt   time.Time // the last authentic handshake message of the peer
	Waiting   int       // packets that wait for a handshake
	Shaking   bool      // an initiation has no answer yet
	Attempts  int       // how often it was repeated
	CookieAt  time.Time // zero: none
	Sessions  []Session // the present one first, then the one before, then one that is not confirmed
}

// Session is what may be known of a pair of keys.
type Session struct {
	Local, Remote uint32 // indices
	Initiator     bool
	Created       time.Time
	Sent          uint64 // messages
	Confirmed     bool
}

// Peer tells how a peer is; false if there is none.
func (d *Device) Peer(key wgkey.Public) (State, bool) {
	p := d.byKey[key]
	if p == nil {
		return State{}, false
	}
	st := State{
		Public: p.key, Endpoint: p.endpoint, AllowedIPs: p.allowed, Keepalive: p.keepalive, Counters: p.counters,
		Completed: p.completed, HeardAt: p.heardAt, Waiting: len(p.staged), Shaking: !p.timers[retransmit].IsZero(),
		Attempts: p.attempts, CookieAt: p.cookieAt,
	}
	for _, k := range []*session{p.current, p.previous, p.next} {
		if k != nil {
			st.Sessions = append(st.Sessions, Session{
				Local: k.local, Remote: k.remote, Initiator: k.initiator, Created: k.created, Sent: min(k.nonce, RejectAfterMessages), Confirmed: k != p.next,
			})
		}
	}
	return st, true
}

// Peers are the keys of all peers, in the order in which they came.
func (d *Device) Peers() []wgkey.Public {
	keys := make([]wgkey.Public, 0, len(d.peers))
	for _, p := range d.peers {
		keys = append(keys, p.key)
	}
	return keys
}

// Route finds the peer to which a packet for dst goes.
func (d *Device) Route(dst netip.Addr) (wgkey.Public, bool) {
	if p := d.routes.find(dst); p != nil {
		return p.key, true
	}
	return wgkey.Public{}, false
}

// routes are the allowed-ips: the longest prefix wins.
type routes struct {
	owner   map[netip.Prefix]*peer
	lengths []int // that there are, longest first
}

func newRoutes() routes { return routes{owner: map[netip.Prefix]*peer{}} }

// add passes over what is not IPv6: the tunnel carries nothing else.
func (r *routes) add(p netip.Prefix, to *peer) {
	if !p.IsValid() || !p.Addr().Is6() || p.Addr().Is4In6() {
		return
	}
	r.owner[p.Masked()] = to
	if !slices.Contains(r.lengths, p.Bits()) {
		r.lengths = append(r.lengths, p.Bits())
		slices.SortFunc(r.lengths, func(a, b int) int { return b - a })
	}
}

func (r *routes) find(a netip.Addr) *peer {
	for _, bits := range r.lengths {
		prefix, err := a.Prefix(bits)
		if err != nil {
			return nil // an IPv4 address
		}
		if p := r.owner[prefix]; p != nil {
			return p
		}
	}
	return nil
}

// forget zeroes all key material and drops what waits.
func (s *step) forget(p *peer) {
	for _, k := range []*session{p.previous, p.current, p.next} {
		s.drop(k)
	}
	p.previous, p.current, p.next = nil, nil, nil
	s.endHandshake(p)
	p.staged = nil
}

// endHandshake forgets one that is under way.
func (s *step) endHandshake(p *peer) {
	s.dropIndex(p)
	p.shake.begun, p.shake.ephemeral = false, [32]byte{}
}

// dropIndex gives back the index of a handshake.
func (s *step) dropIndex(p *peer) {
	if p.shake.hasLocal {
		delete(s.index, p.shake.local)
	}
	p.shake.local, p.shake.hasLocal = 0, false
}

// drop ends a session, if there is one.
func (s *step) drop(k *session) {
	if k != nil {
		delete(s.index, k.local)
	}
}

// expireSessions lets nothing more be sent under the present keys, and the next handshake begin at once.
func (s *step) expireSessions(p *peer) {
	s.endHandshake(p)
	p.shake.sentAt = time.Time{}
	for _, k := range []*session{p.current, p.next} {
		if k != nil {
			k.nonce = RejectAfterMessages
		}
	}
}
