// SPDX-License-Identifier: MIT

package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"oasis6/hub"
	"oasis6/internal/netlab"
	"oasis6/status"
)

// ourHub is a world whose R2 is `oasis6 hub`. The first box is embedded.
type ourHub struct {
	*box
	hub *netlab.Proc
}

// newHub makes a world beside others. The hub has the lines beside the usual ones, which are those of WorldConfig; neither it
// nor the boxes are started.
func newHub(t *testing.T, c netlab.WorldConfig, lines ...string) *ourHub {
	t.Helper()
	h := &ourHub{box: newBox(t, c)}
	h.WriteHubConfig(h.HubConfig(lines...))
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(h.hubText())
		}
	})
	return h
}

func (h *ourHub) startHub() {
	h.Helper()
	h.hub = h.StartHub(h.hubBin)
}

// upHub starts the hub and the boxes, and waits until each has IPv6.
func (h *ourHub) upHub(boxes ...*box) {
	h.Helper()
	h.startHub()
	for _, b := range boxes {
		b.start()
	}
	for _, b := range boxes {
		b.waitOnline(b.H1)
	}
}

// reload gives the running hub other lines.
func (h *ourHub) reload(lines ...string) {
	h.Helper()
	h.WriteHubConfig(h.HubConfig(lines...))
	before := len(h.hub.Output())
	h.hub.Signal(syscall.SIGHUP)
	if !h.hub.WaitNewOutput(soon, before, "configuration reloaded") {
		h.Fatalf("the hub does not reload:\n%s", h.hub.Output()[before:])
	}
}

// hubStatusErr is the hub's status.
func (h *ourHub) hubStatusErr() (s status.Snapshot, err error) {
	h.Helper()
	out, err := h.R2.Try(h.HubArgs(h.hubBin, "status", "--json")...)
	if err != nil {
		return s, err
	}
	if bad := h.schema.Validate([]byte(out)); len(bad) > 0 {
		h.Errorf("the hub's status --json does not follow docs/status.schema.json: %q", bad)
	}
	err = json.Unmarshal([]byte(out), &s)
	if err == nil && (s.Hub == nil || s.Role != "hub") {
		err = fmt.Errorf("status is not of a hub: %s", out)
	}
	return s, err
}

func (h *ourHub) hubStatus() status.Snapshot {
	h.Helper()
	s, err := h.hubStatusErr()
	if err != nil {
		h.Fatalf("status of the hub: %v", err)
	}
	return s
}

// site is what the hub's status says of a box.
func (h *ourHub) site(b *box) status.Site {
	h.Helper()
	for _, s := range h.hubStatus().Sites {
		if s.PublicKey == b.BoxKey.Public().String() {
			return s
		}
	}
	h.Fatalf("the hub's status has no site %s", b.BoxKey.Public())
	return status.Site{}
}

// hubText is the hub's status as an operator reads it.
func (h *ourHub) hubText() string {
	out, err := h.R2.Try(h.HubArgs(h.hubBin, "status")...)
	if err != nil {
		return err.Error()
	}
	return out
}

// leases are what `oasis6 hub leases --json` lists, of the running hub or of its store.
func (h *ourHub) leases() []hub.Lease {
	h.Helper()
	out := h.R2.Run(h.HubArgs(h.hubBin, "hub", "--json", "leases")...)
	var a struct{ Leases []hub.Lease }
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		h.Fatalf("hub leases: %v\n%s", err, out)
	}
	return a.Leases
}

// prefixOf is the one prefix of a box, as its status has it; not valid while there is none.
func (b *box) prefixOf() netip.Prefix {
	b.Helper()
	s, err := b.statusErr()
	if err != nil || len(s.Prefixes) != 1 {
		return netip.Prefix{}
	}
	p, err := netip.ParsePrefix(s.Prefixes[0].Prefix)
	if err != nil {
		b.Fatalf("status: %v", err)
	}
	return p
}

// gua is the first global address of the site's host.
func (b *box) gua() string {
	b.Helper()
	all := b.H1.GUAs("eth0")
	if len(all) == 0 {
		b.Fatalf("%s has no global address\n%s", b.H1.Name, b.text())
	}
	return all[0].String()
}

