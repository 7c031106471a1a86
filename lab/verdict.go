// SPDX-License-Identifier: MIT

package lab

import (
	"fmt"
	"time"

	"oasis6/dataplane/netstack"
	"oasis6/dataplane/netstack/forward"
	"oasis6/internal/ip6pkt"
	"oasis6/lab/packet"
	"oasis6/ra"
)

// explainer is netstack.Options.Explain of a node: it puts in words what the product's forwarding decided.
func (w *World) explainer(node, tunnel string) func(netstack.Decision) {
	return func(d netstack.Decision) {
		text, rfc := verdictText(d, tunnel)
		w.rec.decided(node, w.Engine.Now(), d.Packet, text, rfc)
	}
}

// verdictText says what became of a packet and why.
func verdictText(d netstack.Decision, tunnel string) (text, rfc string) {
	switch v := d.Verdict; v.Action {
	case forward.Forward:
		return forwardText(d, tunnel)
	case forward.Local:
		return localText(d.Packet)
	case forward.Answer:
		why := refusalOf(v.Reason)
		return "Not forwarded: " + why.text + ". The sender is told: " + packet.SummaryIP(v.Packet, nil), both(why.rfc, errorRFC(v.Packet))
	default:
		why := refusalOf(v.Reason)
		text, rfc = "Dropped: "+why.text, why.rfc
		if why.answered {
			text, rfc = text+". No error is sent: they are limited, and some packets get none", both(rfc, "RFC 4443 section 2.4")
		}
		return text, rfc
	}
}

func both(a, b string) string {
	switch {
	case a == "":
		return b
	case b == "" || a == b:
		return a
	}
	return a + ", " + b
}

// forwardText is for what is sent on; its hop limit has changed already.
func forwardText(d netstack.Decision, tunnel string) (text, rfc string) {
	hops := d.Packet[7]
	text, rfc = fmt.Sprintf("Hop limit %d → %d. ", hops+1, hops), "RFC 8200 section 3"
	switch next := d.Verdict.NextHop; {
	case d.Out == tunnel:
		text += "The route leads into the tunnel, " + d.Out
	case next == dest6(d.Packet):
		text += "The destination is on the link of " + d.Out + ": to itself"
	default:
		text += "The route leads to the next hop " + next.String() + " on " + d.Out
	}
	if d.Verdict.Redirect != nil {
		return text + ". The sender is on the same link, so a Redirect tells it of this next hop", both(rfc, "RFC 4861 section 8.2")
	}
	return text, rfc
}

// localText is for what the node's own stack gets.
func localText(pkt []byte) (text, rfc string) {
	text = "For an address of this node: its own stack takes it"
	if dest6(pkt).IsMulticast() {
		text = "For a group: its own stack looks whether it is meant"
	}
	m, err := ip6pkt.ParseICMPv6(pkt)
	if err != nil || len(m.Body) == 0 {
		return text, ""
	}
	switch m.Body[0] {
	case ip6pkt.TypeEchoRequest:
		return text + " and answers the echo", "RFC 4443 section 4.2"
	case ra.TypeRouterSolicitation:
		return "A host asks for routers: it gets an advertisement, by unicast or with the next one for all", "RFC 4861 section 6.2.6"
	case ra.TypeRouterAdvertisement:
		return "Another router speaks: what it says is compared, and not believed", "RFC 4861 section 6.2.7"
	case typeNS:
		return text + ". Whose address it is answers; the sender's may be learnt from it", "RFC 4861 section 7.2.3"
	case typeNA:
		return text + ". An address that was asked for gets its MAC from it", "RFC 4861 section 7.2.5"
	}
	return text, ""
}

// errorRFC is where an answer is described that was sent in place of a packet.
func errorRFC(answer []byte) string {
	m, err := ip6pkt.ParseICMPv6(answer)
	if err != nil || len(m.Body) == 0 {
		return "RFC 9293 section 3.10.7.1" // a reset
	}
	return fmt.Sprintf("RFC 4443 section 3.%d", m.Body[0])
}

// refusal is why a packet does not go on. answered: its sender may get an error.
type refusal struct {
	text, rfc string
	answered  bool
}

func refusalOf(r forward.Reason) refusal {
	if why, ok := refusals[r]; ok {
		return why
	}
	return refusal{text: r.String()}
}

const (
	bcp38       = "RFC 2827 (BCP 38)"
	notOurs     = "RFC 7084 S-2, BCP 38"
	siteBorder  = "RFC 7084 ULA-4"
	ownFromAway = "RFC 6092 REC-5"
)

