// SPDX-License-Identifier: MIT

package trial

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"oasis6/config"
	"oasis6/dhcpv6"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/wgkey"
	"oasis6/tun/gauge"
)

var (
	hubKey   = wgkey.Private{1: 2}.Public()
	ownKey   = wgkey.Private{2: 3}
	hubAt    = netip.MustParseAddrPort("203.0.113.66:51820")
	dnsAt    = netip.MustParseAddr("2001:db8:0:6::53")
	wwwAt    = netip.MustParseAddr("2001:db8:0:6::80")
	serverID = dhcpv6.DUID("\x00\x04the server")
)

// path is the time that a packet takes one way.
const path = 15 * time.Millisecond

// world is a hub and what is behind it, on the test's clock. Its zero value with newWorld's defaults answers everything.
type world struct {
	t       *testing.T
	packets chan []byte
	shakes  chan time.Duration
	opened  []gauge.Config
	closed  int
	mtu     int // WireGuard's padding

	names      map[string][]netip.Addr
	outerMTU   int // the kernel's opinion
	silent     []netip.AddrPort
	signs      gauge.Signs
	reach      gauge.Reach
	echo       error
	noEcho     bool // the hub answers none
	noFarEcho  bool
	fits       int // the longest packet that passes without being cut
	cut        bool
	answersCut int  // the hub's own MTU
	noDHCP     bool // nobody listens at port 547
	deafDHCP   bool // somebody does, but not to us
	status     dhcpv6.StatusCode
	noRelease  bool
	learns     int // what ICMP teaches of the outer path once something was too long; 0: nothing
	dnsCode    dnsmessage.RCode
	dnsRefusal byte // code of an ICMPv6 error; 0: none
	page       string
	handshakes int // that are completed at most; 0: all
	shaken     int
	got        []dhcpv6.MessageType
	clients    []dhcpv6.DUID
	iaids      []dhcpv6.IAID
	overlong   bool
	delegated  netip.Prefix
}

func newWorld(t *testing.T) *world {
	return &world{
		t: t, packets: make(chan []byte, 100), shakes: make(chan time.Duration, 10),
		names:    map[string][]netip.Addr{"hub.example.net": {netip.MustParseAddr("2001:db8::66"), hubAt.Addr()}, "www.example": {wwwAt}},
		outerMTU: 1500, fits: 1440, answersCut: 1420, page: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		reach: gauge.Reach{EchoError: gauge.ErrNoEcho}, delegated: netip.MustParsePrefix("2001:db8:ebbd:9900::/60"),
	}
}

