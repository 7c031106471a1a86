// SPDX-License-Identifier: MIT

package netstack

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"oasis6/dataplane/netstack/offload"
)

// vnetHeader is the length of struct virtio_net_hdr, in front of each frame of a tap, in the machine's byte order.
const vnetHeader = 10

// Of struct virtio_net_hdr (linux/virtio_net.h); golang.org/x/sys/unix has not all.
const (
	vnetNeedsSum = 1
	vnetNone     = 0
	vnetTCPv6    = 4
	vnetUDP      = 5
	vnetECN      = 0x80
)

// readVnet says what the kernel has left to be done of an IPv6 frame behind the header; false: it is none that we asked for.
func readVnet(h []byte) (off offload.Info, ok bool) {
	kind := h[1] &^ vnetECN
	size := binary.NativeEndian.Uint16(h[4:])
	start, field := binary.NativeEndian.Uint16(h[6:]), binary.NativeEndian.Uint16(h[8:])
	switch kind {
	case vnetNone:
		size = 0
	case vnetTCPv6, vnetUDP:
		if size == 0 {
			return off, false
		}
	default:
		return off, false
	}
	off.Size = size
	if h[0]&vnetNeedsSum != 0 {
		if start < etherHeader {
			return off, false
		}
		off.Partial, off.Start, off.Field = true, start-etherHeader, field
	}
	return off, true
}

// writeVnet is the opposite.
func writeVnet(h []byte, off offload.Info) {
	clear(h)
	if !off.Partial {
		return
	}
	h[0] = vnetNeedsSum
	if off.Size > 0 {
		h[1] = vnetUDP
		if off.Field == offload.FieldTCP {
			h[1] = vnetTCPv6
		}
		binary.NativeEndian.PutUint16(h[4:], off.Size)
	}
	binary.NativeEndian.PutUint16(h[2:], etherHeader+off.Start+off.Field+2) // at least what has to be changed
	binary.NativeEndian.PutUint16(h[6:], etherHeader+off.Start)
	binary.NativeEndian.PutUint16(h[8:], off.Field)
}

// onlyIPv6 is the filter of a tap: the rest of what a bridge floods need not wake us.
func onlyIPv6() []unix.SockFilter {
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 12},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: etherType, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: ^uint32(0)},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
}
