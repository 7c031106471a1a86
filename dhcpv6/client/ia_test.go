// SPDX-License-Identifier: MIT

package client

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/lifetime"
)

// wants makes a Config of words: pd1=::/56 is an IA_PD with IAID 1 and a hint, na1 an IA_NA.
func wants(words ...string) Config {
	c := testConfig
	c.IAs = nil
	for _, word := range words {
		name, hint, _ := strings.Cut(word, "=")
		w := Wanted{Type: map[string]dhcpv6.IAType{"pd": dhcpv6.PD, "na": dhcpv6.NA}[name[:2]], IAID: dhcpv6.IAID(name[2] - '0')}
		if hint != "" {
			w.Hint = netip.MustParsePrefix(hint)
		}
		c.IAs = append(c.IAs, w)
	}
	return c
}

// Solicit, Advertise, Request, Reply with an address and a prefix; then Renew with both.
func TestCE_1_1_01_BasicMessageExchange(t *testing.T) {
	b := script(t, wants("pd1", "na1"), `
	0s     LinkUp -> send:Solicit,na: wake 1.05s soliciting
	0s     Advertise pd=1 2001:db8:1::/64=2000/4000 na=1 2001:db8::7=2000/4000 -> wake 1.05s soliciting
	1.05s  Tick -> send:Request>s1,2001:db8:1::/64,na:2001:db8::7/128 wake 2.05s requesting
	1.05s  Reply pd=1 t1=1000 t2=1600 2001:db8:1::/64=2000/4000 na=1 t1=1000 t2=1600 2001:db8::7=2000/4000 -> persist changed wake 16m41.05s bound
	1001.05s Tick -> send:Renew>s1,2001:db8:1::/64,na:2001:db8::7/128 wake 16m51.05s renewing`)
	b.wantLease("2001:db8:1::/64=1000/3000 2001:db8::7/128=1000/3000")
}

// Table 1 of RFC 9915 section 7.6, as far as a client has it.
func TestCE_1_1_02_Constants(t *testing.T) {
	for name, tc := range map[string]struct{ got, want time.Duration }{
		"SOL_MAX_DELAY": {SolMaxDelay, time.Second}, "SOL_TIMEOUT": {SolTimeout, time.Second}, "SOL_MAX_RT": {SolMaxRT, time.Hour},
		"REQ_TIMEOUT": {ReqTimeout, time.Second}, "REQ_MAX_RT": {ReqMaxRT, 30 * time.Second}, "REQ_MAX_RC": {ReqMaxRC, 10},
		"CNF_MAX_DELAY": {CnfMaxDelay, time.Second}, "CNF_TIMEOUT": {CnfTimeout, time.Second}, "CNF_MAX_RT": {CnfMaxRT, 4 * time.Second}, "CNF_MAX_RD": {CnfMaxRD, 10 * time.Second},
		"REN_TIMEOUT": {RenTimeout, 10 * time.Second}, "REN_MAX_RT": {RenMaxRT, 600 * time.Second},
		"REB_TIMEOUT": {RebTimeout, 10 * time.Second}, "REB_MAX_RT": {RebMaxRT, 600 * time.Second},
		"INF_MAX_DELAY": {InfMaxDelay, time.Second}, "INF_TIMEOUT": {InfTimeout, time.Second}, "INF_MAX_RT": {InfMaxRT, time.Hour},
		"REL_TIMEOUT": {RelTimeout, time.Second}, "REL_MAX_RC": {RelMaxRC, 4}, "DEC_TIMEOUT": {DecTimeout, time.Second}, "DEC_MAX_RC": {DecMaxRC, 4},
		"IRT_DEFAULT": {time.Duration(dhcpv6.DefaultRefreshTime), 86400}, "IRT_MINIMUM": {time.Duration(dhcpv6.MinRefreshTime), 600},
		"client port": {dhcpv6.ClientPort, 546}, "server port": {dhcpv6.ServerPort, 547},
	} {
		if tc.got != tc.want {
			t.Errorf("%s = %v, want %v", name, tc.got, tc.want)
		}
	}
	if AllServers != netip.MustParseAddr("ff02::1:2") {
		t.Errorf("All_DHCP_Relay_Agents_and_Servers = %s", AllServers)
	}
}

