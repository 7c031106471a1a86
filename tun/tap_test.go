// SPDX-License-Identifier: MIT

package tun

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	wgtun "golang.zx2c4.com/wireguard/tun"

	"oasis6/internal/ip6pkt"
)

var (
	boxLL   = netip.MustParseAddr("fe80::9d23:9a19:b6c6:9d7c")
	hubLL   = netip.MustParseAddr("fe80::1")
	hostGUA = netip.MustParseAddr("2001:db8:ebbd:990a::10")
	farGUA  = netip.MustParseAddr("2001:db8:1::1")
	unspec  = netip.IPv6Unspecified()
	allRtrs = netip.MustParseAddr("ff02::2")
	allDHCP = netip.MustParseAddr("ff02::1:2")
)

// fakeTun is a tun.Device on a pipe, so that deadlines are the real ones of the runtime's poller.
type fakeTun struct {
	r, w    *os.File
	events  chan wgtun.Event
	mu      sync.Mutex
	written [][]byte
	fail    []error // given by the next Reads
}

func newFakeTun(t testing.TB) *fakeTun {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return &fakeTun{r: r, w: w, events: make(chan wgtun.Event, 5)}
}

func (f *fakeTun) File() *os.File { return f.r }
func (f *fakeTun) Read(bufs [][]byte, sizes []int, off int) (int, error) {
	f.mu.Lock()
	if len(f.fail) > 0 {
		err := f.fail[0]
		f.fail = f.fail[1:]
		f.mu.Unlock()
		return 0, err
	}
	f.mu.Unlock()
	n, err := f.r.Read(bufs[0][off:])
	if err != nil {
		return 0, err
	}
	sizes[0] = n
	return 1, nil
}
func (f *fakeTun) Write(bufs [][]byte, off int) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range bufs {
		f.written = append(f.written, bytes.Clone(b[off:]))
	}
	return len(bufs), nil
}
func (f *fakeTun) MTU() (int, error)          { return 1420, nil }
func (f *fakeTun) Name() (string, error)      { return "oasis0", nil }
func (f *fakeTun) Events() <-chan wgtun.Event { return f.events }
func (f *fakeTun) BatchSize() int             { return 4 }
func (f *fakeTun) Close() error {
	close(f.events)
	return errors.Join(f.r.Close(), f.w.Close())
}

const offset = 16

func buf(p []byte) []byte { return append(make([]byte, offset), p...) }

func nd(src, dst netip.Addr, hop uint8, typ byte) []byte {
	return ip6pkt.ICMPv6(src, dst, hop, []byte{typ, 0, 0, 0, 0, 0, 0, 0})
}

// withHopByHop puts 8 octets of hop-by-hop options with Router Alert in front of an ICMPv6 message.
func withHopByHop(pkt []byte) []byte {
	p := append(bytes.Clone(pkt[:40]), 58, 0, 5, 2, 0, 0, 1, 0)
	p = append(p, pkt[40:]...)
	p[6], p[5] = 0, p[5]+8
	return p
}

