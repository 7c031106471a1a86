// SPDX-License-Identifier: MIT

package simseal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"oasis6/internal/ip6pkt"
	"oasis6/internal/wgkey"
	"oasis6/lab/noise"
	"oasis6/lab/packet"
	"oasis6/lab/pcapng"
	"oasis6/lab/pcapng/pcapngtest"
	"oasis6/lab/simwg/device"
)

var (
	box  = wgkey.Private{8, 1, 31: 64}
	hub  = wgkey.Private{16, 2, 31: 64}
	psk  = wgkey.Preshared{1, 2, 3}
	ends = map[bool]netip.AddrPort{true: netip.MustParseAddrPort("192.0.2.2:40000"), false: netip.MustParseAddrPort("198.51.100.2:51820")}
	in   = map[bool]netip.Addr{true: netip.MustParseAddr("2001:db8::1"), false: netip.MustParseAddr("2001:db8::2")}
)

// message is where in a frame of ours the message begins.
const message = etherLen + ipv4Len + udpLen

// pair are a simulated box (true) and hub (false), and what they sent, as frames.
type pair struct {
	now    time.Time
	dev    map[bool]*device.Device
	frames [][]byte
	got    []string
}

func newPair() *pair {
	p := &pair{now: time.Unix(1_795_000_000, 0), dev: map[bool]*device.Device{}}
	for box, key := range map[bool]wgkey.Public{true: box.Public(), false: hub.Public()} {
		seed := uint64(2)
		if box {
			seed = 1
		}
		p.dev[box] = device.New(device.Config{Public: key, MTU: 1420, Rand: rand.New(rand.NewPCG(seed, 0)).Uint64})
	}
	all := netip.MustParsePrefix("2001:db8::/32")
	p.step(true, device.SetPeers{Peers: []device.Peer{{Public: hub.Public(), Preshared: psk, AllowedIPs: []netip.Prefix{all}, Endpoint: ends[false]}}})
	p.step(false, device.SetPeers{Peers: []device.Peer{{Public: box.Public(), Preshared: psk, AllowedIPs: []netip.Prefix{all}}}})
	return p
}

// step carries out what the device wants: datagrams arrive at once.
func (p *pair) step(box bool, ev device.Event) {
	a := p.dev[box].Step(p.now, ev)
	for _, k := range a.Deliver {
		p.got = append(p.got, packet.SummaryIP(k.Data, nil))
	}
	for _, d := range a.Send {
		p.frames = append(p.frames, frame(ends[box], ends[!box], d.Data))
		p.step(!box, device.Received{From: ends[box], Data: bytes.Clone(d.Data)})
	}
}

func (p *pair) ping(box bool, seq uint16) {
	p.now = p.now.Add(time.Second)
	p.step(box, device.PacketOut{Packet: ip6pkt.EchoRequest(in[box], in[!box], 64, 9, seq)})
}

