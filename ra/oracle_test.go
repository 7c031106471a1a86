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

// An independent decoder reads what we meant, and complains of nothing.
func TestCE_2_4_16_TsharkReadsTheSame(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		if os.Getenv("OASIS6_REQUIRE_NETNS") == "1" {
			t.Fatal("needs tshark:", err)
		}
		t.Skip("needs tshark (apt install tshark):", err)
	}
	c := content(forever(prefixA))
	w := startWorld(t, half, c)
	w.until(100 * time.Second)
	c = content(forever(prefixB), lease(ulaP, 100*time.Second, 1000, 2000))
	c.Managed, c.OtherConfig, c.Preference, c.LinkMTU = true, true, High, 1420
	c.RDNSS, c.DNSSL = []netip.Addr{dns1, dns2}, []string{"lan.example", "example.net"}
	first := w.step(SetContent{Content: c})[0]
	c.RDNSS, c.DNSSL, c.DefaultRouter = nil, nil, false
	second := w.at(200*time.Second, SetContent{Content: c})[0]

	file := filepath.Join(t.TempDir(), "ra.pcap")
	b := pcap(frame(ourLL, Datagram{AllNodes, first.data[0]}), frame(ourLL, Datagram{AllNodes, second.data[0]}))
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-r", file, "-T", "fields", "-E", "separator=;"}
	for _, f := range []string{"icmpv6.checksum.status", "_ws.malformed", "_ws.expert.message", "icmpv6.nd.ra.cur_hop_limit",
		"icmpv6.nd.ra.flag", "icmpv6.nd.ra.router_lifetime", "icmpv6.opt.src_linkaddr", "icmpv6.opt.mtu", "icmpv6.opt.prefix",
		"icmpv6.opt.prefix.length", "icmpv6.opt.prefix.flag", "icmpv6.opt.prefix.valid_lifetime",
		"icmpv6.opt.prefix.preferred_lifetime", "icmpv6.opt.rdnss", "icmpv6.opt.rdnss.lifetime", "icmpv6.opt.dnssl",
		"icmpv6.opt.dnssl.lifetime"} {
		args = append(args, "-e", f)
	}
	out, err := exec.Command(tshark, args...).Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	want := []string{
		"1;;;64;0xc8;2700;00:00:5e:00:53:01;1420;2001:db8:b::,fd00:6:6::,2001:db8:a::;64,64,64;0xc0,0xc0,0xc0;" +
			"5400,2000,0;2700,1000,0;2001:db8:a::1,2001:db8:53::53;5400;lan.example,example.net;5400",
		"1;;;64;0xc0;0;00:00:5e:00:53:01;1420;2001:db8:b::,fd00:6:6::,2001:db8:a::;64,64,64;0xc0,0xc0,0xc0;" +
			"5400,1900,0;2700,900,0;2001:db8:a::1,2001:db8:53::53;0;lan.example,example.net;0",
	}
	if got := strings.Split(strings.TrimSpace(string(out)), "\n"); !slices.Equal(got, want) {
		t.Errorf("tshark reads\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
