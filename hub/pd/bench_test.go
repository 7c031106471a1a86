// SPDX-License-Identifier: MIT

package pd

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/dhcpv6test"
	"oasis6/internal/wgkey"
)

// fleet is a machine and the messages of many sites.
type fleet struct {
	m     *Machine
	now   time.Time
	sites []wgkey.Public
	xid   uint32
}

func newFleet(n int) *fleet {
	c := testContent()
	c.Pools, c.Sites = prefixes("2001:db8:4000::/40"), map[wgkey.Public]Site{}
	f := &fleet{m: New(testConfig), now: t0}
	for i := range n {
		k := keyOfSite(fmt.Sprintf("s%07d", i))
		c.Sites[k] = Site{Name: fmt.Sprintf("s%d", i)}
		f.sites = append(f.sites, k)
	}
	f.m.Step(f.now, SetContent{c})
	return f
}

// message is one of a site, as octets.
func (f *fleet) message(t dhcpv6.MessageType, i int) Received {
	f.xid++
	m := dhcpv6.Message{Type: t, XID: f.xid, ClientID: dhcpv6test.DUID("a"), ServerID: ourDUID, ReconfigureAccept: true,
		IAs: []dhcpv6.IA{{IAID: dhcpv6.DefaultIAID}}, ORO: []dhcpv6.OptionCode{23, 24}}
	return Received{Site: f.sites[i], Data: m.Append(nil)}
}

// step makes a step, and its write.
func (f *fleet) step(ev Event) Actions {
	act := f.m.Step(f.now, ev)
	if act.MustSave() {
		f.m.Step(f.now, Saved{true})
	}
	return act
}

func (f *fleet) bind(t testing.TB) {
	for i := range f.sites {
		if act := f.step(f.message(dhcpv6.Request, i)); len(act.Send) != 1 || len(act.Commit) != 1 || len(act.Changed) != 1 {
			t.Fatalf("site %d: %+v", i, act)
		}
	}
}

// Ten thousand sites come at once.
func BenchmarkBind(b *testing.B) {
	for _, n := range []int{1000, 10000, 100000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				f := newFleet(n)
				b.StartTimer()
				f.bind(b)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/site")
		})
	}
}

// A renewal costs the same, however many sites there are.
func BenchmarkRenew(b *testing.B) {
	for _, n := range []int{1000, 10000, 100000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := newFleet(n)
			f.bind(b)
			msgs := make([]Received, n)
			for i := range msgs {
				msgs[i] = f.message(dhcpv6.Renew, i)
			}
			f.now = f.now.Add(20 * time.Minute)
			i := 0
			for b.Loop() {
				if act := f.step(msgs[i%n]); len(act.Send) != 1 {
					b.Fatalf("%+v", act)
				}
				i++
			}
			b.ReportMetric(float64(time.Second)/(float64(b.Elapsed())/float64(b.N)), "renewals/s")
		})
	}
}

// The pools change for all at once.
func BenchmarkRenumber(b *testing.B) {
	f := newFleet(10000)
	f.bind(b)
	c := f.m.content
	i := 0
	for b.Loop() {
		i++
		c.Pools = prefixes([]string{"2001:db8:4000::/40", "2001:db8:8000::/40"}[i%2])
		if act := f.step(SetContent{c}); len(act.Commit) != 10000 {
			b.Fatalf("%d written", len(act.Commit))
		}
	}
}

// One site more in a content of ten thousand.
func BenchmarkOneSiteMore(b *testing.B) {
	f := newFleet(10000)
	f.bind(b)
	with, without := f.m.content, f.m.content
	with.Sites = map[wgkey.Public]Site{keyOfSite("new"): {Name: "new"}}
	for k, s := range without.Sites {
		with.Sites[k] = s
	}
	i := 0
	for b.Loop() {
		i++
		f.step(SetContent{[]Content{with, without}[i%2]})
	}
}

func BenchmarkEncode(b *testing.B) {
	for b.Loop() {
		encoded(b)
	}
}

// What ten thousand sites with a lease each take: the budget of the whole hub is 60 MB beside WireGuard.
func TestMemoryOfManySites(t *testing.T) {
	const n = 10000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f := newFleet(n)
	f.bind(t)
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n
	t.Logf("%d octets for each site", each)
	if each > 2000 {
		t.Errorf("%d octets for each site", each)
	}
	runtime.KeepAlive(f)
}

// The work of a step does not grow with the sites: what it allocates is a measure that does not hang on the machine's mood.
func TestStepsDoNotGrow(t *testing.T) {
	cost := func(n int) (renew, solicit float64) {
		f := newFleet(n)
		f.bind(t)
		f.now = f.now.Add(time.Minute)
		r, s := f.message(dhcpv6.Renew, n/2), f.message(dhcpv6.Solicit, n/2)
		s.Data = append([]byte(nil), s.Data...)
		return testing.AllocsPerRun(50, func() { f.step(r) }), testing.AllocsPerRun(50, func() { f.step(s) })
	}
	r1, s1 := cost(10)
	r2, s2 := cost(5000)
	if r2 > r1+2 || s2 > s1+2 || r1 < 1 {
		t.Errorf("a renewal allocates %v times with 10 sites and %v with 5000, a Solicit %v and %v", r1, r2, s1, s2)
	}
}
