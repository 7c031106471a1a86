// SPDX-License-Identifier: MIT

package ip6pkt

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// Of a Multicast Listener Report version 2 behind a hop-by-hop header of 8 octets (RFC 9777 section 5.2).
const (
	typeReport = 143
	reportAt   = HeaderLen + 8
	recordsAt  = reportAt + 8
	recordLen  = 4 + 16 // without sources and auxiliary data
)

// SortReport puts the records of a Multicast Listener Report version 2 in the order of their groups, in place, and says
// whether the packet is one. Records with sources stay as they are. The checksum does not depend on the order.
//
// gVisor has the groups in the order of a map; equal nodes should send equal packets.
func SortReport(pkt []byte) bool {
	if len(pkt) < recordsAt || pkt[offNextHeader] != ProtoHopByHop || pkt[HeaderLen] != ProtoICMPv6 || pkt[HeaderLen+1] != 0 ||
		pkt[reportAt] != typeReport {
		return false
	}
	if n := int(binary.BigEndian.Uint16(pkt[recordsAt-2:])); len(pkt) == recordsAt+n*recordLen {
		records := slices.Collect(slices.Chunk(slices.Clone(pkt[recordsAt:]), recordLen))
		slices.SortFunc(records, func(x, y []byte) int { return bytes.Compare(x[4:], y[4:]) })
		copy(pkt[recordsAt:], slices.Concat(records...))
	}
	return true
}
