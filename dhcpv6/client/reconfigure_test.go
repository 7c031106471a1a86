// SPDX-License-Identifier: MIT

package client

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"oasis6/dhcpv6"
)

var rkapKey = dhcpv6.ReconfigureKey([]byte("0123456789abcdef"))

// rkap is an Authentication option of the Reconfiguration Key Authentication Protocol: protocol 3, algorithm 1, RDM 0,
// replay value, type and 16 octets (RFC 9915 section 20.4.1).
func rkap(replay uint64, typ byte, value []byte) *dhcpv6.Auth {
	return &dhcpv6.Auth{Protocol: 3, Algorithm: 1, Replay: replay, Info: append([]byte{typ}, value...)}
}

// reconfigure is a Reconfigure as a server signs it. Written from RFC 9915 section 20.4, without our own check.
func reconfigure(m dhcpv6.Message, wants dhcpv6.MessageType, replay uint64, key dhcpv6.ReconfigureKey) []byte {
	m.Type, m.ReconfigureMessage, m.Auth = dhcpv6.Reconfigure, wants, rkap(replay, 2, make([]byte, 16))
	b := m.Append(nil)
	marker := binary.BigEndian.AppendUint64([]byte{3, 1, 0}, replay)
	at := bytes.Index(b, append(marker, 2)) + len(marker) + 1
	mac := hmac.New(md5.New, key[:])
	mac.Write(b)
	copy(b[at:], mac.Sum(nil))
	return b
}

// ours is what a Reconfigure of our server for us has beside its options.
var ours = dhcpv6.Message{ClientID: ourDUID, ServerID: server("s1")}

// keyed is a client with a lease and the server's key, replay value 10.
func keyed(t *testing.T) *box {
	b := newBox(t, testConfig, randHalf)
	b.step(t0, LinkUp{})
	if !b.last.ReconfigureAccept {
		t.Fatal("the Solicit does not accept Reconfigure")
	}
	b.grant("rapid", rkap(10, 1, rkapKey[:]))
	return b
}

// grant answers the last message with 2001:db8:1::/64 and an Authentication option.
func (b *box) grant(words string, auth *dhcpv6.Auth) {
	b.t.Helper()
	raw := b.message(strings.Fields("Reply " + words + " t1=1000 t2=1600 2001:db8:1::/64=2000/4000"))
	m, _, err := dhcpv6.ParseMessage(raw)
	if err != nil {
		b.t.Fatal(err)
	}
	m.ReconfigureAccept, m.Auth = true, auth
	b.step(b.now, Received{From: serverAddr, Data: m.Append(nil)})
}

// "Renew, Rebind or Information-request", as if the time had come; nothing is given up. The replay value is on the
// disk before anything is sent.
func TestCE_1_6_03_Reconfigure(t *testing.T) {
	for wants, did := range map[dhcpv6.MessageType]string{
		dhcpv6.Renew:              "persist send:Renew>s1,2001:db8:1::/64 wake 1m50s renewing",
		dhcpv6.Rebind:             "persist send:Rebind,2001:db8:1::/64 wake 1m50s rebinding",
		dhcpv6.InformationRequest: "persist send:Information-request wake 1m41s informing",
	} {
		b := keyed(t)
		b.step(t0.Add(100*time.Second), Received{From: serverAddr, To: serverAddr, Data: reconfigure(ours, wants, 11, rkapKey)})
		if got := b.did(0); got != did || b.act.Persist.Reconfigure.Replay != 11 {
			t.Errorf("%s: %s, want %s; %+v", wants, got, did, b.act.Persist)
		}
		b.wantLease("2001:db8:1::/64=1900/3900")
	}
}

