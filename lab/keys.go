// SPDX-License-Identifier: MIT

package lab

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"golang.zx2c4.com/wireguard/device"

	"oasis6/internal/wgkey"
	"oasis6/lab/noise"
	"oasis6/lab/pcapng"
	"oasis6/lab/wgkeys"
)

// keyring knows the keys of all sessions of the world's wireguard-go devices, for the packet walk and for captures: a
// class wants to see what nobody else may.
type keyring struct {
	mu     sync.Mutex
	reader *noise.Reader
	begun  []pcapng.Secrets
}

// maxBegun handshakes are kept for captures: an hour of one box, with some to spare.
const maxBegun = 64

func newKeyring() *keyring { return &keyring{reader: noise.NewReader()} }

// open is a packet.Opener.
func (k *keyring) open(datagram []byte) ([]byte, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.reader.Open(datagram)
}

// secrets are those of the handshakes so far, oldest first.
func (k *keyring) secrets() []pcapng.Secrets {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]pcapng.Secrets(nil), k.begun...)
}

// listener is shown what one device sends.
type listener struct {
	ring *keyring
	own  wgkey.Private
	rec  atomic.Pointer[wgkeys.Recorder] // nil: the device is not there yet
}

// made is for tun.Outside.
func (l *listener) made(log *slog.Logger, peers ...wgkey.Public) func(*device.Device) {
	return func(dev *device.Device) {
		rec, err := wgkeys.New(dev, l.own)
		if err != nil { // another wireguard-go than we know: captures stay closed
			log.Warn("keys of the tunnel cannot be shown", "err", err)
			return
		}
		rec.Know(peers...)
		l.rec.Store(rec)
	}
}

// know tells of peers that have come since.
func (l *listener) know(peers ...wgkey.Public) {
	if rec := l.rec.Load(); rec != nil {
		rec.Know(peers...)
	}
}

// sent is called from within conn.Bind.Send.
func (l *listener) sent(datagram []byte) {
	rec := l.rec.Load()
	if rec == nil {
		return
	}
	secrets, ok := rec.Sent(datagram)
	k := l.ring
	k.mu.Lock()
	defer k.mu.Unlock()
	if !ok {
		k.reader.Answered(datagram)
		return
	}
	k.reader.Begun(secrets, datagram)
	k.begun = append(k.begun, secrets)
	if len(k.begun) > maxBegun {
		k.begun = k.begun[1:]
	}
}
