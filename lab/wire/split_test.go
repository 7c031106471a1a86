// SPDX-License-Identifier: MIT

package wire

import (
	"strings"
	"testing"
	"time"

	"oasis6/lab/engine"
)

func TestSplitSortsByType(t *testing.T) {
	e := engine.New(engine.Config{Seed: 1})
	w := New(e, Config{ID: "w"}, [2]string{"a", "b"}, [2][6]byte{mac(1), mac(2)})
	rest, v6 := Split(w.Port(1))
	var a listener
	a.attach(w.Port(0))
	var got []string
	var ups int
	take := func(name string) func([]byte) {
		return func(f []byte) { got = append(got, name+string(f[Header:])) }
	}
	rest.Attach(take("rest "), func(bool) { ups++ })
	v6.Attach(take("v6 "), func(bool) { ups++ })
	old := frame(mac(2), mac(1), "b")
	old[12], old[13] = 0x08, 0x00
	for _, f := range [][]byte{frame(mac(2), mac(1), "a"), old} {
		if err := w.Port(0).Send(f); err != nil {
			t.Error(err)
		}
	}
	run(t, e, time.Second)
	w.SetUp(false)
	w.SetUp(true)
	run(t, e, time.Second)
	if err := v6.Close(); err != nil {
		t.Error(err)
	}
	for _, f := range [][]byte{frame(mac(2), mac(1), "c"), append([]byte(nil), old...)} {
		if err := w.Port(0).Send(f); err != nil {
			t.Error(err)
		}
	}
	run(t, e, time.Second)
	if s := strings.Join(got, ", "); s != "v6 a, rest b, rest b" || ups != 4 {
		t.Errorf("%s; %d changes of the carrier, want 4", s, ups)
	}
	if err := rest.Send(frame(mac(1), mac(2), "d")); err != nil {
		t.Error(err)
	}
	run(t, e, time.Second)
	if strings.Join(a.got, ",") != "d" {
		t.Errorf("the other end has %v", a.got)
	}
}