// Options are code, length and value, 16 bits each of the first two; those of an IA stand inside it.
func TestCE_1_1_03_OptionFormat(t *testing.T) {
	b := script(t, wants("na1=2001:db8::7/128"), `0s LinkUp -> send:Solicit,na:2001:db8::7/128 wake 1.05s soliciting`)
	want := append([]byte{0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 24}, netip.MustParseAddr("2001:db8::7").AsSlice()...)
	want = append(want, make([]byte, 8)...) // lifetimes of 0: nothing is wished
	if got := b.option(3); string(got) != string(want) {
		t.Errorf("IA_NA = %x, want %x", got, want)
	}
	if typ := b.sentB[0]; typ != 1 {
		t.Errorf("message type %d, want 1", typ)
	}
}

// The DUID is the same in every message and over restarts: RFC 9915 section 11, "SHOULD NOT change over time".
func TestCE_1_1_04_ClientDUIDContents(t *testing.T) {
	b := newBox(t, wants("pd1", "na1"), seeded(4))
	act := b.step(t0, LinkUp{})
	for range 12 {
		if b.last.ClientID != ourDUID {
			t.Fatalf("%s has the client identifier %s", b.last.Type, b.last.ClientID)
		}
		act = b.step(act.Wake, Tick{})
	}
	data, err := EncodeLease(b.c.Lease(), ourDUID, 1, b.now, wallTime, "boot-a")
	if err != nil {
		t.Fatal(err)
	}
	if _, duid, _, _, err := DecodeLease(data, t0, wallTime, "boot-b"); err != nil || duid != ourDUID {
		t.Errorf("after a restart: %s %v", duid, err)
	}
}

// "The client MUST include the same IAID" for an IA in every message; IA_NA and IA_PD number theirs apart.
func TestCE_1_1_06_IAConsistency(t *testing.T) {
	b := newBox(t, wants("pd1", "pd2", "na1"), randHalf)
	b.step(t0, LinkUp{})
	check := func() {
		t.Helper()
		if got := len(b.last.IAs); got != 3 {
			t.Fatalf("%s has %d IAs", b.last.Type, got)
		}
		for i, want := range []struct {
			typ dhcpv6.IAType
			id  dhcpv6.IAID
		}{{dhcpv6.PD, 1}, {dhcpv6.PD, 2}, {dhcpv6.NA, 1}} {
			if a := b.last.IAs[i]; a.Type != want.typ || a.IAID != want.id {
				t.Errorf("%s: IA %d is %s %s", b.last.Type, i, a.Type, a.IAID)
			}
		}
	}
	check()
	const all = "pd=1 t1=100 t2=200 2001:db8:1::/64=300/400 pd=2 2001:db8:2::/64=300/400 na=1 2001:db8::7=300/400"
	b.step(t0, b.event(strings.Fields("Advertise pref=255 "+all)))
	check()
	b.step(t0, b.event(strings.Fields("Reply "+all)))
	for range 4 {
		b.step(b.act.Wake, Tick{})
		check()
	}
}

// A Request for an address names the server and what it offered.
func TestCE_1_1_09_Request(t *testing.T) {
	b := script(t, wants("na1"), `
	0s LinkUp -> send:Solicit,na: wake 1.05s soliciting
	0s Advertise pref=255 na=1 2001:db8::7=20/40 -> send:Request>s1,na:2001:db8::7/128 wake 1s requesting
	1s Tick -> send:Request>s1,na:2001:db8::7/128 wake 3s requesting
	3s Reply na=1 t1=100 t2=160 2001:db8::7=200/400 -> persist changed wake 1m43s bound`)
	b.wantLease("2001:db8::7/128=200/400")
}

