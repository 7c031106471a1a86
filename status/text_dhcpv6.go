// SPDX-License-Identifier: MIT

package status

import (
	"fmt"
	"strings"
)

// detailed says whether there is a block for each IA, which shows its prefixes too. A lone IA_PD without an error of
// its own needs none: all of it stands in the blocks of the client and of its prefix.
func (d DHCPv6) detailed() bool {
	return len(d.IAs) > 1 || len(d.IAs) == 1 && (d.IAs[0].Type != "IA_PD" || d.IAs[0].LastError != "")
}

func (p *printer) dhcpv6(d DHCPv6) {
	p.head("dhcpv6: %s", stateWords(d.State))
	p.field("server", strings.TrimSuffix(d.Server+", "+d.ServerAddress, ", "))
	if d.held() && !d.Confirmed {
		// client.UnconfirmedLifetime
		p.field("lease", "not confirmed since the reboot: hosts are told of it for 10 minutes at a time")
	}
	p.next(d.Next, d.NextS)
	p.field("last error", d.LastError)
	if len(d.IAs) == 1 && !d.detailed() {
		a := d.IAs[0]
		p.field("iaid", fmt.Sprint(a.IAID))
		p.field("wish", a.Wish)
		for _, x := range a.Prefixes {
			p.field("excluded", x.Exclude)
		}
	}
	p.field("dns servers", strings.Join(d.DNS, ", "))
	p.field("search domains", strings.Join(d.Search, ", "))
	p.field("encrypted dns", strings.Join(d.EncryptedDNS, ", "))
	p.field("ntp servers", strings.Join(d.NTP, ", "))
	if d.Reconfigure {
		p.field("reconfigure", "the server may tell the box to ask again")
	}
	p.field("duid", d.DUID)
	refused := fmt.Sprintf("%d refused", d.Dropped)
	if d.LastRefused != "" {
		refused += ", the last: " + d.LastRefused
	}
	p.field("messages", fmt.Sprintf("%d sent, %d accepted, %s", d.Sent, d.Received, refused))
	if d.detailed() {
		for _, a := range d.IAs {
			p.ia(a)
		}
	}
}

// held says whether anything is bound.
func (d DHCPv6) held() bool {
	for _, a := range d.IAs {
		if len(a.Prefixes) > 0 {
			return true
		}
	}
	return false
}

// ia prints one IA, whole: whoever looks at one block need not know that all are asked for together.
func (p *printer) ia(a IA) {
	p.head("ia: %s %d", a.Type, a.IAID)
	p.field("state", stateWords(a.State))
	p.field("server", a.Server)
	name := "prefix"
	if a.Type == "IA_NA" {
		name = "address"
	}
	for _, x := range a.Prefixes {
		p.field(name, x.Prefix+", "+lifetimes(x.PreferredS, x.ValidS))
		p.field("excluded", x.Exclude)
	}
	p.field("wish", a.Wish)
	if len(a.Prefixes) > 0 {
		p.renew(a.T1S, a.T2S)
	}
	p.next(a.Next, a.NextS)
	p.field("last error", a.LastError)
}

func (p *printer) next(what string, s float64) {
	if what != "" && s >= 0 {
		p.field("next", what+" in "+duration(s))
	}
}

func (p *printer) renew(t1, t2 float64) {
	p.field("renew", due(t1)+", rebind "+due(t2))
}

// due is when a time comes, or that it has come.
func due(s float64) string {
	switch {
	case s < 0:
		return "never"
	case s == 0:
		return "due"
	}
	return "in " + duration(s)
}

// stateWords is a state of the client and what it means.
func stateWords(s string) string {
	means := ""
	switch s {
	case "stopped":
		means = "waits for the tunnel"
	case "soliciting":
		means = "looks for a server"
	case "requesting":
		means = "asks the server for a lease"
	case "renewing":
		means = "asks its server to extend the lease"
	case "rebinding":
		means = "asks any server to confirm or extend the lease"
	case "confirming":
		means = "asks whether the address is still right here"
	case "declining":
		means = "gives an address back that another node has"
	case "informing":
		means = "asks for DNS servers and the like"
	case "informed":
		means = "no lease is wanted, DNS servers and the like are known"
	case "releasing":
		means = "gives the lease back"
	case "none":
		means = "the server has given nothing for it"
	default:
		return s
	}
	return s + ": " + means
}
