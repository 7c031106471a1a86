// SPDX-License-Identifier: MIT

package wgkeys

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/conn/bindtest"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/tuntest"

	"oasis6/internal/ip6pkt"
	"oasis6/internal/wgkey"
	"oasis6/lab/noise"
	"oasis6/lab/pcapng"
	"oasis6/lab/pcapng/pcapngtest"
)

var (
	addrs = [2]netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")}
	outer = [2]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.2")}
)

// wire is what both ends sent, as frames, in order.
type wire struct {
	mu     sync.Mutex
	frames [][]byte
}

func (w *wire) add(from int, datagram []byte) {
	u := []byte{0xca, 0x6c, 0xca, 0x6c, 0, 0, 0, 0} // port 51820 at both ends, no checksum
	binary.BigEndian.PutUint16(u[4:], uint16(8+len(datagram)))
	ip := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0}
	binary.BigEndian.PutUint16(ip[2:], uint16(28+len(datagram)))
	frame := slices.Concat([]byte{0, 0, 0x5e, 0, 0x53, byte(1 - from), 0, 0, 0x5e, 0, 0x53, byte(from), 8, 0}, ip, outer[from].AsSlice(), outer[1-from].AsSlice(), u, datagram)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frames = append(w.frames, frame)
}

// Who is told what devices send can open it as it goes.
func TestReaderFollowsRealDevices(t *testing.T) {
	t.Parallel()
	w, tuns, recs := pair(t)
	p := ip6pkt.EchoRequest(addrs[0], addrs[1], 64, 7, 1)
	tuns[0].Outbound <- p
	<-tuns[1].Inbound
	r := noise.NewReader()
	w.mu.Lock()
	defer w.mu.Unlock()
	d := func(i int) []byte { return w.frames[i][42:] }
	if !r.Begun(recs[0].Handshakes()[0], d(0)) || !r.Answered(d(1)) {
		t.Fatal("the handshake is not followed")
	}
	if got, ok := r.Open(d(2)); !ok || !bytes.Equal(got[:len(p)], p) {
		t.Errorf("opened %x, want %x", got, p)
	}
}

// bind shows the recorder and the wire what its device sends.
type bind struct {
	conn.Bind
	from int
	wire *wire
	mu   sync.Mutex
	rec  *Recorder
}

func (b *bind) Send(bufs [][]byte, ep conn.Endpoint) error {
	b.mu.Lock()
	rec := b.rec
	b.mu.Unlock()
	for _, d := range bufs {
		rec.Sent(d)
		b.wire.add(b.from, bytes.Clone(d))
	}
	return b.Bind.Send(bufs, ep)
}

// pair are two real devices on one wire, with a preshared key.
func pair(t *testing.T) (w *wire, tuns [2]*tuntest.ChannelTUN, recs [2]*Recorder) {
	t.Helper()
	w = &wire{}
	keys := [2]wgkey.Private{wgkey.GeneratePrivate(), wgkey.GeneratePrivate()}
	psk := wgkey.Preshared(wgkey.GeneratePrivate())
	binds := bindtest.NewChannelBinds()
	for i := range 2 {
		tuns[i] = tuntest.NewChannelTUN()
		b := &bind{Bind: binds[i], from: i, wire: w}
		dev := device.NewDevice(tuns[i].TUN(), b, device.NewLogger(device.LogLevelError, t.Name()+": "))
		t.Cleanup(dev.Close)
		rec, err := New(dev, keys[i])
		if err != nil {
			t.Fatal(err)
		}
		b.rec, recs[i] = rec, rec
		other := keys[1-i].Public()
		settings := fmt.Sprintf("private_key=%s\npublic_key=%s\npreshared_key=%s\nallowed_ip=%s/128\n", keys[i].RevealHex(), other.Hex(), psk.RevealHex(), addrs[1-i])
		if i == 0 {
			settings += "endpoint=127.0.0.1:1\n" // the channel of that number
		}
		if err := dev.IpcSet(settings); err != nil {
			t.Fatal(err)
		}
		rec.Know(other)
		if err := dev.Up(); err != nil {
			t.Fatal(err)
		}
	}
	return w, tuns, recs
}

