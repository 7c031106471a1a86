// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// fault makes something wrong with a right answer.
type fault struct {
	name, what string
	edit       func(s *server, d *draft)
}

// faults are those with a name of their own. A status fault is written WHERE=STATUS: see parseStatus.
func faults() []fault {
	return slices.Concat(lifetimeFaults(), leaseFaults(), identityFaults(), optionFaults(), sendingFaults())
}

func lifetimeFaults() []fault {
	return []fault{
		{"preferred-0", "prefixes are deprecated from the start, T1 and T2 are 0", func(s *server, d *draft) {
			d.eachIA(func(x *ia) { x.t1, x.t2 = 0, 0 })
			d.eachLease(func(l *lease) { l.preferred = 0 })
		}},
		{"t-zero", "T1 and T2 are 0", func(s *server, d *draft) { d.eachIA(func(x *ia) { x.t1, x.t2 = 0, 0 }) }},
		{"t1-one", "T1 is 1 s, T2 is 2 s", func(s *server, d *draft) { d.eachIA(func(x *ia) { x.t1, x.t2 = 1, 2 }) }},
		{"t1-beyond-t2", "T1 is greater than T2", func(s *server, d *draft) { d.eachIA(func(x *ia) { x.t1 = x.t2 + 1 }) }},
		{"t-beyond-life", "T1 and T2 lie beyond the valid lifetime", func(s *server, d *draft) {
			d.eachIA(func(x *ia) { x.t1, x.t2 = 2*s.valid, 3*s.valid })
		}},
		{"preferred-beyond-valid", "the preferred lifetime is greater than the valid one", func(s *server, d *draft) {
			d.eachLease(func(l *lease) { l.preferred = l.valid + 1 })
		}},
	}
}

func leaseFaults() []fault {
	return []fault{
		{"renumber", "the prefix with lifetimes 0, and another one", func(s *server, d *draft) {
			d.eachPD(func(x *ia) { x.leases = []lease{over(x.leases[0]), s.replacement(x)} })
		}},
		{"renumber-new-only", "another prefix, without a word about the one of before", func(s *server, d *draft) {
			d.eachPD(func(x *ia) { x.leases = []lease{s.replacement(x)} })
		}},
		{"withdraw", "the prefix with lifetimes 0, and no other", func(s *server, d *draft) {
			d.eachPD(func(x *ia) { x.leases = []lease{over(x.leases[0])} })
		}},
		{"no-pd", "no IA_PD in the answer", func(s *server, d *draft) {
			d.ias = slices.DeleteFunc(d.ias, func(x ia) bool { return x.code == dhcpv6.OptionIAPD })
		}},
		{"many", "as many prefixes as the MTU lets through", func(s *server, d *draft) {
			const headers = 40 + 8
			for i := 1; len(d.ias) > 0; i++ {
				x := &d.ias[0]
				x.leases = append(x.leases, s.lease(s.prefix(usual, i)))
				if headers+len(d.bytes()) > s.mtu {
					x.leases = x.leases[:len(x.leases)-1]
					return
				}
			}
		}},
		{"length-0", "a prefix of length 0 beside the good one", beside(func(l *lease) { l.bits = 0 })},
		{"length-129", "a prefix of length 129 beside the good one", beside(func(l *lease) { l.bits = 129 })},
		{"length-200", "a prefix of length 200 beside the good one", beside(func(l *lease) { l.bits = 200 })},
		{"host-bits", "bits beyond the length are set", func(s *server, d *draft) {
			d.eachPD(func(x *ia) { x.leases[0].addr = hostBits(x.leases[0].addr) })
		}},
		{"exclude", "the last /64 is excluded from a shorter prefix (RFC 6603)", func(s *server, d *draft) {
			d.eachPD(func(x *ia) {
				if l := &x.leases[0]; l.bits < 64 {
					l.exclude = last64(netip.PrefixFrom(l.addr, int(l.bits)))
				}
			})
		}},
	}
}

