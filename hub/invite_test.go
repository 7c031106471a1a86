// SPDX-License-Identifier: MIT

package hub

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"oasis6/config"
	"oasis6/hub/enroll"
	"oasis6/internal/invite"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/wgkey"
	"oasis6/tun"
)

// An invitation: the temporary peer speaks with the port for joining alone; the box's own key then gets a prefix, over
// restarts too.
func TestInvitedBoxJoins(t *testing.T) {
	w := newWorld(t, 0)
	ticket, err := w.h.invite(t.Context(), w.now, enroll.Order{Name: "museum", Valid: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	inv, err := invite.Parse(ticket.Text)
	if err != nil {
		t.Fatal(err)
	}
	temporary := w.addClient(inv.Keys().Private.Public())
	if s, ok := w.tunnel.sites[temporary.key]; !ok || !s.Guest {
		t.Fatalf("the device does not know the temporary key as a guest: %+v", s)
	}
	if p := temporary.bind(); p.IsValid() {
		t.Errorf("the temporary key got %v", p)
	}
	box := w.addClient(wgkey.Private{5: 5}.Public())
	ask := invite.Request{Key: box.key}
	for range 2 { // the answer may be lost: the same key again is the same answer
		w.deliver(temporary.key, ip6pkt.UDP(temporary.key.LinkLocal(), w.h.linkLocal(), invite.Port, invite.Port, 64, ask.Marshal()))
	}
	if n := len(temporary.said); n != 2 || temporary.said[0].Code != invite.Accepted || temporary.said[1].Code != invite.Accepted {
		t.Fatalf("answers %+v", temporary.said)
	}
	w.start()
	if p := box.bind(); !p.IsValid() {
		t.Fatal("the box has joined and gets no prefix")
	}
	if w.tunnel.sites[box.key].Guest {
		t.Error("the box has joined and is a guest")
	}
	w.tunnel.reading[box.key] = tun.Reading{HandshakeAt: w.now, Endpoint: netip.MustParseAddrPort("198.51.100.2:1")}
	w.wait(10 * time.Second)
	if _, ok := w.tunnel.sites[temporary.key]; ok {
		t.Error("the temporary key is still a peer after the box has used its own")
	}
	if s := w.h.snapshot(w.now); len(s.Sites) != 1 || s.Sites[0].Name != "museum" || s.Sites[0].Origin != "joined" || len(s.Hub.Invitations) != 0 {
		t.Errorf("status: %+v %+v", s.Sites, s.Hub.Invitations)
	}
	w.consistent()

	// A [Peer] of the file with its name, or its address, takes its place, and that is said as long as it is so.
	for _, other := range []config.Site{
		{Name: "Museum", PublicKey: wgkey.Private{6: 6}.Public()},
		{Name: "other", PublicKey: wgkey.Private{6: 6}.Public(), LinkLocal: box.key.LinkLocal()},
	} {
		cfg := *w.cfg
		cfg.Sites = []config.Site{other}
		w.reconfigure(&cfg)
		if s := w.h.snapshot(w.now); !strings.HasPrefix(s.Summary, "degraded: site museum, which joined by invitation, is not served") {
			t.Errorf("summary with a [Peer] %q of the file: %q", other.Name, s.Summary)
		}
	}
	cfg := *w.cfg
	cfg.Sites = []config.Site{{Name: "Museum", PublicKey: box.key}} // the same site, now in the file
	w.reconfigure(&cfg)
	if s := w.h.snapshot(w.now); !strings.HasPrefix(s.Summary, "up: ") {
		t.Errorf("summary with the site in the file: %q", s.Summary)
	}
}

// An invitation that cannot be saved is none: the device does not know its key, and the text is not shown.
func TestInvitationWithAFullDisk(t *testing.T) {
	w := newWorld(t, 1)
	w.disk.Refuse(errors.New("no space left on device"))
	if ticket, err := w.h.invite(t.Context(), w.now, enroll.Order{Name: "museum", Valid: time.Hour}); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("invite = %+v, %v", ticket, err)
	}
	if w.tunnel.most != 1 {
		t.Error("the device was given the peer of an invitation that is not on disk")
	}
	w.disk.Refuse(nil)
	if _, err := w.h.invite(t.Context(), w.now, enroll.Order{Name: "museum", Valid: time.Hour}); err != nil {
		t.Errorf("invite when there is room: %v", err)
	}
	if len(w.tunnel.sites) != 2 {
		t.Error("the device does not know the temporary key")
	}
	w.consistent()
}