// Wireshark opens what two real devices said, with the keys that were read out of them.
func TestWiresharkOpensARealHandshake(t *testing.T) {
	t.Parallel()
	w, tuns, recs := pair(t)
	for seq := range uint16(3) {
		from := int(seq % 2)
		p := ip6pkt.EchoRequest(addrs[from], addrs[1-from], 64, 7, seq+1)
		tuns[from].Outbound <- p
		select {
		case got := <-tuns[1-from].Inbound:
			if !bytes.Equal(got, p) {
				t.Fatalf("%x arrived, want %x", got, p)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("nothing arrived")
		}
	}
	first, second := recs[0].Handshakes(), recs[1].Handshakes()
	if len(first) != 1 || len(second) != 0 {
		t.Fatalf("%d and %d handshakes recorded, want that of the end that began it", len(first), len(second))
	}
	got := pcapngtest.Fields(t, capture(t, w, first), "wg.type", "icmpv6.echo.sequence_number", "wg.handshake_ok", "ipv6.dst")
	want := []string{"1|||", "2||1|", "4|1||2001:db8::2", "4|2||2001:db8::1", "4|3||2001:db8::2"}
	if !slices.Equal(withoutKeepalives(got), want) {
		t.Errorf("tshark reads\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, line := range pcapngtest.Fields(t, capture(t, w, nil), "wg.type", "icmpv6.type") {
		if !strings.HasSuffix(line, "|") {
			t.Errorf("tshark opens a packet without keys: %s", line)
		}
	}
}

// withoutKeepalives drops transport messages in which tshark finds no packet: a passive keepalive may come between.
func withoutKeepalives(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(s string) bool { return s == "4|||" })
}

func capture(t *testing.T, w *wire, keys []pcapng.Secrets) []byte {
	t.Helper()
	var f bytes.Buffer
	p, err := pcapng.NewWriter(&f, "test", "")
	if err != nil {
		t.Fatal(err)
	}
	i, _ := p.AddInterface(pcapng.Interface{Name: "outer", Link: pcapng.Ethernet})
	if err := p.WriteSecrets(keys); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for n, frame := range w.frames {
		if err := p.WritePacket(pcapng.Packet{Interface: i, At: time.Unix(int64(n), 0), Data: frame}); err != nil {
			t.Fatal(err)
		}
	}
	return f.Bytes()
}

// The pinned wireguard-go is laid out as this package knows it.
func TestLayout(t *testing.T) {
	at, err := find()
	if err != nil {
		t.Fatal(err)
	}
	if at.ephemeral == at.static || at.ephemeral == 0 {
		t.Errorf("%+v", at)
	}
}

// What is no initiation, of a peer that is not known or not of this device, is passed over.
func TestOthersArePassedOver(t *testing.T) {
	w, tuns, recs := pair(t)
	tuns[0].Outbound <- ip6pkt.EchoRequest(addrs[0], addrs[1], 64, 7, 1)
	<-tuns[1].Inbound
	w.mu.Lock()
	initiation := w.frames[0][42:]
	w.mu.Unlock()
	for name, d := range map[string][]byte{"old": initiation, "short": initiation[:100], "empty": nil, "zero": append([]byte{1}, make([]byte, 147)...)} {
		recs[0].Sent(d)
		recs[1].Sent(d)
		if a, b := len(recs[0].Handshakes()), len(recs[1].Handshakes()); a != 1 || b != 0 {
			t.Errorf("%s: %d and %d handshakes", name, a, b)
		}
	}
	recs[0].Know(wgkey.Public{1})
	recs[0].mu.Lock()
	defer recs[0].mu.Unlock()
	if len(recs[0].peers) != 1 {
		t.Errorf("%d peers known", len(recs[0].peers))
	}
	for k, p := range recs[0].peers {
		if _, ok := recs[0].at.read(p, wgkey.Public{1}); ok {
			t.Errorf("peer %s is read as another", k)
		}
	}
}
