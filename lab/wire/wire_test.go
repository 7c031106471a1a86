// SPDX-License-Identifier: MIT

package wire

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"oasis6/lab/engine"
)

func mac(n byte) [6]byte { return [6]byte{0x00, 0x00, 0x5e, 0x00, 0x53, n} }

func frame(dst, src [6]byte, text string) []byte {
	f := append(append([]byte(nil), dst[:]...), src[:]...)
	return append(append(f, 0x86, 0xdd), text...)
}

type listener struct {
	got []string
	ups []bool
}

func (l *listener) attach(p *Port) {
	p.Attach(func(f []byte) { l.got = append(l.got, string(f[Header:])) }, func(up bool) { l.ups = append(l.ups, up) })
}

func run(t *testing.T, e *engine.Engine, d time.Duration) {
	t.Helper()
	if err := e.RunFor(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

func TestWireCarriesDelaysAndDrops(t *testing.T) {
	e := engine.New(engine.Config{Seed: 1})
	w := New(e, Config{ID: "w", Delay: 5 * time.Millisecond, MTU: 20}, [2]string{"a", "b"}, [2][6]byte{mac(1), mac(2)})
	var a, b listener
	if err := w.Port(0).Send(frame(mac(2), mac(1), "early")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a port that nobody has taken sends: %v", err)
	}
	a.attach(w.Port(0))
	b.attach(w.Port(1))
	var why []string
	w.Tap(func(p *Passage) { why = append(why, p.From+p.To+p.Dropped) })
	send := func(text string) {
		t.Helper()
		if err := w.Port(0).Send(frame(mac(2), mac(1), text)); err != nil {
			t.Error(err)
		}
	}
	send("one")
	send("two")
	run(t, e, 4*time.Millisecond)
	if len(b.got) != 0 {
		t.Error("arrives too early")
	}
	run(t, e, 2*time.Millisecond)
	if strings.Join(b.got, " ") != "one two" {
		t.Errorf("arrived: %v", b.got)
	}
	send(strings.Repeat("x", 21))
	run(t, e, time.Second)
	w.SetFilter(func(from *Port, _ []byte) string { return "from " + from.Node() })
	send("filtered")
	run(t, e, time.Second)
	w.SetFilter(nil)
	send("on its way")
	run(t, e, time.Millisecond)
	w.SetUp(false)
	send("down")
	run(t, e, time.Second)
	w.SetUp(true)
	w.SetUp(true)
	send("back")
	run(t, e, time.Second)
	if strings.Join(b.got, " ") != "one two back" {
		t.Errorf("arrived: %v", b.got)
	}
	if len(a.ups) != 2 || a.ups[0] || !a.ups[1] || len(b.ups) != 2 {
		t.Errorf("carrier: %v, %v", a.ups, b.ups)
	}
	want := "ab ab ab21 octets do not fit: the MTU of this wire is 20 abfrom a ab abthe cable is not plugged in ab"
	if got := strings.Join(why, " "); got != want {
		t.Errorf("seen: %s\nwant: %s", got, want)
	}
	if err := w.Port(0).Send([]byte("short")); err == nil {
		t.Error("a frame without a header is sent")
	}
}

func TestLossIsOfTheSeed(t *testing.T) {
	lost := func(seed uint64) (pattern string) {
		e := engine.New(engine.Config{Seed: seed})
		w := New(e, Config{ID: "w"}, [2]string{"a", "b"}, [2][6]byte{mac(1), mac(2)})
		var a listener
		a.attach(w.Port(0))
		w.SetLoss(0.3)
		n := 0
		w.Tap(func(p *Passage) {
			if p.Dropped != "" {
				n++
				pattern += "x"
			} else {
				pattern += "."
			}
		})
		for range 1000 {
			if err := w.Port(0).Send(frame(mac(2), mac(1), "")); err != nil {
				t.Error(err)
			}
		}
		run(t, e, time.Second)
		if n < 200 || n > 400 {
			t.Errorf("%d of 1000 lost, want about 300", n)
		}
		return pattern
	}
	first, again := lost(1), lost(1)
	if first != again || first == lost(2) {
		t.Error("losses do not depend on the seed alone")
	}
}

func TestSwitchLearns(t *testing.T) {
	e := engine.New(engine.Config{Seed: 1})
	var ends [3]listener
	var wires [3]*Wire
	s := NewSwitch(e)
	for i := range wires {
		wires[i] = New(e, Config{ID: string(rune('a' + i))}, [2]string{"host", "switch"}, [2][6]byte{mac(byte(i)), mac(byte(0x10 + i))})
		ends[i].attach(wires[i].Port(0))
		s.Plug(wires[i].Port(1))
	}
	send := func(from int, dst [6]byte, text string) {
		t.Helper()
		if err := wires[from].Port(0).Send(frame(dst, mac(byte(from)), text)); err != nil {
			t.Error(err)
		}
		run(t, e, time.Second)
	}
	got := func() string {
		return strings.Join(ends[0].got, " ") + "|" + strings.Join(ends[1].got, " ") + "|" + strings.Join(ends[2].got, " ")
	}
	send(0, mac(1), "1") // unknown: to all
	send(1, mac(0), "2") // known
	send(0, mac(1), "3")
	send(0, [6]byte{0x33, 0x33, 0, 0, 0, 1}, "4")
	send(0, mac(0), "5") // where it came from
	if want := "2|1 3 4|1 4"; got() != want {
		t.Errorf("%s, want %s", got(), want)
	}
	wires[1].SetUp(false) // forgotten
	run(t, e, time.Second)
	send(2, mac(1), "6")
	if want := "2 6|1 3 4|1 4"; got() != want {
		t.Errorf("%s, want %s", got(), want)
	}
	run(t, e, learntFor)
	send(2, mac(0), "7") // too long ago
	wires[1].SetUp(true)
	run(t, e, time.Second)
	send(2, mac(0), "8")
	if want := "2 6 7 8|1 3 4 8|1 4"; got() != want {
		t.Errorf("%s, want %s", got(), want)
	}
}
