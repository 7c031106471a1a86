// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

// config is what the server gives when it means well.
type config struct {
	pool   netip.Prefix // see server.prefix for how it is cut
	length int          // of a delegation
	addr   netip.Addr   // of the first IA_NA; not valid: no addresses
	times
	dns    netip.Addr
	search string
	mtu    int // no answer is larger, UDP and IPv6 headers included
	key    key // of reconfigurations
}

// times are lifetimes in seconds.
type times struct{ t1, t2, preferred, valid uint32 }

// Two identities: the server itself, and the other one that some faults bring in.
const (
	itself = iota
	another
)

// server is the state between messages. Its answer to the same message in the same state is always
// the same.
type server struct {
	config
	mode   mode
	iaids  [][4]byte    // of IA_PDs, in the order in which they came
	client []byte       // DUID of the last client that asked for something, nil before
	from   netip.Addr   // where the message that is answered came from
	odhcpd *odhcpd      // whose manners the server has; nil: its own
	signed reconfigured // what was sent of Reconfigure
}

// duid is the server id of an identity: a DUID-EN of the enterprise number for documentation
// (RFC 5612).
func duid(identity int) []byte {
	return []byte{0, 2, 0, 0, 0x7e, 0xd9, 0xba, 0xd0, byte(identity)}
}

// prefix is the i-th prefix of a family. The pool is cut into quarters: one for what is delegated
// at first, one for what replaces it after renumbering, one for the other server.
func (s *server) prefix(f family, i int) netip.Prefix {
	a := s.pool.Addr().As16()
	free := s.length - s.pool.Bits() // bits that number the prefixes
	n := uint64(f)<<(free-2) + uint64(i)%(1<<(free-2))
	for bit := range free {
		if n>>bit&1 == 1 {
			at := s.length - 1 - bit
			a[at/8] |= 0x80 >> (at % 8)
		}
	}
	return netip.PrefixFrom(netip.AddrFrom16(a), s.length)
}

type family uint64

const (
	usual family = iota
	renumbered
	anothers
)

// index numbers the IA_PDs of the client.
func (s *server) index(iaid [4]byte) int {
	for i, x := range s.iaids {
		if x == iaid {
			return i
		}
	}
	s.iaids = append(s.iaids, iaid)
	return len(s.iaids) - 1
}

// lease is a prefix or an address in an answer, as it goes on the wire: it may make no sense.
type lease struct {
	addr             netip.Addr
	bits             byte
	preferred, valid uint32
	status           *status
	exclude          netip.Prefix // RFC 6603; not valid: none
}

func (l lease) String() string {
	text := fmt.Sprintf("%s/%d %d/%d", l.addr, l.bits, l.preferred, l.valid)
	if l.status != nil {
		text += " " + l.status.String()
	}
	return text
}

// ia is an IA_PD or IA_NA in an answer.
type ia struct {
	code   dhcpv6.OptionCode
	iaid   [4]byte
	t1, t2 uint32
	leases []lease
	status *status
}

func (x ia) String() string {
	text := fmt.Sprintf("; %s %x T1 %d T2 %d", map[dhcpv6.OptionCode]string{dhcpv6.OptionIANA: "NA", dhcpv6.OptionIAPD: "PD"}[x.code], x.iaid, x.t1, x.t2)
	for _, l := range x.leases {
		text += ", " + l.String()
	}
	if x.status != nil {
		text += ", " + x.status.String()
	}
	return text
}

// draft is an answer before it becomes octets. Faults change it.
type draft struct {
	identity       int
	typ            dhcpv6.MessageType
	xid            dhcpv6.TransactionID
	client, server []byte
	rapid          bool
	preference     byte
	status         *status
	ias            []ia
	options        []dhcpv6.Option // what else
	copies         int             // 0: the answer is not sent
	garbage        bool            // octets that are no message go first
}

// datagram is what leaves, with a description for the log.
type datagram struct {
	text string
	data []byte
}

// answer is what the server sends upon a message.
func (s *server) answer(in *dhcpv6.Message) (out []datagram) {
	id := in.Options.ClientID()
	if id == nil {
		return nil
	}
	s.client = id.ToBytes()
	for identity := range 2 {
		if !s.speaks(identity, in) {
			continue
		}
		var d *draft
		if s.odhcpd != nil {
			d = s.likeOdhcpd(in)
		} else {
			d = s.draft(identity, in)
		}
		if d == nil {
			continue
		}
		if identity == itself || !s.mode.two {
			s.mode.apply(s, in, d)
		}
		data := d.bytes()
		if d.garbage {
			out = append(out, datagram{"3 octets", data[:3]}, datagram{"half of it", data[:len(data)/2]})
		}
		for range d.copies {
			out = append(out, datagram{d.String(), data})
		}
	}
	return out
}

