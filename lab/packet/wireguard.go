// SPDX-License-Identifier: MIT

package packet

import (
	"encoding/binary"
	"fmt"
)

// Message types and sizes of WireGuard (its paper, section 5.4).
const (
	wgInitiation = 1
	wgResponse   = 2
	wgCookie     = 3
	wgTransport  = 4

	wgInitiationLen = 148
	wgResponseLen   = 92
	wgCookieLen     = 64
	wgHeader        = 16 // of a transport message
	wgTag           = 16 // of what is encrypted
)

// isWireGuard tells by type, the three zeros and the size, as firewalls do.
func isWireGuard(b []byte) bool {
	if len(b) < wgHeader || b[1]|b[2]|b[3] != 0 {
		return false
	}
	switch b[0] {
	case wgInitiation:
		return len(b) == wgInitiationLen
	case wgResponse:
		return len(b) == wgResponseLen
	case wgCookie:
		return len(b) == wgCookieLen
	case wgTransport:
		return len(b) >= wgHeader+wgTag // padded to a multiple of 16, but not beyond the tunnel's MTU
	}
	return false
}

func cutWireGuard(_ *chain, p *part, b []byte) step {
	p.typ = b[0]
	return step{header: len(b)}
}

func wireguardFace(p *part) face {
	f := face{name: wgName(p.typ)}
	switch p.typ {
	case wgInitiation:
		f.rfc, f.purpose = "WireGuard paper section 5.4.2", "The first message of a handshake: proves who asks, to the one who is asked and to nobody else."
	case wgResponse:
		f.rfc, f.purpose = "WireGuard paper section 5.4.3", "Answers the handshake: both ends now have keys that nobody else can have."
	case wgCookie:
		f.rfc, f.purpose = "WireGuard paper section 5.4.7", "An end under load asks for proof that the address of the sender is true."
	case wgTransport:
		f.rfc, f.purpose = "WireGuard paper section 5.4.6", "Carries one packet, encrypted; the way sees its size and nothing else."
		if wireguardKind(p.head) == Keepalive {
			f.name, f.purpose = "WireGuard Keepalive", "Carries nothing: it keeps the NATs on the way from forgetting, and shows that the sender lives."
		}
	}
	return f
}

func wgName(t uint8) string {
	switch t {
	case wgInitiation:
		return "WireGuard Handshake Initiation"
	case wgResponse:
		return "WireGuard Handshake Response"
	case wgCookie:
		return "WireGuard Cookie Reply"
	}
	return "WireGuard Data"
}

func wireguardFields(o *reader, _ *part) {
	t := o.u8()
	o.add("Type", known(int(t), wgName(t)), "", "")
	o.add("Reserved", hexText(o.take(3)), "", "always zero")
	le32 := func() string { return fmt.Sprintf("0x%08x", binary.LittleEndian.Uint32(o.take(4))) }
	switch t {
	case wgInitiation, wgResponse:
		o.add("Sender", le32(), "", "the number by which the sender wants to be answered")
		if t == wgResponse {
			o.add("Receiver", le32(), "", "the number that the initiation gave")
		}
		o.add("Ephemeral", hexText(o.take(32)), "", "public key made for this one handshake: old traffic stays secret even if the long-term keys leak")
		if t == wgInitiation {
			o.add("Encrypted static", hexText(o.take(48)), "", "who asks: the sender's public key, for the receiver's eyes only")
			o.add("Encrypted timestamp", hexText(o.take(28)), "", "always a later one: an old initiation cannot be played again")
		} else {
			o.add("Encrypted nothing", hexText(o.take(16)), "", "proves that the sender has all the keys")
		}
		o.add("MAC1", hexText(o.take(16)), "", "proves that the sender knows whom it talks to; without it there is no answer")
		mac2 := o.take(16)
		o.add("MAC2", hexText(mac2), "", choose(b2u([16]byte(mac2) == [16]byte{}), "zero: nobody asked for a cookie", "made with the cookie that the other end gave"))
	case wgCookie:
		o.add("Receiver", le32(), "", "the number that the message under load gave")
		o.add("Nonce", hexText(o.take(24)), "", "")
		o.add("Encrypted cookie", hexText(o.take(32)), "", "hangs on the address that the message came from")
	case wgTransport:
		o.add("Receiver", le32(), "", "which session of the receiver: finds the key")
		o.add("Counter", fmt.Sprint(binary.LittleEndian.Uint64(o.take(8))), "", "goes up with each message: the nonce, and no message counts twice")
		n := o.left()
		note := "the packet, filled up to a multiple of 16 so that its size tells less, and 16 octets of proof"
		if n == wgTag {
			note = "nothing but 16 octets of proof: a keepalive, so that the NATs on the way do not forget"
		}
		o.add("Encrypted packet", plural(n, "octet"), "", note)
	}
}

func wireguardShort(p *part) string {
	b, name := p.head, wireguardFace(p).name
	at := func(i int) uint32 { return binary.LittleEndian.Uint32(b[i:]) }
	switch b[0] {
	case wgInitiation:
		return fmt.Sprintf("%s from 0x%08x", name, at(4))
	case wgResponse:
		return fmt.Sprintf("%s from 0x%08x to 0x%08x", name, at(4), at(8))
	case wgCookie:
		return fmt.Sprintf("%s to 0x%08x", name, at(4))
	}
	s := fmt.Sprintf("%s %d to 0x%08x", name, binary.LittleEndian.Uint64(b[8:]), at(4))
	if len(b) > wgHeader+wgTag {
		s += fmt.Sprintf(", %d octets", len(b)-wgHeader-wgTag)
	}
	return s
}

func wireguardKind(b []byte) Kind {
	switch {
	case b[0] != wgTransport:
		return Handshake
	case len(b) == wgHeader+wgTag:
		return Keepalive
	}
	return Data
}
