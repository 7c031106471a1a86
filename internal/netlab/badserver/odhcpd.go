// SPDX-License-Identifier: MIT

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// odhcpd is the server of OpenWrt, as of 2026-06-28, where it does other than RFC 9915 says or than a client would like:
// nothing outlives the program; a Solicit unbinds whoever is bound, pulls the route and lets the lease live 60 s more; a
// hint of one prefix is only a length, which is raised to 62 and then tried longer and longer down to /64; subnet 0 is the
// server's own; lifetimes are those that the server's own prefix has left, cut at a maximum; a Request for a prefix of
// another place is answered NotOnLink; and only a Reply to a Request has the key that Reconfigures are signed with,
// whose replay detection is the wall clock. Who gets what follows from who comes first.
type odhcpd struct {
	now           func() time.Time
	wall          time.Duration // the wall clock beyond now
	up            []uplink
	leases        []*held
	serial        uint32 // of Authentication options
	minLength     int    // shortest prefix that is given
	maxPref, maxV uint32 // of lifetimes, seconds
	calls         int    // Reconfigures sent since the last message of the client, 0: none is due
	nextCall      time.Time
}

// What odhcpd has for constants.
const (
	solicitedLife = 60 * time.Second // of a lease after a Solicit
	callTimeout   = 2 * time.Second  // REC_TIMEOUT
	maxCalls      = 8                // REC_MAX_RC
	noHintLength  = 62               // what a client that asks for no length gets
	firstHost     = 0x100            // of IA_NA
)

// uplink is a prefix that the interface has, as the Internet provider gave it.
type uplink struct {
	prefix           netip.Prefix
	preferred, valid time.Time
}

// held is what a client has, or is about to have.
type held struct {
	client  string // DUID
	iaid    [4]byte
	code    dhcpv6.OptionCode
	length  int    // of IA_PD
	number  uint64 // of the /64 that a prefix begins with, or of the host
	until   time.Time
	bound   bool
	accepts bool       // Reconfigures
	peer    netip.Addr // of the first contact
}

// likeOdhcpd is what odhcpd answers; nil: nothing.
func (s *server) likeOdhcpd(in *dhcpv6.Message) *draft {
	o := s.odhcpd
	d := &draft{typ: dhcpv6.MessageTypeReply, xid: in.TransactionID, client: s.client, server: duid(itself), copies: 1}
	switch in.MessageType {
	case dhcpv6.MessageTypeSolicit:
		d.rapid = s.mode.rapid && in.GetOneOption(dhcpv6.OptionRapidCommit) != nil
		if !d.rapid {
			d.typ = dhcpv6.MessageTypeAdvertise
		}
	case dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline, dhcpv6.MessageTypeConfirm:
		d.status = &status{text: "as you wish"}
	case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind, dhcpv6.MessageTypeInformationRequest:
	default:
		return nil
	}
	granted := false
	for _, w := range wishes(in) {
		x, given := s.answerIA(in, d, w)
		granted = granted || given
		if d.status == nil {
			d.ias = append(d.ias, x)
		}
	}
	s.tell(in, d)
	if accepts(in) && granted {
		d.options = append(d.options, generic(dhcpv6.OptionReconfAccept))
		if in.MessageType == dhcpv6.MessageTypeRequest {
			d.options = append(d.options, generic(dhcpv6.OptionAuth, s.auth(rkapKey, s.key[:])...))
		}
	}
	o.expire()
	return d
}

func accepts(in *dhcpv6.Message) bool { return in.GetOneOption(dhcpv6.OptionReconfAccept) != nil }

// wish is one IA of a client's message.
type wish struct {
	code   dhcpv6.OptionCode
	iaid   [4]byte
	leases []netip.Prefix
}

