// SPDX-License-Identifier: MIT

package packet

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"oasis6/dhcpv6"
)

const (
	dhcpHeader  = 4
	relayHeader = 34 // RFC 9915 section 9
	maxRelays   = 8  // messages inside relay messages that are shown: HOP_COUNT_LIMIT (RFC 9915 section 7.6)
	maxNesting  = 24 // options inside options that are shown; eight relays with an IA_PD in the last need it
)

// messagePurpose is what a message is for (RFC 9915 section 7.3).
func messagePurpose(t dhcpv6.MessageType) string {
	switch t {
	case dhcpv6.Solicit:
		return "A client asks which servers there are, and says what it would like."
	case dhcpv6.Advertise:
		return "A server offers what the client could have."
	case dhcpv6.Request:
		return "The client takes an offer: only now the server binds it."
	case dhcpv6.Confirm:
		return "A client that moved asks whether its addresses still fit the link."
	case dhcpv6.Renew:
		return "The client asks its server for more time."
	case dhcpv6.Rebind:
		return "The client asks any server for more time, since its own is silent."
	case dhcpv6.Reply:
		return "The server's word: this is yours, for so long."
	case dhcpv6.Release:
		return "The client gives back what it has."
	case dhcpv6.Decline:
		return "The client found that somebody else has the address."
	case dhcpv6.Reconfigure:
		return "The server tells the client to ask again now."
	case dhcpv6.InformationRequest:
		return "A client that has its addresses asks for the rest, such as DNS."
	case dhcpv6.RelayForward, dhcpv6.RelayReply:
		return "A relay carries a message between a client and a server on another link."
	}
	return ""
}

// dhcpWalk adds the options of one message. Problems are what our own codec finds wrong, by offset.
type dhcpWalk struct {
	problems map[int]string
	relays   int
	client   bool // a client speaks: its lifetimes are wishes
}

func dhcpFields(o *reader, p *part) { (&dhcpWalk{}).message(o, p.head) }

// message adds a message that begins where o stands.
func (d *dhcpWalk) message(o *reader, b []byte) {
	t := dhcpv6.MessageType(o.u8())
	o.add("Message type", known(int(t), t.String()), "RFC 9915 section 7.3", messagePurpose(t))
	if t == dhcpv6.RelayForward || t == dhcpv6.RelayReply {
		o.add("Hop count", fmt.Sprint(o.u8()), "RFC 9915 section 9", "relays before this one")
		o.add("Link address", o.addr().String(), "RFC 9915 section 9", "tells the server which link the client is on")
		o.add("Peer address", o.addr().String(), "RFC 9915 section 9", "whom the relay has it from, or gives it to")
		d.options(o, relayHeader)
		return
	}
	d.client = t != dhcpv6.Advertise && t != dhcpv6.Reply
	xid := o.take(3)
	o.add("Transaction ID", "0x"+hexText(xid), "", "pairs an answer with its question")
	d.problems = map[int]string{}
	if _, problems, err := dhcpv6.ParseMessage(b); err == nil {
		for _, p := range problems {
			d.problems[p.Offset] = p.Reason
		}
	}
	d.options(o, dhcpHeader)
}

// options adds options up to the end of o, whose first octet is at offset base of the message.
func (d *dhcpWalk) options(o *reader, base int) {
	base -= o.at
	for o.left() > 0 && !o.short {
		at := base + o.at
		c, n := dhcpv6.OptionCode(o.u16()), int(o.u16())
		v := o.take(n)
		if o.short {
			return
		}
		name, rfc, note := dhcpOption(c)
		if why := d.problems[at]; why != "" {
			note = "this program does not take it as it is: " + why
		}
		o.add(name, fmt.Sprintf("option %d, %s", uint16(c), plural(n, "octet")), rfc, note)
		o.within(v, func(o *reader) { d.optionFields(o, c, at+4) })
	}
}

func dhcpShort(p *part) string {
	if len(p.head) < dhcpHeader {
		return "DHCPv6 cut short"
	}
	t := dhcpv6.MessageType(p.head[0])
	m, _, err := dhcpv6.ParseMessage(p.head)
	if err != nil {
		return "DHCPv6 " + t.String()
	}
	s := fmt.Sprintf("DHCPv6 %s 0x%06x", t, m.XID)
	for _, ia := range m.IAs {
		for _, x := range ia.Prefixes {
			s += fmt.Sprintf(", %s", leaseText(ia.Type, x))
		}
		if len(ia.Prefixes) == 0 {
			s += ", " + ia.Type.String()
		}
		if ia.Status.Code != dhcpv6.Success {
			s += " " + ia.Status.Code.String()
		}
	}
	if m.ReconfigureMessage != 0 {
		s += ", wants a " + m.ReconfigureMessage.String()
	}
	if len(m.DNS) > 0 {
		s += ", DNS " + joined(m.DNS)
	}
	if m.Status.Code != dhcpv6.Success {
		s += ", " + m.Status.Code.String()
	}
	return s
}

// leaseText is a prefix or address with its lifetime, where it has one.
func leaseText(t dhcpv6.IAType, x dhcpv6.IAPrefix) string {
	s := x.Prefix.String()
	if t == dhcpv6.NA {
		s = x.Prefix.Addr().String()
	}
	switch {
	case x.Prefix.Addr().IsUnspecified():
		return "any /" + strconv.Itoa(x.Prefix.Bits())
	case x.Valid == 0 && x.Preferred == 0:
		return s
	case x.Preferred == 0:
		return s + " deprecated"
	}
	return s + " for " + brief(x.Valid)
}

