// SPDX-License-Identifier: MIT

package ra

import (
	"encoding/binary"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// frame is the datagram as it is on the wire, with Ethernet and IPv6 header and the checksum.
func frame(src netip.Addr, d Datagram) []byte {
	s, to := src.As16(), d.To.As16()
	sum := uint32(len(d.Data)) + 58
	for _, b := range [][]byte{s[:], to[:], d.Data} {
		for i, o := range b {
			sum += uint32(o) << (8 * (1 - i%2))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	data := slices.Clone(d.Data)
	binary.BigEndian.PutUint16(data[2:], ^uint16(sum))
	f := append([]byte{0x33, 0x33, 0, 0, 0, 1}, ourMAC[:]...)
	f = append(f, 0x86, 0xdd, 0x60, 0, 0, 0)
	f = binary.BigEndian.AppendUint16(f, uint16(len(data)))
	f = append(f, 58, 255)
	f = append(append(f, s[:]...), to[:]...)
	return append(f, data...)
}

func pcap(frames ...[]byte) []byte {
	b := []byte{0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 1}
	for _, f := range frames {
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
		b = binary.BigEndian.AppendUint32(b, uint32(len(f)))
		b = binary.BigEndian.AppendUint32(b, uint32(len(f)))
		b = append(b, f...)
	}
	return b
}

// tsharkReads gives the fields that tshark reads of each RA, one line each.
func tsharkReads(t *testing.T, fields []string, ras ...[]byte) []string {
	t.Helper()
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		if os.Getenv("OASIS6_REQUIRE_NETNS") == "1" {
			t.Fatal("needs tshark:", err)
		}
		t.Skip("needs tshark (apt install tshark):", err)
	}
	var frames [][]byte
	for _, data := range ras {
		frames = append(frames, frame(ourLL, Datagram{AllNodes, data}))
	}
	file := filepath.Join(t.TempDir(), "ra.pcap")
	if err := os.WriteFile(file, pcap(frames...), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-r", file, "-T", "fields", "-E", "separator=;"}
	for _, f := range append([]string{"icmpv6.checksum.status", "_ws.malformed", "_ws.expert.message"}, fields...) {
		args = append(args, "-e", f)
	}
	out, err := exec.Command(tshark, args...).Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// An independent decoder reads what we meant, and complains of nothing.
func TestCE_2_4_16_TsharkReadsTheSame(t *testing.T) {
	c := content(forever(prefixA))
	w := startWorld(t, half, c)
	w.until(100 * time.Second)
	c = content(forever(prefixB), lease(ulaP, 100*time.Second, 1000, 2000))
	c.Managed, c.OtherConfig, c.Preference, c.LinkMTU = true, true, High, 1420
	c.RDNSS, c.DNSSL = []netip.Addr{dns1, dns2}, []string{"lan.example", "example.net"}
	first := w.step(SetContent{Content: c})[0]
	c.RDNSS, c.DNSSL, c.DefaultRouter = nil, nil, false
	second := w.at(200*time.Second, SetContent{Content: c})[0]

	got := tsharkReads(t, []string{"icmpv6.nd.ra.cur_hop_limit",
		"icmpv6.nd.ra.flag", "icmpv6.nd.ra.router_lifetime", "icmpv6.opt.src_linkaddr", "icmpv6.opt.mtu", "icmpv6.opt.prefix",
		"icmpv6.opt.prefix.length", "icmpv6.opt.prefix.flag", "icmpv6.opt.prefix.valid_lifetime",
		"icmpv6.opt.prefix.preferred_lifetime", "icmpv6.opt.rdnss", "icmpv6.opt.rdnss.lifetime", "icmpv6.opt.dnssl",
		"icmpv6.opt.dnssl.lifetime"}, first.data[0], second.data[0])
	want := []string{
		"1;;;64;0xc8;2700;00:00:5e:00:53:01;1420;2001:db8:b::,fd00:6:6::,2001:db8:a::;64,64,64;0xc0,0xc0,0xc0;" +
			"5400,2000,0;2700,1000,0;2001:db8:a::1,2001:db8:53::53;5400;lan.example,example.net;5400",
		"1;;;64;0xc0;0;00:00:5e:00:53:01;1420;2001:db8:b::,fd00:6:6::,2001:db8:a::;64,64,64;0xc0,0xc0,0xc0;" +
			"5400,1900,0;2700,900,0;2001:db8:a::1,2001:db8:53::53;0;lan.example,example.net;0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("tshark reads\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The new options, given and withdrawn.
func TestCE_2_4_16_TsharkReadsTheNewOptions(t *testing.T) {
	c := full()
	c.EncryptedDNS = nil // tshark 4.0 does not know it
	c.Routes = []Route{{pfx("2001:db8:0:f0::/60"), Low, fromSeconds(4000)}}
	w := startWorld(t, half, c)
	first := w.sent[0]
	second := w.at(100*time.Second, SetContent{Content: content(forever(prefixA))})[0]
	got := tsharkReads(t, []string{"icmpv6.opt.route_info.flag.route_preference", "icmpv6.opt.route_lifetime",
		"icmpv6.opt.pref64.scaled_lifetime", "icmpv6.opt.pref64.plc", "icmpv6.opt.pref64.prefix", "icmpv6.opt.captive_portal"},
		first.data[0], second.data[0])
	want := []string{
		"1;;;3;4000;225;0x0000;64:ff9b::;https://portal.example/api",
		"1;;;0;0;0;0x0000;64:ff9b::;" + Unrestricted,
	}
	if !slices.Equal(got, want) {
		t.Errorf("tshark reads\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
