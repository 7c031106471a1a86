// SPDX-License-Identifier: MIT

// Package config is the configuration file: wg-quick's format with the sections that the box adds.
// It parses with line numbers, fills defaults, checks, and converts wg-quick files.
//
// A file goes through two forms. The text form (raw.go) has one field per key, each with its line,
// nil where the file says nothing. The validated form (Config) is typed, with defaults filled in.
// One table of keys per section says what exists, what is dropped and what is refused.
//
// It must not know sockets or the kernel. Start at Parse and Load.
package config

import (
	"net/netip"
	"time"

	"oasis6/internal/wgkey"
)

// Config is the validated form: typed, defaults filled in.
type Config struct {
	Interface Interface
	Peers     []Peer
	Prefix    Prefix
	LANs      []LAN
	Router    Router
}

// Interface is the tunnel's own end.
type Interface struct {
	PrivateKey     wgkey.Private  // zero until the key file has been read
	PrivateKeyFile string         // Load makes it relative to the config's folder, and a key in it where asked
	Name           string         // default oasis0
	Addresses      []netip.Prefix // host bits kept; never link-local
	LinkLocal      netip.Addr     // from an Address in fe80::/10; zero: derived from the key
	ListenPort     uint16         // 0: any
	FwMark         uint32         // 0: none
	MTU            int            // 0: from the path to the endpoint
	DNS            []netip.Addr
	Search         []string // names in DNS
}

// Peer is the hub.
type Peer struct {
	Name         string
	PublicKey    wgkey.Public
	PresharedKey wgkey.Preshared
	Endpoint     string         // host:port; host may be a name; empty: the peer comes to us
	AllowedIPs   []netip.Prefix // IPv6, masked, without duplicates, never empty
	Keepalive    time.Duration  // 0: off; 25 s if the file does not say and there is an Endpoint
	LinkLocal    netip.Addr     // zero: derived from its key
}

// Source is where the delegation comes from.
type Source uint8

const (
	DHCPv6 Source = iota // asked for through the tunnel
	Static               // stands in the file
)

// String is the word in the file.
func (s Source) String() string {
	if s == Static {
		return "static"
	}
	return "dhcpv6"
}

// RequestAddress says whether an address for the tunnel interface is asked for by DHCPv6.
type RequestAddress uint8

const (
	AddressAuto RequestAddress = iota // when Router Advertisements on the tunnel have the M flag (RFC 7084 WAA-6)
	AddressYes
	AddressNo
)

// String is the word in the file.
func (a RequestAddress) String() string { return [...]string{"auto", "yes", "no"}[a] }

// Prefix is the delegation.
type Prefix struct {
	Source Source
	Static netip.Prefix // masked; valid only for Static
	// Hints are the delegations to ask for, each a wished length (::/56) or a wished prefix; empty: one, and
	// nothing is wished. Their order numbers the IAIDs.
	Hints          []netip.Prefix
	RequestAddress RequestAddress
	// ULA is the site's own /48 of unique local addresses (RFC 4193): ULAAuto makes one and keeps it.
	ULA       ULAMode
	ULAPrefix netip.Prefix // only for ULAStatic
}

// ULAMode says whether LANs have unique local addresses too (RFC 7084 ULA-1 to ULA-3).
type ULAMode uint8

const (
	ULAOff    ULAMode = iota
	ULAAuto           // a /48 made of the box's key once, and kept in the state folder
	ULAStatic         // Prefix.ULAPrefix
)

// MaxHints bounds the delegations that are asked for.
const MaxHints = 7

// DHCPv6Mode is what a LAN's DHCPv6 server gives hosts.
type DHCPv6Mode uint8

const (
	DHCPv6Stateless DHCPv6Mode = iota // configuration: O flag
	DHCPv6Stateful                    // addresses too: M and O flag
	DHCPv6Off                         // no server
)

// String is the word in the file.
func (m DHCPv6Mode) String() string { return [...]string{"stateless", "stateful", "off"}[m] }

// RDNSSMode says which DNS servers hosts are told.
type RDNSSMode uint8

const (
	// RDNSSAuto: configured, then learned by DHCPv6, then by RA on the tunnel, then the box if something on it
	// answers DNS, then off.
	RDNSSAuto      RDNSSMode = iota
	RDNSSSelf                // the box's own address on the LAN
	RDNSSOff                 // none
	RDNSSAddresses           // LAN.RDNSS
)

// LAN is one network behind the box. NewLAN has the defaults, the zero value has not.
type LAN struct {
	Interface string
	Subnet    uint64 // which /64 of the delegation; distinct per LAN
	AnySubnet bool   // the file does not say which: Subnet is a proposal
	RDNSSMode RDNSSMode
	RDNSS     []netip.Addr // only for RDNSSAddresses
	DNSSL     []string     // empty: Interface.Search, then learned
	// Preference is the default router preference (RFC 4191 section 2.1): "low", "medium", "high".
	Preference string
	DHCPv6     DHCPv6Mode
	// Delegate: routers behind the LAN get prefixes (IA_PD, RFC 9818). Never with DHCPv6Off.
	Delegate bool
	// PREF64 is the NAT64 prefix that hosts are told (RFC 8781), of a length that RFC 6052 has; zero: none.
	PREF64        netip.Prefix
	CaptivePortal string // URI of the captive portal API (RFC 8910); empty: none
	// OnLink and Autonomous are the flags L and A of the LAN's prefixes (RFC 4861 section 4.6.2, RFC 7084 L-7). Without L
	// hosts begin to talk to each other through the box; without A they make no addresses.
	OnLink, Autonomous bool
}

// NewLAN is a LAN with the defaults of all that the file does not say.
func NewLAN(iface string, subnet uint64) LAN {
	return LAN{Interface: iface, Subnet: subnet, Preference: "medium", Delegate: true, OnLink: true, Autonomous: true}
}

// CaptivePortalNone is the URI that says that there is no captive portal (RFC 8910 section 2).
const CaptivePortalNone = "urn:ietf:params:capport:unrestricted"

// Router is what concerns the whole box.
type Router struct {
	FirewallOpen bool // Firewall = open
	Dataplane    Dataplane
}

// Dataplane is what forwards the packets.
type Dataplane uint8

// Values of Dataplane.
const (
	DataplaneAuto      Dataplane = iota // the kernel, unless it has no IPv6
	DataplaneKernel                     // the Linux kernel
	DataplaneUserspace                  // this process
)

// Name is the value in the file.
func (d Dataplane) Name() string {
	switch d {
	case DataplaneKernel:
		return "kernel"
	case DataplaneUserspace:
		return "userspace"
	}
	return "auto"
}
