// SPDX-License-Identifier: MIT

package tun

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	wgtun "golang.zx2c4.com/wireguard/tun"

	"oasis6/internal/ip6pkt"
	"oasis6/internal/netlab"
	"oasis6/internal/wgkey"
)

// noLeaks fails the test if goroutines are left after all that it closes. Call it first.
func noLeaks(t *testing.T) {
	t.Helper()
	idle := runtime.NumGoroutine()
	t.Cleanup(func() {
		if !netlab.Poll(soon, func() bool { return runtime.NumGoroutine() <= idle }) {
			buf := make([]byte, 1<<16)
			t.Errorf("%d goroutines are left, want %d\n%s", runtime.NumGoroutine(), idle, buf[:runtime.Stack(buf, true)])
		}
	})
}

// loopback is where an end in this process is reached.
func loopback(port uint16) string { return "127.0.0.1:" + strconv.Itoa(int(port)) }

func openMemory(t *testing.T, cfg Config) (*Tunnel, *Memory) {
	t.Helper()
	tunnel, m, err := OpenMemory(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tunnel.Close() })
	return tunnel, m
}

// next waits for a packet.
func next(t *testing.T, c <-chan []byte) []byte {
	t.Helper()
	select {
	case p := <-c:
		return p
	case <-time.After(soon):
		t.Fatal("no packet came")
		return nil
	}
}

// event waits for one that is wanted and passes over the others.
func event[E Event](t *testing.T, c <-chan Event) E {
	t.Helper()
	late := time.After(soon)
	for {
		select {
		case ev := <-c:
			if e, ok := ev.(E); ok {
				return e
			}
		case <-late:
			var want E
			t.Fatalf("no event %T", want)
		}
	}
}

// Two ends in one process: what one host sends, the other's host gets, and what is for the box itself comes as an event.
func TestMemoryEndsSpeakToEachOther(t *testing.T) {
	noLeaks(t)
	hub, hubHost := openMemory(t, Config{Name: "hub", PrivateKey: testHub, Peer: Peer{Public: testBox.Public()}})
	cfg := Config{Name: "join", PrivateKey: testBox, Peer: Peer{Public: testHub.Public(), Endpoint: loopback(hub.Snapshot().ListenPort)}}
	box, boxHost := openMemory(t, cfg)
	if at := event[Handshake](t, box.Events()).At; at.IsZero() {
		t.Error("a handshake at no time")
	}
	from, to := testBox.Public().LinkLocal(), testHub.Public().LinkLocal()

	there := ip6pkt.UDP(from, to, 1, 9, 64, []byte("there"))
	if err := boxHost.Send(there); err != nil {
		t.Fatal(err)
	}
	if p := next(t, hubHost.Packets()); !bytes.Equal(p, there) {
		t.Errorf("the hub's host gets %x, want %x", p, there)
	}
	back := ip6pkt.UDP(to, from, 9, 1, 64, []byte("back"))
	if err := hub.Send(back); err != nil { // injected by the tap, in front of the host's
		t.Fatal(err)
	}
	if p := next(t, boxHost.Packets()); !bytes.Equal(p, back) {
		t.Errorf("the box's host gets %x, want %x", p, back)
	}
	if err := errors.Join(boxHost.Send(ip6pkt.UDP(from, to, 546, 547, 1, []byte("host"))), // silenced, as a kernel's
		box.Send(ip6pkt.UDP(from, to, 546, 547, 1, []byte("dhcp")))); err != nil {
		t.Fatal(err)
	}
	if p := event[Received](t, hub.Events()).Packet; !bytes.HasSuffix(p, []byte("dhcp")) {
		t.Fatalf("the hub takes %x out", p)
	}
	if s := box.Snapshot(); s.Interface != "join" || !s.Endpoint.IsValid() || s.HandshakeAge < 0 {
		t.Errorf("Snapshot = %+v", s)
	}
	_ = box.Close()
	select {
	case <-boxHost.Done():
	default:
		t.Error("not Done after Close")
	}
	if err := boxHost.Send(there); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Send after Close = %v, want os.ErrClosed", err)
	}
}

// Both queues are bounded and neither side ever waits for the other.
func TestMemoryQueuesAreBounded(t *testing.T) {
	m := NewMemory("join", 1420)
	pkt := ip6pkt.UDP(boxLL, hubLL, 1, 2, 64, nil)
	for i := range memoryQueue {
		if err := m.Send(pkt); err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
	}
	if err := m.Send(pkt); !errors.Is(err, ErrQueueFull) {
		t.Errorf("one too many: %v, want ErrQueueFull", err)
	}
	if err := m.Send(pkt[:39]); err == nil || errors.Is(err, ErrQueueFull) {
		t.Errorf("39 octets: %v, want them refused", err)
	}
	for range memoryQueue + 1 {
		if n, err := m.Write([][]byte{buf(pkt)}, offset); n != 1 || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	if n := len(m.Packets()); n != memoryQueue {
		t.Errorf("%d packets wait, want %d", n, memoryQueue)
	}
	bufs, sizes := readBufs()
	if n, err := m.Read(bufs, sizes, offset); n != len(bufs) || err != nil || sizes[0] != len(pkt) {
		t.Errorf("Read = %d, %v, want a whole batch", n, err)
	}
	_ = m.Close()
	_ = m.Close()
	if _, err := m.Write([][]byte{buf(pkt)}, offset); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Write after Close = %v, want os.ErrClosed", err)
	}
}

// A wake-up that was taken back wakes nobody.
func TestMemoryDeadline(t *testing.T) {
	var d wgtun.Device = NewMemory("join", 1420)
	m := d.(*Memory)
	defer func() { _ = m.Close() }()
	bufs, sizes := readBufs()
	if err := errors.Join(m.SetReadDeadline(longAgo()), m.SetReadDeadline(longAgo())); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Read(bufs, sizes, offset); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read = %v, want os.ErrDeadlineExceeded", err)
	}
	if err := errors.Join(m.SetReadDeadline(longAgo()), m.SetReadDeadline(time.Time{})); err != nil {
		t.Fatal(err)
	}
	if err := m.Send(ip6pkt.UDP(boxLL, hubLL, 1, 2, 64, nil)); err != nil {
		t.Fatal(err)
	}
	if n, err := m.Read(bufs, sizes, offset); n != 1 || err != nil {
		t.Errorf("Read = %d, %v, want the packet", n, err)
	}
}

func TestOpenMemoryRefusesWhatOpenRefuses(t *testing.T) {
	noLeaks(t)
	if _, _, err := OpenMemory(Config{Name: "join"}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no key, no peer: no error")
	}
	first, _ := openMemory(t, Config{Name: "a", PrivateKey: testHub, Peer: Peer{Public: testBox.Public()}})
	taken := Config{Name: "b", PrivateKey: testBox, ListenPort: first.Snapshot().ListenPort, Peer: Peer{Public: wgkey.Private{1}.Public(), LinkLocal: netip.MustParseAddr("fe80::7")}}
	if _, _, err := OpenMemory(taken, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("the port is taken: no error")
	}
}
