// SPDX-License-Identifier: MIT

package lab

import (
	"errors"
	"testing"
	"time"

	"oasis6/lab/host"
)

// A laptop that was a router of high preference leaves without a word. Its router lifetime would bind the hosts for half an
// hour; they find out by themselves that it is silent, and go by the box again. Their newest address is out of its prefix
// still, and the box says what is wrong with that.
func TestRogueThatLeavesSilentlyIsPassedOver(t *testing.T) {
	w := begun(t, Options{Seed: 1})
	way := func() host.Route {
		for _, r := range w.hosts[nodeH1].View().Routes {
			if r.Dst.Bits() == 0 && r.Dst.Addr().Is6() {
				return r
			}
		}
		return host.Route{}
	}
	box := way().Via
	w.goRogue(true)
	var last host.Pong
	until := func(what string, limit time.Duration, done func() bool) {
		t.Helper()
		if ok, err := w.Engine.RunUntil(t.Context(), limit, done); !ok || err != nil {
			t.Fatalf("%s: never, %v: %+v, %v", what, err, way(), last.Err)
		}
	}
	var ping func() // what does not talk to a router does not find out either
	ping = func() {
		w.hosts[nodeH1].Ping(wwwAt, host.PingOptions{}, func(p host.Pong) { last = p })
		w.Engine.AfterFunc(time.Second, ping)
	}
	ping()
	until("the rogue is the way", time.Minute, func() bool { return way().Via.IsValid() && way().Via != box })
	if err := w.plug("lan-rogue", false); err != nil {
		t.Fatal(err)
	}
	until("the box is the way", time.Minute, func() bool { return way().Via == box })
	for _, r := range w.hosts[nodeH1].View().Routes {
		if r.Dst.Bits() == 0 && r.Dst.Addr().Is6() && r.Silent != (r.Via != box) {
			t.Errorf("%+v", r)
		}
	}
	refused := func() bool {
		e, ok := errors.AsType[host.ICMPError](last.Err)
		return ok && e.Type == 1 && e.Code == 5 // RFC 4443 section 3.1: source address failed ingress/egress policy
	}
	until("the box refuses an address that is not of its prefix", 10*time.Second, refused)
}
