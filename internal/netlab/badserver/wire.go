// SPDX-License-Identifier: MIT

package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// status is a Status Code option (RFC 9915 section 21.13).
type status struct {
	code uint16
	text string
}

// Codes that the server gives by itself, not as a fault.
const (
	noAddrsAvail  = 2
	noBinding     = 3
	notOnLink     = 4
	noPrefixAvail = 6
)

// statuses are the codes of RFC 9915 section 21.13 by name.
func statuses() []string {
	return []string{"Success", "UnspecFail", "NoAddrsAvail", "NoBinding", "NotOnLink", "UseMulticast", "NoPrefixAvail"}
}

func (s *status) String() string { return statuses()[s.code] }

func (s *status) bytes() []byte {
	if s == nil {
		return nil
	}
	text := s.text
	if text == "" {
		text = "out of spite"
	}
	return option(dhcpv6.OptionStatusCode, append(binary.BigEndian.AppendUint16(nil, s.code), text...))
}

// option writes an option by hand: the library would refuse to write most of what is needed here.
func option(code dhcpv6.OptionCode, value []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(code))
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	return append(b, value...)
}

// bytes is the IA Prefix (RFC 9915 section 21.22) or IA Address option (section 21.6).
func (l lease) bytes(in dhcpv6.OptionCode) []byte {
	a := l.addr.As16()
	times := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, l.preferred), l.valid)
	if in == dhcpv6.OptionIANA {
		v := append(append([]byte(nil), a[:]...), times...)
		return option(dhcpv6.OptionIAAddr, append(v, l.status.bytes()...))
	}
	v := append(append(times, l.bits), a[:]...)
	v = append(v, l.status.bytes()...)
	if l.exclude.IsValid() {
		v = append(v, excludeOption(int(l.bits), l.exclude)...)
	}
	return option(dhcpv6.OptionIAPrefix, v)
}

// excludeOption is a Prefix Exclude option in a prefix of that length: the length of what is
// excluded, and the bits that it has beyond the prefix, left-aligned (RFC 6603 section 4.2).
func excludeOption(bits int, exclude netip.Prefix) []byte {
	a := exclude.Addr().As16()
	v := make([]byte, 1+(exclude.Bits()-bits+7)/8)
	v[0] = byte(exclude.Bits())
	for i := range exclude.Bits() - bits {
		if at := bits + i; a[at/8]&(0x80>>(at%8)) != 0 {
			v[1+i/8] |= 0x80 >> (i % 8)
		}
	}
	return option(dhcpv6.OptionPDExclude, v)
}

func (x ia) bytes() []byte {
	v := append([]byte(nil), x.iaid[:]...)
	v = binary.BigEndian.AppendUint32(v, x.t1)
	v = binary.BigEndian.AppendUint32(v, x.t2)
	for _, l := range x.leases {
		v = append(v, l.bytes(x.code)...)
	}
	return option(x.code, append(v, x.status.bytes()...))
}

func (d *draft) bytes() []byte {
	b := append([]byte{byte(d.typ)}, d.xid[:]...)
	b = append(b, option(dhcpv6.OptionClientID, d.client)...)
	b = append(b, option(dhcpv6.OptionServerID, d.server)...)
	if d.preference != 0 {
		b = append(b, option(dhcpv6.OptionPreference, []byte{d.preference})...)
	}
	if d.rapid {
		b = append(b, option(dhcpv6.OptionRapidCommit, nil)...)
	}
	b = append(b, d.status.bytes()...)
	for _, x := range d.ias {
		b = append(b, x.bytes()...)
	}
	for _, o := range d.options {
		b = append(b, option(o.Code(), o.ToBytes())...)
	}
	return b
}

// describe is a client's message in the log.
func describe(in *dhcpv6.Message) string {
	text := fmt.Sprintf("%s %s", in.MessageType, in.TransactionID)
	if id := in.Options.ServerID(); id != nil {
		text += fmt.Sprintf(" server %x", id.ToBytes())
	}
	for _, x := range in.Options.IAPD() {
		text += fmt.Sprintf("; PD %x", x.IaId)
		for _, p := range x.Options.Prefixes() {
			text += fmt.Sprintf(", %v", p.Prefix)
		}
	}
	for _, x := range in.Options.IANA() {
		text += fmt.Sprintf("; NA %x", x.IaId)
		for _, a := range x.Options.Addresses() {
			text += fmt.Sprintf(", %v", a.IPv6Addr)
		}
	}
	return text
}
