// SPDX-License-Identifier: MIT

//go:build !small

package status

import (
	"cmp"
	"fmt"
	"strings"
)

// textSites is how many sites the text form lists: a screen or three; all of them are in the JSON form.
const textSites = 100

// hub is what concerns all sites, then one line for each.
func (p *printer) hub(h Hub, sites []Site) {
	for _, x := range h.Pools {
		p.head("pool: %s", x.Prefix)
		p.field("leases", fmt.Sprint(x.Leases))
	}
	for _, x := range h.FormerPools {
		p.head("former pool: %s", x.Prefix)
		p.field("leases", fmt.Sprintf("%d, the last for another %s: have it routed until then", x.Leases, duration(x.ValidS)))
	}
	p.head("sites: %d, of them up: %d, leases: %d", len(sites), h.SitesUp, h.Leases)
	p.field("between sites", map[bool]string{true: "forwarded", false: "refused"}[h.SiteToSite])
	p.field("from outside", map[bool]string{true: "open", false: "answers only"}[h.FirewallOpen])
	p.field("dhcpv6", fmt.Sprintf("%d messages received, %d sent", h.Received, h.Sent))
	p.field("refused", counts(h.Dropped))
	if h.NDAnswered > 0 {
		p.field("neighbor solicitations answered", fmt.Sprint(h.NDAnswered))
	}
	p.field("leases cannot be saved", h.StoreError)
	for _, x := range h.Invitations {
		p.line("  invited: %s, for another %s", x.Name, duration(x.ExpiresS))
	}
	p.sites(sites)
}

func (p *printer) sites(sites []Site) {
	if len(sites) == 0 {
		return
	}
	rest := max(0, len(sites)-textSites)
	rows := [][]string{{"site", "state", "handshake", "endpoint", "received", "sent", "prefixes"}}
	for _, s := range sites[:len(sites)-rest] {
		handshake := "never"
		if s.HandshakeAgeS >= 0 {
			handshake = short(s.HandshakeAgeS) + " ago"
		}
		state := s.State
		if s.Flapping {
			state += ", key in use twice?"
		}
		var prefixes []string
		for _, l := range s.Leases {
			text := l.Prefix
			if l.State != "bound" {
				text += " (" + l.State + ")"
			}
			prefixes = append(prefixes, text)
		}
		rows = append(rows, []string{
			siteName(s), state, handshake, cmp.Or(s.Endpoint, "unknown"), octets(s.RxBytes), octets(s.TxBytes),
			cmp.Or(strings.Join(prefixes, " "), "none"),
		})
	}
	p.line("")
	p.table(rows)
	if rest > 0 {
		p.line("  (%d more in --json)", rest)
	}
}

// siteName is how people call a site: without a name by the beginning of its key, which tells it from others.
func siteName(s Site) string {
	const enough = 12
	if s.Name != "" || len(s.PublicKey) <= enough {
		return s.Name
	}
	return s.PublicKey[:enough] + "…"
}

// table prints rows whose columns are as wide as what is in them.
func (p *printer) table(rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i := range row {
			row[i] = clean(row[i])
			widths[i] = max(widths[i], len([]rune(row[i])))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString("  " + cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-len([]rune(cell))))
			}
		}
		p.line("%s", b.String())
	}
}

// short is a duration in its largest unit.
func short(s float64) string {
	switch {
	case s < 120:
		return fmt.Sprintf("%.0fs", s)
	case s < 2*3600:
		return fmt.Sprintf("%.0fm", s/60)
	case s < 2*86400:
		return fmt.Sprintf("%.0fh", s/3600)
	}
	return fmt.Sprintf("%.0fd", s/86400)
}
