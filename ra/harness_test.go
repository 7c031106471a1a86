// SPDX-License-Identifier: MIT

package ra

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"oasis6/internal/lifetime"
	"oasis6/internal/note"
)

// boot is where virtual time begins: the boot clock's epoch, so that nothing may take it for "unset".
var boot = time.Unix(0, 0).UTC()

var (
	ourLL   = netip.MustParseAddr("fe80::200:5eff:fe00:5301")
	hostA   = netip.MustParseAddr("fe80::a")
	hostB   = netip.MustParseAddr("fe80::b")
	ourMAC  = [6]byte{0x00, 0x00, 0x5e, 0x00, 0x53, 0x01}
	prefixA = netip.MustParsePrefix("2001:db8:a::/64")
	prefixB = netip.MustParsePrefix("2001:db8:b::/64")
	ulaP    = netip.MustParsePrefix("fd00:6:6::/64")
	dns1    = netip.MustParseAddr("2001:db8:a::1")
	dns2    = netip.MustParseAddr("2001:db8:53::53")
	linkUp  = LinkUp{MAC: ourMAC, HasMAC: true, LinkLocal: ourLL}
	rsBytes = []byte{133, 0, 0, 0, 0, 0, 0, 0}
)

// failer is what testing.TB and rapid.T have in common.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func rsFrom(src netip.Addr) Received { return Received{Src: src, HopLimit: 255, Data: rsBytes} }

// seeded is a source of randomness that repeats.
func seeded(seed uint64) func() float64 { return rand.New(rand.NewPCG(seed, 6)).Float64 }

func half() float64 { return 0.5 }

// forever is a prefix without end, with A and L.
func forever(p netip.Prefix) Prefix {
	return Prefix{Prefix: p, OnLink: true, Autonomous: true, Preferred: lifetime.Forever, Valid: lifetime.Forever}
}

// lease is a prefix with lifetimes in seconds from d after boot.
func lease(p netip.Prefix, d time.Duration, preferred, valid uint32) Prefix {
	now := boot.Add(d)
	return Prefix{Prefix: p, OnLink: true, Autonomous: true,
		Preferred: lifetime.FromSeconds(now, preferred), Valid: lifetime.FromSeconds(now, valid)}
}

func content(prefixes ...Prefix) Content { return Content{DefaultRouter: true, Prefixes: prefixes} }

// sentRA is one RA that left the sender: all packets to one destination at one instant.
type sentRA struct {
	at   time.Duration
	to   netip.Addr
	ra   RouterAdvertisement // options of all packets, without the repeated link-layer address
	data [][]byte
}

func (r sentRA) multicast() bool { return r.to == AllNodes }

func (r sentRA) pio(t failer, p netip.Prefix) PrefixInformation {
	t.Helper()
	for _, o := range r.ra.Options {
		if pio, ok := o.(PrefixInformation); ok && pio.Prefix == p {
			return pio
		}
	}
	t.Fatalf("RA at %v has no prefix information for %v: %v", r.at, p, r.ra)
	return PrefixInformation{}
}

func (r sentRA) has(p netip.Prefix) bool {
	return slices.ContainsFunc(r.ra.Options, func(o Option) bool {
		pio, ok := o.(PrefixInformation)
		return ok && pio.Prefix == p
	})
}

// server is the lifetime of the DNS server in the RA; ok says whether it is there.
func (r sentRA) server(a netip.Addr) (lifetime uint32, ok bool) {
	for _, o := range r.ra.Options {
		if o, isRDNSS := o.(RDNSS); isRDNSS && slices.Contains(o.Servers, a) {
			return o.Lifetime, true
		}
	}
	return 0, false
}

func (r sentRA) domain(d string) (lifetime uint32, ok bool) {
	for _, o := range r.ra.Options {
		if o, isDNSSL := o.(DNSSL); isDNSSL && slices.Contains(o.Domains, d) {
			return o.Lifetime, true
		}
	}
	return 0, false
}

// world drives one Sender in virtual time and checks with the model, at every RA, what must hold
// always.
type world struct {
	t     failer
	s     *Sender
	now   time.Duration // since boot
	wake  time.Time
	sent  []sentRA
	notes []note.Note
	model model
	disk  []Record // as of the last Persist
	saves int
}

