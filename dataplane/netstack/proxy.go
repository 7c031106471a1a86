// SPDX-License-Identifier: MIT

package netstack

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"oasis6/dataplane"
	"oasis6/dataplane/netstack/neigh"
	"oasis6/dataplane/netstack/offload"
	"oasis6/internal/bucket"
)

// How many solicitations are answered, as in dataplane/kernel.
const (
	answerEvery    = time.Second / 2000
	answerBurst    = 4000
	dadAnswerEvery = time.Second / 10
	dadAnswerBurst = 20
)

// Reasons for which a solicitation is not answered.
const (
	whyMalformed = "malformed"
	whyNotOurs   = "not of a site"
	whyRate      = "too many"
	whyNoAddr    = "no link-local address"
)

// proxy answers solicitations for others on one port (RFC 4861 section 7.2.8).
type proxy struct {
	prefixes []netip.Prefix // sorted
	stats    *proxyStats
}

type proxyStats struct {
	answered atomic.Uint64

	mu      sync.Mutex
	dropped map[string]uint64
	all     bucket.Bucket
	dad     bucket.Bucket // an answer to who looks for a free address goes to all nodes
}

// setProxies makes the proxies those that are wanted. Plane.mu is held.
func (p *Plane) setProxies() {
	wanted := map[string]bool{}
	for _, w := range p.want.Proxy {
		r := p.ports[w.Iface]
		if r == nil || wanted[w.Iface] {
			continue
		}
		wanted[w.Iface] = true
		x := &proxy{prefixes: slices.Clone(w.Prefixes)}
		slices.SortFunc(x.prefixes, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
		if old := r.proxy.Load(); old != nil {
			x.stats = old.stats
		} else {
			x.stats = &proxyStats{
				dropped: map[string]uint64{},
				all:     bucket.Bucket{Burst: answerBurst, Every: answerEvery},
				dad:     bucket.Bucket{Burst: dadAnswerBurst, Every: dadAnswerEvery},
			}
		}
		r.proxy.Store(x)
	}
	for name, r := range p.ports {
		if !wanted[name] {
			r.proxy.Store(nil)
		}
	}
}

// answer answers a solicitation for one of the prefixes' addresses; false: it is not for the proxy.
func (x *proxy) answer(r *port, now time.Time, pkt []byte, from neigh.MAC) bool {
	s, err := neigh.ParseSolicitation(pkt)
	switch {
	case err != nil:
		x.drop(whyMalformed)
		return false
	case r.owns(s.Target):
		return false // gVisor answers
	case !x.covers(s.Target):
		x.drop(whyNotOurs)
		return false
	}
	own := r.linkLocal()
	if !own.IsValid() {
		x.drop(whyNoAddr)
		return true
	}
	x.stats.mu.Lock()
	ok := x.stats.all.Take(now, 1) && (!s.DAD() || x.stats.dad.Take(now, 1))
	x.stats.mu.Unlock()
	if !ok {
		x.drop(whyRate)
		return true
	}
	to := from
	if s.DAD() {
		to = neigh.GroupMAC(netip.IPv6LinkLocalAllNodes())
	}
	r.transmit(to, s.Advertisement(own, r.mac), offload.Info{})
	x.stats.answered.Add(1)
	return true
}

// covers looks among ten thousand as fast as needed; none of them is in another.
func (x *proxy) covers(a netip.Addr) bool {
	i, _ := slices.BinarySearchFunc(x.prefixes, a, func(p netip.Prefix, a netip.Addr) int {
		if p.Addr().Compare(a) <= 0 {
			return -1
		}
		return 1
	})
	return i > 0 && x.prefixes[i-1].Contains(a)
}

func (x *proxy) drop(why string) {
	x.stats.mu.Lock()
	x.stats.dropped[why]++
	x.stats.mu.Unlock()
}

// linkLocal is the address that the port has now, zero for none.
func (r *port) linkLocal() netip.Addr {
	if a := r.usable.Load(); a != nil {
		return *a
	}
	return netip.Addr{}
}

var _ dataplane.ProxyReporter = (*Plane)(nil)

// ProxyStats is dataplane.ProxyReporter's.
func (p *Plane) ProxyStats() []dataplane.ProxyStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []dataplane.ProxyStats
	for _, w := range p.want.Proxy {
		s := dataplane.ProxyStats{Iface: w.Iface}
		if r := p.ports[w.Iface]; r != nil {
			if x := r.proxy.Load(); x != nil {
				s.Up, s.Answered = r.up && r.linkLocal().IsValid(), x.stats.answered.Load()
				x.stats.mu.Lock()
				s.Dropped = maps.Clone(x.stats.dropped)
				x.stats.mu.Unlock()
			}
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b dataplane.ProxyStats) int { return cmp.Compare(a.Iface, b.Iface) })
	return out
}
