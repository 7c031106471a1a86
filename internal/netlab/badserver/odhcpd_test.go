// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// openWrt is a server like odhcpd at a time that the test moves.
type openWrt struct {
	*testing.T
	*server
	at time.Time
}

func newOpenWrt(t *testing.T, words, upstream string) *openWrt {
	t.Helper()
	w := &openWrt{T: t, server: testServer(t, words), at: time.Unix(1_700_000_000, 0)}
	w.from = netip.MustParseAddr("fe80::1")
	w.odhcpd = &odhcpd{now: func() time.Time { return w.at }, minLength: 62, maxPref: 2700, maxV: 5400}
	w.upstream(upstream)
	return w
}

func (w *openWrt) upstream(words string) {
	w.Helper()
	if err := w.odhcpd.upstream(strings.Fields(words)); err != nil {
		w.Fatal(err)
	}
}

// ask sends one IA_PD with the prefixes, and an IA_NA, and wants what the answer says of them.
func (w *openWrt) ask(typ dhcpv6.MessageType, want string, prefixes ...string) *dhcpv6.Message {
	w.Helper()
	m := &dhcpv6.Message{MessageType: typ, TransactionID: dhcpv6.TransactionID{1, 2, 3}}
	m.AddOption(dhcpv6.OptClientID(clientID))
	pd := &dhcpv6.OptIAPD{IaId: [4]byte{3: 1}}
	for _, p := range prefixes {
		_, n, err := net.ParseCIDR(p)
		if err != nil {
			w.Fatal(err)
		}
		pd.Options.Add(&dhcpv6.OptIAPrefix{Prefix: n})
	}
	m.AddOption(pd)
	m.AddOption(generic(dhcpv6.OptionReconfAccept))
	m.AddOption(generic(dhcpv6.OptionRapidCommit))
	if typ != dhcpv6.MessageTypeSolicit && typ != dhcpv6.MessageTypeRebind {
		m.AddOption(generic(dhcpv6.OptionServerID, duid(itself)...))
	}
	in, err := dhcpv6.MessageFromBytes(m.ToBytes())
	if err != nil {
		w.Fatal(err)
	}
	out := w.answer(in)
	if len(out) != 1 || !strings.HasSuffix(out[0].text, want) {
		w.Errorf("%s %v: %q, want %q", typ, prefixes, texts(out), want)
		return nil
	}
	a, err := dhcpv6.MessageFromBytes(out[0].data)
	if err != nil {
		w.Fatalf("the library does not read the answer: %v", err)
	}
	return a
}

func (w *openWrt) routes(want string) {
	w.Helper()
	if got := routesText(w.odhcpd.routes()); got != want {
		w.Errorf("routes %q, want %q", got, want)
	}
}

const (
	long     = "2001:db8:ebbd:9900::/56 86400 86400"
	inherits = "; PD 00000001 T1 1350 T2 2160, 2001:db8:ebbd:9901::/64 2700/5400"
	accepted = "; option 20"
	keyToo   = "; option 20; option 11"
	myRoute  = "2001:db8:ebbd:9901::/64 via fe80::1"
)

// A lease, and what a Solicit of somebody with the same DUID does to it.
func TestOdhcpdSolicitUnbinds(t *testing.T) {
	w := newOpenWrt(t, "good", long)
	w.ask(dhcpv6.MessageTypeSolicit, "ADVERTISE"+head+inherits+accepted, "::/64")
	w.routes("")
	w.ask(dhcpv6.MessageTypeRequest, "REPLY"+head+inherits+keyToo, "2001:db8:ebbd:9901::/64")
	w.routes(myRoute)
	if _, err := w.stray(); err != nil {
		t.Fatal(err)
	}
	w.routes("")
	w.at = w.at.Add(59 * time.Second)
	w.ask(dhcpv6.MessageTypeRenew, "REPLY"+head+inherits, "2001:db8:ebbd:9901::/64")
	w.routes(myRoute)
	if _, err := w.stray(); err != nil {
		t.Fatal(err)
	}
	w.at = w.at.Add(60 * time.Second)
	w.ask(dhcpv6.MessageTypeRenew, "; PD 00000001 T1 0 T2 0, NoBinding", "2001:db8:ebbd:9901::/64")
	w.ask(dhcpv6.MessageTypeRebind, "REPLY"+head+inherits, "2001:db8:ebbd:9901::/64")
	w.routes(myRoute)
	w.ask(dhcpv6.MessageTypeRelease, "REPLY"+head+", Success", "2001:db8:ebbd:9901::/64")
	w.routes("")
}

// With Rapid Commit a Solicit binds, and nobody has the key.
func TestOdhcpdRapidCommitHasNoKey(t *testing.T) {
	w := newOpenWrt(t, "rapid", long)
	w.ask(dhcpv6.MessageTypeSolicit, "REPLY"+head+inherits+accepted, "::/64")
	w.routes(myRoute)
}

