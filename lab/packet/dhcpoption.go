// SPDX-License-Identifier: MIT

package packet

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"oasis6/dhcpv6"
)

// optionFields adds the value of an option that begins at offset base of the message.
func (d *dhcpWalk) optionFields(o *reader, c dhcpv6.OptionCode, base int) {
	if o.depth > maxNesting {
		o.add("Octets", plural(len(o.b), "octet"), "", "too deep to be shown")
		return
	}
	switch c {
	case dhcpv6.OptionClientID, dhcpv6.OptionServerID:
		duidFields(o)
	case dhcpv6.OptionIANA, dhcpv6.OptionIAPD:
		d.association(o, base)
	case dhcpv6.OptionIAAddr:
		addrField(o, "Address", o.addr())
		d.leaseFields(o)
		d.options(o, base+24)
	case dhcpv6.OptionIAPrefix:
		d.prefix(o, base)
	case dhcpv6.OptionORO:
		for o.left() > 0 {
			c := dhcpv6.OptionCode(o.u16())
			name, rfc, _ := dhcpOption(c)
			o.add("Wanted", known(int(c), name), rfc, "")
		}
	case dhcpv6.OptionStatusCode:
		s := dhcpv6.StatusCode(o.u16())
		o.add("Status", known(int(s), s.String()), "", statusNote(s))
		if o.left() > 0 {
			o.add("Message", printable(o.rest()), "", "the server's own words")
		}
	case dhcpv6.OptionAuth:
		authFields(o)
	case optRelayMessage:
		if d.relays++; d.relays > maxRelays {
			o.add("Message", "too deep", "", "")
			return
		}
		(&dhcpWalk{relays: d.relays}).message(o, o.b)
	default:
		plainOption(o, c)
	}
}

// plainOption adds options that hold one kind of value.
func plainOption(o *reader, c dhcpv6.OptionCode) {
	switch c {
	case dhcpv6.OptionPreference:
		o.add("Value", fmt.Sprint(o.u8()), "", "")
	case dhcpv6.OptionElapsedTime:
		t := o.u16()
		o.add("Time", strconv.FormatFloat(float64(t)/100, 'f', 2, 64)+" s", "", choose(b2u(t == 0xffff), "or more", ""))
	case dhcpv6.OptionReconfigureMessage:
		t := dhcpv6.MessageType(o.u8())
		o.add("Message type", known(int(t), t.String()), "", "")
	case dhcpv6.OptionDNSServers:
		for o.left() > 0 {
			addrField(o, "Server", o.addr())
		}
	case dhcpv6.OptionDomainList:
		nameFields(o, "Domain", o.rest())
	case dhcpv6.OptionRefreshTime, dhcpv6.OptionSolMaxRT, dhcpv6.OptionInfMaxRT:
		o.add("Time", seconds(o.u32()), "", "")
	case dhcpv6.OptionCaptivePortal:
		o.add("URI", printable(o.rest()), "", "")
	case dhcpv6.OptionNTPServer:
		ntpFields(o)
	case dhcpv6.OptionEncryptedDNS:
		resolverFields(o)
	case dhcpv6.OptionPDExclude:
		o.add("Prefix length", fmt.Sprint(o.u8()), "", "of the part that is left out")
		o.add("Subnet ID", hexText(o.rest()), "", "its bits behind the delegated prefix")
	case optVendorClass:
		o.add("Enterprise number", fmt.Sprint(o.u32()), "", "")
		o.add("Data", hexText(o.rest()), "", "")
	case optClientFQDN:
		o.add("Flags", fmt.Sprintf("0x%02x", o.u8()), "", "")
		// "A client MAY ... include only part of its name", which then has no end (RFC 4704 section 4.2).
		list, _ := names(append(slices.Clone(o.rest()), 0))
		o.add("Name", strings.Join(list, "."), "", "")
	default:
		if o.left() > 0 {
			v := o.rest()
			o.add("Octets", hexText(v), "", printableNote(v))
		}
	}
}

func nameFields(o *reader, what string, b []byte) {
	list, ok := names(b)
	for _, n := range list {
		o.add(what, n, "", "")
	}
	if !ok {
		o.short = true
	}
}

// association adds an IA_NA or IA_PD.
func (d *dhcpWalk) association(o *reader, base int) {
	o.add("IAID", fmt.Sprintf("0x%08x", o.u32()), "", "tells the sets of one client apart")
	o.add("T1", seconds(o.u32()), "", "when to Renew with the same server; 0 leaves it to the client (RFC 9915 section 14.2)")
	o.add("T2", seconds(o.u32()), "", "when to Rebind with any server; 0 leaves it to the client")
	d.options(o, base+12)
}

// prefix adds an IA Prefix option.
func (d *dhcpWalk) prefix(o *reader, base int) {
	d.leaseFields(o)
	bits := o.u8()
	a := o.addr()
	switch p := netip.PrefixFrom(a, int(bits)); {
	case a.IsUnspecified():
		o.add("Prefix", p.String(), "", "no prefix but a wish: one of this length, please")
	case !p.IsValid():
		o.add("Prefix", fmt.Sprintf("%s/%d", a, bits), "", "a length that IPv6 does not have")
	default:
		o.add("Prefix", p.String(), "", sizeNote(int(bits)))
	}
	d.options(o, base+25)
}