func identityFaults() []fault {
	return []fault{
		{"foreign-iaid", "the IA_PD has an IAID that nobody asked for", func(s *server, d *draft) {
			d.eachPD(func(x *ia) { x.iaid[3] ^= 0x55 })
		}},
		{"foreign-client", "the client identifier is somebody else's", func(s *server, d *draft) {
			d.client = bytes.Clone(d.client)
			d.client[len(d.client)-1] ^= 0xff
		}},
		{"other-server", "the server identifier is that of another server", func(s *server, d *draft) {
			d.server = duid(1 - d.identity)
		}},
		{"no-server", "no server identifier", func(s *server, d *draft) { d.server = nil }},
		{"wrong-xid", "the transaction id is another one", func(s *server, d *draft) { d.xid[0] ^= 0xff }},
		{"duid-131", "a server identifier of 131 octets, one too many", func(s *server, d *draft) {
			d.server = append(d.server, make([]byte, 131-len(d.server))...)
		}},
	}
}

func optionFaults() []fault {
	return []fault{
		{"dns-15", "a DNS option of 15 octets", replacing(generic(dhcpv6.OptionDNSRecursiveNameServer, make([]byte, 15)...))},
		{"search-bad", "a search list with a label that goes past the end", replacing(generic(dhcpv6.OptionDomainSearchList, 9, 'l', 'a', 'n'))},
		{"search-pointer", "a search list that points at itself", replacing(generic(dhcpv6.OptionDomainSearchList, 0xc0, 0))},
		{"preference-255", "the highest preference", func(s *server, d *draft) { d.preference = 255 }},
		{"max-rt", "SOL_MAX_RT and INF_MAX_RT are 60 s", func(s *server, d *draft) {
			d.options = append(d.options, generic(dhcpv6.OptionSolMaxRT, 0, 0, 0, 60), generic(dhcpv6.OptionInfMaxRT, 0, 0, 0, 60))
		}},
	}
}

func sendingFaults() []fault {
	return []fault{
		{"silent", "no answer", func(s *server, d *draft) { d.copies = 0 }},
		{"thrice", "each answer three times", func(s *server, d *draft) { d.copies = 3 }},
		{"garbage", "three octets and half an answer before each answer", func(s *server, d *draft) { d.garbage = true }},
	}
}

func (d *draft) eachIA(f func(*ia)) {
	for i := range d.ias {
		f(&d.ias[i])
	}
}

// eachPD visits the IA_PDs that still have a prefix.
func (d *draft) eachPD(f func(*ia)) {
	d.eachIA(func(x *ia) {
		if x.code == dhcpv6.OptionIAPD && len(x.leases) > 0 {
			f(x)
		}
	})
}

func (d *draft) eachLease(f func(*lease)) {
	d.eachIA(func(x *ia) {
		for i := range x.leases {
			f(&x.leases[i])
		}
	})
}

func over(l lease) lease { l.preferred, l.valid = 0, 0; return l }

// replacement is what an IA_PD gets by renumbering.
func (s *server) replacement(x *ia) lease { return s.lease(s.prefix(renumbered, s.index(x.iaid))) }

// beside puts a bad copy of each prefix before it.
func beside(spoil func(*lease)) func(*server, *draft) {
	return func(s *server, d *draft) {
		d.eachPD(func(x *ia) {
			bad := x.leases[0]
			spoil(&bad)
			x.leases = append([]lease{bad}, x.leases...)
		})
	}
}

func hostBits(a netip.Addr) netip.Addr {
	b := a.As16()
	b[15] |= 7
	return netip.AddrFrom16(b)
}

func last64(p netip.Prefix) netip.Prefix {
	b := p.Addr().As16()
	for bit := p.Bits(); bit < 64; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.PrefixFrom(netip.AddrFrom16(b), 64)
}

