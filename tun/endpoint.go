// SPDX-License-Identifier: MIT

package tun

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Looking up the endpoint's name.
const (
	lookupTimeout  = 10 * time.Second
	lookupRetry    = time.Second // then doubled, until the first success
	lookupRetryMax = time.Minute
	// deafAfter this long without anything authenticated another address of the same name is tried.
	deafAfter = 15 * time.Second
)

// lookup turns a name into addresses; net.Resolver's LookupNetIP without the network argument.
type lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// goLookup uses Go's own resolver: it reads /etc/resolv.conf again when that changes, as it does at
// boot, and needs no C library.
func goLookup(ctx context.Context, host string) ([]netip.Addr, error) {
	r := &net.Resolver{PreferGo: true}
	return r.LookupNetIP(ctx, "ip", host)
}

// answer is the result of one lookup.
type answer struct {
	target target
	addrs  []netip.Addr
	err    error
}

// resolver looks names up when told to, and by itself until the first success for a target.
type resolver struct {
	look    lookup
	want    chan target // capacity 1; a newer one replaces the one that waits
	answers chan answer
}

func newResolver(l lookup) *resolver {
	return &resolver{look: l, want: make(chan target, 1), answers: make(chan answer)}
}

// ask never waits. Only the tunnel's loop and Open call it, so replacing is safe.
func (r *resolver) ask(t target) {
	select {
	case <-r.want:
	default:
	}
	select {
	case r.want <- t:
	default:
	}
}

// run ends with ctx.
func (r *resolver) run(ctx context.Context) {
	var (
		t     target
		retry *time.Timer
		again <-chan time.Time
		delay time.Duration
		had   bool // this target was resolved once: what is known stays, no retry of our own
	)
	defer func() {
		if retry != nil {
			retry.Stop()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case next := <-r.want:
			if next != t {
				t, had = next, false
			}
			delay = lookupRetry
		case <-again:
		}
		a := answer{target: t}
		if t.name == "" {
			a.addrs = []netip.Addr{t.addr}
		} else {
			a.addrs, a.err = r.lookupOnce(ctx, t.name)
		}
		had = had || a.err == nil
		again = nil
		if !had {
			if retry == nil {
				retry = time.NewTimer(jitter(delay))
			} else {
				retry.Reset(jitter(delay))
			}
			again, delay = retry.C, min(2*delay, lookupRetryMax)
		}
		select {
		case r.answers <- a:
		case <-ctx.Done():
			return
		}
	}
}

func (r *resolver) lookupOnce(ctx context.Context, name string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := r.look(ctx, name)
	if err == nil && len(addrs) == 0 {
		err = fmt.Errorf("lookup %s: no address", name)
	}
	return addrs, err
}

// jitter is d ± 20 %: after a power cut the boxes of a street must not ask in step.
func jitter(d time.Duration) time.Duration {
	return time.Duration((0.8 + 0.4*rand.Float64()) * float64(d))
}

// choose picks the address for the peer. IPv4 comes first, as the outer path this box is made for,
// then IPv6, each in the resolver's order; those without a way out come in only if there is no other.
// The present one stays as long as it is listed and works; if it is deaf, the next in the list follows.
func choose(addrs []netip.Addr, port uint16, present netip.AddrPort, deaf bool, usable func(netip.AddrPort) bool) netip.AddrPort {
	var list []netip.AddrPort
	for _, v4 := range []bool{true, false} {
		for _, a := range addrs {
			ep := netip.AddrPortFrom(a.Unmap(), port)
			if a.Unmap().Is4() == v4 && !slices.Contains(list, ep) {
				list = append(list, ep)
			}
		}
	}
	if len(list) == 0 {
		return present
	}
	if !deaf && slices.Contains(list, present) {
		return present
	}
	open := slices.Clone(list)
	open = slices.DeleteFunc(open, func(ep netip.AddrPort) bool { return !usable(ep) })
	if len(open) == 0 {
		open = list
	}
	next := slices.Index(open, present) + 1 // the first, if it is not listed
	return open[next%len(open)]
}
