// SPDX-License-Identifier: MIT

package join

import (
	"encoding/binary"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"oasis6/hub/enroll"
	"oasis6/internal/invite"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/wgkey"
	"oasis6/tun"
)

// hubKey is the hub's in these tests; nobody else uses it.
var hubKey = wgkey.Private{0: 0x18, 5: 0x66, 31: 0x43}

// book is the hub's book with its disk, as the hub's loop drives it.
type book struct {
	mu      sync.Mutex
	state   *enroll.State
	content enroll.Content
	disk    map[string][]byte
	full    bool
	secret  uint64
	known   map[wgkey.Public]enroll.Peer // in the device
	changed func(peers []enroll.Peer)    // tells a real device; may be nil
	wall    func() time.Time
}

func newBook(endpoint string) *book {
	b := &book{disk: map[string][]byte{}, wall: time.Now}
	b.content = enroll.Content{Hub: hubKey.Public(), Endpoint: endpoint, BootID: "this"}
	b.start()
	return b
}

// now has Go's clock for the boot clock: it is the bubble's in tests that have one.
func (b *book) now() enroll.Instant {
	return enroll.Instant{Boot: time.Now().Round(0).UTC(), Wall: b.wall()}
}

// start is the start of the hub's process.
func (b *book) start() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state = enroll.New()
	b.do(b.state.Step(b.now(), enroll.SetContent{Content: b.content}))
	var records []enroll.Change
	for k, v := range b.disk {
		records = append(records, enroll.Change{Key: k, Value: v})
	}
	b.do(b.state.Step(b.now(), enroll.Restored{Records: records}))
}

func (b *book) do(a enroll.Actions) (send []enroll.Datagram) {
	if len(a.Commit) > 0 {
		if b.full {
			return b.do(b.state.Step(b.now(), enroll.Saved{}))
		}
		for _, c := range a.Commit {
			if b.disk[c.Key] = c.Value; c.Value == nil {
				delete(b.disk, c.Key)
			}
		}
		b.do(b.state.Step(b.now(), enroll.Saved{OK: true}))
	}
	if a.Peers {
		b.known = map[wgkey.Public]enroll.Peer{}
		for _, p := range b.state.Peers() {
			b.known[p.Key] = p
		}
		if b.changed != nil {
			if len(a.Anew) > 0 {
				b.changed(slices.DeleteFunc(b.state.Peers(), func(p enroll.Peer) bool { return slices.Contains(a.Anew, p.Key) }))
			}
			b.changed(b.state.Peers())
		}
	}
	return a.Send
}

func (b *book) invite(t *testing.T, name string) invite.Invitation {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.secret++
	o := enroll.Order{Name: name, Valid: time.Hour}
	binary.BigEndian.PutUint64(o.Secret[8:], b.secret)
	ticket, a, err := b.state.Invite(b.now(), o)
	if err != nil {
		t.Fatal(err)
	}
	b.do(a)
	i, err := invite.Parse(ticket.Text)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// receive is a datagram to the hub's port; one from a key that the device does not have never comes so far.
func (b *book) receive(from wgkey.Public, data []byte) []enroll.Datagram {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.known[from]; !ok {
		return nil
	}
	return b.do(b.state.Step(b.now(), enroll.Received{From: from, Data: data}))
}

// peers are the names that the device has, invitations in brackets.
func (b *book) peers() map[string]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]bool{}
	for _, p := range b.known {
		if p.Origin == enroll.Invited {
			p.Name = "[" + p.Name + "]"
		}
		out[p.Name] = true
	}
	return out
}

func (b *book) knows(key wgkey.Public) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.known[key]
	return ok && p.Origin == enroll.Joined
}

// realHub is a book behind WireGuard on the loopback interface.
type realHub struct {
	*book
	device *tun.Hub
	end    chan struct{}
	ended  sync.WaitGroup
}

func newRealHub(t *testing.T) *realHub {
	t.Helper()
	device, memory, err := tun.OpenHubMemory(tun.HubConfig{Name: "hub", PrivateKey: hubKey, Port: invite.Port}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	h := &realHub{device: device, end: make(chan struct{})}
	h.book = newBook("127.0.0.1:" + strconv.Itoa(int(device.Snapshot().ListenPort)))
	h.changed = func(peers []enroll.Peer) {
		var sites []tun.Site
		for _, p := range peers {
			sites = append(sites, tun.Site{Public: p.Key, Preshared: p.Preshared, AllowedIPs: []netip.Prefix{netip.PrefixFrom(p.LinkLocal, 128)}})
		}
		if err := device.SetSites(sites); err != nil {
			t.Error(err)
		}
	}
	h.ended.Go(func() {
		for {
			select {
			case ev := <-device.Events():
				h.onEvent(t, ev)
			case <-memory.Packets():
				t.Error("a packet of the onboarding reached the hub's kernel")
			case <-h.end:
				return
			}
		}
	})
	t.Cleanup(func() {
		close(h.end)
		h.ended.Wait()
		if err := device.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *realHub) onEvent(t *testing.T, ev tun.Event) {
	r, ok := ev.(tun.Received)
	if !ok {
		return
	}
	d, err := ip6pkt.ParseUDP(r.Packet)
	if err != nil || d.Dst.Port() != invite.Port {
		t.Errorf("received %x, %v", r.Packet, err)
		return
	}
	for _, a := range h.receive(r.Site, d.Payload) {
		p := ip6pkt.UDP(hubKey.Public().LinkLocal(), a.To.LinkLocal(), invite.Port, invite.Port, hopLimit, a.Data)
		if err := h.device.Send(p); err != nil {
			t.Error(err)
		}
	}
}
