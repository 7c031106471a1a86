// SPDX-License-Identifier: MIT

package tun

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

// openBind is an open hubBind, and what each of its receive functions gives.
func openBind(t *testing.T) (b *hubBind, port uint16, came chan datagramFrom) {
	t.Helper()
	b, came = &hubBind{}, make(chan datagramFrom, 1024)
	fns, port, err := b.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	for _, fn := range fns {
		go func() {
			defer func() { done <- struct{}{} }()
			bufs, sizes, eps := make([][]byte, b.BatchSize()), make([]int, b.BatchSize()), make([]conn.Endpoint, b.BatchSize())
			for i := range bufs {
				bufs[i] = make([]byte, 1<<16)
			}
			for {
				n, err := fn(bufs, sizes, eps)
				if err != nil {
					if !errors.Is(err, net.ErrClosed) {
						t.Errorf("receive: %v, want net.ErrClosed", err)
					}
					return
				}
				for i := range n {
					came <- datagramFrom{bytes.Clone(bufs[i][:sizes[i]]), eps[i]}
				}
			}
		}()
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		for range fns {
			<-done
		}
	})
	return b, port, came
}

type datagramFrom struct {
	data []byte
	ep   conn.Endpoint
}

// Whatever address of ours a site asks, the answer comes from there, also when the kernel has joined what came, and what leaves.
func TestHubBindAnswersFromTheAddressAsked(t *testing.T) {
	b, port, came := openBind(t)
	for _, addr := range []string{"127.0.0.1", "127.0.0.2", "127.9.9.9", "::1"} {
		hub := netip.AddrPortFrom(netip.MustParseAddr(addr), port)
		site, _, answers := openBind(t)
		to, err := site.ParseEndpoint(hub.String())
		if err != nil {
			t.Fatal(err)
		}
		var sent [][]byte
		for i := range 200 { // of two sizes: some are joined, some are not
			sent = append(sent, bytes.Repeat([]byte{byte(i)}, 100+i/90))
		}
		if err := site.Send(sent, to); err != nil {
			t.Fatal(err)
		}
		var ep conn.Endpoint
		for i, want := range sent {
			d := <-came
			if !bytes.Equal(d.data, want) || d.ep.SrcIP() != hub.Addr() || d.ep.SrcToString() != addr {
				t.Fatalf("datagram %d to %s: came to %s with %d octets, want %d", i, addr, d.ep.SrcIP(), len(d.data), len(want))
			}
			ep = d.ep
		}
		ep.ClearSrc() // as wireguard-go does with new sockets: others may be sending
		if err := b.Send(sent, ep); err != nil {
			t.Fatal(err)
		}
		for i, want := range sent {
			if d := <-answers; !bytes.Equal(d.data, want) || d.ep.DstToString() != hub.String() {
				t.Fatalf("answer %d of %s comes from %s with %d octets, want %d", i, addr, d.ep.DstToString(), len(d.data), len(want))
			}
		}
	}
}

// An address that is not here any more does not keep anything back.
func TestHubBindForgetsASourceThatIsGone(t *testing.T) {
	b, _, _ := openBind(t)
	_, port, came := openBind(t)
	for _, tc := range []struct{ to, src string }{{"127.0.0.1", "192.0.2.77"}, {"::1", "2001:db8::77"}} {
		ep := newHubEndpoint(netip.AddrPortFrom(netip.MustParseAddr(tc.to), port), netip.MustParseAddr(tc.src))
		if err := b.Send([][]byte{{1}, {2}, {3}}, ep); err != nil {
			t.Errorf("from %s: %v", tc.src, err)
			continue
		}
		for range 3 {
			if d := <-came; d.ep.DstIP().String() != tc.to {
				t.Errorf("comes from %s, want %s", d.ep.DstIP(), tc.to)
			}
		}
	}
}

func TestHubBindRefuses(t *testing.T) {
	b, port, _ := openBind(t)
	if _, _, err := b.Open(0); !errors.Is(err, conn.ErrBindAlreadyOpen) {
		t.Errorf("open twice: %v", err)
	}
	other := &hubBind{}
	if _, _, err := other.Open(port); !errors.Is(err, unix.EADDRINUSE) || other.v4 != nil || other.v6 != nil {
		t.Errorf("a port that is taken: %v", err)
	}
	if err := b.Send(nil, &mark{}); !errors.Is(err, conn.ErrWrongEndpointType) {
		t.Errorf("another's endpoint: %v", err)
	}
	if _, err := b.ParseEndpoint("192.0.2.1"); err == nil {
		t.Error("an endpoint without a port")
	}
	if ep, _ := other.ParseEndpoint("192.0.2.1:9"); !errors.Is(other.Send([][]byte{{1}}, ep), unix.EAFNOSUPPORT) {
		t.Error("a closed one sends")
	}
}

