// SPDX-License-Identifier: MIT

package client

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/lifetime"
)

// "At time T1, the client initiates a Renew/Reply message exchange to extend the lifetimes"; IRT
// REN_TIMEOUT 10 s.
func TestCE_1_2_05_Renew(t *testing.T) {
	b := script(t, testConfig, boundAt0+`
	999.999s Tick -> wake 16m40s bound
	1000s    Tick -> send:Renew>s1,2001:db8:1::/64 wake 16m50s renewing
	1009.999s Tick -> wake 16m50s renewing
	1010s    Tick -> send:Renew>s1,2001:db8:1::/64 wake 17m10s renewing
	1011s    Reply t1=1000 t2=1600 2001:db8:1::/64=2000/4000 dns=2001:db8::53 search=lan.example -> persist changed wake 33m31s bound`)
	b.wantLease("2001:db8:1::/64=2000/4000")
	if e := b.c.Status().LastError; e != "" {
		t.Errorf("LastError = %q", e)
	}
}

// REN_MAX_RT 600 s, MRD "Remaining time until earliest T2".
func TestRFC9915_18_2_4_RenewUntilT2(t *testing.T) {
	script(t, testConfig, `
	0s LinkUp -> send:Solicit wake 1.05s soliciting
	0s Reply rapid t1=1000 t2=4000 2001:db8:1::/64=5000/9000 -> persist changed wake 16m40s bound
	1000s    Tick -> send:Renew>s1,2001:db8:1::/64 wake 16m50s renewing
	1010s    Tick -> send:Renew>s1,2001:db8:1::/64 wake 17m10s renewing
	1030s    Tick -> send:Renew>s1,2001:db8:1::/64 wake 17m50s renewing
	1070s    Tick -> send:Renew>s1,2001:db8:1::/64 wake 19m10s renewing
	1150s    Tick -> send:Renew>s1,2001:db8:1::/64 wake 21m50s renewing
	1310s    Tick -> send:Renew>s1,2001:db8:1::/64 wake 27m10s renewing
	1630s    Tick -> send:Renew>s1,2001:db8:1::/64 wake 37m10s renewing
	2230s    Tick -> send:Renew>s1,2001:db8:1::/64 wake 47m10s renewing
	2830s    Tick -> send:Renew>s1,2001:db8:1::/64 wake 57m10s renewing
	3430s    Tick -> send:Renew>s1,2001:db8:1::/64 wake 1h6m40s renewing
	3999.9s  Tick -> wake 1h6m40s renewing
	4000s    Tick -> send:Rebind,2001:db8:1::/64 wake 1h6m50s rebinding`)
}

// "At time T2 [...] the client initiates a Rebind/Reply message exchange with any available server"; it "is
// terminated when the valid lifetimes of all leases across all IAs have expired, at which time the client
// uses the Solicit message". The prefix is usable until the second, then offered again as a hint.
func TestCE_1_2_06_RebindUntilTheEnd(t *testing.T) {
	b := script(t, testConfig, boundAt0+`
	1600s    Tick -> send:Rebind,2001:db8:1::/64 wake 26m50s rebinding
	1610s    Tick -> send:Rebind,2001:db8:1::/64 wake 27m10s rebinding
	1630s    Tick -> send:Rebind,2001:db8:1::/64 wake 27m50s rebinding
	1670s    Tick -> send:Rebind,2001:db8:1::/64 wake 29m10s rebinding
	1750s    Tick -> send:Rebind,2001:db8:1::/64 wake 31m50s rebinding
	1910s    Tick -> send:Rebind,2001:db8:1::/64 wake 33m20s rebinding
	1999.999s Tick -> wake 33m20s rebinding
	2000s    Tick -> changed wake 37m10s rebinding
	2230s    Tick -> send:Rebind,2001:db8:1::/64 wake 47m10s rebinding
	2830s    Tick -> send:Rebind,2001:db8:1::/64 wake 57m10s rebinding
	3430s    Tick -> send:Rebind,2001:db8:1::/64 wake 1h6m40s rebinding
	3999.999s Tick -> wake 1h6m40s rebinding`)
	b.wantLease("2001:db8:1::/64=0/0")
	b.run(`4000s Tick -> persist changed send:Solicit,2001:db8:1::/64 wake 1h6m41.05s soliciting`)
	if l := b.c.Lease(); l.Server != "" || l.Info.DNS != nil || l.Info.Search != nil || !b.warned("prefix expired prefix=2001:db8:1::/64") {
		t.Errorf("after the end: %+v, notes %v", l, b.act.Notes)
	}
}

