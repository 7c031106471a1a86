// SPDX-License-Identifier: MIT

package status

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// textEvents is how many of the last events the text form shows: they fit under the rest on one
// screen; all of them are in the JSON form.
const textEvents = 20

// Text is the form for people: the summary, then one block per thing, the tunnel as wg show
// prints it. Whatever came from the network is printed without control characters.
func Text(s Snapshot) string {
	p := &printer{}
	p.line("%s", s.Summary)
	p.problems(s.Problems)
	p.tunnel(s)
	for _, x := range s.Prefixes {
		if x.Prefix == "" || x.Source != "dhcpv6" || s.DHCPv6 == nil || !s.DHCPv6.detailed() {
			p.prefix(x)
		}
	}
	if s.DHCPv6 != nil {
		p.dhcpv6(*s.DHCPv6)
	}
	for _, l := range s.LANs {
		p.lan(l)
	}
	if s.Hub != nil {
		p.hub(*s.Hub, s.Sites)
	}
	if hasBuild && forwards(s.Build) {
		p.forwarding(s.Build)
		s.Neighbors.Most = 0 // of a table in which who was not heard for longest gives way: there is nothing to be done
	}
	p.neighbors(s.Neighbors)
	p.events(s.Events)
	return p.b.String()
}

type printer struct{ b strings.Builder }

func (p *printer) line(format string, args ...any) {
	p.b.WriteString(clean(fmt.Sprintf(format, args...)))
	p.b.WriteByte('\n')
}

// head begins a block.
func (p *printer) head(format string, args ...any) {
	p.b.WriteByte('\n')
	p.line(format, args...)
}

// field prints one line of a block, none for an empty value.
func (p *printer) field(name, value string) {
	if value != "" {
		p.line("  %s: %s", name, value)
	}
}

func (p *printer) problems(problems []string) {
	if len(problems) == 0 {
		return
	}
	p.head("problems:")
	for _, x := range problems {
		p.line("  %s", x)
	}
}

func (p *printer) tunnel(s Snapshot) {
	t := s.Tunnel
	p.head("interface: %s", t.Interface)
	p.field("public key", t.PublicKey)
	p.field("link-local", t.LinkLocal)
	if t.MTU != 0 {
		p.field("mtu", fmt.Sprint(t.MTU))
	}
	p.field("state", t.State)
	if hasBuild {
		p.field("data plane", s.dataplane())
	}
	p.field("oasis6", fmt.Sprintf("%s, %s for %s", s.Version, s.Role, duration(s.UptimeS)))
	for _, x := range t.Peers {
		p.head("peer: %s", x.PublicKey)
		p.field("name", x.Name)
		p.field("endpoint", x.Endpoint)
		p.field("carrier", x.Carrier)
		if x.HandshakeAgeS < 0 {
			p.field("latest handshake", "never")
		} else {
			p.field("latest handshake", duration(x.HandshakeAgeS)+" ago")
		}
		p.field("transfer", fmt.Sprintf("%s received, %s sent", octets(x.RxBytes), octets(x.TxBytes)))
	}
}

func (p *printer) prefix(x Prefix) {
	if x.Prefix == "" {
		p.head("prefix: none yet")
	} else {
		p.head("prefix: %s", x.Prefix)
	}
	source := x.Source
	if x.Server != "" {
		source += ", server " + x.Server
	}
	p.field("source", source)
	p.field("state", x.State)
	if x.State == "soliciting" || x.State == "requesting" {
		return
	}
	p.field("lifetimes", lifetimes(x.PreferredS, x.ValidS))
	if x.Source == "dhcpv6" && x.State != "stale" {
		p.renew(x.T1S, x.T2S)
	}
}

func (p *printer) events(events []Event) {
	if len(events) == 0 {
		return
	}
	p.head("events:")
	if n := len(events) - textEvents; n > 0 {
		p.line("  (%d earlier ones in --json)", n)
		events = events[n:]
	}
	for _, e := range events {
		s := fmt.Sprintf("  %s %-5s %s", e.At.UTC().Format(time.RFC3339), e.Level, e.What)
		if e.Detail != "" {
			s += ": " + e.Detail
		}
		if e.Count > 1 {
			s += fmt.Sprintf(" (%d times)", e.Count)
		}
		p.line("%s", s)
	}
}

// clean replaces what could move a terminal's cursor or change its colours: names of search
// domains and the like come from hosts we do not know. Several errors joined into one are a list.
func clean(s string) string {
	s = strings.ReplaceAll(s, "\n", "; ")
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, s)
}

func counts(m map[string]uint64) string {
	var out []string
	for k, n := range m {
		if n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, k))
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func lifetimes(preferred, valid float64) string {
	return fmt.Sprintf("preferred for %s, valid for %s", duration(preferred), duration(valid))
}

// duration is in the words of wg show: the units from days down, zero ones left out.
func duration(s float64) string {
	if s < 0 {
		return "ever"
	}
	const maxSeconds = 1e12 // beyond it the conversion of a float is not defined
	n := int64(min(s, maxSeconds))
	if n == 0 {
		return "0 seconds"
	}
	var out []string
	for _, u := range []struct {
		name string
		size int64
	}{{"day", 86400}, {"hour", 3600}, {"minute", 60}, {"second", 1}} {
		k := n / u.size
		n %= u.size
		switch {
		case k == 1:
			out = append(out, "1 "+u.name)
		case k > 1:
			out = append(out, fmt.Sprintf("%d %ss", k, u.name))
		}
	}
	return strings.Join(out, ", ")
}

// octets is a size as wg show prints it.
func octets(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v := float64(n)
	unit := ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB"} {
		v /= 1024
		if v < 1024 {
			break
		}
	}
	return fmt.Sprintf("%.2f %s", v, unit)
}
