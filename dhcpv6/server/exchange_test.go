// SPDX-License-Identifier: MIT

package server

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/dhcpv6test"
)

// addr1 is the address that c1 gets on lan for IA_NA 1.
func addr1(w *world) string {
	w.t.Helper()
	_, m := w.ask("solicit na1")
	if len(m.IAs) != 1 || len(m.IAs[0].Prefixes) != 1 {
		w.t.Fatalf("no address is offered: %s", dhcpv6test.Text(m))
	}
	return m.IAs[0].Prefixes[0].Prefix.Addr().String()
}

// Solicit, Advertise, Request, Reply; and two messages with Rapid Commit.
func TestCE_2_1_01_BasicMessageExchange(t *testing.T) {
	w := newWorld(t)
	a := addr1(w)
	w.want("solicit na1 pd1", "advertise na1 "+a+"=2700/5400 pd1 2001:db8:1:ff::/64=2700/5400")
	w.did(false, false)
	w.wantBound("")
	m := w.want("request na1 "+a+" pd1 2001:db8:1:ff::/64", "reply na1 "+a+"=2700/5400 pd1 2001:db8:1:ff::/64=2700/5400")
	w.did(true, true)
	if m.IAs[0].T1 != 1350 || m.IAs[0].T2 != 2160 {
		t.Errorf("T1 %d T2 %d, want 0.5 and 0.8 of 2700", m.IAs[0].T1, m.IAs[0].T2)
	}
	w.wantBound("lan c1 na1 " + a + "=2700/5400 lan c1 pd1 2001:db8:1:ff::/64=2700/5400")
	// A copy of the Request makes nothing new, and no write.
	w.want("request na1 "+a+" pd1 2001:db8:1:ff::/64", "reply na1 "+a+"=2700/5400 pd1 2001:db8:1:ff::/64=2700/5400")
	w.did(false, false)
	w.want("solicit client=c2 rapid pd1", "reply rapid pd1 2001:db8:1:fe::/64=2700/5400")
	w.did(true, true)
}

// "the server copies the transaction-id": ask checks it for every answer of these tests.
func TestCE_2_1_02_TransactionID(t *testing.T) {
	w := newWorld(t)
	for _, xid := range []uint32{0, 1, 0xabcdef, 0xffffff} {
		w.xid = xid - 1
		w.want("solicit pd1", "advertise pd1 2001:db8:1:ff::/64=2700/5400")
	}
}

// Ports and addresses are those of RFC 9915 section 7.
func TestCE_2_1_03_Constants(t *testing.T) {
	if dhcpv6.ServerPort != 547 || dhcpv6.ClientPort != 546 || AllServers != netip.MustParseAddr("ff02::1:2") || RecTimeout != 2*time.Second || RecMaxRC != 8 {
		t.Error("constants")
	}
}

// Every option is a code, a length and as many octets: the whole message is read by our codec and by the library in
// each step of these tests; here the order and the octets of one.
func TestCE_2_1_04_OptionFormat(t *testing.T) {
	w := newWorld(t)
	ev, _ := w.query("solicit rapid pd1 oro=23")
	got := w.step(t0, ev).Send[0].Data
	want := "\x07\x00\x00\x01" + "\x00\x01\x00\x06\x00\x03\x00\x01c1" + "\x00\x02\x00\x12" + string(ourDUID) + "\x00\x0e\x00\x00" +
		"\x00\x19\x00\x29\x00\x00\x00\x01\x00\x00\x05\x46\x00\x00\x08\x70" +
		"\x00\x1a\x00\x19\x00\x00\x0a\x8c\x00\x00\x15\x18\x40\x20\x01\x0d\xb8\x00\x01\x00\xff" + strings.Repeat("\x00", 8) +
		"\x00\x17\x00\x10\x20\x01\x0d\xb8\x00\x01" + strings.Repeat("\x00", 8) + "\x00\x53"
	if !bytes.Equal(got, []byte(want)) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

// What was asked for is in Advertise and Reply, what was not is not.
func TestCE_2_1_05_Options(t *testing.T) {
	w := newWorld(t)
	all := "oro=23,24,56,103,144,32,82,83,17"
	a := addr1(w)
	for _, q := range []string{"solicit ", "solicit rapid ", "request ", "renew na1 " + a + " ", "rebind na1 " + a + " "} {
		_, m := w.ask(q + "pd1 " + all)
		if len(m.DNS) != 1 || len(m.Search) != 1 || len(m.NTP) != 1 || m.CaptivePortal == "" || len(m.EncryptedDNS) != 1 || m.RefreshTime != 0 {
			t.Errorf("%s: %+v", q, m)
		}
		_, m = w.ask(q + "pd1")
		if m.DNS != nil || m.Search != nil || m.NTP != nil || m.CaptivePortal != "" || m.EncryptedDNS != nil || m.RefreshTime != 0 {
			t.Errorf("%s with nothing asked for: %+v", q, m)
		}
	}
}

// The server's DUID is in each message (checkSent), the client's comes back (ask), whatever is in it.
func TestCE_2_1_06_ServerDUID(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"x", strings.Repeat("x", dhcpv6.MaxDUIDLen-4)} {
		if got, _ := w.ask("solicit pd1 client=" + name); !strings.HasPrefix(got, "advertise pd1") {
			t.Errorf("DUID of %d octets: %q", len(name)+4, got)
		}
	}
}