// A lease of addresses alone is verified by Confirm: CNF_TIMEOUT 1 s, CNF_MAX_RT 4 s, CNF_MAX_RD 10 s. Its IAs have
// T1, T2 and lifetimes of 0, there is no server identifier, and no Option Request option. Success keeps the lease
// as it is, silence too.
func TestCE_1_1_10_Confirm(t *testing.T) {
	b := newBox(t, wants("na1"), randHalf)
	b.step(t0, Restored{addressLease()})
	b.run(`
	5s   LinkUp -> send:Confirm,na:2001:db8::7/128 wake 6s confirming
	6s   Tick -> send:Confirm,na:2001:db8::7/128 wake 8s confirming
	8s   Tick -> send:Confirm,na:2001:db8::7/128 wake 12s confirming
	12s  Tick -> send:Confirm,na:2001:db8::7/128 wake 15s confirming
	15s  Tick -> wake 16m40s bound`)
	for code, want := range map[uint16]bool{1: true, 2: false, 6: false, 8: true, 14: false, 20: false} {
		if got := b.option(code) != nil; got != want {
			t.Errorf("Confirm: option %d there %v, want %v", code, got, want)
		}
	}
	b.wantLease("2001:db8::7/128=1985/3985")
	b.run(`
	100s LinkUp -> send:Confirm,na:2001:db8::7/128 wake 1m41s confirming
	100s Reply -> wake 16m40s bound`)
	b.wantLease("2001:db8::7/128=1900/3900")
}

// "If the client receives [...] a NotOnLink status from the server in response to a Confirm message, the client
// performs DHCP server solicitation".
func TestRFC9915_18_2_10_2_ConfirmNotOnLink(t *testing.T) {
	b := newBox(t, wants("na1"), randHalf)
	b.step(t0, Restored{addressLease()})
	b.run(`
	5s LinkUp -> send:Confirm,na:2001:db8::7/128 wake 6s confirming
	5s Reply status=UnspecFail -> wake 6s confirming
	5s Reply status=NotOnLink -> persist changed send:Solicit,na: wake 6.05s soliciting`)
}

func addressLease() Lease {
	l := restored()
	p := l.IAs[0].Prefixes[0]
	p.Prefix = netip.MustParsePrefix("2001:db8::7/128")
	l.IAs = []IA{{dhcpv6.NA, 1, []Prefix{p}}}
	return l
}

// Renew and Rebind of an address, at T1 and T2, until the valid lifetime is over.
func TestCE_1_1_11_Renew(t *testing.T) {
	script(t, wants("na1"), boundNA+`
	999.999s Tick -> wake 16m40s bound
	1000s Tick -> send:Renew>s1,na:2001:db8::7/128 wake 16m50s renewing
	1010s Reply na=1 t1=1000 t2=1600 2001:db8::7=2000/4000 -> persist changed wake 33m30s bound`)
}

func TestCE_1_1_12_Rebind(t *testing.T) {
	b := script(t, wants("na1"), boundNA+`
	1600s Tick -> send:Rebind,na:2001:db8::7/128 wake 26m50s rebinding
	1610s Reply from=s2 na=1 t1=1000 t2=1600 2001:db8::7=2000/4000 -> persist changed wake 43m30s bound`)
	if s := b.c.Lease().Server; s != server("s2") {
		t.Errorf("server %s", s)
	}
}

const boundNA = `
	0s LinkUp -> send:Solicit,na: wake 1.05s soliciting
	0s Reply rapid na=1 t1=1000 t2=1600 2001:db8::7=2000/4000 -> persist changed wake 16m40s bound
`

