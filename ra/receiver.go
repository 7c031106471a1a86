// SPDX-License-Identifier: MIT

package ra

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"oasis6/internal/bucket"
	"oasis6/internal/lifetime"
	"oasis6/internal/note"
)

// AllRouters is where Router Solicitations go (RFC 4861 section 2.3).
var AllRouters = netip.AddrFrom16([16]byte{0xff, 0x02, 15: 2})

// RFC 4861 section 10, host constants.
const (
	MaxRtrSolicitationDelay = 1 * time.Second
	RtrSolicitationInterval = 4 * time.Second
	MaxRtrSolicitations     = 3
)

// RFC 7559 section 2: IRT and MRT; MRC and MRD are 0, so it never ends without a router.
const (
	rsInitialRT = 4 * time.Second
	rsMaxRT     = 3600 * time.Second
)

const (
	// minAskInterval is the least time between two bursts of solicitations that a LinkUp starts: what a
	// DHCPv6 client keeps (RFC 9915 section 18.2.12). In between, a LinkUp goes on with the backoff.
	minAskInterval = 30 * time.Second
	// maxLearned bounds the routers: a tunnel has one at its other end, RFC 4861 section 6.3.4 wants two at least.
	maxLearned = 8
	// forgetAfter is how long the flags of a silent router count, which have no lifetime of their own: three times
	// the longest MaxRtrAdvInterval (RFC 4861 section 6.2.1).
	forgetAfter = 3 * 1800 * time.Second
	// Changed is said changeBurst times at once and then once in changeRefill: a router that says M in every second
	// RA must not make the box set out anew for each.
	changeBurst  = 5
	changeRefill = 10 * time.Second
)

// ReceiverConfig is the link of a Receiver.
type ReceiverConfig struct {
	// PointToPoint leaves out the random delay before the first solicitation. Deviates from RFC 4861 section
	// 6.3.7 (SHOULD): the delay spreads the hosts of one link, and a tunnel has one.
	PointToPoint bool
}

// ReceiverActions is what the runner of a Receiver must carry out.
type ReceiverActions struct {
	Send    []Datagram  // Router Solicitations
	Wake    time.Time   // next deadline; zero means none
	Changed bool        // Learned gives another answer than when it was last said; a lifetime that was renewed is none
	Notes   []note.Note // at most one for each Changed
}

// Learned is what the routers of the link have said.
type Learned struct {
	Heard       bool // at least one router is known
	NoRouter    bool // MaxRtrSolicitations were sent and nobody answered; until somebody does
	Managed     bool // M flag: addresses by DHCPv6
	OtherConfig bool // O flag: other configuration by DHCPv6
	Routers     []LearnedRouter
	DNS         []netip.Addr // servers by RDNSS that the LAN can reach, in the order of learning
	Search      []string     // domains by DNSSL
}

// LearnedRouter is one router as its last RA gave it.
type LearnedRouter struct {
	Addr        netip.Addr // link-local
	Managed     bool
	OtherConfig bool
	Preference  Preference
	Lifetime    lifetime.Until // as default router; over if it is none
	Heard       time.Time      // its last RA
	Earlier     bool           // that was before the link came up last
}

// Receiver is the host side of router discovery on one link: it solicits, and learns what routers say.
//
//	          LinkUp                 RA with router lifetime > 0
//	down ──────────────► soliciting ─────────────────────────────► quiet
//	 ▲                    │   ▲ 4 s, 8 s, … 3600 s                  │
//	 │                    └───┴──────── LinkUp ◄────────────────────┤
//	 └─────────────────────────────── LinkDown ─────────────────────┘
//
// The flags are those of all routers together: "Hosts accept the union of all received information" (RFC 4861
// section 6.3.4), of each its last RA, also with router lifetime 0. LinkDown forgets nothing; after a LinkUp the
// routers of before count until the first one is heard, since it may be another link.
//
// RAs' prefixes and MTU are not used: the box has its addresses from DHCPv6 or the configuration, and its MTU from the
// path. Not for concurrent use.
type Receiver struct {
	cfg  ReceiverConfig
	rand func() float64

	up      bool
	stopped bool
	mac     [6]byte
	haveMAC bool

	asked  time.Time     // last LinkUp
	first  time.Time     // first solicitation of the burst
	sentAt time.Time     // last solicitation
	count  int           // solicitations in this burst, up to MaxRtrSolicitations
	rt     time.Duration // that runs since sentAt
	next   time.Time     // next solicitation; zero: none
	found  bool          // a default router answered since asked

	conclude time.Time // when silence means that there is no router
	noRouter bool

	routers []LearnedRouter
	dns     []learned

	told        summary // as of the last Changed
	toldServers []netip.Addr
	toldDomains []string
	changes     bucket.Bucket
	dropped     [numDropReasons]uint64
}