// The Information-request of a lease leaves the lease alone, and its T1 goes before an answer that does not come.
func TestRFC9915_18_2_11_InformationRequestWithALease(t *testing.T) {
	b := keyed(t)
	b.step(t0.Add(100*time.Second), Received{Data: reconfigure(ours, dhcpv6.InformationRequest, 11, rkapKey)})
	b.run(`101s Reply dns=2001:db8::99 -> persist changed wake 16m40s bound`)
	b.wantLease("2001:db8:1::/64=1899/3899")
	if d := b.c.Lease().Info.DNS; len(d) != 1 || d[0].String() != "2001:db8::99" {
		t.Errorf("DNS %v", d)
	}
	b.step(t0.Add(999*time.Second), Received{Data: reconfigure(ours, dhcpv6.InformationRequest, 12, rkapKey)})
	b.run(`1000s Tick -> send:Renew>s1,2001:db8:1::/64 wake 16m50s renewing`)
}

// RFC 9915 section 16.11: what is wrong with a Reconfigure, one thing at a time, makes it nothing. The reason is said.
func TestRFC9915_16_11_InvalidReconfigure(t *testing.T) {
	other, foreign, noServer, noClient, withIA := ours, ours, ours, ours, ours
	other.ServerID, foreign.ClientID, noServer.ServerID, noClient.ClientID = server("s2"), otherDUID, "", ""
	withIA.IAs = []dhcpv6.IA{{IAID: 1}}
	wrong := rkapKey
	wrong[15]++
	unsigned := ours
	unsigned.Type, unsigned.ReconfigureMessage = dhcpv6.Reconfigure, dhcpv6.Renew
	noMessage := ours
	for name, tc := range map[string]struct {
		r    Received
		want string
	}{
		"multicast":           {Received{To: AllServers, Data: reconfigure(ours, dhcpv6.Renew, 11, rkapKey)}, "by multicast"},
		"no authentication":   {Received{Data: unsigned.Append(nil)}, "no authentication"},
		"wrong key":           {Received{Data: reconfigure(ours, dhcpv6.Renew, 11, wrong)}, "not made with our"},
		"replay, same value":  {Received{Data: reconfigure(ours, dhcpv6.Renew, 10, rkapKey)}, "replay"},
		"replay, lower value": {Received{Data: reconfigure(ours, dhcpv6.Renew, 0, rkapKey)}, "replay"},
		"another server":      {Received{Data: reconfigure(other, dhcpv6.Renew, 11, rkapKey)}, "server that is not ours"},
		"another client":      {Received{Data: reconfigure(foreign, dhcpv6.Renew, 11, rkapKey)}, "somebody else"},
		"no server":           {Received{Data: reconfigure(noServer, dhcpv6.Renew, 11, rkapKey)}, "no server"},
		"no client":           {Received{Data: reconfigure(noClient, dhcpv6.Renew, 11, rkapKey)}, "no client"},
		"no message type":     {Received{Data: reconfigure(noMessage, 0, 11, rkapKey)}, "without a valid"},
		"Request asked for":   {Received{Data: reconfigure(ours, dhcpv6.Request, 11, rkapKey)}, "without a valid"},
		"IA and Information":  {Received{Data: reconfigure(withIA, dhcpv6.InformationRequest, 11, rkapKey)}, "with an IA"},
	} {
		b := keyed(t)
		b.step(t0.Add(100*time.Second), tc.r)
		st := b.c.Status()
		if got := b.did(0); got != "drop wake 16m40s bound" || !strings.Contains(st.LastDrop, tc.want) {
			t.Errorf("%s: %s, reason %q, want %q", name, got, st.LastDrop, tc.want)
		}
		b.step(t0.Add(100*time.Second), Received{Data: reconfigure(ours, dhcpv6.Renew, 11, rkapKey)})
		if b.c.Status().State != Renewing {
			t.Errorf("%s: the good one after it does nothing", name)
		}
	}
	// No octet of a signed message can be changed.
	good := reconfigure(ours, dhcpv6.Renew, 11, rkapKey)
	for i := range good {
		b := keyed(t)
		bad := bytes.Clone(good)
		bad[i] ^= 1
		b.step(t0.Add(100*time.Second), Received{Data: bad})
		if b.c.Status().State != Bound || b.act.Persist != nil {
			t.Errorf("octet %d changed: %s", i, b.did(0))
		}
	}
	// Without a key none is believed.
	b := script(t, testConfig, boundAt0)
	b.step(t0, Received{Data: good})
	if b.c.Status().State != Bound || b.c.Status().LastDrop != "Reconfigure, but we have no key" {
		t.Errorf("without a key: %s %q", b.c.Status().State, b.c.Status().LastDrop)
	}
}

