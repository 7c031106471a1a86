// SPDX-License-Identifier: MIT

package tun

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

const (
	// socketBuffer is what the kernel may keep for each direction, as conn.StdNetBind has it.
	socketBuffer = 7 << 20
	// joinedMax datagrams are given to or taken from the kernel as one at most: UDP_MAX_SEGMENTS was that when UDP_SEGMENT
	// came, and UDP_GRO_CNT_MAX still is.
	joinedMax = 64
	// joinedBytes fit into one IPv4 datagram; an IPv6 one takes 20 more.
	joinedBytes = 1<<16 - 1 - 20 - 8
)

// batchConn reads and sends many datagrams with one system call.
type batchConn interface {
	ReadBatch([]ipv6.Message, int) (int, error)
	WriteBatch([]ipv6.Message, int) (int, error)
}

// hubSocket is a socket of one family.
type hubSocket struct {
	conn   *net.UDPConn
	batch  batchConn
	sender *hubSender
	gro    bool // the kernel joins what comes
}

func openHubSocket(network string, port uint16) (*hubSocket, error) {
	listen := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return withSocket(raw, func(fd int) error { return prepare(fd, network == "udp6") })
	}}
	c, err := listen.ListenPacket(context.Background(), network, ":"+strconv.Itoa(int(port)))
	if err != nil {
		return nil, err
	}
	s := &hubSocket{conn: c.(*net.UDPConn)} // for networks that begin with udp
	if network == "udp6" {
		s.batch = ipv6.NewPacketConn(s.conn)
	} else {
		s.batch = ipv4.NewPacketConn(s.conn)
	}
	s.gro = s.setOption(unix.IPPROTO_UDP, unix.UDP_GRO, 1) == nil
	s.sender = newHubSender(s.batch, s.option(unix.IPPROTO_UDP, unix.UDP_SEGMENT))
	return s, nil
}

// prepare sets what a socket needs before it is bound.
func prepare(fd int, six bool) error {
	for _, opt := range []int{unix.SO_RCVBUF, unix.SO_SNDBUF, unix.SO_RCVBUFFORCE, unix.SO_SNDBUFFORCE} {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, socketBuffer) // as far as it is allowed
	}
	if !six {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	}
	return errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1),
	)
}

func withSocket(raw syscall.RawConn, f func(fd int) error) error {
	var inner error
	err := raw.Control(func(fd uintptr) { inner = f(int(fd)) })
	return errors.Join(err, inner)
}

func (s *hubSocket) port() uint16 {
	return s.conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

func (s *hubSocket) setOption(level, name, value int) error {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return err
	}
	return withSocket(raw, func(fd int) error { return unix.SetsockoptInt(fd, level, name, value) })
}

// option says whether the kernel knows an option.
func (s *hubSocket) option(level, name int) bool {
	raw, err := s.conn.SyscallConn()
	return err == nil && withSocket(raw, func(fd int) error {
		_, err := unix.GetsockoptInt(fd, level, name)
		return err
	}) == nil
}

// hubReceiver is what a receive function keeps. It is for one goroutine.
type hubReceiver struct {
	batch batchConn
	gro   bool
	msgs  []ipv6.Message
	last  *hubEndpoint // most datagrams of a burst are of one site
}

func newHubReceiver(batch batchConn, gro bool) *hubReceiver {
	r := &hubReceiver{batch: batch, gro: gro, msgs: make([]ipv6.Message, conn.IdealBatchSize)}
	for i := range r.msgs {
		r.msgs[i].Buffers, r.msgs[i].OOB = make([][]byte, 1), make([]byte, controlSpace)
	}
	return r
}

