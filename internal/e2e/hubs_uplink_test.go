// SPDX-License-Identifier: MIT

package e2e

import (
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"oasis6/internal/netlab"
)

// farAway is an address behind the provider's router, which R2 reaches by its default route alone.
const farAway = "2001:db8:0:7::80"

// Issue 6, item 5: R2 has its default route by RA and does not forward before the hub starts. The hub keeps the route while
// it forwards, and puts both back. Its firewall is open to sites unless it is closed.
func TestHubKeepsTheRouteOfItsUplink(t *testing.T) {
	h := newHub(t, netlab.WorldConfig{})
	h.R2.Sysctl("net.ipv6.conf.all.forwarding", "0")
	h.R2.Sysctl("net.ipv6.conf.eth1.accept_ra", "1")
	h.WWW.Addr("lo", farAway+"/128")
	h.WWW.Sysctl("net.ipv6.conf.all.forwarding", "1")
	h.WWW.StartRadvd("eth1", "\tMinRtrAdvInterval 3;", "\tMaxRtrAdvInterval 4;", "\tAdvDefaultLifetime 20;")
	learned := func() string { return h.R2.Run("ip", "-6", "route", "show", "default", "proto", "ra", "dev", "eth1") }
	if !netlab.Poll(enough, func() bool { return learned() != "" }) {
		t.Fatalf("R2 learns no default route:\n%s", h.R2.Run("ip", "-6", "route"))
	}
	h.settleR2()
	before := h.R2.Snapshot6()
	h.WriteBoxConfig(h.BoxConfig("[Router]", "Firewall = open"))
	h.upHub(h.box)
	if v := h.R2.SysctlGet("net.ipv6.conf.eth1.accept_ra"); v != "2" {
		t.Errorf("accept_ra of the uplink is %s while the hub forwards, want 2", v)
	}
	h.firewallOfTheHub()
	time.Sleep(5 * time.Second) // another RA has come
	if learned() == "" {
		t.Errorf("R2 has lost its default route:\n%s", h.R2.Run("ip", "-6", "route"))
	}
	if err := h.H1.Ping(farAway); err != nil {
		t.Errorf("h1 does not reach what is behind R2's default route: %v", err)
	}
	h.hub.Stop(syscall.SIGTERM)
	if after := h.R2.Snapshot6(); after != before {
		t.Errorf("IPv6 state of R2 differs after SIGTERM:\n%s", netlab.Diff(before, after))
	}
}

// settleR2 waits until R2 is at rest, for snapshots.
func (h *ourHub) settleR2() {
	h.Helper()
	h.R2.WaitFor(soon, "addresses still in DAD", func() bool { return h.R2.Run("ip", "-6", "-o", "addr", "show", "tentative") == "" })
}

// firewallOfTheHub checks who can begin flows to a host of the LAN, whose box lets everybody in.
func (h *ourHub) firewallOfTheHub() {
	h.Helper()
	ln, err := h.H1.Listen("tcp6", ":80")
	if err != nil {
		h.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: soon, Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("h1")) })}
	go func() { _ = srv.Serve(ln) }() // always ErrServerClosed
	h.Cleanup(func() { _ = srv.Close() })
	addr := h.gua()
	reached := func() bool { body, err := h.WWW.Fetch(addr); return err == nil && body == "h1" }
	if !netlab.Poll(soon, reached) {
		h.Errorf("www does not reach h1 through the open firewall of the hub\n%s", h.R2.Run("nft", "list", "ruleset"))
	}
	h.reload("[Router]", "Firewall = closed")
	if !netlab.Poll(soon, func() bool { return !reached() }) {
		h.Error("www reaches h1 through the closed firewall of the hub")
	}
	if body, err := h.H1.Fetch(netlab.WWWv6); err != nil || !strings.Contains(body, netlab.WWWText) {
		h.Errorf("answers do not pass the closed firewall of the hub: %q, %v", body, err)
	}
	h.reload()
	if !netlab.Poll(soon, reached) {
		h.Error("www does not reach h1 after the firewall was opened again")
	}
}

// Issue 6, item 5: the provider has the pool on the link and routes nothing. With OnLink the hub answers for its sites there.
func TestHubOnLink(t *testing.T) {
	h := newHub(t, netlab.WorldConfig{})
	h.WWW.Run("ip", "-6", "route", "del", "default")
	h.WWW.Run("ip", "-6", "route", "add", delegated.String(), "dev", "eth1")
	h.startHub()
	h.start()
	if !netlab.Poll(enough, func() bool { return h.HostHasGUA(h.H1, delegated) }) {
		t.Fatalf("h1 has no address\n%s", h.text())
	}
	if h.H1.Ping(netlab.WWWv6) == nil {
		t.Error("h1 has an answer although nobody speaks for it on the provider's link: the rest proves nothing")
	}
	h.reload("OnLink = yes")
	if !netlab.Poll(enough, func() bool { return h.online(h.H1) }) {
		t.Errorf("h1 has no answer with OnLink\n%s\n%s", h.WWW.Run("ip", "-6", "neigh"), h.hubText())
	}
	if text := h.hubText(); !strings.Contains(text, "ask the provider to route a prefix") {
		t.Errorf("the status does not warn of OnLink:\n%s", text)
	}
	if s := h.hubStatus(); s.Hub.NDAnswered == 0 || !strings.HasPrefix(s.Summary, "up: ") {
		t.Errorf("%d solicitations answered, summary %q", s.Hub.NDAnswered, s.Summary)
	}
	// The hub's own address on that link stays its own, and one that nobody has is unreachable.
	if err := h.WWW.Ping("2001:db8:0:6::1"); err != nil {
		t.Errorf("www does not reach the hub itself: %v", err)
	}
	if out, err := h.WWW.Try("ping", "-n", "-c1", "-W2", netip.MustParseAddr("2001:db8:ebbd:99f0::1").String()); err == nil {
		t.Errorf("an address that no site has answers: %s", out)
	}
}
