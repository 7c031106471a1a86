// SPDX-License-Identifier: MIT

package packet

import (
	"fmt"
	"net/netip"
	"strings"

	"oasis6/internal/lifetime"
	"oasis6/ra"
)

// ND options (IANA registry; each with its section in ndOptionName).
const (
	optSourceLinkLayer = 1
	optTargetLinkLayer = 2
	optPrefix          = 3
	optRedirected      = 4
	optMTU             = 5
	optNonce           = 14
	optRoute           = 24
	optRDNSS           = 25
	optFlags           = 26
	optDNSSL           = 31
	optPortal          = 37
	optPREF64          = 38
	optEncrypted       = 144
)

// ndOptionName is name, RFC and purpose of an option.
func ndOptionName(t uint8) (name, rfc, note string) {
	switch t {
	case optSourceLinkLayer:
		return "Source Link-Layer Address", "RFC 4861 section 4.6.1", "the sender's MAC: saves a question"
	case optTargetLinkLayer:
		return "Target Link-Layer Address", "RFC 4861 section 4.6.1", "the MAC of the target: the answer"
	case optPrefix:
		return "Prefix Information", "RFC 4861 section 4.6.2", "a prefix of this link and what hosts may do with it"
	case optRedirected:
		return "Redirected Header", "RFC 4861 section 4.6.3", "the packet that there is a better way for"
	case optMTU:
		return "MTU", "RFC 4861 section 4.6.4", "the largest packet that hosts should send on this link"
	case optNonce:
		return "Nonce", "RFC 3971 section 5.3.2", "a random number: who hears its own question come back knows that it is not another host's (RFC 7527)"
	case optRoute:
		return "Route Information", "RFC 4191 section 2.3", "hosts reach this prefix through the sender, also if it is not their default router"
	case optRDNSS:
		return "Recursive DNS Server", "RFC 8106 section 5.1", "where hosts may ask for names"
	case optFlags:
		return "RA Flags Extension", "RFC 5175 section 4", "room for more flags"
	case optDNSSL:
		return "DNS Search List", "RFC 8106 section 5.2", "domains that hosts put behind short names"
	case optPortal:
		return "Captive Portal", "RFC 8910 section 2.3", "where to log in, or to read that no login is needed"
	case optPREF64:
		return "PREF64", "RFC 8781 section 4", "the prefix behind which the IPv4 Internet lies, by a NAT64"
	case optEncrypted:
		return "Encrypted DNS", "RFC 9463 section 6.1", "a resolver that speaks DNS over TLS, HTTPS or QUIC"
	}
	return fmt.Sprintf("Option %d", t), "", "not known here; hosts skip what they do not know"
}

// ndOption adds the next option; not ok ends the list.
func ndOption(o *reader) bool {
	if o.left() < 2 || o.b[o.at+1] == 0 || int(o.b[o.at+1])*8 > o.left() {
		o.short = true // optionTrouble says why
		return false
	}
	b := o.take(int(o.b[o.at+1]) * 8)
	name, rfc, note := ndOptionName(b[0])
	o.add(name, fmt.Sprintf("option %d, %d octets", b[0], len(b)), rfc, note)
	o.within(b[2:], func(o *reader) {
		if x, why := decoded(b); why != "" {
			o.add("Refused", hexText(b[2:]), "", "this program skips the option: "+why)
			if b[0] == optPrefix && len(b) == 32 && b[2] <= 128 { // what it says all the same
				prefixFields(o, b[3], ra.PrefixInformation{Prefix: netip.PrefixFrom(netip.AddrFrom16([16]byte(b[16:])), int(b[2])), Valid: be32(b[4:]), Preferred: be32(b[8:])})
			}
		} else {
			ndOptionFields(o, b, x)
		}
	})
	return true
}

// decoded reads an option with the codec that the router uses. It takes options in an RA only, so the
// option is put into one.
func decoded(b []byte) (ra.Option, string) {
	m := append([]byte{typeRA, 15: 0}, b...)
	got, problems, drop := ra.ParseRA(netip.MustParseAddr("fe80::1"), 255, m)
	switch {
	case drop != ra.Accepted:
		return nil, drop.String()
	case len(problems) > 0:
		return nil, problems[0].Reason
	case len(got.Options) == 0:
		return nil, "empty"
	}
	return got.Options[0], ""
}

// decode is decoded for those who skip what is refused.
func decode(b []byte) ra.Option {
	x, _ := decoded(b)
	return x
}

func prefixFlags() []flag { return []flag{{0x80, "L"}, {0x40, "A"}, {0x20, "R"}, {0x10, "P"}} }

// ndOptionFields adds what the codec read of b, or the fields of options that routers do not read.
func ndOptionFields(o *reader, b []byte, x ra.Option) {
	switch x := x.(type) {
	case ra.SourceLinkLayer:
		o.add("Address", mac(x[:]), "", aboutMAC(x))
	case ra.PrefixInformation:
		prefixFields(o, b[3], x)
	case ra.MTU:
		o.add("MTU", fmt.Sprint(uint32(x)), "", mtuNote(uint32(x)))
	case ra.RouteInformation:
		o.add("Prefix", x.Prefix.String(), "", about(x.Prefix.Addr()))
		o.add("Preference", preference(uint8(x.Preference)), "RFC 4191 section 2.1", "which of several routers with this route hosts take")
		o.add("Route lifetime", seconds(x.Lifetime), "", withdrawn(x.Lifetime, "how long the route may be used"))
	case ra.RDNSS:
		o.add("Lifetime", seconds(x.Lifetime), "", withdrawn(x.Lifetime, "how long hosts may ask the servers"))
		for _, s := range x.Servers {
			o.add("Server", s.String(), "", about(s))
		}
	case ra.DNSSL:
		o.add("Lifetime", seconds(x.Lifetime), "", withdrawn(x.Lifetime, "how long hosts may use the domains"))
		for _, d := range x.Domains {
			o.add("Domain", printable([]byte(d)), "", "")
		}
	case ra.PREF64:
		o.add("Lifetime", seconds(x.Lifetime), "", withdrawn(x.Lifetime, "sent in units of eight seconds"))
		o.add("Prefix", x.Prefix.String(), "", "an IPv4 address is put behind it (RFC 6052)")
	case ra.CaptivePortal:
		o.add("URI", printable([]byte(x)), "", choose(b2u(x == ra.Unrestricted), "no login is needed", ""))
	case ra.EncryptedDNSOption:
		encryptedFields(o, x)
	case ra.RawOption:
		otherFields(o, x)
	}
}

