// SPDX-License-Identifier: MIT

package ra

import (
	"net/netip"
	"slices"
	"time"

	"oasis6/internal/bucket"
	"oasis6/internal/note"
)

// curHopLimit is what hosts set in their packets (the value of IANA's ip-parameters; all do so).
const curHopLimit = 64

// minRefresh is by how much lifetimes must grow to be worth a multicast of their own.
const minRefresh = 60 * time.Second

// shortenSlack: an end that moved by less came from truncation to seconds or the way of the packet.
const shortenSlack = 2 * time.Second

// Sender is the advertiser of one LAN.
//
//	         LinkUp            first prefix
//	paused ──────────► silent ───────────────► advertising: three quick multicasts, then one each
//	  ▲                  │     or, Resumed,      │          450 to 600 s; a change starts over
//	  │                  │     first content     │
//	  └──────────────────┴────── LinkDown ───────┘
//
// Silent, because hosts that hear nothing keep soliciting and one that heard any RA stops (Linux 6.18).
// Config.Resumed: they heard a predecessor, so there is nothing to be won by it.
// Once it has spoken it goes on, with router lifetime 0 if need be: what was said is withdrawn by
// name, not by silence. While another node uses our link-local address it is as if the link were down. There is one multicast deadline, next; all that wants a multicast pulls it
// forward and never nearer than MinDelayBetweenRAs to the last one. Not for concurrent use.
type Sender struct {
	cfg  Config
	rand func() float64

	up        bool
	mac       [6]byte
	haveMAC   bool
	linkLocal netip.Addr
	stopped   bool

	content Content
	refused []note.Note // of content, already noted
	expiry  time.Time   // the next end of a lifetime in content
	said    truth       // of the last multicast
	told    table
	news    bool // the records of told are others than when Persist was last said
	spoken  bool // any RA was ever sent
	given   bool // there was a SetContent

	toldLifetime uint16
	toldMTU      uint32

	last      time.Time // multicast
	next      time.Time // multicast; zero: none
	initial   int       // multicasts yet to come at the short interval
	answers   []answer
	hosts     hosts
	solicited bucket.Bucket // of unicast answers, all hosts together
	tells     bucket.Bucket // rounds of tellHosts
	tellAt    time.Time     // when the next is due; zero: none is
	neighbors []netip.Addr  // of the SetContent in work, and until tellAt

	routers     []otherRouter
	routerNotes bucket.Bucket
	clash       clash
	clashNotes  bucket.Bucket
	oldMAC      [6]byte // that we had before
	oldMACUntil time.Time

	sent, multicast, rsReceived, foreign uint64
	dropped                              [numDropReasons]uint64
}

// NewSender makes a sender that is paused and has no content. rand gives values in [0,1).
// Intervals outside of what Config.Check allows are brought to the nearest allowed value.
func NewSender(cfg Config, rand func() float64) *Sender {
	return &Sender{
		cfg: cfg.clamped(), rand: rand,
		solicited:   bucket.Bucket{Burst: solicitedBurst, Every: solicitedRefill},
		tells:       bucket.Bucket{Burst: tellBurst, Every: tellEvery},
		routerNotes: bucket.Bucket{Burst: routerNotes, Every: routerNoteRefill},
		clashNotes:  bucket.Bucket{Burst: clashNotes, Every: clashNoteRefill},
	}
}

// Step does what ev and the time ask for.
func (s *Sender) Step(now time.Time, ev Event) Actions {
	var a Actions
	if s.stopped {
		return a
	}
	if s.clashing() && !s.clash.until.After(now) {
		s.endClash(now, &a)
	}
	if stop, ok := ev.(Stop); ok {
		s.stop(now, stop.Final, &a)
	} else {
		s.handle(now, ev, &a)
		a.Wake = s.wake()
	}
	a.Persist, s.news = s.news, false
	return a
}

func (s *Sender) handle(now time.Time, ev Event, a *Actions) {
	switch ev := ev.(type) {
	case Restored:
		s.restore(now, ev.Records, a)
	case SetContent:
		s.neighbors = ev.Neighbors
		s.setContent(now, ev.Content, a)
	case LinkUp:
		s.linkUp(now, ev, a)
	case LinkDown:
		s.pause()
	case PortUp:
		if s.advertising() {
			s.pull(s.earliest(now))
		}
	case Received:
		s.receive(now, ev, a)
	case Tick:
	}
	if !s.expiry.IsZero() && !s.expiry.After(now) {
		s.review(now, a)
	}
	s.sendDue(now, a)
}

