// SPDX-License-Identifier: MIT

// Package offload is what a network card does for a kernel, for packets that go between a tap and WireGuard: it cuts a
// super-packet into segments, makes one of segments that follow each other, and fills in checksums.
//
// It knows IPv6 with TCP or UDP directly behind the fixed header; everything else goes as it is. Its inputs are hostile.
// It must not know devices, sockets and the clock. Start at Info, Segments and Coalescer.
package offload

// Info is what a packet's owner has left to be done. The zero value: nothing.
type Info struct {
	// Size is the payload of each segment of a super-packet; 0: it is none.
	Size uint16
	// Partial: the upper layer's checksum field holds the sum of the pseudo-header only.
	Partial bool
	// Start and Field are where the sum begins, counted from the IPv6 header, and where it goes, counted from there.
	// They hold with Partial.
	Start, Field uint16
}
