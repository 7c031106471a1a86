// SPDX-License-Identifier: MIT

package client

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/lifetime"
)

// restored is a lease as an earlier process left it.
func restored() Lease {
	return Lease{Server: server("s1"), IAs: []IA{{dhcpv6.PD, 1, []Prefix{{
		Prefix: netip.MustParsePrefix("2001:db8:1::/64"), Preferred: lifetime.At(t0.Add(2000 * time.Second)), Valid: lifetime.At(t0.Add(4000 * time.Second))}}}},
		Info: Info{DNS: []netip.Addr{netip.MustParseAddr("2001:db8::53")}}, T1: lifetime.At(t0.Add(1000 * time.Second)), T2: lifetime.At(t0.Add(1600 * time.Second))}
}

// A restart: the LAN has its prefix before the link is up, and the first message is a Rebind with the
// prefix and the timers of Confirm (CNF_TIMEOUT 1 s, CNF_MAX_RT 4 s, CNF_MAX_RD 10 s). Nobody answers:
// "the client SHOULD continue to use any leases, using the last known lifetimes".
func TestRFC9915_18_2_12_RestartVerifiesByRebind(t *testing.T) {
	b := newBox(t, testConfig, randHalf)
	if act := b.step(t0, Restored{restored()}); !act.Changed || act.Persist != nil || len(act.Send) != 0 || b.c.Status().State != Bound {
		t.Errorf("Restored: %+v, state %s", act, b.c.Status().State)
	}
	b.run(`
	5s       LinkUp -> send:Rebind,2001:db8:1::/64 wake 6s rebinding
	5.999s   Tick -> wake 6s rebinding
	6s       Tick -> send:Rebind,2001:db8:1::/64 wake 8s rebinding
	8s       Tick -> send:Rebind,2001:db8:1::/64 wake 12s rebinding
	12s      Tick -> send:Rebind,2001:db8:1::/64 wake 15s rebinding
	14.999s  Tick -> wake 15s rebinding
	15s      Tick -> wake 16m40s bound`)
	b.wantLease("2001:db8:1::/64=1985/3985")
	if e := b.c.Status().LastError; e != "no DHCPv6 server confirms the lease, it is used on" {
		t.Errorf("LastError = %q", e)
	}
	b.run(`
	# an answer after 30 s is one still
	35s      Reply from=s2 t1=1000 t2=1600 2001:db8:1::/64=2000/4000 -> persist changed wake 17m15s bound`)
}

// Without an answer Renew and Rebind come at T1 and T2 as they would have.
func TestRFC9915_18_2_12_UnansweredVerifyKeepsTheSchedule(t *testing.T) {
	b := newBox(t, testConfig, randHalf)
	b.step(t0, Restored{restored()})
	b.run(`
	995s   LinkUp -> send:Rebind,2001:db8:1::/64 wake 16m36s rebinding
	996s   Tick -> send:Rebind,2001:db8:1::/64 wake 16m38s rebinding
	998s   Tick -> send:Rebind,2001:db8:1::/64 wake 16m42s rebinding
	1002s  Tick -> send:Rebind,2001:db8:1::/64 wake 16m45s rebinding
	1005s  Tick -> send:Renew>s1,2001:db8:1::/64 wake 16m55s renewing`)
}

// The server says that it does not know the lease: it stays in use while it is requested again.
func TestRFC9915_18_2_12_VerifyWithNoBinding(t *testing.T) {
	b := newBox(t, testConfig, randHalf)
	b.step(t0, Restored{restored()})
	b.run(`
	1s LinkUp -> send:Rebind,2001:db8:1::/64 wake 2s rebinding
	1s Reply ia=NoBinding -> send:Request>s1,2001:db8:1::/64 wake 2s requesting
	2s Reply t1=1000 t2=1600 2001:db8:1::/64=2000/4000 dns=2001:db8::53 -> persist changed wake 16m42s bound`)
}

// A lease that ended on the disk is none.
func TestRestoredLeaseThatIsOver(t *testing.T) {
	b := newBox(t, testConfig, randHalf)
	b.step(t0.Add(4000*time.Second), Restored{restored()})
	b.run(`4000s LinkUp -> send:Solicit,2001:db8:1::/64 wake 1h6m41.05s soliciting`)
	// After the first LinkUp it comes too late.
	b.step(t0.Add(4000*time.Second), Restored{restored()})
	b.wantLease("")
}

// "The first Confirm message from the client on the interface MUST be delayed by a random amount of time
// between 0 and CNF_MAX_DELAY", except on a point-to-point link.
func TestRFC9915_18_2_3_VerifyIsDelayedOnSharedLinks(t *testing.T) {
	cfg := testConfig
	cfg.PointToPoint = false
	b := newBox(t, cfg, randHalf)
	b.step(t0, Restored{restored()})
	b.run(`
	0s     LinkUp -> wake 500ms rebinding
	500ms  Tick -> send:Rebind,2001:db8:1::/64 wake 1.5s rebinding
	1.5s   Tick -> send:Rebind,2001:db8:1::/64 wake 3.5s rebinding
	3.5s   Tick -> send:Rebind,2001:db8:1::/64 wake 7.5s rebinding
	7.5s   Tick -> send:Rebind,2001:db8:1::/64 wake 10.5s rebinding
	10.5s  Tick -> wake 16m40s bound`)
}