// receive is a conn.ReceiveFunc. Where the kernel joins datagrams it reads into the last buffers, so that there is room for
// the parts before them.
func (r *hubReceiver) receive(packets [][]byte, sizes []int, eps []conn.Endpoint) (n int, err error) {
	first := 0
	if r.gro {
		first = len(packets) - max(1, len(packets)/joinedMax)
	}
	msgs := r.msgs[:min(len(r.msgs), len(packets)-first)]
	for i := range msgs {
		msgs[i].Buffers[0], msgs[i].N, msgs[i].NN = packets[first+i], 0, 0
	}
	got, err := r.batch.ReadBatch(msgs, 0)
	if err != nil {
		return 0, err
	}
	for i := range msgs[:got] {
		m := &msgs[i]
		c := parseControl(m.OOB[:m.NN])
		ep := r.endpoint(m.Addr, c.dst)
		part := c.part
		if part <= 0 {
			part = m.N
		}
		for data := m.Buffers[0][:m.N]; len(data) > 0 && n <= first+i; n++ { // more parts than there is room for are lost
			size := min(part, len(data))
			sizes[n], eps[n] = copy(packets[n], data[:size]), ep
			data = data[size:]
		}
	}
	return n, nil
}

// endpoint is that of a datagram which came from there to dst.
func (r *hubReceiver) endpoint(from net.Addr, dst netip.Addr) *hubEndpoint {
	to := from.(*net.UDPAddr).AddrPort()
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	if r.last == nil || r.last.to != to || r.last.src != dst {
		r.last = newHubEndpoint(to, dst)
	}
	return r.last
}

// hubSender sends. It may be used from any goroutine.
type hubSender struct {
	batch batchConn
	joins atomic.Bool // the kernel takes joined datagrams
	pool  sync.Pool   // of *outBatch
}

// outBatch is memory for one call of send.
type outBatch struct {
	msgs []ipv6.Message
	addr net.UDPAddr
	ip   [16]byte
}

func newHubSender(batch batchConn, joins bool) *hubSender {
	s := &hubSender{batch: batch}
	s.joins.Store(joins)
	s.pool.New = func() any {
		b := &outBatch{msgs: make([]ipv6.Message, conn.IdealBatchSize)}
		for i := range b.msgs {
			b.msgs[i].Buffers, b.msgs[i].OOB = make([][]byte, 0, joinedMax), make([]byte, 0, controlSpace)
			b.msgs[i].Addr = &b.addr
		}
		return b
	}
	return s
}

// send sends all with the control message, joined where the kernel can do that. The kernel refuses joined ones that are
// larger than the path's MTU, and any where the interface computes no checksums (EIO).
func (s *hubSender) send(bufs [][]byte, to netip.AddrPort, control []byte) error {
	b := s.pool.Get().(*outBatch)
	defer s.pool.Put(b)
	b.setAddr(to)
	for len(bufs) > 0 {
		some := bufs[:min(len(bufs), len(b.msgs))]
		bufs = bufs[len(some):]
		joins := s.joins.Load()
		n := b.fill(some, control, joins)
		err := s.write(b.msgs[:n])
		if err != nil && n < len(some) {
			if errors.Is(err, unix.EIO) {
				s.joins.Store(false)
			}
			err = s.write(b.msgs[:b.fill(some, control, false)])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *hubSender) write(msgs []ipv6.Message) error {
	for len(msgs) > 0 {
		n, err := s.batch.WriteBatch(msgs, 0)
		if err != nil {
			return err
		}
		msgs = msgs[n:]
	}
	return nil
}

func (b *outBatch) setAddr(to netip.AddrPort) {
	a := to.Addr()
	if a.Is4() {
		v4 := a.As4()
		b.addr.IP = append(b.ip[:0], v4[:]...)
	} else {
		b.ip = a.As16()
		b.addr.IP = b.ip[:]
	}
	b.addr.Port, b.addr.Zone = int(to.Port()), a.Zone()
}

// fill makes messages of datagrams, as few as may be. Those that are joined are of one size, but for the last, which may be
// shorter.
func (b *outBatch) fill(bufs [][]byte, control []byte, joins bool) (n int) {
	for len(bufs) > 0 {
		m := &b.msgs[n]
		count, size, sum := 1, len(bufs[0]), len(bufs[0])
		for joins && count < min(len(bufs), joinedMax) {
			next := len(bufs[count])
			if len(bufs[count-1]) != size || next > size || next == 0 || sum+next > joinedBytes {
				break
			}
			count, sum = count+1, sum+next
		}
		m.Buffers = append(m.Buffers[:0], bufs[:count]...)
		m.OOB = append(m.OOB[:0], control...)
		if count > 1 {
			m.OOB = appendPart(m.OOB, size)
		}
		bufs = bufs[count:]
		n++
	}
	return n
}
