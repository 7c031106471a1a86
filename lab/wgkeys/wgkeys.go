// SPDX-License-Identifier: MIT

// Package wgkeys reads the keys of handshakes out of a running wireguard-go device, so that a capture
// of a lab's wire can be opened in Wireshark. It is for labs: it gives away all that WireGuard hides.
//
// A device keeps its ephemeral keys to itself and clears them when a handshake is done, so they are
// read, under the device's own lock, at the moment at which an initiation leaves. The layout of the
// pinned version is checked by type and name before anything is read. It must not know wires, nor what
// becomes of the keys. Start at New and Recorder.Sent.
package wgkeys

import (
	"crypto/subtle"
	"fmt"
	"reflect"
	"sync"
	"unsafe"

	"golang.zx2c4.com/wireguard/device"

	"oasis6/internal/wgkey"
	"oasis6/lab/pcapng"
)

// maxHandshakes bounds what is remembered: a handshake every two minutes for three hours with one peer, or one with
// each of a hundred.
const maxHandshakes = 4096

// Recorder collects the handshakes that one device begins; those that it answers are with the other end's. Its methods may be
// called from any goroutine.
type Recorder struct {
	dev    *device.Device
	static wgkey.Private
	at     layout

	mu    sync.Mutex
	peers map[wgkey.Public]*device.Peer
	got   []pcapng.Secrets // oldest first
}

// New makes a recorder for a device that has the private key static. It fails if wireguard-go is not the version that this
// package knows.
func New(dev *device.Device, static wgkey.Private) (*Recorder, error) {
	at, err := find()
	if err != nil {
		return nil, err
	}
	return &Recorder{dev: dev, static: static, at: at, peers: map[wgkey.Public]*device.Peer{}}, nil
}

// Know takes note of the device's peers with these keys. It is called after each change of peers, and never from conn.Bind.Send,
// where the device may hold the lock that this takes.
func (r *Recorder) Know(remotes ...wgkey.Public) {
	found := make([]*device.Peer, len(remotes))
	for i, k := range remotes {
		found[i] = r.dev.LookupPeer(device.NoisePublicKey(k))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, k := range remotes {
		if found[i] != nil {
			r.peers[k] = found[i]
		}
	}
}

// Sent is told of each datagram that the device sends, from within conn.Bind.Send: no other moment will do. Datagrams that are no
// initiations cost nothing. It gives the keys of an initiation, if its peer is known.
func (r *Recorder) Sent(datagram []byte) (k pcapng.Secrets, ok bool) {
	if len(datagram) != device.MessageInitiationSize || datagram[0] != device.MessageInitiationType {
		return k, false
	}
	public := wgkey.Public(datagram[8:40]) // the ephemeral one
	r.mu.Lock()
	defer r.mu.Unlock()
	for remote, p := range r.peers {
		h, ok := r.at.read(p, remote)
		if !ok || subtle.ConstantTimeCompare(publicOf(h.Ephemeral), public[:]) == 0 {
			continue
		}
		h.Static = r.static
		if len(r.got) == maxHandshakes {
			r.got = append(r.got[:0], r.got[1:]...)
		}
		r.got = append(r.got, h)
		return h, true
	}
	return k, false
}

func publicOf(k wgkey.Private) []byte {
	p := k.Public()
	return p[:]
}

// Handshakes are the keys of those begun so far, oldest first.
func (r *Recorder) Handshakes() []pcapng.Secrets {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]pcapng.Secrets(nil), r.got...)
}

// layout is where in a device.Peer its handshake's fields are.
type layout struct {
	mutex, static, preshared, ephemeral uintptr
}

// find looks the fields up by name and demands their types: another version of wireguard-go is refused, not misread.
func find() (at layout, err error) {
	h, ok := reflect.TypeFor[device.Peer]().FieldByName("handshake")
	if !ok || h.Type != reflect.TypeFor[device.Handshake]() {
		return at, errLayout("Peer.handshake")
	}
	for _, f := range []struct {
		name string
		typ  reflect.Type
		to   *uintptr
	}{
		{"mutex", reflect.TypeFor[sync.RWMutex](), &at.mutex},
		{"remoteStatic", reflect.TypeFor[device.NoisePublicKey](), &at.static},
		{"presharedKey", reflect.TypeFor[device.NoisePresharedKey](), &at.preshared},
		{"localEphemeral", reflect.TypeFor[device.NoisePrivateKey](), &at.ephemeral},
	} {
		got, ok := h.Type.FieldByName(f.name)
		if !ok || got.Type != f.typ {
			return at, errLayout("Handshake." + f.name)
		}
		*f.to = h.Offset + got.Offset
	}
	return at, nil
}

func errLayout(what string) error {
	return fmt.Errorf("wireguard-go has no %s as this program knows it: captures of wg links get no keys; compare lab/wgkeys with device/noise-protocol.go of the version in go.mod", what)
}

// read takes the keys under the handshake's own lock. Not ok: this is another peer than it should be.
func (at layout) read(p *device.Peer, remote wgkey.Public) (h pcapng.Secrets, ok bool) {
	base := unsafe.Pointer(p)
	mu := (*sync.RWMutex)(unsafe.Add(base, at.mutex))
	mu.RLock()
	defer mu.RUnlock()
	if *(*device.NoisePublicKey)(unsafe.Add(base, at.static)) != device.NoisePublicKey(remote) {
		return h, false
	}
	return pcapng.Secrets{
		Remote:    remote,
		Ephemeral: wgkey.Private(*(*device.NoisePrivateKey)(unsafe.Add(base, at.ephemeral))),
		Preshared: wgkey.Preshared(*(*device.NoisePresharedKey)(unsafe.Add(base, at.preshared))),
	}, true
}