// A Rebind is answered by another server, which is then the server of the lease.
func TestRFC9915_18_2_5_AnotherServerRebinds(t *testing.T) {
	b := script(t, testConfig, boundAt0+`
	1600s  Tick -> send:Rebind,2001:db8:1::/64 wake 26m50s rebinding
	1601s  Reply from=s2 t1=100 t2=160 2001:db8:1::/64=2000/4000 dns=2001:db8::53 search=lan.example -> persist changed wake 28m21s bound
	1701s  Tick -> send:Renew>s2,2001:db8:1::/64 wake 28m31s renewing`)
	if l := b.c.Lease(); l.Server != server("s2") || l.ServerAddr != serverAddr {
		t.Errorf("lease is of %s at %s", l.Server, l.ServerAddr)
	}
}

// "the client MUST use the values in the T1 and T2 fields": not if they leave no time for a Renew, since then the
// LAN loses a prefix that the server would have extended.
func TestRFC9915_21_21_LIFETIMES_T1AndT2BeyondThem(t *testing.T) {
	type p = dhcpv6.IAPrefix
	const inf = 0xffffffff
	for _, tc := range []struct {
		name   string
		t1, t2 uint32
		p      []p
		want   string
	}{
		{"both beyond", 7200, 10800, []p{{Preferred: 3600, Valid: 3600}}, "30m0s 48m0s"},
		{"both infinite", inf, inf, []p{{Preferred: 3600, Valid: 7200}}, "30m0s 48m0s"},
		{"at the end", 3600, 3600, []p{{Preferred: 3600, Valid: 7200}}, "30m0s 48m0s"},
		{"just before", 3599, 3599, []p{{Preferred: 3600, Valid: 7200}}, "59m59s 59m59s"},
		{"T2 infinite", 600, inf, []p{{Preferred: 3600, Valid: 7200}}, "10m0s 48m0s"},
		{"T2 beyond, T1 behind the new T2", 3000, 7200, []p{{Preferred: 3600, Valid: 7200}}, "50m0s 55m0s"},
		{"T1 beyond, T2 0", 7200, 0, []p{{Preferred: 3600, Valid: 7200}}, "30m0s 48m0s"},
		{"T1 0, T2 beyond", 0, 7200, []p{{Preferred: 3600, Valid: 7200}}, "30m0s 48m0s"},
		{"the shortest counts", 2000, 3000, []p{{Preferred: inf, Valid: inf}, {Preferred: 1000, Valid: 8000}}, "8m20s 13m20s"},
		{"beyond preferred, within valid", 2000, 3000, []p{{Preferred: 1000, Valid: 8000}}, "8m20s 13m20s"},
		{"deprecated, within valid", 20000, 30000, []p{{Preferred: 0, Valid: 100000}}, "5h33m20s 8h20m0s"},
		{"deprecated, beyond valid", 20000, 30000, []p{{Preferred: 0, Valid: 1000}}, "8m20s 13m20s"},
		{"infinite lifetimes", 7200, inf, []p{{Preferred: inf, Valid: inf}}, "2h0m0s never"},
		{"deprecated, infinite", inf, inf, []p{{Preferred: 0, Valid: inf}}, "never never"},
	} {
		t1, t2 := schedule(t0, dhcpv6.IA{T1: tc.t1, T2: tc.t2, Prefixes: tc.p})
		text := func(u lifetime.Until) string {
			if u.IsForever() {
				return "never"
			}
			return u.Left(t0).String()
		}
		if got := text(t1) + " " + text(t2); got != tc.want {
			t.Errorf("%s: T1, T2 = %s, want %s", tc.name, got, tc.want)
		}
	}
	// The whole way: the Renew leaves while the prefix is valid.
	script(t, testConfig, `
	0s LinkUp -> send:Solicit wake 1.05s soliciting
	0s Reply rapid t1=7200 t2=10800 2001:db8:1::/64=3600/3600 -> persist changed wake 30m0s bound
	1800s Tick -> send:Renew>s1,2001:db8:1::/64 wake 30m10s renewing`)
}

