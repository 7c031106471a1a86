// SPDX-License-Identifier: MIT

package dnsprobe

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"
)

// server answers each datagram with what reply makes of it, nothing for nil.
func server(t *testing.T, reply func([]byte) []byte) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = conn.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if r := reply(append([]byte(nil), buf[:n]...)); r != nil {
				_, _ = conn.WriteToUDPAddrPort(r, from) // the test sees that nothing came
			}
		}
	}()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func servfail(q []byte) []byte {
	q[2], q[3] = q[2]|0x80, 2
	return q
}

func TestAnswers(t *testing.T) {
	first := true
	for _, c := range []struct {
		name  string
		reply func([]byte) []byte
		want  bool
	}{
		{"SERVFAIL is an answer", servfail, true},
		{"a lost datagram", func(q []byte) []byte {
			if first {
				first = false
				return nil
			}
			return servfail(q)
		}, true},
		{"REFUSED", func(q []byte) []byte { q[2], q[3] = q[2]|0x80, 5; return q }, false},
		{"NOTIMP", func(q []byte) []byte { q[2], q[3] = q[2]|0x80, 4; return q }, false},
		{"NXDOMAIN", func(q []byte) []byte { q[2], q[3] = q[2]|0x80, 3; return q }, true},
		{"silence", func([]byte) []byte { return nil }, false},
		{"an echo is no answer", func(q []byte) []byte { return q }, false},
		{"another id", func(q []byte) []byte { q[0]++; return servfail(q) }, false},
		{"too short", func(q []byte) []byte { return servfail(q)[:11] }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // they wait for what does not come
			ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
			defer cancel()
			if got := Answers(ctx, server(t, c.reply)); got != c.want {
				t.Errorf("Answers = %v, want %v", got, c.want)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Fatal(err)
	}
	at := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if Answers(t.Context(), at) {
		t.Error("a closed port answers")
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("it took %v to see that nobody listens", d)
	}
}
