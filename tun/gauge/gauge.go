// SPDX-License-Identifier: MIT

// Package gauge is a WireGuard end to measure with: in this process, without root and interface, with every handshake
// timed, datagrams that no host on this side cuts into fragments, and what ICMP has to say about them. Path asks the outer
// path the same questions without WireGuard.
//
// It has one peer at one address, which must be known, and takes every packet from it. It judges nothing. Start at Open.
package gauge

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/device"
	wgtun "golang.zx2c4.com/wireguard/tun"

	"oasis6/internal/wgkey"
	"oasis6/tun"
)

// Between is the least time between two initiations: WireGuard sends none within 5 s of the last (REKEY_TIMEOUT), and
// silently.
const Between = 5*time.Second + 50*time.Millisecond

// Config is one End. All fields but Preshared, ListenPort and Mark are required.
type Config struct {
	Private    wgkey.Private
	Peer       wgkey.Public
	Preshared  wgkey.Preshared
	Endpoint   netip.AddrPort
	AllowedIPs []netip.Prefix
	ListenPort uint16 // 0: any
	Mark       uint32 // needs CAP_NET_ADMIN; 0: none
	MTU        int    // see SetMTU
}

// End is an open end. Its methods may be called from any goroutine.
type End struct {
	dev        *device.Device
	mem        *memory
	wire       *wire
	peer       device.NoisePublicKey
	handshakes chan time.Duration
	once       sync.Once
}

// handshakeQueue handshakes wait for the consumer at most; one comes in 5 s.
const handshakeQueue = 16

// Open brings the end up. Nothing leaves before Initiate or Send.
func Open(cfg Config, log *slog.Logger) (*End, error) {
	e := &End{
		mem: newMemory(cfg.MTU), wire: newWire(cfg.Endpoint), peer: device.NoisePublicKey(cfg.Peer),
		handshakes: make(chan time.Duration, handshakeQueue),
	}
	e.dev = device.NewDevice(e.mem, e.wire, e.logger(log))
	if err := e.dev.IpcSet(cfg.settings()); err != nil {
		e.dev.Close()
		return nil, fmt.Errorf("configure wireguard: %w", err)
	}
	if err := e.dev.Up(); err != nil {
		e.dev.Close()
		return nil, fmt.Errorf("open UDP port %d: %w", cfg.ListenPort, err)
	}
	return e, nil
}

// settings is the configuration protocol's text.
func (c Config) settings() string {
	var b strings.Builder
	line := func(k, v string) { b.WriteString(k + "=" + v + "\n") }
	line("private_key", c.Private.RevealHex())
	line("listen_port", strconv.Itoa(int(c.ListenPort)))
	if c.Mark != 0 {
		line("fwmark", strconv.FormatUint(uint64(c.Mark), 10))
	}
	line("public_key", c.Peer.Hex())
	if !c.Preshared.IsZero() {
		line("preshared_key", c.Preshared.RevealHex())
	}
	line("endpoint", c.Endpoint.String())
	for _, p := range c.AllowedIPs {
		line("allowed_ip", p.String())
	}
	return b.String()
}

// receivedResponse is the format of wireguard-go's only sign of a response that it believed. TestHandshake fails if the
// pinned version changes it.
const receivedResponse = "%v - Received handshake response"

func (e *End) logger(log *slog.Logger) *device.Logger {
	ctx := context.Background()
	write := func(format string, args []any) {
		if log.Enabled(ctx, slog.LevelDebug) {
			log.Debug("wireguard", "text", fmt.Sprintf(format, args...))
		}
	}
	return &device.Logger{
		Verbosef: func(format string, args ...any) {
			if format == receivedResponse {
				e.shook()
			}
			write(format, args)
		},
		Errorf: func(format string, args ...any) { write(format, args) },
	}
}

func (e *End) shook() {
	select {
	case e.handshakes <- e.wire.believed():
	default:
	}
}

// Handshakes gives for each handshake that the peer completed the time from initiation to response, as the sockets saw
// them: the path both ways and the peer's work. It is never closed.
func (e *End) Handshakes() <-chan time.Duration { return e.handshakes }

// Signs are what the wire has shown until now.
func (e *End) Signs() Signs { return e.wire.shown() }

// Initiate begins a handshake, whether or not there is a session; within Between of the last one nothing happens.
func (e *End) Initiate() {
	if p := e.dev.LookupPeer(e.peer); p != nil {
		_ = p.SendHandshakeInitiation(false) // why it did not leave is among the signs
	}
}

// Send gives a whole IPv6 packet to the peer; it belongs to the End afterwards. Without a session WireGuard begins one.
func (e *End) Send(pkt []byte) error { return e.mem.Send(pkt) }

// Packets gives what came from the peer; each packet belongs to who takes it. It is never closed.
func (e *End) Packets() <-chan []byte { return e.mem.Packets() }

// SetMTU bounds WireGuard's padding: it fills each packet up to a multiple of 16 octets, but not beyond the MTU. On return
// it is in effect for what is sent next.
func (e *End) SetMTU(mtu int) { e.mem.setMTU(mtu) }

// Fragment lets this host cut datagrams that are too long for the path, as it does for WireGuard elsewhere. Until then it
// does not.
func (e *End) Fragment() error { return e.wire.fragment() }

// Close ends everything that was started.
func (e *End) Close() error {
	e.once.Do(e.dev.Close)
	return nil
}

// memory is a tun.Memory whose MTU can be changed.
type memory struct {
	*tun.Memory
	mtu    atomic.Int64
	events chan wgtun.Event
	close  sync.Once
	mu     sync.Mutex // of setMTU, against Close
	closed bool
}

// memoryMTU is what the tun.Memory below is told; nothing asks it.
const memoryMTU = 1500

func newMemory(mtu int) *memory {
	m := &memory{Memory: tun.NewMemory("gauge", memoryMTU), events: make(chan wgtun.Event)}
	m.mtu.Store(int64(mtu))
	return m
}

// setMTU tells the device twice: its reader takes the second event when it has done what the first one asks.
func (m *memory) setMTU(mtu int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.mtu.Swap(int64(mtu)) == int64(mtu) {
		return
	}
	for range 2 {
		select {
		case m.events <- wgtun.EventMTUUpdate:
		case <-m.Done():
			return
		}
	}
}

func (m *memory) MTU() (int, error)          { return int(m.mtu.Load()), nil }
func (m *memory) Events() <-chan wgtun.Event { return m.events }

func (m *memory) Close() error {
	err := m.Memory.Close()
	m.close.Do(func() {
		m.mu.Lock()
		m.closed = true
		close(m.events)
		m.mu.Unlock()
	})
	return err
}