// Advertises: the one with more of what is wanted wins; a prefix is worth more than any address.
func TestCE_1_1_15_ReceptionOfAdvertise(t *testing.T) {
	for _, tc := range []struct{ name, s1, s2, want string }{
		{"both beat one", "pd=1 2001:db8:1::/64=1/2", "pd=1 2001:db8:2::/64=1/2 na=1 2001:db8::7=1/2", "s2,2001:db8:2::/64,na:2001:db8::7/128"},
		{"an address alone is no offer", "na=1 2001:db8::7=1/2", "pd=1 2001:db8:2::/64=1/2", "s2,2001:db8:2::/64,na:"},
		{"the preference goes before", "pd=1 2001:db8:1::/64=1/2 pref=1", "pd=1 2001:db8:2::/64=1/2 na=1 2001:db8::7=1/2", "s1,2001:db8:1::/64,na:"},
		{"no address to be had", "pd=1 2001:db8:1::/64=1/2 na=1 ia=NoAddrsAvail", "pd=1 ia=NoPrefixAvail na=1 2001:db8::7=1/2", "s1,2001:db8:1::/64,na:"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			script(t, wants("pd1", "na1"), `
			0s     LinkUp -> send:Solicit,na: wake 1.05s soliciting
			0s     Advertise from=s1 `+tc.s1+` -> wake 1.05s soliciting
			0s     Advertise from=s2 `+tc.s2+` -> wake 1.05s soliciting
			1.05s  Tick -> send:Request>`+tc.want+` wake 2.05s requesting`)
		})
	}
}

// What a Reply does to an address.
func TestCE_1_1_16_ReceptionOfReply(t *testing.T) {
	const renew = boundNA + `1000s Tick -> send:Renew>s1,na:2001:db8::7/128 wake 16m50s renewing
	`
	for _, tc := range []struct{ name, reply, did, lease string }{
		{"extended", "na=1 t1=50 t2=80 2001:db8::7=100/200", "persist changed wake 17m30s bound", "2001:db8::7/128=100/200"},
		{"T1 and T2 of 0", "na=1 2001:db8::7=100/200", "persist changed wake 17m30s bound", "2001:db8::7/128=100/200"},
		{"valid 0", "na=1 2001:db8::7=0/0", "persist changed send:Solicit,na:2001:db8::7/128 wake 16m41.05s soliciting", ""},
		{"another address", "na=1 t1=50 t2=80 2001:db8::7=0/0 2001:db8::8=100/200", "persist changed wake 17m30s bound", "2001:db8::8/128=100/200"},
		{"missing", "dns=2001:db8::53", "wake 16m50s renewing", "2001:db8::7/128=1000/3000"},
		{"UnspecFail", "status=UnspecFail", "wake 16m50s renewing", "2001:db8::7/128=1000/3000"},
		{"NotOnLink", "na=1 ia=NotOnLink", "persist changed send:Solicit,na: wake 16m41.05s soliciting", ""},
		{"NoAddrsAvail", "na=1 ia=NoAddrsAvail", "wake 16m50s renewing", "2001:db8::7/128=1000/3000"},
		{"NoBinding", "na=1 ia=NoBinding", "send:Request>s1,na:2001:db8::7/128 wake 16m41s requesting", "2001:db8::7/128=1000/3000"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			script(t, wants("na1"), renew+"1000s Reply "+tc.reply+" -> "+tc.did).wantLease(tc.lease)
		})
	}
}

// Prefixes are inside of IA_PD, with lifetimes, length and prefix in that order.
func TestCE_1_2_01_PrefixOptionsFormat(t *testing.T) {
	b := script(t, wants("pd1=2001:db8:1::/56"), `0s LinkUp -> send:Solicit,2001:db8:1::/56 wake 1.05s soliciting`)
	want := append([]byte{0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 26, 0, 25, 0, 0, 0, 0, 0, 0, 0, 0, 56}, netip.MustParseAddr("2001:db8:1::").AsSlice()...)
	if got := b.option(25); string(got) != string(want) {
		t.Errorf("IA_PD = %x, want %x", got, want)
	}
}

