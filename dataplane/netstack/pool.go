// SPDX-License-Identifier: MIT

package netstack

import (
	"sync"

	"oasis6/dataplane/netstack/offload"
)

// Sizes of buffers: a packet of an Ethernet, and a super-packet.
const (
	smallBuffer = 2 << 10
	largeBuffer = 66 << 10 // the length field counts 65535 octets without the header
)

// pool has buffers for packets that wait.
type pool struct{ small, large sync.Pool }

func newPool() *pool {
	make2 := func(size int) func() any {
		return func() any {
			b := make([]byte, size)
			return &b
		}
	}
	return &pool{small: sync.Pool{New: make2(smallBuffer)}, large: sync.Pool{New: make2(largeBuffer)}}
}

// keep copies a packet.
func (p *pool) keep(pkt []byte, off offload.Info) queued {
	from := &p.small
	if len(pkt) > smallBuffer {
		from = &p.large
	}
	b := from.Get().(*[]byte)
	if len(pkt) > len(*b) {
		big := make([]byte, len(pkt))
		b = &big
	}
	return queued{buf: b, pkt: (*b)[:copy(*b, pkt)], off: off}
}

func (p *pool) free(q queued) {
	switch len(*q.buf) {
	case smallBuffer:
		p.small.Put(q.buf)
	case largeBuffer:
		p.large.Put(q.buf)
	}
}
