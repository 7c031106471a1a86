// SPDX-License-Identifier: MIT

package host

import (
	"net/netip"
	"testing"
	"time"
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

func TestSameSeedSameFrames(t *testing.T) {
	run := func(seed uint64) ([32]byte, int) {
		w := newWorld(t, seed, Config{})
		w.advertise(w.content(lanA))
		w.until("addresses", func() bool { return in(w.a, lanA, Preferred) != nil && in(w.b, lanA, Preferred) != nil })
		for _, h := range []*Host{w.a, w.b} {
			if p := w.fetch(h, "http://www.example.net/octets/200000", FetchOptions{}); p.Err != nil || p.Octets != 200_000 {
				t.Fatalf("%+v", p)
			}
		}
		w.run(10 * time.Minute)
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
	t.Logf("%d frames", n)
}

func TestLinkLocalIsDerived(t *testing.T) {
	if got := linkLocal(mac(1)).String(); got != "fe80::200:5eff:fe00:5301/64" {
		t.Error(got)
	}
}
