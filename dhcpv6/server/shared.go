// SPDX-License-Identifier: MIT

package server

import (
	"crypto/hmac"
	"crypto/sha256"

	"oasis6/dhcpv6"
)

// What is the same in every DHCPv6 server is in this file: the hub's machine, hub/pd, stands on it too. Why that is
// another machine says docs/decisions/0016-hub-machine.md.

// Fault is what makes a server discard a message of a client, whatever it knows of the client (RFC 9915 section 16).
// The zero value is none.
type Fault uint8

// Faults of a message.
const (
	Valid Fault = iota
	NotOfClient
	NoClientID
	NoServerID
	ToAllServers
	ForOtherServer
	IAInInform
	Faults // how many there are
)

// String is what is counted under.
func (f Fault) String() string {
	return [Faults + 1]string{
		Valid:          "valid",
		NotOfClient:    "not a message of a client",
		NoClientID:     "no Client Identifier",
		NoServerID:     "no Server Identifier",
		ToAllServers:   "Server Identifier in a message to all servers",
		ForOtherServer: "for another server",
		IAInInform:     "IA in an Information-request",
	}[min(f, Faults)]
}

// ReadQuery reads a message of a client to the server with that DUID and makes the checks of RFC 9915 section 16.
// Garbage is found out before anything is allocated. Nothing of data is kept.
func ReadQuery(data []byte, us dhcpv6.DUID) (dhcpv6.Message, Fault) {
	if !dhcpv6.FromClient(data) {
		return dhcpv6.Message{}, NotOfClient // those of servers and relay agents, and unknown ones
	}
	m, _, err := dhcpv6.ParseMessage(data)
	if err != nil {
		return m, NotOfClient
	}
	return m, check(&m, us)
}

// check is about the identifiers that a message of the type must or must not have (RFC 9915 sections 16.2 to 16.12).
func check(m *dhcpv6.Message, us dhcpv6.DUID) Fault {
	inform := m.Type == dhcpv6.InformationRequest
	switch m.Type {
	case dhcpv6.Solicit, dhcpv6.Confirm, dhcpv6.Rebind:
		if m.ServerID != "" {
			return ToAllServers
		}
	case dhcpv6.Request, dhcpv6.Renew, dhcpv6.Release, dhcpv6.Decline:
		if m.ServerID == "" {
			return NoServerID
		}
	}
	switch {
	case m.ServerID != "" && m.ServerID != us:
		return ForOtherServer
	case !inform && m.ClientID == "":
		return NoClientID
	case inform && len(m.IAs) > 0:
		return IAInInform
	}
	return Valid
}

// RefreshTime is when a stateless client asks again, in seconds: as long as a host may prefer an address of a prefix that
// is not renewed. Nothing else tells such clients that the servers have moved with the prefix.
const RefreshTime uint32 = 2700

// Answer adds to a reply what the client asked for in its Option Request option (RFC 9915 section 21.7), and nothing else.
func (i *Info) Answer(q, r *dhcpv6.Message) {
	for _, c := range q.ORO {
		switch c {
		case dhcpv6.OptionDNSServers:
			r.DNS = i.DNS
		case dhcpv6.OptionDomainList:
			r.Search = i.Search
		case dhcpv6.OptionNTPServer:
			r.NTP = i.NTP
		case dhcpv6.OptionEncryptedDNS:
			r.EncryptedDNS = i.EncryptedDNS
		case dhcpv6.OptionCaptivePortal:
			r.CaptivePortal = i.CaptivePortal
		case dhcpv6.OptionRefreshTime:
			if q.Type == dhcpv6.InformationRequest {
				r.RefreshTime = RefreshTime
			}
		}
	}
}

// Same says that clients are told the same.
func (i *Info) Same(o *Info) bool { return i.wire() == o.wire() }

// wire is the configuration as octets, to compare it.
func (i *Info) wire() string {
	return string(dhcpv6.Message{DNS: i.DNS, Search: i.Search, NTP: i.NTP, EncryptedDNS: i.EncryptedDNS, CaptivePortal: i.CaptivePortal}.Append(nil))
}

// SetTimes gives all IAs of a message the same T1 and T2 (RFC 9915 section 21.4): 0.5 and 0.8 of the shortest preferred
// lifetime. Addresses that nobody should use any more do not count, and where there are no others, there is nothing to
// renew before their end.
func SetTimes(ias []dhcpv6.IA) {
	var preferred, valid uint32
	for _, ia := range ias {
		for _, p := range ia.Prefixes {
			preferred, valid = shorter(preferred, p.Preferred), shorter(valid, p.Valid)
		}
	}
	t1, t2 := preferred/2, preferred/5*4+preferred%5*4/5
	if preferred == 0 {
		t1, t2 = valid, valid
	}
	for i := range ias {
		ias[i].T1, ias[i].T2 = t1, t2
	}
}

// shorter is the shorter one of two lifetimes that are not 0.
func shorter(a, b uint32) uint32 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Refused is an IA with nothing but a status.
func Refused(ia *dhcpv6.IA, c dhcpv6.StatusCode) dhcpv6.IA {
	return dhcpv6.IA{Type: ia.Type, IAID: ia.IAID, Status: dhcpv6.Status{Code: c}}
}

// NoneLeft is the status of an IA of the type that nothing is left for.
func NoneLeft(t dhcpv6.IAType) dhcpv6.StatusCode {
	if t == dhcpv6.NA {
		return dhcpv6.NoAddrsAvail
	}
	return dhcpv6.NoPrefixAvail
}

// ReconfigureKey is the key of a client (RFC 9915 section 20.4.2): made of the server's secret and what the client is
// known by, it need not be kept.
func ReconfigureKey(secret [32]byte, client string) (k dhcpv6.ReconfigureKey) {
	h := hmac.New(sha256.New, secret[:])
	h.Write([]byte("oasis6 reconfigure key"))
	h.Write([]byte(client))
	copy(k[:], h.Sum(nil))
	return k
}
