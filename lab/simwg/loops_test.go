// SPDX-License-Identifier: MIT

package simwg

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"oasis6/config"
	"oasis6/dataplane"
	"oasis6/dataplane/dataplanetest"
	"oasis6/hub"
	"oasis6/hub/store"
	"oasis6/lab/engine"
	"oasis6/router"
)

// loopClock is the engine's time for a loop.
type loopClock struct {
	e *engine.Engine
	c chan struct{}
	t *engine.Timer
}

func newLoopClock(e *engine.Engine) *loopClock { return &loopClock{e: e, c: make(chan struct{}, 1)} }

func (c *loopClock) Now() time.Time     { return c.e.Now() }
func (c *loopClock) C() <-chan struct{} { return c.c }

func (c *loopClock) Set(at time.Time) error {
	if c.t != nil {
		c.t.Stop()
	}
	if !at.IsZero() {
		c.t = c.e.AfterFunc(at.Sub(c.e.Now()), func() {
			select {
			case c.c <- struct{}{}:
			default:
			}
		})
	}
	return nil
}

const hubFile = `[Interface]
PrivateKey = %s
ListenPort = 51820
[Hub]
Pool = 2001:db8:ebbd:9900::/56
[Peer]
Name = library
PublicKey = %s
`

const boxFile = `[Interface]
PrivateKey = %s
ListenPort = 1000
[Peer]
PublicKey = %s
Endpoint = 198.51.100.2:51820
AllowedIPs = ::/0
PersistentKeepalive = 25
[LAN]
Interface = br-lan
`

// The loops of the box and of the hub, as they run in the field, on simulated ends: the box gets its prefix in no time,
// keeps it for two hours of a path that loses a tenth, and notices a cut.
func TestBoxAndHubRunOnIt(t *testing.T) {
	s := newSim(t, boxConfig(hubAt.String()))
	r := s.e.Rand("loss")
	s.lost = func() bool { return r.Float64() < 0.1 }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	h := s.startHub(ctx, ended)
	b := s.startBox(ctx, ended)
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	prefixes := func() string {
		st, err := b.Snapshot(ctx)
		if err != nil {
			t.Fatal(err)
		}
		text := st.Tunnel.State
		for _, p := range st.Prefixes {
			text += fmt.Sprint(" ", p.Prefix, " ", p.State)
		}
		return text
	}
	s.run(5 * time.Second)
	got := prefixes()
	if !strings.HasPrefix(got, "up 2001:db8:ebbd:99") || !strings.HasSuffix(got, "bound") {
		t.Errorf("after 5 s: %s", got)
	}
	s.run(2 * time.Hour)
	if again := prefixes(); again != got {
		t.Errorf("after 2 hours: %s, want %s", again, got)
	}
	st, err := h.Snapshot(ctx)
	if err != nil || len(st.Sites) != 1 || len(st.Sites[0].Leases) != 1 || st.Sites[0].Endpoint != boxAt.String() {
		t.Errorf("the hub says %+v, %v", st.Sites, err)
	}
	if d := s.box.Snapshot().Dropped + s.hub.Snapshot().Dropped; d != 0 {
		t.Errorf("%d packets for the loops were dropped", d)
	}
	s.cut = true
	s.run(time.Minute)
	if now := prefixes(); !strings.HasPrefix(now, "down") {
		t.Errorf("a minute after the cut: %s", now)
	}
}

func (s *sim) startHub(ctx context.Context, ended chan<- error) *hub.Hub {
	cfg, _, err := config.ParseHub("hub.conf", strings.NewReader(fmt.Sprintf(hubFile, hubKey.Reveal(), boxKey.Public())))
	if err != nil {
		s.t.Fatal(err)
	}
	clock := newLoopClock(s.e)
	h, err := hub.New(ctx, hub.Options{
		Config: cfg, Tunnel: s.hub, Plane: dataplanetest.New(), Store: store.NewMemory(), Clock: clock, Rand: s.e.Rand("hub loop").Float64,
		Wall: s.e.Now, BootID: "boot", Log: slog.New(slog.DiscardHandler), Version: "test", OnLink: func() []netip.Prefix { return nil },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	go func() { ended <- h.Run(ctx) }()
	return h
}

func (s *sim) startBox(ctx context.Context, ended chan<- error) *router.Router {
	cfg, _, err := config.Parse("box.conf", strings.NewReader(fmt.Sprintf(boxFile, boxKey.Reveal(), hubKey.Public())))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.box.Reconfigure(router.TunnelConfig(cfg)); err != nil {
		s.t.Fatal(err)
	}
	plane := dataplanetest.New()
	plane.SetLink(dataplane.Link{
		Name: "br-lan", Index: 3, MAC: [6]byte{0, 0, 0x5e, 0, 0x53, 1}, HasMAC: true,
		LinkLocal: netip.MustParseAddr("fe80::200:5eff:fe00:5301"), Up: true, Exists: true, MTU: 1500, Bridge: true,
	})
	r, err := router.New(router.Options{
		Config: cfg, Tunnel: s.box, Plane: plane, Clock: newLoopClock(s.e), Rand: s.e.Rand("box loop").Float64, Wall: s.e.Now,
		BootID: "boot", State: s.t.TempDir(), Log: slog.New(slog.DiscardHandler), Version: "test",
		ProbeDNS: func(context.Context, netip.Addr) bool { return false },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	go func() { ended <- r.Run(ctx) }()
	return r
}
