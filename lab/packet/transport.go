// SPDX-License-Identifier: MIT

package packet

import (
	"bytes"
	"fmt"
	"strings"

	"oasis6/dhcpv6"
	"oasis6/internal/ip6pkt"
)

// Ports that say what a datagram carries.
const (
	portDNS       = 53
	portHTTP      = 80
	portWireGuard = 51820
)

const tcpHeader = 20 // without options

func portName(n uint16) string {
	switch n {
	case 22:
		return "SSH"
	case portDNS:
		return "DNS"
	case portHTTP:
		return "HTTP"
	case 123:
		return "NTP"
	case 443:
		return "HTTPS"
	case dhcpv6.ClientPort:
		return "DHCPv6 client"
	case dhcpv6.ServerPort:
		return "DHCPv6 server"
	case portWireGuard:
		return "WireGuard"
	}
	return ""
}

func cutUDP(_ *chain, p *part, b []byte) step {
	s := step{header: ip6pkt.UDPHeaderLen, next: data}
	if len(b) < ip6pkt.UDPHeaderLen {
		return s
	}
	s.end = int(be16(b[4:]))
	switch {
	case s.end < ip6pkt.UDPHeaderLen:
		s.end, s.broken = ip6pkt.UDPHeaderLen, fmt.Sprintf("UDP: length %d is less than the header", s.end)
	case s.end > len(b) && !p.partial:
		s.broken = fmt.Sprintf("UDP: length %d, only %d octets are here", s.end, len(b))
	}
	from, to := be16(b), be16(b[2:])
	port := func(n uint16) bool { return from == n || to == n }
	switch payload := b[ip6pkt.UDPHeaderLen:min(s.end, len(b))]; {
	case len(payload) == 0:
		s.next = none
	case p.partial: // only a piece of what it carries
	case port(dhcpv6.ClientPort) || port(dhcpv6.ServerPort):
		s.next = dhcp
	case port(portDNS):
		s.next = dns
	case isWireGuard(payload):
		s.next = wireguard
	}
	s.next = p.carried(s.next)
	return s
}

func udpFields(o *reader, p *part) {
	ports(o)
	o.add("Length", fmt.Sprint(o.u16()), "", "octets with this header")
	sum := o.u16()
	note := p.checksumNote(protoUDP)
	if sum == 0 {
		note = "not used: allowed over IPv4 only"
	}
	o.add("Checksum", fmt.Sprintf("0x%04x", sum), "", note)
}

func ports(o *reader) {
	from := o.u16()
	o.add("Source port", known(int(from), portName(from)), "", "the program that sent it")
	to := o.u16()
	o.add("Destination port", known(int(to), portName(to)), "", "the program that is to get it")
}

func udpShort(p *part) string {
	if len(p.head) < 6 {
		return "UDP cut short"
	}
	return fmt.Sprintf("UDP %d → %d, %s", be16(p.head), be16(p.head[2:]), plural(max(int(be16(p.head[4:]))-ip6pkt.UDPHeaderLen, 0), "octet"))
}

func tcpFlags() []flag {
	return []flag{{0x02, "SYN"}, {0x01, "FIN"}, {0x04, "RST"}, {0x08, "PSH"}, {0x10, "ACK"}, {0x20, "URG"}, {0x40, "ECE"}, {0x80, "CWR"}}
}

func cutTCP(_ *chain, p *part, b []byte) step {
	s := step{header: tcpHeader, next: data}
	if len(b) < tcpHeader {
		return s
	}
	if n := int(b[12]>>4) * 4; n >= tcpHeader {
		s.header = n
	} else {
		s.broken = fmt.Sprintf("TCP: header length %d is less than 20", n)
		return s
	}
	if s.header <= len(b) && isHTTP(b[s.header:]) {
		s.next = p.carried(http)
	}
	return s
}

func tcpFields(o *reader, p *part) {
	ports(o)
	o.add("Sequence number", fmt.Sprint(o.u32()), "", "of the first octet in this segment")
	ack := o.u32()
	o.add("Acknowledgment number", fmt.Sprint(ack), "", "the next octet that the sender of this segment waits for")
	o.add("Header length", fmt.Sprint(int(o.u8()>>4)*4), "", "octets; more than 20 are options")
	f := o.u8()
	o.add("Flags", flags(uint(f), tcpFlags()), "", tcpMeans(f))
	o.add("Window", fmt.Sprint(o.u16()), "", "octets that the other end may send before it hears again")
	o.add("Checksum", fmt.Sprintf("0x%04x", o.u16()), "", p.checksumNote(protoTCP))
	o.add("Urgent pointer", fmt.Sprint(o.u16()), "", "")
	for o.left() > 0 && tcpOption(o) {
	}
}

