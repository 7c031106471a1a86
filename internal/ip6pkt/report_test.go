// SPDX-License-Identifier: MIT

package ip6pkt

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
)

// report is a Multicast Listener Report version 2 about groups that end with these octets.
func report(ends ...byte) []byte {
	body := []byte{typeReport, 0, 0, 0, 0, 0, 0, byte(len(ends))}
	for _, e := range ends {
		group := netip.MustParseAddr("ff02::1:ff00:0").As16()
		group[15] = e
		body = append(append(body, 4, 0, 0, 0), group[:]...)
	}
	src, dst := netip.MustParseAddr("fe80::1"), netip.MustParseAddr("ff02::16")
	inner := ICMPv6(src, dst, 1, body)
	hop := []byte{ProtoICMPv6, 0, 5, 2, 0, 0, 1, 0} // Router Alert, RFC 2711
	return Packet(src, dst, ProtoHopByHop, 1, slices.Concat(hop, inner[HeaderLen:]))
}

func TestSortReport(t *testing.T) {
	got, want := report(3, 1, 2), report(1, 2, 3)
	if !SortReport(got) || !bytes.Equal(got, want) {
		t.Errorf("sorted %x\nwant   %x", got, want)
	}
	src, dst := netip.MustParseAddr("fe80::1"), netip.MustParseAddr("ff02::16")
	if sum := Checksum(src, dst, ProtoICMPv6, got[reportAt:]); sum != 0 {
		t.Errorf("the checksum is off by %#x", sum)
	}
	sources := report(2, 1)
	sources[recordsAt-1] = 9 // says more than there are, as one with sources would be longer
	keep := slices.Clone(sources)
	if !SortReport(sources) || !bytes.Equal(sources, keep) {
		t.Error("a report of another form was changed")
	}
	for _, other := range [][]byte{nil, report(2, 1)[:recordsAt-1], EchoRequest(src, dst, 1, 1, 1), UDP(src, dst, 1, 2, 1, make([]byte, 99))} {
		keep := slices.Clone(other)
		if SortReport(other) || !bytes.Equal(other, keep) {
			t.Errorf("%x is taken for a report, or was changed", keep)
		}
	}
}