// refusals has all reasons; it is read only.
var refusals = map[forward.Reason]refusal{
	forward.Malformed:            {"it is no whole IPv6 packet", "RFC 8200 section 3", false},
	forward.UnknownInterface:     {"its interface has just gone", "", false},
	forward.BadAddress:           {"no packet on a link may have such an address", "RFC 4291 section 2.5", false},
	forward.HopByHopOption:       {"it has a hop-by-hop option that says so where it is not known", "RFC 8200 section 4.2", true},
	forward.NotForwarding:        {"this node does not forward now", "", false},
	forward.HopLimitExceeded:     {"its hop limit is used up", "RFC 8200 section 3", true},
	forward.NoRoute:              {"no route leads there", "", true},
	forward.UnreachableRoute:     {"nobody has this part of the delegated prefix, and on the default route it would loop", "RFC 7084 WPD-5", true},
	forward.LinkLocalDestination: {"link-local addresses are never forwarded", "RFC 4291 section 2.5.6", false},
	forward.BeyondScope:          {"its source is link-local, and that link ends here", "RFC 4291 section 2.5.6", true},
	forward.TooBig:               {"it is larger than the next link carries, and no router cuts an IPv6 packet", "RFC 8200 section 4.5", true},
	forward.NoNeighbor:           {"nobody answered the solicitations for its next hop", "RFC 4861 section 7.2.2", true},

	forward.Stale:              {"its source is of a prefix that is gone", "RFC 7084 L-14", true},
	forward.ToStale:            {"its destination is of a prefix that is gone", "RFC 7084 L-14", false},
	forward.AnothersSource:     {"its source does not belong to this LAN", notOurs, false},
	forward.AnothersRouter:     {"its source is of a prefix that another router on this LAN has", "RFC 8987", false},
	forward.BackToRouter:       {"its own sender has that prefix: it would come back for ever", "RFC 8987", true},
	forward.LocalFromOutside:   {"it comes from outside with a local source of ours", siteBorder, false},
	forward.ToLocalFromOutside: {"our local prefix is not to be reached from outside", siteBorder, false},
	forward.LocalNotOutside:    {"its source is local, and would leave the site", siteBorder, true},
	forward.ToLocalNotOutside:  {"its destination is local, and no way there leads out of the site", siteBorder, true},
	forward.OursFromOutside:    {"it comes from outside with a source of ours", ownFromAway, false},
	forward.AroundTheTunnel:    {"its source is of our delegation, which leaves by the tunnel alone", notOurs, true},
	forward.NotFromLAN:         {"only LANs may send into the tunnel", notOurs, false},
	forward.SourceNotOurs:      {"its source is not of our delegation: beyond the tunnel nobody would let it pass", notOurs, true},
	forward.TunnelDead:         {"the tunnel is dead: who hears of it tries IPv4 at once", "", true},
	forward.ULAIntoTunnel:      {"unique local addresses are not behind the tunnel", siteBorder, true},
	forward.ULAOutOfTunnel:     {"a unique local source came out of the tunnel", siteBorder, false},
	forward.ToLANAroundTunnel:  {"what is for the LANs comes by the tunnel alone", "", false},
	forward.NoTransit:          {"from the tunnel the way leads to LANs alone", "", false},
	forward.NobodySeen:         {"nobody was heard with this address, and for those 10 packets a second may ask for a neighbor: a scan shall not fill the neighbor table", "RFC 6583 section 7.1", false},
	forward.Unsolicited:        {"nobody inside began this flow, and the firewall is closed", "RFC 6092 section 3", false},
	forward.Forged:             {"it has the source of a LAN, and comes by another way", ownFromAway, false},
	forward.NotOfThisLink:      {"its hop limit is not 255, so it was not sent on this link", "RFC 4861 section 6.1.1", false},
	forward.TooManySolicits:    {"too many solicitations in a second", "", false},
	forward.TooManyND:          {"too much Neighbor Discovery of one station", "RFC 6583 section 7.1", false},
	forward.ScanFromLAN:        {"nobody was heard with this address, and the host asks for too many such neighbors", "RFC 6583 section 7.1", false},
	forward.NoServiceOutside:   {"the box has no services for the outside", "RFC 6092 REC-50", false},

	forward.NeighborDiscovery: {"Neighbor Discovery ends at its link", "RFC 4861 section 3.1", false},
	forward.ForgedSite:        {"it has the source of a site, and does not come from its tunnel", bcp38, false},
	forward.NoSite:            {"its source is of no site", bcp38, false},
	forward.NotOfASite:        {"its source is of the hub's pools, and no site has it", bcp38, false},
	forward.SiteToSite:        {"this hub keeps its sites apart", "", true},
}

// decided is what a node's forwarding says of a packet that has come to it. What it says later of the same packet comes
// behind.
func (r *recorder) decided(node string, now time.Time, pkt []byte, text, rfc string) {
	id := identifyIPv6(pkt)
	r.mu.Lock()
	defer r.mu.Unlock()
	strands := r.going[id]
	for i := len(strands) - 1; i >= 0; i-- {
		s := strands[i]
		if s.to != node || s.at.After(now) {
			continue
		}
		if rec := r.byID[s.record]; rec != nil {
			rec.verdict = append(rec.verdict, verdict{text, rfc})
		}
		return
	}
}

// verdict is what a forwarder decided, in words.
type verdict struct{ text, rfc string }

func (r *recorder) verdicts(rec *record) (text, rfc string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, v := range rec.verdict {
		if i > 0 {
			text += ". Later: "
		}
		text, rfc = text+v.text, both(rfc, v.rfc)
	}
	return text, rfc
}
