// SPDX-License-Identifier: MIT

package e2e

import (
	"bytes"
	"encoding/hex"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ndp"

	"oasis6/dhcpv6"
	"oasis6/internal/netlab"
)

// longLeases keep timers out of a test of Reconfigure.
func longLeases() []string { return []string{"-t1=600", "-t2=900", "-preferred=1200", "-valid=1800"} }

// A hub that has given its key may call (RFC 9915 section 18.2.11); nobody else may.
func TestReconfigure(t *testing.T) {
	b := newBadBox(t, "good", longLeases()...)
	b.start()
	b.waitOnline(b.H1)
	quiet := func() bool { return b.status().DHCPv6.State == "bound" }
	for _, tc := range []struct{ words, want string }{
		{"renew", "RENEW "}, {"rebind", "REBIND "}, {"information-request", "INFORMATION-REQUEST "}, {"renew", "RENEW "},
	} {
		before := b.srv.Got(tc.want)
		b.srv.Reconfigure(tc.words)
		b.waitGot(inACrowd, tc.want, before+1)
		if !netlab.Poll(soon, quiet) {
			t.Fatalf("after Reconfigure %s the client does not come to rest\n%s", tc.words, b.text())
		}
	}
	for _, words := range []string{"renew replayed", "renew wrong-key", "renew no-auth", "renew no-client", "renew wrong-server"} {
		sent, refused := len(b.seen.All()), b.status().DHCPv6.Dropped
		b.srv.Reconfigure(words)
		if !netlab.Poll(soon, func() bool { return b.status().DHCPv6.Dropped == refused+1 }) {
			t.Errorf("Reconfigure %s is not counted as refused\n%s", words, b.text())
		}
		if n := len(b.seen.All()); n != sent {
			t.Errorf("the client sent %d messages upon Reconfigure %s, want none:\n%s", n-sent, words, b.srv.Output())
		}
	}
	b.wantOnline(b.H1)
}

// Goal: an operator renumbers, and the LAN follows within 2 s, days before T1.
func TestReconfigureRenumbersAtOnce(t *testing.T) {
	b := newBadBox(t, "good", longLeases()...)
	ras := b.H1.WatchRA("eth0")
	b.start()
	b.waitOnline(b.H1)
	b.srv.Mode("renumber")
	begin := time.Now()
	b.srv.Reconfigure("renew")
	fresh, err := ras.First(soon, func(r netlab.RA) bool { return r.Prefix(renumbered) != nil })
	if err != nil {
		t.Fatalf("RA with %s: %v\n%s", renumbered, err, b.text())
	}
	if d := fresh.At.Sub(begin); d > inACrowd {
		t.Errorf("RA with the new prefix after %v, want at most 2s", d)
	}
	if p := fresh.Prefix(usual); p == nil || p.ValidLifetime != 0 {
		t.Errorf("the old prefix in that RA: %+v, want it withdrawn", p)
	}
}

// A Reconfigure that dibbler-server 1.0.1 signed, and the key of the Reply before it.
const (
	dibblerKey         = "71ee81724348e4d9f52c9c4599a48fdb"
	dibblerReconfigure = "0a0000000002000e000100013297431c00005e00531000010012000466666666666646668666666666666666" +
		"0013000105000b001c030100000000000000000002e7d321734a2a88f3f28b3776dc80f1a2"
)

func TestDigestOfDibblerIsRight(t *testing.T) {
	data, err := hex.DecodeString(dibblerReconfigure)
	if err != nil {
		t.Fatal(err)
	}
	key, err := hex.DecodeString(dibblerKey)
	if err != nil {
		t.Fatal(err)
	}
	m, problems, err := dhcpv6.ParseMessage(data)
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v %v", problems, err)
	}
	if err := dhcpv6.VerifyReconfigure(data, m, dhcpv6.ReconfigureKey(key)); err != nil {
		t.Errorf("dibbler's digest is not believed: %v", err)
	}
	data[3] ^= 1
	if dhcpv6.VerifyReconfigure(data, m, dhcpv6.ReconfigureKey(key)) == nil {
		t.Error("a changed message is believed")
	}
}

// Dibbler's digest is right, but its replay detection is 0 in the Reply with the key and 0 in the Reconfigure, and
// the client must "only accept the message if the received value is greater" (RFC 9915 section 20.3).
// The lease lives on.
func TestReconfigureOfDibblerIsAReplay(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{NoDHCPv6: true})
	b.StartR2()
	p := b.StartDibbler()
	b.start("--log-level", "debug")
	b.waitOnline(b.H1)
	p = b.DibblerRenumber(p, otherPool)
	if !strings.Contains(p.Output(), "Sent Reconfigure to 1 client") || strings.Contains(p.Output(), "No reconfigure-key") {
		t.Fatalf("dibbler sent no signed Reconfigure:\n%s", p.Output())
	}
	if !b.proc.WaitOutput(soon, "replay") {
		t.Errorf("the log does not say that the Reconfigure was a replay:\n%s", b.proc.Output())
	}
	if !b.online(b.H1) {
		t.Errorf("the refused Reconfigure harmed h1\n%s", b.text())
	}
}

