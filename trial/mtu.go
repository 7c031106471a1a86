// SPDX-License-Identifier: MIT

package trial

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Sizes of packets in the tunnel.
const (
	minMTU = 1280 // RFC 8200 section 5
	// maxProbe is about the longest frame that is in use; beyond it nothing is gained.
	maxProbe = 9000
	// overhead4 and overhead6 are WireGuard's, with UDP, in IPv4 and IPv6. The box counts with that of IPv6, so that its LAN
	// does not change with the outer family.
	overhead4 = 20 + 8 + 32
	overhead6 = 40 + 8 + 32
)

// boxMTU is the tunnel MTU that the box would have: the file's, or what tun makes of an outer MTU.
func (r *run) boxMTU(outer int) int {
	if mtu := r.Config.Interface.MTU; mtu != 0 {
		return mtu
	}
	return max(outer-overhead6, minMTU)
}

// search finds the largest size that passes, between a floor and a top. It asks for what the box would use first, and
// halves what is left.
type search struct {
	floor, top int
	want       []int // to be asked for first, where that says something
	pass, fail int   // the largest that passed, the least that did not
}

func newSearch(floor, first, top int) *search {
	top = max(top, floor)
	return &search{floor: floor, top: top, want: []int{first, top, floor}, pass: floor - 1, fail: top + 1}
}

// next is the size to be tried; false: the search is over.
func (s *search) next() (int, bool) {
	for len(s.want) > 0 {
		n := s.want[0]
		if s.pass < n && n < s.fail {
			return n, true
		}
		s.want = s.want[1:]
	}
	if s.pass+1 >= s.fail {
		return 0, false
	}
	return (s.pass + s.fail) / 2, true
}

// result takes what became of a size.
func (s *search) result(size int, passed bool) {
	if passed {
		s.pass = max(s.pass, size)
	} else {
		s.fail = min(s.fail, size)
	}
}

// told takes the word of a router on the way for the most that passes; it is tried, and if it is true, nothing more is.
func (s *search) told(most int) {
	if s.pass < most && most < s.fail-1 {
		s.want = append([]int{most}, s.want...)
		s.fail = most + 1
	}
}

// best is the largest that passed; false: none did.
func (s *search) best() (int, bool) { return s.pass, s.pass >= s.floor }

const (
	firstEchoes   = 3 // to find out whether there are replies at all
	firstEchoWait = time.Second
	echoesPerSize = 3 // a path that loses a tenth loses one size in a thousand for it
	minProbeWait  = 200 * time.Millisecond
	maxProbeWait  = 1500 * time.Millisecond
)

// measureMTU finds the largest packet that passes through the tunnel in one datagram, by echo requests to the hub or, if it
// does not answer, to another host.
func (r *run) measureMTU(ctx context.Context) outcome {
	from, to, rtt := r.echoTarget(ctx)
	switch {
	case ctx.Err() != nil:
		return failed("interrupted")
	case !to.IsValid():
		return skipped("nobody answers echo requests through the tunnel, so that sizes cannot be measured; the box would use " + fmt.Sprint(r.report.BoxMTU))
	}
	head, top := overhead6, min(r.outerMTU-overhead6, maxProbe)
	if r.endpoint.Addr().Is4() {
		head, top = overhead4, min(r.outerMTU-overhead4, maxProbe)
	}
	p := prober{run: r, from: from, to: to, wait: min(max(4*rtt, minProbeWait), maxProbeWait)}
	s := newSearch(minMTU, min(r.report.BoxMTU, top), top)
	for {
		size, more := s.next()
		if !more {
			break
		}
		ok, err := p.passes(ctx, size)
		if err != nil {
			return failed("interrupted")
		}
		s.result(size, ok)
		if told := r.tunnel.Signs().PathMTU; !ok && told > 0 {
			s.told(max(told-head, minMTU))
		}
	}
	r.tunnel.SetMTU(r.report.BoxMTU)
	best, any := s.best()
	if !any {
		return r.smallPath(ctx, &p)
	}
	r.report.MTU = best
	return r.judgeMTU(best, &p)
}

