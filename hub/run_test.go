// SPDX-License-Identifier: MIT

package hub

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"oasis6/config"
	"oasis6/dataplane"
	"oasis6/internal/control"
	"oasis6/tun"
)

// runClock is the boot clock by the bubble's time.
type runClock struct {
	t *time.Timer
	c chan struct{}
}

func newRunClock() *runClock {
	c := &runClock{c: make(chan struct{}, 1)}
	c.t = time.AfterFunc(time.Hour, func() { c.c <- struct{}{} })
	c.t.Stop()
	return c
}

func (c *runClock) Now() time.Time { return time.Now() }

func (c *runClock) Set(at time.Time) error {
	c.t.Stop()
	select {
	case <-c.c:
	default:
	}
	if !at.IsZero() {
		c.t.Reset(time.Until(at))
	}
	return nil
}

func (c *runClock) C() <-chan struct{} { return c.c }

// running is a hub in its loop.
type running struct {
	*world
	commands chan control.Command
	ended    chan error
	cancel   context.CancelFunc
	reload   func() (*config.HubConfig, error)
}

// run starts the loop of a hub with some sites.
func run(t *testing.T, f func(*running)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		r := &running{world: w, commands: make(chan control.Command), ended: make(chan error, 1)}
		r.reload = func() (*config.HubConfig, error) { return w.cfg, nil }
		opt := w.h.opt
		opt.Clock, opt.Commands = newRunClock(), r.commands
		opt.Reload = func() (*config.HubConfig, error) { return r.reload() }
		h, err := New(t.Context(), opt)
		if err != nil {
			t.Fatal(err)
		}
		w.h = h
		ctx, cancel := context.WithCancel(context.Background())
		r.cancel = cancel
		go func() { r.ended <- h.Run(ctx) }()
		synctest.Wait()
		f(r)
		cancel()
		<-r.ended
	})
}

func (r *running) end() error {
	err := <-r.ended
	r.ended <- nil
	return err
}

func TestRunAnswersAndStops(t *testing.T) {
	run(t, func(r *running) {
		s, err := r.h.Snapshot(r.Context())
		if err != nil || !s.Ready || s.Role != "hub" || len(s.Sites) != 2 {
			r.Errorf("Snapshot = %+v, %v", s, err)
		}
		if all, err := r.h.Leases(r.Context()); err != nil || len(all) != 0 {
			r.Errorf("Leases = %v, %v", all, err)
		}
		time.Sleep(10 * time.Second) // polls
		r.commands <- control.Stop
		if err := r.end(); err != nil {
			r.Errorf("Run = %v after Stop", err)
		}
		if len(r.plane.last.Routes) != 0 {
			r.Error("the kernel was not put back")
		}
		if _, err := r.h.Snapshot(r.Context()); err == nil {
			r.Error("Snapshot of a hub that has stopped")
		}
	})
}

// What the tunnel drops has its reason in the status.
func TestRunTellsWhatTheTunnelDrops(t *testing.T) {
	run(t, func(r *running) {
		r.tunnel.counted = tun.HubSnapshot{Strange: 1, Limited: 2, Dropped: 3, Refused: 4, Crowded: 5, Hasty: 6, Stale: 7}
		s, err := r.h.Snapshot(r.Context())
		if err != nil {
			r.Fatal(err)
		}
		want := map[string]uint64{
			"source is not the site's link-local address": 1, "more than one site may send": 2, "faster than they could be read": 3,
			"invitation used for something else": 4, "more handshakes than can wait": 5,
			"more handshakes than may wait from one address": 6, "handshake that waited too long": 7,
		}
		if !maps.Equal(s.Hub.Dropped, want) {
			r.Errorf("dropped %v, want %v", s.Hub.Dropped, want)
		}
	})
}

func TestRunHandsOver(t *testing.T) {
	run(t, func(r *running) {
		before := len(r.plane.last.Routes)
		r.commands <- control.Handover
		if err := r.end(); err != nil {
			r.Errorf("Run = %v after Handover", err)
		}
		if n := len(r.plane.last.Routes); n == 0 || n != before {
			r.Errorf("%d routes after Handover, want the %d as they were", n, before)
		}
	})
}

func TestRunEndsWithTheDevice(t *testing.T) {
	for name, end := range map[string]func(*running){
		"device closed":     func(r *running) { r.tunnel.events <- tun.Failed{Err: errors.New("gone")} },
		"interface removed": func(r *running) { r.removeInterface() },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(r *running) {
				end(r)
				if err := r.end(); !errors.Is(err, ErrTunnelFailed) {
					r.Errorf("Run = %v, want ErrTunnelFailed", err)
				}
			})
		})
	}
}