func (w *world) Lookup(_ context.Context, host string) ([]netip.Addr, error) {
	if as := w.names[host]; as != nil {
		return as, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (w *world) MTU(to netip.AddrPort) (int, error) {
	if !to.Addr().Is4() {
		return 0, errors.New("network is unreachable")
	}
	if w.overlong && w.learns > 0 {
		return w.learns, nil
	}
	return w.outerMTU, nil
}

func (w *world) Ping(context.Context, netip.Addr) (time.Duration, error) {
	if w.echo != nil {
		return 0, w.echo
	}
	return 2 * path, nil
}

func (w *world) Reach(context.Context, netip.AddrPort) gauge.Reach { return w.reach }

func (w *world) open(cfg gauge.Config) (Tunnel, error) {
	w.opened = append(w.opened, cfg)
	w.mtu = cfg.MTU
	return w, nil
}

func (w *world) Close() error { w.closed++; return nil }

func (w *world) Initiate() {
	if len(w.opened) > 0 && slices.Contains(w.silent, w.opened[len(w.opened)-1].Endpoint) {
		return
	}
	w.shaken++
	if w.handshakes > 0 && w.shaken > w.handshakes {
		return
	}
	n := w.shaken
	time.AfterFunc(2*path, func() {
		w.shakes <- 2*path + time.Duration(n)*time.Millisecond
	})
}

func (w *world) Handshakes() <-chan time.Duration { return w.shakes }
func (w *world) Packets() <-chan []byte           { return w.packets }
func (w *world) SetMTU(mtu int)                   { w.mtu = mtu }
func (w *world) Fragment() error                  { w.cut = true; return nil }

func (w *world) Signs() gauge.Signs {
	s := w.signs
	if w.overlong && w.learns > 0 {
		s.PathMTU = w.learns
	}
	return s
}

// Send takes a packet to the hub.
func (w *world) Send(pkt []byte) error {
	padded := min((len(pkt)+15)&^15, max(w.mtu, len(pkt)))
	if padded > w.fits && !w.cut {
		w.overlong = true
		return nil
	}
	if m, err := ip6pkt.ParseICMPv6(pkt); err == nil && m.Body[0] == ip6pkt.TypeEchoRequest {
		w.echoed(m)
	}
	if u, err := ip6pkt.ParseUDP(pkt); err == nil {
		switch u.Dst.Port() {
		case dhcpv6.ServerPort:
			w.dhcp(u)
		case dnsPort:
			w.dns(u, pkt)
		}
	}
	return nil
}

// back brings a packet from the hub.
func (w *world) back(pkt []byte) { time.AfterFunc(2*path, func() { w.packets <- pkt }) }

func (w *world) echoed(m ip6pkt.Message) {
	hub := m.Dst.IsLinkLocalUnicast()
	if hub && w.noEcho || !hub && w.noFarEcho {
		return
	}
	body := slices.Clone(m.Body)
	body[0] = ip6pkt.TypeEchoReply
	pkt := ip6pkt.ICMPv6(m.Dst, m.Src, 64, body)
	if len(pkt) <= w.answersCut {
		w.back(pkt)
		return
	}
	payload := (w.answersCut - ip6pkt.HeaderLen - fragmentHeaderLen) &^ 7
	first := slices.Concat(pkt[:ip6pkt.HeaderLen], []byte{ip6pkt.ProtoICMPv6, 0, 0, 1, 0, 0, 0, 9}, pkt[ip6pkt.HeaderLen:ip6pkt.HeaderLen+payload])
	first[6] = protoFragment
	binary.BigEndian.PutUint16(first[4:], uint16(len(first)-ip6pkt.HeaderLen))
	w.back(first)
}

func (w *world) hubLL() netip.Addr { return hubKey.LinkLocal() }

// unreachable sends an error about pkt.
func (w *world) unreachable(from netip.Addr, code byte, pkt []byte) {
	to := netip.AddrFrom16([16]byte(pkt[8:24]))
	w.back(ip6pkt.ICMPv6(from, to, 64, append([]byte{1, code, 0, 0, 0, 0, 0, 0}, pkt...)))
}

func (w *world) dhcp(u ip6pkt.Datagram) {
	m, _, err := dhcpv6.ParseMessage(u.Payload)
	if err != nil {
		w.t.Errorf("the trial sends %x: %v", u.Payload, err)
		return
	}
	w.got = append(w.got, m.Type)
	switch {
	case w.noDHCP && !u.Dst.Addr().IsMulticast():
		w.unreachable(w.hubLL(), 4, ip6pkt.UDP(u.Src.Addr(), u.Dst.Addr(), u.Src.Port(), u.Dst.Port(), 64, u.Payload))
		return
	case w.noDHCP || w.deafDHCP || m.Type == dhcpv6.InformationRequest || m.Type == dhcpv6.Release && w.noRelease:
		return
	}
	w.clients = append(w.clients, m.ClientID)
	r := dhcpv6.Message{Type: dhcpv6.Reply, XID: m.XID, ClientID: m.ClientID, ServerID: serverID, DNS: []netip.Addr{dnsAt}, RapidCommit: m.Type == dhcpv6.Solicit}
	next := w.delegated
	for _, ia := range m.IAs {
		w.iaids = append(w.iaids, ia.IAID)
		if w.status != 0 {
			ia.Status, ia.Prefixes = dhcpv6.Status{Code: w.status, Text: "the pool is\x1b[2J empty"}, nil
		} else if m.Type != dhcpv6.Release {
			ia.T1, ia.T2 = 600, 900
			ia.Prefixes = []dhcpv6.IAPrefix{{Prefix: next, Preferred: 1200, Valid: 1800}}
			next = netip.PrefixFrom(behind(next).Prev(), next.Bits())
		}
		r.IAs = append(r.IAs, ia)
	}
	if m.Type == dhcpv6.Release {
		r.IAs, r.DNS = nil, nil
	}
	w.back(ip6pkt.UDP(w.hubLL(), u.Src.Addr(), u.Dst.Port(), u.Src.Port(), 64, r.Append(nil)))
}

func (w *world) dns(u ip6pkt.Datagram, pkt []byte) {
	if w.dnsRefusal != 0 {
		w.unreachable(dnsAt, w.dnsRefusal, pkt)
		return
	}
	var m dnsmessage.Message
	if err := m.Unpack(u.Payload); err != nil {
		w.t.Errorf("the trial asks %x: %v", u.Payload, err)
		return
	}
	m.Response, m.RCode = true, w.dnsCode
	q := m.Questions[0]
	if as := w.names[strings.TrimSuffix(q.Name.String(), ".")]; q.Type == dnsmessage.TypeAAAA && m.RCode == 0 {
		for _, a := range as {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}, Body: &dnsmessage.AAAAResource{AAAA: a.As16()},
			})
		}
	}
	b, err := m.Pack()
	if err != nil {
		w.t.Error(err)
	}
	w.back(ip6pkt.UDP(u.Dst.Addr(), u.Src.Addr(), u.Dst.Port(), u.Src.Port(), 64, b))
}