// Stats are the counters so far.
func (s *Sender) Stats() Stats {
	return Stats{Sent: s.sent, Multicast: s.multicast, RSReceived: s.rsReceived, ForeignRAs: s.foreign,
		Dropped: countDropped(&s.dropped)}
}

// countDropped names the counters that are not zero.
func countDropped(counters *[numDropReasons]uint64) map[string]uint64 {
	out := make(map[string]uint64)
	for d, n := range counters {
		if n > 0 {
			out[DropReason(d).String()] = n
		}
	}
	return out
}

func (s *Sender) setContent(now time.Time, c Content, a *Actions) {
	var notes []note.Note
	s.content, notes = usable(c)
	s.given = true
	if !slices.EqualFunc(notes, s.refused, sameNote) {
		a.Notes = append(a.Notes, notes...)
	}
	s.refused = notes
	s.review(now, a)
	if s.tellAt.IsZero() {
		s.neighbors = nil
	}
}

func (s *Sender) linkUp(now time.Time, ev LinkUp, a *Actions) {
	ll := ev.LinkLocal.WithZone("")
	if !isLinkLocal(ll) {
		// RFC 4861 section 4.2: the source "MUST be the link-local address".
		a.Notes = append(a.Notes, note.New(note.Warn, "no router advertisements: no link-local address", "err", ev.LinkLocal.String()))
		s.pause()
		return
	}
	if s.up && s.linkLocal == ll && s.mac == ev.MAC && s.haveMAC == ev.HasMAC {
		return
	}
	if s.linkLocal != ll {
		s.clash = clash{}
	}
	if s.haveMAC && s.mac != ev.MAC {
		s.oldMAC, s.oldMACUntil = s.mac, now.Add(oldMACGrace)
	}
	s.up, s.linkLocal, s.mac, s.haveMAC = true, ll, ev.MAC, ev.HasMAC
	s.review(now, a)
	if s.advertising() {
		s.announce(now)
	}
}

// pause keeps all that hosts were told, and the floor: only sending stops.
func (s *Sender) pause() {
	s.up = false
	s.hush()
}

func (s *Sender) hush() { s.next, s.tellAt, s.answers = time.Time{}, time.Time{}, nil }

// able says whether we can send, and may.
func (s *Sender) able() bool { return s.up && !s.clashing() }

// stop ends the sender. Deviates from RFC 4861 section 6.2.6: the last RA does not keep
// MinDelayBetweenRAs to the one before, because the process has no 3 s left to wait.
func (s *Sender) stop(now time.Time, final bool, a *Actions) {
	if final && (s.advertising() || s.able() && s.cfg.Resumed) {
		s.send(now, true, []netip.Addr{AllNodes}, a)
	}
	s.stopped = true
}

// owes says whether hosts are to hear the content even if it has no prefix: they may hold what a
// predecessor said.
func (s *Sender) owes() bool { return s.cfg.Resumed && s.given && !s.spoken }

// advertising says whether this is an advertising interface (RFC 4861 section 6.2.2) that can send.
func (s *Sender) advertising() bool { return s.able() && s.spoken }

// announce starts the quick multicasts of RFC 4861 section 6.2.4: now or at the floor, and two more.
func (s *Sender) announce(now time.Time) {
	s.initial = MaxInitialRtrAdvertisements
	s.pull(s.earliest(now))
}

// review compares what is true now with what the last multicast said. A difference is told at once,
// or at the floor, and twice more (RFC 4861 section 6.2.4). What is taken away does not wait, nor does
// the way to the Internet that is back: hosts that we know get the same RA by unicast.
func (s *Sender) review(now time.Time, a *Actions) {
	s.expiry = s.nextExpiry(now)
	t := s.truth(now)
	if s.given {
		notes := s.told.limit(t)
		s.news = s.news || len(notes) > 0
		a.Notes = append(a.Notes, notes...)
	}
	if !s.able() || !s.spoken && len(t.prefixes) == 0 && !s.owes() {
		return
	}
	if s.owes() {
		a.Notes = append(a.Notes, s.told.lost(t)...)
	}
	if _, most := s.intervals(now); !s.last.IsZero() {
		s.pull(later(s.last.Add(most), s.earliest(now))) // the interval drawn was for a longer lifetime
	}
	shorter, longer := s.lifetimesMoved(now)
	away := s.takesAway(now, t)
	back := s.toldLifetime == 0 && t.router
	switch {
	case away || back || shorter || !t.equal(s.said) || s.owes():
		s.announce(now)
		if (away || back) && s.next.After(now) {
			s.tellHosts(now, a)
		}
	case longer:
		s.pull(s.earliest(now))
	}
}

