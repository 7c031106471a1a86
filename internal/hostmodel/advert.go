// SPDX-License-Identifier: MIT

package hostmodel

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"
)

// advert is a Router Advertisement as this host understands it (RFC 4861 section 4.2).
type advert struct {
	hopLimit   uint8
	preference int8 // RFC 4191 section 2.1: 1 high, 0 medium, -1 low
	lifetime   uint16
	hasSource  bool // a source link-layer address option
	mtu        uint32
	prefixes   []prefixInfo
	routes     []routeInfo
	servers    []timed[netip.Addr]
	domains    []timed[string]
	nat64      []timed[netip.Prefix]
}

type prefixInfo struct {
	prefix             netip.Prefix
	onLink, autonomous bool
	preferred, valid   uint32
}

type routeInfo struct {
	prefix     netip.Prefix
	preference int8
	lifetime   uint32
}

type timed[T any] struct {
	value    T
	lifetime uint32
}

// Types of options.
const (
	optSourceLinkLayer = 1
	optPrefix          = 3
	optMTU             = 5
	optRoute           = 24 // RFC 4191
	optRDNSS           = 25 // RFC 8106
	optDNSSL           = 31 // RFC 8106
	optPREF64          = 38 // RFC 8781
)

const (
	typeRS = 133
	typeRA = 134

	ndHopLimit = 255
	raHeader   = 16
)

// parse checks as RFC 4861 section 6.1.2 says; the checksum is the caller's. An option of length 0 spoils the whole
// message, another bad one only itself.
func parse(r Received) (m advert, ok bool) {
	b := r.Data
	if !r.Src.IsLinkLocalUnicast() || r.HopLimit != ndHopLimit || len(b) < raHeader || b[0] != typeRA || b[1] != 0 {
		return m, false
	}
	m.hopLimit, m.lifetime = b[4], binary.BigEndian.Uint16(b[6:])
	m.preference, _ = preferenceOf(b[5])
	for b = b[raHeader:]; len(b) > 0; {
		if len(b) < 2 || b[1] == 0 || len(b) < int(b[1])*8 {
			return m, false
		}
		n := int(b[1]) * 8
		m.option(b[:n])
		b = b[n:]
	}
	return m, true
}

// preferenceOf reads the two bits; reserved is medium in the header, and spoils a Route Information option.
func preferenceOf(flags byte) (p int8, reserved bool) {
	switch flags >> 3 & 3 {
	case 1:
		return 1, false
	case 3:
		return -1, false
	case 2:
		return 0, true
	}
	return 0, false
}

// option reads one whole option.
func (m *advert) option(o []byte) {
	u32 := binary.BigEndian.Uint32
	switch o[0] {
	case optSourceLinkLayer:
		m.hasSource = true
	case optPrefix:
		if len(o) == 32 && o[2] <= 128 {
			m.prefixes = append(m.prefixes, prefixInfo{
				prefix: prefixOf(o[16:], int(o[2])), onLink: o[3]&0x80 != 0, autonomous: o[3]&0x40 != 0,
				valid: u32(o[4:]), preferred: u32(o[8:])})
		}
	case optMTU:
		if len(o) == 8 {
			m.mtu = u32(o[4:])
		}
	case optRoute:
		p, reserved := preferenceOf(o[3])
		bits := int(o[2])
		if need := 8 + (bits+63)/64*8; bits <= 128 && len(o) >= need && len(o) <= 24 && !reserved {
			m.routes = append(m.routes, routeInfo{prefix: prefixOf(o[8:], bits), preference: p, lifetime: u32(o[4:])})
		}
	case optRDNSS:
		for a := o[8:]; len(o) >= 24 && len(o)%16 == 8 && len(a) > 0; a = a[16:] {
			m.servers = append(m.servers, timed[netip.Addr]{netip.AddrFrom16([16]byte(a)), u32(o[4:])})
		}
	case optDNSSL:
		for _, d := range domainsOf(o[8:]) {
			m.domains = append(m.domains, timed[string]{d, u32(o[4:])})
		}
	case optPREF64:
		lengths := [...]int{96, 64, 56, 48, 40, 32}
		if word := binary.BigEndian.Uint16(o[2:]); len(o) == 16 && int(word&7) < len(lengths) {
			m.nat64 = append(m.nat64, timed[netip.Prefix]{prefixOf(o[4:], lengths[word&7]), uint32(word >> 3 << 3)})
		}
	}
}

// prefixOf is the prefix of that length whose first octets are b; the rest is zero.
func prefixOf(b []byte, bits int) netip.Prefix {
	var a [16]byte
	copy(a[:], b)
	return netip.PrefixFrom(netip.AddrFrom16(a), bits).Masked()
}

// domainsOf reads uncompressed names (RFC 1035 section 3.1) up to the padding or the first bad one.
func domainsOf(b []byte) (out []string) {
	for len(b) > 0 && b[0] != 0 {
		var labels []string
		for {
			if len(b) == 0 || b[0] > 63 || len(b) <= int(b[0]) {
				return out
			}
			n := int(b[0])
			if b = b[1:]; n == 0 {
				break
			}
			labels, b = append(labels, string(b[:n])), b[n:]
		}
		out = append(out, strings.Join(labels, "."))
	}
	return out
}

// receive takes an RA (RFC 4861 section 6.3.4).
func (h *Host) receive(now time.Time, r Received) {
	m, ok := parse(r)
	if !ok {
		return
	}
	from := r.Src.WithZone("")
	if m.hopLimit != 0 {
		h.hopLimit = m.hopLimit
	}
	if m.mtu >= 1280 {
		h.mtu, h.mtuFrom = m.mtu, from
	}
	h.router(now, from, m)
	for _, p := range m.prefixes {
		h.prefix(now, from, p, m.hasSource)
	}
	if h.cfg.TypeC {
		for _, i := range m.routes {
			h.route(now, from, i)
		}
	}
	h.names(now, from, m)
	if m.lifetime > 0 || h.cfg.AnyRAEndsSoliciting {
		h.solicit = solicit{}
	}
}
