// SPDX-License-Identifier: MIT

package page

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"oasis6/lab/packet"
)

// fake is a Source without a world behind it: a plan, frames that run by a timetable, and commands
// that change what is shown. advance moves its time, so that a test decides what has happened; run
// does the same by the wall clock, for the browser.
type fake struct {
	mu      sync.Mutex
	f       frames
	now     time.Duration
	speed   float64
	paused  bool
	bare    bool          // a world with nothing to do or to learn
	renewed time.Duration // when Renumber was pressed, 0: never
	down    map[string]bool
	started map[string]bool
	did     []Action
	packets []Packet
	walks   map[uint64]*Walk
	log     []Entry
	nextID  uint64
	subs    map[chan Update]bool
}

var fakeStart = time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)

func newFake() *fake {
	return &fake{f: frames{inner: map[string][]byte{}}, speed: 1, down: map[string]bool{}, started: map[string]bool{}, walks: map[uint64]*Walk{}, subs: map[chan Update]bool{}}
}

func when(d time.Duration) time.Time { return fakeStart.Add(d) }

// run advances with the wall clock until ctx ends.
func (f *fake) run(ctx context.Context) {
	const beat = 20 * time.Millisecond
	t := time.NewTicker(beat)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		f.mu.Lock()
		d := time.Duration(float64(beat) * f.speed)
		if f.paused {
			d = 0
		}
		f.mu.Unlock()
		if d > 0 {
			f.advance(min(d, 2*time.Second))
		}
	}
}

// advance plays the timetable up to d later.
func (f *fake) advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	const tick = 100 * time.Millisecond
	for end := f.now + d; f.now < end; {
		next := min(f.now/tick*tick+tick, end)
		f.now = next
		if next%tick == 0 {
			f.tick(int(next / tick))
		}
	}
	f.tell(Update{Changed: true})
}

func (f *fake) tell(u Update) {
	for c := range f.subs {
		select {
		case c <- u:
		default: // a reader that does not read
		}
	}
}

// tick is one line of the timetable: n tenths of a second since the start.
func (f *fake) tick(n int) {
	h1, www := f.address(), ip("2001:db8:0:6::80")
	switch n {
	case 2:
		f.walk(ethMulticast(0x10, solicitation(ip("fe80::10"))), lanOut...)
	case 4:
		f.outer(f.f.initiation(), boxOut...)
		f.note("info", "r1", "sends a handshake initiation to 203.0.113.66:51820", "")
	case 6:
		f.note("info", "r1", "tunnel up, handshake took 48 ms", "")
		f.tunnelled(solicit(ip("fe80::2")), boxOut...)
	case 9:
		f.note("info", "r2", "delegates 2001:db8:ebbd:990a::/64 to r1", "RFC 9915 section 18.3")
		f.walk(ethMulticast(1, advertisement("2001:db8:ebbd:990a::/64", 2700, 5400)), lanIn...)
	case 11:
		f.walk(ethMulticast(0x10, neighborSolicitation(ip("::"), h1)), lanOut...)
	case 22:
		f.note("info", "h1", "uses "+h1.String(), "RFC 4862 section 5.4")
	}
	if n < 22 {
		return
	}
	switch n % 40 {
	case 0:
		f.through(echo(h1, www, 64, 128, uint16(n/40)))
	case 5:
		f.back(echo(www, h1, 64, 129, uint16(n/40)))
	case 12:
		f.through(query(h1, ip("2001:db8:0:53::53")))
	case 18:
		f.through(syn(h1, www))
	case 25:
		f.walk(ethMulticast(1, advertisement(f.prefix()+"::/64", 2700, 5400)), lanIn...)
	case 31:
		f.outer(f.f.transport(nil), boxOut...)
	case 35:
		f.walk(eth6(0x10, 1, tooBig(ip("fe80::1"), h1, 1420, syn(h1, www))), lanIn...)
	}
}

// leg is a wire in one direction, and what its end decides.
type leg struct{ wire, from, to, text, rfc string }

