// SPDX-License-Identifier: MIT

package trial

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"

	"oasis6/internal/ip6pkt"
)

// The search finds what a linear one finds, asks for what the box uses first, and for at most a dozen sizes.
func TestSearch(t *testing.T) {
	for _, r := range []struct{ first, top int }{{1420, 1440}, {1280, 1280}, {1420, 1420}, {1280, 1432}, {1412, 1412}, {8920, 8940}, {1300, 1200}} {
		for limit := 1270; limit <= r.top+10; limit++ {
			s := newSearch(minMTU, r.first, r.top)
			asked := 0
			for {
				n, more := s.next()
				if !more {
					break
				}
				if asked++; asked == 1 && n != min(r.first, max(r.top, minMTU)) && r.first <= r.top {
					t.Fatalf("%v: first asks for %d", r, n)
				}
				s.result(n, n <= limit)
			}
			best, ok := s.best()
			if want := min(limit, max(r.top, minMTU)); ok != (limit >= minMTU) || ok && best != want {
				t.Fatalf("%v, limit %d: %d, %v, want %d", r, limit, best, ok, want)
			}
			if asked > 16 {
				t.Fatalf("%v, limit %d: asks for %d sizes", r, limit, asked)
			}
		}
	}
}

// Whatever ICMP says, the search ends, and what it finds has passed.
func FuzzSearch(f *testing.F) {
	f.Add(1400, 1420, 1440, 1390, 1500)
	f.Add(1279, 1280, 1200, 0, 1280)
	f.Fuzz(func(t *testing.T, limit, first, top, told, later int) {
		first, top = min(max(first, minMTU), maxProbe), min(max(top, minMTU), maxProbe)
		s := newSearch(minMTU, min(first, top), top)
		passed := map[int]bool{}
		for i := 0; ; i++ {
			n, more := s.next()
			if !more {
				break
			}
			if n < minMTU || n > top || i > 50 {
				t.Fatalf("asks for %d, as number %d", n, i)
			}
			passed[n] = n <= limit
			s.result(n, n <= limit)
			if n > limit {
				s.told(told)
				told = later
			}
		}
		if best, ok := s.best(); ok && !passed[best] {
			t.Errorf("best %d has not passed", best)
		}
	})
}

func FuzzEchoReply(f *testing.F) {
	w := &world{t: nil, packets: make(chan []byte, 1), answersCut: 1280}
	body := make([]byte, 1400)
	body[0], body[4], body[5], body[7] = ip6pkt.TypeEchoReply, echoID>>8, echoID&0xff, 9
	whole := ip6pkt.ICMPv6(dnsAt, wwwAt, 64, body)
	f.Add(whole)
	w.echoed(ip6pkt.Message{Src: wwwAt, Dst: dnsAt, Body: body})
	f.Add(<-w.packets)
	f.Fuzz(func(t *testing.T, pkt []byte) {
		before := bytes.Clone(pkt)
		_, _, piece, ok := echoReply(pkt)
		if !bytes.Equal(before, pkt) || piece > len(pkt) || !ok && piece != 0 {
			t.Errorf("piece %d, %v", piece, ok)
		}
		_, _ = unreachable(pkt, dnsAt, wwwAt)
		_ = portClosed(pkt, dnsAt, wwwAt, 547)
	})
}

func TestEchoReplyInPieces(t *testing.T) {
	w := &world{packets: make(chan []byte, 1), answersCut: 1280}
	body := make([]byte, 1400)
	body[4], body[5], body[6], body[7] = echoID>>8, echoID&0xff, 1, 2
	w.echoed(ip6pkt.Message{Src: wwwAt, Dst: dnsAt, Body: body})
	pkt := <-w.packets
	src, seq, piece, ok := echoReply(pkt)
	if !ok || src != dnsAt || seq != 0x102 || piece != len(pkt) || piece != 48+1232 {
		t.Errorf("first fragment: %s, %d, %d octets, %v", src, seq, piece, ok)
	}
	pkt[43] = 8 // not the first
	if _, _, _, ok := echoReply(pkt); ok {
		t.Error("another fragment is a reply")
	}
}