func TestForUs(t *testing.T) {
	ext := withHopByHop(nd(hubLL, boxLL, 255, 134))
	frag := ip6pkt.UDP(hubLL, boxLL, 547, 546, 1, nil)
	frag[6] = 44
	v4 := ip6pkt.UDP(hubLL, boxLL, 547, 546, 1, nil)
	v4[0] = 0x45
	self := &own{addr: boxLL, port: 4001}
	for _, c := range []struct {
		name string
		pkt  []byte
		want bool
	}{
		{"our own port", ip6pkt.UDP(hubLL, boxLL, 1024, 4001, 64, []byte{7}), true},
		{"our own port elsewhere", ip6pkt.UDP(hubLL, allDHCP, 1024, 4001, 64, []byte{7}), false},
		{"from our own port", ip6pkt.UDP(hubLL, boxLL, 4001, 1024, 64, []byte{7}), false},
		{"DHCPv6 to our link-local", ip6pkt.UDP(hubLL, boxLL, 547, 546, 1, []byte{7}), true},
		{"DHCPv6 without payload", ip6pkt.UDP(hubLL, boxLL, 547, 546, 1, nil), true},
		{"DHCPv6 to all agents", ip6pkt.UDP(hubLL, allDHCP, 546, 547, 1, []byte{1}), true},
		{"DHCPv6 to site scope", ip6pkt.UDP(hubLL, netip.MustParseAddr("ff05::1:3"), 546, 547, 1, nil), false},
		{"DHCPv6 being forwarded to a host", ip6pkt.UDP(farGUA, hostGUA, 547, 546, 60, []byte{7}), false},
		{"DHCPv6 to another link-local", ip6pkt.UDP(hubLL, netip.MustParseAddr("fe80::2"), 547, 546, 1, nil), false},
		{"port 546 as source only", ip6pkt.UDP(hubLL, boxLL, 546, 53, 1, nil), false},
		{"DNS to our link-local", ip6pkt.UDP(hubLL, boxLL, 1024, 53, 64, nil), false},
		{"RA to all nodes", nd(hubLL, netip.MustParseAddr("ff02::1"), 255, 134), true},
		{"RA to us", nd(hubLL, boxLL, 255, 134), true},
		{"RS", nd(hubLL, allRtrs, 255, 133), true},
		{"NS to solicited-node", nd(hubLL, netip.MustParseAddr("ff02::1:ffc6:9d7c"), 255, 135), true},
		{"Redirect", nd(hubLL, boxLL, 255, 137), true},
		{"RA with hop limit 254", nd(hubLL, boxLL, 254, 134), false},
		{"NS to a host", nd(farGUA, hostGUA, 255, 135), false},
		{"echo request to us", nd(hubLL, boxLL, 255, 128), false},
		{"MLD query", nd(hubLL, allRtrs, 255, 130), false},
		{"type 138", nd(hubLL, boxLL, 255, 138), false},
		{"ND behind an extension header", ext, false},
		{"fragment", frag, false},
		{"version 4", v4, false},
		{"TCP", append([]byte{0x60, 0, 0, 0, 0, 20, 6, 64}, make([]byte, 52)...), false},
		{"short", nd(hubLL, boxLL, 255, 134)[:47], false},
		{"empty", nil, false},
	} {
		if got := forUs(c.pkt, self); got != c.want {
			t.Errorf("%s: forUs = %v, want %v", c.name, got, c.want)
		}
	}
	if forUs(ip6pkt.UDP(hubLL, boxLL, 1024, 0, 64, nil), &own{addr: boxLL}) {
		t.Error("without a port of our own, port 0 is taken")
	}
}

func TestKernelSpeaks(t *testing.T) {
	kernelLL := netip.MustParseAddr("fe80::aaaa")
	for _, c := range []struct {
		name string
		pkt  []byte
		want bool
	}{
		{"RS from link-local", nd(kernelLL, allRtrs, 255, 133), true},
		{"RS from ::", nd(unspec, allRtrs, 255, 133), true},
		{"DAD", nd(unspec, netip.MustParseAddr("ff02::1:ff00:1"), 255, 135), true},
		{"MLDv2 report", withHopByHop(nd(kernelLL, netip.MustParseAddr("ff02::16"), 1, 143)), true},
		{"MLDv1 report from ::", withHopByHop(nd(unspec, allRtrs, 1, 131)), true},
		{"DHCPv6 client on the box", ip6pkt.UDP(kernelLL, allDHCP, 546, 547, 1, []byte{1}), true},
		{"DHCPv6 server on the box", ip6pkt.UDP(kernelLL, hubLL, 547, 546, 1, []byte{1}), true},
		{"ping from link-local", nd(kernelLL, hubLL, 64, 128), false},
		{"echo reply from link-local", nd(kernelLL, hubLL, 64, 129), false},
		{"BGP or so from link-local", ip6pkt.UDP(kernelLL, hubLL, 521, 521, 255, nil), false},
		{"DHCPv6 relayed from a GUA", ip6pkt.UDP(hostGUA, farGUA, 547, 547, 64, []byte{12}), false},
		{"host's NS to a global address", nd(hostGUA, farGUA, 255, 135), false},
		{"echo with hop-by-hop", withHopByHop(nd(kernelLL, hubLL, 64, 128)), false},
		{"short", nd(kernelLL, allRtrs, 255, 133)[:47], false},
	} {
		if got := kernelSpeaks(c.pkt); got != c.want {
			t.Errorf("%s: kernelSpeaks = %v, want %v", c.name, got, c.want)
		}
	}
}

