// SPDX-License-Identifier: MIT

package host

import (
	"bytes"
	"errors"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"

	"oasis6/lab/engine"
)

// ErrTimeout says that no answer came.
var ErrTimeout = errors.New("no answer")

// PingOptions may be zero.
type PingOptions struct {
	Size     int           // octets of data; 0: 56, as ping has them
	HopLimit uint8         // 0: 64
	Timeout  time.Duration // 0: 1 s
	Source   netip.Addr    // zero: as RFC 6724 chooses
}

// Pong is the end of a ping: Err is nil, ErrTimeout, an ICMPError or why nothing was sent.
type Pong struct {
	Source netip.Addr
	RTT    time.Duration
	Err    error
}

const (
	defaultPingSize    = 56
	defaultPingTimeout = time.Second
	icmpHeader         = 8 // of an echo, in both families
)

// Ping sends one echo request.
func (h *Host) Ping(dst netip.Addr, o PingOptions, done func(Pong)) {
	if o.Size == 0 {
		o.Size = defaultPingSize
	}
	if o.Timeout == 0 {
		o.Timeout = defaultPingTimeout
	}
	var s *socket
	var timer *engine.Timer
	began := h.e.Now()
	pong := Pong{}
	finish := func(err error) {
		if s != nil {
			s.close()
		}
		if timer != nil {
			timer.Stop()
		}
		pong.RTT, pong.Err = h.e.Now().Sub(began), err
		done(pong)
	}
	proto, request := icmp.ProtocolNumber6, byte(header.ICMPv6EchoRequest)
	if dst.Is4() {
		proto, request = icmp.ProtocolNumber4, byte(header.ICMPv4Echo)
	}
	var err error
	if o.Source.IsValid() {
		s, err = h.bind(proto, netip.AddrPortFrom(o.Source, 0))
	} else {
		s, err = h.open(proto, dst, 0)
	}
	if err != nil {
		h.e.Post(func() { finish(err) })
		return
	}
	if o.HopLimit > 0 {
		for _, option := range []tcpip.SockOptInt{tcpip.IPv4TTLOption, tcpip.IPv6HopLimitOption} {
			_ = s.ep.SetSockOptInt(option, int(o.HopLimit)) // one of the two is of the other family
		}
	}
	if local, err := s.local(); err == nil {
		pong.Source = local.Addr()
	}
	s.errors(uint8(proto), netip.AddrPortFrom(dst, 0), func(e ICMPError) { finish(e) })
	s.watch(func() {
		if _, err := s.ep.Read(&bytes.Buffer{}, tcpip.ReadOptions{}); err == nil {
			finish(nil) // only echo replies with our identifier come
		}
	})
	timer = h.e.AfterFunc(o.Timeout, func() { finish(ErrTimeout) })
	m := make([]byte, icmpHeader+o.Size)
	m[0], m[7] = request, 1
	to := full(netip.AddrPortFrom(dst, 0))
	if _, err := s.ep.Write(bytes.NewReader(m), tcpip.WriteOptions{To: &to}); err != nil {
		timer.Stop()
		h.e.Post(func() { finish(failure(err)) })
	}
}