// T1 and T2 of 0 are "left to the discretion of the client"; "it MUST NOT transmit immediately".
func TestRFC9915_14_2_T1AndT2(t *testing.T) {
	type p = dhcpv6.IAPrefix
	const inf = 0xffffffff
	for _, tc := range []struct {
		name   string
		t1, t2 uint32
		p      []p
		want   string
	}{
		{"given", 100, 200, []p{{Preferred: 400, Valid: 800}}, "1m40s 3m20s"},
		{"both 0", 0, 0, []p{{Preferred: 1000, Valid: 8000}, {Preferred: 3000, Valid: 9000}}, "8m20s 13m20s"},
		{"a deprecated prefix sets no pace", 0, 0, []p{{Preferred: 1000, Valid: 8000}, {Preferred: 0, Valid: 100}, {}}, "8m20s 13m20s"},
		{"T1 0", 0, 700, []p{{Preferred: 1000, Valid: 8000}}, "8m20s 11m40s"},
		{"T1 0, T2 early", 0, 300, []p{{Preferred: 1000, Valid: 8000}}, "5m0s 5m0s"},
		{"T2 0", 100, 0, []p{{Preferred: 1000, Valid: 8000}}, "1m40s 13m20s"},
		{"T2 0, T1 late", 900, 0, []p{{Preferred: 1000, Valid: 8000}}, "15m0s 15m0s"},
		{"T1 1", 1, 1, []p{{Preferred: 1000, Valid: 8000}}, "10s 16s"},
		{"preferred 0", 0, 0, []p{{Preferred: 0, Valid: 1000}}, "8m20s 13m20s"},
		{"preferred 0, valid long", 0, 0, []p{{Preferred: 0, Valid: 100000}}, "1h0m0s 1h36m0s"},
		{"preferred 0, valid infinite", 0, 0, []p{{Preferred: 0, Valid: inf}}, "1h0m0s 1h36m0s"},
		{"preferred 1", 0, 0, []p{{Preferred: 1, Valid: 8000}}, "10s 16s"},
		{"all tiny", 0, 0, []p{{Preferred: 1, Valid: 1}}, "500ms 800ms"},
		{"infinite lifetimes", 0, 0, []p{{Preferred: inf, Valid: inf}}, "never never"},
		{"infinite T1 and T2", inf, inf, []p{{Preferred: inf, Valid: inf}}, "never never"},
		{"T1 given, T2 infinite", 100, inf, []p{{Preferred: inf, Valid: inf}}, "1m40s never"},
		{"the longest finite", 0, 0, []p{{Preferred: inf - 1, Valid: inf - 1}}, "596523h14m7s 954437h10m35.2s"},
	} {
		t1, t2 := schedule(t0, dhcpv6.IA{T1: tc.t1, T2: tc.t2, Prefixes: tc.p})
		text := func(u lifetime.Until) string {
			if u.IsForever() {
				return "never"
			}
			return u.Left(t0).String()
		}
		if got := text(t1) + " " + text(t2); got != tc.want {
			t.Errorf("%s: T1, T2 = %s, want %s", tc.name, got, tc.want)
		}
	}
}

// Infinite lifetimes need no timer at all.
func TestRFC9915_7_7_Infinity(t *testing.T) {
	b := script(t, testConfig, `
	0s LinkUp -> send:Solicit wake 1.05s soliciting
	0s Reply rapid 2001:db8:1::/64=inf/inf -> persist changed bound
	8760h Tick -> bound`)
	if p := b.c.Lease().Prefixes()[0]; !p.Preferred.IsForever() || !p.Valid.IsForever() {
		t.Errorf("prefix = %+v", p)
	}
}

