// SPDX-License-Identifier: MIT

package inet6

import (
	"net/netip"

	"oasis6/internal/ip6pkt"
	"oasis6/lab/engine"
	"oasis6/ra"
)

// advertiser is the product's own machine for Router Advertisements, on a port.
type advertiser struct {
	r      *Router
	port   *port
	sender *ra.Sender
	timer  *engine.Timer
}

// Advertise begins to send Router Advertisements by a port, or changes what they say.
func (r *Router) Advertise(i int, cfg ra.Config, content ra.Content) {
	p := r.ports[i]
	if p.ra == nil {
		p.ra = &advertiser{r: r, port: p, sender: ra.NewSender(cfg, r.e.Rand("ra "+r.cfg.Name+" "+p.Wire.Wire().ID()).Float64)}
		p.ra.carrier(p.Wire.Up())
	}
	p.ra.step(ra.SetContent{Content: content})
}

// Silence ends what Advertise began, with a last advertisement of router lifetime 0 if stop is final.
func (r *Router) Silence(i int, stop ra.Stop) {
	p := r.ports[i]
	if p.ra == nil {
		return
	}
	p.ra.step(stop)
	if p.ra.timer != nil {
		p.ra.timer.Stop()
	}
	p.ra = nil
}

// carrier is for a cable that was plugged in or pulled.
func (a *advertiser) carrier(up bool) {
	if !up {
		a.step(ra.LinkDown{})
		return
	}
	a.step(ra.LinkUp{MAC: a.port.Wire.MAC(), HasMAC: true, LinkLocal: a.port.linkLocal})
}

func (a *advertiser) step(ev ra.Event) {
	now := a.r.e.Now()
	act := a.sender.Step(now, ev)
	for _, d := range act.Send {
		b := ip6pkt.ICMPv6(a.port.linkLocal, d.To, ndHops, d.Data)
		if d.To == netip.IPv6LinkLocalAllNodes() {
			a.port.nd.Frame(allNodesMAC, etherType, b)
			continue
		}
		a.port.nd.Send(d.To, b)
	}
	if a.timer != nil {
		a.timer.Stop()
	}
	if !act.Wake.IsZero() {
		a.timer = a.r.e.AfterFunc(act.Wake.Sub(now), func() { a.step(ra.Tick{}) })
	}
}

// heard takes a solicitation, or an advertisement of another router.
func (a *advertiser) heard(m ip6pkt.Message) (text, rfc string) {
	a.step(ra.Received{Src: m.Src, HopLimit: int(m.HopLimit), Data: m.Body})
	if m.Body[0] == ra.TypeRouterSolicitation {
		return "a host asks for a router: an advertisement follows within half a second", "RFC 4861 section 6.2.6"
	}
	return "another router advertises", "RFC 4861 section 6.2.7"
}