// "The client MUST ignore any Advertise message that contains no [...] delegated prefixes": NoPrefixAvail, in the
// IA, in the prefix and in the message; with an offer it is followed.
func TestCE_1_2_08_ReceptionOfAdvertise(t *testing.T) {
	for _, none := range []string{"ia=NoPrefixAvail", "status=NoPrefixAvail", "2001:db8:1::/64=9/9/NoPrefixAvail", "2001:db8:1::/64=0/0", "iaid=2 2001:db8:1::/64=9/9", "na=1 2001:db8::7=9/9", ""} {
		b := script(t, testConfig, `
		0s    LinkUp -> send:Solicit wake 1.05s soliciting
		0s    Advertise pref=255 `+none+` -> wake 1.05s soliciting
		1.05s Tick -> send:Solicit wake 3.15s soliciting
		1.05s Advertise 2001:db8:1::/64=9/9 -> send:Request>s1,2001:db8:1::/64 wake 2.05s requesting`)
		if b.c.Status().LastError == "" {
			t.Errorf("%q: no error", none)
		}
	}
}

// Replies with an IA_PD that break its rules are no Replies to us, or lose what is wrong with them.
func TestCE_1_2_10_InvalidReply(t *testing.T) {
	for name, reply := range map[string]string{
		"T1 > T2": "rapid t1=20 t2=10 2001:db8:1::/64=30/40", "preferred > valid": "rapid t1=10 t2=20 2001:db8:1::/64=50/40",
		"foreign IAID": "rapid iaid=7 2001:db8:1::/64=30/40", "no prefix": "rapid ia=Success",
		"multicast": "rapid ff00::/16=30/40", "too short to be ours": "rapid 2001::/15=30/40",
		"no Rapid Commit": "2001:db8:1::/64=30/40", "somebody else's": "rapid client=other 2001:db8:1::/64=30/40",
	} {
		b := newBox(t, testConfig, randHalf)
		b.step(t0, LinkUp{})
		b.step(t0, b.event(strings.Fields("Reply "+reply)))
		if s := b.c.Status().State; s != Soliciting || len(b.c.Lease().IAs) != 0 {
			t.Errorf("%s: %s with %+v", name, s, b.c.Lease().IAs)
		}
	}
}

// Two IA_PD and an IA_NA, of which the server serves some: what is given is used, what is missing is asked for
// again after 10, 20, 40 s and so on up to 600 s, with the others, which are extended by the way.
func TestRFC9915_18_2_10_1_PartlyServed(t *testing.T) {
	b := script(t, wants("pd1", "pd2"), `
	0s LinkUp -> send:Solicit,pd2: wake 1.05s soliciting
	0s Reply rapid pd=1 t1=1000 t2=1600 2001:db8:1::/64=2000/4000 pd=2 ia=NoPrefixAvail -> persist changed wake 10s bound
	10s Tick -> send:Renew>s1,2001:db8:1::/64,pd2: wake 20s renewing
	10s Reply pd=1 t1=1000 t2=1600 2001:db8:1::/64=2000/4000 pd=2 ia=NoPrefixAvail -> persist changed wake 30s bound
	30s Tick -> send:Renew>s1,2001:db8:1::/64,pd2: wake 40s renewing`)
	st := b.c.Status()
	if len(st.IAs[0].Prefixes) != 1 || st.IAs[0].LastError != "" || len(st.IAs[1].Prefixes) != 0 || st.IAs[1].LastError != "Renew: NoPrefixAvail" {
		t.Errorf("IAs = %+v", st.IAs)
	}
	b.run(`30s Reply pd=1 t1=1000 t2=1600 2001:db8:1::/64=2000/4000 pd=2 t1=1000 t2=1600 2001:db8:2::/60=2000/4000 -> persist changed wake 17m10s bound`)
	b.wantLease("2001:db8:1::/64=2000/4000 2001:db8:2::/60=2000/4000")
	if e := b.c.Status().LastError; e != "" {
		t.Errorf("LastError = %q", e)
	}
	// An address that is not to be had is no reason to hurry.
	script(t, wants("pd1", "na1"), `
	0s LinkUp -> send:Solicit,na: wake 1.05s soliciting
	0s Reply rapid pd=1 t1=1000 t2=1600 2001:db8:1::/64=2000/4000 na=1 ia=NoAddrsAvail -> persist changed wake 16m40s bound`)
}