func newWorld(t failer, cfg Config, rand func() float64) *world {
	t.Helper()
	return &world{t: t, s: NewSender(cfg, rand), model: newModel()}
}

// startWorld has the link up and the content set at once.
func startWorld(t failer, rand func() float64, c Content) *world {
	t.Helper()
	w := newWorld(t, Config{}, rand)
	w.step(linkUp)
	w.step(SetContent{Content: c})
	return w
}

func (w *world) step(ev Event) []sentRA {
	w.t.Helper()
	now := boot.Add(w.now)
	w.model.before(ev)
	a := w.s.Step(now, ev)
	w.wake = a.Wake
	w.notes = append(w.notes, a.Notes...)
	w.persist(now, a)
	if w.s.Clash() != "" && len(a.Send) > 0 {
		w.t.Fatalf("at %v after %T: sent %v beside another node with our address", w.now, ev, a.Send)
	}
	ras := w.group(a.Send)
	w.model.check(w.t, now, ev, ras)
	w.sent = append(w.sent, ras...)
	if !a.Wake.IsZero() && !a.Wake.After(now) {
		w.t.Fatalf("at %v after %T: wake %v is not in the future", w.now, ev, a.Wake.Sub(boot))
	}
	return ras
}

// group makes one sentRA of the packets to the same destination.
func (w *world) group(send []Datagram) []sentRA {
	w.t.Helper()
	var out []sentRA
	for _, d := range send {
		ra, problems, drop := ParseRA(ourLL, 255, d.Data)
		if drop != Accepted || len(problems) > 0 {
			w.t.Fatalf("at %v: own RA does not parse: %v %v: %x", w.now, drop, problems, d.Data)
		}
		if len(d.Data) > 1280-40 {
			w.t.Fatalf("at %v: RA of %d octets", w.now, len(d.Data))
		}
		if n := len(out); n > 0 && out[n-1].to == d.To {
			out[n-1].data = append(out[n-1].data, d.Data)
			rest := ra.Options
			if _, ok := ra.sourceLinkLayer(); ok {
				rest = rest[1:]
			}
			out[n-1].ra.Options = append(out[n-1].ra.Options, rest...)
			continue
		}
		out = append(out, sentRA{at: w.now, to: d.To, ra: ra, data: [][]byte{d.Data}})
	}
	return out
}

// until runs the timer up to and including d after boot and returns what was sent meanwhile.
func (w *world) until(d time.Duration) []sentRA {
	w.t.Helper()
	first := len(w.sent)
	for !w.wake.IsZero() && w.wake.Sub(boot) <= d {
		w.now = w.wake.Sub(boot)
		w.step(Tick{})
	}
	w.now = d
	return w.sent[first:]
}

// at runs the timer to d and then gives ev; it returns what ev caused at once.
func (w *world) at(d time.Duration, ev Event) []sentRA {
	w.t.Helper()
	w.until(d)
	return w.step(ev)
}

func (w *world) hasNote(text string) bool {
	return slices.ContainsFunc(w.notes, func(n note.Note) bool { return strings.Contains(n.Msg+" "+n.Detail(), text) })
}

// wantSent compares times and destinations, "3s ff02::1".
func wantSent(t failer, got []sentRA, want ...string) {
	t.Helper()
	var g []string
	for _, r := range got {
		g = append(g, fmt.Sprintf("%v %v", r.at, r.to))
	}
	if !slices.Equal(g, want) {
		t.Fatalf("sent %q, want %q", g, want)
	}
}

func multicasts(ras []sentRA) []sentRA {
	return slices.DeleteFunc(slices.Clone(ras), func(r sentRA) bool { return !r.multicast() })
}

// resolver is the option for the encrypted resolver; ok says whether it is there, once.
func (r sentRA) resolver(name string) (o EncryptedDNSOption, ok bool) {
	n := 0
	for _, x := range r.ra.Options {
		if e, is := x.(EncryptedDNSOption); is && e.Name == name {
			o, n = e, n+1
		}
	}
	return o, n == 1
}