// What a Reply to a Renew does to the lease (RFC 9915 section 18.2.10.1): "Add any new leases", "Update
// lifetimes", "Discard any leases [...] that have a valid lifetime of 0", "Leave unchanged any information
// about leases [...] not included".
func TestCE_1_2_09_ReceptionOfReply(t *testing.T) {
	const renew = boundAt0 + `
	1000s Tick -> send:Renew>s1,2001:db8:1::/64 wake 16m50s renewing
	`
	const same = " dns=2001:db8::53 search=lan.example"
	for _, tc := range []struct{ name, reply, did, lease string }{
		{"T1 and T2 recorded and updated", "t1=50 t2=80 2001:db8:1::/64=100/200" + same, "persist changed wake 17m30s bound", "2001:db8:1::/64=100/200"},
		{"shorter lifetimes", "t1=50 t2=80 2001:db8:1::/64=60/90" + same, "persist changed wake 17m30s bound", "2001:db8:1::/64=60/90"},
		{"valid 0", "2001:db8:1::/64=0/0" + same, "persist changed send:Solicit,2001:db8:1::/64 wake 16m41.05s soliciting", ""},
		{"flash renumbering", "t1=50 t2=80 2001:db8:1::/64=0/0 2001:db8:2::/64=100/200" + same, "persist changed wake 17m30s bound", "2001:db8:2::/64=100/200"},
		{"new prefix", "t1=50 t2=80 2001:db8:1::/64=100/200 2001:db8:2::/64=100/200" + same, "persist changed wake 17m30s bound",
			"2001:db8:1::/64=100/200 2001:db8:2::/64=100/200"},
		{"prefix missing", "t1=50 t2=80 2001:db8:2::/64=100/200" + same, "persist changed wake 17m30s bound",
			"2001:db8:1::/64=0/3000 2001:db8:2::/64=100/200"},
		{"IA without a prefix", "ia=Success t1=50 t2=80", "wake 16m50s renewing", "2001:db8:1::/64=1000/3000"},
		{"IA missing", "dns=2001:db8::54", "wake 16m50s renewing", "2001:db8:1::/64=1000/3000"},
		{"IA of another IAID", "iaid=2 2001:db8:1::/64=9/9", "wake 16m50s renewing", "2001:db8:1::/64=1000/3000"},
		{"UnspecFail", "status=UnspecFail", "wake 16m50s renewing", "2001:db8:1::/64=1000/3000"},
		{"UnspecFail with a prefix", "status=UnspecFail 2001:db8:1::/64=100/200", "wake 16m50s renewing", "2001:db8:1::/64=1000/3000"},
		{"UseMulticast", "status=UseMulticast", "wake 16m50s renewing", "2001:db8:1::/64=1000/3000"},
		{"NotOnLink", "ia=NotOnLink", "wake 16m50s renewing", "2001:db8:1::/64=1000/3000"},
		{"NoPrefixAvail", "ia=NoPrefixAvail", "wake 16m50s renewing", "2001:db8:1::/64=1000/3000"},
		{"NoBinding on Renew", "ia=NoBinding", "send:Request>s1,2001:db8:1::/64 wake 16m41s requesting", "2001:db8:1::/64=1000/3000"},
		{"NoBinding in the prefix", "2001:db8:1::/64=100/200/NoBinding", "send:Request>s1,2001:db8:1::/64 wake 16m41s requesting", "2001:db8:1::/64=1000/3000"},
		{"NoBinding in the message", "status=NoBinding", "send:Request>s1,2001:db8:1::/64 wake 16m41s requesting", "2001:db8:1::/64=1000/3000"},
		{"one prefix refused", "t1=50 t2=80 2001:db8:2::/64=100/200/NoPrefixAvail 2001:db8:1::/64=100/200" + same, "persist changed wake 17m30s bound", "2001:db8:1::/64=100/200"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := script(t, testConfig, renew+"1000s Reply "+tc.reply+" -> "+tc.did)
			b.wantLease(tc.lease)
		})
	}
}

// NoBinding on Rebind: "Sends a Request message to the server that responded"; "The client continues to
// use other bindings". A Request that is refused goes back to Rebind, later each time, and never to
// Solicit while the prefix is in use.
func TestRFC9915_18_2_10_1_NoBindingOnRebind(t *testing.T) {
	b := script(t, testConfig, boundAt0+`
	1600s  Tick -> send:Rebind,2001:db8:1::/64 wake 26m50s rebinding
	1601s  Reply from=s2 ia=NoBinding -> send:Request>s2,2001:db8:1::/64 wake 26m42s requesting
	1601s  Reply from=s1 t1=50 t2=80 2001:db8:1::/64=100/200 -> drop wake 26m42s requesting
	1601s  Reply from=s2 ia=NoPrefixAvail -> wake 26m51s rebinding
	1610.999s Tick -> wake 26m51s rebinding
	1611s  Tick -> send:Rebind,2001:db8:1::/64 wake 27m1s rebinding
	1611s  Reply from=s2 ia=NoBinding -> send:Request>s2,2001:db8:1::/64 wake 26m52s requesting
	1611s  Reply from=s2 ia=NoPrefixAvail -> wake 27m11s rebinding
	1631s  Tick -> send:Rebind,2001:db8:1::/64 wake 27m21s rebinding
	1631s  Reply from=s2 ia=NoBinding -> send:Request>s2,2001:db8:1::/64 wake 27m12s requesting`)
	b.wantLease("2001:db8:1::/64=369/2369")
	b.run(`1631s Reply from=s2 t1=1000 t2=1600 2001:db8:1::/64=2000/4000 dns=2001:db8::53 search=lan.example -> persist changed wake 43m51s bound`)
	b.wantLease("2001:db8:1::/64=2000/4000")
}