// lifetimesMoved compares the ends that hosts were told with those of the content. shorter: hosts
// were promised more than there is (RFC 9096 L-15). longer: there is more, and hosts would run out
// if they missed the next multicast.
func (s *Sender) lifetimesMoved(now time.Time) (shorter, longer bool) {
	_, most := s.intervals(now)
	enough := s.next.Add(most)
	compare := func(told time.Time, left uint32) {
		end := now.Add(time.Duration(left) * time.Second)
		shorter = shorter || end.Add(shortenSlack).Before(told)
		// A quarter of a short lifetime is worth an RA: hosts would else see each renewal too late.
		worth := min(minRefresh, end.Sub(now)/4)
		longer = longer || end.Sub(told) >= max(worth, time.Second) && told.Before(enough)
	}
	for _, p := range s.content.Prefixes {
		e := s.told.find(key{kind: kindPrefix, prefix: p.Prefix})
		if preferred, valid := p.left(now); e != nil && e.live && valid > 0 {
			compare(e.preferred, preferred)
			compare(e.valid, valid)
		}
	}
	_, dns := s.limits(now)
	for _, x := range s.content.Routes {
		e := s.told.find(key{kind: kindRoute, prefix: x.Prefix})
		if valid := x.lifetime(now, dns); e != nil && e.live && valid > 0 {
			compare(e.valid, valid)
		}
	}
	return shorter, longer
}

// takesAway says whether t lacks something that hosts were told of.
func (s *Sender) takesAway(now time.Time, t truth) bool {
	if s.toldLifetime > 0 && !t.router {
		return true
	}
	for i := range s.told {
		if e := &s.told[i]; e.live && (!t.has(e.key) || t.drops(now, e)) {
			return true
		}
	}
	return false
}

// nextExpiry is when something of the content ends by itself.
func (s *Sender) nextExpiry(now time.Time) time.Time {
	d := deadline{now: now}
	for _, p := range s.content.Prefixes {
		preferred, _ := p.Preferred.Time() // zero for one without end
		valid, _ := p.Valid.Time()
		d.add(preferred)
		d.add(valid)
	}
	for _, x := range s.content.Routes {
		if end, ok := x.Valid.Time(); ok {
			d.add(end.Add(time.Nanosecond - minLifetime)) // from then on less than minLifetime is left
		}
	}
	return d.at
}

// intervals are the MinRtrAdvInterval and MaxRtrAdvInterval of now: shorter than configured if a prefix with a Limit
// would run out otherwise.
func (s *Sender) intervals(now time.Time) (least, most time.Duration) {
	most = s.cfg.MaxInterval
	for _, p := range s.content.Prefixes {
		if p.Limit > 0 && !p.Valid.Over(now) {
			most = min(most, p.Limit/rollingRAs)
		}
	}
	return max(3*time.Second, min(s.cfg.MinInterval, most*3/4)), most
}

// earliest is when the next multicast may leave (RFC 4861 section 6.2.6, MIN_DELAY_BETWEEN_RAS).
func (s *Sender) earliest(now time.Time) time.Time {
	if floor := s.last.Add(MinDelayBetweenRAs); !s.last.IsZero() && floor.After(now) {
		return floor
	}
	return now
}

func (s *Sender) pull(at time.Time) {
	if s.next.IsZero() || at.Before(s.next) {
		s.next = at
	}
}

func (s *Sender) wake() time.Time {
	switch {
	case !s.up:
		return time.Time{}
	case s.clashing():
		return s.clash.until
	}
	var wake time.Time
	pull := func(t time.Time) {
		if !t.IsZero() && (wake.IsZero() || t.Before(wake)) {
			wake = t
		}
	}
	pull(s.next)
	for _, w := range s.answers {
		pull(w.at)
	}
	pull(s.expiry)
	pull(s.tellAt)
	return wake
}

func (s *Sender) sendDue(now time.Time, a *Actions) {
	if !s.next.IsZero() && !s.next.After(now) {
		s.tellAt = time.Time{}
		s.sendMulticast(now, a)
		return
	}
	if !s.tellAt.IsZero() && !s.tellAt.After(now) {
		s.tellHosts(now, a)
		s.neighbors = nil
	}
	var to []netip.Addr
	s.answers = slices.DeleteFunc(s.answers, func(w answer) bool {
		if w.at.After(now) {
			return false
		}
		to = append(to, w.to)
		return true
	})
	if len(to) > 0 {
		s.send(now, false, to, a)
	}
}

