// SPDX-License-Identifier: MIT

package trial

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"oasis6/internal/ip6pkt"
)

const (
	dnsPort     = 53
	dnsHopLimit = 64
	dnsAgain    = time.Second // then the question is repeated
	// firstDynamicPort of RFC 6335 section 6; the last is 65535.
	firstDynamicPort = 49152
)

// dnsServer is whom to ask: the command line's, the file's, the one that came with the prefix; invalid: nobody.
func (r *run) dnsServer() netip.AddrPort {
	switch {
	case r.DNS.IsValid():
		return r.DNS
	case len(r.Config.Interface.DNS) > 0:
		return netip.AddrPortFrom(r.Config.Interface.DNS[0], dnsPort)
	case len(r.servers) > 0:
		return netip.AddrPortFrom(r.servers[0], dnsPort)
	}
	return netip.AddrPort{}
}

// question is the target's name, or the root's servers, which every resolver knows.
func (r *run) question() (q dnsmessage.Question, err error) {
	q = dnsmessage.Question{Name: dnsmessage.MustNewName("."), Type: dnsmessage.TypeNS, Class: dnsmessage.ClassINET}
	if host := r.Target.Host; host != "" && !r.Target.Addr().IsValid() {
		q.Type = dnsmessage.TypeAAAA
		q.Name, err = dnsmessage.NewName(host + ".")
	}
	return q, err
}

// askDNS asks the server one question through the tunnel, by UDP.
func (r *run) askDNS(ctx context.Context) outcome {
	server := r.dnsServer()
	if !server.IsValid() {
		return skipped("no DNS server is known: none in the file, none came with the prefix, none by --dns")
	}
	q, err := r.question()
	if err != nil {
		return failed(fmt.Sprintf("%s: %v", r.Target.Host, err))
	}
	from := r.source
	if server.Addr().IsLinkLocalUnicast() {
		from = r.own
	}
	d := dnsQuery{from: netip.AddrPortFrom(from, r.dynamicPort()), to: server, id: uint16(r.Rand() * math.MaxUint16), question: q}
	begin := time.Now()
	err = r.await(ctx, wait{until: r.patience(), done: d.over, packet: d.packet, tick: func(now time.Time) time.Time {
		if !d.nextAt.After(now) {
			_ = r.tunnel.Send(d.datagram()) // a lost packet is sent again
			d.nextAt = now.Add(dnsAgain)
		}
		return d.nextAt
	}})
	took := short(time.Since(begin))
	switch {
	case d.refused != nil:
		return failed(fmt.Sprintf("DNS query to %s: %s", server.Addr(), d.refused), d.refused.advice(r, server.Addr())...)
	case errors.Is(err, context.Canceled):
		return failed("interrupted")
	case err != nil:
		return failed(fmt.Sprintf("no answer from the DNS server %s", server.Addr()), append([]string{"check that this server is there for this site: oasis6 try --dns ADDRESS asks another"}, r.routeAdvice()...)...)
	}
	r.answers = d.answers
	what := fmt.Sprintf("%s %s", q.Name, q.Type.String()[4:])
	switch {
	case d.code == dnsmessage.RCodeNameError:
		return failed(fmt.Sprintf("%s answers in %s that there is no %s", server.Addr(), took, r.Target.Host), "correct --url")
	case d.code != dnsmessage.RCodeSuccess:
		return failed(fmt.Sprintf("%s answers %s in %s to %s", server.Addr(), d.code.String()[5:], took, what), "ask a server that serves this site: oasis6 try --dns ADDRESS")
	case q.Type == dnsmessage.TypeAAAA && len(d.answers) == 0:
		return failed(fmt.Sprintf("%s answers in %s that %s has no IPv6 address", server.Addr(), took, r.Target.Host), "name a host by --url that has IPv6")
	case q.Type == dnsmessage.TypeAAAA:
		return passed(fmt.Sprintf("%s answers in %s: %s is %s", server.Addr(), took, r.Target.Host, join(d.answers)))
	}
	return passed(fmt.Sprintf("%s answers in %s to %s", server.Addr(), took, what))
}

func (r *run) dynamicPort() uint16 {
	return uint16(firstDynamicPort + r.Rand()*(math.MaxUint16-firstDynamicPort))
}

// routeAdvice is for packets from the prefix that bring nothing back.
func (r *run) routeAdvice() []string {
	return []string{
		fmt.Sprintf("check at the hub that %s is routed into the tunnel, is among this site's allowed-ips, and may be forwarded: ping -6 %s from there", r.source, r.source),
		"check that the hub itself reaches the IPv6 Internet",
	}
}

