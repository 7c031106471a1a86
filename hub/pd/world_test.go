// SPDX-License-Identifier: MIT

package pd

import (
	"bytes"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	oracle "github.com/insomniacslk/dhcp/dhcpv6"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/dhcpv6test"
	"oasis6/internal/wgkey"
)

// t0 is the instant at which tests begin.
var t0 = time.Unix(5000, 0).UTC()

const ourDUID = dhcpv6.DUID("\x00\x04ssssssssssssssss")

var testConfig = Config{DUID: ourDUID, Secret: [32]byte{1, 2, 3}}

func prefixes(list string) (all []netip.Prefix) {
	for _, p := range strings.Fields(list) {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

// keyOfSite is the key of a site by its name.
func keyOfSite(name string) (k wgkey.Public) {
	copy(k[:], name)
	return k
}

// sites makes sites of words: a name, or a name with reservations, "b=2001:db8::/64,2001:db8:1::/64".
func sites(words string) map[wgkey.Public]Site {
	all := map[wgkey.Public]Site{}
	for _, w := range strings.Fields(words) {
		name, list, _ := strings.Cut(w, "=")
		all[keyOfSite(name)] = Site{Name: name, Reserved: prefixes(strings.ReplaceAll(list, ",", " "))}
	}
	return all
}

// testContent has a /56 whose first /64 is the hub's own, and three sites.
func testContent() Content {
	return Content{Pools: prefixes("2001:db8:1::/56"), Taken: prefixes("2001:db8:1::/64"), Sites: sites("a b c"),
		Preferred: 2700 * time.Second, Valid: 5400 * time.Second, SiteLength: 64, MaxSiteLength: 60,
		Info: Info{DNS: []netip.Addr{netip.MustParseAddr("2001:db8::53")}, Search: []string{"example.net"}}}
}

// tester is a testing.TB, or rapid's.
type tester interface {
	Helper()
	Errorf(string, ...any)
	Fatal(...any)
	Fatalf(string, ...any)
}

// world runs one machine, with a disk, with a kernel's routes, and with what must hold after every step.
type world struct {
	t        tester
	m        *Machine
	now      time.Time
	act      Actions
	content  Content
	disk     map[BindingKey][]byte // what a successor gets
	replay   uint64
	routes   map[wgkey.Public][]netip.Prefix // as the runner has them, from Changed alone
	diskFull bool
	lies     bool // a write that fails is there all the same, as after a lost answer of the store
	lost     bool // what a successor is told of its disk
	batch    bool // steps are put together until save
	waiting  Actions
	writes   int
	xid      uint32
	odd      bool // there is a DUID that the library does not take
	big      bool // so many sites that the test itself looks at them
}

func newWorld(t tester) *world { return worldWith(t, testContent()) }

func worldWith(t tester, c Content) *world {
	w := &world{t: t, m: New(testConfig), now: t0, disk: map[BindingKey][]byte{}, routes: map[wgkey.Public][]netip.Prefix{}}
	w.set(c)
	return w
}

func (w *world) set(c Content) {
	w.t.Helper()
	w.content = c
	w.step(w.now, SetContent{c})
}

// change sets a content that differs.
func (w *world) change(f func(*Content)) {
	w.t.Helper()
	c := w.content
	f(&c)
	w.set(c)
}

func (w *world) step(now time.Time, ev Event) Actions {
	w.t.Helper()
	w.now = now
	act := w.m.Step(now, ev)
	if !act.Wake.IsZero() && !act.Wake.After(now) {
		w.t.Fatalf("%v %T: wake %v is not in the future", now.Sub(t0), ev, act.Wake.Sub(t0))
	}
	w.waiting.add(act)
	if !w.batch {
		return w.save()
	}
	w.act = act
	return act
}

// add puts the actions of a further step to those that wait.
func (a *Actions) add(b Actions) {
	a.Commit, a.Changed, a.Send = append(a.Commit, b.Commit...), append(a.Changed, b.Changed...), append(a.Send, b.Send...)
	a.Notes, a.Wake, a.Replay = append(a.Notes, b.Notes...), b.Wake, max(a.Replay, b.Replay)
}

// save carries out what waits.
func (w *world) save() Actions {
	w.t.Helper()
	act := w.waiting
	w.waiting = Actions{}
	if act.MustSave() {
		w.writes++
		if w.diskFull {
			act.Send = nil
		}
		if !w.diskFull || w.lies {
			w.write(act)
		}
		saved := w.m.Step(w.now, Saved{!w.diskFull})
		if saved.MustSave() || len(saved.Send) > 0 || len(saved.Changed) > 0 && !w.diskFull {
			w.t.Fatalf("%v: Saved makes %+v", w.now.Sub(t0), saved)
		}
		act.Wake = saved.Wake
		act.Changed, act.Notes = append(act.Changed, saved.Changed...), append(act.Notes, saved.Notes...)
	}
	for _, k := range act.Changed {
		if r := w.m.Routed(k); len(r) > 0 {
			w.routes[k] = r
		} else {
			delete(w.routes, k)
		}
	}
	for _, d := range act.Send {
		w.checkSent(d)
	}
	if !w.big {
		w.check()
	}
	w.act = act
	return act
}

func (w *world) write(act Actions) {
	w.t.Helper()
	for _, c := range act.Commit {
		if c.Binding == nil {
			delete(w.disk, c.Key)
			continue
		}
		if c.Binding.Key() != c.Key {
			w.t.Fatalf("the record of %v is of %v", c.Key, c.Binding.Key())
		}
		data, err := Encode(*c.Binding, w.now, w.now, "boot")
		if err != nil {
			w.t.Fatal(err)
		}
		w.disk[c.Key] = data
	}
	w.replay = max(w.replay, act.Replay)
}

// read is a record of the disk.
func (w *world) read(k BindingKey) Binding {
	w.t.Helper()
	b, err := Decode(w.disk[k], w.now, "boot")
	if err != nil {
		w.t.Fatalf("%v: record of %v: %v", w.now.Sub(t0), k, err)
	}
	return b
}

// checkSent is what every message of a server is like, and that what it tells is on disk.
func (w *world) checkSent(d Datagram) {
	w.t.Helper()
	m, problems, err := dhcpv6.ParseMessage(d.Data)
	if err != nil || problems != nil || m.ServerID != ourDUID || m.ElapsedTime != 0 || m.Preference != 0 {
		w.t.Fatalf("sent to %s: %+v %v %v", d.Site, m, problems, err)
	}
	if !w.big && !w.odd {
		if _, err := oracle.FromBytes(d.Data); err != nil {
			w.t.Fatalf("the library refuses %s: %v", dhcpv6test.Text(m), err)
		}
	}
	if m.Auth != nil && m.Auth.Replay > w.replay {
		w.t.Fatalf("%v: replay value %d, on disk is %d", w.now.Sub(t0), m.Auth.Replay, w.replay)
	}
	for _, ia := range m.IAs {
		valid := slices.ContainsFunc(ia.Prefixes, func(p dhcpv6.IAPrefix) bool { return p.Valid > 0 })
		preferred := slices.ContainsFunc(ia.Prefixes, func(p dhcpv6.IAPrefix) bool { return p.Preferred > 0 })
		if valid && !preferred {
			w.t.Fatalf("what a site has is deprecated, and it gets nothing else: %s", dhcpv6test.Text(m))
		}
		if ia.T1 != m.IAs[0].T1 || ia.T2 != m.IAs[0].T2 || ia.T1 > ia.T2 {
			w.t.Fatalf("T1 and T2: %s", dhcpv6test.Text(m))
		}
		for _, p := range ia.Prefixes {
			if p.Preferred > p.Valid || p.Preferred > 0 && ia.T2 > p.Preferred || time.Duration(p.Valid)*time.Second > w.content.Valid {
				w.t.Fatalf("lifetimes: %s", dhcpv6test.Text(m))
			}
			if m.Type == dhcpv6.Reply && p.Valid > 0 {
				w.checkTold(BindingKey{d.Site, ia.IAID}, p)
			}
		}
	}
}

// checkTold: what a Reply tells is on disk for as long, and routed.
func (w *world) checkTold(k BindingKey, p dhcpv6.IAPrefix) {
	w.t.Helper()
	b := w.read(k)
	i := slices.IndexFunc(b.Leases, func(l Lease) bool { return l.Prefix == p.Prefix && l.Ended == 0 })
	if i < 0 || b.Leases[i].Valid.Seconds(w.now) < p.Valid {
		w.t.Fatalf("%v: told %s for %d s, on disk is %+v", w.now.Sub(t0), p.Prefix, p.Valid, b.Leases)
	}
	if !slices.Contains(w.routes[k.Site], p.Prefix) {
		w.t.Fatalf("%v: told %s, routed is %v", w.now.Sub(t0), p.Prefix, w.routes[k.Site])
	}
}

// check: no two sites have parts of the same prefix; Changed has named every site whose routes are others; what is routed
// are the leases that are not over.
func (w *world) check() {
	w.t.Helper()
	var all []netip.Prefix
	routes := map[wgkey.Public][]netip.Prefix{}
	for k, p := range w.m.AllRouted {
		if slices.ContainsFunc(all, p.Overlaps) {
			w.t.Fatalf("%v: %s is routed twice:\n%s", w.now.Sub(t0), p, w.dump())
		}
		all = append(all, p)
		routes[k] = append(routes[k], p)
	}
	if !maps.EqualFunc(routes, w.routes, slices.Equal) {
		w.t.Fatalf("%v: routed are %v, by Changed %v", w.now.Sub(t0), routes, w.routes)
	}
	want := map[wgkey.Public][]netip.Prefix{}
	for b := range w.m.AllBindings() {
		for _, l := range b.Leases {
			if _, in := w.content.Sites[b.Site]; in && l.Ended == 0 {
				want[b.Site] = append(want[b.Site], l.Prefix)
			}
			if over := l.Valid.Over(w.now); l.Ended > 0 != over && !w.diskFull && !w.batch && w.m.retryAt.IsZero() {
				w.t.Fatalf("%v: %+v", w.now.Sub(t0), l)
			}
		}
	}
	for k := range want {
		slices.SortFunc(want[k], netip.Prefix.Compare)
	}
	if !maps.EqualFunc(routes, want, slices.Equal) {
		w.t.Fatalf("%v: routed are %v, leases %v", w.now.Sub(t0), routes, want)
	}
}

// restart is a kill -9 and a start from the disk.
func (w *world) restart() {
	w.t.Helper()
	w.m, w.waiting, w.routes = New(testConfig), Actions{}, map[wgkey.Public][]netip.Prefix{}
	var all []Binding
	for k := range w.disk {
		all = append(all, w.read(k))
	}
	slices.SortFunc(all, func(a, b Binding) int { return bytes.Compare(a.Site[:], b.Site[:]) })
	batch := w.batch
	w.batch = true // the first content follows at once
	w.step(w.now, Restored{Bindings: all, Replay: w.replay, Lost: w.lost})
	w.batch = batch
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
		all.add(w.step(at, Tick{}))
		if at.Equal(end) {
			w.act = all
			return all.Send
		}
		if steps > 20000 {
			w.t.Fatal("the deadlines do not end")
		}
	}
}
