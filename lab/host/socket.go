// SPDX-License-Identifier: MIT

package host

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"oasis6/lab/engine"
)

// socket is an endpoint of gVisor whose news come to the engine's goroutine.
type socket struct {
	h      *Host
	ep     tcpip.Endpoint
	queue  *waiter.Queue
	entry  waiter.Entry
	posted atomic.Bool
	closed bool
	flow   flow // watched for ICMP errors when valid
}

// watch calls ready on the engine's goroutine when something may have happened, until the socket is closed.
func (s *socket) watch(ready func()) {
	s.entry = waiter.NewFunctionEntry(waiter.EventIn|waiter.EventOut|waiter.EventErr|waiter.EventHUp, func(waiter.EventMask) {
		if s.posted.CompareAndSwap(false, true) {
			s.h.e.Post(func() {
				s.posted.Store(false)
				if !s.closed {
					ready()
				}
			})
		}
	})
	s.queue.EventRegister(&s.entry)
}

// errors lets f hear of ICMP errors about packets to remote.
func (s *socket) errors(proto uint8, remote netip.AddrPort, f func(ICMPError)) {
	local, err := s.local()
	if err != nil {
		return // it has none, and sends nothing
	}
	s.flow = flow{proto: proto, local: local, remote: remote}
	s.h.watchers[s.flow] = f
}

func (s *socket) local() (netip.AddrPort, error) {
	a, err := s.ep.GetLocalAddress()
	if err != nil {
		return netip.AddrPort{}, failure(err)
	}
	return netip.AddrPortFrom(toAddr(a.Addr), a.Port), nil
}

func (s *socket) close() {
	if s.closed {
		return
	}
	s.closed = true
	delete(s.h.watchers, s.flow)
	s.queue.EventUnregister(&s.entry)
	s.ep.Close()
}

// failure is gVisor's error as one of ours.
func failure(err tcpip.Error) error { return errors.New(err.String()) }

func full(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nicOf(a.Addr()), Addr: fromAddr(a.Addr()), Port: a.Port()}
}

// open makes a socket that is bound to the source that RFC 6724 has for dst. Port is 0 for any.
func (h *Host) open(t tcpip.TransportProtocolNumber, dst netip.Addr, port uint16) (*socket, error) {
	src, ok := h.Source(dst)
	if !ok {
		return nil, fmt.Errorf("no route and address for %v", dst)
	}
	return h.bind(t, netip.AddrPortFrom(src, port))
}

// bind makes a socket with that local address; an unspecified one is all of its family.
func (h *Host) bind(t tcpip.TransportProtocolNumber, local netip.AddrPort) (*socket, error) {
	if h.closed {
		return nil, fmt.Errorf("host %s: %w", h.cfg.Name, net.ErrClosed)
	}
	s := &socket{h: h, queue: &waiter.Queue{}}
	ep, err := h.stack.NewEndpoint(t, protocolOf(local.Addr()), s.queue)
	if err != nil {
		return nil, failure(err)
	}
	s.ep = ep
	a := full(local)
	if local.Addr().IsUnspecified() {
		a.NIC, a.Addr = 0, tcpip.Address{}
		if local.Addr().Is6() {
			ep.SocketOptions().SetV6Only(true)
		}
	}
	if err := ep.Bind(a); err != nil {
		ep.Close()
		return nil, fmt.Errorf("%v: %w", local, failure(err))
	}
	return s, nil
}

// datagrams is a UDP socket.
type datagrams struct{ *socket }

// listenUDP gives each datagram that comes to f, with a function that answers its sender from where it was sent to.
func (h *Host) listenUDP(local netip.AddrPort, f func(b []byte, from netip.AddrPort, answer func([]byte))) (*datagrams, error) {
	s, err := h.bind(udp.ProtocolNumber, local)
	if err != nil {
		return nil, err
	}
	d := &datagrams{s}
	d.ep.SocketOptions().SetReceivePacketInfo(true)
	d.ep.SocketOptions().SetIPv6ReceivePacketInfo(true)
	d.watch(func() {
		for {
			var b bytes.Buffer
			r, err := d.ep.Read(&b, tcpip.ReadOptions{NeedRemoteAddr: true})
			if err != nil {
				return // would block; the errors of senders are theirs
			}
			to := r.RemoteAddr
			o := tcpip.WriteOptions{To: &to}
			if r.ControlMessages.HasIPv6PacketInfo {
				o.ControlMessages.HasIPv6PacketInfo, o.ControlMessages.IPv6PacketInfo = true, r.ControlMessages.IPv6PacketInfo
			}
			f(b.Bytes(), netip.AddrPortFrom(toAddr(to.Addr), to.Port), func(answer []byte) {
				_, _ = d.ep.Write(bytes.NewReader(answer), o) // it may get lost anyway
			})
		}
	})
	return d, nil
}