// A server that forgot us and never answers the Request: the lease goes on to its end by Rebind.
func TestRFC9915_18_2_2_UnansweredRequestKeepsTheLease(t *testing.T) {
	b := script(t, testConfig, boundAt0+`
	1000s Tick -> send:Renew>s1,2001:db8:1::/64 wake 16m50s renewing
	1000s Reply ia=NoBinding -> send:Request>s1,2001:db8:1::/64 wake 16m41s requesting`)
	act := b.act
	for b.c.Status().State == Requesting {
		act = b.step(act.Wake, Tick{})
	}
	if s := b.c.Status(); s.State != Rebinding || len(s.Lease.Prefixes()) != 1 {
		t.Errorf("state %s with %d prefixes", s.State, len(s.Lease.Prefixes()))
	}
	// 1+2+4+8+16+5*30 s of Requests, then 10 s
	act = b.step(act.Wake, Tick{})
	if got := b.now.Sub(t0); got != 1191*time.Second || b.last.Type != dhcpv6.Rebind {
		t.Errorf("%s at %v", b.last.Type, got)
	}
}

// "the client SHOULD stop using the previously received configuration information" that a later Reply
// does not have; an option that cannot be read does not count as absent, and never costs the lease.
func TestCE_1_1_17_DNSOptions(t *testing.T) {
	for _, tc := range []struct{ options, dns, search string }{
		{"dns=2001:db8::54 search=example.net", "[2001:db8::54]", "[example.net]"},
		{"dns=2001:db8::54 dns=2001:db8::55 dns=2001:db8::54", "[2001:db8::54 2001:db8::55]", "[]"},
		{"", "[]", "[]"},
		{"dns=broken", "[2001:db8::53]", "[]"},
		{"dns=fe80::53 dns=2001:db8::54 dns=ff02::fb dns=::1 dns=::", "[2001:db8::54]", "[]"},
		{"search=broken", "[]", "[lan.example]"},
	} {
		b := script(t, testConfig, boundAt0+`
		1000s Tick -> send:Renew>s1,2001:db8:1::/64 wake 16m50s renewing
		1000s Reply t1=1000 t2=1600 2001:db8:1::/64=2000/4000 `+tc.options+` -> persist changed wake 33m20s bound`)
		l := b.c.Lease()
		if dns, search := fmt.Sprint(l.Info.DNS), fmt.Sprint(l.Info.Search); dns != tc.dns || search != tc.search {
			t.Errorf("%s: DNS %s search %s, want %s %s", tc.options, dns, search, tc.dns, tc.search)
		}
		if broken := strings.Contains(tc.options, "broken") || strings.Contains(tc.options, "fe80"); b.warned("message has bad options") != broken {
			t.Errorf("%s: notes %v", tc.options, b.act.Notes)
		}
		b.wantLease("2001:db8:1::/64=2000/4000")
	}
}

// A first Reply with one broken DNS option still binds, and says so once.
func TestRFC9915_16_BrokenOptionKeepsTheLease(t *testing.T) {
	b := script(t, testConfig, `
	0s LinkUp -> send:Solicit wake 1.05s soliciting
	0s Reply rapid t1=1000 t2=1600 2001:db8:1::/64=2000/4000 dns=broken -> persist changed wake 16m40s bound`)
	if !b.warned("DNS Recursive Name Server option: length 1") {
		t.Errorf("notes = %v", b.act.Notes)
	}
	b.run(`
	1000s Tick -> send:Renew>s1,2001:db8:1::/64 wake 16m50s renewing
	1000s Reply t1=1000 t2=1600 2001:db8:1::/64=2000/4000 dns=broken -> persist changed wake 33m20s bound`)
	if b.warned("bad options") {
		t.Errorf("the same warning twice: %v", b.act.Notes)
	}
}

