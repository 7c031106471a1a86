// SPDX-License-Identifier: MIT

package host

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"

	"oasis6/lab/engine"
)

// Scan is a search for hosts in a /64 that is under way or over.
type Scan struct {
	h        *Host
	prefix   netip.Prefix
	every    time.Duration
	left     int
	socket   *socket
	timer    *engine.Timer
	done     func()
	Sent     int
	Answered int
}

var errNot64 = errors.New("a scan is of one /64")

// Scan sends an echo request to each of n random addresses of a /64, one after each interval, and calls done at the end.
func (h *Host) Scan(prefix netip.Prefix, n int, every time.Duration, done func()) (*Scan, error) {
	if !prefix.Addr().Is6() || prefix.Bits() != 64 {
		return nil, errNot64
	}
	k, err := h.open(icmp.ProtocolNumber6, prefix.Addr(), 0)
	if err != nil {
		return nil, err
	}
	s := &Scan{h: h, prefix: prefix, every: every, left: n, socket: k, done: done}
	k.watch(func() {
		for {
			if _, err := k.ep.Read(&bytes.Buffer{}, tcpip.ReadOptions{}); err != nil {
				return // would block
			}
			s.Answered++
		}
	})
	s.timer = h.e.AfterFunc(0, s.next)
	return s, nil
}

func (s *Scan) next() {
	if s.left == 0 {
		s.Stop()
		return
	}
	s.left--
	a := s.prefix.Masked().Addr().As16()
	binary.BigEndian.PutUint64(a[8:], s.h.rand.Uint64())
	to := full(netip.AddrPortFrom(netip.AddrFrom16(a), 0))
	m := make([]byte, icmpHeader+defaultPingSize)
	m[0] = byte(header.ICMPv6EchoRequest)
	binary.BigEndian.PutUint16(m[6:], uint16(s.Sent))
	if _, err := s.socket.ep.Write(bytes.NewReader(m), tcpip.WriteOptions{To: &to}); err == nil {
		s.Sent++
	}
	s.timer.Reset(s.every)
}

// Stop ends the scan. The last answers may still be on their way.
func (s *Scan) Stop() {
	if s.socket.closed {
		return
	}
	s.timer.Stop()
	s.socket.close()
	if s.done != nil {
		s.done()
	}
}
