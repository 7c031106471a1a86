// SPDX-License-Identifier: MIT

package client

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"oasis6/dhcpv6"
)

// t0 is the instant at which scripts begin.
var t0 = time.Unix(5000, 0).UTC()

const (
	ourDUID   = dhcpv6.DUID("\x00\x04cccccccccccccccc")
	otherDUID = dhcpv6.DUID("\x00\x04oooooooooooooooo")
)

var (
	serverAddr = netip.MustParseAddr("fe80::1")
	testConfig = Config{DUID: ourDUID, IAs: []Wanted{{Type: dhcpv6.PD, IAID: 1}}, PointToPoint: true}
)

// pd is a Config that wants one IA_PD with a hint; an empty one wishes nothing.
func pd(iaid dhcpv6.IAID, hint string) Config {
	c := testConfig
	w := Wanted{Type: dhcpv6.PD, IAID: iaid}
	if hint != "" {
		w.Hint = netip.MustParsePrefix(hint)
	}
	c.IAs = []Wanted{w}
	return c
}

// server is the DUID of the server that scripts call s1, s2, ...
func server(name string) dhcpv6.DUID { return dhcpv6.DUID("\x00\x03\x00\x01" + name) }

// randHalf makes RAND 0, so that RT is exactly what the RFC's table says; the first Solicit's is 1.05 s.
func randHalf() float64 { return 0.5 }

// box runs one client.
type box struct {
	t     testing.TB
	c     *Client
	now   time.Time
	act   Actions
	last  dhcpv6.Message // the last message sent
	sentB []byte
}

func newBox(t testing.TB, cfg Config, rand func() float64) *box {
	return &box{t: t, c: New(cfg, rand), now: t0}
}

func seeded(seed uint64) func() float64 { return rand.New(rand.NewPCG(seed, 6)).Float64 }

// step is Step, with what must hold after every step.
func (b *box) step(now time.Time, ev Event) Actions {
	b.t.Helper()
	b.now = now
	b.act = b.c.Step(now, ev)
	if !b.act.Wake.IsZero() && !b.act.Wake.After(now) {
		b.t.Fatalf("%v %T: wake %v is not in the future", now.Sub(t0), ev, b.act.Wake.Sub(t0))
	}
	if b.c.link && !b.c.leaving && b.c.Status().State == Stopped {
		b.t.Fatalf("%v %T: stopped although the link is up", now.Sub(t0), ev)
	}
	for _, p := range b.c.Lease().Prefixes() {
		if p.Valid.Over(now) || p.Valid.Before(p.Preferred) {
			b.t.Fatalf("%v %T: lease holds %+v", now.Sub(t0), ev, p)
		}
	}
	for _, m := range b.act.Send {
		m, problems, err := dhcpv6.ParseMessage(m)
		if err != nil || problems != nil {
			b.t.Fatalf("%v %T: bad message sent: %v %v", now.Sub(t0), ev, problems, err)
		}
		b.last = m
	}
	if n := len(b.act.Send); n > 0 {
		b.sentB = b.act.Send[n-1]
	}
	return b.act
}

// script runs lines of the form "TIME EVENT -> WHAT", where WHAT is all that the step does, in order:
// drop, persist, changed, send:MESSAGE, wake TIME, and the state. Lines that begin with # are comments.
func script(t *testing.T, cfg Config, text string) *box {
	t.Helper()
	b := newBox(t, cfg, randHalf)
	b.run(text)
	return b
}

func (b *box) run(text string) {
	b.t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		do, want, ok := strings.Cut(line, " -> ")
		fields := strings.Fields(do)
		if !ok || len(fields) < 2 {
			b.t.Fatalf("bad line %q", line)
		}
		at, err := time.ParseDuration(fields[0])
		if err != nil {
			b.t.Fatal(err)
		}
		dropped := b.c.Status().Dropped
		b.step(t0.Add(at), b.event(fields[1:]))
		if got := b.did(dropped); got != strings.TrimSpace(want) {
			b.t.Errorf("%s\n got %s", line, got)
		}
	}
}

// did is the last step as text.
func (b *box) did(dropped uint64) string {
	var w []string
	if b.c.Status().Dropped > dropped {
		w = append(w, "drop")
	}
	if b.act.Persist != nil {
		w = append(w, "persist")
	}
	if b.act.Changed {
		w = append(w, "changed")
	}
	for _, raw := range b.act.Send {
		m, _, _ := dhcpv6.ParseMessage(raw)
		s := "send:" + m.Type.String()
		if m.ServerID != "" {
			s += ">" + string(m.ServerID[4:])
		}
		w = append(w, s+listed(m.IAs))
	}
	if l := b.act.Left; l != nil {
		w = append(w, fmt.Sprintf("left released=%v", l.Released))
	}
	if !b.act.Wake.IsZero() {
		w = append(w, "wake", b.act.Wake.Sub(t0).Round(time.Millisecond).String())
	}
	return strings.Join(append(w, b.c.Status().State.String()), " ")
}

// listed are the IAs of a message: prefixes of IA_PD 1 as they are, others after the name of their IA.
func listed(ias []dhcpv6.IA) (s string) {
	for _, ia := range ias {
		name := ""
		switch {
		case ia.Type == dhcpv6.NA:
			name = "na:"
		case ia.IAID != 1:
			name = fmt.Sprintf("pd%d:", ia.IAID)
		}
		if name != "" && len(ia.Prefixes) == 0 {
			s += "," + name
		}
		for _, p := range ia.Prefixes {
			s += "," + name + p.Prefix.String()
		}
	}
	return s
}