func wishes(in *dhcpv6.Message) (out []wish) {
	for _, x := range in.Options.IAPD() {
		w := wish{code: dhcpv6.OptionIAPD, iaid: x.IaId}
		for _, p := range x.Options.Prefixes() {
			if p.Prefix == nil {
				continue
			}
			a, _ := netip.AddrFromSlice(p.Prefix.IP) // 16 octets: cannot fail
			n, _ := p.Prefix.Mask.Size()
			w.leases = append(w.leases, netip.PrefixFrom(a, n))
		}
		out = append(out, w)
	}
	for _, x := range in.Options.IANA() {
		w := wish{code: dhcpv6.OptionIANA, iaid: x.IaId}
		for _, l := range x.Options.Addresses() {
			a, _ := netip.AddrFromSlice(l.IPv6Addr)
			w.leases = append(w.leases, netip.PrefixFrom(a, 128))
		}
		out = append(out, w)
	}
	return out
}

// answerIA does what a message asks of one IA. given says that a Solicit or Request was granted it.
func (s *server) answerIA(in *dhcpv6.Message, d *draft, w wish) (x ia, given bool) {
	o := s.odhcpd
	x = ia{code: w.code, iaid: w.iaid}
	h := o.find(string(s.client), w)
	if h != nil {
		o.calls = 0
	}
	switch in.MessageType {
	case dhcpv6.MessageTypeRelease:
		if h != nil {
			h.until = o.now()
		}
	case dhcpv6.MessageTypeRenew:
		if h == nil {
			x.status = &status{code: noBinding}
			return x, false
		}
		h.bound = true
		o.fill(&x, h)
		o.takeBack(&x, w)
	case dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRebind:
		known := h != nil
		if !known {
			h = o.assign(string(s.client), w)
		}
		if h == nil {
			x.status = &status{code: map[dhcpv6.OptionCode]uint16{dhcpv6.OptionIAPD: noPrefixAvail, dhcpv6.OptionIANA: noAddrsAvail}[w.code]}
			return x, false
		}
		if !known {
			h.peer = s.from
			o.leases = append(o.leases, h)
		}
		if in.MessageType == dhcpv6.MessageTypeRequest && !o.onLink(w) {
			o.leases = slices.DeleteFunc(o.leases, func(q *held) bool { return q == h })
			x.status = &status{code: notOnLink}
			return x, false
		}
		o.fill(&x, h)
		if in.MessageType == dhcpv6.MessageTypeRebind {
			o.takeBack(&x, w)
		}
		if in.MessageType == dhcpv6.MessageTypeSolicit && !d.rapid {
			h.bound, h.until = false, o.now().Add(solicitedLife)
			return x, true
		}
		if !known || in.MessageType != dhcpv6.MessageTypeRebind {
			h.accepts = accepts(in)
		}
		h.bound = true
		return x, in.MessageType != dhcpv6.MessageTypeRebind
	}
	return x, false
}

// find is the client's lease, if it is not over.
func (o *odhcpd) find(client string, w wish) *held {
	for _, h := range o.leases {
		if h.client == client && h.code == w.code && h.iaid == w.iaid && o.now().Before(h.until) {
			return h
		}
	}
	return nil
}

// assign makes a lease of what is free; nil: nothing is.
func (o *odhcpd) assign(client string, w wish) *held {
	h := &held{client: client, iaid: w.iaid, code: w.code, until: o.now()}
	if w.code == dhcpv6.OptionIANA {
		h.number = firstHost
		for _, q := range o.leases {
			if q.code == w.code {
				h.number = max(h.number, q.number+1)
			}
		}
		return h
	}
	first := noHintLength
	for _, p := range w.leases {
		if p.Bits() > 0 {
			first = p.Bits()
		}
	}
	for h.length = max(min(first, 64), o.minLength); h.length <= 64; h.length++ {
		size := uint64(1) << (64 - h.length)
		for h.number = size; h.number+size <= o.border(); h.number += size {
			if !slices.ContainsFunc(o.leases, h.overlaps) {
				return h
			}
		}
	}
	return nil
}

func (h *held) overlaps(q *held) bool {
	return q.code == dhcpv6.OptionIAPD && q.number < h.number+1<<(64-h.length) && h.number < q.number+1<<(64-q.length)
}