var (
	lanOut = []leg{
		{"lan-h1", "h1", "lan", "Sends it to the box's port: its address was learnt there.", "IEEE 802.1D section 7.7"},
		{"lan-r1", "lan", "r1", "Hop limit 64 → 63. The longest match for the destination is ::/0, by the tunnel.", "RFC 8200 section 3"},
	}
	lanIn = []leg{
		{"lan-r1", "r1", "lan", "A group address: to every port but the one it came from.", "IEEE 802.1D section 7.7"},
		{"lan-h1", "lan", "h1", "Takes it: the destination is one of its own.", ""},
	}
	boxOut = []leg{
		{"wan", "r1", "nat1", "Source 192.0.2.66:51820 → 198.51.100.2:40001: a mapping that exists.", "RFC 4787 section 4.1"},
		{"nats", "nat1", "nat2", "Source 198.51.100.2:40001 → 203.0.113.2:61234.", "RFC 4787 section 4.1"},
		{"carrier", "nat2", "inet", "Routes it by its IPv4 destination; TTL 62 → 61.", "RFC 1812 section 5.2"},
		{"r2-inet", "inet", "r2", "Counter is new, the seal is right, and allowed-ips of the site hold the source.", "WireGuard section 5.4.6"},
	}
	hubOut = []leg{
		{"r2-net6", "r2", "net6", "Hop limit 63 → 62, route by the wire to the server.", "RFC 8200 section 3"},
		{"www-net6", "net6", "www", "Takes it: the destination is one of its own.", ""},
	}
)

func reversed(legs []leg) []leg {
	out := slices.Clone(legs)
	slices.Reverse(out)
	for i := range out {
		out[i].from, out[i].to = out[i].to, out[i].from
	}
	return out
}

// through is h1 to www, by the tunnel; back the other way.
func (f *fake) through(pkt []byte) { f.join(pkt, lanOut, boxOut, hubOut) }
func (f *fake) back(pkt []byte)    { f.join(pkt, reversed(hubOut), reversed(boxOut), reversed(lanOut)) }

func (f *fake) join(pkt []byte, parts ...[]leg) {
	var frames [][]byte
	var legs []leg
	for _, part := range parts {
		for i := range part {
			frame := eth6(1, 0x10, pkt)
			if part[0].wire == "wan" || part[0].wire == "r2-inet" {
				frame = f.sealed(pkt, i, len(part))
			}
			frames = append(frames, frame)
		}
		legs = append(legs, part...)
		pkt = slices.Clone(pkt)
		pkt[7]-- // hop limit
	}
	f.hops(frames, legs)
}

// sealed is pkt in WireGuard, in IPv4, as it looks on the i-th of the wires; each NAT has changed the source.
func (f *fake) sealed(pkt []byte, i, of int) []byte {
	key := string(pkt)
	var message []byte
	for datagram, inner := range f.f.inner {
		if string(inner) == key {
			message = []byte(datagram)
		}
	}
	if message == nil {
		message = f.f.transport(pkt)
	}
	return f.datagram(message, i, of)
}

func (f *fake) datagram(message []byte, i, _ int) []byte {
	sources := []string{"192.0.2.66:51820", "198.51.100.2:40001", "203.0.113.2:61234", "203.0.113.2:61234"}
	return ethernet(mac(2), mac(1), 0x0800, udp4(addrPort(sources[i]), addrPort("203.0.113.66:51820"), byte(64-i), message))
}

func (f *fake) walk(frame []byte, legs ...leg) {
	f.hops(slices.Repeat([][]byte{frame}, len(legs)), legs)
}

func (f *fake) outer(message []byte, legs ...leg) {
	var frames [][]byte
	for i := range legs {
		frames = append(frames, f.datagram(message, i, len(legs)))
	}
	f.hops(frames, legs)
}

func (f *fake) tunnelled(pkt []byte, legs ...leg) { f.outer(f.f.transport(pkt), legs...) }

