// SPDX-License-Identifier: MIT

package tun

import (
	"net/netip"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"oasis6/internal/wgkey"
)

// marks tell how far the device is. Of most messages that it refuses it says nothing, so its answers cannot be counted.
// A mark is a message that goes into its queue behind the initiations: a response that nobody waits for, but with a good
// mac. The device refuses it for less than a hundredth of what an initiation costs, and names its endpoint in a line of the
// log when it does, or, under load, when it sends it a cookie: that it asks for the name is the sign that it has come so
// far. A test against the pinned version fails if it does not any more; then paceLost sets the pace.
type marks struct {
	msg  [responseLen]byte
	news chan struct{} // the device has come to a mark

	given uint64 // by the receive function of initiations, which alone uses it and at
	at    time.Time
	seen  atomic.Uint64 // the device has all that came before this mark behind it, but for what other workers still compute
}

func newMarks(hub wgkey.Public) *marks {
	m := &marks{news: make(chan struct{}, 1), msg: [responseLen]byte{messageResponse}}
	mac := newMAC1(hub).of(m.msg[:])
	copy(m.msg[responseLen-2*len(mac):], mac)
	return m
}

// put makes the next mark.
func (m *marks) put(msg []byte) (size int, from conn.Endpoint) {
	m.given++
	m.at = time.Now()
	return copy(msg, m.msg[:]), &mark{of: m, n: m.given}
}

// see is called by the device's workers.
func (m *marks) see(n uint64) {
	for seen := m.seen.Load(); seen < n; seen = m.seen.Load() {
		if m.seen.CompareAndSwap(seen, n) {
			signal(m.news)
		}
	}
}

// wait returns when less than limit marks are before the device, and says whether closed is still open. The device may
// have lost all of them, if other messages filled its queue: then one counts as seen each paceLost.
func (m *marks) wait(limit uint64, closed <-chan struct{}) bool {
	for m.given-m.seen.Load() >= limit {
		left := paceLost - time.Since(m.at)
		if left <= 0 {
			m.see(m.seen.Load() + 1)
			m.at = time.Now()
			continue
		}
		select {
		case <-m.news:
		case <-time.After(left):
		case <-closed:
			return false
		}
	}
	select {
	case <-closed:
		return false
	default:
		return true
	}
}

// mark is the endpoint of a mark.
type mark struct {
	of *marks
	n  uint64
}

// DstToString is what the device calls when it has come to the mark.
func (m *mark) DstToString() string { m.of.see(m.n); return "a mark of the pacer" }

func (m *mark) DstToBytes() []byte { return nil } // what its cookie is made for
func (m *mark) DstIP() netip.Addr  { return netip.Addr{} }
func (m *mark) SrcIP() netip.Addr  { return netip.Addr{} }

func (m *mark) SrcToString() string { return "" }
func (m *mark) ClearSrc()           {}