// "PD renewal fails while NA works": the prefix is kept to its last second and asked for all along, the address
// is extended. When the prefix is over, everything is solicited anew, the address not being in use.
func TestPrefixRenewalFailsWhileTheAddressWorks(t *testing.T) {
	b := newBox(t, wants("pd1", "na1"), seeded(3))
	s := func(q dhcpv6.Message, pd bool) []byte {
		r := dhcpv6.Message{Type: dhcpv6.Reply, XID: q.XID, ClientID: q.ClientID, ServerID: server("s1"), RapidCommit: q.Type == dhcpv6.Solicit,
			IAs: []dhcpv6.IA{{Type: dhcpv6.NA, IAID: 1, T1: 300, T2: 480, Prefixes: []dhcpv6.IAPrefix{{Prefix: netip.MustParsePrefix("2001:db8::7/128"), Preferred: 600, Valid: 1200}}},
				{IAID: 1, Status: dhcpv6.Status{Code: dhcpv6.NoPrefixAvail}}}}
		if pd {
			r.IAs[1] = dhcpv6.IA{IAID: 1, T1: 300, T2: 480, Prefixes: []dhcpv6.IAPrefix{{Prefix: netip.MustParsePrefix("2001:db8:1::/64"), Preferred: 600, Valid: 1200}}}
		}
		return r.Append(nil)
	}
	b.step(t0, LinkUp{})
	b.step(t0, Received{From: serverAddr, Data: s(b.last, true)})
	b.wantLease("2001:db8:1::/64=600/1200 2001:db8::7/128=600/1200")
	asked := 0
	for b.now.Before(t0.Add(1200 * time.Second)) {
		sent := len(b.step(b.act.Wake, Tick{}).Send)
		if b.now.Before(t0.Add(1200*time.Second)) && len(b.c.Lease().Prefixes()) != 1 {
			t.Fatalf("the prefix is gone after %v", b.now.Sub(t0))
		}
		if sent > 0 && b.last.Type != dhcpv6.Solicit {
			asked++
			b.step(b.now, Received{From: serverAddr, Data: s(b.last, false)})
			if a := b.c.Lease().Addresses(); len(a) != 1 || a[0].Valid.Left(b.now) != 1200*time.Second {
				t.Fatalf("after %v the address is %+v", b.now.Sub(t0), a)
			}
		}
	}
	if b.last.Type != dhcpv6.Solicit || len(b.c.Lease().IAs) != 0 || asked < 4 || asked > 30 {
		t.Errorf("after the end: %s sent, lease %+v, asked %d times", b.last.Type, b.c.Lease().IAs, asked)
	}
	if h := listed(b.last.IAs); h != ",2001:db8:1::/64,na:2001:db8::7/128" {
		t.Errorf("the Solicit wishes %s", h)
	}
}

// NoBinding for one IA: it is requested with all others, which stay in use and keep what the Reply gave them.
func TestRFC9915_18_2_10_1_NoBindingForOneIA(t *testing.T) {
	b := script(t, wants("pd1", "pd2"), `
	0s LinkUp -> send:Solicit,pd2: wake 1.05s soliciting
	0s Reply rapid pd=1 t1=1000 t2=1600 2001:db8:1::/64=2000/4000 pd=2 2001:db8:2::/64=2000/4000 -> persist changed wake 16m40s bound
	1000s Tick -> send:Renew>s1,2001:db8:1::/64,pd2:2001:db8:2::/64 wake 16m50s renewing
	1000s Reply pd=1 t1=1000 t2=1600 2001:db8:1::/64=2000/4000 pd=2 ia=NoBinding -> persist changed send:Request>s1,2001:db8:1::/64,pd2:2001:db8:2::/64 wake 16m41s requesting`)
	b.wantLease("2001:db8:1::/64=2000/4000 2001:db8:2::/64=1000/3000")
	b.run(`1000s Reply pd=1 t1=1000 t2=1600 2001:db8:1::/64=2000/4000 pd=2 t1=1000 t2=1600 2001:db8:3::/64=2000/4000 -> persist changed wake 33m20s bound`)
	b.wantLease("2001:db8:1::/64=2000/4000 2001:db8:3::/64=2000/4000")
}