// "If the server will not assign any leases to an IA": the status is in the IA.
func TestCE_2_1_07_Advertise(t *testing.T) {
	c := testContent()
	c.Pools = nil
	c.Links[0].Stateful = false
	w := worldWith(t, testConfig, c)
	w.want("solicit na1 pd7", "advertise na1 NoAddrsAvail pd7 NoPrefixAvail")
	w.want("solicit", "advertise")
	w.did(false, false)
}

func TestCE_2_1_08_Reply(t *testing.T) {
	w := newWorld(t)
	a := addr1(w)
	w.want("request na1 pd1 pd2", "reply na1 "+a+"=2700/5400 pd1 2001:db8:1:ff::/64=2700/5400 pd2 2001:db8:1:fe::/64=2700/5400")
	if st := w.s.Stats("lan"); st.Received != 2 || st.Sent != 2 || len(st.Dropped) != 0 {
		t.Errorf("Stats = %+v", st)
	}
}

// A bound client that solicits is offered what it has; nothing changes. A Solicit binds only with Rapid Commit.
func TestCE_2_1_09_Solicit(t *testing.T) {
	w := newWorld(t)
	w.want("request pd1 ::/60", "reply pd1 2001:db8:1:f0::/60=2700/5400")
	before := w.bound()
	w.want("solicit pd1", "advertise pd1 2001:db8:1:f0::/60=2700/5400")
	w.want("solicit pd1 ::/64 src=fe80::bad", "advertise pd1 2001:db8:1:f0::/60=2700/5400")
	w.did(false, false)
	w.wantBound(before)
	if p := w.s.bindings[0].Peer; p != address("c1") {
		t.Errorf("a Solicit moved the next hop to %s", p)
	}
}

// "If the server finds that the prefix on one or more IP addresses [...] is not appropriate for the link": NotOnLink.
func TestCE_2_1_10_Request(t *testing.T) {
	w := newWorld(t)
	a := addr1(w)
	w.want("request na1 2001:db8:9::1 pd1", "reply na1 NotOnLink pd1 2001:db8:1:ff::/64=2700/5400")
	w.want("request na1 2001:db8:1::1", "reply na1 "+a+"=2700/5400") // on link, but we choose
	w.want("request na1 client=c2 server=other", "")
	w.want("request pd1 client=c3 2001:db8:9:9::/64", "reply pd1 2001:db8:1:fe::/64=2700/5400")
}

// All addresses on the link, or not; silence where there is nothing to judge.
func TestCE_2_1_11_Confirm(t *testing.T) {
	w := newWorld(t)
	w.want("confirm na1 2001:db8:1::1 2001:db8:1::2", "reply Success")
	w.want("confirm na1 2001:db8:1::1 na2 2001:db8:1:1::2", "reply NotOnLink")
	w.want("confirm na1 2001:db8:1::1 link=guest", "reply NotOnLink")
	w.want("confirm na1", "")
	w.want("confirm", "")
	w.want("confirm pd1 2001:db8:1:ff::/64", "")
	w.want("confirm pd1 2001:db8:9::/64 na1 2001:db8:1::1", "reply Success")
	c := testContent()
	c.Links[0].OnLink = nil
	w.set(c)
	w.want("confirm na1 2001:db8:1::1", "")
	if st := w.s.Stats("lan"); st.Dropped["nothing to confirm, or no prefix to judge it by"] != 4 {
		t.Errorf("Stats = %+v", st)
	}
}

// Lifetimes begin anew; what we do not know gets NoBinding; what the client does not have it is to give up.
func TestCE_2_1_12_Renew(t *testing.T) { testExtend(t, "renew") }

func TestCE_2_1_13_Rebind(t *testing.T) { testExtend(t, "rebind") }