func (b *box) event(f []string) Event {
	switch f[0] {
	case "Reachable":
		return Reachable{}
	case "Leave":
		return Leave{}
	case "Duplicate":
		return Duplicate{netip.MustParseAddr(f[1])}
	case "LinkUp":
		return LinkUp{}
	case "LinkDown":
		return LinkDown{}
	case "Tick":
		return Tick{}
	case "Stop":
		return Stop{}
	}
	return Received{From: serverAddr, Data: b.message(f)}
}

// message makes the message that a script line describes; as to client and transaction, it answers
// the last message sent.
func (b *box) message(f []string) []byte {
	b.t.Helper()
	m := dhcpv6.Message{Type: dhcpv6.Reply, XID: b.last.XID, ClientID: ourDUID, ServerID: server("s1")}
	ia := dhcpv6.IA{IAID: 1}
	withIA := false
	closeIA := func() {
		if withIA {
			m.IAs = append(m.IAs, ia)
		}
	}
	var tail []byte
	if f[0] == "Advertise" {
		m.Type = dhcpv6.Advertise
	}
	for _, opt := range f[1:] {
		key, val, _ := strings.Cut(opt, "=")
		num, _ := strconv.ParseUint(val, 0, 32)
		switch key {
		case "type":
			m.Type = dhcpv6.MessageType(num)
		case "xid":
			m.XID ^= 0x100
		case "rapid":
			m.RapidCommit = true
		case "pref":
			m.Preference = uint8(num)
		case "from":
			m.ServerID = server(val)
			if val == "none" {
				m.ServerID = ""
			}
		case "client":
			m.ClientID = map[string]dhcpv6.DUID{"other": otherDUID}[val]
		case "iaid":
			ia.IAID = dhcpv6.IAID(num)
		case "pd", "na": // begins another IA
			closeIA()
			ia, withIA = dhcpv6.IA{IAID: dhcpv6.IAID(num), Type: map[string]dhcpv6.IAType{"na": dhcpv6.NA}[key]}, true
		case "infmaxrt":
			m.InfMaxRT = uint32(num)
		case "refresh":
			m.RefreshTime = uint32(num)
		case "t1":
			ia.T1 = uint32(num)
		case "t2":
			ia.T2 = uint32(num)
		case "status":
			m.Status.Code = statusCode(b.t, val)
		case "ia":
			ia.Status.Code, withIA = statusCode(b.t, val), true
		case "dns", "search":
			switch {
			case val == "broken":
				tail = append(tail, 0, map[string]byte{"dns": 23, "search": 24}[key], 0, 1, 9)
			case key == "dns":
				m.DNS = append(m.DNS, netip.MustParseAddr(val))
			default:
				m.Search = append(m.Search, val)
			}
		case "solmaxrt":
			m.SolMaxRT = uint32(num)
		default:
			withIA = true
			ia.Prefixes = append(ia.Prefixes, prefixOption(b.t, key, val))
		}
	}
	closeIA()
	return append(m.Append(nil), tail...)
}

// prefixOption reads 2001:db8::/64=100/200 or =100/200/NoBinding; inf is infinity.
func prefixOption(t testing.TB, prefix, val string) dhcpv6.IAPrefix {
	t.Helper()
	parts := append(strings.Split(val, "/"), "Success")
	life := func(s string) uint32 {
		if s == "inf" {
			return 0xffffffff
		}
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			t.Fatalf("bad word in a script: %s=%s", prefix, val)
		}
		return uint32(n)
	}
	if !strings.Contains(prefix, "/") {
		prefix += "/128" // an address
	}
	return dhcpv6.IAPrefix{Prefix: netip.MustParsePrefix(prefix), Preferred: life(parts[0]), Valid: life(parts[1]),
		Status: dhcpv6.Status{Code: statusCode(t, parts[2])}}
}

func statusCode(t testing.TB, name string) dhcpv6.StatusCode {
	t.Helper()
	for c := dhcpv6.Success; c <= dhcpv6.NoPrefixAvail; c++ {
		if c.String() == name {
			return c
		}
	}
	t.Fatalf("no status %q", name)
	return 0
}

// prefixes is the lease as text: prefix preferred/valid from now on.
func (b *box) prefixes() string {
	var w []string
	for _, p := range append(b.c.Lease().Prefixes(), b.c.Lease().Addresses()...) {
		w = append(w, fmt.Sprintf("%s=%d/%d", p.Prefix, p.Preferred.Seconds(b.now), p.Valid.Seconds(b.now)))
	}
	return strings.Join(w, " ")
}

func (b *box) wantLease(want string) {
	b.t.Helper()
	if got := b.prefixes(); got != want {
		b.t.Errorf("lease = %s, want %s", got, want)
	}
}

// warned says whether the last step logged the words at level Warn.
func (b *box) warned(words string) bool {
	for _, n := range b.act.Notes {
		if n.Level == 4 && strings.Contains(n.Msg+" "+n.Detail(), words) {
			return true
		}
	}
	return false
}

// option is the body of a top-level option of the last message sent, nil if it is absent.
func (b *box) option(code uint16) []byte {
	for raw := b.sentB[4:]; len(raw) >= 4; {
		n := int(binary.BigEndian.Uint16(raw[2:]))
		if binary.BigEndian.Uint16(raw) == code {
			return append([]byte{}, raw[4:4+n]...)
		}
		raw = raw[4+n:]
	}
	return nil
}

// boundAt0 is a client that got 2001:db8:1::/64 at t0: T1 1000 s, T2 1600 s, preferred 2000 s, valid 4000 s.
const boundAt0 = `
0s LinkUp -> send:Solicit wake 1.05s soliciting
0s Reply rapid t1=1000 t2=1600 2001:db8:1::/64=2000/4000 dns=2001:db8::53 search=lan.example -> persist changed wake 16m40s bound
`