// summary is what Changed is about.
type summary struct{ heard, noRouter, def, managed, other bool }

// NewReceiver makes a receiver that knows nothing, on a link that is down. rand gives values in [0,1).
func NewReceiver(cfg ReceiverConfig, rand func() float64) *Receiver {
	return &Receiver{cfg: cfg, rand: rand, changes: bucket.Bucket{Burst: changeBurst, Every: changeRefill}}
}

// Step does what ev and the time ask for. LinkUp says that packets can reach a router now; it may come again while
// the link is up, when there is reason to ask again. Events that are about what a router advertises do nothing.
func (r *Receiver) Step(now time.Time, ev Event) ReceiverActions {
	var a ReceiverActions
	if r.stopped {
		return a
	}
	switch ev := ev.(type) {
	case LinkUp:
		r.linkUp(now, ev)
	case LinkDown:
		r.up, r.next, r.conclude = false, time.Time{}, time.Time{}
	case Received:
		if d := r.receive(now, ev); d != Accepted {
			r.dropped[d]++
		}
	case Stop:
		r.stopped = true
		return a
	}
	r.forget(now)
	r.solicit(now, &a)
	if !r.conclude.IsZero() && !r.conclude.After(now) {
		r.conclude, r.noRouter = time.Time{}, true
	}
	r.report(now, &a)
	a.Wake = r.wake(now)
	return a
}

// Dropped counts the messages that were not acted upon, by DropReason; only those that happened.
func (r *Receiver) Dropped() map[string]uint64 { return countDropped(&r.dropped) }

// linkUp asks. RFC 4861 section 6.3.7 names the events, "The interface is reinitialized after a temporary interface
// failure" among them.
func (r *Receiver) linkUp(now time.Time, ev LinkUp) {
	r.up, r.mac, r.haveMAC = true, ev.MAC, ev.HasMAC
	r.asked, r.found = now, false
	for i := range r.routers {
		r.routers[i].Earlier = true
	}
	for i := range r.dns {
		r.dns[i].earlier = true
	}
	if !r.next.IsZero() && r.count == 0 {
		return // the burst is about to begin
	}
	if r.first.IsZero() || !now.Before(r.first.Add(minAskInterval)) {
		r.count, r.rt, r.next = 0, 0, now
		if !r.cfg.PointToPoint {
			r.next = now.Add(time.Duration(r.rand() * float64(MaxRtrSolicitationDelay)))
		}
		// The backoff of the burst before may have had one just now.
		r.next = later(r.next, r.sentAt.Add(RtrSolicitationInterval))
		return
	}
	r.next = later(now, r.sentAt.Add(r.rt))
}

// solicit sends the solicitation that is due. It goes on until a default router answered (RFC 7559 section 2.1), and
// one is sent at least, since "Responses to solicited advertisements may contain more information than unsolicited
// advertisements" (RFC 4861 section 6.3.7).
func (r *Receiver) solicit(now time.Time, a *ReceiverActions) {
	if r.next.IsZero() || r.next.After(now) {
		return
	}
	var m RouterSolicitation
	if r.haveMAC {
		m.Options = []Option{SourceLinkLayer(r.mac)}
	}
	data, _ := m.Append(nil) // fails for no option of this kind
	a.Send = append(a.Send, Datagram{To: AllRouters, Data: data})
	r.rt = r.nextRT()
	if r.count == 0 {
		r.first = now
	}
	r.sentAt, r.next = now, now.Add(r.rt)
	if r.count = min(r.count+1, MaxRtrSolicitations); r.count == MaxRtrSolicitations && !r.answered() && !r.noRouter {
		r.conclude = now.Add(MaxRtrSolicitationDelay)
	}
	if r.found {
		r.next = time.Time{}
	}
}

// nextRT is the retransmission time of RFC 3315 section 14, which RFC 7559 section 2 uses (now RFC 9915 section 15).
// The first is not below RTR_SOLICITATION_INTERVAL, which RFC 4861 section 6.3.7 has for the least.
func (r *Receiver) nextRT() time.Duration {
	if r.rt == 0 {
		return max(rsInitialRT+r.jitter(rsInitialRT), RtrSolicitationInterval)
	}
	if rt := 2*r.rt + r.jitter(r.rt); rt <= rsMaxRT {
		return rt
	}
	return rsMaxRT + r.jitter(rsMaxRT)
}

// jitter is RAND times d: uniform in a tenth of d, to either side.
func (r *Receiver) jitter(d time.Duration) time.Duration {
	return time.Duration((r.rand() - 0.5) / 5 * float64(d))
}