// sendTo sends a datagram, which may get lost.
func (d *datagrams) sendTo(to netip.AddrPort, b []byte) {
	a := full(to)
	_, _ = d.ep.Write(bytes.NewReader(b), tcpip.WriteOptions{To: &a}) // no route, or no room: lost, too
}

// stream is a TCP connection.
type stream struct {
	*socket
	timer     *engine.Timer
	connected bool
	out       []byte
	last      bool // nothing is written after out

	onConnect func()
	onData    func([]byte)
	onEnd     func(error) // the other end has finished, or the connection is broken
}

// dial begins a connection. Exactly one of onConnect and onEnd comes first.
func (h *Host) dial(to netip.AddrPort, s *stream) error {
	k, err := h.open(tcp.ProtocolNumber, to.Addr(), 0)
	if err != nil {
		return err
	}
	s.socket = k
	s.watch(s.ready)
	if err := k.ep.Connect(full(to)); err != nil {
		if _, ok := err.(*tcpip.ErrConnectStarted); !ok {
			s.close()
			return fmt.Errorf("%v: %w", to, failure(err))
		}
	}
	s.errors(uint8(header.TCPProtocolNumber), to, func(e ICMPError) {
		if !s.connected && !s.closed && e.MTU == 0 {
			s.end(e) // as Linux, a connection that does not stand yet gives up
		}
	})
	return nil
}

// send queues octets; last says that they are.
func (s *stream) send(b []byte, last bool) {
	s.out, s.last = append(s.out, b...), last
	s.flush()
}

func (s *stream) end(err error) {
	if s.closed {
		return
	}
	f := s.onEnd
	s.onEnd = nil
	if f != nil {
		f(err)
	}
}

func (s *stream) ready() {
	if !s.connected {
		switch tcp.EndpointState(s.ep.State()) {
		case tcp.StateConnecting, tcp.StateSynSent, tcp.StateSynRecv, tcp.StateBound:
			return
		case tcp.StateError, tcp.StateClose:
			err := s.ep.LastError()
			if err == nil {
				err = &tcpip.ErrAborted{}
			}
			s.end(failure(err))
			return
		}
		s.connected = true
		if s.onConnect != nil {
			s.onConnect()
		}
	}
	s.flush()
	for !s.closed {
		var b bytes.Buffer
		_, err := s.ep.Read(&b, tcpip.ReadOptions{})
		switch err.(type) {
		case nil:
			if s.onData != nil {
				s.onData(b.Bytes())
			}
		case *tcpip.ErrWouldBlock:
			return
		case *tcpip.ErrClosedForReceive:
			s.end(nil)
			return
		default:
			s.end(failure(err))
			return
		}
	}
}

func (s *stream) flush() {
	for s.connected && !s.closed && len(s.out) > 0 {
		n, err := s.ep.Write(bytes.NewReader(s.out), tcpip.WriteOptions{})
		s.out = s.out[n:]
		if err != nil {
			return // there is room later, or reading finds out
		}
	}
	if s.connected && !s.closed && s.last && len(s.out) == 0 {
		s.last = false
		_ = s.ep.Shutdown(tcpip.ShutdownWrite) // of a broken connection there is nothing to shut
	}
}

// listenTCP gives each connection that comes to f, which sets what it wants to hear.
func (h *Host) listenTCP(local netip.AddrPort, f func(s *stream, from netip.AddrPort)) error {
	l, err := h.bind(tcp.ProtocolNumber, local)
	if err != nil {
		return err
	}
	const backlog = 16
	l.watch(func() {
		for {
			var peer tcpip.FullAddress
			ep, queue, err := l.ep.Accept(&peer)
			if err != nil {
				return // would block; a listener does not break
			}
			s := &stream{socket: &socket{h: h, ep: ep, queue: queue}, connected: true}
			f(s, netip.AddrPortFrom(toAddr(peer.Addr), peer.Port))
			s.watch(s.ready)
			s.ready()
		}
	})
	if err := l.ep.Listen(backlog); err != nil {
		l.close()
		return fmt.Errorf("%v: %w", local, failure(err))
	}
	return nil
}