// sendMulticast also serves all who wait for an answer, and draws the timer anew (RFC 4861 sections
// 6.2.4 and 6.2.6).
func (s *Sender) sendMulticast(now time.Time, a *Actions) {
	s.send(now, false, []netip.Addr{AllNodes}, a)
	t := s.truth(now)
	a.Notes = append(a.Notes, t.changes(s.said)...)
	s.said, s.last, s.answers = t, now, nil
	s.initial = max(0, s.initial-1)
	least, most := s.intervals(now)
	interval := least + s.random(most-least)
	if s.initial > 0 {
		interval = min(interval, MaxInitialRtrAdvertInterval)
	}
	s.next = now.Add(interval)
}

// send sends one RA, last or not, to all of to.
func (s *Sender) send(now time.Time, last bool, to []netip.Addr, a *Actions) {
	s.news = s.told.prune(now) || s.news
	m := s.compose(now, last)
	parts, err := m.Split()
	if err != nil {
		a.Notes = append(a.Notes, note.New(note.Error, "router advertisement not sent", "err", err.Error()))
		return
	}
	for _, addr := range to {
		for _, data := range parts {
			a.Send = append(a.Send, Datagram{To: addr, Data: data})
		}
	}
	n := uint64(len(to)) * uint64(len(parts))
	s.sent += n
	if to[0] == AllNodes {
		s.multicast += n
	}
	s.record(now, m)
}

// random is uniform in [0,d).
func (s *Sender) random(d time.Duration) time.Duration {
	return time.Duration(s.rand() * float64(d))
}

func (s *Sender) receive(now time.Time, ev Received, a *Actions) {
	src := ev.Src.WithZone("")
	drop := WrongType
	switch {
	case len(ev.Data) == 0:
		drop = TooShort
	case ev.Data[0] == TypeRouterSolicitation:
		drop = s.receiveRS(now, src, ev)
	case ev.Data[0] == TypeRouterAdvertisement:
		drop = s.receiveRA(now, src, ev, a)
	}
	if drop != Accepted {
		s.dropped[drop]++
	}
}

// receiveRS decides on an answer (RFC 4861 section 6.2.6): by unicast if there is somebody to send it
// to (RFC 7772), by multicast to ::, and to a host that asks again because a switch with
// MLD snooping ate our neighbor solicitation for it.
func (s *Sender) receiveRS(now time.Time, src netip.Addr, ev Received) DropReason {
	if d := checkRS(src, ev.HopLimit, ev.Data); d != Accepted {
		return d
	}
	if src == s.linkLocal {
		return OwnMessage
	}
	s.rsReceived++
	var h *host
	if isLinkLocal(src) {
		h = s.hosts.heard(now, src)
	}
	if !s.advertising() {
		return NotAdvertising
	}
	if soon := now.Add(MaxRADelayTime); !s.next.IsZero() && !s.next.After(soon) {
		return Accepted // the multicast that is due anyway is the answer
	}
	delay := s.random(MaxRADelayTime)
	if h == nil { // :: or a source that a route might lead away from this LAN
		s.answerAll(now, delay)
		return Accepted
	}
	if slices.ContainsFunc(s.answers, func(w answer) bool { return w.to == src }) {
		return Accepted // one answer to several solicitations, "relative to the first"
	}
	if !h.bucket.Take(now, 1) {
		return RateLimited
	}
	lost := !h.answered.IsZero() && now.Sub(h.answered) < askAgainLimit
	if lost || len(s.answers) == maxAnswers || !s.solicited.Take(now, 1) {
		h.answered = time.Time{}
		s.answerAll(now, delay)
		return Accepted
	}
	h.answered = now.Add(delay)
	s.answers = append(s.answers, answer{to: src, at: h.answered})
	return Accepted
}

// answerAll schedules a solicited multicast after its random delay, which counts from the floor if
// "the router sent a multicast Router Advertisement within the last MIN_DELAY_BETWEEN_RAS seconds".
func (s *Sender) answerAll(now time.Time, delay time.Duration) {
	s.pull(s.earliest(now).Add(delay))
}

func sameNote(a, b note.Note) bool { return a.Msg == b.Msg && a.Detail() == b.Detail() }
