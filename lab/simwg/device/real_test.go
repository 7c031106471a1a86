// SPDX-License-Identifier: MIT

package device

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/conn/bindtest"
	wg "golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/replay"
	"golang.zx2c4.com/wireguard/tai64n"
	"golang.zx2c4.com/wireguard/tun/tuntest"

	"oasis6/internal/wgkey"
)

func TestConstantsAreWireGuards(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want any
	}{
		{"InitiationLen", InitiationLen, wg.MessageInitiationSize},
		{"ResponseLen", ResponseLen, wg.MessageResponseSize},
		{"CookieLen", CookieLen, wg.MessageCookieReplySize},
		{"KeepaliveLen", KeepaliveLen, wg.MessageKeepaliveSize},
		{"HeaderLen", HeaderLen, wg.MessageTransportHeaderSize},
		{"Padding", Padding, wg.PaddingMultiple},
		{"TypeInitiation", TypeInitiation, wg.MessageInitiationType},
		{"TypeResponse", TypeResponse, wg.MessageResponseType},
		{"TypeCookie", TypeCookie, wg.MessageCookieReplyType},
		{"TypeTransport", TypeTransport, wg.MessageTransportType},
		{"RekeyAfterMessages", uint64(RekeyAfterMessages), uint64(wg.RekeyAfterMessages)},
		{"RejectAfterMessages", uint64(RejectAfterMessages), uint64(wg.RejectAfterMessages)},
		{"RekeyAfterTime", RekeyAfterTime, wg.RekeyAfterTime},
		{"RejectAfterTime", RejectAfterTime, wg.RejectAfterTime},
		{"RekeyAttemptTime", RekeyAttemptTime, wg.RekeyAttemptTime},
		{"RekeyTimeout", RekeyTimeout, wg.RekeyTimeout},
		{"RekeyJitter", RekeyJitter, wg.RekeyTimeoutJitterMaxMs * time.Millisecond},
		{"KeepaliveTimeout", KeepaliveTimeout, wg.KeepaliveTimeout},
		{"CookieRefreshTime", CookieRefreshTime, wg.CookieRefreshTime},
		{"InitiationEvery", InitiationEvery, wg.HandshakeInitationRate},
		{"MaxAttempts", MaxAttempts, wg.MaxTimerHandshakes + 1},
		{"Staged", Staged, wg.QueueStagedSize},
	} {
		if c.got != c.want {
			t.Errorf("%s = %v, want wireguard-go's %v", c.name, c.got, c.want)
		}
	}
}

func TestStampIsTAI64N(t *testing.T) {
	real := tai64n.Now()
	now := time.Now()
	ours := stamp(now)
	if a, b := binary.BigEndian.Uint64(real[:]), binary.BigEndian.Uint64(ours[:]); b-a > 1 {
		t.Errorf("seconds %x, want %x of wireguard-go's stamp", b, a)
	}
	if d := now.Sub(ours.Time()); d < 0 || d > 17*time.Millisecond {
		t.Errorf("the stamp is %v behind the clock, want less than 16.8 ms", d)
	}
	if real[9]|real[10]|real[11]|ours[9]|ours[10]|ours[11] != 0 {
		t.Errorf("stamps %x and %x: want zeroes at the end", real, ours)
	}
}

func TestWindowIsThatOfWireGuard(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var ours window
		var real replay.Filter
		at := uint64(r.IntN(3))
		for range 2000 {
			n := at + r.Uint64N(200) - min(at, 100)
			switch r.IntN(50) {
			case 0:
				n = at - min(at, uint64(windowBits-2+r.IntN(5)))
			case 1:
				at += r.Uint64N(3 * windowBits)
			default:
				at += r.Uint64N(3)
			}
			if got, want := ours.take(n), real.ValidateCounter(n, RejectAfterMessages); got != want {
				t.Fatalf("counter %d after %d: %v, want %v", n, ours.highest, got, want)
			}
		}
	}
}

// ends are a box and a hub that a script can move, and that keep what they sent.
type ends interface {
	packet(fromBox bool, n int)
	expire()          // the box's keys
	keepalive()       // of the box begins
	settle() []string // what was sent since the last
}

// script runs on true devices and on simulated ones.
func script(e ends) (lines []string) {
	add := func(what string) { lines = append(lines, what+": "+strings.Join(e.settle(), ", ")) }
	e.packet(true, 100)
	add("first")
	e.packet(false, 77)
	add("back")
	for _, n := range []int{40, 41, 48, 49, 1279, 1280, 1408, 1409, 1419, 1420, 1421, 1500, 2840, 2841, 4000} {
		e.packet(true, n)
		add(fmt.Sprint("out ", n))
	}
	e.expire()
	e.packet(true, 64)
	add("expired")
	e.packet(false, 64)
	add("back")
	e.keepalive()
	add("keepalive")
	return lines
}

