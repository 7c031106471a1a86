// SPDX-License-Identifier: MIT

package gauge

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

// WireGuard message types and lengths (device/noise-protocol.go; the first octet of a datagram, the next three are zero).
const (
	messageInitiation = 1
	messageResponse   = 2
	messageCookie     = 3
	initiationLen     = 148
	responseLen       = 92
	cookieLen         = 64
)

// Bounds of what is remembered.
const (
	maxInitiations = 16 // without a response
	maxFaults      = 8  // that differ
)

// Signs are what the wire has shown. None of it is authenticated.
type Signs struct {
	Initiations int     // that left
	Responses   int     // that came, right or wrong
	Cookies     int     // the peer is under load, and has seen that an initiation is meant for its key
	Faults      []Fault // by ICMP, the oldest first, each kind once
	SendError   error   // of the last datagram; nil: it left
	PathMTU     int     // that ICMP has told last; 0: none
}

// wire is a conn.Bind with one socket, for one peer.
type wire struct {
	family family

	mu      sync.Mutex // guards what follows; never held while waiting
	sock    *net.UDPConn
	sentAt  map[uint32]time.Time // initiations without a response, by the index in them
	lastRTT time.Duration
	signs   Signs
}

func newWire(to netip.AddrPort) *wire {
	return &wire{family: familyOf(to.Addr()), sentAt: map[uint32]time.Time{}}
}

// Open is for wireguard-go, as are the other exported methods.
func (w *wire) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return control(c, w.family.prepare)
	}}
	pc, err := lc.ListenPacket(context.Background(), w.family.udp, ":"+strconv.Itoa(int(port)))
	if err != nil {
		return nil, 0, err
	}
	sock := pc.(*net.UDPConn)
	w.mu.Lock()
	w.sock = sock
	w.mu.Unlock()
	recv := func(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		return w.receive(sock, packets, sizes, eps)
	}
	return []conn.ReceiveFunc{recv}, sock.LocalAddr().(*net.UDPAddr).AddrPort().Port(), nil
}

// receive passes over what ICMP reports: wireguard-go would stop receiving.
func (w *wire) receive(sock *net.UDPConn, packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
	for {
		n, from, err := sock.ReadFromUDPAddrPort(packets[0])
		at := time.Now()
		switch {
		case err == nil:
			w.seen(packets[0][:n], at)
			sizes[0] = n
			eps[0] = &conn.StdNetEndpoint{AddrPort: netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}
			return 1, nil
		case errors.Is(err, net.ErrClosed):
			return 0, net.ErrClosed
		case !reported(err):
			return 0, err
		}
		w.faults(sock)
	}
}

func (w *wire) seen(p []byte, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case len(p) == responseLen && p[0] == messageResponse:
		w.signs.Responses++
		index := binary.LittleEndian.Uint32(p[8:]) // of the receiver, us
		if sent, ok := w.sentAt[index]; ok {
			w.lastRTT = at.Sub(sent)
			delete(w.sentAt, index)
		}
	case len(p) == cookieLen && p[0] == messageCookie:
		w.signs.Cookies++
	}
}

// Send sends one by one. An error that ICMP has left at the socket is not one of this datagram: it is sent again.
func (w *wire) Send(bufs [][]byte, ep conn.Endpoint) error {
	w.mu.Lock()
	sock := w.sock
	w.mu.Unlock()
	if sock == nil {
		return net.ErrClosed
	}
	to := ep.(*conn.StdNetEndpoint).AddrPort
	var last error
	for _, b := range bufs {
		w.leaving(b, time.Now())
		_, err := sock.WriteToUDPAddrPort(b, to)
		if reported(err) && w.faults(sock) > 0 {
			w.leaving(b, time.Now())
			_, err = sock.WriteToUDPAddrPort(b, to)
		}
		if err != nil {
			last = err
		}
		w.left(b, err)
	}
	return last
}

// leaving notes when an initiation is sent, before the answer can be there.
func (w *wire) leaving(p []byte, at time.Time) {
	if !initiation(p) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.sentAt) >= maxInitiations {
		clear(w.sentAt)
	}
	w.sentAt[binary.LittleEndian.Uint32(p[4:])] = at
}

func (w *wire) left(p []byte, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.signs.SendError = err
	if err == nil && initiation(p) {
		w.signs.Initiations++
	}
}

func initiation(p []byte) bool { return len(p) == initiationLen && p[0] == messageInitiation }

// believed is the time of the handshake whose response wireguard-go has just accepted.
func (w *wire) believed() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lastRTT
}

func (w *wire) shown() Signs {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.signs
	s.Faults = slices.Clone(s.Faults)
	return s
}

// faults takes over what ICMP has reported, and says how much that was.
func (w *wire) faults(sock *net.UDPConn) int {
	list := w.family.reports(sock)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range list {
		if f.MTU > 0 {
			w.signs.PathMTU = f.MTU
		}
		if len(w.signs.Faults) < maxFaults && !slices.Contains(w.signs.Faults, f) {
			w.signs.Faults = append(w.signs.Faults, f)
		}
	}
	return len(list)
}

// fragment lets the kernel cut datagrams.
func (w *wire) fragment() error {
	w.mu.Lock()
	sock := w.sock
	w.mu.Unlock()
	if sock == nil {
		return net.ErrClosed
	}
	raw, err := sock.SyscallConn()
	if err != nil {
		return err
	}
	return control(raw, w.family.mayFragment)
}

func (w *wire) Close() error {
	w.mu.Lock()
	sock := w.sock
	w.sock = nil
	w.mu.Unlock()
	if sock == nil {
		return nil
	}
	return sock.Close()
}

func (w *wire) SetMark(mark uint32) error {
	w.mu.Lock()
	sock := w.sock
	w.mu.Unlock()
	if sock == nil || mark == 0 {
		return nil
	}
	raw, err := sock.SyscallConn()
	if err != nil {
		return err
	}
	return control(raw, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark)) })
}

func (w *wire) ParseEndpoint(s string) (conn.Endpoint, error) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return nil, err
	}
	return &conn.StdNetEndpoint{AddrPort: ap}, nil
}

func (w *wire) BatchSize() int { return 1 }

// control runs f on the file descriptor.
func control(c syscall.RawConn, f func(fd int) error) error {
	var inner error
	err := c.Control(func(fd uintptr) { inner = f(int(fd)) })
	return errors.Join(err, inner)
}