func prefixFields(o *reader, f uint8, x ra.PrefixInformation) {
	o.add("Prefix", x.Prefix.String(), "", about(x.Prefix.Addr()))
	o.add("L flag", yes(f&0x80), "", choose(f&0x80, "on-link: hosts with this prefix are neighbors, reached without a router", "says nothing about neighbors: packets go by the router"))
	o.add("A flag", yes(f&0x40), "RFC 4862 section 5.5.3", choose(f&0x40, "autonomous: hosts form their own addresses from it (SLAAC)", "hosts form no addresses from it"))
	o.add("R flag", yes(f&0x20), "RFC 6275 section 7.2", choose(f&0x20, "the prefix field holds the router's whole address", ""))
	o.add("P flag", yes(f&0x10), "RFC 9762", choose(f&0x10, "hosts had better ask for a prefix of their own by DHCPv6", ""))
	o.add("Valid lifetime", seconds(x.Valid), "", validNote(x.Valid))
	o.add("Preferred lifetime", seconds(x.Preferred), "", preferredNote(x.Preferred))
}

func validNote(s uint32) string {
	switch s {
	case 0:
		return "over: but hosts keep an address for two hours at least against such a message (RFC 4862 section 5.5.3)"
	case lifetime.Infinity:
		return "addresses from it never end"
	}
	return "after this addresses from it are gone"
}

func preferredNote(s uint32) string {
	if s == 0 {
		return "deprecated at once: addresses from it serve what runs, nothing new"
	}
	return "after this addresses from it are deprecated: they serve what runs, nothing new"
}

func mtuNote(mtu uint32) string {
	if mtu < 1280 {
		return "less than 1280, which every IPv6 link must take: hosts ignore it"
	}
	return "hosts send nothing larger on this link"
}

func withdrawn(s uint32, note string) string {
	if s == 0 {
		return "0: withdrawn, hosts forget it at once"
	}
	return note
}

func encryptedFields(o *reader, x ra.EncryptedDNSOption) {
	o.add("Priority", fmt.Sprint(x.Priority), "", "smaller is better")
	o.add("Lifetime", seconds(x.Lifetime), "", withdrawn(x.Lifetime, "how long hosts may ask it"))
	o.add("Name", printable([]byte(x.Name)), "", "the resolver must prove this name by its certificate")
	for _, a := range x.Addrs {
		o.add("Address", a.String(), "", about(a))
	}
	if x.Params != "" {
		serviceParams(o, []byte(x.Params))
	}
}

// serviceParams adds Service Parameters (RFC 9460 section 2.2; keys of section 14.3.2, dohpath of RFC 9461 section 5).
func serviceParams(o *reader, b []byte) {
	for len(b) >= 4 {
		key, n := be16(b), int(be16(b[2:]))
		if b = b[4:]; n > len(b) {
			break
		}
		v := b[:n]
		b = b[n:]
		switch {
		case key == 1:
			o.add("alpn", alpn(v), "RFC 9460 section 7.1", "how to speak to it: dot is TLS, h2 and h3 are HTTPS, doq is QUIC")
		case key == 3 && n == 2:
			o.add("port", fmt.Sprint(be16(v)), "RFC 9460 section 7.2", "")
		case key == 7:
			o.add("dohpath", printable(v), "RFC 9461 section 5", "the path of DNS over HTTPS")
		default:
			o.add(fmt.Sprintf("key %d", key), hexText(v), "RFC 9460 section 2.2", "")
		}
	}
	if len(b) > 0 {
		o.add("Service parameters", "the rest cannot be read", "", "")
	}
}

// alpn is a list of names, each behind its length.
func alpn(b []byte) string {
	var names []string
	for len(b) > 0 && int(b[0]) < len(b) {
		names = append(names, printable(b[1:1+b[0]]))
		b = b[1+b[0]:]
	}
	return strings.Join(names, ", ")
}

// otherFields adds options that the codec keeps as octets.
func otherFields(o *reader, x ra.RawOption) {
	switch v := x.Data; {
	case x.Type == optSourceLinkLayer || x.Type == optTargetLinkLayer:
		note := "not an Ethernet address"
		if len(v) == 6 {
			note = aboutMAC([6]byte(v))
		}
		o.add("Address", mac(v), "", note)
	case x.Type == optNonce:
		o.add("Nonce", hexText(v), "", "")
	case x.Type == optFlags:
		o.add("Flags", hexText(v), "", "none that are in use here")
	case x.Type == optRedirected:
		c := cutUp(v[6:], ip6, nil)
		o.add("Packet", c.summary(), "", "its first "+plural(len(v)-6, "octet"))
	default:
		o.add("Octets", hexText(v), "", "")
	}
}

func b2u(set bool) uint8 {
	if set {
		return 1
	}
	return 0
}
