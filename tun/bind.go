// SPDX-License-Identifier: MIT

package tun

import (
	"errors"
	"net"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

// WireGuard message types and lengths (device/noise-protocol.go; the first octet of a datagram, the next three are zero).
const (
	messageInitiation = 1
	messageResponse   = 2
	messageTransport  = 4
	initiationLen     = 148
	responseLen       = 92
	keepaliveLen      = 32 // a transport message without content
	maxBindErrors     = 3  // sends in a row that fail for a reason of the socket's own before it is reopened
)

// observer wraps a conn.Bind, passes everything through and counts what it sees. A datagram that
// comes in has proved nothing yet: what is seen here is a hint to ask the device.
//
// The device starts its route listener, which clears a peer's cached source address, only for a
// *conn.StdNetBind itself; behind this wrapper it does not run. In its place the source is
// forgotten as soon as a datagram arrives, so none is ever pinned by PKTINFO and the kernel chooses by
// the routes of the moment: a new address on the WAN is used from the next packet on. A hub's endpoints keep it: see hubBind.
type observer struct {
	conn.Bind
	initiationsSent, dataSent, keepalivesSent atomic.Uint64
	initiationsSeen, responsesSeen, dataSeen  atomic.Uint64
	sendErrors, receiveErrors                 atomic.Uint64
	failing                                   atomic.Uint32 // sends in a row that failed
	lastPort                                  atomic.Uint32 // the port of the last sockets that could be opened
	broken                                    atomic.Bool   // the sockets need to be opened again
	lastError                                 atomic.Pointer[error]
	confirm                                   atomic.Bool // an initiation came in: the first data after it completes the handshake
	watch                                     atomic.Bool // tell about the next data packet that leaves
	handshakeHint, activity, trouble          chan struct{}
}

func newObserver(b conn.Bind) *observer {
	return &observer{
		Bind:          b,
		handshakeHint: make(chan struct{}, 1),
		activity:      make(chan struct{}, 1),
		trouble:       make(chan struct{}, 1),
	}
}

// signal leaves at most one value in c and never waits.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Open wraps each receive function.
func (o *observer) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	fns, actual, err := o.Bind.Open(port)
	if err != nil {
		return nil, 0, err
	}
	o.lastPort.Store(uint32(actual))
	o.failing.Store(0)
	o.broken.Store(false)
	for i, fn := range fns {
		fns[i] = o.receiving(fn)
	}
	return fns, actual, nil
}

// port is that of the last sockets that could be opened, zero if there never were any.
func (o *observer) port() uint16 { return uint16(o.lastPort.Load()) }

func (o *observer) receiving(fn conn.ReceiveFunc) conn.ReceiveFunc {
	return func(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		n, err := fn(packets, sizes, eps)
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				// wireguard-go stops receiving for good on such an error, or after ten of them.
				o.receiveErrors.Add(1)
				o.fail(err)
				o.broken.Store(true)
				signal(o.trouble)
			}
			return n, err
		}
		o.seen(packets[:n], sizes, eps)
		return n, nil
	}
}

func (o *observer) seen(packets [][]byte, sizes []int, eps []conn.Endpoint) {
	var data, initiations, responses uint64
	for i, p := range packets {
		size := sizes[i]
		if size < keepaliveLen {
			continue
		}
		if eps[i] != nil {
			eps[i].ClearSrc()
		}
		switch p[0] {
		case messageTransport:
			data++
		case messageResponse:
			responses++
		case messageInitiation:
			initiations++
		}
	}
	if data > 0 {
		o.dataSeen.Add(data)
		if o.confirm.Load() && o.confirm.Swap(false) {
			signal(o.handshakeHint)
		}
	}
	if responses > 0 {
		o.responsesSeen.Add(responses)
		signal(o.handshakeHint)
	}
	if initiations > 0 {
		o.initiationsSeen.Add(initiations)
		o.confirm.Store(true)
	}
}

// Send counts attempts, also those that fail: data that could not leave is data without an answer.
func (o *observer) Send(bufs [][]byte, ep conn.Endpoint) error {
	var data, keepalives, initiations uint64
	for _, b := range bufs {
		switch {
		case len(b) > keepaliveLen && b[0] == messageTransport:
			data++
		case len(b) == keepaliveLen && b[0] == messageTransport:
			keepalives++
		case len(b) == initiationLen && b[0] == messageInitiation:
			initiations++
		}
	}
	if data > 0 {
		o.dataSent.Add(data)
		if o.watch.Load() && o.watch.Swap(false) {
			signal(o.activity)
		}
	}
	if keepalives > 0 {
		o.keepalivesSent.Add(keepalives)
	}
	if initiations > 0 {
		o.initiationsSent.Add(initiations)
	}
	err := o.Bind.Send(bufs, ep)
	if sendFailed(err) {
		o.sendFailed(err)
	} else if o.failing.Load() != 0 {
		o.failing.Store(0)
		o.lastError.Store(nil)
	}
	return err
}

// sendFailed is false for the notice that offload was turned off and the data sent after all.
func sendFailed(err error) bool {
	if err == nil {
		return false
	}
	var gso conn.ErrUDPGSODisabled // escapes: only where there is an error
	if errors.As(err, &gso) {
		return gso.RetryErr != nil
	}
	return true
}

func (o *observer) sendFailed(err error) {
	o.sendErrors.Add(1)
	o.fail(err)
	if n := o.failing.Add(1); n >= maxBindErrors && !outside(err) {
		o.broken.Store(true)
		signal(o.trouble)
	}
}

// outside says whether the fault lies beyond the socket, so that a new one would not help: no route, link
// down, refused by a firewall, no buffer space.
func outside(err error) bool {
	for _, e := range []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.ENETDOWN, unix.EPERM, unix.EACCES, unix.ENOBUFS, unix.EMSGSIZE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (o *observer) fail(err error) { o.lastError.Store(&err) }

// lastErr is the text of the fault that lasts, empty when sending works.
func (o *observer) lastErr() string {
	if e := o.lastError.Load(); e != nil {
		return (*e).Error()
	}
	return ""
}