func (r *running) removeInterface() {
	r.plane.Push(dataplane.LinkChanged{Link: dataplane.Link{Name: "oasis0", Exists: true}})
	r.plane.Push(dataplane.LinkChanged{Link: dataplane.Link{Name: "oasis0"}})
}

func TestRunReloads(t *testing.T) {
	run(t, func(r *running) {
		r.reload = func() (*config.HubConfig, error) { return nil, errors.New("hub.conf:3: unknown key") }
		r.commands <- control.Reload
		synctest.Wait()
		s, _ := r.h.Snapshot(r.Context())
		if !strings.Contains(s.Summary, "last reload refused: hub.conf:3: unknown key") {
			r.Errorf("summary after a reload that was refused: %q", s.Summary)
		}
		other := *r.cfg
		other.Interface.Name = "oasis1"
		r.reload = func() (*config.HubConfig, error) { return &other, nil }
		r.commands <- control.Reload
		synctest.Wait()
		if s, _ = r.h.Snapshot(r.Context()); !strings.Contains(s.Summary, "[Interface] Name cannot change while running: restart the hub") {
			r.Errorf("summary with another name: %q", s.Summary)
		}
		onLink := *r.cfg
		onLink.Hub.Pools = []netip.Prefix{testPool, netip.MustParsePrefix("2001:db8:7::/56")}
		r.onLink = []netip.Prefix{netip.MustParsePrefix("2001:db8:7:80::1/57"), netip.MustParsePrefix("2001:db8:7::1/57")}
		r.reload = func() (*config.HubConfig, error) { return &onLink, nil }
		r.commands <- control.Reload
		synctest.Wait()
		if s, _ = r.h.Snapshot(r.Context()); !strings.Contains(s.Summary, "last reload refused: [Hub] pool 2001:db8:7::/56 is on a link of this machine") || len(s.Hub.Pools) != 1 {
			r.Errorf("summary with a pool on a link: %q, pools %v", s.Summary, s.Hub.Pools)
		}
		good := *r.cfg
		good.Hub.SiteToSite = true
		r.reload = func() (*config.HubConfig, error) { return &good, nil }
		r.commands <- control.Reload
		synctest.Wait()
		if s, _ = r.h.Snapshot(r.Context()); !s.Ready || !s.Hub.SiteToSite || !r.plane.last.Hub.SiteToSite {
			r.Errorf("after a good reload: %q, %+v", s.Summary, r.plane.last.Hub)
		}
	})
}

// What others change is put right, and a fight is told.
func TestRunPutsDriftRight(t *testing.T) {
	run(t, func(r *running) {
		for range 6 {
			before := len(r.ops)
			r.plane.Push(dataplane.Drift{What: "route flushed"})
			synctest.Wait()
			if len(r.ops) == before {
				r.Fatal("a drift was not answered by an Apply")
			}
		}
		if s, _ := r.h.Snapshot(r.Context()); !strings.Contains(s.Summary, "another program keeps changing") {
			r.Errorf("summary in a fight: %q", s.Summary)
		}
	})
}

// A start is one line, and an uplink that is not there another.
func TestRunSaysThatItIsUp(t *testing.T) {
	run(t, func(r *running) {
		for what, want := range map[string]int{"level=INFO msg=\"hub up\" iface=oasis0 port=51820 pool=2001:db8:ebbd:9900::/56 sites=2 leases=0": 2 /* one of the hub that newWorld makes */, "uplink": 0} {
			if n := strings.Count(r.log.String(), what); n != want {
				r.Errorf("%d times %q in the log, want %d:\n%s", n, what, want, r.log.String())
			}
		}
		other := *r.cfg
		other.Hub.Uplink = "eth9"
		r.reload = func() (*config.HubConfig, error) { return &other, nil }
		for range 2 {
			r.commands <- control.Reload
			synctest.Wait()
		}
		r.plane.Push(dataplane.LinkChanged{Link: dataplane.Link{Name: "eth9", Exists: true}})
		r.plane.Push(dataplane.LinkChanged{Link: dataplane.Link{Name: "eth9", Exists: true, Up: true}})
		r.plane.Push(dataplane.LinkChanged{Link: dataplane.Link{Name: "eth9", Exists: true}})
		synctest.Wait()
		for _, want := range []string{"level=WARN msg=\"uplink does not exist: check Uplink in [Hub]\" iface=eth9", "level=INFO msg=\"uplink is up again\" iface=eth9", "level=WARN msg=\"uplink is down\" iface=eth9"} {
			if n := strings.Count(r.log.String(), want); n != 1 {
				r.Errorf("%d times %q in the log, want 1:\n%s", n, want, r.log.String())
			}
		}
	})
}