// replacing takes the place of an option that the client asked for.
func replacing(bad dhcpv6.Option) func(*server, *draft) {
	return func(s *server, d *draft) {
		for i, o := range d.options {
			if o.Code() == bad.Code() {
				d.options[i] = bad
			}
		}
	}
}

// mode is what is wrong with the server at present.
type mode struct {
	text       string
	rapid, two bool
	rules      []rule
}

// rule is a fault in the answers to some messages.
type rule struct {
	on   []dhcpv6.MessageType // empty: to all
	edit func(*server, *draft)
}

// apply makes an answer as wrong as it is to be.
func (m mode) apply(s *server, in *dhcpv6.Message, d *draft) {
	for _, r := range m.rules {
		if len(r.on) == 0 || slices.Contains(r.on, in.MessageType) {
			r.edit(s, d)
		}
	}
}

// Words that switch what is no fault.
const (
	wordGood  = "good"  // nothing is wrong
	wordRapid = "rapid" // Rapid Commit is done
	wordTwo   = "two"   // another server answers too, and nothing is wrong with that one
)

// parseMode reads words with commas between: good, rapid, two, and faults as [ON+ON:]FAULT, where ON is
// a message type and FAULT a name or a status: "renew+rebind:pd=NoBinding,thrice".
func parseMode(text string) (mode, error) {
	m := mode{text: text}
	var errs []error
	for word := range strings.SplitSeq(text, ",") {
		switch word {
		case wordGood:
		case wordRapid:
			m.rapid = true
		case wordTwo:
			m.two = true
		default:
			r, err := parseRule(word)
			m.rules = append(m.rules, r)
			errs = append(errs, err)
		}
	}
	return m, errors.Join(errs...)
}

func parseRule(word string) (r rule, err error) {
	on, name, ok := strings.Cut(word, ":")
	if !ok {
		on, name = "", word
	}
	for t := range strings.SplitSeq(on, "+") {
		i := slices.IndexFunc(clientMessages(), func(m dhcpv6.MessageType) bool { return strings.EqualFold(m.String(), t) })
		if i < 0 && on != "" {
			return r, fmt.Errorf("%q: no message %q", word, t)
		}
		if i >= 0 {
			r.on = append(r.on, clientMessages()[i])
		}
	}
	if where, code, ok := strings.Cut(name, "="); ok {
		r.edit, err = parseStatus(where, code)
		return r, err
	}
	for _, f := range faults() {
		if f.name == name {
			r.edit = f.edit
			return r, nil
		}
	}
	return r, fmt.Errorf("no fault %q", name)
}

func clientMessages() []dhcpv6.MessageType {
	return []dhcpv6.MessageType{dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeConfirm,
		dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind, dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline,
		dhcpv6.MessageTypeInformationRequest}
}

// parseStatus reads WHERE=STATUS: prefix (with the prefix, in each IA Prefix), pd or na (instead of the
// leases, in each such IA), top (instead of all IAs, in the message).
func parseStatus(where, name string) (func(*server, *draft), error) {
	code := slices.IndexFunc(statuses(), func(x string) bool { return strings.EqualFold(x, name) })
	if code < 0 {
		return nil, fmt.Errorf("no status %q", name)
	}
	st := &status{code: uint16(code)}
	instead := func(kind dhcpv6.OptionCode) func(*server, *draft) {
		return func(_ *server, d *draft) {
			d.eachIA(func(x *ia) {
				if x.code == kind {
					x.t1, x.t2, x.leases, x.status = 0, 0, nil, st
				}
			})
		}
	}
	switch where {
	case "prefix":
		return func(_ *server, d *draft) { d.eachPD(func(x *ia) { x.leases[0].status = st }) }, nil
	case "pd":
		return instead(dhcpv6.OptionIAPD), nil
	case "na":
		return instead(dhcpv6.OptionIANA), nil
	case "top":
		return func(_ *server, d *draft) { d.ias, d.status = nil, st }, nil
	}
	return nil, fmt.Errorf("%q is no place of a status: prefix, pd, na or top", where)
}
