// SPDX-License-Identifier: MIT

package e2e

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"oasis6/internal/netlab"
)

// Issue 6, item 8: one line at the hub, one at a box without a file, and its LAN is on IPv6. The line is good for one box; an
// interrupted join goes on; what has joined outlives a restart of the hub and its SIGHUP.
func TestJoinByInvitation(t *testing.T) {
	h := newHub(t, netlab.WorldConfig{TwoSites: true})
	a, b := h.box, h.second()
	a.ByInvitation, b.ByInvitation = true, true
	h.WriteHubConfig(h.HubConfig())
	h.startHub()
	first := h.invite("library")
	if text := h.hubText(); !strings.Contains(text, "library") {
		t.Errorf("the status does not show the invitation:\n%s", text)
	}

	// The hub is not reachable: the box says so, keeps its key, and can be asked again.
	a.CutTunnel()
	interrupted := a.R1.Start(a.BoxArgs(a.bin, "join", first)...)
	if !netlab.Poll(soon, func() bool { return interrupted.Output() != "" }) {
		t.Errorf("join says nothing while it waits:\n%s", interrupted.Output())
	}
	interrupted.Kill()
	a.HealTunnel()
	begin := time.Now()
	out, err := a.R1.Try(a.BoxArgs(a.bin, "join", first)...)
	if err != nil {
		t.Fatalf("join after an interrupted one: %v", err)
	}
	t.Logf("joined in %v:\n%s", time.Since(begin).Round(10*time.Millisecond), out)
	a.Configured()
	a.start()
	a.waitOnline(a.H1)
	if out, err := a.R1.Try(a.BoxArgs(a.bin, "join", first)...); err != nil || !strings.Contains(out, "joined") {
		t.Errorf("join once more: %q, %v, want the news that the box has joined", out, err)
	}

	// Another machine with the same line: nobody knows its temporary key any more.
	thief := b.H1.Path("thief.conf")
	late := b.H1.Start(a.bin, "join", "-c", thief, "--run", b.H1.Path("run"), first)
	second := h.invite("school")
	if _, err := b.R1.Try(b.BoxArgs(b.bin, "join", second[:len(second)-2]+"xy")...); err == nil || !strings.Contains(err.Error(), "invitation") {
		t.Errorf("an invitation with a typing error: %v", err)
	}
	begin = time.Now()
	b.R1.Run(b.BoxArgs(b.bin, "join", second)...)
	t.Logf("the second box joined in %v", time.Since(begin).Round(10*time.Millisecond))
	b.Configured()
	b.start()
	b.waitOnline(b.H1)
	h.joinedStay(a, b)
	if _, err := os.Stat(thief); err == nil || strings.Contains(late.Output(), "wrote") || !late.Running() && late.Wait() == nil {
		t.Errorf("an invitation was used twice:\n%s", late.Output())
	}
}

// joinedStay: those that have joined are in the store.
func (h *ourHub) joinedStay(a, b *box) {
	h.Helper()
	before := owners(h.leases())
	h.hub.Kill()
	h.startHub()
	h.waitOnline(a.H1)
	b.waitOnline(b.H1)
	if after := owners(h.leases()); strings.Join(after, ",") != strings.Join(before, ",") {
		h.Errorf("leases after a restart %v, before %v", after, before)
	}
	h.hub.Signal(syscall.SIGHUP)
	if !netlab.Poll(soon, func() bool { return strings.Contains(h.hub.Output(), "configuration reloaded") }) {
		h.Errorf("no reload:\n%s", h.hub.Output())
	}
	s := h.hubStatus()
	names := []string{}
	for _, x := range s.Sites {
		names = append(names, x.Name+" "+x.Origin)
	}
	slices.Sort(names)
	if got := strings.Join(names, ", "); got != "library joined, school joined" {
		h.Errorf("sites %q", got)
	}
	if err := h.H1.Ping(netlab.WWWv6); err != nil {
		h.Errorf("h1 after SIGHUP: %v", err)
	}
	if said := h.R2.Run(h.HubArgs(h.hubBin, "hub", "remove", "school")...); !strings.HasPrefix(said, "school is removed") {
		h.Errorf("hub remove of a site says %q", said)
	}
	h.invite("nobody")
	if said := h.R2.Run(h.HubArgs(h.hubBin, "hub", "remove", "nobody")...); !strings.HasPrefix(said, "the invitation of nobody is taken back") {
		h.Errorf("hub remove of an invitation says %q", said)
	}
	if !netlab.Poll(soon, func() bool { return b.H1.Ping(netlab.WWWv6) != nil }) {
		h.Error("a site that was removed goes on")
	}
	if err := h.H1.Ping(netlab.WWWv6); err != nil {
		h.Errorf("h1 after another site was removed: %v", err)
	}
	h.wantAgreement("a site removed")
}

// invite asks the hub for an invitation.
func (h *ourHub) invite(name string) string {
	h.Helper()
	var out string
	if !netlab.Poll(soon, func() (ok bool) {
		var err error
		out, err = h.R2.Try(h.HubArgs(h.hubBin, "invite", name)...)
		return err == nil
	}) {
		h.Fatalf("invite %s:\n%s", name, h.hub.Output())
	}
	return strings.TrimSpace(out)
}