// odhcpd answers NoBinding for what a Renew adds: "Sends a Request message to the server that responded if any of the IAs in
// the Reply message contain the NoBinding status code", be they new or not.
func TestRFC9915_18_2_10_1_NoBindingForANewIA(t *testing.T) {
	b := script(t, testConfig, boundAt0)
	b.step(t0.Add(100*time.Second), Reconfigured{wants("pd1", "na1")})
	b.run(`
	100s Reply pd=1 t1=1000 t2=1600 2001:db8:1::/64=2000/4000 na=1 ia=NoBinding dns=2001:db8::53 -> persist changed send:Request>s1,2001:db8:1::/64,na: wake 1m41s requesting
	100s Reply pd=1 t1=1000 t2=1600 2001:db8:1::/64=2000/4000 na=1 t1=1000 t2=1600 2001:db8::7=2000/4000 -> persist changed wake 18m20s bound`)
	b.wantLease("2001:db8:1::/64=2000/4000 2001:db8::7/128=2000/4000")
	// A new wish beside what is held stays out of the Request.
	b = script(t, testConfig, boundAt0)
	wish := wants("pd1", "na1")
	wish.IAs[0].Hint = netip.MustParsePrefix("::/62")
	b.step(t0.Add(100*time.Second), Reconfigured{wish})
	if got := b.did(100); got != "send:Renew>s1,2001:db8:1::/64,::/62,na: wake 1m50s renewing" {
		t.Errorf("with a new wish: %s", got)
	}
	b.run(`100s Reply pd=1 t1=1000 t2=1600 2001:db8:1::/64=2000/4000 na=1 ia=NoBinding dns=2001:db8::53 -> persist changed send:Request>s1,2001:db8:1::/64,na: wake 1m41s requesting`)
	// Where the Request brings it no more than the Renew did, the prefix is what counts, and the next try is at T1.
	b = script(t, testConfig, boundAt0)
	b.step(t0.Add(100*time.Second), Reconfigured{wants("pd1", "na1")})
	b.run(`
	100s Reply pd=1 t1=1000 t2=1600 2001:db8:1::/64=2000/4000 na=1 ia=NoBinding dns=2001:db8::53 -> persist changed send:Request>s1,2001:db8:1::/64,na: wake 1m41s requesting
	100s Reply pd=1 t1=1000 t2=1600 2001:db8:1::/64=2000/4000 na=1 ia=NoBinding dns=2001:db8::53 -> persist changed wake 18m20s bound`)
}

// The server of the lease knows nothing of it and then binds something else: what it does not know it does not route, so
// the old prefix is given up. Another server does not know what the first one has.
func TestNoBindingAndAnotherPrefix(t *testing.T) {
	b := script(t, testConfig, boundAt0+`
	1000s Tick -> send:Renew>s1,2001:db8:1::/64 wake 16m50s renewing
	1000s Reply ia=NoBinding -> send:Request>s1,2001:db8:1::/64 wake 16m41s requesting
	1000s Reply t1=1000 t2=1600 2001:db8:3::/64=2000/4000 dns=2001:db8::53 search=lan.example -> persist changed wake 33m20s bound`)
	b.wantLease("2001:db8:3::/64=2000/4000")
	b = script(t, testConfig, boundAt0+`
	1600s  Tick -> send:Rebind,2001:db8:1::/64 wake 26m50s rebinding
	1601s  Reply from=s2 ia=NoBinding -> send:Request>s2,2001:db8:1::/64 wake 26m42s requesting
	1601s  Reply from=s2 t1=1000 t2=1600 2001:db8:3::/64=2000/4000 dns=2001:db8::53 search=lan.example -> persist changed wake 43m21s bound`)
	b.wantLease("2001:db8:1::/64=0/2399 2001:db8:3::/64=2000/4000")
}

