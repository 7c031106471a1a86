// SPDX-License-Identifier: MIT

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"oasis6/internal/netlab"
)

// Issue 6, item 10: "an alarm when two boxes share one key".
func TestHubAndTwoBoxesWithOneKey(t *testing.T) {
	h := newHub(t, netlab.WorldConfig{TwoSites: true})
	h.B.BoxKey = h.BoxKey
	h.WriteHubConfig(h.HubConfig())
	b := h.second()
	h.startHub()
	h.start()
	h.waitOnline(h.H1)
	begin := time.Now()
	b.start()
	if !netlab.Poll(enough, func() bool { return b.HostDefaultRoute(b.H1).IsValid() && len(b.H1.GUAs("eth0")) > 0 }) {
		t.Fatalf("h1b has no address\n%s", b.text())
	}
	for _, n := range []*netlab.Node{h.H1, b.H1} { // both are used
		n.Start("ping", "-n", "-i", "0.5", netlab.WWWv6)
	}
	if !netlab.Poll(time.Minute, func() bool { return h.site(h.box).Flapping }) {
		t.Fatalf("no alarm within a minute\n%s\n%s", h.hubText(), h.hub.Output())
	}
	t.Logf("alarm after %v", time.Since(begin).Round(time.Second))
	if text := h.hubText(); !strings.Contains(text, "share the key of r1") {
		t.Errorf("the status does not say so:\n%s", text)
	}
}

// A pool for one site, and a second one that comes; then a disk that is full when a lease is to be written: "no Reply leaves,
// the site keeps what it has".
func TestHubWithoutRoom(t *testing.T) {
	one := netip.MustParsePrefix("2001:db8:ebbd:9900::/64")
	h := newHub(t, netlab.WorldConfig{TwoSites: true, Pool: one})
	h.R2.SmallDisk(h.HubState(), "2m")
	b := h.second()
	h.upHub(h.box)
	b.start()
	b.waitSummary("degraded: ", "NoPrefixAvail")
	b.wantNoDefaultRoute(b.H1)
	ping := h.pinging()

	h.R2.Try("sh", "-c", "cat /dev/zero >"+h.HubState()+"/fill") // until it is full
	h.Config.Pool = netip.MustParsePrefix("2001:db8:ebbd:9900::/63")
	h.reload()
	if !netlab.Poll(2*enough, func() bool { return h.hubStatus().Hub.StoreError != "" }) {
		t.Errorf("a full disk is not seen\n%s", h.hubText())
	}
	if s := h.hubStatus(); !strings.HasPrefix(s.Summary, "degraded: ") || !strings.Contains(s.Summary, "cannot be saved") {
		t.Errorf("summary %q", s.Summary)
	}
	if p := b.prefixOf(); p.IsValid() {
		t.Errorf("the second box has %s, which is on no disk", p)
	}
	h.wantAgreement("with a full disk")
	h.reportLoss("a full disk", ping)
	h.R2.Run("rm", h.HubState()+"/fill")
	b.waitOnline(b.H1) // its Solicits go on
	if e := h.hubStatus().Hub.StoreError; e != "" {
		t.Errorf("with room again: %s", e)
	}
	h.wantAgreement("with room again")
}

// "kill -9 at random points": after each start leases = routes = allowed-ips, and what a site was told is among them.
func TestHubKilledAgainAndAgain(t *testing.T) {
	h := newHub(t, netlab.WorldConfig{TwoSites: true})
	h.startHub()
	h.B.StartForeign()
	s := &binder{badSite: badSite{ourHub: h, site: h.B, asker: h.B.Ask(h.B.BoxKey.Public().LinkLocal(),
		&dhcpv6.DUIDUUID{UUID: [16]byte{15: 8}})}, told: map[byte]string{}}
	s.ask(dhcpv6.MessageTypeSolicit) // it is there, and the hub is to remember where
	time.Sleep(1500 * time.Millisecond)
	h.hub.Stop(syscall.SIGTERM)
	rng := rand.New(rand.NewPCG(6, 6))
	rounds, begin := 0, time.Now()
	for ; time.Since(begin) < enough; rounds++ {
		h.startHub()
		if !netlab.Poll(soon, func() bool { _, err := h.hubStatusErr(); return err == nil }) {
			t.Fatalf("round %d: the hub does not start:\n%s", rounds, h.hub.Output())
		}
		h.wantAgreement(fmt.Sprintf("round %d", rounds))
		s.wantTold(rounds)
		s.bindUntilKilled(rng)
	}
	t.Logf("%d rounds, %d answers, %d leases at the end", rounds, s.answers, len(s.told))
	if rounds < 5 || s.answers < 20 {
		t.Errorf("%d rounds with %d answers are too few to prove anything", rounds, s.answers)
	}
}

// binder is a site that binds and releases prefixes all the time.
type binder struct {
	badSite
	told    map[byte]string // by IAID: what the last Reply gave
	unsure  byte            // IAID of a message that had no answer
	answers int
}

// bindUntilKilled does so until the hub is gone, which is soon.
func (s *binder) bindUntilKilled(rng *rand.Rand) {
	s.Helper()
	hub := s.hub
	kill := time.AfterFunc(time.Duration(50+rng.IntN(900))*time.Millisecond, hub.Kill)
	defer kill.Stop()
	for hub.Running() {
		iaid := byte(1 + rng.IntN(6))
		typ := dhcpv6.MessageTypeRequest
		if _, bound := s.told[iaid]; bound {
			typ = dhcpv6.MessageTypeRelease
		}
		pd := &dhcpv6.OptIAPD{IaId: [4]byte{3: iaid}}
		if p := s.told[iaid]; p != "" {
			pd.Options.Add(wish(p))
		}
		m := s.asker.Message(typ, s.server, pd)
		a, err := s.asker.Once(m.ToBytes(), m.TransactionID, 200*time.Millisecond)
		if err != nil {
			s.Fatal(err)
		}
		s.unsure = iaid
		if a == nil {
			delete(s.told, iaid) // it may have been done or not
			continue
		}
		s.answers++
		delete(s.told, iaid)
		if ia := a.Options.OneIAPD(); typ == dhcpv6.MessageTypeRequest && ia != nil && len(ia.Options.Prefixes()) == 1 {
			s.told[iaid] = ia.Options.Prefixes()[0].Prefix.String()
		}
	}
}

// wantTold checks that what the site was told is still its own.
func (s *binder) wantTold(round int) {
	s.Helper()
	var mine []string
	for _, l := range s.leases() {
		if l.PublicKey == s.site.BoxKey.Public().String() && l.State == "bound" {
			mine = append(mine, l.Prefix)
		}
	}
	for iaid, p := range s.told {
		if !slices.Contains(mine, p) {
			s.Errorf("round %d: the site was told of %s for IA %d, and the hub knows nothing of it: %v", round, p, iaid, mine)
		}
	}
}