// hostIn is a Host whose connections end in the world's page.
type hostIn struct {
	w    *world
	addr netip.Addr
	mtu  int
}

func (w *world) connect(addr netip.Addr, mtu int, _ func([]byte) error) (Host, error) {
	return &hostIn{w, addr, mtu}, nil
}

func (h *hostIn) Deliver([]byte) {}
func (h *hostIn) Close()         {}

func (h *hostIn) DialTCP(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
	if h.w.page == "" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	near, far := net.Pipe()
	go func() {
		defer func() { _ = far.Close() }()
		req, err := http.ReadRequest(bufio.NewReader(far))
		if err != nil || req.Host != "www.example" || req.URL.Path != "/x" {
			h.w.t.Errorf("request %+v, %v", req, err)
			return
		}
		time.Sleep(2 * path)
		_, _ = far.Write([]byte(h.w.page))
	}()
	return near, nil
}

// fileText is what is tried.
func fileText(extra ...string) string {
	return "[Interface]\nPrivateKey = " + ownKey.Reveal() + "\n\n[Peer]\nPublicKey = " + hubKey.String() +
		"\nEndpoint = hub.example.net:51820\nAllowedIPs = ::/0\n" + strings.Join(extra, "\n") + "\n"
}

func options(t *testing.T, w *world, text string) Options {
	t.Helper()
	cfg, _, err := config.Parse("test.conf", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	target, err := ParseTarget("http://www.example/x")
	if err != nil {
		t.Fatal(err)
	}
	return Options{Config: cfg, Target: target, Outside: w, Open: w.open, Connect: w.connect, Rand: func() float64 { return 0.5 }}
}

// tried runs a trial on the bubble's clock.
func tried(t *testing.T, ctx context.Context, opt Options) Report {
	t.Helper()
	begin := time.Now()
	r, err := Run(ctx, opt)
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d > 2*time.Minute {
		t.Errorf("it took %v", d)
	}
	for _, s := range r.Steps {
		t.Logf("%s", s)
	}
	return r
}

// inBubble is a test on a clock of its own.
func inBubble(t *testing.T, name string, f func(t *testing.T, w *world)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(t, newWorld(t)) })
	})
}
