// SPDX-License-Identifier: MIT

package offload

import (
	"encoding/binary"
	"math/bits"
)

// sum adds the 16-bit words of b to a sum, folded; eight octets at a time, as this is most of the work of a segment.
func sum(start uint16, b []byte) uint16 {
	total, carry := uint64(start), uint64(0)
	for len(b) >= 32 {
		total, carry = bits.Add64(total, binary.BigEndian.Uint64(b), carry)
		total, carry = bits.Add64(total, binary.BigEndian.Uint64(b[8:]), carry)
		total, carry = bits.Add64(total, binary.BigEndian.Uint64(b[16:]), carry)
		total, carry = bits.Add64(total, binary.BigEndian.Uint64(b[24:]), carry)
		b = b[32:]
	}
	for len(b) >= 8 {
		total, carry = bits.Add64(total, binary.BigEndian.Uint64(b), carry)
		b = b[8:]
	}
	var last [8]byte
	copy(last[:], b)
	total, carry = bits.Add64(total, binary.BigEndian.Uint64(last[:]), carry)
	total, carry = bits.Add64(total, 0, carry)
	total += carry
	total = total>>32 + total&0xffffffff
	total = total>>16 + total&0xffff
	total = total>>16 + total&0xffff
	return uint16(total>>16 + total&0xffff)
}
