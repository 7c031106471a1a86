// SPDX-License-Identifier: MIT

package simwg

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"oasis6/internal/note"
	"oasis6/lab/simwg/device"
	"oasis6/tun"
)

// resolver is what a Tunnel knows of its endpoint's name.
type resolver struct {
	name  string
	addr  netip.Addr // if there is no name
	port  uint16     // zero: no endpoint is configured
	aims  int        // answers for a former endpoint are not taken
	turn  int        // lookups so far: a retry is only for the last one
	addrs []netip.Addr
	err   string        // of the last lookup
	had   bool          // looked up once: what is known stays, no retry of our own
	delay time.Duration // of the next retry
}

// aim takes another endpoint, which Normal has found to be one.
func (r *resolver) aim(endpoint string) {
	*r = resolver{aims: r.aims + 1, delay: tun.LookupRetry}
	if endpoint != "" {
		r.name, r.addr, r.port, _ = tun.ParseEndpoint(endpoint)
	}
}

var errNoDNS = errors.New("no DNS here: give an address")

// resolve looks the endpoint up and measures the path to it. It runs on the engine's goroutine.
func (t *Tunnel) resolve() {
	t.mu.Lock()
	t.resolver.delay = tun.LookupRetry
	t.resolver.turn++
	r, closed := t.resolver, t.closed
	t.mu.Unlock()
	if !closed {
		t.ask(r)
	}
}

func (t *Tunnel) ask(r resolver) {
	done := func(addrs []netip.Addr, err error) { t.answered(r.aims, addrs, err) }
	switch {
	case r.port == 0: // it waits to be called
	case r.name == "":
		done([]netip.Addr{r.addr}, nil)
	case t.opt.Lookup == nil:
		done(nil, errNoDNS)
	default:
		t.opt.Lookup(r.name, done)
	}
}

// answered takes the result of a lookup: the last good address is kept when there is none.
func (t *Tunnel) answered(aims int, addrs []netip.Addr, err error) {
	t.mu.Lock()
	if r := &t.resolver; r.aims == aims && !t.closed {
		if err == nil && len(addrs) == 0 {
			err = errors.New("lookup " + r.name + ": no address")
		}
		if err != nil {
			t.unresolved(err)
		} else {
			t.resolved(addrs)
		}
	}
	t.mu.Unlock()
	t.flush()
}

// unresolved tries again by itself until it was resolved once.
func (t *Tunnel) unresolved(err error) {
	r := &t.resolver
	if text := err.Error(); text != r.err {
		r.err = text
		if t.opt.Note != nil {
			t.out = append(t.out, output{note: note.New(note.Warn, "endpoint name not resolved", "peer", r.name, "err", text)})
		}
	}
	if r.had {
		return
	}
	was, after := *r, t.jitter(r.delay)
	r.delay = min(2*r.delay, tun.LookupRetryMax)
	t.out = append(t.out, output{call: func() {
		t.opt.Scheduler.AfterFunc(after, func() {
			t.mu.Lock()
			now := t.resolver
			stale := now.aims != was.aims || now.turn != was.turn || now.had || t.closed
			t.mu.Unlock()
			if !stale {
				t.ask(now)
			}
		})
	}})
}

// jitter is d ± 20 %, as of a true box.
func (t *Tunnel) jitter(d time.Duration) time.Duration {
	return d*4/5 + time.Duration(t.opt.Rand()%uint64(d*2/5))
}

// resolved decides, as tun's loop does, whether the peer is elsewhere now.
func (t *Tunnel) resolved(addrs []netip.Addr) {
	r := &t.resolver
	st, _ := t.dev.Peer(t.cfg.Peer.Public)
	now := t.opt.Scheduler.Now()
	heard := t.rxAt
	if heard.Before(t.setAt) {
		heard = t.setAt
	}
	first, deaf := t.setAt.IsZero(), now.Sub(heard) >= tun.DeafAfter
	roamed := st.Endpoint.IsValid() && !slices.ContainsFunc(r.addrs, func(a netip.Addr) bool { return a.Unmap() == st.Endpoint.Addr() })
	r.had, r.err, r.addrs = true, "", addrs
	if !first && !deaf && roamed {
		return // the peer spoke from another address than its name has, and is heard there
	}
	ep := tun.Choose(addrs, r.port, st.Endpoint, deaf && !first)
	if !first && ep == st.Endpoint {
		return
	}
	fresh := st.Completed.IsZero()
	t.setAt = now
	t.stepLocked(device.SetEndpoint{Peer: st.Public, Endpoint: ep, Fresh: fresh})
	t.stepLocked(device.SetKeepalive{Peer: st.Public, Every: t.cfg.Peer.Keepalive.Truncate(time.Second)})
	if fresh {
		t.stepLocked(device.Initiate{Peer: st.Public})
	}
}