// hops puts a walk on the wires; it ends at a wire that is unplugged.
func (f *fake) hops(frames [][]byte, legs []leg) {
	w := &Walk{ID: f.nextID + 1}
	at := f.now
	var told []Packet
	for i, l := range legs {
		f.nextID++
		o := packet.Explain(frames[i], f.f.open)
		flight := 200 * time.Microsecond
		if l.from != "lan" && l.to != "lan" {
			flight = 4 * time.Millisecond
		}
		p := Packet{ID: f.nextID, Walk: w.ID, At: when(at), Wire: l.wire, From: l.from, To: l.to, Kind: o.Kind, Summary: o.Summary, Length: len(frames[i]), Flight: flight, Dropped: f.down[l.wire]}
		w.Hops = append(w.Hops, Hop{ID: p.ID, At: p.At, Wire: l.wire, From: l.from, To: l.to, Kind: o.Kind, Layers: o.Layers, Broken: o.Broken, Dropped: p.Dropped, Decision: Decision{l.to, l.text, l.rfc}})
		if i == 0 {
			w.Kind, w.Summary = o.Kind, o.Summary
		}
		f.walks[p.ID] = w
		told = append(told, p)
		at += flight
		if p.Dropped {
			break
		}
	}
	f.packets = append(f.packets, told...)
	f.tell(Update{Packets: told})
}

func (f *fake) note(level, node, text, rfc string) {
	e := Entry{ID: uint64(len(f.log) + 1), At: when(f.now), Level: level, Node: node, Text: text, RFC: rfc}
	f.log = append(f.log, e)
	f.tell(Update{Log: []Entry{e}})
}

func (f *fake) Walk(id uint64) (Walk, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w, ok := f.walks[id]
	if !ok {
		return Walk{}, false
	}
	return *w, true
}

func (f *fake) Subscribe(ctx context.Context) <-chan Update {
	c := make(chan Update, 256)
	f.mu.Lock()
	f.subs[c] = true
	f.mu.Unlock()
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.subs, c)
		close(c)
	})
	return c
}

func (f *fake) Past(after Mark) Update {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Update{
		Packets: slices.DeleteFunc(slices.Clone(f.packets), func(p Packet) bool { return p.ID <= after.Packet }),
		Log:     slices.DeleteFunc(slices.Clone(f.log), func(e Entry) bool { return e.ID <= after.Log }),
	}
}

func (f *fake) Pcap(w io.Writer, wire string, keys bool) error {
	if wire == "tunnel" {
		return errors.New("nothing was seen yet")
	}
	_, err := fmt.Fprintf(w, "pcapng of %s, keys %t", wire, keys)
	return err
}

func (f *fake) Do(_ context.Context, a Action) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did = append(f.did, a)
	switch a.Action {
	case "renumber":
		f.renewed = f.now
		f.note("user", "", "renumbers the hub's pool", "")
		f.note("warn", "r1", "2001:db8:ebbd:990a::/64 is gone: deprecated on the LAN", "RFC 9096 section 3.5")
		f.walk(ethMulticast(1, advertisement("2001:db8:ebbd:aa0a::/64", 2700, 5400)), lanIn...)
	case "unplug":
		f.down[a.Target] = !f.down[a.Target]
		f.note("user", "", "pulls or plugs "+a.Target, "")
		return a.Target + map[bool]string{true: " is pulled", false: " is plugged in again"}[f.down[a.Target]], nil
	case "reboot":
		return "", errors.New("the box is starting already: wait for it")
	}
	return "", nil
}

func (f *fake) Time(op TimeOp) error {
	f.mu.Lock()
	switch op.Op {
	case "pause":
		f.paused = true
	case "play":
		f.paused = false
	case "speed":
		f.speed = op.Speed
	}
	f.mu.Unlock()
	if op.Op == "step" {
		f.advance(100 * time.Millisecond)
	}
	return nil
}

func (f *fake) StartLesson(id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if id == "redirect" {
		return errors.New("needs the scenario downstream-router: start oasis6 demo with it")
	}
	f.started[id] = true
	return nil
}
