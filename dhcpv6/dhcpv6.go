// SPDX-License-Identifier: MIT

// Package dhcpv6 holds what the DHCPv6 client and server machines share (RFC 9915): identifiers,
// validation and the option codecs that the library lacks.
//
// It must not know sockets, netlink or Router Advertisements. Start at DUID and ParseMessage.
package dhcpv6

import "encoding/hex"

// Ports of RFC 9915 section 7.2.
const (
	ClientPort = 546
	ServerPort = 547
)

// DUID is a DHCP Unique Identifier with its two type octets, 3 to 130 octets (RFC 9915 section 11.1).
// It is a string so that it compares with == and serves as a map key.
type DUID string

// String is lower-case hex, as other DHCPv6 software prints it.
func (d DUID) String() string { return hex.EncodeToString([]byte(d)) }

// IAID tells the identity associations of one client apart (RFC 9915 section 12).
type IAID uint32