// sizeNote says how much a delegated prefix is.
func sizeNote(bits int) string {
	switch {
	case bits > 64:
		return "less than a /64: no network with SLAAC fits"
	case bits == 64:
		return "one network"
	case bits >= 32:
		return fmt.Sprintf("%d networks of /64", uint64(1)<<(64-bits))
	}
	return "a provider's worth of networks"
}

func (d *dhcpWalk) leaseFields(o *reader) {
	pref, valid := o.u32(), o.u32()
	note, end := preferredNote(pref), "after this it is the server's again; 0 takes it back at once"
	if d.client {
		note, end = "a wish: 0 leaves it to the server", ""
	}
	o.add("Preferred lifetime", seconds(pref), "", note)
	o.add("Valid lifetime", seconds(valid), "", end)
}

func statusNote(s dhcpv6.StatusCode) string {
	switch s {
	case dhcpv6.NoAddrsAvail:
		return "the server has no address to give"
	case dhcpv6.NoPrefixAvail:
		return "the server has no prefix to give"
	case dhcpv6.NoBinding:
		return "the server does not know that the client has it: the client asks anew by Request"
	case dhcpv6.NotOnLink:
		return "the addresses do not fit the link that the client is on"
	}
	return ""
}

// duidFields adds a DUID by its kind (RFC 9915 section 11).
func duidFields(o *reader) {
	t := o.u16()
	kind := map[uint16]string{1: "DUID-LLT", 2: "DUID-EN", 3: "DUID-LL", 4: "DUID-UUID"}[t]
	rfc := ""
	if kind != "" {
		rfc = fmt.Sprintf("RFC 9915 section 11.%d", t+1)
	}
	o.add("DUID type", known(int(t), kind), rfc, "")
	switch t {
	case 1, 3:
		hw := o.u16()
		o.add("Hardware type", known(int(hw), map[uint16]string{1: "Ethernet"}[hw]), "", "")
		if t == 1 {
			epoch := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
			o.add("Time", epoch.Add(time.Duration(o.u32())*time.Second).Format(time.RFC3339), "", "when it was made")
		}
		o.add("Link-layer address", mac(o.rest()), "", "")
	case 2:
		o.add("Enterprise number", fmt.Sprint(o.u32()), "", "")
		o.add("Identifier", hexText(o.rest()), "", "")
	case 4:
		u := o.take(16)
		o.add("UUID", fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:]), "", "made once, then kept")
	default:
		o.add("Identifier", hexText(o.rest()), "", "")
	}
}

// authFields adds an Authentication option; RKAP is the one protocol in use (RFC 9915 section 20.4).
func authFields(o *reader) {
	proto := o.u8()
	o.add("Protocol", known(int(proto), map[uint8]string{3: "reconfigure key"}[proto]), "RFC 9915 section 20.4", "")
	alg := o.u8()
	o.add("Algorithm", known(int(alg), map[uint8]string{1: "HMAC-MD5"}[alg]), "", "")
	rdm := o.u8()
	o.add("Replay detection method", known(int(rdm), map[uint8]string{0: "monotonic counter"}[rdm]), "RFC 9915 section 20.3", "")
	o.add("Replay detection", "0x"+hexText(o.take(8)), "", "each Reconfigure has a greater one, so that an old one cannot be played again")
	if proto != 3 || o.left() == 0 {
		o.add("Information", hexText(o.rest()), "", "")
		return
	}
	switch t := o.u8(); t {
	case 1:
		o.add("Reconfigure key", hexText(o.rest()), "RFC 9915 section 20.4.1", "goes in clear: the tunnel around it keeps it secret")
	case 2:
		o.add("Digest", hexText(o.rest()), "RFC 9915 section 20.4.1", "made over the whole message with the key that an earlier Reply gave")
	default:
		o.add(fmt.Sprintf("Information of type %d", t), hexText(o.rest()), "RFC 9915 section 20.4.1", "")
	}
}

// ntpFields adds the suboptions of an NTP Server option (RFC 5908 sections 4.1 to 4.3).
func ntpFields(o *reader) {
	for o.left() > 0 && !o.short {
		c, n := o.u16(), int(o.u16())
		v := o.take(n)
		switch {
		case o.short:
		case c <= 2 && n == 16:
			addrField(o, map[uint16]string{1: "Server", 2: "Multicast group"}[c], netip.AddrFrom16([16]byte(v)))
		case c == 3:
			nameFields(o, "Name", v)
		default:
			o.add(fmt.Sprintf("Suboption %d", c), hexText(v), "", "")
		}
	}
}

// resolverFields adds an encrypted resolver (RFC 9463 section 4.1).
func resolverFields(o *reader) {
	o.add("Priority", fmt.Sprint(o.u16()), "", "smaller is better")
	nameFields(o, "Name", o.take(int(o.u16())))
	if o.left() == 0 {
		return // the name is all there is (RFC 9463 section 3.1.6)
	}
	addrs := o.take(int(o.u16()))
	for ; len(addrs) >= 16; addrs = addrs[16:] {
		addrField(o, "Address", netip.AddrFrom16([16]byte(addrs)))
	}
	if !o.short {
		serviceParams(o, o.rest())
	}
}
