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
	IAs         []IA
	ElapsedTime uint16       // hundredths of a second; always written by a client, never by a server
	ORO         []OptionCode // Option Request
	Preference  uint8        // "considered to have a preference value of 0" when absent
	RapidCommit bool
	Status      Status
	// ReconfigureMessage is what a Reconfigure asks for: Renew, Rebind or InformationRequest.
	ReconfigureMessage MessageType
	ReconfigureAccept  bool
	Auth               *Auth
	DNS                []netip.Addr
	Search             []string // domain names without the final dot, lower case
	NTP                []NTPServer
	EncryptedDNS       []EncryptedDNS
	CaptivePortal      string // URI (RFC 8910), printable ASCII, at most MaxCaptivePortal octets
	SolMaxRT           uint32 // seconds, 60..86400
	InfMaxRT           uint32 // seconds, 60..86400
	RefreshTime        uint32 // Information Refresh Time: seconds as on the wire, but 600 at least
}

// IAType is what a server binds to an identity association.
type IAType uint8

const (
	PD IAType = iota // prefixes: IA_PD (RFC 9915 section 21.21)
	NA               // addresses: IA_NA (RFC 9915 section 21.4)
)

// String is the name of the option.
func (t IAType) String() string {
	if t == NA {
		return "IA_NA"
	}
	return "IA_PD"
}

// IA is an identity association for prefix delegation or for non-temporary addresses. T1 and T2 are
// seconds as on the wire.
type IA struct {
	Type     IAType
	IAID     IAID // IA_NA and IA_PD number theirs apart (RFC 9915 section 12)
	T1, T2   uint32
	Status   Status
	Prefixes []IAPrefix
}

// IAPrefix is one prefix (RFC 9915 section 21.22), or, in an IA_NA, one address as a /128 (section
// 21.6). Lifetimes are seconds as on the wire. ::/n in a client's IA_PD wishes a length.
type IAPrefix struct {
	Preferred, Valid uint32
	Prefix           netip.Prefix // without host bits
	// Exclude is the part of Prefix that no LAN may have: the link to the server is numbered from it
	// (RFC 6603). The zero value excludes nothing.
	Exclude netip.Prefix
	Status  Status
}

// Auth is an Authentication option (RFC 9915 section 21.11). Info is a copy.
type Auth struct {
	Protocol, Algorithm, RDM uint8
	Replay                   uint64
	Info                     []byte
}

// NTPServer is one server of an NTP Server option (RFC 5908): an address, unicast or multicast, or a
// name without the final dot.
type NTPServer struct {
	Addr netip.Addr
	Name string
}

// EncryptedDNS is one resolver of OPTION_V6_DNR (RFC 9463 section 4.1). Without addresses it is in ADN-only
// mode (section 3.1.6): Params is then empty.
type EncryptedDNS struct {
	Priority uint16
	Name     string // authentication domain name without the final dot, lower case
	Addrs    []netip.Addr
	Params   string // Service Parameters (RFC 9460 section 2.2) as on the wire: whole and in order, not looked into
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
// preferred > valid, a bad length or a prefix that no host can be in loses the prefix or address.
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
	for _, ia := range m.IAs {
		b = ia.append(b)
	}
	return m.appendConfiguration(m.appendReconfigure(b))
}

// appendConfiguration writes the options that say something about the network.
func (m Message) appendConfiguration(b []byte) []byte {
	if len(m.DNS) > 0 {
		b = appendOption(b, OptionDNSServers, addrOctets(m.DNS))
	}
	if len(m.Search) > 0 {
		var v []byte
		for _, n := range m.Search {
			v = appendName(v, n)
		}
		b = appendOption(b, OptionDomainList, v)
	}
	for _, s := range m.NTP {
		b = s.append(b)
	}
	for _, e := range m.EncryptedDNS {
		b = e.append(b)
	}
	if ValidCaptivePortal(m.CaptivePortal) {
		b = appendOption(b, OptionCaptivePortal, []byte(m.CaptivePortal))
	}
	b = appendSeconds(b, OptionRefreshTime, m.RefreshTime)
	b = appendSeconds(b, OptionSolMaxRT, m.SolMaxRT)
	return appendSeconds(b, OptionInfMaxRT, m.InfMaxRT)
}

// appendSeconds writes the option, or nothing for 0, which none of them can say.
func appendSeconds(b []byte, c OptionCode, s uint32) []byte {
	if s == 0 {
		return b
	}
	return appendOption(b, c, binary.BigEndian.AppendUint32(nil, s))
}

func addrOctets(addrs []netip.Addr) (v []byte) {
	for _, a := range addrs {
		v = append(v, a.AsSlice()...)
	}
	return v
}

// append writes the option, or nothing when it would say what its absence says.
func (s Status) append(b []byte) []byte {
	if s == (Status{}) {
		return b
	}
	v := binary.BigEndian.AppendUint16(nil, uint16(s.Code))
	return appendOption(b, OptionStatusCode, append(v, s.Text...))
}

// appendOption stays out of line for its size, as problem does.
//
//go:noinline
func appendOption(b []byte, c OptionCode, v []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(c))
	b = binary.BigEndian.AppendUint16(b, uint16(len(v)))
	return append(b, v...)
}
