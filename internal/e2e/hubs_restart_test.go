// SPDX-License-Identifier: MIT

package e2e

import (
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"oasis6/internal/netlab"
)

// foreign makes the second site one that is not oasis6: wireguard-go, dhcp6c and radvd, with a link-local address set by
// hand, and the default route by the hub's Router Advertisements.
func (h *ourHub) foreign() {
	h.Helper()
	h.B.LinkLocal = netip.MustParseAddr("fe80::2")
	h.WriteHubConfig(h.HubConfig())
	h.B.StartHandMadeByRA()
}

// waitForeign waits until the second site's host has IPv6.
func (h *ourHub) waitForeign() {
	h.Helper()
	b := h.B
	if !netlab.Poll(2*enough, func() bool { return h.HostHasGUA(b.H1, delegated) && b.H1.Ping(netlab.WWWv6) == nil }) {
		h.Fatalf("h1b is not on IPv6: %v\n%s\n%s", b.H1.GUAs("eth0"), b.R1.Run("ip", "-6", "route"), h.hubText())
	}
}

// firstEchoes measures when the hosts have echo replies again, from now on.
func (h *ourHub) firstEchoes(hosts ...*netlab.Node) []time.Duration {
	h.Helper()
	begin, took := time.Now(), make([]time.Duration, len(hosts))
	done := make(chan int)
	for i, n := range hosts {
		go func() {
			defer func() { done <- i }()
			at, err := n.FirstEcho(netlab.WWWv6, time.Minute)
			took[i] = at.Sub(begin)
			if err != nil {
				took[i] = time.Hour
			}
		}()
	}
	for range hosts {
		<-done
	}
	return took
}

// Issue 6: "after kill -9 and restart our sites are back in ≤ 8 s, foreign ones in ≤ 16 s, none renumbered". The foreign one is
// the interop of the item 6, too.
func TestHubKilledAndRestarted(t *testing.T) {
	h := newHub(t, netlab.WorldConfig{TwoSites: true})
	h.foreign()
	h.upHub(h.box)
	h.waitForeign()
	if r := h.B.R1.Run("ip", "-6", "route", "show", "default"); !strings.Contains(r, "proto ra") {
		t.Errorf("the foreign site has no default route by RA:\n%s", r)
	}
	before, guas := owners(h.leases()), [2]string{h.gua(), h.B.H1.GUAs("eth0")[0].String()}
	for round, what := range []string{"without their endpoints on disk", "with their endpoints on disk"} {
		if round == 1 { // a hub that stops writes at once what it has seen, else that is written within 30 s
			if !netlab.Poll(soon, func() bool { return h.hubStatus().Hub.SitesUp == 2 }) {
				t.Errorf("the hub does not see both sites\n%s", h.hubText())
			}
			h.hub.Stop(syscall.SIGTERM)
			h.startHub()
			h.firstEchoes(h.H1, h.B.H1)
		}
		h.hub.Kill()
		h.startHub()
		took := h.firstEchoes(h.H1, h.B.H1)
		t.Logf("kill -9, %s: our site is back after %v, the foreign one after %v", what, took[0].Round(10*time.Millisecond), took[1].Round(10*time.Millisecond))
		if took[0] > 8*time.Second || took[1] > 16*time.Second {
			t.Errorf("%s: want at most 8s and 16s\n%s", what, h.hubText())
		}
		if round == 1 && took[0] > 3*time.Second {
			t.Errorf("the hub did not call its sites by itself:\n%s", h.hub.Output())
		}
		h.wantAgreement("after kill -9")
		if after := owners(h.leases()); !slices.Equal(after, before) {
			t.Errorf("leases after kill -9 %v, before %v", after, before)
		}
	}
	if now := [2]string{h.gua(), h.B.H1.GUAs("eth0")[0].String()}; now != guas {
		t.Errorf("hosts have %v, had %v", now, guas)
	}
}

// SIGUSR2 and a successor: sites lose at most 1 s. SIGTERM: the kernel is as it was before the hub.
func TestHubHandsOverAndStops(t *testing.T) {
	h := &ourHub{box: newLoneBox(t, netlab.WorldConfig{})}
	h.settleR2()
	before6, before4 := h.R2.Snapshot6(), h.R2.Snapshot4()
	h.upHub(h.box)
	time.Sleep(time.Second) // the hub has seen where its site is
	ping := h.pinging()
	h.hub.Signal(syscall.SIGUSR2)
	if code := h.hub.WaitTimeout(soon); code != 0 {
		t.Errorf("exit code after SIGUSR2 = %d, want 0\n%s", code, h.hub.Output())
	}
	if r := h.R2.Run("ip", "-6", "route", "show", "type", "unreachable"); !strings.Contains(r, delegated.String()) {
		t.Errorf("SIGUSR2 took the routes away:\n%s", r)
	}
	h.startHub()
	if !netlab.Poll(enough, func() bool { s, err := h.hubStatusErr(); return err == nil && s.Hub.SitesUp == 1 }) {
		t.Errorf("the site is not back at the successor\n%s", h.hubText())
	}
	time.Sleep(time.Second)
	h.reportLoss("SIGUSR2 and successor", ping)

	begin := time.Now()
	if code := h.hub.Stop(syscall.SIGTERM); code != 0 || time.Since(begin) > 3*time.Second {
		t.Errorf("exit code %d %v after SIGTERM, want 0 within 3s\n%s", code, time.Since(begin), h.hub.Output())
	}
	if after := h.R2.Snapshot6(); after != before6 {
		t.Errorf("IPv6 state of R2 differs after SIGTERM:\n%s", netlab.Diff(before6, after))
	}
	if after := h.R2.Snapshot4(); after != before4 {
		t.Errorf("IPv4 state of R2 differs after SIGTERM:\n%s", netlab.Diff(before4, after))
	}
}