// The M flag comes when a Solicit is out already: the address is asked for by a Renew once the prefix is there.
// It goes away again: the address is used no longer, and nothing is released.
func TestAddressWantedLater(t *testing.T) {
	b := script(t, testConfig, `0s LinkUp -> send:Solicit wake 1.05s soliciting`)
	b.step(t0, Reconfigured{wants("pd1", "na1")})
	b.run(`
	0s Reply rapid pd=1 t1=1000 t2=1600 2001:db8:1::/64=2000/4000 -> persist changed send:Renew>s1,2001:db8:1::/64,na: wake 10s renewing
	0s Reply pd=1 t1=1000 t2=1600 2001:db8:1::/64=2000/4000 na=1 t1=1000 t2=1600 2001:db8::7=2000/4000 -> persist changed wake 16m40s bound`)
	b.step(t0, Reconfigured{testConfig})
	if got := b.did(0); got != "persist changed wake 16m40s bound" {
		t.Errorf("wanted no longer: %s", got)
	}
	b.wantLease("2001:db8:1::/64=2000/4000")
	b.step(t0, Reconfigured{wants("pd1", "na1")})
	if got := b.did(0); got != "send:Renew>s1,2001:db8:1::/64,na: wake 10s renewing" {
		t.Errorf("wanted again, with a lease: %s", got)
	}
}

// RFC 7084 WPD-6: "MUST accept a Reply [...] that contains an IA_PD even if IA_NA is empty".
func TestRFC7084_WPD6_PrefixWithoutAddress(t *testing.T) {
	script(t, wants("pd1", "na1"), `
	0s LinkUp -> send:Solicit,na: wake 1.05s soliciting
	0s Advertise pref=255 pd=1 2001:db8:1::/64=2000/4000 -> send:Request>s1,2001:db8:1::/64,na: wake 1s requesting
	0s Reply pd=1 t1=1000 t2=1600 2001:db8:1::/64=2000/4000 -> persist changed wake 16m40s bound`).wantLease("2001:db8:1::/64=2000/4000")
}

// T1 and T2 are those of the IA that needs them first.
func TestRFC9915_18_2_4_AllIAsAreRenewedTogether(t *testing.T) {
	script(t, wants("pd1", "na1"), `
	0s LinkUp -> send:Solicit,na: wake 1.05s soliciting
	0s Reply rapid pd=1 t1=1000 t2=1600 2001:db8:1::/64=2000/4000 na=1 t1=500 t2=1700 2001:db8::7=2000/4000 -> persist changed wake 8m20s bound
	500s Tick -> send:Renew>s1,2001:db8:1::/64,na:2001:db8::7/128 wake 8m30s renewing
	1600s Tick -> send:Rebind,2001:db8:1::/64,na:2001:db8::7/128 wake 26m50s rebinding`)
}

// A lease of unknown age stays unconfirmed until a server has spoken; what it is told then is exact.
func TestUnconfirmedUntilAServerSpeaks(t *testing.T) {
	l := restored()
	l.IAs[0].Prefixes[0].Unconfirmed, l.T1, l.T2 = true, lifetime.Until{}, lifetime.Until{}
	b := newBox(t, testConfig, randHalf)
	if act := b.step(t0, Restored{l}); !act.Changed || !b.c.Lease().Unconfirmed() {
		t.Errorf("Restored: %+v", act)
	}
	b.run(`
	# the tunnel takes half an hour to come up
	1800s LinkUp -> send:Rebind,2001:db8:1::/64 wake 30m1s rebinding
	1801s Tick -> send:Rebind,2001:db8:1::/64 wake 30m3s rebinding
	1801s Reply ia=UnspecFail -> wake 30m3s rebinding`)
	if !b.c.Lease().Unconfirmed() {
		t.Error("a refusal has confirmed the lease")
	}
	b.run(`1802s Reply t1=1000 t2=1600 2001:db8:1::/64=2000/4000 dns=2001:db8::53 -> persist changed wake 46m42s bound`)
	if b.c.Lease().Unconfirmed() {
		t.Error("the lease is still unconfirmed")
	}
}
