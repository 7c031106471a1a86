// SPDX-License-Identifier: MIT

package tun

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"

	"oasis6/internal/bootclock"
	"oasis6/internal/wgkey"
)

// end is what a Tunnel and a Hub have in common: WireGuard on a device below a tap, its sockets observed.
type end struct {
	log     *slog.Logger
	name    string
	public  wgkey.Public
	tap     *Tap
	obs     *observer
	dev     *device.Device
	control *control             // nil: no socket could be made, or none is wanted
	made    func(*device.Device) // see Outside
	events  chan Event
	dropped atomic.Uint64
}

func newEnd(name string, key wgkey.Private, bind conn.Bind, queue int, log *slog.Logger) end {
	return end{
		log: log.With("iface", name), name: name, public: key.Public(),
		obs: newObserver(bind), events: make(chan Event, queue),
	}
}

// bringUp starts WireGuard on tap, which it closes if that fails. shook is called for each handshake message that was
// authenticated: messageInitiation or messageResponse.
func (e *end) bringUp(tap *Tap, settings string, port uint16, shook func(p *device.Peer, message byte)) error {
	e.tap = tap
	e.dev = device.NewDevice(tap, e.obs, deviceLogger(e.log, shook))
	if err := e.dev.IpcSet(settings); err != nil {
		e.dev.Close()
		return fmt.Errorf("interface %s: configure wireguard: %w", e.name, err)
	}
	if e.made != nil {
		e.made(e.dev)
	}
	if err := e.dev.Up(); err != nil {
		e.dev.Close()
		return fmt.Errorf("interface %s: open UDP port %d: %w", e.name, port, err)
	}
	return nil
}

// serveControl lets wg see the device, if that can be had.
func (e *end) serveControl() {
	var err error
	if e.control, err = listenControl(e.name, e.dev); err != nil {
		e.log.Warn("wg cannot show this tunnel", "err", err)
	}
}

// restore gives the device the texts that bring back what it had before a change that broke off. Each is tried, whatever
// becomes of the others.
func (e *end) restore(parts []string) error {
	var errs []error
	for _, settings := range parts {
		if err := e.dev.IpcSet(settings); err != nil {
			errs = append(errs, fmt.Errorf("interface %s: restore the old configuration: %w", e.name, err))
		}
	}
	if len(errs) > 0 { // the loop goes on trying to open the sockets
		e.obs.broken.Store(true)
		signal(e.obs.trouble)
	}
	return errors.Join(errs...)
}

// shut removes the interface, the sockets and the socket of wg.
func (e *end) shut() {
	if e.control != nil {
		e.control.Close()
	}
	e.dev.Close() // closes the tap, the interface and the sockets
}

// deliver runs in wireguard-go's receiver and must not wait.
func (e *end) deliver(site wgkey.Public, pkt []byte) {
	if len(e.events) >= cap(e.events)-1 {
		e.dropped.Add(1) // without copying: this is what a flood does
		return
	}
	select {
	case e.events <- Received{Packet: append([]byte(nil), pkt...), Site: site}:
	default:
		e.dropped.Add(1)
	}
}

// The formats of wireguard-go's only signs of an authenticated handshake message. Tests against the pinned version fail if
// they change; then initiations would count as life.
const (
	receivedInitiation = "%v - Received handshake initiation"
	receivedResponse   = "%v - Received handshake response"
)

// deviceLogger brings wireguard-go's lines to debug level. They name peers by the beginning of the public key
// and never a secret.
func deviceLogger(log *slog.Logger, shook func(p *device.Peer, message byte)) *device.Logger {
	ctx := context.Background()
	write := func(format string, args []any) {
		if log.Enabled(ctx, slog.LevelDebug) {
			log.Debug("wireguard", "text", fmt.Sprintf(format, args...))
		}
	}
	return &device.Logger{
		Verbosef: func(format string, args ...any) {
			switch format {
			case receivedInitiation:
				shook(args[0].(*device.Peer), messageInitiation)
			case receivedResponse:
				shook(args[0].(*device.Peer), messageResponse)
			}
			write(format, args)
		},
		Errorf: func(format string, args ...any) { write(format, args) },
	}
}

// errDeviceClosed is the cause when wireguard-go closed the device by itself.
var errDeviceClosed = errors.New("the device was closed: somebody removed the interface, or reading from it broke")

// failed is the event for that.
func (e *end) failed() Failed { return Failed{fmt.Errorf("interface %s: %w", e.name, errDeviceClosed)} }

// sockets opens the outer sockets again when the observer says that they are broken. It belongs to the loop.
type sockets struct {
	*end
	rebind    *time.Timer
	reboundAt time.Time
}

func newSockets(e *end) sockets { return sockets{end: e, rebind: stopped()} }

func stopped() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// schedule sets the timer for the next reopen.
func (s *sockets) schedule() {
	wait := rebindEvery - bootclock.Now().Sub(s.reboundAt)
	s.rebind.Reset(max(wait, 0))
}

// reopen closes and opens the outer sockets on the same port, so the NAT's mapping and the session survive. If that
// fails the port is asked for again, and in ten seconds all is tried once more. configured is for sockets that never
// were open.
func (s *sockets) reopen(configured uint16) {
	if !s.obs.broken.Load() {
		return
	}
	s.reboundAt = bootclock.Now()
	port := s.obs.port() // the device forgets it when opening fails
	if port == 0 {
		port = configured
	}
	err := s.dev.BindUpdate()
	if err != nil {
		err = s.dev.IpcSet("listen_port=" + strconv.Itoa(int(port)) + "\n")
	}
	if err != nil {
		s.log.Warn("outer sockets not reopened", "err", err)
		s.schedule()
		return
	}
	s.log.Info("outer sockets reopened")
}