func (r *Receiver) receive(now time.Time, ev Received) DropReason {
	src := ev.Src.WithZone("")
	m, _, drop := ParseRA(src, ev.HopLimit, ev.Data)
	if drop != Accepted {
		return drop
	}
	i := r.place(now, src)
	if i < 0 {
		return TooManyRouters
	}
	r.routers[i] = LearnedRouter{Addr: src, Managed: m.Managed, OtherConfig: m.OtherConfig, Preference: m.Preference,
		Lifetime: lifetime.FromSeconds(now, uint32(m.RouterLifetime)), Heard: now}
	r.learnDNS(now, &m)
	r.noRouter, r.conclude = false, time.Time{}
	// "If an RA is received from a router and it does not result in a default route (i.e., Router Lifetime is zero),
	// the host MUST continue retransmitting the RSs" (RFC 7559 section 2.1).
	if m.RouterLifetime > 0 {
		r.found = true
		if !r.sentAt.Before(r.asked) {
			r.next = time.Time{}
		}
	}
	return Accepted
}

// place is the index for the router, -1 if there is none. Of a full table those make room who are no default
// router or of before the link came up, the one not heard for longest first: whoever floods us with sources cannot
// push out a router in use.
func (r *Receiver) place(now time.Time, addr netip.Addr) int {
	for i := range r.routers {
		if r.routers[i].Addr == addr {
			return i
		}
	}
	if len(r.routers) < maxLearned {
		r.routers = append(r.routers, LearnedRouter{})
		return len(r.routers) - 1
	}
	place := -1
	for i := range r.routers {
		x := &r.routers[i]
		if (x.Earlier || x.Lifetime.Over(now)) && (place < 0 || x.Heard.Before(r.routers[place].Heard)) {
			place = i
		}
	}
	return place
}

// answered says whether any router was heard since the last LinkUp.
func (r *Receiver) answered() bool {
	for i := range r.routers {
		if !r.routers[i].Earlier {
			return true
		}
	}
	return false
}

// forgets is when a router that stays silent is forgotten. Time with the link down does not count, nor before it.
func (r *Receiver) forgets(x *LearnedRouter) time.Time {
	since := x.Heard
	if x.Earlier {
		since = r.asked
	}
	end, _ := x.Lifetime.Time()
	return later(since.Add(forgetAfter), end)
}

func (r *Receiver) forget(now time.Time) {
	r.dns = slices.DeleteFunc(r.dns, func(x learned) bool { return x.until.Over(now) })
	for i := len(r.routers) - 1; r.up && i >= 0; i-- {
		if !r.forgets(&r.routers[i]).After(now) {
			r.routers = append(r.routers[:i], r.routers[i+1:]...)
		}
	}
}

// Learned is what is known.
func (r *Receiver) Learned() Learned {
	s := r.summary(r.asked)
	servers, domains := r.resolution()
	return Learned{DNS: servers, Search: domains, Heard: s.heard, NoRouter: s.noRouter, Managed: s.managed, OtherConfig: s.other,
		Routers: append([]LearnedRouter(nil), r.routers...)}
}

func (r *Receiver) summary(now time.Time) summary {
	s := summary{heard: len(r.routers) > 0, noRouter: r.noRouter}
	answered := r.answered()
	for i := range r.routers {
		x := &r.routers[i]
		s.def = s.def || !x.Lifetime.Over(now)
		if !x.Earlier || !answered {
			s.managed = s.managed || x.Managed
			s.other = s.other || x.OtherConfig
		}
	}
	return s
}

// report says Changed, as often as the bucket allows.
func (r *Receiver) report(now time.Time, a *ReceiverActions) {
	if !r.news(now) {
		return
	}
	s := r.summary(now)
	if !r.changes.Take(now, 1) {
		return
	}
	r.told, a.Changed = s, true
	r.toldServers, r.toldDomains = r.resolution()
	level := note.Info
	if !s.heard { // many hubs are no routers in this sense, and nothing depends on it
		level = note.Debug
	}
	a.Notes = append(a.Notes, note.New(level, "router discovery", "routers", strconv.Itoa(len(r.routers)),
		"default", strconv.FormatBool(s.def), "managed", strconv.FormatBool(s.managed),
		"other", strconv.FormatBool(s.other), "dns", strconv.Itoa(len(r.toldServers))))
}

func (r *Receiver) wake(now time.Time) time.Time {
	d := deadline{now: now}
	d.add(r.next)
	d.add(r.conclude)
	for i := range r.routers {
		end, _ := r.routers[i].Lifetime.Time()
		d.add(end)
		if r.up {
			d.add(r.forgets(&r.routers[i]))
		}
	}
	for i := range r.dns {
		end, _ := r.dns[i].until.Time()
		d.add(end)
	}
	if r.news(now) {
		d.add(r.changes.Next())
	}
	return d.at
}