func TestTapWriteTakesOursAndKeepsTheOrder(t *testing.T) {
	f := newFakeTun(t)
	var got [][]byte
	tap := NewTap(f, boxLL, func(p []byte) { got = append(got, bytes.Clone(p)) })
	defer func() { _ = tap.Close() }()
	data := func(i byte) []byte { return ip6pkt.UDP(farGUA, hostGUA, 443, uint16(i), 60, []byte{i}) }
	reply := ip6pkt.UDP(hubLL, boxLL, 547, 546, 1, []byte{7})
	ra := nd(hubLL, boxLL, 255, 134)
	for _, batch := range [][][]byte{{data(1), reply, data(2), ra, data(3)}, {reply}, {reply, data(4)}, {data(5)}, {data(6), ra}} {
		var bufs [][]byte
		for _, p := range batch {
			bufs = append(bufs, buf(p))
		}
		if _, err := tap.Write(bufs, offset); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != 5 || !bytes.Equal(got[0], reply) || !bytes.Equal(got[1], ra) {
		t.Errorf("taken %d packets, want 5: %x", len(got), got)
	}
	if len(f.written) != 6 {
		t.Fatalf("%d packets to the kernel, want 6", len(f.written))
	}
	for i, p := range f.written {
		if !bytes.Equal(p, data(byte(i+1))) {
			t.Errorf("packet %d to the kernel is %x", i+1, p)
		}
	}
	tap.SetSelf(netip.MustParseAddr("fe80::2%oasis0"))
	if _, err := tap.Write([][]byte{buf(reply)}, offset); err != nil || len(f.written) != 7 {
		t.Errorf("a packet to an address that is ours no more is taken")
	}
}

func readBufs() ([][]byte, []int) {
	bufs, sizes := make([][]byte, 4), make([]int, 4)
	for i := range bufs {
		bufs[i] = make([]byte, 2048)
	}
	return bufs, sizes
}

// Many injectors against a reader that is mostly blocked: every packet comes out, none twice.
func TestInjectLosesNoWakeUp(t *testing.T) {
	f := newFakeTun(t)
	tap := NewTap(f, boxLL, func([]byte) {})
	const senders, each = 8, 500
	got := make(chan byte, senders*each)
	done := make(chan error, 1)
	go func() {
		bufs, sizes := readBufs()
		for {
			n, err := tap.Read(bufs, sizes, offset)
			if err != nil {
				done <- err
				return
			}
			for i := range n {
				if sizes[i] > 0 {
					got <- bufs[i][offset+sizes[i]-1]
				}
			}
		}
	}()
	for s := range senders {
		go func() {
			for i := 0; i < each; {
				err := tap.Inject(ip6pkt.UDP(boxLL, hubLL, 546, 547, 1, []byte{byte(s)}))
				if err == nil {
					i++
				} else if !errors.Is(err, ErrQueueFull) {
					t.Error(err)
					return
				}
			}
		}()
	}
	count := map[byte]int{}
	for range senders * each {
		select {
		case s := <-got:
			count[s]++
		case <-time.After(20 * time.Second):
			t.Fatalf("lost a wake-up: got %v", count)
		}
	}
	for s := range senders {
		if count[byte(s)] != each {
			t.Errorf("sender %d: %d packets, want %d", s, count[byte(s)], each)
		}
	}
	_ = tap.Close()
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read after Close = %v, want os.ErrClosed", err)
	}
	if err := tap.Inject([]byte{0x60}); err == nil {
		t.Error("Inject after Close says nothing")
	}
}

func TestTapReadSilencesTheKernel(t *testing.T) {
	f := newFakeTun(t)
	tap := NewTap(f, boxLL, func([]byte) {})
	defer func() { _ = tap.Close() }()
	bufs, sizes := readBufs()
	if _, err := f.w.Write(nd(boxLL, allRtrs, 255, 133)); err != nil {
		t.Fatal(err)
	}
	if n, err := tap.Read(bufs, sizes, offset); n != 1 || err != nil || sizes[0] != 0 {
		t.Errorf("the kernel's RS: Read = %d, %v, size %d, want size 0", n, err, sizes[0])
	}
	want := ip6pkt.UDP(hostGUA, farGUA, 1, 2, 64, nil)
	if _, err := f.w.Write(want); err != nil {
		t.Fatal(err)
	}
	if n, err := tap.Read(bufs, sizes, offset); n != 1 || err != nil || !bytes.Equal(bufs[0][offset:offset+sizes[0]], want) {
		t.Errorf("a host's packet does not pass: %d, %v", n, err)
	}
	rs := nd(boxLL, allRtrs, 255, 133) // our own, injected: passes
	if err := tap.Inject(rs); err != nil {
		t.Fatal(err)
	}
	if n, err := tap.Read(bufs, sizes, offset); n != 1 || err != nil || !bytes.Equal(bufs[0][offset:offset+sizes[0]], rs) {
		t.Errorf("our own RS does not pass: %d, %v", n, err)
	}
}

func TestInjectQueueIsBounded(t *testing.T) {
	tap := NewTap(newFakeTun(t), boxLL, func([]byte) {})
	defer func() { _ = tap.Close() }()
	for i := range injectQueue {
		if err := tap.Inject([]byte{0x60}); err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
	}
	if err := tap.Inject([]byte{0x60}); !errors.Is(err, ErrQueueFull) {
		t.Errorf("one too many: %v, want ErrQueueFull", err)
	}
}

