// SPDX-License-Identifier: MIT

package noise

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/conn/bindtest"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/tuntest"

	"oasis6/internal/ip6pkt"
	"oasis6/internal/wgkey"
	"oasis6/lab/pcapng"
)

var (
	here  = netip.MustParseAddr("2001:db8::1")
	there = netip.MustParseAddr("2001:db8::2")
)

func newKeys() (k pcapng.Secrets, responder wgkey.Private) {
	responder = wgkey.GeneratePrivate()
	return pcapng.Secrets{Static: wgkey.GeneratePrivate(), Remote: responder.Public(), Ephemeral: wgkey.GeneratePrivate(), Preshared: wgkey.Preshared(wgkey.GeneratePrivate())}, responder
}

// padded is a packet as WireGuard fills it up.
func padded(p []byte) []byte { return append(bytes.Clone(p), make([]byte, -len(p)&15)...) }

// tai is now as the initiation says it.
func tai() (t [12]byte) {
	s := uint64(1<<62+10) + uint64(time.Now().Unix())
	for i := range 8 {
		t[i] = byte(s >> (56 - 8*i))
	}
	return t
}

// The real wireguard-go answers a handshake that we begin, and takes and gives packets under it.
func TestAgainstRealWireGuard(t *testing.T) {
	t.Parallel()
	k, private := newKeys()
	binds := bindtest.NewChannelBinds()
	tun := tuntest.NewChannelTUN()
	dev := device.NewDevice(tun.TUN(), binds[0], device.NewLogger(device.LogLevelError, "real: "))
	t.Cleanup(dev.Close)
	settings := fmt.Sprintf("private_key=%s\npublic_key=%s\npreshared_key=%s\nallowed_ip=%s/128\n", private.RevealHex(), k.Static.Public().Hex(), k.Preshared.RevealHex(), here)
	if err := dev.IpcSet(settings); err != nil {
		t.Fatal(err)
	}
	if err := dev.Up(); err != nil {
		t.Fatal(err)
	}
	ours := binds[1]
	fns, _, err := ours.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ours.Close() })
	end := bindtest.ChannelEndpoint(2) // the real one's first channel
	// What arrives; both channels of the bind are read, one of them is used.
	in := make(chan []byte, 8)
	for _, f := range fns {
		go receive(f, in)
	}

	initiation, h := Begin(k, 0x11223344, tai())
	AddMACs(initiation, k.Remote, [16]byte{})
	if err := ours.Send([][]byte{initiation}, end); err != nil {
		t.Fatal(err)
	}
	s, ok := h.Finish(next(t, in))
	if !ok {
		t.Fatal("the real answer does not finish our handshake")
	}
	ping := ip6pkt.EchoRequest(here, there, 64, 1, 1)
	if err := ours.Send([][]byte{s.Seal(s.Responder, 0, padded(ping))}, end); err != nil {
		t.Fatal(err)
	}
	if got := next(t, tun.Inbound); !bytes.Equal(got, ping) {
		t.Errorf("the real one gets %x, want %x", got, ping)
	}
	back := ip6pkt.EchoRequest(there, here, 64, 1, 2)
	tun.Outbound <- back
	for {
		content, ok := s.Open(next(t, in))
		if !ok {
			t.Fatal("a real message does not open")
		}
		if len(content) == 0 {
			continue // a keepalive
		}
		if !bytes.Equal(content, padded(back)) {
			t.Errorf("the real one sends %x, want %x", content, back)
		}
		return
	}
}

// receive reads datagrams until the bind is closed.
func receive(f conn.ReceiveFunc, in chan<- []byte) {
	for {
		buf, sizes, eps := [][]byte{make([]byte, 2048)}, make([]int, 1), make([]conn.Endpoint, 1)
		if _, err := f(buf, sizes, eps); err != nil {
			return
		}
		in <- buf[0][:sizes[0]]
	}
}

func next(t *testing.T, c <-chan []byte) []byte {
	t.Helper()
	select {
	case b := <-c:
		return b
	case <-time.After(20 * time.Second):
		t.Fatal("nothing arrives")
		return nil
	}
}

