// SPDX-License-Identifier: MIT

package ip6pkt

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
)

var (
	box = netip.MustParseAddr("fe80::9d23:9a19:b6c6:9d7c")
	hub = netip.MustParseAddr("fe80::1")
)

func TestUDPRoundTrip(t *testing.T) {
	for _, payload := range [][]byte{nil, {1}, {1, 2}, bytes.Repeat([]byte{0xff, 0}, 700)} {
		pkt := UDP(box, hub, 546, 547, 1, payload)
		d, err := ParseUDP(append(bytes.Clone(pkt), 0, 0, 0)) // a padded link
		if err != nil {
			t.Fatalf("ParseUDP of %d octets: %v", len(payload), err)
		}
		if d.Src != netip.AddrPortFrom(box, 546) || d.Dst != netip.AddrPortFrom(hub, 547) || d.HopLimit != 1 || !bytes.Equal(d.Payload, payload) {
			t.Errorf("ParseUDP = %+v, want what UDP was given", d)
		}
		h, err := ipv6.ParseHeader(pkt)
		if err != nil || h.PayloadLen != 8+len(payload) || h.NextHeader != 17 || h.HopLimit != 1 {
			t.Errorf("x/net reads %v, %v", h, err)
		}
	}
}

// "IPv6 receivers must discard UDP packets containing a zero checksum"
func TestRFC8200_8_1_ZeroUDPChecksumIsRefused(t *testing.T) {
	pkt := UDP(box, hub, 546, 547, 1, []byte("x"))
	pkt[46], pkt[47] = 0, 0
	if _, err := ParseUDP(pkt); !errors.Is(err, ErrChecksum) {
		t.Errorf("ParseUDP without checksum = %v, want ErrChecksum", err)
	}
}

// "if that computation yields a result of zero, it must be changed to hex FFFF for placement in the UDP header"
func TestRFC8200_8_1_ComputedZeroIsSentAsFFFF(t *testing.T) {
	for v := range 1 << 16 {
		pkt := UDP(box, hub, 546, 547, 1, []byte{byte(v >> 8), byte(v)})
		if pkt[46] == 0 && pkt[47] == 0 {
			t.Fatalf("payload %04x: checksum sent as zero", v)
		}
		if pkt[46] == 0xff && pkt[47] == 0xff {
			if _, err := ParseUDP(pkt); err != nil {
				t.Fatalf("payload %04x: %v", v, err)
			}
			return
		}
	}
	t.Fatal("no payload gives the computed checksum zero: the sum is wrong")
}

func TestICMPv6AgreesWithXNet(t *testing.T) {
	m := icmp.Message{Type: ipv6.ICMPTypeEchoRequest, Body: &icmp.Echo{ID: 0x6666, Seq: 7}}
	want, err := m.Marshal(icmp.IPv6PseudoHeader(net.IP(box.AsSlice()), net.IP(hub.AsSlice())))
	if err != nil {
		t.Fatal(err)
	}
	pkt := EchoRequest(box, hub, 64, 0x6666, 7)
	got, err := ParseICMPv6(pkt)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Body, want) || got.Src != box || got.Dst != hub || got.HopLimit != 64 {
		t.Errorf("EchoRequest = %+v, want body %x", got, want)
	}
}

func TestPacketIsWhatUDPMakes(t *testing.T) {
	want := UDP(box, hub, 1, 2, 64, []byte("x"))
	if got := Packet(box, hub, ProtoUDP, 64, want[HeaderLen:]); !bytes.Equal(got, want) {
		t.Errorf("Packet = %x, want %x", got, want)
	}
	if got := Packet(box, hub, ProtoUDP, 64, make([]byte, 65536)); got != nil {
		t.Errorf("Packet of too much = %d octets, want none", len(got))
	}
}