// dhcpOption is name, RFC and purpose of an option; the sections are of RFC 9915 unless another RFC defines it.
func dhcpOption(c dhcpv6.OptionCode) (name, rfc, note string) {
	switch c {
	case dhcpv6.OptionClientID:
		return c.String(), "RFC 9915 section 21.2", "who the client is, always the same"
	case dhcpv6.OptionServerID:
		return c.String(), "RFC 9915 section 21.3", "which server is meant, or speaks"
	case dhcpv6.OptionIANA:
		return c.String(), "RFC 9915 section 21.4", "a set of addresses for one interface"
	case dhcpv6.OptionIAAddr:
		return c.String(), "RFC 9915 section 21.6", ""
	case dhcpv6.OptionORO:
		return c.String(), "RFC 9915 section 21.7", "what the client would like to be told"
	case dhcpv6.OptionPreference:
		return c.String(), "RFC 9915 section 21.8", "of several servers clients take the one with the highest; 255 ends the search"
	case dhcpv6.OptionElapsedTime:
		return c.String(), "RFC 9915 section 21.9", "how long the client has been trying"
	case optRelayMessage:
		return "Relay Message", "RFC 9915 section 21.10", "the message that is carried"
	case dhcpv6.OptionAuth:
		return c.String(), "RFC 9915 section 21.11", "proves that a Reconfigure is the server's"
	case dhcpv6.OptionStatusCode:
		return c.String(), "RFC 9915 section 21.13", "how it went"
	case dhcpv6.OptionRapidCommit:
		return c.String(), "RFC 9915 section 21.14", "two messages in place of four"
	case dhcpv6.OptionReconfigureMessage:
		return c.String(), "RFC 9915 section 21.19", "what the client is to send"
	case dhcpv6.OptionReconfigureAccept:
		return c.String(), "RFC 9915 section 21.20", "the client takes Reconfigure messages, the server may send them"
	case dhcpv6.OptionIAPD:
		return c.String(), "RFC 9915 section 21.21", "a set of prefixes for the networks behind a router"
	case dhcpv6.OptionIAPrefix:
		return c.String(), "RFC 9915 section 21.22", ""
	case dhcpv6.OptionRefreshTime:
		return c.String(), "RFC 9915 section 21.23", "when to ask again for what has no lifetime"
	case dhcpv6.OptionSolMaxRT:
		return c.String(), "RFC 9915 section 21.24", "how seldom the client is to ask while nobody answers"
	case dhcpv6.OptionInfMaxRT:
		return c.String(), "RFC 9915 section 21.25", "how seldom the client is to ask while nobody answers"
	}
	return laterOption(c)
}

// Options that the product does not use, and that other software puts into its messages.
const (
	optIATA         dhcpv6.OptionCode = 4
	optRelayMessage dhcpv6.OptionCode = 9
	optVendorClass  dhcpv6.OptionCode = 16
	optInterfaceID  dhcpv6.OptionCode = 18
	optClientFQDN   dhcpv6.OptionCode = 39
)

// laterOption is dhcpOption for options of other RFCs.
func laterOption(c dhcpv6.OptionCode) (name, rfc, note string) {
	switch c {
	case dhcpv6.OptionDNSServers:
		return c.String(), "RFC 3646 section 3", "where to ask for names"
	case dhcpv6.OptionDomainList:
		return c.String(), "RFC 3646 section 4", "domains to put behind short names"
	case dhcpv6.OptionNTPServer:
		return c.String(), "RFC 5908 section 4", "where to ask for the time"
	case dhcpv6.OptionPDExclude:
		return c.String(), "RFC 6603 section 4.2", "the part of the prefix that numbers the link to the server"
	case dhcpv6.OptionCaptivePortal:
		return c.String(), "RFC 8910 section 2.2", "where to log in, or to read that no login is needed"
	case dhcpv6.OptionEncryptedDNS:
		return c.String(), "RFC 9463 section 4.1", "a resolver that speaks DNS over TLS, HTTPS or QUIC"
	case optIATA:
		return "IA_TA", "RFC 8415 section 21.5", "temporary addresses; gone with RFC 9915"
	case optVendorClass:
		return "Vendor Class", "RFC 9915 section 21.16", "what make the client is"
	case optInterfaceID:
		return "Interface-Id", "RFC 9915 section 21.18", "the relay's name for the link, which comes back"
	case optClientFQDN:
		return "Client FQDN", "RFC 4704 section 4", "the client's name"
	}
	return c.String(), "", "not known here"
}

// names reads domain names without compression (RFC 9915 section 10).
func names(b []byte) (list []string, ok bool) {
	var labels []string
	for len(b) > 0 {
		n := int(b[0])
		if b = b[1:]; n > len(b) || n > 63 {
			return list, false
		}
		if n == 0 {
			list, labels = append(list, strings.Join(labels, ".")), nil
			continue
		}
		labels = append(labels, printable(b[:n]))
		b = b[n:]
	}
	return list, len(labels) == 0
}

func addrField(o *reader, name string, a netip.Addr) { o.add(name, a.String(), "", about(a)) }
