// SPDX-License-Identifier: MIT

package client

import (
	"slices"
	"testing"
	"time"

	"oasis6/dhcpv6"
)

// Information-request: INF_TIMEOUT 1 s, INF_MAX_RT 3600 s, no bound; the refresh time of the Reply, 86400 s without
// one, 600 s at least; then it is asked for again.
func TestRFC9915_18_2_6_InformationRequest(t *testing.T) {
	b := script(t, wants(), `
	0s LinkUp -> send:Information-request wake 1s informing
	1s Tick -> send:Information-request wake 3s informing
	3s Reply dns=2001:db8::53 search=lan.example refresh=1000 -> persist changed wake 16m43s informed
	1003s Tick -> send:Information-request wake 16m44s informing
	1003s Reply dns=2001:db8::53 search=lan.example refresh=600 -> persist wake 26m43s informed
	1603s Tick -> send:Information-request wake 26m44s informing
	1603s Reply dns=2001:db8::54 -> persist changed wake 24h26m43s informed`)
	l := b.c.Lease()
	if len(l.Info.DNS) != 1 || l.Info.DNS[0].String() != "2001:db8::54" || l.Info.Search != nil {
		t.Errorf("configuration %+v", l.Info)
	}
}

// "The client MUST include an Option Request option" with the options it wants, INF_MAX_RT and the refresh time among
// them, and no IA.
func TestRFC9915_18_2_6_InformationRequestContents(t *testing.T) {
	b := script(t, wants(), `0s LinkUp -> send:Information-request wake 1s informing`)
	for _, o := range []dhcpv6.OptionCode{dhcpv6.OptionDNSServers, dhcpv6.OptionDomainList, dhcpv6.OptionNTPServer, dhcpv6.OptionRefreshTime, dhcpv6.OptionInfMaxRT, dhcpv6.OptionEncryptedDNS} {
		if !slices.Contains(b.last.ORO, o) {
			t.Errorf("%s is not asked for in %v", o, b.last.ORO)
		}
	}
	if len(b.last.IAs) != 0 || b.last.ServerID != "" || b.last.ClientID != ourDUID || !b.last.ReconfigureAccept {
		t.Errorf("message %+v", b.last)
	}
	cfg := wants()
	cfg.PointToPoint = false
	script(t, cfg, `
	0s LinkUp -> wake 500ms informing
	500ms Tick -> send:Information-request wake 1.5s informing`)
}

// INF_MAX_RT bounds the retransmission times once a server has set it, as SOL_MAX_RT does for Solicit.
func TestRFC9915_18_2_6_InfMaxRT(t *testing.T) {
	b := script(t, wants(), `
	0s LinkUp -> send:Information-request wake 1s informing
	0s Reply status=UnspecFail infmaxrt=60 -> wake 1s informing`)
	act := b.act
	var longest time.Duration
	for range 20 {
		before := b.now
		act = b.step(act.Wake, Tick{})
		longest = max(longest, b.now.Sub(before))
	}
	if longest < 50*time.Second || longest > 66*time.Second {
		t.Errorf("longest RT %v, want INF_MAX_RT of 60 s", longest)
	}
}

// The configuration of before is used until the server says otherwise: over a loss of the link, a restart, and while
// a refresh is not answered.
func TestStatelessKeepsItsConfiguration(t *testing.T) {
	b := script(t, wants(), `
	0s LinkUp -> send:Information-request wake 1s informing
	0s Reply dns=2001:db8::53 refresh=1000 -> persist changed wake 16m40s informed
	1s LinkDown -> informed
	10s LinkUp -> wake 30s informing
	30s Tick -> send:Information-request wake 31s informing
	31s LinkDown -> informed`)
	data, err := EncodeLease(b.c.Lease(), ourDUID, 1, b.now, wallTime, "boot-a")
	if err != nil {
		t.Fatal(err)
	}
	l, _, _, _, err := DecodeLease(data, b.now, wallTime, "boot-a")
	if err != nil {
		t.Fatal(err)
	}
	next := newBox(t, wants(), randHalf)
	if act := next.step(b.now, Restored{l}); !act.Changed || len(next.c.Lease().Info.DNS) != 1 {
		t.Errorf("after a restart: %+v", next.c.Lease())
	}
	next.run(`40s LinkUp -> send:Information-request wake 41s informing`)
	if len(next.c.Lease().Info.DNS) != 1 {
		t.Error("the configuration is gone while it is asked for")
	}
}

// A client that had leases becomes a stateless one, and the other way round.
func TestStatelessAndBack(t *testing.T) {
	b := script(t, testConfig, boundAt0)
	b.step(t0, Reconfigured{wants()})
	if got := b.did(0); got != "persist changed send:Information-request wake 1s informing" {
		t.Errorf("to stateless: %s", got)
	}
	b.run(`1s Reply dns=2001:db8::53 refresh=1000 -> persist changed wake 16m41s informed`)
	b.step(t0.Add(2*time.Second), Reconfigured{testConfig})
	if got := b.did(0); got != "send:Solicit wake 3.05s soliciting" {
		t.Errorf("and back: %s", got)
	}
}

// NTP servers and encrypted resolvers come along with the lease; what a later Reply leaves out is used no longer.
func TestRFC9915_18_2_10_5_ConfigurationComesAndGoes(t *testing.T) {
	b := newBox(t, testConfig, randHalf)
	b.step(t0, LinkUp{})
	r := dhcpv6.Message{Type: dhcpv6.Reply, XID: b.last.XID, ClientID: ourDUID, ServerID: server("s1"), RapidCommit: true,
		IAs:          []dhcpv6.IA{{IAID: 1, T1: 1000, T2: 1600, Prefixes: []dhcpv6.IAPrefix{prefixOption(t, "2001:db8:1::/64", "2000/4000")}}},
		NTP:          []dhcpv6.NTPServer{{Name: "ntp.example"}, {Name: "ntp.example"}},
		EncryptedDNS: []dhcpv6.EncryptedDNS{{Priority: 1, Name: "dot.example", Addrs: restored().Info.DNS, Params: "\x00\x01\x00\x04\x03dot"}},
	}
	b.step(t0, Received{From: serverAddr, Data: r.Append(nil)})
	if i := b.c.Lease().Info; len(i.NTP) != 1 || len(i.EncryptedDNS) != 1 || i.EncryptedDNS[0].Name != "dot.example" {
		t.Errorf("configuration %+v", i)
	}
	b.run(`
	1000s Tick -> send:Renew>s1,2001:db8:1::/64 wake 16m50s renewing
	1000s Reply t1=1000 t2=1600 2001:db8:1::/64=2000/4000 -> persist changed wake 33m20s bound`)
	if i := b.c.Lease().Info; i.NTP != nil || len(i.EncryptedDNS) != 0 {
		t.Errorf("what the server left out is still there: %+v", i)
	}
}