func testExtend(t *testing.T, q string) {
	w := newWorld(t)
	a := addr1(w)
	w.want(q+" na1 "+a+" pd1 2001:db8:1:ff::/64", "reply na1 NoBinding pd1 NoBinding")
	w.want("request na1 pd1", "reply na1 "+a+"=2700/5400 pd1 2001:db8:1:ff::/64=2700/5400")
	w.wait(1350 * time.Second)
	w.wantBound("lan c1 na1 " + a + "=1350/4050 lan c1 pd1 2001:db8:1:ff::/64=1350/4050")
	w.want(q+" na1 "+a+" pd1 2001:db8:1:ff::/64", "reply na1 "+a+"=2700/5400 pd1 2001:db8:1:ff::/64=2700/5400")
	w.did(false, false)
	w.want(q+" pd1", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	w.want(q+" pd2 pd1 2001:db8:1:ff::/64 2001:db8:1:aa::/64 ::/60", "reply pd2 NoBinding pd1 2001:db8:1:ff::/64=2700/5400 2001:db8:1:aa::/64=0/0")
	w.want(q+" na1 2001:db8:9::1", "reply na1 "+a+"=2700/5400 2001:db8:9::1=0/0")
	w.want(q+" na1 ff30::1 fe80::1 ::1", "reply na1 "+a+"=2700/5400") // nobody can have those
	// After its end the binding is none, but the prefix is remembered.
	w.wait(5400 * time.Second)
	w.did(true, true)
	w.wantBound("")
	w.want(q+" pd1 2001:db8:1:ff::/64", "reply pd1 NoBinding")
	w.want("request pd1", "reply pd1 2001:db8:1:ff::/64=2700/5400")
}

// The next hop follows the client's address as soon as a valid message extends the binding.
func TestPeerFollowsTheClient(t *testing.T) {
	w := newWorld(t)
	w.want("request pd1", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	w.wait(30 * time.Second)
	w.want("renew pd1 src=fe80::7", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	w.did(false, true) // the file follows within a minute of the last write
	if b := w.s.Bindings(w.now)[0]; b.Peer != netip.MustParseAddr("fe80::7") {
		t.Errorf("peer %s", b.Peer)
	}
	w.wait(30 * time.Second)
	w.did(true, false)
	if b := w.disk.Bindings[0]; b.Peer != netip.MustParseAddr("fe80::7") {
		t.Errorf("peer on disk %s", b.Peer)
	}
}

// "the server deletes the leases [...] generates a Reply message [...] Status Code Success"; NoBinding for IAs that it
// does not know.
func TestCE_2_1_14_Release(t *testing.T) {
	w := newWorld(t)
	a := addr1(w)
	w.want("request na1 pd1", "reply na1 "+a+"=2700/5400 pd1 2001:db8:1:ff::/64=2700/5400")
	w.want("release pd2 2001:db8:1:ff::/64", "reply Success pd2 NoBinding")
	w.want("release client=c2 pd1 2001:db8:1:ff::/64", "reply Success pd1 NoBinding")
	w.want("release pd1 2001:db8:1:aa::/64 na1", "reply Success")
	w.wantBound("lan c1 na1 " + a + "=2700/5400 lan c1 pd1 2001:db8:1:ff::/64=2700/5400")
	w.want("release na1 "+a+" pd1 2001:db8:1:ff::/64", "reply Success")
	w.did(true, true)
	w.wantBound("")
	w.want("release pd1 2001:db8:1:ff::/64", "reply Success pd1 NoBinding")
	// Nobody needs them: the client gets the same again, another client does not.
	w.want("request client=c2 pd1", "reply pd1 2001:db8:1:fe::/64=2700/5400")
	w.want("request na1 pd1", "reply na1 "+a+"=2700/5400 pd1 2001:db8:1:ff::/64=2700/5400")
}

// A declined address is given to nobody for a day.
func TestCE_2_1_15_Decline(t *testing.T) {
	w := newWorld(t)
	a := addr1(w)
	w.want("request na1", "reply na1 "+a+"=2700/5400")
	w.want("decline client=c2 na1 "+a, "reply Success na1 NoBinding")
	w.want("decline na1 "+a+" na2", "reply Success na2 NoBinding")
	w.did(true, false)
	w.wantBound("")
	b := addr1(w)
	if b == a {
		t.Fatalf("%s is offered again", a)
	}
	w.wait(24*time.Hour - time.Second)
	if got := addr1(w); got != b {
		t.Errorf("%s is offered, want %s", got, b)
	}
	w.wait(time.Second)
	if got := addr1(w); got != a {
		t.Errorf("after a day %s is offered, want %s", got, a)
	}
	// Prefixes cannot be declined.
	w.want("request pd1", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	w.want("decline pd1 2001:db8:1:ff::/64", "reply Success")
	if w.bound() == "" {
		t.Error("a prefix was declined")
	}
}

// wantDropped: no answer, nothing changes, and the reason is counted.
func (w *world) wantDropped(words, why string) {
	w.t.Helper()
	before, bound := w.s.Stats("lan").Dropped[why], w.bound()
	w.want(words, "")
	if w.s.Stats("lan").Dropped[why] != before+1 || w.bound() != bound || w.act.Persist != nil || w.act.Changed {
		w.t.Errorf("%s: %+v, %+v, want it dropped: %s", words, w.s.Stats("lan"), w.act, why)
	}
}

// testInvalid: without identifiers, with wrong ones, from an address that is not link-local.
func testInvalid(t *testing.T, q string, wantsServer bool) {
	w := newWorld(t)
	w.want("request na1 pd1 rapid", "reply na1 "+addr1(w)+"=2700/5400 pd1 2001:db8:1:ff::/64=2700/5400")
	q += " na1 2001:db8:1::1 pd1 2001:db8:1:ff::/64 "
	w.wantDropped(q+"client=none", "no Client Identifier")
	if wantsServer {
		w.wantDropped(q+"server=none", "no Server Identifier")
		w.wantDropped(q+"server=other", "for another server")
	} else {
		w.wantDropped(q+"server=us", "Server Identifier in a message to all servers")
		w.wantDropped(q+"server=other", "Server Identifier in a message to all servers")
	}
	for _, src := range []string{"2001:db8:1::7", "::", "::1", "ff02::1", "::ffff:169.254.0.1"} {
		w.wantDropped(q+"src="+src, "source is not link-local")
	}
	if got, _ := w.ask(q + "link=elsewhere"); got != "" || w.s.Stats("").Dropped["link without DHCPv6"] != 1 {
		t.Errorf("from a link that is not in Content: %q %+v", got, w.s.Stats(""))
	}
	if got, _ := w.ask(q); got == "" {
		t.Errorf("%s: the valid message is not answered", q)
	}
}

func TestCE_2_1_16_InvalidSolicit(t *testing.T) { testInvalid(t, "solicit", false) }
func TestCE_2_1_17_InvalidRequest(t *testing.T) { testInvalid(t, "request", true) }
func TestCE_2_1_18_InvalidConfirm(t *testing.T) { testInvalid(t, "confirm", false) }
func TestCE_2_1_19_InvalidRenew(t *testing.T)   { testInvalid(t, "renew", true) }
func TestCE_2_1_20_InvalidRebind(t *testing.T)  { testInvalid(t, "rebind", false) }
func TestCE_2_1_21_InvalidRelease(t *testing.T) { testInvalid(t, "release", true) }
func TestCE_2_1_22_InvalidDecline(t *testing.T) { testInvalid(t, "decline", true) }

// What servers and relay agents send is discarded, so are unknown types and what is no message.
func TestCE_2_1_23_ServerMessageValidation(t *testing.T) { testTypes(t) }

func testTypes(t *testing.T) {
	w := newWorld(t)
	w.want("request pd1", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	bound := w.bound()
	n := uint64(0)
	drop := func(data []byte) {
		act := w.step(t0, Received{Link: "lan", Src: address("c1"), Data: data})
		if n++; len(act.Send) > 0 || act.Persist != nil || act.Changed || w.s.Stats("lan").Dropped["not a message of a client"] != n {
			t.Errorf("%x: %+v", data, act)
		}
	}
	ev, _ := w.query("renew pd1 2001:db8:1:ff::/64")
	for typ := range 256 {
		switch dhcpv6.MessageType(typ) {
		case dhcpv6.Solicit, dhcpv6.Request, dhcpv6.Confirm, dhcpv6.Renew, dhcpv6.Rebind, dhcpv6.Release, dhcpv6.Decline, dhcpv6.InformationRequest:
			continue
		}
		ev.Data[0] = byte(typ)
		drop(ev.Data)
	}
	for i := range 4 {
		drop(make([]byte, i))
	}
	w.wantBound(bound)
}

// Garbage is refused before anything is allocated.
func TestGarbageAllocatesNothing(t *testing.T) {
	w := newWorld(t)
	w.want("request pd1", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	ev, _ := w.query("renew pd1")
	relay := append([]byte{12}, ev.Data...)
	for _, r := range []Event{Received{"lan", address("c1"), relay}, Received{"lan", address("c1"), nil}, Received{"none", address("c1"), ev.Data},
		Received{"lan", netip.MustParseAddr("2001:db8::1"), ev.Data}} {
		if n := testing.AllocsPerRun(100, func() { w.s.Step(w.now, r) }); n > 0 {
			t.Errorf("%+v: %v allocations", r, n)
		}
	}
}