func query(t testing.TB) *dnsQuery {
	t.Helper()
	name, err := dnsmessage.NewName("www.example.")
	if err != nil {
		t.Fatal(err)
	}
	return &dnsQuery{
		from: netip.AddrPortFrom(wwwAt, 50000), to: netip.AddrPortFrom(dnsAt, dnsPort), id: 7,
		question: dnsmessage.Question{Name: name, Type: dnsmessage.TypeAAAA, Class: dnsmessage.ClassINET},
	}
}

func answer(t testing.TB, change func(*dnsmessage.Message)) []byte {
	t.Helper()
	q := query(t).question
	m := dnsmessage.Message{
		Header: dnsmessage.Header{ID: 7, Response: true}, Questions: []dnsmessage.Question{q},
		Answers: []dnsmessage.Resource{
			{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: &dnsmessage.CNAMEResource{CNAME: q.Name}},
			{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: &dnsmessage.AAAAResource{AAAA: wwwAt.As16()}},
		},
	}
	change(&m)
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDNSAnswerIsToOurQuestion(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*dnsmessage.Message)
		taken  bool
	}{
		"right":            {func(*dnsmessage.Message) {}, true},
		"in other letters": {func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("WWW.Example.") }, true},
		"another id":       {func(m *dnsmessage.Message) { m.ID = 8 }, false},
		"no response":      {func(m *dnsmessage.Message) { m.Response = false }, false},
		"another name":     {func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("wwx.example.") }, false},
		"another type":     {func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeA }, false},
		"no question":      {func(m *dnsmessage.Message) { m.Questions = nil }, false},
	} {
		d := query(t)
		d.message(answer(t, c.change))
		if d.answered != c.taken || c.taken && (len(d.answers) != 1 || d.answers[0] != wwwAt) {
			t.Errorf("%s: answered %v, %v", name, d.answered, d.answers)
		}
	}
}

func FuzzDNSMessage(f *testing.F) {
	f.Add(answer(f, func(*dnsmessage.Message) {}))
	f.Add(answer(f, func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeNameError }))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := query(t)
		d.message(b)
		if len(d.answers) > maxAnswers || len(d.answers) > 0 && !d.answered {
			t.Errorf("%d answers, answered %v", len(d.answers), d.answered)
		}
	})
}

func FuzzPage(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	f.Add("HTTP/1.0 404\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		var p page
		p.read(strings.NewReader(text))
		if p.err == nil && (p.status == "" || p.code < 100) || p.octets > int64(len(text)) || len(p.status) > maxStatus {
			t.Errorf("%+v", p)
		}
	})
}

func TestStepIsFitForATerminal(t *testing.T) {
	s := Step{N: 1, Name: "x", State: Failed, Text: "a\x1b[2Jb\nc", Notes: []string{"d\u202ee"}, Advice: []string{"f", "g"}}
	want := "1. x          FAILED          0s  a?[2Jb; c\n      note: d?e\n      what to do:\n      1) f\n      2) g\n"
	if got := s.String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Two hosts speak TCP with each other, one of them at the other's MTU.
func TestHosts(t *testing.T) {
	var server Host
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var longest atomic.Int64
	client, err := NewHost(wwwAt, 1300, func(pkt []byte) error {
		if n := int64(len(pkt)); n > longest.Load() { // one goroutine sends
			longest.Store(n)
		}
		server.Deliver(pkt)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err = NewHost(dnsAt, 1500, func(pkt []byte) error { client.Deliver(pkt); return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	ln, err := listen(server.(*host), 80)
	if err != nil {
		t.Fatal(err)
	}
	const size = 200_000
	served := make(chan error, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			served <- err
			return
		}
		n, err := io.Copy(io.Discard, io.LimitReader(conn, size))
		if err == nil && n != size {
			err = fmt.Errorf("%d octets arrive", n)
		}
		served <- err
	}()
	conn, err := client.DialTCP(ctx, netip.AddrPortFrom(dnsAt, 80))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if n := longest.Load(); n > 1300 || n < 1200 {
		t.Errorf("packets of up to %d octets, want the MTU's 1300", n)
	}
	if _, err := client.DialTCP(ctx, netip.AddrPortFrom(dnsAt, 81)); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a closed port: %v", err)
	}
}

func listen(h *host, port uint16) (net.Listener, error) {
	return gonet.ListenTCP(h.stack, tcpip.FullAddress{NIC: hostNIC, Addr: tcpip.AddrFromSlice(h.addr.AsSlice()), Port: port}, ipv6.ProtocolNumber)
}