// Both ways to the session agree, and other keys lead nowhere.
func TestFollow(t *testing.T) {
	k, _ := newKeys()
	initiation, h := Begin(k, 7, [12]byte{1})
	response, made := h.Respond(wgkey.GeneratePrivate(), 9)
	h2, ok := Follow(k, initiation)
	if !ok {
		t.Fatal("our own initiation is not followed")
	}
	read, ok := h2.Finish(response)
	if !ok || read.Initiator != 7 || read.Responder != 9 {
		t.Fatalf("our own response: %v, %+v", ok, read)
	}
	for _, to := range []uint32{7, 9} {
		b := made.Seal(to, 5, []byte("0123456789abcdef"))
		if got, ok := read.Open(b); !ok || string(got) != "0123456789abcdef" || len(b) != 48 {
			t.Errorf("to %d: %q, %v", to, got, ok)
		}
		b[len(b)-1]++
		if _, ok := read.Open(b); ok {
			t.Errorf("to %d: a spoilt message opens", to)
		}
	}
	if made.Seal(8, 0, nil) != nil {
		t.Error("sealed for an index that is not the session's")
	}
	for name, change := range map[string]func(*pcapng.Secrets){
		"ephemeral": func(k *pcapng.Secrets) { k.Ephemeral = wgkey.GeneratePrivate() },
		"static":    func(k *pcapng.Secrets) { k.Static = wgkey.GeneratePrivate() },
		"remote":    func(k *pcapng.Secrets) { k.Remote = wgkey.GeneratePrivate().Public() },
		"zero":      func(k *pcapng.Secrets) { k.Remote = wgkey.Public{} },
	} {
		other := k
		change(&other)
		if _, ok := Follow(other, initiation); ok {
			t.Errorf("another %s key follows", name)
		}
	}
	other := k
	other.Preshared = wgkey.Preshared{}
	h3, _ := Follow(other, initiation)
	if _, ok := h3.Finish(response); ok {
		t.Error("finished without the preshared key")
	}
}

func TestReader(t *testing.T) {
	k, _ := newKeys()
	r := NewReader()
	initiation, h := Begin(k, 7, [12]byte{1})
	response, s := h.Respond(wgkey.GeneratePrivate(), 9)
	data := s.Seal(9, 0, padded([]byte("x")))
	if r.Answered(response) || r.Answered(nil) || r.Begun(pcapng.Secrets{}, initiation) {
		t.Error("taken out of order, or with wrong keys")
	}
	if _, ok := r.Open(data); ok {
		t.Error("opened without a session")
	}
	// Another handshake under the same index does not hide this one.
	k2, _ := newKeys()
	second, _ := Begin(k2, 7, [12]byte{1})
	if !r.Begun(k, initiation) || !r.Begun(k2, second) || !r.Answered(response) {
		t.Fatal("not followed")
	}
	if got, ok := r.Open(data); !ok || !bytes.Equal(got, padded([]byte("x"))) {
		t.Errorf("%q, %v", got, ok)
	}
	if got, ok := r.Open(s.Seal(7, 0, nil)); !ok || len(got) != 0 {
		t.Errorf("keepalive: %q, %v", got, ok)
	}
}

func TestRingForgetsTheOldest(t *testing.T) {
	r := newRing[int](3)
	for i, index := range []uint32{1, 1, 2, 3} {
		r.put(index, i)
	}
	if got := fmt.Sprint(r.get(1), r.get(2), r.get(3), len(r.order)); got != "[1] [2] [3] 3" {
		t.Errorf("%s", got)
	}
	r.put(4, 4)
	if len(r.by) != 3 || r.get(1) != nil {
		t.Errorf("%v", r.by)
	}
}

func FuzzRead(f *testing.F) {
	k := pcapng.Secrets{Static: wgkey.Private{8, 31: 64}, Remote: wgkey.Private{16, 31: 64}.Public(), Ephemeral: wgkey.Private{24, 31: 64}}
	initiation, h := Begin(k, 7, [12]byte{1})
	response, s := h.Respond(wgkey.Private{32, 31: 64}, 9)
	f.Add(initiation)
	f.Add(response)
	f.Add(s.Seal(9, 0, make([]byte, 16)))
	for _, at := range []int{1, 4} { // a reserved octet, which must be 0, and the index, which is not covered
		other := bytes.Clone(response)
		other[at] ^= 0x30
		f.Add(other)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader()
		r.Begun(k, initiation)
		r.Begun(k, b)
		// The handshake does not cover the responder's index, octets 4 to 8: MAC1 alone does, and is not looked at here.
		if r.Answered(b) && (!bytes.Equal(b[:4], response[:4]) || !bytes.Equal(b[8:60], response[8:60])) {
			t.Errorf("%x is taken for an answer", b)
		}
		r.Answered(response)
		r.Open(b)
	})
}