func TestScriptIsThatOfWireGuard(t *testing.T) {
	t.Parallel()
	real, sim := script(newRealEnds(t)), script(newSimEnds(t))
	for i := range real {
		if real[i] != sim[i] {
			t.Errorf("simulated  %s\nwireguard-go %s", sim[i], real[i])
		}
	}
	if len(real) != len(sim) || !strings.Contains(real[0], "box init 148, hub resp 92, box data 144") {
		t.Errorf("wireguard-go's script begins %q", real[0])
	}
}

type simEnds struct {
	w        *world
	box, hub *node
}

func newSimEnds(t *testing.T) *simEnds {
	w, box, hub := pair(t)
	return &simEnds{w, box, hub}
}

func (e *simEnds) packet(fromBox bool, n int) {
	if fromBox {
		e.w.do(e.box, PacketOut{ping(boxHost, hubHost, n)})
	} else {
		e.w.do(e.hub, PacketOut{ping(hubHost, boxHost, n)})
	}
}

func (e *simEnds) expire()    { e.w.do(e.box, SetEndpoint{e.hub.key, e.hub.at, true}) }
func (e *simEnds) keepalive() { e.w.do(e.box, SetKeepalive{e.hub.key, 25 * time.Second}) }

func (e *simEnds) settle() (out []string) {
	e.w.runTo(e.w.now.Add(200 * time.Millisecond))
	for _, l := range e.w.log {
		who, _, _ := strings.Cut(strings.Fields(l)[1], ">")
		out = append(out, who+" "+strings.Join(strings.Fields(l)[2:], " "))
	}
	e.w.log = nil
	return out
}

type realEnds struct {
	t        *testing.T
	tuns     [2]*tuntest.ChannelTUN // box, hub
	devs     [2]*wg.Device
	hubKey   wgkey.Public
	mu       sync.Mutex
	sent     []string
	lastSent time.Time
}

// listener is a Bind that writes down what is sent.
type listener struct {
	conn.Bind
	e   *realEnds
	who string
}

func (l listener) Send(bufs [][]byte, ep conn.Endpoint) error {
	l.e.mu.Lock()
	for _, b := range bufs {
		l.e.sent = append(l.e.sent, l.who+" "+sort(b))
	}
	l.e.lastSent = time.Now()
	l.e.mu.Unlock()
	return l.Bind.Send(bufs, ep)
}

func newRealEnds(t *testing.T) *realEnds {
	e := &realEnds{t: t}
	keys := [2]wgkey.Private{{0: 8, 31: 0x41}, {0: 16, 31: 0x42}}
	e.hubKey = keys[1].Public()
	binds := bindtest.NewChannelBinds()
	for i, who := range []string{"box", "hub"} {
		e.tuns[i] = tuntest.NewChannelTUN()
		e.devs[i] = wg.NewDevice(e.tuns[i].TUN(), listener{binds[i], e, who}, wg.NewLogger(wg.LogLevelError, ""))
		t.Cleanup(e.devs[i].Close)
	}
	endpoint := [2]string{"127.0.0.1:1", ""} // the number of bindtest's first channel
	allowed := [2]string{"::/0", "2001:db8:1::/64"}
	for i, d := range e.devs {
		text := "private_key=" + keys[i].RevealHex() + "\nlisten_port=0\npublic_key=" + keys[1-i].Public().Hex() + "\nallowed_ip=" + allowed[i] + "\n"
		if endpoint[i] != "" {
			text += "endpoint=" + endpoint[i] + "\n"
		}
		if err := d.IpcSet(text); err != nil {
			t.Fatal(err)
		}
		if err := d.Up(); err != nil {
			t.Fatal(err)
		}
		go func(in <-chan []byte) {
			for range in { // ends when the device is closed
			}
		}(e.tuns[i].Inbound)
	}
	return e
}

func (e *realEnds) packet(fromBox bool, n int) {
	if fromBox {
		e.tuns[0].Outbound <- ping(boxHost, hubHost, n)
	} else {
		e.tuns[1].Outbound <- ping(hubHost, boxHost, n)
	}
}

func (e *realEnds) expire() {
	e.devs[0].LookupPeer(wg.NoisePublicKey(e.hubKey)).ExpireCurrentKeypairs()
}

func (e *realEnds) keepalive() {
	if err := e.devs[0].IpcSet("public_key=" + e.hubKey.Hex() + "\npersistent_keepalive_interval=25\n"); err != nil {
		e.t.Fatal(err)
	}
}

// settle waits until something was sent and then nothing for a while.
func (e *realEnds) settle() []string {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		e.mu.Lock()
		quiet := len(e.sent) > 0 && time.Since(e.lastSent) > 60*time.Millisecond
		e.mu.Unlock()
		if quiet {
			break
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	out := e.sent
	e.sent = nil
	return out
}
