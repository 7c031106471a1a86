// SPDX-License-Identifier: MIT

package netstack

import (
	"sync"

	"oasis6/dataplane/netstack/offload"
)

// bufferSizes are those of buffers for packets that wait: the first is for one of an Ethernet, the last for any super-packet,
// whose length field counts 65535 octets without the header.
var bufferSizes = [...]int{2 << 10, 8 << 10, 24 << 10, 66 << 10}

// largeBuffer takes any packet.
const largeBuffer = 66 << 10

// pool has buffers for packets that wait, of each size.
type pool [len(bufferSizes)]sync.Pool

func newPool() *pool {
	p := &pool{}
	for i, size := range bufferSizes {
		p[i].New = func() any {
			b := make([]byte, size)
			return &b
		}
	}
	return p
}

// keep copies a packet. There is none that is longer than largeBuffer: its length field is not.
func (p *pool) keep(pkt []byte, off offload.Info) queued {
	i := 0
	for i < len(bufferSizes)-1 && len(pkt) > bufferSizes[i] {
		i++
	}
	b := p[i].Get().(*[]byte)
	return queued{buf: b, pkt: (*b)[:copy(*b, pkt)], off: off}
}

func (p *pool) free(q queued) {
	for i, size := range bufferSizes {
		if len(*q.buf) == size {
			p[i].Put(q.buf)
		}
	}
}

// held is the memory of a packet that waits, which may be much more than its own octets.
func (q queued) held() int64 { return int64(len(*q.buf)) }