// speaks says whether an identity answers: one that is addressed, the server itself where nobody
// is, and both where there are two servers.
func (s *server) speaks(identity int, in *dhcpv6.Message) bool {
	to := in.Options.ServerID()
	if to == nil {
		return identity == itself || s.mode.two
	}
	return string(to.ToBytes()) == string(duid(identity))
}

// draft is the right answer (RFC 9915 section 18.3); nil where there is none.
func (s *server) draft(identity int, in *dhcpv6.Message) *draft {
	d := &draft{identity: identity, typ: dhcpv6.MessageTypeReply, xid: in.TransactionID, client: s.client, server: duid(identity), copies: 1}
	switch in.MessageType {
	case dhcpv6.MessageTypeSolicit:
		d.rapid = s.mode.rapid && in.GetOneOption(dhcpv6.OptionRapidCommit) != nil
		if !d.rapid {
			d.typ = dhcpv6.MessageTypeAdvertise
		}
		s.grant(in, d)
	case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind:
		s.grant(in, d)
	case dhcpv6.MessageTypeConfirm, dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline:
		d.status = &status{text: "as you wish"}
		return d
	case dhcpv6.MessageTypeInformationRequest:
	default:
		return nil
	}
	s.configure(in, d)
	return d
}

// grant gives what the message asks for.
func (s *server) grant(in *dhcpv6.Message, d *draft) {
	f := usual
	if d.identity == another && s.mode.two {
		f = anothers
	}
	for _, want := range in.Options.IAPD() {
		p := s.prefix(f, s.index(want.IaId))
		d.ias = append(d.ias, ia{code: dhcpv6.OptionIAPD, iaid: want.IaId, t1: s.t1, t2: s.t2,
			leases: []lease{s.lease(p)}})
	}
	for i, want := range in.Options.IANA() {
		x := ia{code: dhcpv6.OptionIANA, iaid: want.IaId}
		if !s.addr.IsValid() {
			x.status = &status{code: noAddrsAvail}
		} else {
			a := s.addr
			for range i {
				a = a.Next()
			}
			x.t1, x.t2, x.leases = s.t1, s.t2, []lease{s.lease(netip.PrefixFrom(a, 128))}
		}
		d.ias = append(d.ias, x)
	}
}

func (s *server) lease(p netip.Prefix) lease {
	return lease{addr: p.Addr(), bits: byte(p.Bits()), preferred: s.preferred, valid: s.valid}
}

// configure adds what the client asks for beside leases.
func (s *server) configure(in *dhcpv6.Message, d *draft) {
	s.tell(in, d)
	if accepts(in) {
		d.options = append(d.options, generic(dhcpv6.OptionReconfAccept))
		s.handOut(in, d)
	}
}

// tell adds the options that the client asks for.
func (s *server) tell(in *dhcpv6.Message, d *draft) {
	for _, code := range in.Options.RequestedOptions() {
		if o := s.option(code); o != nil {
			d.options = append(d.options, o)
		}
	}
}

// option is one that clients may ask for.
func (s *server) option(code dhcpv6.OptionCode) dhcpv6.Option {
	switch code {
	case dhcpv6.OptionDNSRecursiveNameServer:
		return dhcpv6.OptDNS(net.IP(s.dns.AsSlice()))
	case dhcpv6.OptionDomainSearchList:
		return dhcpv6.OptDomainSearchList(&rfc1035label.Labels{Labels: []string{s.search}})
	case dhcpv6.OptionInformationRefreshTime:
		return generic(code, 0, 0, 2, 88) // 600 s, the least that a client takes
	case dhcpv6.OptionNTPServer:
		return generic(code, append([]byte{0, 1, 0, 16}, s.dns.AsSlice()...)...)
	case dhcpv6.OptionAFTRName:
		return generic(code, (&rfc1035label.Labels{Labels: []string{"aftr." + s.search}}).ToBytes()...)
	case dhcpv6.OptionV6DNR:
		return generic(code, s.encryptedDNS()...)
	}
	return nil
}

// encryptedDNS is a resolver that speaks DNS over TLS (RFC 9463 section 4.1, RFC 9460 section 2.2).
func (s *server) encryptedDNS() []byte {
	name := (&rfc1035label.Labels{Labels: []string{"dot." + s.search}}).ToBytes()
	v := append([]byte{0, 1, 0, byte(len(name))}, name...)
	v = append(append(v, 0, 16), s.dns.AsSlice()...)
	return append(v, 0, 1, 0, 4, 3, 'd', 'o', 't') // alpn
}

func generic(code dhcpv6.OptionCode, data ...byte) dhcpv6.Option {
	return &dhcpv6.OptionGeneric{OptionCode: code, OptionData: data}
}

// String is the line that tests look for.
func (d *draft) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s server %x", d.typ, d.xid, d.server)
	if d.status != nil {
		fmt.Fprintf(&b, ", %s", d.status)
	}
	for _, x := range d.ias {
		b.WriteString(x.String())
	}
	for _, o := range d.options {
		fmt.Fprintf(&b, "; option %d", o.Code())
	}
	return b.String()
}