// RFC 7084 WPD-3: a delegated prefix of another size than the hint is taken, and one that is too small is
// logged. A /72 is ours, but no LAN can use it.
func TestRFC7084_WPD3_PrefixTooLongForALAN(t *testing.T) {
	b := script(t, testConfig, `
	0s LinkUp -> send:Solicit wake 1.05s soliciting
	0s Reply rapid t1=1000 t2=1600 2001:db8:0:0:100::/72=2000/4000 -> persist changed wake 16m40s bound`)
	b.wantLease("2001:db8:0:0:100::/72=2000/4000")
	if !b.warned("too long for a LAN") {
		t.Errorf("notes = %v", b.act.Notes)
	}
}

// "Clients MUST discard any received Reply message that" has no server identifier, another transaction id
// or another client identifier; a Reply of a server that was not asked is none to us.
func TestCE_1_1_19_InvalidReply(t *testing.T) {
	refuses(t, []refusal{
		{"Reply client=other 2001:db8:1::/64=9/9", "client identifier of somebody else"},
		{"Reply client=none 2001:db8:1::/64=9/9", "no client identifier"},
		{"Reply from=none 2001:db8:1::/64=9/9", "no server identifier"},
		{"Reply from=s2 2001:db8:1::/64=9/9", "server that was not asked"},
		{"Reply xid 2001:db8:1::/64=9/9", "transaction id of another message"},
		{"Advertise 2001:db8:1::/64=9/9", "no Solicit is running"},
	})
	script(t, testConfig, boundAt0+`
	# what was answered already is no news, and nothing to complain of
	1s Reply 2001:db8:1::/64=9/9 -> wake 16m40s bound
	1s Reply xid 2001:db8:1::/64=9/9 -> drop wake 16m40s bound`)
}

// "Clients MUST discard any received Solicit messages", and so on through sections 16.2 to 16.14.
func TestCE_1_1_20_ClientMessageValidation(t *testing.T) {
	refuses(t, []refusal{
		{"Reply type=1", "a client takes no Solicit"},
		{"Reply type=3", "a client takes no Request"},
		{"Reply type=4", "a client takes no Confirm"},
		{"Reply type=5", "a client takes no Renew"},
		{"Reply type=6", "a client takes no Rebind"},
		{"Reply type=8", "a client takes no Release"},
		{"Reply type=9", "a client takes no Decline"},
		{"Reply type=10", "Reconfigure without a valid Reconfigure Message option"},
		{"Reply type=11", "a client takes no Information-request"},
		{"Reply type=12", "not a DHCPv6 client/server message"},
		{"Reply type=13", "not a DHCPv6 client/server message"},
		{"Reply type=99", "not a DHCPv6 client/server message"},
	})
}

type refusal struct{ message, reason string }

// refuses sends each message to a client that waits for the answer to a Renew: it is refused with the
// reason and changes nothing.
func refuses(t *testing.T, list []refusal) {
	t.Helper()
	for _, tc := range list {
		b := script(t, testConfig, boundAt0+`
		1000s Tick -> send:Renew>s1,2001:db8:1::/64 wake 16m50s renewing
		1001s `+tc.message+` -> drop wake 16m50s renewing`)
		if s := b.c.Status(); !strings.Contains(s.LastDrop, tc.reason) || s.Dropped != 1 || s.LastError != "" {
			t.Errorf("%s: status %+v, want reason %q", tc.message, s, tc.reason)
		}
		b.wantLease("2001:db8:1::/64=999/2999")
	}
}

// The same for Advertises while soliciting.
func TestCE_1_1_18_InvalidAdvertise(t *testing.T) {
	for _, m := range []string{"client=other", "client=none", "from=none", "xid"} {
		script(t, testConfig, `
		0s LinkUp -> send:Solicit wake 1.05s soliciting
		0s Advertise pref=255 2001:db8:1::/64=1/2 `+m+` -> drop wake 1.05s soliciting
		0s Reply rapid 2001:db8:1::/64=1/2 `+m+` -> drop wake 1.05s soliciting`)
	}
}

// A server that is silent is called so, once per exchange.
func TestStatusNamesASilentServer(t *testing.T) {
	b := newBox(t, testConfig, randHalf)
	act := b.step(t0, LinkUp{})
	warnings := 0
	for range 10 {
		act = b.step(act.Wake, Tick{})
		if b.warned("no DHCPv6 server answers Solicit") {
			warnings++
		}
	}
	if s := b.c.Status(); warnings != 1 || s.LastError != "no DHCPv6 server answers Solicit" || s.Next != "send Solicit" || s.NextAt != act.Wake || s.Sent != 11 {
		t.Errorf("%d warnings, status %+v", warnings, s)
	}
}