func (r *run) judgeMTU(best int, p *prober) outcome {
	// ICMP may have taught the kernel meanwhile, and with it the box.
	if outer, err := r.Outside.MTU(r.endpoint); err == nil && outer != r.outerMTU {
		r.report.PathMTU = outer
		r.report.BoxMTU = r.boxMTU(outer)
	}
	path := fmt.Sprintf("the outer path has %d by what the kernel knows", r.report.PathMTU)
	switch box := r.report.BoxMTU; {
	case best < box && r.Config.Interface.MTU == 0:
		return failed(fmt.Sprintf("packets of more than %d octets get lost without a word, and the box would send up to %d: %s", best, box, path),
			fmt.Sprintf("write MTU = %d into [Interface]", best))
	case best < box:
		return failed(fmt.Sprintf("packets of more than %d octets do not pass, and the file has MTU = %d: %s", best, box, path),
			fmt.Sprintf("write MTU = %d into [Interface], or auto", best))
	}
	o := passed(fmt.Sprintf("%d octets pass in one datagram, the box would send up to %d; %s", best, r.report.BoxMTU, path))
	// A first fragment ends at a multiple of 8 octets.
	if p.piece > 0 && p.piece+8 <= r.report.BoxMTU {
		o.notes = append(o.notes, fmt.Sprintf("the hub's end of the tunnel has a smaller MTU, about %d: larger replies come in fragments", p.piece))
	}
	return o
}

// smallPath is for a path on which the smallest MTU of IPv6 does not fit into one datagram.
func (r *run) smallPath(ctx context.Context, p *prober) outcome {
	if err := r.tunnel.Fragment(); err != nil {
		return failed(err.Error())
	}
	ok, err := p.passes(ctx, minMTU)
	switch {
	case err != nil:
		return failed("interrupted")
	case !ok:
		return failed(fmt.Sprintf("packets of %d octets, the least that IPv6 works with, do not pass, in fragments neither", minMTU),
			"this path is not fit for a tunnel: try another network")
	}
	r.report.MTU = minMTU
	text := fmt.Sprintf("%d octets pass, but only where this host cuts WireGuard's datagrams into fragments", minMTU)
	if box := r.report.BoxMTU; box > minMTU {
		return failed(fmt.Sprintf("%s, and the box would send packets of up to %d", text, box), fmt.Sprintf("write MTU = %d into [Interface]", minMTU))
	}
	return passed(text)
}

// echoTarget is somebody who answers echo requests, and from where to ask: the hub, the DNS server, the target of the fetch.
func (r *run) echoTarget(ctx context.Context) (from, to netip.Addr, rtt time.Duration) {
	if rtt := r.ping(ctx, r.own, r.hub, firstEchoes, firstEchoWait); rtt > 0 {
		r.hubEcho = rtt
		return r.own, r.hub, rtt
	}
	if to := r.farHost(); to.IsValid() {
		if rtt := r.ping(ctx, r.source, to, firstEchoes, firstEchoWait); rtt > 0 {
			return r.source, to, rtt
		}
	}
	return from, to, 0
}

// farHost is a host of the IPv6 Internet that is known already; invalid: none is.
func (r *run) farHost() netip.Addr {
	switch server := r.dnsServer(); {
	case !r.source.IsValid():
	case r.Target.Addr().IsValid():
		return r.Target.Addr()
	case server.IsValid() && !server.Addr().IsLinkLocalUnicast():
		return server.Addr()
	}
	return netip.Addr{}
}

// ping sends echo requests until one is answered.
func (r *run) ping(ctx context.Context, from, to netip.Addr, times int, each time.Duration) time.Duration {
	for range times {
		seq := r.ask(from, to, echoHeader)
		err := r.await(ctx, wait{until: time.Now().Add(each), done: func() bool { return r.echoes.reply(seq) != nil }})
		if err == nil {
			return r.echoes.reply(seq).rtt
		}
		if !errors.Is(err, errPatience) {
			return 0
		}
	}
	return 0
}

// prober tries sizes.
type prober struct {
	*run
	from, to netip.Addr
	wait     time.Duration // for a reply
	piece    int           // length of the first fragment of a reply that came in fragments; 0: none did
}

// passes says whether an echo request of the size comes through; how the reply comes is the other end's affair.
func (p *prober) passes(ctx context.Context, size int) (bool, error) {
	p.tunnel.SetMTU(size) // the box at this MTU would not pad beyond it
	for range echoesPerSize {
		seq := p.ask(p.from, p.to, size)
		answered := func() bool { return p.echoes.reply(seq) != nil }
		switch err := p.await(ctx, wait{until: time.Now().Add(p.wait), done: answered}); {
		case err == nil:
			if x := p.echoes.reply(seq); x.piece > 0 {
				p.piece = x.piece
			}
			return true, nil
		case !errors.Is(err, errPatience):
			return false, err
		}
	}
	return false, nil
}