// "the client MUST ignore additional Reconfigure messages until the exchange is completed". One that is repeated after
// it is taken, once.
func TestRFC9915_18_2_11_OneAtATime(t *testing.T) {
	b := keyed(t)
	b.step(t0.Add(100*time.Second), Received{Data: reconfigure(ours, dhcpv6.Renew, 11, rkapKey)})
	again := reconfigure(ours, dhcpv6.Rebind, 12, rkapKey)
	b.step(t0.Add(101*time.Second), Received{Data: again})
	if got := b.did(0); got != "wake 1m50s renewing" {
		t.Errorf("a second one: %s", got)
	}
	b.grant("", nil)
	b.step(t0.Add(102*time.Second), Received{Data: again})
	if b.c.Status().State != Rebinding {
		t.Errorf("the second one repeated after the exchange: %s %q", b.c.Status().State, b.c.Status().LastDrop)
	}
	b.grant("", nil)
	b.step(t0.Add(103*time.Second), Received{Data: again})
	if b.c.Status().State != Bound || b.c.Status().LastDrop != "Reconfigure is a replay" {
		t.Errorf("and once more: %s %q", b.c.Status().State, b.c.Status().LastDrop)
	}
}

// Key and replay value survive a restart, and a Renew that hands out no key; a new key replaces the old; a key
// dies with its server and with its lease.
func TestRFC9915_20_4_KeyOnDisk(t *testing.T) {
	b := keyed(t)
	b.step(t0.Add(100*time.Second), Received{Data: reconfigure(ours, dhcpv6.Renew, 11, rkapKey)})
	b.grant("", nil)
	data, err := EncodeLease(*b.act.Persist, ourDUID, 1, b.now, wallTime, "boot-a")
	if err != nil {
		t.Fatal(err)
	}
	l, _, _, _, err := DecodeLease(data, b.now, wallTime, "boot-a")
	if err != nil {
		t.Fatal(err)
	}
	next := newBox(t, testConfig, randHalf)
	next.step(b.now, Restored{l})
	next.step(b.now, LinkUp{})
	next.grant("", nil)
	next.step(b.now, Received{Data: reconfigure(ours, dhcpv6.Renew, 11, rkapKey)})
	if next.c.Status().LastDrop != "Reconfigure is a replay" {
		t.Errorf("replay after a restart: %q", next.c.Status().LastDrop)
	}
	next.step(b.now, Received{Data: reconfigure(ours, dhcpv6.Renew, 12, rkapKey)})
	if next.c.Status().State != Renewing || !next.c.Status().Reconfigure {
		t.Errorf("after a restart: %s", next.c.Status().State)
	}
	fresh := rkapKey
	fresh[0]++
	next.grant("", rkap(3, 1, fresh[:]))
	if r := next.c.Lease().Reconfigure; r.Key != fresh || r.Replay != 3 {
		t.Errorf("a new key is not taken: %+v", r)
	}
	next.step(t0.Add(1800*time.Second), Tick{}) // T2
	next.step(t0.Add(1800*time.Second), Tick{})
	next.grant("from=s2", nil)
	if next.c.Lease().Server != server("s2") || next.c.Status().Reconfigure {
		t.Errorf("the key of another server is kept: %+v", next.c.Lease())
	}
}
