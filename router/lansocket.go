// SPDX-License-Identifier: MIT

package router

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"oasis6/dataplane"
	"oasis6/dhcpv6"
	"oasis6/internal/bucket"
	"oasis6/internal/retry"
	"oasis6/ra"
)

// service is what a socket of a LAN is for.
type service uint8

const (
	serviceND service = iota
	serviceDHCPv6
	numServices
)

// String is the name in log lines.
func (s service) String() string {
	if s == serviceDHCPv6 {
		return "DHCPv6"
	}
	return "ND"
}

// socket is one socket of a LAN: opened when the link allows it, and again after a failure.
type socket struct {
	service service
	conn    dataplane.Conn
	retry   retry.Retry   // of opening it
	err     string        // why it is not open, in words
	crowded atomic.Uint64 // messages that were too many at once
}

// lanMessage is a message, or the end, of one socket of a LAN.
type lanMessage struct {
	lan    *lan
	socket *socket
	conn   dataplane.Conn
	msg    dataplane.Received
	err    error
}

// Messages of one socket that reach the loop: so many at once, and then so many a second. A school floor that wakes up at
// once is served from the burst; a flood costs the machines no more than that, and memory nothing. What a look at the first
// octets shows to be nothing has a small gate of its own, so that it is counted by its reason and takes no place of others.
const (
	crowdBurst = 512
	crowdRate  = 256
	junkBurst  = 64
	junkRate   = 16
)

// plausible says whether the first octets of a message make it worth a closer look.
func (s service) plausible(m *dataplane.Received) bool {
	if s == serviceDHCPv6 {
		return dhcpv6.FromClient(m.Data)
	}
	return ra.Plausible(m.HopLimit, m.Data)
}

// openSocket opens a socket of a LAN, unless it is open.
func (r *Router) openSocket(now time.Time, l *lan, s *socket) {
	if s.conn != nil {
		return
	}
	open := r.opt.Plane.OpenND
	what := "no Router Advertisements on LAN"
	if s.service == serviceDHCPv6 {
		open, what = r.opt.Plane.OpenDHCPv6, "no DHCPv6 server on LAN"
	}
	conn, err := open(l.name)
	if err != nil {
		if s.err != err.Error() {
			r.journal.Warn(what, "iface", l.name, "err", err.Error())
		}
		s.err = err.Error()
		s.retry.Failed(now, r.opt.Rand())
		return
	}
	s.err = ""
	s.retry.Reset()
	s.conn = conn
	go r.read(l, s, conn)
}

// read turns one socket into events until it is closed.
func (r *Router) read(l *lan, s *socket, conn dataplane.Conn) {
	good := bucket.Bucket{Burst: crowdBurst, Every: time.Second / crowdRate}
	junk := bucket.Bucket{Burst: junkBurst, Every: time.Second / junkRate}
	for {
		msg, err := conn.Receive()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			g := &junk
			if s.service.plausible(&msg) {
				g = &good
			}
			if !g.Take(r.opt.Clock.Now(), 1) {
				s.crowded.Add(1)
				continue
			}
			msg.Data = slices.Clone(msg.Data)
		}
		select {
		case r.received <- lanMessage{l, s, conn, msg, err}:
		case <-r.done:
			return
		}
		if err != nil {
			return
		}
	}
}

// onMessage takes what a socket brought.
func (r *Router) onMessage(now time.Time, m lanMessage) {
	if m.conn != m.socket.conn {
		return // the last word of a socket that was replaced
	}
	if m.err != nil {
		r.journal.Warn(m.socket.service.String()+" socket failed, opening it again", "iface", m.lan.name, "err", m.err.Error())
		m.socket.close()
		m.socket.err = m.err.Error()
		m.socket.retry.Failed(now, r.opt.Rand())
		if m.socket.service == serviceND {
			r.stepLAN(now, m.lan, ra.LinkDown{}) // what cannot be sent must not count as told
		}
		return
	}
	if m.socket.service == serviceDHCPv6 {
		r.onDHCPv6(now, m.lan, m.msg)
		return
	}
	r.onND(now, m.lan, m.msg)
}

// send says in the debug log only what went wrong: whoever wants an answer asks again.
func (r *Router) send(l *lan, s *socket, to netip.Addr, data []byte) {
	if s.conn == nil {
		return
	}
	if err := s.conn.Send(to, data); err != nil {
		r.log.Debug(s.service.String()+" message not sent", "iface", l.name, "to", to, "err", err)
	}
}

// close closes the socket; its reader ends by itself, at the latest with the loop.
func (s *socket) close() {
	if s.conn != nil {
		_ = s.conn.Close() // nothing can be done about a socket that does not close
		s.conn = nil
	}
}