// dnsQuery is one question and what came of it.
type dnsQuery struct {
	from, to netip.AddrPort
	id       uint16
	question dnsmessage.Question
	nextAt   time.Time // when it is sent again

	answered bool
	code     dnsmessage.RCode
	answers  []netip.Addr
	refused  *refusal // by ICMPv6; nil: nobody has refused it
}

func (d *dnsQuery) over() bool { return d.answered || d.refused != nil }

func (d *dnsQuery) datagram() []byte {
	b := dnsmessage.NewBuilder(make([]byte, 0, 512), dnsmessage.Header{ID: d.id, RecursionDesired: true})
	// A name that NewName has taken cannot fail.
	_ = b.StartQuestions()
	_ = b.Question(d.question)
	m, _ := b.Finish()
	return ip6pkt.UDP(d.from.Addr(), d.to.Addr(), d.from.Port(), d.to.Port(), dnsHopLimit, m)
}

func (d *dnsQuery) packet(_ time.Time, pkt []byte) {
	if u, err := ip6pkt.ParseUDP(pkt); err == nil {
		if u.Src == d.to && u.Dst == d.from {
			d.message(u.Payload)
		}
		return
	}
	if f, ok := unreachable(pkt, d.from.Addr(), d.to.Addr()); ok {
		d.refused = &f
	}
}

// message takes an answer to this question; one that is cut short is one, too.
func (d *dnsQuery) message(b []byte) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || h.ID != d.id || !h.Response {
		return
	}
	if q, err := p.Question(); err != nil || !equalQuestion(q, d.question) || p.SkipAllQuestions() != nil {
		return
	}
	d.answered, d.code = true, h.RCode
	for len(d.answers) < maxAnswers {
		rh, err := p.AnswerHeader()
		if err != nil {
			return // the end, or damaged: what was read stands
		}
		if rh.Type != dnsmessage.TypeAAAA {
			if p.SkipAnswer() != nil {
				return
			}
			continue
		}
		a, err := p.AAAAResource()
		if err != nil {
			return
		}
		d.answers = append(d.answers, netip.AddrFrom16(a.AAAA))
	}
}

// maxAnswers are more than are tried.
const maxAnswers = 4

// equalQuestion compares as names compare, without regard to case.
func equalQuestion(a, b dnsmessage.Question) bool {
	if a.Type != b.Type || a.Class != b.Class || a.Name.Length != b.Name.Length {
		return false
	}
	lower := func(c byte) byte {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		return c
	}
	for i := range a.Name.Length {
		if lower(a.Name.Data[i]) != lower(b.Name.Data[i]) {
			return false
		}
	}
	return true
}

// refusal is a Destination Unreachable about a packet of ours (RFC 4443 section 3.1).
type refusal struct {
	from netip.Addr
	code byte
}

// Codes of Destination Unreachable.
const (
	codeNoRoute     = 0
	codeProhibited  = 1
	codeAddress     = 3
	codePort        = 4
	codeSource      = 5
	typeUnreachable = 1
	icmpErrorHeader = 8
)

func (f refusal) String() string {
	names := [...]string{"no route to destination", "administratively prohibited", "beyond scope of source address", "address unreachable",
		"port unreachable", "source address failed ingress/egress policy", "reject route to destination"}
	if int(f.code) < len(names) {
		return fmt.Sprintf("%s says: %s", f.from, names[f.code])
	}
	return fmt.Sprintf("%s says: unreachable, code %d", f.from, f.code)
}

// unreachable reads a refusal of a packet between the two.
func unreachable(pkt []byte, from, to netip.Addr) (refusal, bool) {
	m, err := ip6pkt.ParseICMPv6(pkt)
	if err != nil || len(m.Body) < icmpErrorHeader+ip6pkt.HeaderLen || m.Body[0] != typeUnreachable {
		return refusal{}, false
	}
	q := m.Body[icmpErrorHeader:]
	if netip.AddrFrom16([16]byte(q[8:24])) != from || netip.AddrFrom16([16]byte(q[24:40])) != to {
		return refusal{}, false
	}
	return refusal{m.Src, m.Body[1]}, true
}

// advice is what to do about it. That it came shows that packets find back to this end's prefix.
func (f refusal) advice(r *run, to netip.Addr) []string {
	switch f.code {
	case codeSource, codeProhibited:
		return []string{fmt.Sprintf("have %s let out at the hub: its firewall, or one behind it, refuses packets from there", r.source)}
	case codeAddress, codePort:
		return []string{fmt.Sprintf("check that %s is there and serves: the way to it and back is in order", to)}
	}
	return []string{fmt.Sprintf("check the hub's own way to the IPv6 Internet: it knows none to %s", to)}
}
