// SPDX-License-Identifier: MIT

package join

import (
	"bytes"
	"net"
	"testing"
	"time"

	"oasis6/hub/enroll"
)

// Lengths of WireGuard's handshake messages.
const (
	initiationLen = 148
	responseLen   = 92
)

// relay stands between box and hub and keeps the first initiation that it sees.
func relay(t *testing.T, hub string) (endpoint string, first <-chan []byte) {
	t.Helper()
	front, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.Dial("udp", hub)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = front.Close(); _ = back.Close() })
	seen, boxes := make(chan []byte, 1), make(chan net.Addr, 1)
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := front.ReadFrom(b)
			if err != nil {
				return
			}
			select {
			case <-boxes:
			default:
			}
			boxes <- from
			if n == initiationLen {
				select {
				case seen <- bytes.Clone(b[:n]):
				default:
				}
			}
			_, _ = back.Write(b[:n]) // UDP
		}
	}()
	go func() {
		b := make([]byte, 2048)
		for {
			n, err := back.Read(b)
			if err != nil {
				return
			}
			to := <-boxes
			_, _ = front.WriteTo(b[:n], to) // UDP
			select {
			case boxes <- to:
			default:
			}
		}
	}()
	return front.LocalAddr().String(), seen
}

// answered says whether the hub answers an initiation with a response.
func answered(t *testing.T, hub string, initiation []byte) bool {
	t.Helper()
	c, err := net.Dial("udp", hub)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write(initiation); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2048)
	n, err := c.Read(b)
	return err == nil && n == responseLen
}

// A box whose clock went back sends initiations with a time before the last one's, which WireGuard drops: so does an old one
// that is sent again. When the book has had the temporary peer made anew, the hub takes it.
func TestHubForgetsTheTimeOfAnOldSession(t *testing.T) {
	h := newRealHub(t)
	inv := h.invite(t, "library")
	hub := inv.Endpoint
	temporary := inv.Keys().Private.Public()
	endpoint, first := relay(t, hub)
	inv.Endpoint = endpoint
	// The box gets its answer, but its own key never comes to the hub, so the temporary peer stays.
	m := newMachine(t)
	j := &joining{Options: m.Options, inv: inv, keys: inv.Keys()}
	j.open = openMemory
	if err := j.prepare(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.admitted(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := <-first
	if answered(t, hub, old) {
		t.Fatal("WireGuard answers an initiation with a time that is not after the last one's: this test shows nothing")
	}
	h.mu.Lock()
	h.do(h.state.Step(h.now(), enroll.Seen{Key: temporary, Age: enroll.SessionOver}))
	h.mu.Unlock()
	if !answered(t, hub, old) {
		t.Error("the hub still knows the time of the session that is over")
	}
}