// fakeBatch is a socket that gives what is in it, and refuses what refuse says.
type fakeBatch struct {
	in     []ipv6.Message
	refuse func([]ipv6.Message) error
	out    []int // sizes of what left, as the peer gets it
	calls  int
}

func (f *fakeBatch) ReadBatch(msgs []ipv6.Message, _ int) (int, error) {
	n := min(len(msgs), len(f.in))
	for i := range n {
		msgs[i].N, msgs[i].NN = copy(msgs[i].Buffers[0], f.in[i].Buffers[0]), copy(msgs[i].OOB, f.in[i].OOB)
		msgs[i].Addr = f.in[i].Addr
	}
	f.in = f.in[n:]
	return n, nil
}

func (f *fakeBatch) WriteBatch(msgs []ipv6.Message, _ int) (int, error) {
	f.calls++
	if f.refuse != nil {
		if err := f.refuse(msgs); err != nil {
			return -1, err
		}
	}
	n := (len(msgs) + 1) / 2 // the kernel may take a part
	for _, m := range msgs[:n] {
		for _, b := range m.Buffers {
			f.out = append(f.out, len(b))
		}
	}
	return n, nil
}

// joined says whether some are.
func joined(msgs []ipv6.Message) bool {
	return slices.ContainsFunc(msgs, func(m ipv6.Message) bool { return len(m.Buffers) > 1 })
}

func TestHubSenderJoins(t *testing.T) {
	to := netip.MustParseAddrPort("192.0.2.1:9")
	refuse := func(err error) func([]ipv6.Message) error {
		return func(msgs []ipv6.Message) error {
			if joined(msgs) {
				return err
			}
			return nil
		}
	}
	many := slices.Repeat([]int{1452}, 300)
	for _, tc := range []struct {
		what       string
		sizes      []int
		refuse     func([]ipv6.Message) error
		mostCalls  int
		joinsAfter bool
	}{
		{"one", []int{100}, nil, 1, true},
		{"of one size, the last shorter", []int{100, 100, 50}, nil, 1, true},
		{"shorter ones between", []int{100, 50, 100, 100, 0, 7}, nil, 4, true},
		{"more than joinedMax and a batch", many, nil, 15, true},
		{"the path's MTU is less", many, refuse(unix.EINVAL), 40, true},
		{"no checksums", many, refuse(unix.EIO), 40, false},
	} {
		f := &fakeBatch{refuse: tc.refuse}
		s := newHubSender(f, true)
		var bufs [][]byte
		for _, n := range tc.sizes {
			bufs = append(bufs, make([]byte, n))
		}
		if err := s.send(bufs, to, nil); err != nil {
			t.Errorf("%s: %v", tc.what, err)
		}
		if !slices.Equal(f.out, tc.sizes) || f.calls > tc.mostCalls || s.joins.Load() != tc.joinsAfter {
			t.Errorf("%s: %d calls, joins %v, %v, want %v", tc.what, f.calls, s.joins.Load(), f.out, tc.sizes)
		}
	}
	f := &fakeBatch{refuse: func([]ipv6.Message) error { return unix.EPERM }}
	if err := newHubSender(f, true).send([][]byte{{1}}, to, nil); !errors.Is(err, unix.EPERM) || f.calls != 1 {
		t.Errorf("refused: %v after %d calls", err, f.calls)
	}
}

// arrivalOf is what the kernel says of a datagram; with a part of 0 it is not joined.
func arrivalOf(dst string, part uint32) []byte {
	b := pinTo(netip.MustParseAddr(dst))
	if part == 0 {
		return b
	}
	return appendControl(b, unix.IPPROTO_UDP, unix.UDP_GRO, binary.NativeEndian.AppendUint32(nil, part))
}