// border is how many /64 the longest preferred prefix of the interface has; one that is no shorter than /64 has none to give.
func (o *odhcpd) border() uint64 {
	longest := 0
	for _, u := range o.up {
		if u.preferred.After(o.now()) && u.prefix.Bits() < 64 {
			longest = max(longest, u.prefix.Bits())
		}
	}
	if longest <= 32 {
		return 0
	}
	return 1 << (64 - longest)
}

// onLink says whether all that a client names is of a prefix of the interface.
func (o *odhcpd) onLink(w wish) bool {
	return !slices.ContainsFunc(w.leases, func(p netip.Prefix) bool {
		return !slices.ContainsFunc(o.up, func(u uplink) bool {
			return o.now().Before(u.valid) && p.Bits() >= u.prefix.Bits() && u.prefix.Contains(p.Addr())
		})
	})
}

// fill gives what the lease is out of each prefix of the interface, and the lease the time that this has left.
func (o *odhcpd) fill(x *ia, h *held) {
	shortestPref, shortestValid := o.maxPref, o.maxV
	for _, u := range o.up {
		valid := min(secondsLeft(o.now(), u.valid), o.maxV)
		l := lease{preferred: min(secondsLeft(o.now(), u.preferred), o.maxPref, valid), valid: valid}
		p, ok := h.of(u)
		if valid == 0 || !ok || h.code == dhcpv6.OptionIANA && l.preferred == 0 {
			continue
		}
		l.addr, l.bits = p.Addr(), byte(p.Bits())
		x.leases = append(x.leases, l)
		if l.preferred > 0 {
			shortestPref, shortestValid = min(shortestPref, l.preferred), min(shortestValid, valid)
		}
	}
	x.t1, x.t2 = max(1, shortestPref/2), max(1, shortestPref*4/5)
	h.until = o.now().Add(time.Duration(shortestValid) * time.Second)
}

// of is what the lease is out of a prefix of the interface.
func (h *held) of(u uplink) (p netip.Prefix, ok bool) {
	a := u.prefix.Addr().As16()
	if h.code == dhcpv6.OptionIANA {
		binary.BigEndian.PutUint64(a[8:], h.number)
		return netip.PrefixFrom(netip.AddrFrom16(a), 128), u.prefix.Bits() <= 64
	}
	binary.BigEndian.PutUint64(a[:], binary.BigEndian.Uint64(a[:])|h.number)
	return netip.PrefixFrom(netip.AddrFrom16(a), h.length), h.length > u.prefix.Bits()
}

// takeBack names with lifetimes 0 what the client asked for and does not get.
func (o *odhcpd) takeBack(x *ia, w wish) {
	for _, p := range w.leases {
		if !slices.ContainsFunc(x.leases, func(l lease) bool { return l.addr == p.Addr() && int(l.bits) == p.Bits() }) {
			x.leases = append(x.leases, lease{addr: p.Addr(), bits: byte(p.Bits())})
		}
	}
}

func secondsLeft(now, end time.Time) uint32 { return uint32(max(0, end.Sub(now)/time.Second)) }

func (o *odhcpd) expire() {
	o.leases = slices.DeleteFunc(o.leases, func(h *held) bool { return !o.now().Before(h.until) })
}

// routes are what the kernel of R2 is to have: each prefix that is bound, and by which neighbor.
func (o *odhcpd) routes() map[netip.Prefix]netip.Addr {
	to := map[netip.Prefix]netip.Addr{}
	for _, h := range o.leases {
		for _, u := range o.up {
			if p, ok := h.of(u); ok && h.bound && h.code == dhcpv6.OptionIAPD && h.peer.IsValid() {
				to[p] = h.peer
			}
		}
	}
	return to
}

// replay is a replay detection value: seconds of the wall clock, and a number that grows.
func (o *odhcpd) replay() uint64 {
	o.serial++
	return uint64(uint32(o.now().Add(o.wall).Unix()))<<32 | uint64(o.serial)
}