// Subnet 0 stays with the server; a wish is raised to 62, and then tried down to 64.
func TestOdhcpdLengths(t *testing.T) {
	for _, tc := range []struct{ upstream, wish, want string }{
		{"2001:db8:ebbd:9900::/56", "::/48", "2001:db8:ebbd:9904::/62"},
		{"2001:db8:ebbd:9900::/56", "::/56", "2001:db8:ebbd:9904::/62"},
		{"2001:db8:ebbd:9900::/56", "::/63", "2001:db8:ebbd:9902::/63"},
		{"2001:db8:ebbd:9900::/56", "::/80", "2001:db8:ebbd:9901::/64"},
		{"2001:db8:ebbd:9900::/56", "2001:db8:ebbd:9940::/64", "2001:db8:ebbd:9901::/64"},
		{"2001:db8:ebbd:990a::/63", "::/56", "2001:db8:ebbd:990b::/64"},
		{"2001:db8:ebbd:9908::/62", "::/56", "2001:db8:ebbd:990a::/63"},
		{"2001:db8:ebbd:990a::/64", "::/64", ""},
	} {
		w := newOpenWrt(t, "rapid", tc.upstream+" 86400 86400")
		want := "; PD 00000001 T1 1350 T2 2160, " + tc.want + " 2700/5400" + accepted
		if tc.want == "" {
			want = "; PD 00000001 T1 0 T2 0, NoPrefixAvail"
		}
		w.ask(dhcpv6.MessageTypeSolicit, want, tc.wish)
	}
}

// Lifetimes are what the prefix of the interface has left.
func TestOdhcpdLifetimesDecay(t *testing.T) {
	w := newOpenWrt(t, "rapid", "2001:db8:ebbd:9900::/56 3000 6000")
	w.ask(dhcpv6.MessageTypeSolicit, inherits+accepted, "::/64")
	for _, tc := range []struct {
		after int
		want  string
	}{
		{300, "T1 1350 T2 2160, 2001:db8:ebbd:9901::/64 2700/5400"},
		{1500, "T1 750 T2 1200, 2001:db8:ebbd:9901::/64 1500/4500"},
		{2998, "T1 1 T2 1, 2001:db8:ebbd:9901::/64 2/3002"},
		{3000, "T1 1350 T2 2160, 2001:db8:ebbd:9901::/64 0/3000"},
		{6000, "T1 1350 T2 2160, 2001:db8:ebbd:9901::/64 0/0"},
	} {
		w.at = time.Unix(1_700_000_000+int64(tc.after), 0)
		w.ask(dhcpv6.MessageTypeRenew, tc.want, "2001:db8:ebbd:9901::/64")
	}
}

// Another prefix of the provider: Renew has both, the old one with 0; a Request for the old one is refused.
func TestOdhcpdRenumbers(t *testing.T) {
	w := newOpenWrt(t, "rapid", long)
	w.ask(dhcpv6.MessageTypeSolicit, inherits+accepted, "::/64")
	const other = "2001:db8:ebbd:bb01::/64"
	w.upstream("2001:db8:ebbd:bb00::/56 86400 86400")
	w.routes(other + " via fe80::1")
	w.ask(dhcpv6.MessageTypeRenew, ", "+other+" 2700/5400, 2001:db8:ebbd:9901::/64 0/0", "2001:db8:ebbd:9901::/64")
	w.upstream("2001:db8:ebbd:bb00::/56 86400 86400 2001:db8:ebbd:9900::/56 0 60")
	w.ask(dhcpv6.MessageTypeRenew, ", "+other+" 2700/5400, 2001:db8:ebbd:9901::/64 0/60", other)
	w.routes("2001:db8:ebbd:9901::/64 via fe80::1, " + other + " via fe80::1")
	w.upstream("2001:db8:ebbd:bb00::/56 86400 86400")
	w.ask(dhcpv6.MessageTypeRequest, "; PD 00000001 T1 0 T2 0, NotOnLink", "2001:db8:ebbd:9901::/64")
	w.routes("")
	w.odhcpd.others(1)
	w.ask(dhcpv6.MessageTypeRebind, ", 2001:db8:ebbd:bb02::/64 2700/5400, 2001:db8:ebbd:9901::/64 0/0", "2001:db8:ebbd:9901::/64")
}

// Eight Reconfigures, 2 s, 4 s … apart, until the client is heard; the replay detection is the time of day.
func TestOdhcpdCalls(t *testing.T) {
	w := newOpenWrt(t, "good", long)
	w.ask(dhcpv6.MessageTypeRequest, keyToo, "2001:db8:ebbd:9901::/64")
	begin := w.at
	w.upstream("2001:db8:ebbd:bb00::/56 86400 86400")
	var sent []string
	replays := []uint64{}
	for ; w.at.Sub(begin) < 300*time.Second; w.at = w.at.Add(time.Second) {
		for _, d := range w.tick() {
			sent = append(sent, fmt.Sprint(w.at.Sub(begin)))
			at := bytes.Index(d.data, []byte{0, 11, 0, 28, 3, 1, 0}) + 7
			replays = append(replays, binary.BigEndian.Uint64(d.data[at:]))
		}
	}
	if got := strings.Join(sent, " "); got != "0s 2s 6s 14s 30s 1m2s 2m6s 4m14s" {
		t.Errorf("Reconfigures at %s", got)
	}
	for i, r := range replays {
		if r>>32 < 1_700_000_000 || i > 0 && r <= replays[i-1] {
			t.Errorf("replay detection %x", replays)
		}
	}
	w.upstream(long)
	w.tick()
	w.at = w.at.Add(time.Second)
	w.ask(dhcpv6.MessageTypeRenew, "", "2001:db8:ebbd:9901::/64")
	w.at = w.at.Add(time.Hour)
	if out := w.tick(); len(out) > 0 {
		t.Errorf("%q after the client was heard", texts(out))
	}
}
