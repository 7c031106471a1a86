// SPDX-License-Identifier: MIT

package server

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	oracle "github.com/insomniacslk/dhcp/dhcpv6"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/dhcpv6test"
	"oasis6/internal/lifetime"
)

// t0 is the instant at which tests begin.
var t0 = time.Unix(5000, 0).UTC()

const ourDUID = dhcpv6.DUID("\x00\x04ssssssssssssssss")

var testConfig = Config{DUID: ourDUID, Secret: [32]byte{1, 2, 3}}

func at(d time.Duration) lifetime.Until { return lifetime.At(t0.Add(d)) }

// testPool is a /56 whose first two /64 are those of our LANs.
func testPool() Pool {
	return Pool{Prefix: netip.MustParsePrefix("2001:db8:1::/56"), Preferred: at(100 * time.Hour), Valid: at(200 * time.Hour),
		Taken: prefixes("2001:db8:1::/64 2001:db8:1:1::/64")}
}

func prefixes(list string) (all []netip.Prefix) {
	for _, p := range strings.Fields(list) {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

func testContent() Content {
	onLink := func(p string) []OnLink {
		return []OnLink{{Prefix: netip.MustParsePrefix(p), Preferred: at(100 * time.Hour), Valid: at(200 * time.Hour)}}
	}
	return Content{Pools: []Pool{testPool()}, Links: []Link{
		{Name: "lan", Stateful: true, Delegate: true, OnLink: onLink("2001:db8:1::/64"), Info: Info{
			DNS: []netip.Addr{netip.MustParseAddr("2001:db8:1::53")}, Search: []string{"lan.example"},
			NTP: []dhcpv6.NTPServer{{Addr: netip.MustParseAddr("2001:db8:1::123")}}, CaptivePortal: "https://example.com/api",
			EncryptedDNS: []dhcpv6.EncryptedDNS{{Priority: 1, Name: "dot.example"}}}},
		{Name: "guest", Stateful: true, Delegate: true, OnLink: onLink("2001:db8:1:1::/64")},
	}}
}

// tester is a testing.TB, or rapid's.
type tester interface {
	Helper()
	Errorf(string, ...any)
	Fatal(...any)
	Fatalf(string, ...any)
}

// world runs one server, with a disk and with what must hold after every step.
type world struct {
	t        tester
	s        *Server
	now      time.Time
	act      Actions
	content  Content
	disk     *State // what a successor gets
	diskFull bool
	writes   int
	xid      uint32
	oracle   bool // judge each message by the library too
	big      bool // so many bindings that the test itself looks at them
}

func newWorld(t tester) *world { return worldWith(t, testConfig, testContent()) }

func worldWith(t tester, cfg Config, c Content) *world {
	w := &world{t: t, s: New(cfg, rand.New(rand.NewPCG(1, 2)).Float64), now: t0, oracle: true}
	w.set(c)
	return w
}

func (w *world) set(c Content) {
	w.t.Helper()
	w.content = c
	w.step(w.now, SetContent{c})
}

func (w *world) step(now time.Time, ev Event) Actions {
	w.t.Helper()
	w.now = now
	act := w.s.Step(now, ev)
	if !act.Wake.IsZero() && !act.Wake.After(now) {
		w.t.Fatalf("%v %T: wake %v is not in the future", now.Sub(t0), ev, act.Wake.Sub(t0))
	}
	if act.Persist != nil {
		w.writes++
		if w.diskFull {
			act.Send = nil
		} else {
			w.disk = act.Persist
		}
		saved := w.s.Step(now, Saved{!w.diskFull})
		if saved.Persist != nil || len(saved.Send) > 0 || saved.Changed {
			w.t.Fatalf("%v: Saved makes %+v", now.Sub(t0), saved)
		}
		act.Wake = saved.Wake
	}
	for _, d := range act.Send {
		w.checkSent(d)
	}
	if !w.big {
		w.checkBindings()
	}
	w.act = act
	return act
}

// checkSent is what every message of a server is like.
func (w *world) checkSent(d Datagram) {
	w.t.Helper()
	m, problems, err := dhcpv6.ParseMessage(d.Data)
	if err != nil || problems != nil || m.ServerID != w.s.cfg.DUID || m.ElapsedTime != 0 || !d.To.IsLinkLocalUnicast() || m.Preference != 0 {
		w.t.Fatalf("sent to %s: %+v %v %v", d.To, m, problems, err)
	}
	if w.oracle {
		if _, err := oracle.FromBytes(d.Data); err != nil {
			w.t.Fatalf("the library refuses %s: %v", dhcpv6test.Text(m), err)
		}
	}
	for _, ia := range m.IAs {
		if ia.T1 != m.IAs[0].T1 || ia.T2 != m.IAs[0].T2 {
			w.t.Fatalf("T1 and T2 differ between IAs: %s", dhcpv6test.Text(m))
		}
		for _, p := range ia.Prefixes {
			if p.Preferred > p.Valid || p.Preferred > 2700 || p.Valid > 5400 || ia.T1 > ia.T2 || p.Preferred > 0 && ia.T2 > p.Preferred {
				w.t.Fatalf("lifetimes: %s", dhcpv6test.Text(m))
			}
			if p.Valid > 0 && !w.mayTell(ia.Type, d.Link, p) {
				w.t.Fatalf("%v: told on %s: %s, not in %+v", w.now.Sub(t0), d.Link, dhcpv6test.Text(m), w.content)
			}
		}
	}
}

// mayTell: the lease comes from something that is true, and is not told to last longer.
func (w *world) mayTell(t dhcpv6.IAType, link string, p dhcpv6.IAPrefix) bool {
	l := w.content.link(link)
	if l == nil {
		return false
	}
	fits := func(preferred, valid lifetime.Until) bool {
		return p.Preferred <= preferred.Seconds(w.now) && p.Valid <= valid.Seconds(w.now)
	}
	if t == dhcpv6.NA {
		return l.Stateful && slices.ContainsFunc(l.OnLink, func(o OnLink) bool {
			return o.Prefix.Contains(p.Prefix.Addr()) && fits(o.Preferred, o.Valid)
		})
	}
	return l.Delegate && slices.ContainsFunc(w.content.Pools, func(x Pool) bool {
		return x.Prefix.Contains(p.Prefix.Addr()) && x.Prefix.Bits() <= p.Prefix.Bits() && fits(x.Preferred, x.Valid) &&
			!slices.ContainsFunc(x.Taken, p.Prefix.Overlaps) && !slices.ContainsFunc(w.content.Links, func(l Link) bool {
			return slices.ContainsFunc(l.OnLink, func(o OnLink) bool { return o.Prefix.Overlaps(p.Prefix) })
		})
	})
}

// checkBindings: nobody has what another one has, and what is not ours to give is stale.
func (w *world) checkBindings() {
	w.t.Helper()
	var live [2][]netip.Prefix // of each type: a LAN may get the prefix of a router, which then is stale
	for _, b := range w.s.Bindings(w.now) {
		for _, l := range b.Leases {
			if slices.ContainsFunc(live[b.Type], l.Prefix.Overlaps) {
				w.t.Fatalf("%v: %s is given twice: %v", w.now.Sub(t0), l.Prefix, w.s.Bindings(w.now))
			}
			live[b.Type] = append(live[b.Type], l.Prefix)
			sources := w.content.sources(w.now, w.content.link(b.Link), b.Type)
			if !l.Stale && sourceOf(sources, l.Prefix) < 0 && w.content.Links != nil {
				if _, ends := l.Valid.Time(); ends && w.poolIsOver(l.Prefix) {
					continue // the source ended by itself, and the lease with it, or after a restart a little later
				}
				w.t.Fatalf("%v: %s of %s is not stale and in nothing of %+v", w.now.Sub(t0), l.Prefix, b.Link, w.content)
			}
		}
	}
}

// poolIsOver says that what the prefix came from is still in the content, and over.
func (w *world) poolIsOver(p netip.Prefix) bool {
	over := slices.ContainsFunc(w.content.Pools, func(x Pool) bool { return x.Prefix.Contains(p.Addr()) && x.Valid.Over(w.now) })
	for _, l := range w.content.Links {
		over = over || slices.ContainsFunc(l.OnLink, func(o OnLink) bool { return o.Prefix.Contains(p.Addr()) && o.Valid.Over(w.now) })
	}
	return over
}

// restart is a kill -9 and a start from the disk.
func (w *world) restart() {
	w.t.Helper()
	w.s = New(w.s.cfg, w.s.rand)
	if w.disk != nil {
		data, err := EncodeState(*w.disk, w.now, w.now, "boot")
		if err != nil {
			w.t.Fatal(err)
		}
		st, err := DecodeState(data, w.now, "boot")
		if err != nil {
			w.t.Fatal(err)
		}
		c := w.content
		w.content = Content{}
		w.step(w.now, Restored{st})
		w.content = c
	}
	w.set(w.content)
}

// wait lets time pass, from deadline to deadline, and gives what was sent. What else was done counts as done by the last
// step.
func (w *world) wait(d time.Duration) (sent []Datagram) {
	w.t.Helper()
	end := w.now.Add(d)
	var all Actions
	for steps := 0; ; steps++ {
		at := w.act.Wake
		if at.IsZero() || at.After(end) {
			at = end
		}
		act := w.step(at, Tick{})
		all.Changed = all.Changed || act.Changed
		all.Send, all.Notes = append(all.Send, act.Send...), append(all.Notes, act.Notes...)
		if act.Persist != nil {
			all.Persist = act.Persist
		}
		if at.Equal(end) {
			all.Wake = act.Wake
			w.act = all
			return all.Send
		}
		if steps > 5000 {
			w.t.Fatal("the deadlines do not end")
		}
	}
}

// address is the link-local one of a client.
func address(name string) netip.Addr {
	b := netip.MustParseAddr("fe80::").As16()
	copy(b[8:], name)
	return netip.AddrFrom16(b)
}

// query makes the message that words describe (dhcpv6test). client= says who sends it (c1), link= where, src= from which
// address.
func (w *world) query(words string) (ev Received, m dhcpv6.Message) {
	w.t.Helper()
	name := "c1"
	ev.Link = "lan"
	m, err := dhcpv6test.Query(words, ourDUID, func(key, val string) bool {
		switch key {
		case "client":
			name = val
		case "link":
			ev.Link = val
		case "src":
			ev.Src = netip.MustParseAddr(val)
		default:
			return false
		}
		return true
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.xid++
	m.XID = w.xid
	if name != "none" {
		m.ClientID = dhcpv6test.DUID(name)
	}
	if !ev.Src.IsValid() {
		ev.Src = address(name)
	}
	ev.Data = m.Append(nil)
	return ev, m
}

// ask sends a message and gives the answer, as text and as it is; there is none if it was dropped.
func (w *world) ask(words string) (string, dhcpv6.Message) {
	w.t.Helper()
	ev, q := w.query(words)
	before := w.dropped()
	act := w.step(w.now, ev)
	if len(act.Send) == 0 {
		if act.Persist == nil && w.dropped() != before+1 {
			w.t.Fatalf("%s: no answer, and nothing is counted", words)
		}
		return "", dhcpv6.Message{}
	}
	d := act.Send[0]
	m, _, _ := dhcpv6.ParseMessage(d.Data)
	if len(act.Send) != 1 || d.Link != ev.Link || d.To != ev.Src || m.XID != q.XID || m.ClientID != q.ClientID {
		w.t.Fatalf("%s: answered by %s to %s on %s, %d messages", words, dhcpv6test.Text(m), d.To, d.Link, len(act.Send))
	}
	return dhcpv6test.Text(m), m
}

// want asks and compares.
func (w *world) want(words, want string) dhcpv6.Message {
	w.t.Helper()
	got, m := w.ask(words)
	if got != want {
		w.t.Errorf("%v %s\n got %s\nwant %s", w.now.Sub(t0), words, got, want)
	}
	return m
}

func (w *world) dropped() (n uint64) {
	for _, c := range w.s.counters {
		for _, d := range c.dropped {
			n += d
		}
	}
	return n
}

// bound is what the server has given, as text.
func (w *world) bound() string {
	var f []string
	for _, b := range w.s.Bindings(w.now) {
		f = append(f, b.Link, string(b.Client[4:]), strings.ToLower(b.Type.String()[3:])+strconv.Itoa(int(b.IAID)))
		for _, l := range b.Leases {
			s := fmt.Sprintf("%s=%d/%d", strings.TrimSuffix(l.Prefix.String(), "/128"), l.Preferred.Seconds(w.now), l.Valid.Seconds(w.now))
			if l.Stale {
				s += "/stale"
			}
			f = append(f, s)
		}
	}
	return strings.Join(f, " ")
}

func (w *world) wantBound(want string) {
	w.t.Helper()
	if got := w.bound(); got != want {
		w.t.Errorf("%v bindings\n got %s\nwant %s", w.now.Sub(t0), got, want)
	}
}

// did says what else the last step did.
func (w *world) did(persist, changed bool) {
	w.t.Helper()
	if (w.act.Persist != nil) != persist || w.act.Changed != changed {
		w.t.Errorf("%v: persist %v changed %v, want %v %v", w.now.Sub(t0), w.act.Persist != nil, w.act.Changed, persist, changed)
	}
}

// noted counts the notes of a level in the last step.
func (w *world) noted(msg string) (n int) {
	for _, x := range w.act.Notes {
		if x.Msg == msg {
			n++
		}
	}
	return n
}