// upstream sets the prefixes of the interface: "PREFIX PREFERRED VALID", as often as there are prefixes. Clients that
// accept Reconfigures get one, and more until they are heard. Those whose place is gone get another one, if there is one.
func (o *odhcpd) upstream(words []string) error {
	if len(words)%3 != 0 {
		return errors.New("upstream: want PREFIX PREFERRED VALID …")
	}
	var up []uplink
	for w := range slices.Chunk(words, 3) {
		p, err := netip.ParsePrefix(w[0])
		preferred, err1 := strconv.Atoi(w[1])
		valid, err2 := strconv.Atoi(w[2])
		if err := errors.Join(err, err1, err2); err != nil {
			return fmt.Errorf("upstream %s: %w", strings.Join(w, " "), err)
		}
		in := func(s int) time.Time { return o.now().Add(time.Duration(s) * time.Second) }
		up = append(up, uplink{p, in(preferred), in(valid)})
	}
	o.up = up
	o.expire()
	for _, h := range slices.Clone(o.leases) {
		if h.code != dhcpv6.OptionIAPD {
			continue
		}
		if h.accepts && o.calls == 0 {
			o.calls, o.nextCall = 1, o.now()
		}
		if h.number < o.border() {
			continue
		}
		o.leases = slices.DeleteFunc(o.leases, func(q *held) bool { return q == h })
		if n := o.assign(h.client, wish{code: h.code, iaid: h.iaid, leases: []netip.Prefix{netip.PrefixFrom(netip.IPv6Unspecified(), h.length)}}); n != nil {
			h.number, h.length = n.number, n.length
			o.leases = append(o.leases, h)
		}
	}
	return nil
}

// others lets so many other clients have taken a /64 each.
func (o *odhcpd) others(n int) {
	for i := range n {
		if h := o.assign(fmt.Sprintf("other %d", i), wish{code: dhcpv6.OptionIAPD, leases: []netip.Prefix{netip.MustParsePrefix("::/64")}}); h != nil {
			h.until = o.now().Add(time.Hour)
			o.leases = append(o.leases, h)
		}
	}
}

// tick does what time brings: leases end, and Reconfigures go out, 2 s, 4 s … after the first.
func (s *server) tick() (out []datagram) {
	o := s.odhcpd
	o.expire()
	if o.calls == 0 || o.now().Before(o.nextCall) {
		return nil
	}
	o.nextCall = o.now().Add(callTimeout << (o.calls - 1))
	if o.calls++; o.calls > maxCalls {
		o.calls = 0
	}
	if d, err := s.reconfigure([]string{"renew"}); err == nil { // no client, no call
		out = append(out, d)
	}
	return out
}

// stray is a Solicit with the client's DUID and IAIDs that another machine sends: a copied card, a second client.
// What is answered goes there; the client hears nothing of it.
func (s *server) stray() (datagram, error) {
	m := &dhcpv6.Message{MessageType: dhcpv6.MessageTypeSolicit}
	if s.client == nil {
		return datagram{}, errors.New("no client has been here yet")
	}
	m.AddOption(generic(dhcpv6.OptionClientID, s.client...))
	for _, h := range s.odhcpd.leases {
		if h.client == string(s.client) && h.code == dhcpv6.OptionIAPD {
			m.AddOption(&dhcpv6.OptIAPD{IaId: h.iaid})
		}
	}
	reread, err := dhcpv6.MessageFromBytes(m.ToBytes())
	if err != nil {
		return datagram{}, err
	}
	d := s.likeOdhcpd(reread)
	return datagram{d.String(), d.bytes()}, nil
}

// routesText is the routes as `ip route` has them, for tests and the log.
func routesText(to map[netip.Prefix]netip.Addr) string {
	var lines []string
	for _, p := range slices.SortedFunc(maps.Keys(to), netip.Prefix.Compare) {
		lines = append(lines, p.String()+" via "+to[p].String())
	}
	return strings.Join(lines, ", ")
}