// An overrun of the library's netlink socket must not end the tunnel; the end of the file must.
func TestTapReadPassesOverWhatIsNotTheFiles(t *testing.T) {
	f := newFakeTun(t)
	f.fail = []error{fmt.Errorf("failed to receive netlink message: %w", os.NewSyscallError("recvmsg", errors.New("no buffer space"))), errors.New("unsupported virtio GSO type: 132")}
	tap := NewTap(f, boxLL, func([]byte) {})
	defer func() { _ = tap.Close() }()
	bufs, sizes := readBufs()
	if _, err := f.w.Write(ip6pkt.UDP(hostGUA, farGUA, 1, 2, 64, nil)); err != nil {
		t.Fatal(err)
	}
	if n, err := tap.Read(bufs, sizes, offset); n != 1 || err != nil {
		t.Errorf("Read = %d, %v, want the packet", n, err)
	}
	f.fail = []error{wgtun.ErrTooManySegments}
	if _, err := tap.Read(bufs, sizes, offset); !errors.Is(err, wgtun.ErrTooManySegments) {
		t.Errorf("Read = %v, want ErrTooManySegments, which wireguard-go knows", err)
	}
	f.fail = []error{&os.PathError{Op: "read", Path: cloneDevice, Err: errors.New("bad address")}}
	if _, err := tap.Read(bufs, sizes, offset); err == nil {
		t.Error("an error of the file is passed over")
	}
	for range 2 * maxBadReads {
		f.fail = append(f.fail, errors.New("again"))
	}
	if _, err := tap.Read(bufs, sizes, offset); err == nil {
		t.Error("an endless row of errors is passed over for ever")
	}
}

func TestTapEventsCarryOnlyTheMTU(t *testing.T) {
	f := newFakeTun(t)
	tap := NewTap(f, boxLL, func([]byte) {})
	f.events <- wgtun.EventUp
	f.events <- wgtun.EventDown
	f.events <- wgtun.EventMTUUpdate
	if ev := <-tap.Events(); ev != wgtun.EventMTUUpdate {
		t.Errorf("event %v, want EventMTUUpdate only", ev)
	}
	_ = tap.Close()
	if ev, ok := <-tap.Events(); ok {
		t.Errorf("event %v after Close, want the end", ev)
	}
}

type nullTun struct{ *fakeTun }

func (nullTun) Write(bufs [][]byte, _ int) (int, error) { return len(bufs), nil }
func (nullTun) Read(bufs [][]byte, sizes []int, off int) (int, error) {
	for i := range bufs {
		sizes[i] = len(bufs[i]) - off
	}
	return len(bufs), nil
}

func dataBatch(n int) [][]byte {
	var bufs [][]byte
	for i := range n {
		bufs = append(bufs, buf(ip6pkt.UDP(farGUA, hostGUA, 443, uint16(i), 60, make([]byte, 1300))))
	}
	return bufs
}

func TestTapAllocatesNothingForOthers(t *testing.T) {
	tap := NewTap(nullTun{newFakeTun(t)}, boxLL, func([]byte) {})
	defer func() { _ = tap.Close() }()
	bufs, sizes := dataBatch(45), make([]int, 45)
	if n := testing.AllocsPerRun(100, func() { _, _ = tap.Write(bufs, offset) }); n != 0 {
		t.Errorf("Write: %v allocations per batch, want 0", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = tap.Read(bufs, sizes, offset) }); n != 0 {
		t.Errorf("Read: %v allocations per batch, want 0", n)
	}
}

func BenchmarkTapWrite45(b *testing.B) {
	tap := NewTap(nullTun{newFakeTun(b)}, boxLL, func([]byte) {})
	defer func() { _ = tap.Close() }()
	bufs := dataBatch(45)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = tap.Write(bufs, offset)
	}
}

func BenchmarkTapRead45(b *testing.B) {
	tap := NewTap(nullTun{newFakeTun(b)}, boxLL, func([]byte) {})
	defer func() { _ = tap.Close() }()
	bufs, sizes := dataBatch(45), make([]int, 45)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = tap.Read(bufs, sizes, offset)
	}
}

// Whatever the peer or the kernel sends: no panic, and what is taken is what ip6pkt calls UDP or ICMPv6.
func FuzzControl(f *testing.F) {
	f.Add(ip6pkt.UDP(hubLL, boxLL, 547, 546, 1, []byte{7}))
	f.Add(withHopByHop(nd(hubLL, allRtrs, 1, 143)))
	f.Fuzz(func(t *testing.T, p []byte) {
		if forUs(p, &own{addr: boxLL}) && p[6] != 17 && p[6] != 58 {
			t.Errorf("takes next header %d", p[6])
		}
		if kernelSpeaks(p) && p[8] != 0xfe && p[8] != 0 {
			t.Errorf("silences source %x", p[8:24])
		}
	})
}
