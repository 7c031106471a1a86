// SPDX-License-Identifier: MIT

// Package dhcpv6 holds what the DHCPv6 client and server machines share (RFC 9915): identifiers,
// validation and the codec of the messages and options that a router needs of its uplink.
//
// The codec is our own: each option is read by itself, so that one bad option never costs the
// message, and nothing of 0.3 MB of other options is linked in. It must not know sockets, netlink
// or Router Advertisements. Start at DUID and ParseMessage.
package dhcpv6

import "strconv"

// Ports of RFC 9915 section 7.2.
const (
	ClientPort = 546
	ServerPort = 547
)

// MessageType is the first octet of a message (RFC 9915 section 7.3).
type MessageType uint8

const (
	Solicit            MessageType = 1
	Advertise          MessageType = 2
	Request            MessageType = 3
	Confirm            MessageType = 4
	Renew              MessageType = 5
	Rebind             MessageType = 6
	Reply              MessageType = 7
	Release            MessageType = 8
	Decline            MessageType = 9
	Reconfigure        MessageType = 10
	InformationRequest MessageType = 11
	RelayForward       MessageType = 12
	RelayReply         MessageType = 13
)

// String is the name in the RFC.
func (t MessageType) String() string {
	return name([]string{Solicit: "Solicit", Advertise: "Advertise", Request: "Request", Confirm: "Confirm",
		Renew: "Renew", Rebind: "Rebind", Reply: "Reply", Release: "Release", Decline: "Decline",
		Reconfigure: "Reconfigure", InformationRequest: "Information-request",
		RelayForward: "Relay-forward", RelayReply: "Relay-reply"}, int(t), "message")
}

// FromClient says whether a datagram begins as a message of a client: for an edge that has to choose in a flood.
func FromClient(b []byte) bool {
	if len(b) < headerLen {
		return false
	}
	t := MessageType(b[0])
	return t >= Solicit && t <= InformationRequest && !t.fromServer()
}

// fromServer says that the sender is a server, so that the rules for what a client receives apply.
func (t MessageType) fromServer() bool { return t == Advertise || t == Reply || t == Reconfigure }

// OptionCode tells options apart (RFC 9915 section 21, RFC 3646).
type OptionCode uint16

const (
	OptionClientID           OptionCode = 1
	OptionServerID           OptionCode = 2
	OptionIANA               OptionCode = 3
	OptionIAAddr             OptionCode = 5
	OptionORO                OptionCode = 6
	OptionPreference         OptionCode = 7
	OptionElapsedTime        OptionCode = 8
	OptionAuth               OptionCode = 11
	OptionStatusCode         OptionCode = 13
	OptionRapidCommit        OptionCode = 14
	OptionReconfigureMessage OptionCode = 19
	OptionReconfigureAccept  OptionCode = 20
	OptionDNSServers         OptionCode = 23 // RFC 3646 section 3
	OptionDomainList         OptionCode = 24 // RFC 3646 section 4
	OptionIAPD               OptionCode = 25
	OptionIAPrefix           OptionCode = 26
	OptionRefreshTime        OptionCode = 32
	OptionNTPServer          OptionCode = 56 // RFC 5908
	OptionPDExclude          OptionCode = 67 // RFC 6603
	OptionSolMaxRT           OptionCode = 82
	OptionInfMaxRT           OptionCode = 83
	OptionCaptivePortal      OptionCode = 103 // RFC 8910 section 2.2
	OptionEncryptedDNS       OptionCode = 144 // OPTION_V6_DNR, RFC 9463 section 4
)

// String is the name in the RFC, a number for options we do not know.
func (c OptionCode) String() string {
	switch c {
	case OptionClientID:
		return "Client Identifier"
	case OptionServerID:
		return "Server Identifier"
	case OptionIANA:
		return "IA_NA"
	case OptionIAAddr:
		return "IA Address"
	case OptionORO:
		return "Option Request"
	case OptionPreference:
		return "Preference"
	case OptionElapsedTime:
		return "Elapsed Time"
	case OptionAuth:
		return "Authentication"
	case OptionStatusCode:
		return "Status Code"
	case OptionRapidCommit:
		return "Rapid Commit"
	case OptionReconfigureMessage:
		return "Reconfigure Message"
	case OptionReconfigureAccept:
		return "Reconfigure Accept"
	case OptionDNSServers:
		return "DNS Recursive Name Server"
	case OptionDomainList:
		return "Domain Search List"
	case OptionIAPD:
		return "IA_PD"
	case OptionIAPrefix:
		return "IA Prefix"
	case OptionRefreshTime:
		return "Information Refresh Time"
	case OptionNTPServer:
		return "NTP Server"
	case OptionPDExclude:
		return "Prefix Exclude"
	case OptionSolMaxRT:
		return "SOL_MAX_RT"
	case OptionInfMaxRT:
		return "INF_MAX_RT"
	case OptionCaptivePortal:
		return "Captive Portal"
	case OptionEncryptedDNS:
		return "Encrypted DNS"
	}
	return "option " + strconv.Itoa(int(c))
}

// StatusCode is the result of an operation (RFC 9915 section 21.13). No Status Code option means Success.
type StatusCode uint16

const (
	Success       StatusCode = 0
	UnspecFail    StatusCode = 1
	NoAddrsAvail  StatusCode = 2
	NoBinding     StatusCode = 3
	NotOnLink     StatusCode = 4
	UseMulticast  StatusCode = 5 // obsolete
	NoPrefixAvail StatusCode = 6
)

// String is the name in the RFC.
func (s StatusCode) String() string {
	return name([]string{Success: "Success", UnspecFail: "UnspecFail", NoAddrsAvail: "NoAddrsAvail",
		NoBinding: "NoBinding", NotOnLink: "NotOnLink", UseMulticast: "UseMulticast", NoPrefixAvail: "NoPrefixAvail"}, int(s), "status")
}

// Limits of the SOL_MAX_RT and INF_MAX_RT options in seconds (RFC 9915 sections 21.24 and 21.25).
const (
	MinMaxRT uint32 = 60
	MaxMaxRT uint32 = 86400
)

// Refresh times in seconds (RFC 9915 section 21.23): IRT_DEFAULT where a Reply to an Information-request
// has no such option, IRT_MINIMUM where it has a smaller one.
const (
	DefaultRefreshTime uint32 = 86400
	MinRefreshTime     uint32 = 600
)