// All that Kea can give in one exchange: an address for the tunnel, a prefix for each wish, NTP servers.
func TestAddressAndSeveralPrefixes(t *testing.T) {
	t.Parallel()
	for name, noRapid := range map[string]bool{"two messages": false, "four messages": true} {
		t.Run(name, func(t *testing.T) {
			addressAndSeveralPrefixes(t, netlab.WorldConfig{Addresses: true, NoRapid: noRapid})
		})
	}
}

func addressAndSeveralPrefixes(t *testing.T, c netlab.WorldConfig) {
	b := newBox(t, c)
	b.WriteBoxConfig(b.BoxConfig("[Prefix]", "Hint = ::/64, ::/64", "RequestAddress = yes"))
	b.up()
	leases := map[string]string{} // the kind by what is leased, as Kea numbers them: 0 is IA_NA, 2 is IA_PD
	for line := range strings.Lines(b.KeaLeases()) {
		if f := strings.Split(line, ","); len(f) > 6 && f[0] != "address" { // a line for each change
			leases[f[0]] = f[6]
		}
	}
	if kinds := slices.Sorted(maps.Values(leases)); !slices.Equal(kinds, []string{"0", "2", "2"}) {
		t.Errorf("kinds of leases %q, want an address and two prefixes:\n%s", kinds, b.KeaLeases())
	}
	b.wantAddress(netlab.AddressPool)
	js := b.R1.Run(b.BoxArgs(b.bin, "status", "--json")...)
	for _, want := range []string{netlab.NTPv6, netlab.NTPName, `"IA_NA"`} {
		if !strings.Contains(js, want) {
			t.Errorf("status lacks %s:\n%s", want, js)
		}
	}
}

// OPNsense 9546: prefixes fail while addresses work. What is held lasts, and an address is no reason to be content.
func TestPrefixFailsWhileAddressWorks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, before string }{
		{"while bound", "good"},
		{"from the start", "pd=NoPrefixAvail"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBadBox(t, tc.before, "-address=2001:db8:ebbd:ff00::7")
			b.Route(netip.MustParsePrefix(netlab.AddressPool))
			b.WriteBoxConfig(b.BoxConfig("[Prefix]", "RequestAddress = yes"))
			b.start()
			if tc.before == "good" {
				b.waitOnline(b.H1)
				ping := b.pinging()
				b.srv.Mode("pd=NoPrefixAvail")
				b.waitGot(40*time.Second, "REBIND ", 1)
				time.Sleep(time.Second) // the answer takes effect
				b.reportLoss("PD fails, NA works", ping)
				b.wantOnline(b.H1)
			} else {
				b.waitSummary("degraded: ", "NoPrefixAvail")
				b.wantNoDefaultRoute(b.H1)
			}
			if text := b.text(); !strings.Contains(text, "NoPrefixAvail") {
				t.Errorf("status does not name the fault:\n%s", text)
			}
			b.srv.Mode("good")
			if !netlab.Poll(30*time.Second, func() bool { return b.online(b.H1) && strings.HasPrefix(b.status().Summary, "up: ") }) {
				t.Errorf("not up after the server came to its senses:\n%s\n%s", b.text(), b.srv.Output())
			}
		})
	}
}

// The hub keeps a part of the delegation to itself (RFC 6603): no LAN may have it.
func TestExcludedSubnetIsNotUsed(t *testing.T) {
	b := newBadBox(t, "exclude", "-length=60")
	excluded := netip.MustParsePrefix("2001:db8:ebbd:990f::/64")
	b.WriteBoxConfig(b.BoxConfig("Subnet = f"))
	b.start()
	b.waitGot(enough, "REQUEST ", 1)
	b.waitSummary("degraded: ", "")
	time.Sleep(3 * time.Second) // an RA would have come
	if b.HostHasGUA(b.H1, excluded) {
		t.Errorf("h1 has %v out of what the hub excludes", b.H1.GUAs("eth0"))
	}
	b.WriteBoxConfig(b.BoxConfig("Subnet = e"))
	b.proc.Kill()
	b.start()
	b.waitOnline(b.H1)
}

// An encrypted resolver that the hub names reaches hosts (RFC 9463 section 5.1).
func TestEncryptedDNSReachesTheLAN(t *testing.T) {
	b := newBadBox(t, "good")
	ras := b.H1.WatchRA("eth0")
	b.start()
	b.waitOnline(b.H1)
	const optionType = 144
	if _, err := ras.First(soon, func(r netlab.RA) bool {
		return slices.ContainsFunc(r.Msg.Options, func(o ndp.Option) bool {
			raw, ok := o.(*ndp.RawOption)
			return ok && raw.Type == optionType && bytes.Contains(raw.Value, []byte("\x03dot\x03lan\x07example"))
		})
	}); err != nil {
		t.Errorf("RA with the encrypted resolver: %v", err)
	}
}

// A Reply that breaks off inside its IA_PD is no refusal: the whole one that follows is used.
func TestTruncatedReplyIsNoRefusal(t *testing.T) {
	b := newBadBox(t, "garbage")
	b.start()
	b.waitOnline(b.H1)
}
