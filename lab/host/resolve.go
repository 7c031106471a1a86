// SPDX-License-Identifier: MIT

package host

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"oasis6/lab/engine"
)

// Answer is what a name resolves to.
type Answer struct {
	Name   string       // as it was asked for at last, with the search domain
	Addrs  []netip.Addr // in the order of RFC 6724
	Server netip.Addr   // who answered
	Err    error
}

// ErrNoName says that a server answered that there is no such name, or no address for it.
var ErrNoName = errors.New("no such name")

const (
	dnsPort    = 53
	dnsTimeout = 2 * time.Second
	dnsRounds  = 2 // how often each server is asked
)

// lookup is a question on its way: to one server after the other, for one name after the other.
type lookup struct {
	h       *Host
	names   []string
	servers []netip.Addr
	try     int
	socket  *socket
	timer   *engine.Timer
	open    map[uint16]dnsmessage.Type // questions without an answer yet
	found   []netip.Addr
	lastErr error
	done    func(Answer)
}

// Resolve asks for the addresses of a name: IPv6, and IPv4 where the host has that. Names without a dot are tried with the
// search domains first.
func (h *Host) Resolve(name string, done func(Answer)) {
	l := &lookup{h: h, done: done, lastErr: errors.New("no DNS server is known")}
	name = strings.TrimSuffix(name, ".")
	v := h.View()
	if !strings.Contains(name, ".") {
		for _, d := range v.Search {
			l.names = append(l.names, name+"."+d.Name)
		}
	}
	l.names = append(l.names, name)
	for _, s := range v.DNS {
		l.servers = append(l.servers, s.Addr)
	}
	h.e.Post(l.ask)
}

// ask sends the questions to the next server.
func (l *lookup) ask() {
	if l.try >= dnsRounds*len(l.servers) {
		l.finish(Answer{Name: l.names[0], Err: l.lastErr})
		return
	}
	server := netip.AddrPortFrom(l.servers[l.try%len(l.servers)], dnsPort)
	l.try++
	s, err := l.h.open(udp.ProtocolNumber, server.Addr(), 0)
	if err != nil {
		l.lastErr = fmt.Errorf("DNS server %v: %w", server.Addr(), err)
		l.ask() // the rounds are bounded
		return
	}
	l.socket, l.open, l.found = s, map[uint16]dnsmessage.Type{}, nil
	s.errors(uint8(header.UDPProtocolNumber), server, func(e ICMPError) { l.next(server, e) })
	s.watch(func() { l.hear(server) })
	l.timer = l.h.e.AfterFunc(dnsTimeout, func() { l.next(server, ErrTimeout) })
	if err := s.ep.Connect(full(server)); err != nil {
		l.next(server, failure(err))
		return
	}
	types := []dnsmessage.Type{dnsmessage.TypeAAAA}
	if l.h.cfg.IPv4.IsValid() {
		types = append(types, dnsmessage.TypeA)
	}
	for _, t := range types {
		id := uint16(l.h.rand.Uint32())
		q, err := question(id, l.names[0], t)
		if err != nil {
			l.release()
			l.finish(Answer{Name: l.names[0], Err: err})
			return
		}
		l.open[id] = t
		_, _ = s.ep.Write(bytes.NewReader(q), tcpip.WriteOptions{}) // may get lost anyway
	}
}

func question(id uint16, name string, t dnsmessage.Type) ([]byte, error) {
	n, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return nil, fmt.Errorf("name %q: %w", name, err)
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: n, Type: t, Class: dnsmessage.ClassINET}}}
	return m.Pack()
}

func (l *lookup) release() {
	l.socket.close()
	if l.timer != nil {
		l.timer.Stop()
	}
}

// next is for a server that does not help.
func (l *lookup) next(server netip.AddrPort, err error) {
	l.release()
	l.lastErr = fmt.Errorf("DNS server %v: %w", server.Addr(), err)
	l.ask()
}

// hear reads answers.
func (l *lookup) hear(server netip.AddrPort) {
	for len(l.open) > 0 {
		var b bytes.Buffer
		if _, err := l.socket.ep.Read(&b, tcpip.ReadOptions{}); err != nil {
			return // would block
		}
		var m dnsmessage.Message
		if m.Unpack(b.Bytes()) != nil || !m.Response || l.open[m.ID] == 0 {
			continue
		}
		if m.RCode != dnsmessage.RCodeSuccess && m.RCode != dnsmessage.RCodeNameError {
			l.next(server, fmt.Errorf("answers with code %d", m.RCode))
			return
		}
		delete(l.open, m.ID)
		for _, r := range m.Answers {
			switch r := r.Body.(type) {
			case *dnsmessage.AAAAResource:
				l.found = append(l.found, netip.AddrFrom16(r.AAAA))
			case *dnsmessage.AResource:
				l.found = append(l.found, netip.AddrFrom4(r.A))
			}
		}
	}
	l.release()
	switch {
	case len(l.found) > 0:
		l.finish(Answer{Name: l.names[0], Addrs: l.h.order(l.found), Server: server.Addr()})
	case len(l.names) > 1:
		l.names, l.try = l.names[1:], 0
		l.ask()
	default:
		l.finish(Answer{Name: l.names[0], Server: server.Addr(), Err: ErrNoName})
	}
}

func (l *lookup) finish(a Answer) { l.done(a) }

// order sorts destinations as RFC 6724 section 6 has them, by the rules that can differ here: reachable ones first (rule 1),
// then those whose source is not deprecated (3), whose source has the same label (5), of the higher precedence (6).
func (h *Host) order(addrs []netip.Addr) []netip.Addr {
	now := h.e.Now()
	deprecated := map[netip.Addr]bool{}
	for _, m := range h.model.Addresses(now) {
		deprecated[m.Addr] = m.Deprecated(now)
	}
	rank := func(a netip.Addr) int {
		src, ok := h.Source(a)
		if !ok {
			return -1
		}
		label, precedence := policy(a)
		mine, _ := policy(src)
		r := precedence
		if mine == label {
			r += 100
		}
		if !deprecated[src] {
			r += 1000
		}
		return r
	}
	out := slices.Clone(addrs)
	slices.SortStableFunc(out, func(a, b netip.Addr) int { return rank(b) - rank(a) })
	return out
}

// policy is the part of RFC 6724's default table (section 2.1) that the lab's addresses are in.
func policy(a netip.Addr) (label, precedence int) {
	switch {
	case a.Is4():
		return 4, 35
	case a.IsPrivate(): // fc00::/7
		return 13, 3
	}
	return 1, 40
}
