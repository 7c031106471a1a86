// SPDX-License-Identifier: MIT

package client

import (
	"testing"
	"time"
)

// A server was silent for most of an hour; a handshake of the tunnel makes the waiting client ask at once, one
// message in 30 s at most, and its retransmission times go on as they were.
func TestReachableAsksASilentServerAgain(t *testing.T) {
	b := script(t, testConfig, boundAt0)
	for act := b.act; act.Wake.Before(t0.Add(2500 * time.Second)); act = b.step(act.Wake, Tick{}) {
	}
	b.run(`
	2500s    Reachable -> send:Rebind,2001:db8:1::/64 wake 47m10s rebinding
	2529.9s  Reachable -> wake 47m10s rebinding
	2530s    Reachable -> send:Rebind,2001:db8:1::/64 wake 47m10s rebinding
	2531s    Reply t1=1000 t2=1600 2001:db8:1::/64=2000/4000 dns=2001:db8::53 search=lan.example -> persist changed wake 58m51s bound
	2600s    Reachable -> wake 58m51s bound`)
}

// An exchange that has only just begun waits for its answer.
func TestReachableDoesNotHurryAnybody(t *testing.T) {
	script(t, testConfig, `
	0s Reachable -> stopped
	0s LinkUp -> send:Solicit wake 1.05s soliciting
	40s Tick -> send:Solicit wake 42.1s soliciting
	41s Reachable -> wake 42.1s soliciting`)
	script(t, testConfig, boundAt0+`
	500s  Reachable -> wake 16m40s bound
	1000s Tick -> send:Renew>s1,2001:db8:1::/64 wake 16m50s renewing
	1001s Reachable -> wake 16m50s renewing`)
}

// Without a lease too: a box whose hub got its DHCPv6 server after an hour does not wait for SOL_MAX_RT. One that the
// server has set is obeyed.
func TestReachableDuringSolicit(t *testing.T) {
	for _, set := range []bool{false, true} {
		b := script(t, testConfig, `0s LinkUp -> send:Solicit wake 1.05s soliciting`)
		if set {
			b.run(`0s Advertise solmaxrt=7200 -> wake 1.05s soliciting`)
		}
		for act := b.act; act.Wake.Before(t0.Add(time.Hour)); act = b.step(act.Wake, Tick{}) {
		}
		b.step(t0.Add(time.Hour), Reachable{})
		if sent := len(b.act.Send) > 0; sent == set {
			t.Errorf("SOL_MAX_RT set %v: sent %v", set, sent)
		}
	}
}

// A lease that nobody has confirmed after a restart is verified with the next handshake.
func TestReachableVerifiesAgain(t *testing.T) {
	b := newBox(t, testConfig, randHalf)
	b.step(t0, Restored{restored()})
	b.run(`
	0s   LinkUp -> send:Rebind,2001:db8:1::/64 wake 1s rebinding
	20s  Tick -> wake 16m40s bound
	25s  Reachable -> wake 16m40s bound
	120s Reachable -> send:Rebind,2001:db8:1::/64 wake 2m1s rebinding
	120s Reply t1=1000 t2=1600 2001:db8:1::/64=2000/4000 dns=2001:db8::53 -> persist changed wake 18m40s bound
	240s Reachable -> wake 18m40s bound`)
}