func TestParseRefuses(t *testing.T) {
	good := UDP(box, hub, 546, 547, 1, []byte("solicit"))
	edit := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	for _, c := range []struct {
		name string
		pkt  []byte
		want string
	}{
		{"empty", nil, "ipv6 header: 0"},
		{"short header", good[:39], "ipv6 header: 39"},
		{"version 4", edit(func(b []byte) []byte { b[0] = 0x45; return b }), "ip version: 4"},
		{"extension header", edit(func(b []byte) []byte { b[6] = 0; return b }), "next header: 0"},
		{"cut", good[:50], "payload length: 15"},
		{"udp header cut", edit(func(b []byte) []byte { b[5] = 7; return b }), "udp header: 7"},
		{"udp length", edit(func(b []byte) []byte { b[45]++; return b }), "udp length: 16"},
		{"bit flip in payload", edit(func(b []byte) []byte { b[54] ^= 1; return b }), "wrong checksum"},
		{"bit flip in address", edit(func(b []byte) []byte { b[20] ^= 1; return b }), "wrong checksum"},
	} {
		if _, err := ParseUDP(c.pkt); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: ParseUDP = %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := ParseICMPv6(good); err == nil {
		t.Error("ParseICMPv6 takes UDP")
	}
	icmp := ICMPv6(box, hub, 255, []byte{133, 0, 0, 0})
	icmp[43] ^= 1
	if _, err := ParseICMPv6(icmp); !errors.Is(err, ErrChecksum) {
		t.Errorf("ParseICMPv6 of a damaged packet = %v, want ErrChecksum", err)
	}
}

func TestBuildRefuses(t *testing.T) {
	v4 := netip.MustParseAddr("192.0.2.1")
	mapped := netip.MustParseAddr("::ffff:192.0.2.1")
	for name, pkt := range map[string][]byte{
		"IPv4 source":        UDP(v4, hub, 1, 2, 64, nil),
		"mapped destination": UDP(box, mapped, 1, 2, 64, nil),
		"unset source":       UDP(netip.Addr{}, hub, 1, 2, 64, nil),
		"long payload":       UDP(box, hub, 1, 2, 64, make([]byte, 65528)),
		"long message":       ICMPv6(box, hub, 64, make([]byte, 65536)),
		"no message":         ICMPv6(box, hub, 64, []byte{128, 0, 0}),
	} {
		if pkt != nil {
			t.Errorf("%s: built %d octets, want none", name, len(pkt))
		}
	}
	if len(UDP(box, hub, 1, 2, 64, make([]byte, 65527))) != 40+65535 {
		t.Error("the longest payload is refused")
	}
	if !bytes.Equal(UDP(box.WithZone("oasis0"), hub, 1, 2, 64, nil), UDP(box, hub, 1, 2, 64, nil)) {
		t.Error("a zone changes the packet")
	}
}

// A foreign decoder judges the checksums.
func TestTsharkAgrees(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		if os.Getenv("OASIS6_REQUIRE_NETNS") == "1" {
			t.Fatal("needs tshark:", err)
		}
		t.Skip("needs tshark (apt-get install tshark)")
	}
	var f bytes.Buffer
	f.Write([]byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0}) // pcap, raw IP
	for _, pkt := range [][]byte{
		UDP(box, hub, 546, 547, 1, []byte{1, 0xaa, 0xbb, 0xcc}),
		EchoRequest(box, hub, 64, 1, 2),
	} {
		n := byte(len(pkt))
		f.Write([]byte{0, 0, 0, 0, 0, 0, 0, 0, n, 0, 0, 0, n, 0, 0, 0})
		f.Write(pkt)
	}
	name := filepath.Join(t.TempDir(), "x.pcap")
	if err := os.WriteFile(name, f.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tshark, "-r", name, "-o", "udp.check_checksum:TRUE", "-T", "fields",
		"-e", "udp.checksum.status", "-e", "icmpv6.checksum.status", "-e", "ipv6.src").Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	want := "1\t\t" + box.String() + "\n\t1\t" + box.String() + "\n" // 1: good
	if string(out) != want {
		t.Errorf("tshark says %q, want %q", out, want)
	}
}

// What is parsed and built again is the same packet; nothing panics.
func FuzzParse(f *testing.F) {
	f.Add(UDP(box, hub, 546, 547, 1, []byte{1, 2, 3}))
	f.Add(EchoRequest(box, hub, 64, 1, 1))
	b, _ := hex.DecodeString("6000000000000040")
	f.Add(b)
	f.Fuzz(func(t *testing.T, pkt []byte) {
		if d, err := ParseUDP(pkt); err == nil && !d.Src.Addr().Is4In6() && !d.Dst.Addr().Is4In6() {
			again, err := ParseUDP(UDP(d.Src.Addr(), d.Dst.Addr(), d.Src.Port(), d.Dst.Port(), d.HopLimit, d.Payload))
			if err != nil || again.Src != d.Src || again.Dst != d.Dst || !bytes.Equal(again.Payload, d.Payload) {
				t.Errorf("parse, build, parse: %+v, %v, want %+v", again, err, d)
			}
		}
		if m, err := ParseICMPv6(pkt); err == nil && !m.Src.Is4In6() && !m.Dst.Is4In6() {
			again, err := ParseICMPv6(ICMPv6(m.Src, m.Dst, m.HopLimit, m.Body))
			if err != nil || again.Src != m.Src || !bytes.Equal(again.Body[4:], m.Body[4:]) {
				t.Errorf("parse, build, parse: %+v, %v, want %+v", again, err, m)
			}
		}
	})
}
