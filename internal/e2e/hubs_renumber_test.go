// SPDX-License-Identifier: MIT

package e2e

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"oasis6/internal/netlab"
)

// Issue 6: "renumbering the hub moves every LAN host to the new prefix within 5 s with no failed new connection". The operator
// changes Pool and sends SIGHUP; T1 is far away.
func TestHubRenumbers(t *testing.T) {
	h := newHub(t, netlab.WorldConfig{TwoSites: true})
	a, b := h.box, h.second()
	h.upHub(a, b)
	h.waitOnline(h.H2)
	hosts := []*netlab.Node{a.H1, a.H2, b.H1}
	old := map[*netlab.Node]string{}
	var probers []*netlab.Prober
	for _, n := range hosts {
		old[n] = n.GUAs("eth0")[0].String()
		probers = append(probers, n.Probe(netip.MustParseAddrPort("["+netlab.WWWv6+"]:80")))
	}
	time.Sleep(time.Second)
	before := owners(h.leases())

	h.Config.Pool = otherPool
	begin := time.Now()
	h.reload()
	moved := func(n *netlab.Node) bool { // addresses that are deprecated do not count
		all := n.GUAs("eth0")
		return len(all) > 0 && !slices.ContainsFunc(all, func(a netip.Addr) bool { return !otherPool.Contains(a) })
	}
	for _, n := range hosts {
		if !netlab.Poll(enough, func() bool { return moved(n) }) {
			t.Fatalf("%s still begins with %v\n%s", n.Name, n.GUAs("eth0"), h.hubText())
		}
	}
	took := time.Since(begin)
	t.Logf("all hosts begin with the new prefix %v after SIGHUP", took.Round(10*time.Millisecond))
	if took > 5*time.Second {
		t.Errorf("hosts moved after %v, want at most 5s", took)
	}
	time.Sleep(2 * time.Second) // connections of the time after
	for i, p := range probers {
		all, err := p.Stop()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d connections: %s", hosts[i].Name, len(all), netlab.Summary(all))
		for _, c := range all {
			if c.Err != nil {
				t.Errorf("%s: %v after SIGHUP: %s", hosts[i].Name, c.At.Sub(begin).Round(time.Millisecond), c)
			}
		}
		if len(all) < 50 {
			t.Errorf("%s: %d connections prove nothing", hosts[i].Name, len(all))
		}
	}
	h.oldPrefixesLive(before, old)
}

// oldPrefixesLive: what sites had of the old pool is routed until it is over, so connections that run go on.
func (h *ourHub) oldPrefixesLive(before []string, old map[*netlab.Node]string) {
	h.Helper()
	after := owners(h.leases())
	for _, o := range before {
		if !slices.Contains(after, o) {
			h.Errorf("the lease %s is gone: %v", o, after)
		}
	}
	if len(after) != 2*len(before) {
		h.Errorf("leases %v, want those of before and as many new ones", after)
	}
	h.wantAgreement("renumbered")
	for n, addr := range old {
		if out, err := n.Try("ping", "-n", "-c1", "-W2", "-I", addr, netlab.WWWv6); err != nil {
			h.Errorf("%s: no echo reply to its old address %s: %v %s", n.Name, addr, err, out)
		}
	}
}
