// SPDX-License-Identifier: MIT

package host

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"oasis6/lab/engine"
	"oasis6/lab/wire"
)

// A host that is plugged in configures itself, asks for a name and gets the page from the server, which sees its address.
func TestHostFetchesByName(t *testing.T) {
	w := newWorld(t, 1, Config{})
	w.advertise(w.content(lanA))
	w.until("an address", func() bool { return in(w.a, lanA, Preferred) != nil })
	if took := w.e.Now().Sub(t0); took > 5*time.Second {
		t.Errorf("configured after %v", took)
	}
	v := w.a.View()
	ll := netip.MustParseAddr("fe80::200:5eff:fe00:5305")
	if len(v.DNS) != 1 || v.DNS[0].Addr.String() != dnsAddr || v.DNS[0].From != (Giver{ll, mac(5)}) {
		t.Errorf("DNS: %+v", v.DNS)
	}
	p := w.fetch(w.a, "http://www/", FetchOptions{})
	if p.Err != nil || p.Status != 200 {
		t.Fatalf("%+v", p)
	}
	own := in(w.a, lanA, Preferred)
	want := "This is server. You came by IPv6, from " + own.Prefix.Addr().String() + ".\n"
	if string(p.Body) != want {
		t.Errorf("%s, want %s", p.Body, want)
	}
	if len(own.From) != 1 || own.From[0] != v.DNS[0].From {
		t.Errorf("the address is from %v", own.From)
	}
	if p.Attempts[0].Source != own.Prefix.Addr() {
		t.Errorf("%+v", p.Attempts)
	}
}

// What crosses all wires, octet by octet and instant by instant, depends on the seed alone.
func TestSameSeedSameFrames(t *testing.T) {
	run := func(seed uint64) ([32]byte, int) {
		w := newWorld4(t, seed)
		w.run(5 * time.Second)
		if p := w.fetch(w.a, "http://both.example.net/octets/20000", FetchOptions{}); p.Err != nil || !p.Attempts[0].Source.Is4() {
			t.Fatalf("%+v", p)
		}
		w.advertise(w.content(lanA))
		w.until("an address", func() bool { return in(w.a, lanA, Preferred) != nil })
		if p := w.fetch(w.a, "http://www.example.net/octets/200000", FetchOptions{}); p.Err != nil || p.Octets != 200_000 {
			t.Fatalf("%+v", p)
		}
		w.advertise(w.content(lanB))
		w.run(10 * time.Minute)
		w.lan[0].SetUp(false)
		w.run(time.Second)
		w.lan[0].SetUp(true)
		w.run(time.Minute)
		w.a.Close()
		w.server.Close()
		return w.hash, w.frames
	}
	first, n := run(1)
	for range 20 {
		if again, m := run(1); again != first {
			t.Fatalf("same seed, other frames: %d and %d", n, m)
		}
	}
	if other, _ := run(2); other == first {
		t.Error("another seed, same frames")
	}
	t.Logf("%d frames, %x", n, first[:4])
}

// A dozen stacks are a lab; what they leave behind is nothing.
func TestStacksAreSmallAndEnd(t *testing.T) {
	used := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // pools keep what they have for one more round
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc + m.StackInuse)
	}
	before := used()
	goroutines := runtime.NumGoroutine()
	e := engine.New(engine.Config{Start: t0})
	var hosts []*Host
	for i := range 12 {
		x := wire.New(e, wire.Config{ID: fmt.Sprint(i)}, [2]string{"a", "b"}, [2][6]byte{mac(byte(2 * i)), mac(byte(2*i + 1))})
		h, err := New(e, Config{Name: fmt.Sprint(i), Port: x.Port(0), Autoconf: true, IPv4: netip.MustParsePrefix("192.168.1.10/24")})
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	if err := e.RunFor(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	size := (used() - before) >> 10
	if t.Logf("%d kB for 12 hosts", size); size > 20<<10 {
		t.Errorf("12 hosts have %d kB", size)
	}
	for _, h := range hosts {
		h.Close()
	}
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines are left, there were %d", runtime.NumGoroutine(), goroutines)
		}
	}
}

func TestLinkLocalIsDerived(t *testing.T) {
	if got := linkLocal(mac(1)).String(); got != "fe80::200:5eff:fe00:5301/64" {
		t.Error(got)
	}
}
