// SPDX-License-Identifier: MIT

package router

import (
	"context"
	"net/netip"
	"time"

	"oasis6/config"
)

// How often the box looks whether something on it answers DNS, where hosts would be told of no other server: soon after
// there is an address to ask, and then now and again. One that has answered may miss some, as while it restarts.
const (
	dnsProbeFirst   = 2 * time.Second // duplicate address detection takes one
	dnsProbeEvery   = time.Minute
	dnsProbeTimeout = 3 * time.Second
	dnsProbeMisses  = 3
)

// dnsProbe is what is known of a DNS server of our own on one LAN.
type dnsProbe struct {
	server  netip.Addr // the address that is asked; zero: none is
	answers bool
	misses  int
	asking  bool
	next    time.Time // zero: not wanted, or being asked
}

// wake is when to ask next; zero while an answer is awaited.
func (d *dnsProbe) wake() time.Time {
	if d.asking {
		return time.Time{}
	}
	return d.next
}

// dnsAnswer is how a probe ended.
type dnsAnswer struct {
	lan     *lan
	server  netip.Addr
	answers bool
}

// probeDNS asks where it matters and the time has come.
func (r *Router) probeDNS(now time.Time) {
	if r.opt.ProbeDNS == nil {
		return
	}
	for i, l := range r.lans {
		d := &l.dns
		want := r.ownServer(i, now)
		if want != d.server {
			*d = dnsProbe{server: want, answers: d.answers && want.IsValid(), asking: d.asking}
			if want.IsValid() {
				d.next = now.Add(dnsProbeFirst)
			}
		}
		if d.asking || d.next.IsZero() || d.next.After(now) {
			continue
		}
		d.asking, d.next = true, time.Time{}
		r.probes.Add(1)
		go func() {
			defer r.probes.Done()
			ctx, cancel := context.WithTimeout(r.probing, dnsProbeTimeout)
			defer cancel()
			a := dnsAnswer{l, want, r.opt.ProbeDNS(ctx, want)}
			select {
			case r.probed <- a:
			case <-r.done:
			}
		}()
	}
}

// ownServer is the address of the box that hosts of a LAN would be told as their DNS server; zero where they are told
// of another one.
func (r *Router) ownServer(i int, now time.Time) netip.Addr {
	l := r.planLAN(i)
	if i >= len(r.cfg.LANs) || r.cfg.LANs[i].RDNSSMode != config.RDNSSAuto || l.DNSSource != DNSOff && l.DNSSource != DNSSelf {
		return netip.Addr{}
	}
	p := planner{f: Facts{ULA: r.ula}, now: now}
	if own := p.self(l.Subnets); len(own) > 0 {
		return own[0]
	}
	return netip.Addr{}
}

func (r *Router) onDNSAnswer(now time.Time, a dnsAnswer) {
	d := &a.lan.dns
	d.asking = false
	if a.server != d.server {
		return // the address has changed meanwhile: the next one is asked
	}
	d.next = now.Add(dnsProbeEvery)
	was := d.answers
	if a.answers {
		d.answers, d.misses = true, 0
	} else if d.misses++; d.misses >= dnsProbeMisses {
		d.answers = false
	}
	if d.answers != was {
		r.replan = true
		r.journal.Info("DNS server of the box", "iface", a.lan.name, "server", a.server.String(), "state", map[bool]string{true: "answers", false: "silent"}[d.answers])
	}
}