// frame is a datagram over IPv4 with its checksum.
func frame(src, dst netip.AddrPort, data []byte) []byte {
	u := binary.BigEndian.AppendUint16(nil, src.Port())
	u = binary.BigEndian.AppendUint16(u, dst.Port())
	u = binary.BigEndian.AppendUint16(u, uint16(8+len(data)))
	u = append(append(u, 0, 0), data...)
	binary.BigEndian.PutUint16(u[6:], ip6pkt.Checksum(src.Addr(), dst.Addr(), protoUDP, u))
	ip := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0}
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(u)))
	ip = append(append(ip, src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
	return slices.Concat([]byte{0, 0, 0x5e, 0, 0x53, 1, 0, 0, 0x5e, 0, 0x53, 2, 8, 0}, ip, u)
}

func config() Config {
	return Config{Keys: []wgkey.Private{box, hub}, Seed: wgkey.Private{7}, Preshared: func(a, b wgkey.Public) wgkey.Preshared { return psk }}
}

// story is a handshake with data both ways, a second handshake begun by the hub, and one under load.
func story(t testing.TB) *pair {
	t.Helper()
	p := newPair()
	p.ping(true, 1)
	p.ping(false, 2)
	p.now = p.now.Add(device.RekeyTimeout)
	p.step(false, device.Initiate{Peer: box.Public()})
	p.ping(true, 3)
	p.step(false, device.SetLoad{Under: true})
	p.now = p.now.Add(device.RekeyTimeout)
	p.step(true, device.Initiate{Peer: hub.Public()}) // is answered by a cookie
	p.now = p.now.Add(device.RekeyTimeout + time.Second)
	p.step(true, device.Tick{}) // the second attempt carries it
	p.ping(false, 4)
	if len(p.got) != 4 {
		t.Fatalf("the simulation delivers %q", p.got)
	}
	return p
}

// Wireshark opens the capture of a simulated wire as it would a real one.
func TestWiresharkOpensASimulatedWire(t *testing.T) {
	t.Parallel()
	p := story(t)
	s := New(config())
	var frames [][]byte
	for _, f := range p.frames {
		frames = append(frames, s.Frame(f))
	}
	var file bytes.Buffer
	w, err := pcapng.NewWriter(&file, "test", "")
	if err != nil {
		t.Fatal(err)
	}
	i, _ := w.AddInterface(pcapng.Interface{Name: "outer", Link: pcapng.Ethernet})
	if err := w.WriteSecrets(s.Secrets()); err != nil {
		t.Fatal(err)
	}
	for n, f := range frames {
		if err := w.WritePacket(pcapng.Packet{Interface: i, At: time.Unix(int64(n), 0), Data: f}); err != nil {
			t.Fatal(err)
		}
	}
	var want []string
	for _, f := range p.frames {
		o := packet.Explain(f, device.Inner)
		seq := ""
		if i := strings.Index(o.Summary, "number "); i >= 0 {
			seq = o.Summary[i+7 : i+8]
		}
		want = append(want, fmt.Sprintf("%d|%s|1|%d", f[message], seq, len(f)))
	}
	got := pcapngtest.Fields(t, file.Bytes(), "wg.type", "icmpv6.echo.sequence_number", "udp.checksum.status", "frame.len", "_ws.malformed", "wg.decryption_error", "wg.handshake_ok", "wg.receiver_pubkey.known_privkey")
	handshakes, cookies := 0, 0
	for n, line := range got {
		f := strings.Split(line, "|")
		if g := strings.Join(f[:4], "|"); n >= len(want) || g != want[n] || f[4] != "" || f[5] != "" {
			t.Errorf("packet %d: tshark reads %s, want %v", n+1, line, want[min(n, len(want)-1)])
		}
		if f[0] == "2" {
			handshakes++
			if f[6] != "1" {
				t.Errorf("packet %d: the handshake is not right: %s", n+1, line)
			}
		}
		if f[0] == "3" {
			cookies++
		}
	}
	if handshakes != 3 || cookies != 1 {
		t.Errorf("%d handshakes and %d cookies in %q", handshakes, cookies, got)
	}
}

// The same run gives the same octets, on every wire; another seed gives others.
func TestTheSameMessageIsSealedAlike(t *testing.T) {
	p := story(t)
	a, b := New(config()), New(config())
	for n, f := range p.frames {
		x := a.Frame(f)
		if bytes.Equal(x, f) || len(x) != len(f) {
			t.Fatalf("frame %d is not sealed", n)
		}
		if y := b.Frame(f); !bytes.Equal(x, y) || !bytes.Equal(a.Frame(f), y) {
			t.Errorf("frame %d is sealed in two ways", n)
		}
	}
	if n := len(a.Secrets()); n != 4 {
		t.Errorf("%d secrets, want one for each initiation", n)
	}
	other := config()
	other.Seed[0]++
	if bytes.Equal(New(other).Frame(p.frames[0]), New(config()).Frame(p.frames[0])) {
		t.Error("the seed changes nothing")
	}
}

// The MACs are those that a real device would demand: the second initiation under load has the cookie's.
func TestCookie(t *testing.T) {
	p, s := story(t), New(config())
	var cookie, second []byte
	for _, f := range p.frames {
		m, _ := s.Seal(f[message:])
		switch {
		case m[0] == noise.TypeCookie:
			cookie = m
		case m[0] == noise.TypeInitiation && cookie != nil && second == nil:
			second = m
			sim, _ := device.Parse(f[message:])
			if sim.(device.Initiation).MAC2 == ([16]byte{}) {
				t.Fatal("the simulated initiation has no cookie")
			}
		}
	}
	want := bytes.Clone(second)
	noise.AddMACs(want, hub.Public(), s.cookies[[2]wgkey.Public{box.Public(), hub.Public()}])
	if !bytes.Equal(want, second) || [16]byte(second[132:]) == ([16]byte{}) {
		t.Errorf("mac2 %x, want %x", second[132:], want[132:])
	}
}

// What cannot be sealed stays as it is.
func TestFrameLeavesOthersAlone(t *testing.T) {
	p := story(t)
	s := New(Config{Keys: []wgkey.Private{box}}) // the hub's key is missing
	none := New(config())                        // has seen no handshake
	for n, f := range p.frames {
		if !bytes.Equal(s.Frame(f), f) {
			t.Errorf("frame %d is sealed without the hub's key", n)
		}
		if m := f[message]; m != device.TypeInitiation && !bytes.Equal(none.Frame(f), f) {
			t.Errorf("frame %d is sealed without a handshake", n)
		}
	}
}

func TestMemory(t *testing.T) {
	m := newMemory[int](3)
	for v, index := range []uint32{1, 1, 2, 3} {
		m.put(index, v)
	}
	if got := fmt.Sprint(m.get(1), m.get(2), m.get(3), len(m.order)); got != "[1] [2] [3] 3" {
		t.Errorf("%s", got)
	}
	m.put(1, 9)
	if got := fmt.Sprint(m.get(1), len(m.by)); got != "[9] 3" {
		t.Errorf("%s", got)
	}
}

// Any frame is left alone or keeps its length and all but the message and its checksum.
func FuzzFrame(f *testing.F) {
	p := story(f)
	for _, x := range p.frames {
		f.Add(x)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := New(config())
		for _, x := range p.frames[:2] {
			s.Frame(x)
		}
		in := bytes.Clone(b)
		out := s.Frame(b)
		if !bytes.Equal(in, b) {
			t.Fatal("the input was changed")
		}
		if len(out) != len(b) || !bytes.Equal(out[:min(len(out), 34)], b[:min(len(b), 34)]) {
			t.Fatalf("%x became %x", b, out)
		}
	})
}