// agreement is what the hub has in the three places where a lease is, each sorted: its own list, the kernel's routes, and
// WireGuard's allowed-ips without link-local ones.
func (h *ourHub) agreement() (leases, routes, allowed []string) {
	h.Helper()
	for _, l := range h.leases() {
		if l.ValidS != 0 && l.State != "over" {
			leases = append(leases, l.Prefix)
		}
	}
	for line := range strings.Lines(h.R2.Run("ip", "-6", "route", "show", "proto", "66", "dev", netlab.BoxTunnel)) {
		if to, _, _ := strings.Cut(strings.TrimSpace(line), " "); !strings.HasPrefix(to, "fe80") {
			routes = append(routes, to)
		}
	}
	for line := range strings.Lines(h.R2.Run("wg", "show", netlab.BoxTunnel, "allowed-ips")) {
		for _, ip := range strings.Fields(line)[1:] {
			if !strings.HasPrefix(ip, "fe80") && ip != "(none)" {
				allowed = append(allowed, ip)
			}
		}
	}
	for _, list := range [][]string{leases, routes, allowed} {
		slices.Sort(list)
	}
	return leases, routes, allowed
}

// wantAgreement: "leases = routes = allowed-ips exactly".
func (h *ourHub) wantAgreement(what string) {
	h.Helper()
	var l, r, a []string
	if !netlab.Poll(soon, func() bool {
		l, r, a = h.agreement()
		return slices.Equal(l, r) && slices.Equal(r, a)
	}) {
		h.Errorf("%s: leases %v\nroutes %v\nallowed-ips %v", what, l, r, a)
	}
}

// Issue 6: "two boxes on one hub reach the Internet and, only if allowed, each other".
func TestHubWithTwoBoxes(t *testing.T) {
	h := newHub(t, netlab.WorldConfig{TwoSites: true})
	a, b := h.box, h.second()
	h.upHub(a, b)
	if a.prefixOf() == b.prefixOf() {
		t.Fatalf("both boxes have %s", a.prefixOf())
	}
	for _, x := range []*box{a, b} {
		body, err := x.H1.Fetch(netlab.WWWv6)
		if err != nil || !strings.Contains(body, netlab.WWWText) || !strings.Contains(body, x.gua()) {
			t.Errorf("%s: fetch over IPv6 = %q, %v, want the greeting and %s", x.H1.Name, body, err, x.gua())
		}
		if err := x.CheckIPv4(x.H1); err != nil {
			t.Error(err)
		}
		if s := h.site(x); s.State != "up" || s.Name != x.R1.Name || len(s.Leases) != 1 || s.Leases[0].Prefix != x.prefixOf().String() ||
			!strings.HasPrefix(s.Endpoint, x.Publicv4+":") {
			t.Errorf("the hub's status of %s: %+v", x.R1.Name, s)
		}
	}
	h.wantAgreement("two boxes")
	running := h.leases()

	out, err := a.H1.Try("ping", "-n", "-c2", "-W2", b.gua())
	if err == nil || !strings.Contains(out, "prohibited") {
		t.Errorf("from site to site without leave: %v, %s, want Administratively prohibited", err, out)
	}
	h.reload("SiteToSite = yes")
	if !netlab.Poll(soon, func() bool { return a.H1.Ping(b.gua()) == nil && b.H1.Ping(a.gua()) == nil }) {
		t.Errorf("from site to site with leave: no echo reply\n%s", h.hubText())
	}
	h.reload("SiteToSite = no")
	if !netlab.Poll(soon, func() bool { return a.H1.Ping(b.gua()) != nil }) {
		t.Error("from site to site after the leave was taken back: echo reply")
	}

	h.leaveAndReturn(a, b)
	t.Logf("status:\n%s\n%s", h.hubText(), h.R2.Run(h.HubArgs(h.hubBin, "hub", "leases")...))
	if code := h.hub.Stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d after SIGTERM:\n%s", code, h.hub.Output())
	}
	if stored := h.leases(); !slices.Equal(owners(stored), owners(running)) {
		t.Errorf("leases of the store %q, of the running hub %q", owners(stored), owners(running))
	}
}

// leaveAndReturn: sites are taken out of the file and put in again, while the hub runs. The one that stays notices nothing, and
// the one that returns has what it had.
func (h *ourHub) leaveAndReturn(stays, leaves *box) {
	h.Helper()
	had := leaves.prefixOf()
	ping := stays.pinging()
	leaves.ByInvitation = true // so HubConfig leaves it out
	h.reload()
	if !netlab.Poll(soon, func() bool { return leaves.H1.Ping(netlab.WWWv6) != nil }) {
		h.Errorf("a site that was taken out of the file goes on\n%s", h.hubText())
	}
	h.wantAgreement("a site less")
	leaves.ByInvitation = false
	h.reload()
	leaves.waitOnline(leaves.H1)
	if p := leaves.prefixOf(); p != had {
		h.Errorf("the site that returned has %s, had %s", p, had)
	}
	stays.reportLoss("another site left and returned", ping)
	h.wantAgreement("a site returned")
}

// owners is who has what, sorted.
func owners(all []hub.Lease) (out []string) {
	for _, l := range all {
		out = append(out, l.Prefix+" "+l.PublicKey)
	}
	slices.Sort(out)
	return out
}
