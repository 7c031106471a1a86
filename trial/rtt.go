// SPDX-License-Identifier: MIT

package trial

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"oasis6/tun/gauge"
)

const (
	tunnelEchoes = 5 // for the least of their times
	echoEvery    = 200 * time.Millisecond
	// handshakeSlack is how much later than begun a handshake may be over.
	handshakeSlack = 2 * time.Second
)

// measureRTT takes the times of the path, outside by the handshakes and by ICMP where that is allowed, and inside.
func (r *run) measureRTT(ctx context.Context) outcome {
	var notes []string
	outside, err := r.outsideRTT(ctx)
	if err != nil {
		return outcome{state: Failed, text: err.Error(), advice: []string{
			"the hub has answered before: try again; if that lasts, another machine may use the same key",
		}}
	}
	parts := []string{outside}
	pingCtx, cancel := context.WithTimeout(ctx, reasonableEcho)
	rtt, err := r.Outside.Ping(pingCtx, r.endpoint.Addr())
	cancel()
	switch {
	case err == nil:
		r.addRTT(r.endpoint.Addr().String(), "ICMP echo", rtt, 1)
		parts = append(parts, fmt.Sprintf("%s by ICMP echo", short(rtt)))
	case errors.Is(err, gauge.ErrNoEcho):
		notes = append(notes, "not by ICMP: "+err.Error())
	default:
		notes = append(notes, fmt.Sprintf("not by ICMP: %s answers no echo requests", r.endpoint.Addr()))
	}
	inside, more := r.insideRTT(ctx)
	if ctx.Err() != nil {
		return failed("interrupted")
	}
	parts = append(parts, inside...)
	return outcome{state: Passed, text: strings.Join(parts, "; "), notes: append(notes, more...)}
}

// reasonableEcho is how long an echo reply from outside is waited for.
const reasonableEcho = 2 * time.Second

func (r *run) addRTT(to, how string, d time.Duration, samples int) {
	r.report.RTTs = append(r.report.RTTs, RTT{To: to, How: how, MS: float64(d.Microseconds()) / 1000, Samples: samples})
}

// outsideRTT waits for the handshakes that are still to come.
func (r *run) outsideRTT(ctx context.Context) (string, error) {
	missing := max(r.wanted()-len(r.shook), 0)
	until := time.Now().Add(time.Duration(missing)*gauge.Between + handshakeSlack + r.Timeout)
	err := r.await(ctx, wait{until: until, done: func() bool { return len(r.shook) >= r.wanted() }})
	switch {
	case errors.Is(err, context.Canceled):
		return "", errors.New("interrupted")
	case err != nil:
		return "", fmt.Errorf("only %d of %d handshakes were completed", len(r.shook), r.wanted())
	}
	how := "WireGuard, initiation to response"
	r.addRTT(r.endpoint.Addr().String(), how, least(r.shook), len(r.shook))
	family := "IPv6"
	if r.endpoint.Addr().Is4() {
		family = "IPv4"
	}
	count := "of one handshake"
	if n := len(r.shook); n > 1 {
		count = fmt.Sprintf("the least of %d handshakes", n)
	}
	return fmt.Sprintf("outside, over %s: %s from initiation to response, %s", family, short(least(r.shook)), count), nil
}

// insideRTT asks the hub, and a host behind it.
func (r *run) insideRTT(ctx context.Context) (parts, notes []string) {
	ask := func(from, to netip.Addr, who string) {
		var times []time.Duration
		for range tunnelEchoes {
			begin := time.Now()
			rtt := r.ping(ctx, from, to, 1, firstEchoWait)
			if rtt > 0 {
				times = append(times, rtt)
			} else if len(times) == 0 && time.Since(begin) >= firstEchoWait && from == r.source {
				break // one that never answers
			}
			pause := wait{until: begin.Add(echoEvery), done: func() bool { return false }}
			if err := r.await(ctx, pause); !errors.Is(err, errPatience) {
				return
			}
		}
		if len(times) == 0 {
			notes = append(notes, who+" answers no echo requests through the tunnel")
			return
		}
		r.addRTT(to.String(), "ICMPv6 echo through the tunnel", least(times), len(times))
		parts = append(parts, fmt.Sprintf("%s in %s", who, short(least(times))))
	}
	if r.hubEcho > 0 {
		ask(r.own, r.hub, "the hub")
	} else {
		notes = append(notes, fmt.Sprintf("the hub answers no echo requests at %s", r.hub))
	}
	if far := r.farHost(); far.IsValid() {
		ask(r.source, far, far.String())
	}
	if len(parts) > 0 {
		parts[0] = "inside, by ICMPv6 echo: " + parts[0]
	}
	return parts, notes
}