// "only doing one of these at most every 30 seconds": a LinkUp within 30 s of the one before is made up for when
// they are over, unless the lease is just being verified.
func TestRFC9915_18_2_12_OneVerifyIn30Seconds(t *testing.T) {
	script(t, testConfig, boundAt0+`
	100s     LinkUp -> send:Rebind,2001:db8:1::/64 wake 1m41s rebinding
	100.5s   LinkUp -> wake 1m41s rebinding
	101s     Reply t1=1000 t2=1600 2001:db8:1::/64=2000/4000 -> persist changed wake 18m21s bound
	110s     LinkDown -> wake 35m1s bound
	129.999s LinkUp -> wake 2m10s bound
	130s     LinkUp -> send:Rebind,2001:db8:1::/64 wake 2m11s rebinding
	130.1s   LinkDown -> wake 35m1s bound
	131s     LinkUp -> wake 2m40s bound
	159.999s Tick -> wake 2m40s bound
	160s     Tick -> send:Rebind,2001:db8:1::/64 wake 2m41s rebinding`)
}

// A server that was silent for long is asked at once when the link comes up again, not after a backoff
// of 600 s.
func TestRFC9915_18_2_12_LinkUpDuringRebind(t *testing.T) {
	b := script(t, testConfig, boundAt0)
	act := b.act
	for act.Wake.Before(t0.Add(3000 * time.Second)) {
		act = b.step(act.Wake, Tick{})
	}
	b.run(`
	3000s LinkUp -> send:Rebind,2001:db8:1::/64 wake 50m1s rebinding
	3001s Reply t1=1000 t2=1600 2001:db8:1::/64=2000/4000 dns=2001:db8::53 search=lan.example -> persist changed wake 1h6m41s bound`)
}

// LinkDown: nothing is sent, the lease runs on, and the LAN learns of the ends of its lifetimes.
func TestLinkDownKeepsTheLease(t *testing.T) {
	b := script(t, testConfig, boundAt0+`
	1000s Tick -> send:Renew>s1,2001:db8:1::/64 wake 16m50s renewing
	1005s LinkDown -> wake 33m20s bound
	1006s Reply t1=1000 t2=1600 2001:db8:1::/64=2000/4000 -> drop wake 33m20s bound
	1600s Tick -> wake 33m20s bound
	2000s Tick -> changed wake 1h6m40s bound
	3999s Tick -> wake 1h6m40s bound
	4000s Tick -> persist changed stopped
	4001s LinkUp -> send:Solicit,2001:db8:1::/64 wake 1h6m42.05s soliciting
	4002s LinkDown -> stopped`)
	b.wantLease("")
}

// Stop sends nothing, a Release least of all: RFC 9096 WPD-9 wants none on restart events.
func TestRFC9096_WPD9_StopReleasesNothing(t *testing.T) {
	b := script(t, testConfig, boundAt0+`
	10s Stop -> wake 33m20s stopped
	1000s Tick -> wake 33m20s stopped`)
	b.wantLease("2001:db8:1::/64=1000/3000")
	b.run(`
	1001s LinkUp -> send:Rebind,2001:db8:1::/64 wake 16m42s rebinding
	1001s Stop -> wake 33m20s stopped
	1002s LinkUp -> send:Renew>s1,2001:db8:1::/64 wake 16m52s renewing`)
}

// A new hint is in the next Solicit that leaves, and in a Renew at once where a lease is held. What belongs
// to another IAID is nothing that we want.
func TestReconfigured(t *testing.T) {
	hinted := pd(1, "::/56")
	b := script(t, testConfig, `0s LinkUp -> send:Solicit wake 1.05s soliciting`)
	b.step(t0, Reconfigured{hinted})
	b.run(`
	1.05s Tick -> send:Solicit,::/56 wake 3.15s soliciting
	2s LinkDown -> stopped
	2s LinkUp -> send:Solicit,::/56 wake 3.05s soliciting`)
	c := script(t, testConfig, boundAt0)
	c.step(t0, Reconfigured{hinted})
	if got := c.did(0); got != "send:Renew>s1,2001:db8:1::/64,::/56 wake 10s renewing" {
		t.Errorf("new hint with a lease: %s", got)
	}
	c.run(`1s Reply t1=1000 t2=1600 2001:db8:1::/64=0/0 2001:db8:2::/56=2000/4000 -> persist changed wake 16m41s bound`)
	c.step(t0.Add(time.Second), Reconfigured{pd(2, "::/56")})
	if got := c.did(0); got != "persist changed send:Solicit,pd2:::/56 wake 2.05s soliciting" {
		t.Errorf("new IAID with a lease: %s", got)
	}
}

// A lease that was given out is never changed.
func TestLeaseIsAValue(t *testing.T) {
	b := script(t, testConfig, boundAt0+`
	1000s Tick -> send:Renew>s1,2001:db8:1::/64 wake 16m50s renewing`)
	before := b.c.Lease()
	copied := before
	copied.IAs = []IA{{dhcpv6.PD, 1, slices.Clone(before.IAs[0].Prefixes)}}
	b.run(`1000s Reply t1=10 t2=20 2001:db8:1::/64=0/0 2001:db8:2::/64=5/6 -> persist changed wake 16m43s bound`)
	if !before.sameForLAN(copied) || b.c.Lease().sameForLAN(copied) {
		t.Errorf("the lease of before is now %+v", before)
	}
}
