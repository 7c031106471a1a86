// SPDX-License-Identifier: MIT

package host

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	httpPort = 80
	echoPort = 7
	// patience is how long a server waits for a client.
	patience = 30 * time.Second
	// longest is how long it sends to one.
	longest = 10 * time.Minute
	// maxOctets bounds what /octets/N gives.
	maxOctets = 64 << 20
	zoneTTL   = 60
)

// Request is what a client of the web server wants.
type Request struct {
	Path string
	From netip.AddrPort
}

// Greeting is the page that the web server has if nothing else is said: it tells the client how it is seen. /octets/N is
// N octets long.
func (h *Host) Greeting(r Request) (status int, body []byte) {
	if n, ok := strings.CutPrefix(r.Path, "/octets/"); ok {
		if n, err := strconv.Atoi(n); err == nil && n >= 0 && n <= maxOctets {
			return 200, bytes.Repeat([]byte("0123456789abcde\n"), n/16+1)[:n]
		}
		return 404, []byte("no such page\n")
	}
	family := "IPv6"
	if r.From.Addr().Is4() {
		family = "IPv4"
	}
	return 200, fmt.Appendf(nil, "This is %s. You came by %s, from %v.\n", h.cfg.Name, family, r.From.Addr())
}

// ServeWeb answers HTTP on port 80 of all addresses. handler nil: Greeting.
func (h *Host) ServeWeb(handler func(Request) (status int, body []byte)) error {
	if handler == nil {
		handler = h.Greeting
	}
	return h.each(httpPort, func(local netip.AddrPort) error {
		return h.listenTCP(local, func(s *stream, from netip.AddrPort) { serveHTTP(s, from, handler) })
	})
}

// each calls f for the families that the host has.
func (h *Host) each(port uint16, f func(netip.AddrPort) error) error {
	if err := f(netip.AddrPortFrom(netip.IPv6Unspecified(), port)); err != nil {
		return err
	}
	if !h.cfg.IPv4.IsValid() {
		return nil
	}
	return f(netip.AddrPortFrom(netip.IPv4Unspecified(), port))
}

func serveHTTP(s *stream, from netip.AddrPort, handler func(Request) (int, []byte)) {
	var head []byte
	answered := false
	s.timer = s.h.e.AfterFunc(patience, s.close)
	s.onData = func(b []byte) {
		head = append(head, b...)
		if answered || !bytes.Contains(head, []byte("\r\n\r\n")) {
			if len(head) > maxHead {
				s.timer.Stop()
				s.close()
			}
			return
		}
		answered = true
		s.timer.Reset(longest)
		status, body := 400, []byte("not a request\n")
		if f := strings.Fields(string(head)); len(f) >= 3 && f[0] == "GET" {
			status, body = handler(Request{Path: f[1], From: from})
		}
		text := map[int]string{200: "OK", 400: "Bad Request", 404: "Not Found"}[status]
		s.send(fmt.Appendf(nil, "HTTP/1.0 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", status, text, len(body), body), true)
	}
	s.onEnd = func(error) {
		s.timer.Stop()
		s.close()
	}
}

// Zone is what a DNS server knows: names without a trailing dot, in lower case.
type Zone map[string][]netip.Addr

// ServeDNS answers questions for AAAA and A records. The zone may change.
func (h *Host) ServeDNS(zone Zone) error {
	return h.each(dnsPort, func(local netip.AddrPort) error {
		_, err := h.listenUDP(local, func(b []byte, _ netip.AddrPort, answer func([]byte)) {
			if a := zone.answer(b); a != nil {
				answer(a)
			}
		})
		return err
	})
}

// answer is what is said to a question; nil: nothing.
func (z Zone) answer(b []byte) []byte {
	var q dnsmessage.Message
	if q.Unpack(b) != nil || q.Response || len(q.Questions) != 1 {
		return nil
	}
	m := dnsmessage.Message{Header: q.Header, Questions: q.Questions}
	m.Response, m.RecursionAvailable, m.Authoritative = true, true, true
	name := strings.ToLower(strings.TrimSuffix(q.Questions[0].Name.String(), "."))
	addrs, known := z[name]
	if !known {
		m.RCode = dnsmessage.RCodeNameError
	}
	h := dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: zoneTTL}
	for _, a := range addrs {
		switch {
		case a.Is6() && q.Questions[0].Type == dnsmessage.TypeAAAA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		case a.Is4() && q.Questions[0].Type == dnsmessage.TypeA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
		}
	}
	out, err := m.Pack()
	if err != nil {
		return nil // the question was odd
	}
	return out
}

// ServeEcho sends each UDP datagram to port 7 back (RFC 862).
func (h *Host) ServeEcho() error {
	return h.each(echoPort, func(local netip.AddrPort) error {
		_, err := h.listenUDP(local, func(b []byte, _ netip.AddrPort, answer func([]byte)) { answer(b) })
		return err
	})
}