func tcpMeans(f uint8) string {
	switch {
	case f&0x04 != 0:
		return "reset: there is no such connection, or it is given up"
	case f&0x12 == 0x02:
		return "the first segment: asks for a connection"
	case f&0x12 == 0x12:
		return "agrees to the connection"
	case f&0x01 != 0:
		return "the sender has nothing more to say"
	}
	return ""
}

// tcpOption adds one option; not ok ends the list.
func tcpOption(o *reader) bool {
	kind := o.u8()
	switch kind {
	case 0:
		o.add("End of options", fmt.Sprintf("%d octets of padding", o.left()), "", "")
		return false
	case 1:
		o.add("No-Operation", "1 octet", "", "fills up")
		return true
	}
	n := int(o.u8())
	if n < 2 {
		o.short = true
		return false
	}
	v := o.take(n - 2)
	switch {
	case o.short:
	case kind == 2 && len(v) == 2:
		o.add("Maximum segment size", fmt.Sprint(be16(v)), "RFC 9293 section 3.7.1", "the most octets of data that the sender wants in one segment: its link's MTU less 60 over IPv6")
	case kind == 3 && len(v) == 1:
		o.add("Window scale", fmt.Sprint(v[0]), "RFC 7323 section 2.2", fmt.Sprintf("windows count in units of %d", uint64(1)<<min(v[0], 14)))
	case kind == 4 && len(v) == 0:
		o.add("SACK permitted", "", "RFC 2018 section 2", "may name the gaps when segments are lost")
	case kind == 5 && len(v)%8 == 0:
		for ; len(v) > 0; v = v[8:] {
			o.add("SACK", fmt.Sprintf("%d to %d", be32(v), be32(v[4:])), "RFC 2018 section 3", "octets that came though some before them are missing")
		}
	case kind == 8 && len(v) == 8:
		o.add("Timestamps", fmt.Sprintf("%d, echo %d", be32(v), be32(v[4:])), "RFC 7323 section 3.2", "to measure the way there and back")
	default:
		o.add(fmt.Sprintf("Option %d", kind), hexText(v), "", "")
	}
	return !o.short
}

func tcpShort(p *part) string {
	if len(p.head) < 4 {
		return "TCP cut short"
	}
	s := fmt.Sprintf("TCP %d → %d", be16(p.head), be16(p.head[2:]))
	if len(p.head) < tcpHeader {
		return s
	}
	s += " [" + flags(uint(p.head[13]), tcpFlags()) + "]"
	if n := len(p.all) - len(p.head); n > 0 && !p.quoted {
		s += ", " + plural(n, "octet")
	}
	if mss, ok := segmentSize(p.head[tcpHeader:]); ok {
		s += fmt.Sprintf(", MSS %d", mss)
	}
	return s
}

// segmentSize finds the MSS option.
func segmentSize(b []byte) (uint16, bool) {
	for len(b) >= 2 && b[0] != 0 {
		switch n := int(b[1]); {
		case b[0] == 1:
			b = b[1:]
		case b[0] == 2 && n == 4 && len(b) >= 4:
			return be16(b[2:]), true
		case n < 2 || n > len(b):
			return 0, false
		default:
			b = b[n:]
		}
	}
	return 0, false
}

// isHTTP says whether a segment begins as a request or an answer (RFC 9112 sections 3 and 4).
func isHTTP(b []byte) bool {
	for _, w := range []string{"GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "CONNECT ", "HTTP/1."} {
		if bytes.HasPrefix(b, []byte(w)) {
			return true
		}
	}
	return false
}

func httpLine(b []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(b, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), rest
}

func httpFields(o *reader, p *part) {
	line, rest := httpLine(p.head)
	name, rfc := "Request line", "RFC 9112 section 3"
	if bytes.HasPrefix(line, []byte("HTTP/")) {
		name, rfc = "Status line", "RFC 9112 section 4"
	}
	o.add(name, printable(line), rfc, "")
	for range 16 { // enough for a page; the body is no header
		if line, rest = httpLine(rest); len(line) == 0 {
			break
		}
		field, value, ok := strings.Cut(printable(line), ":")
		if !ok {
			break
		}
		o.add(field, strings.TrimSpace(value), "RFC 9112 section 5", "")
	}
}

func httpShort(p *part) string {
	line, _ := httpLine(p.head)
	return "HTTP: " + printable(line[:min(len(line), 80)])
}
