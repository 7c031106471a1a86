// SPDX-License-Identifier: MIT

package forward

import (
	"fmt"
	"sync/atomic"
)

// Reason is why a packet was dropped or answered. Those of the firewall are the rules of table ip6 oasis6, in the same words.
type Reason uint8

const (
	NoReason Reason = iota
	Malformed
	UnknownInterface
	BadAddress
	HopByHopOption
	NotForwarding
	HopLimitExceeded
	NoRoute
	UnreachableRoute
	LinkLocalDestination
	BeyondScope
	TooBig
	NoNeighbor

	// Of a box.
	Stale
	ToStale
	AnothersSource
	AnothersRouter
	BackToRouter
	LocalFromOutside
	ToLocalFromOutside
	LocalNotOutside
	ToLocalNotOutside
	OursFromOutside
	AroundTheTunnel
	NotFromLAN
	SourceNotOurs
	TunnelDead
	ULAIntoTunnel
	ULAOutOfTunnel
	ToLANAroundTunnel
	NoTransit
	NobodySeen
	Unsolicited
	Forged
	NotOfThisLink
	TooManySolicits
	TooManyND
	ScanFromLAN
	NoServiceOutside

	// Of a hub.
	NeighborDiscovery
	ForgedSite
	NoSite
	NotOfASite
	SiteToSite

	reasons // how many there are
)

var reasonTexts = [reasons]string{
	NoReason:             "no reason",
	Malformed:            "malformed",
	UnknownInterface:     "unknown interface",
	BadAddress:           "an address that no packet has",
	HopByHopOption:       "a hop-by-hop option",
	NotForwarding:        "forwarding is off",
	HopLimitExceeded:     "hop limit exceeded",
	NoRoute:              "no route",
	UnreachableRoute:     "unreachable route",
	LinkLocalDestination: "to a link-local address",
	BeyondScope:          "link-local source beyond its link",
	TooBig:               "too big",
	NoNeighbor:           "no neighbor answers",
	Stale:                "stale, RFC 7084 L-14",
	ToStale:              "to a stale prefix",
	AnothersSource:       "another's source, RFC 7084 S-2",
	AnothersRouter:       "a router's source by another node, RFC 8987",
	BackToRouter:         "a router's own prefix would go back to it, RFC 8987",
	LocalFromOutside:     "local source from outside, RFC 7084 ULA-4",
	ToLocalFromOutside:   "to a local prefix from outside, RFC 7084 ULA-4",
	LocalNotOutside:      "local source, not outside, RFC 7084 ULA-4",
	ToLocalNotOutside:    "to a local prefix, not outside, RFC 7084 ULA-4",
	OursFromOutside:      "our own source from outside",
	AroundTheTunnel:      "only by the tunnel, never around it",
	NotFromLAN:           "not from a LAN",
	SourceNotOurs:        "source not ours, RFC 7084 S-2 and L-14",
	TunnelDead:           "the tunnel is dead",
	ULAIntoTunnel:        "ULA into the tunnel, RFC 7084 ULA-4",
	ULAOutOfTunnel:       "ULA out of the tunnel, RFC 7084 ULA-4",
	ToLANAroundTunnel:    "to the LAN around the tunnel",
	NoTransit:            "no transit",
	NobodySeen:           "nobody seen there, RFC 6583",
	Unsolicited:          "unsolicited",
	Forged:               "a LAN's source by another way, forged",
	NotOfThisLink:        "not of this link",
	TooManySolicits:      "too many solicitations",
	TooManyND:            "too much Neighbor Discovery of one station",
	ScanFromLAN:          "nobody seen there, asked for from a LAN, RFC 6583",
	NoServiceOutside:     "no services outside",
	NeighborDiscovery:    "neighbor discovery ends at its link",
	ForgedSite:           "a site's source by another way, forged",
	NoSite:               "source of no site",
	NotOfASite:           "source that no site has",
	SiteToSite:           "site to site",
}

func (r Reason) String() string {
	if r < reasons {
		return reasonTexts[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// counters count packets by what became of them.
type counters struct {
	by      [reasons]atomic.Uint64
	limited atomic.Uint64
}

func (c *counters) add(r Reason) { c.by[r].Add(1) }

// Stats are counted since New.
type Stats struct {
	Flows int // that the firewall knows now, those that are over and not yet forgotten included
	Known int // addresses of LAN hosts that packets from the tunnel reach without limit
	// Refused are the packets that were not sent on, by reason in words, whether they were answered or not.
	Refused map[string]uint64
	// Silent are those of them whose error was over the limit (RFC 4443 section 2.4 f).
	Silent uint64
}

// Refused is how many packets were not sent on for one reason.
func (f *Forwarder) Refused(r Reason) uint64 {
	if r >= reasons {
		return 0
	}
	return f.count.by[r].Load()
}

// Stats may be called at any time.
func (f *Forwarder) Stats() Stats {
	s := Stats{Flows: f.flows.size(), Known: f.seen.size(), Refused: map[string]uint64{}, Silent: f.count.limited.Load()}
	for r := range reasons {
		if n := f.count.by[r].Load(); n > 0 {
			s.Refused[r.String()] = n
		}
	}
	return s
}