func TestHubReceiverTakesJoinedDatagramsApart(t *testing.T) {
	from := &net.UDPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 7}
	message := func(n int, oob []byte) ipv6.Message {
		return ipv6.Message{Buffers: [][]byte{bytes.Repeat([]byte{7}, n)}, OOB: oob, Addr: from}
	}
	f := &fakeBatch{in: []ipv6.Message{
		message(64*100, arrivalOf("192.0.2.1", 100)), message(63*100+1, arrivalOf("192.0.2.2", 100)),
		message(90*10, arrivalOf("192.0.2.1", 10)), message(50, arrivalOf("192.0.2.1", 0)),
		message(0, nil), message(9, []byte{1, 2, 3}),
	}}
	r := newHubReceiver(f, true)
	packets, sizes, eps := make([][]byte, 128), make([]int, 128), make([]conn.Endpoint, 128)
	for i := range packets {
		packets[i] = make([]byte, 1<<16)
	}
	want := [][]int{
		append(slices.Repeat([]int{100}, 127), 1),
		append(slices.Repeat([]int{10}, 90), 50),
		{9},
	}
	for i, want := range want {
		n, err := r.receive(packets, sizes, eps)
		if err != nil || !slices.Equal(sizes[:n], want) {
			t.Errorf("receive %d: %v, %v, want %v", i, err, sizes[:n], want)
		}
		for j := range n {
			if eps[j].DstToString() != "192.0.2.9:7" || packets[j][sizes[j]-1] != 7 {
				t.Errorf("receive %d: part %d is from %s", i, j, eps[j].DstToString())
			}
		}
	}
}

func FuzzParseControl(f *testing.F) {
	f.Add(pinTo(netip.MustParseAddr("192.0.2.1")))
	f.Add(appendPart(pinTo(netip.MustParseAddr("2001:db8::1")), 1452))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c := parseControl(b); c.part < 0 || c.part > 0xffff || c.dst.IsMulticast() {
			t.Errorf("parseControl(%x) = %+v", b, c)
		}
	})
}

func TestPinAndParse(t *testing.T) {
	for _, addr := range []string{"192.0.2.1", "2001:db8::1", "fe80::1"} {
		a := netip.MustParseAddr(addr)
		if c := parseControl(appendPart(pinTo(a), 9)); c != (arrival{dst: a}) {
			t.Errorf("parseControl(pinTo(%s)) = %+v", a, c)
		}
	}
	for _, addr := range []string{"224.0.0.1", "ff02::1", "::", "0.0.0.0"} {
		pin := pinTo(netip.MustParseAddr(addr))
		for _, b := range [][]byte{pin, append(pin, make([]byte, unix.SizeofCmsghdr)...)} { // a message of no length is none
			if c := parseControl(b); c.dst.IsValid() {
				t.Errorf("answers would come from %s by %x", addr, b)
			}
		}
	}
	if pinTo(netip.Addr{}) != nil {
		t.Error("a control message for no address")
	}
}

func TestHubBindAllocatesNothing(t *testing.T) {
	f := &fakeBatch{}
	s := newHubSender(f, true)
	bufs := slices.Repeat([][]byte{make([]byte, 1452)}, 100)
	ep := newHubEndpoint(netip.MustParseAddrPort("192.0.2.1:9"), netip.MustParseAddr("192.0.2.2"))
	f.out = make([]int, 0, 1<<20)
	b := s.pool.Get().(*outBatch) // under the race detector the pool forgets
	if n := testing.AllocsPerRun(100, func() {
		b.setAddr(ep.to)
		_ = s.write(b.msgs[:b.fill(bufs, ep.pinned, true)])
	}); n != 0 {
		t.Errorf("send: %v allocations, want 0", n)
	}
	if n := testing.AllocsPerRun(100, func() { parseControl(ep.pinned) }); n != 0 {
		t.Errorf("parseControl: %v allocations, want 0", n)
	}
}

// A batch of full datagrams over loopback, by the hub's sockets and by those of wireguard-go.
func BenchmarkBatch(b *testing.B) {
	for name, open := range map[string]func() conn.Bind{"hub": func() conn.Bind { return &hubBind{} }, "wireguard-go": conn.NewStdNetBind} {
		b.Run(name, func(b *testing.B) {
			from, to := open(), open()
			if _, _, err := from.Open(0); err != nil {
				b.Fatal(err)
			}
			fns, port, err := to.Open(0)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = errors.Join(from.Close(), to.Close()) }()
			ep, err := from.ParseEndpoint(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port).String())
			if err != nil {
				b.Fatal(err)
			}
			n := to.BatchSize()
			out, in, sizes, eps := make([][]byte, n), make([][]byte, n), make([]int, n), make([]conn.Endpoint, n)
			for i := range in {
				in[i], out[i] = make([]byte, 1<<16), make([]byte, 1452, 1<<16) // as wireguard-go's are: it joins in place
			}
			b.SetBytes(int64(n * 1452))
			for b.Loop() {
				if err := from.Send(out, ep); err != nil {
					b.Fatal(err)
				}
				for got := 0; got < n; {
					k, err := fns[0](in, sizes, eps)
					if err != nil {
						b.Fatal(err)
					}
					got += k
				}
			}
		})
	}
}
