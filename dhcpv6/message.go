// SPDX-License-Identifier: MIT

package dhcpv6

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// headerLen is the type and the transaction id (RFC 9915 section 8).
const headerLen = 4

// XIDMask bounds a transaction id: 24 bits.
const XIDMask uint32 = 0xffffff

// Message is a client/server message. A field's zero value means that the option is absent.
type Message struct {
	Type        MessageType
	XID         uint32 // 24 bits
	ClientID    DUID
	ServerID    DUID
	IAPDs       []IAPD
	ElapsedTime uint16       // hundredths of a second; always written by a client, never by a server
	ORO         []OptionCode // Option Request
	Preference  uint8        // "considered to have a preference value of 0" when absent
	RapidCommit bool
	Status      Status
	DNS         []netip.Addr
	Search      []string // domain names without the final dot, lower case
	SolMaxRT    uint32   // seconds, 60..86400
}

// IAPD is an identity association for prefix delegation (RFC 9915 section 21.21). T1 and T2 are
// seconds as on the wire.
type IAPD struct {
	IAID     IAID
	T1, T2   uint32
	Status   Status
	Prefixes []IAPrefix
}

// IAPrefix is one prefix (RFC 9915 section 21.22), its lifetimes in seconds as on the wire.
// ::/n in a client's message wishes a length.
type IAPrefix struct {
	Preferred, Valid uint32
	Prefix           netip.Prefix // without host bits
	Status           Status
}

// Status is a Status Code option. Text comes from the network: it is cut to MaxStatusText
// octets and holds printable characters only.
type Status struct {
	Code StatusCode
	Text string
}

// String is the code's name and the server's words.
func (s Status) String() string {
	if s.Text == "" {
		return s.Code.String()
	}
	return s.Code.String() + ": " + s.Text
}

// MaxStatusText bounds what a server can put into our log with one message.
const MaxStatusText = 128

// Problem is one thing wrong with a message that could be read all the same: the option at fault was
// left out. Offset counts from the start of the message to the option's code.
type Problem struct {
	Option OptionCode
	Offset int
	Reason string
}

// Error makes a Problem an error, for logs.
func (p Problem) Error() string {
	return fmt.Sprintf("%s option at offset %d: %s", p.Option, p.Offset, p.Reason)
}

// maxProblems bounds the list that one hostile message can fill.
const maxProblems = 16

// ErrNotClientServer says that the octets are no client/server message: fewer than 4, a relay
// message, or a type that nobody defined ("MUST discard", RFC 9915 section 16).
var ErrNotClientServer = errors.New("not a DHCPv6 client/server message")

// ParseMessage reads a message option by option. A bad option is left out and named in the
// problems; only a header that cannot be read is an error. Nothing of b is kept.
//
// In messages of a server the rules for what a client receives apply: T1 > T2 loses the IA,
// preferred > valid, a bad length or a prefix that no host can be in loses the prefix.
func ParseMessage(b []byte) (Message, []Problem, error) {
	if len(b) < headerLen {
		return Message{}, nil, fmt.Errorf("%w: %d octets", ErrNotClientServer, len(b))
	}
	m := Message{Type: MessageType(b[0]), XID: binary.BigEndian.Uint32(b) & XIDMask}
	if m.Type < Solicit || m.Type > InformationRequest {
		return Message{}, nil, fmt.Errorf("%w: %s", ErrNotClientServer, m.Type)
	}
	p := parser{m: &m, fromServer: m.Type.fromServer()}
	p.walk(b[headerLen:], headerLen, p.topLevel)
	return m, p.problems, nil
}

// Append writes the message after b. What is written, ParseMessage reads back without problems,
// provided that DUIDs, names and prefixes are valid.
func (m Message) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(m.Type)<<24|m.XID&XIDMask)
	if m.ClientID != "" {
		b = appendOption(b, OptionClientID, []byte(m.ClientID))
	}
	if m.ServerID != "" {
		b = appendOption(b, OptionServerID, []byte(m.ServerID))
	}
	if !m.Type.fromServer() {
		b = appendOption(b, OptionElapsedTime, binary.BigEndian.AppendUint16(nil, m.ElapsedTime))
	}
	if len(m.ORO) > 0 {
		var v []byte
		for _, c := range m.ORO {
			v = binary.BigEndian.AppendUint16(v, uint16(c))
		}
		b = appendOption(b, OptionORO, v)
	}
	if m.Preference != 0 {
		b = appendOption(b, OptionPreference, []byte{m.Preference})
	}
	if m.RapidCommit {
		b = appendOption(b, OptionRapidCommit, nil)
	}
	b = m.Status.append(b)
	for _, ia := range m.IAPDs {
		b = appendOption(b, OptionIAPD, ia.body())
	}
	return m.appendConfiguration(b)
}

// appendConfiguration writes the options that say something about the network.
func (m Message) appendConfiguration(b []byte) []byte {
	if len(m.DNS) > 0 {
		var v []byte
		for _, a := range m.DNS {
			v = append(v, a.AsSlice()...)
		}
		b = appendOption(b, OptionDNSServers, v)
	}
	if len(m.Search) > 0 {
		var v []byte
		for _, n := range m.Search {
			v = appendName(v, n)
		}
		b = appendOption(b, OptionDomainList, v)
	}
	if m.SolMaxRT != 0 {
		b = appendOption(b, OptionSolMaxRT, binary.BigEndian.AppendUint32(nil, m.SolMaxRT))
	}
	return b
}

func (ia IAPD) body() []byte {
	v := binary.BigEndian.AppendUint32(nil, uint32(ia.IAID))
	v = binary.BigEndian.AppendUint32(v, ia.T1)
	v = binary.BigEndian.AppendUint32(v, ia.T2)
	for _, p := range ia.Prefixes {
		v = appendOption(v, OptionIAPrefix, p.body())
	}
	return ia.Status.append(v)
}

func (p IAPrefix) body() []byte {
	v := binary.BigEndian.AppendUint32(nil, p.Preferred)
	v = binary.BigEndian.AppendUint32(v, p.Valid)
	v = append(v, byte(p.Prefix.Bits()))
	a := p.Prefix.Addr().As16()
	return p.Status.append(append(v, a[:]...))
}

// append writes the option, or nothing when it would say what its absence says.
func (s Status) append(b []byte) []byte {
	if s == (Status{}) {
		return b
	}
	v := binary.BigEndian.AppendUint16(nil, uint16(s.Code))
	return appendOption(b, OptionStatusCode, append(v, s.Text...))
}

func appendOption(b []byte, c OptionCode, v []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(c))
	b = binary.BigEndian.AppendUint16(b, uint16(len(v)))
	return append(b, v...)
}
