// SPDX-License-Identifier: MIT

package tun

import (
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/chacha20poly1305"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"

	"oasis6/internal/netlab"
)

// cookieBind keeps the last cookie reply to one endpoint.
type cookieBind struct {
	pacedBind
	cookies atomic.Int64
	to      string
	reply   atomic.Pointer[[]byte]
}

func (b *cookieBind) SetMark(uint32) error { return nil }

func (b *cookieBind) Send(bufs [][]byte, ep conn.Endpoint) error {
	if _, ours := ep.(*mark); ours {
		return conn.ErrWrongEndpointType // as from true sockets
	}
	if bufs[0][0] == device.MessageCookieReplyType {
		b.cookies.Add(1)
		if ep.DstToString() == b.to {
			reply := slices.Clone(bufs[0])
			b.reply.Store(&reply)
		}
	}
	return nil
}

// greedy is the site that gets a cookie: the last of many, so the device is under load when it comes to it.
const greedy = 63*paceBatch - 1

// realDevice is wireguard-go behind a pacer.
type realDevice struct {
	*testing.T
	p    *pacer
	bind *cookieBind
	sent int
}

func newRealDevice(t *testing.T) *realDevice {
	noLeaks(t)
	b := &cookieBind{pacedBind: pacedBind{batches: make(chan []datagram)}, to: from(greedy).DstToString()}
	d := &realDevice{T: t, bind: b, p: newPacer(b, modelHub)}
	dev := device.NewDevice(NewMemory("hub", 1420), newObserver(d.p), deviceLogger(slog.New(slog.DiscardHandler), nil))
	t.Cleanup(dev.Close)
	if err := dev.IpcSet(interfaceSettings(testHub, outer{})); err != nil {
		t.Fatal(err)
	}
	if err := dev.Up(); err != nil {
		t.Fatal(err)
	}
	return d
}

// refuses waits until the device has come to all marks behind what was sent.
func (d *realDevice) refuses(what string, all ...datagram) {
	d.Helper()
	for batch := range slices.Chunk(all, 128) {
		d.bind.batches <- batch
	}
	d.sent += len(all)
	want := uint64(d.sent / paceBatch)
	if !netlab.Poll(soon, func() bool { return d.p.marks.seen.Load() >= want }) {
		d.Fatalf("%s: the device has come to mark %d, want %d", what, d.p.marks.seen.Load(), want)
	}
	if n := d.p.waiting.hasty.Load() + d.p.waiting.crowded.Load() + d.p.waiting.stale.Load(); n > 0 {
		d.Errorf("%s: %d dropped", what, n)
	}
}

// withCookie is what who knows no more than the hub's public key and has got a cookie sends from one address.
func (d *realDevice) withCookie(x datagram) datagram {
	d.Helper()
	reply := *d.bind.reply.Load()
	key := blake2s.Sum256(append([]byte(device.WGLabelCookie), modelHub[:]...))
	aead, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		d.Fatal(err)
	}
	mac := x.data[initiationLen-32 : initiationLen-16]
	cookie, err := aead.Open(nil, reply[8:32], reply[32:64], mac)
	if err != nil {
		d.Fatal(err)
	}
	h, err := blake2s.New128(cookie)
	if err != nil {
		d.Fatal(err)
	}
	h.Write(x.data[:initiationLen-16])
	return datagram{h.Sum(slices.Clone(x.data[:initiationLen-16])), x.ep}
}

// The pinned wireguard-go comes to marks, whatever becomes of the initiations before them: computed in vain, a cookie
// asked for, or too many from one address, of which it says nothing.
func TestDeviceComesToMarks(t *testing.T) {
	const rounds = 20
	d := newRealDevice(t)
	d.refuses("what cannot be decrypted", calls(0, paceBatch)...)
	if n := d.bind.cookies.Load(); n > 0 {
		t.Fatalf("%d cookies for %d initiations", n, paceBatch)
	}
	d.refuses("under load", calls(0, greedy+1)...)
	if d.bind.reply.Load() == nil {
		t.Fatalf("no cookie for site %d, %d for others", greedy, d.bind.cookies.Load())
	}
	known := d.withCookie(call(greedy))
	begin, cookies := time.Now(), d.bind.cookies.Load()
	for range rounds {
		d.refuses("too many from one address", slices.Repeat([]datagram{known}, paceOne)...)
	}
	if took := time.Since(begin); took > rounds*paceLost {
		t.Errorf("%d took %v: marks were thought lost", rounds*paceOne, took)
	}
	if n := d.bind.cookies.Load(); n != cookies {
		t.Errorf("%d cookies to who had one", n-cookies)
	}
}
