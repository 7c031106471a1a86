// SPDX-License-Identifier: MIT

package tun

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

type fakeBind struct {
	conn.Bind
	sendErr, recvErr error
	in               [][]byte
	ep               conn.Endpoint
}

func (f *fakeBind) Send([][]byte, conn.Endpoint) error { return f.sendErr }
func (f *fakeBind) BatchSize() int                     { return 128 }
func (f *fakeBind) Open(uint16) ([]conn.ReceiveFunc, uint16, error) {
	return []conn.ReceiveFunc{func(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		for i, p := range f.in {
			sizes[i] = copy(packets[i], p)
			eps[i] = f.ep
		}
		return len(f.in), f.recvErr
	}}, 51820, nil
}

type fakeEndpoint struct {
	conn.Endpoint
	cleared int
}

func (e *fakeEndpoint) ClearSrc() { e.cleared++ }

func message(typ byte, n int) []byte { b := make([]byte, n); b[0] = typ; return b }

func got(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestObserverCountsWhatLeaves(t *testing.T) {
	o := newObserver(&fakeBind{})
	err := o.Send([][]byte{message(4, 32), message(4, 48), message(4, 1452), message(1, 148), message(2, 92), message(3, 64)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d, k, i := o.dataSent.Load(), o.keepalivesSent.Load(), o.initiationsSent.Load(); d != 2 || k != 1 || i != 1 {
		t.Errorf("data %d, keepalives %d, initiations %d, want 2, 1, 1", d, k, i)
	}
	if got(o.activity) {
		t.Error("activity without being asked")
	}
	o.watch.Store(true)
	_ = o.Send([][]byte{message(4, 32)}, nil)
	if got(o.activity) {
		t.Error("a keepalive is no activity")
	}
	_ = o.Send([][]byte{message(4, 48)}, nil)
	_ = o.Send([][]byte{message(4, 48)}, nil)
	if !got(o.activity) || got(o.activity) {
		t.Error("want exactly one activity")
	}
}

func TestObserverHintsAtHandshakes(t *testing.T) {
	f := &fakeBind{ep: &fakeEndpoint{}}
	o := newObserver(f)
	fns, _, err := o.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	bufs, sizes, eps := make([][]byte, 4), make([]int, 4), make([]conn.Endpoint, 4)
	for i := range bufs {
		bufs[i] = make([]byte, 2048)
	}
	receive := func(in ...[]byte) bool {
		f.in = in
		if _, err := fns[0](bufs, sizes, eps); err != nil {
			t.Fatal(err)
		}
		return got(o.handshakeHint)
	}
	for _, c := range []struct {
		name string
		in   []byte
		want bool
	}{
		{"data in a session", message(4, 100), false},
		{"response", message(2, 92), true},
		{"initiation", message(1, 148), false},
		{"first data after it", message(4, 32), true},
		{"second data after it", message(4, 32), false},
		{"too short", message(2, 31), false},
		{"cookie", message(3, 64), false},
	} {
		if hint := receive(c.in); hint != c.want {
			t.Errorf("%s: hint %v, want %v", c.name, hint, c.want)
		}
	}
	if d, r, i := o.dataSeen.Load(), o.responsesSeen.Load(), o.initiationsSeen.Load(); d != 3 || r != 1 || i != 1 {
		t.Errorf("seen: data %d, responses %d, initiations %d, want 3, 1, 1", d, r, i)
	}
	// The source is never pinned, so a new address on the WAN is used at once.
	if n := f.ep.(*fakeEndpoint).cleared; n != 6 {
		t.Errorf("source cleared %d times, want 6", n)
	}
}

func TestObserverAsksForNewSocketsOnlyWhenTheyHelp(t *testing.T) {
	f := &fakeBind{sendErr: unix.ENETUNREACH}
	o := newObserver(f)
	for range 10 {
		_ = o.Send([][]byte{message(4, 48)}, nil)
	}
	if got(o.trouble) || o.broken.Load() {
		t.Error("no route: asks for new sockets")
	}
	if o.lastErr() == "" {
		t.Error("no route: no error to show")
	}
	f.sendErr = nil
	_ = o.Send([][]byte{message(4, 48)}, nil)
	if o.lastErr() != "" {
		t.Errorf("sending works again but shows %q", o.lastErr())
	}
	f.sendErr = unix.EINVAL
	for i := range maxBindErrors {
		if got(o.trouble) {
			t.Errorf("asks for new sockets after %d errors", i)
		}
		_ = o.Send([][]byte{message(4, 48)}, nil)
	}
	if !got(o.trouble) || !o.broken.Load() {
		t.Errorf("does not ask for new sockets after %d errors", maxBindErrors)
	}
	if _, _, err := o.Open(0); err != nil || o.broken.Load() {
		t.Error("still broken after Open")
	}
	f.sendErr = conn.ErrUDPGSODisabled{}
	for range maxBindErrors {
		if err := o.Send([][]byte{message(4, 48)}, nil); !errors.As(err, &conn.ErrUDPGSODisabled{}) {
			t.Errorf("Send = %v, want it passed through", err)
		}
	}
	if got(o.trouble) {
		t.Error("the notice of offload turned off counts as an error")
	}
}

func TestObserverReceiveErrors(t *testing.T) {
	f := &fakeBind{recvErr: net.ErrClosed}
	o := newObserver(f)
	fns, _, _ := o.Open(0)
	if _, err := fns[0](nil, nil, nil); !errors.Is(err, net.ErrClosed) || got(o.trouble) {
		t.Error("closing is trouble, or is not passed through")
	}
	f.recvErr = unix.EIO
	if _, err := fns[0](nil, nil, nil); !errors.Is(err, unix.EIO) || !got(o.trouble) || !o.broken.Load() {
		t.Error("an error that makes wireguard-go deaf does not ask for new sockets")
	}
}

func TestObserverAllocatesNothing(t *testing.T) {
	f := &fakeBind{ep: &conn.StdNetEndpoint{AddrPort: netip.MustParseAddrPort("198.51.100.2:51820")}, in: [][]byte{message(4, 100), message(4, 32)}}
	o := newObserver(f)
	fns, _, _ := o.Open(0)
	bufs, sizes, eps := [][]byte{make([]byte, 200), make([]byte, 200)}, make([]int, 2), make([]conn.Endpoint, 2)
	out := [][]byte{message(4, 100), message(4, 1452)}
	if n := testing.AllocsPerRun(100, func() { _ = o.Send(out, f.ep) }); n != 0 {
		t.Errorf("Send: %v allocations, want 0", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = fns[0](bufs, sizes, eps) }); n != 0 {
		t.Errorf("receive: %v allocations, want 0", n)
	}
	if o.BatchSize() != 128 {
		t.Errorf("BatchSize = %d, want the inner one", o.BatchSize())
	}
}
