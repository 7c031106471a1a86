// SPDX-License-Identifier: MIT

package tun

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func addrs(s ...string) (list []netip.Addr) {
	for _, a := range s {
		list = append(list, netip.MustParseAddr(a))
	}
	return list
}

func TestChoose(t *testing.T) {
	all := func(netip.AddrPort) bool { return true }
	none := func(netip.AddrPort) bool { return false }
	only6 := func(ep netip.AddrPort) bool { return ep.Addr().Is6() }
	both := addrs("2001:db8::1", "198.51.100.2", "::ffff:198.51.100.2", "198.51.100.3")
	for _, c := range []struct {
		name    string
		addrs   []netip.Addr
		present string
		deaf    bool
		usable  func(netip.AddrPort) bool
		want    string
	}{
		{"IPv4 first", both, "", false, all, "198.51.100.2:1"},
		{"IPv6 where it alone has a way", both, "", false, only6, "[2001:db8::1]:1"},
		{"no way at all: the first", both, "", false, none, "198.51.100.2:1"},
		{"the present stays", both, "[2001:db8::1]:1", false, all, "[2001:db8::1]:1"},
		{"deaf: the next", both, "198.51.100.2:1", true, all, "198.51.100.3:1"},
		{"deaf: over the family", both, "198.51.100.3:1", true, all, "[2001:db8::1]:1"},
		{"deaf: round again", both, "[2001:db8::1]:1", true, all, "198.51.100.2:1"},
		{"deaf with one", addrs("198.51.100.2"), "198.51.100.2:1", true, all, "198.51.100.2:1"},
		{"not listed any more", both, "203.0.113.1:1", false, all, "198.51.100.2:1"},
		{"other port", both, "198.51.100.2:2", false, all, "198.51.100.2:1"},
		{"nothing", nil, "198.51.100.2:1", true, all, "198.51.100.2:1"},
	} {
		var present netip.AddrPort
		if c.present != "" {
			present = netip.MustParseAddrPort(c.present)
		}
		if got := choose(c.addrs, 1, present, c.deaf, c.usable); got.String() != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestResolverRetriesUntilTheFirstSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		r := newResolver(func(context.Context, string) ([]netip.Addr, error) {
			calls++
			switch {
			case calls <= 8:
				return nil, errors.New("no such host")
			case calls == 9:
				return nil, nil // an answer without addresses is none
			}
			return addrs("198.51.100.2"), nil
		})
		done := make(chan struct{})
		go func() { r.run(ctx); close(done) }()
		start := time.Now()
		r.ask(target{name: "hub.example.net", port: 1})
		for i := 1; i <= 9; i++ {
			if a := <-r.answers; a.err == nil {
				t.Fatalf("answer %d: no error", i)
			}
		}
		a := <-r.answers
		if a.err != nil || len(a.addrs) != 1 || a.target.name != "hub.example.net" {
			t.Fatalf("answer 10: %+v", a)
		}
		// 1+2+4+8+16+32+60+60+60 s, each ± 20 %
		if took := time.Since(start); took < 194*time.Second || took > 292*time.Second {
			t.Errorf("first success after %v, want 243s ± 20%%", took)
		}
		time.Sleep(time.Hour) // bubble time
		if calls != 10 {
			t.Errorf("%d lookups, want none after the success", calls)
		}
		calls = 0 // now it fails again: what is known stays, so no retry by itself
		r.ask(target{name: "hub.example.net", port: 1})
		if a := <-r.answers; a.err == nil {
			t.Error("no error")
		}
		time.Sleep(time.Hour)
		if calls != 1 {
			t.Errorf("%d lookups after one question, want 1", calls)
		}
		r.ask(target{addr: netip.MustParseAddr("2001:db8::1"), port: 1})
		if a := <-r.answers; a.err != nil || a.addrs[0].String() != "2001:db8::1" || calls != 1 {
			t.Errorf("a literal: %+v after %d lookups", a, calls)
		}
		cancel()
		<-done
	})
}

func TestResolverGivesUpASilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := newResolver(func(ctx context.Context, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		done := make(chan struct{})
		go func() { r.run(ctx); close(done) }()
		start := time.Now()
		r.ask(target{name: "hub.example.net", port: 1})
		if a := <-r.answers; !errors.Is(a.err, context.DeadlineExceeded) || time.Since(start) != lookupTimeout {
			t.Errorf("answer %+v after %v, want DeadlineExceeded after %v", a, time.Since(start), lookupTimeout)
		}
		cancel()
		<-done
	})
}
