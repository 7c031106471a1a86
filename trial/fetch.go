// SPDX-License-Identifier: MIT

package trial

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Connect makes an IPv6 host with one address on the tunnel; see NewHost, which it is outside of tests. send takes packets
// for the hub, which are its afterwards.
type Connect func(addr netip.Addr, mtu int, send func(packet []byte) error) (Host, error)

// Host is a TCP of its own.
type Host interface {
	DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// Deliver takes a packet from the hub.
	Deliver(packet []byte)
	Close()
}

// Target is a web page, as ParseTarget makes it. The zero value is none.
type Target struct {
	Host string // a name, or an address without brackets
	Port uint16
	Path string // with the query
	text string
}

// ParseTarget takes an http URL. https would need a TLS library, which this program does not have.
func ParseTarget(s string) (Target, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return Target{}, errors.New("want http://HOST/PATH")
	case u.Scheme == "https":
		return Target{}, errors.New("want http, not https: what answers there, be it by a redirect to https, shows that IPv6 works")
	case u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Opaque != "":
		return Target{}, errors.New("want http://HOST/PATH")
	}
	t := Target{Host: u.Hostname(), Port: 80, Path: u.RequestURI(), text: s}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return Target{}, errors.New("port: want 1 to 65535")
		}
		t.Port = uint16(n)
	}
	if a, err := netip.ParseAddr(t.Host); err == nil && (a.Is4() || a.Is4In6()) {
		return Target{}, errors.New("want a name or an IPv6 address in brackets: IPv4 does not go through the tunnel")
	}
	return t, nil
}

// Addr is the target's address where it is one; invalid: it is a name.
func (t Target) Addr() netip.Addr {
	a, err := netip.ParseAddr(t.Host)
	if err != nil {
		return netip.Addr{}
	}
	return a.WithZone("")
}

// host is for the Host header (RFC 9110 section 7.2).
func (t Target) host() string {
	h := t.Host
	if strings.Contains(h, ":") {
		h = "[" + h + "]"
	}
	if t.Port != 80 {
		h += ":" + strconv.Itoa(int(t.Port))
	}
	return h
}

// Bounds of a fetch.
const (
	maxBody   = 1 << 20
	maxHeader = 64 << 10
	maxStatus = 60 // of the status line, for people
)

// fetch gets one page by HTTP over IPv6, from an address out of the prefix.
func (r *run) fetch(ctx context.Context) outcome {
	if r.Target == (Target{}) {
		return skipped("no page was named: oasis6 try --url http://HOST/ fetches one")
	}
	addrs, notes, bad := r.targetAddrs(ctx)
	if bad != nil {
		return *bad
	}
	mtu := r.report.BoxMTU
	if r.report.MTU > 0 {
		mtu = min(mtu, r.report.MTU)
	}
	host, err := r.Connect(r.source, mtu, r.tunnel.Send)
	if err != nil {
		return failed(err.Error())
	}
	defer host.Close()
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	var p page
	ended := make(chan struct{})
	go func() { defer close(ended); p = get(ctx, host, addrs, r.Target) }()
	var refused *refusal
	_ = r.await(context.WithoutCancel(ctx), wait{ // get ends with ctx, at the latest
		until: r.patience().Add(time.Hour),
		wake:  ended,
		done: func() bool {
			select {
			case <-ended:
				return true
			default:
				return false
			}
		},
		packet: func(_ time.Time, pkt []byte) {
			for _, a := range addrs {
				if f, ok := unreachable(pkt, r.source, a); ok {
					refused = &f
				}
			}
			host.Deliver(pkt)
		},
	})
	o := r.fetched(p, refused)
	o.notes = notes
	return o
}

func (r *run) fetched(p page, refused *refusal) outcome {
	switch {
	case p.err != nil && errors.Is(p.err, context.Canceled):
		return failed("interrupted")
	case p.err != nil && refused != nil && !p.connected:
		return failed(fmt.Sprintf("%s: %s", r.Target.text, refused), refused.advice(r, p.from)...)
	case p.err != nil && p.status != "":
		return failed(fmt.Sprintf("%s: the connection broke off after %d octets: %v", r.Target.text, p.octets, p.err), "large packets may get lost: see the step mtu")
	case p.err != nil && p.connected:
		return failed(fmt.Sprintf("%s: connected to %s, but no answer to the request: %v", r.Target.text, p.from, p.err), "large packets may get lost: see the step mtu")
	case p.err != nil:
		return failed(fmt.Sprintf("%s: no connection from %s: %v", r.Target.text, r.source, p.err), r.routeAdvice()...)
	case p.code >= 400:
		return failed(fmt.Sprintf("%s: %s says %s: IPv6 works, the page does not", r.Target.text, p.from, p.status), "name another page by --url")
	}
	return passed(fmt.Sprintf("%s from %s: %s, %d octets in %s (connected in %s), asked from %s",
		r.Target.text, p.from, p.status, p.octets, short(p.took), short(p.connect), r.source))
}

// targetAddrs are where the target is: its address, the answer of the step dns, else what this machine's resolver says.
func (r *run) targetAddrs(ctx context.Context) (addrs []netip.Addr, notes []string, bad *outcome) {
	switch a := r.Target.Addr(); {
	case a.IsValid():
		return []netip.Addr{a}, nil, nil
	case len(r.answers) > 0:
		return r.answers, nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	all, err := r.Outside.Lookup(ctx, r.Target.Host)
	for _, a := range all {
		if a.Is6() && !a.Is4In6() {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) == 0 {
		o := failed(fmt.Sprintf("no IPv6 address of %s is known: %s", r.Target.Host, lookupError(err)), "name the page by address, --url http://[ADDRESS]/, or a DNS server by --dns")
		return nil, nil, &o
	}
	return addrs, []string{fmt.Sprintf("the address of %s is by this machine's own resolver, not through the tunnel", r.Target.Host)}, nil
}

// page is what came of a fetch.
type page struct {
	from      netip.Addr
	connected bool
	connect   time.Duration // until the connection stood
	status    string        // "200 OK"
	code      int
	octets    int64 // of the body
	took      time.Duration
	err       error
}

// get tries the addresses one after the other.
func get(ctx context.Context, host Host, addrs []netip.Addr, t Target) (p page) {
	for _, a := range addrs {
		if p = getFrom(ctx, host, a, t); p.connected || ctx.Err() != nil {
			break
		}
	}
	return p
}

func getFrom(ctx context.Context, host Host, a netip.Addr, t Target) page {
	begin := time.Now()
	p := page{from: a}
	conn, err := host.DialTCP(ctx, netip.AddrPortFrom(a, t.Port))
	if err != nil {
		p.err = err
		return p
	}
	defer func() { _ = conn.Close() }() // all was read, or nothing counts any more
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	p.connected, p.connect = true, time.Since(begin)
	req := "GET " + t.Path + " HTTP/1.1\r\nHost: " + t.host() + "\r\nUser-Agent: oasis6-try\r\nAccept: */*\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(conn, req); err != nil {
		p.err = err
		return p
	}
	p.read(conn)
	p.took = time.Since(begin)
	if p.err != nil && ctx.Err() != nil {
		p.err = fmt.Errorf("%w: %w", context.Cause(ctx), p.err)
	}
	return p
}

// read takes the status line, passes over the header, and counts the body (RFC 9112 sections 2.1 and 4). An encoding of the
// body is counted as it is.
func (p *page) read(conn io.Reader) {
	br := bufio.NewReader(io.LimitReader(conn, maxHeader+maxBody))
	line, err := br.ReadString('\n')
	version, status, ok := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
	code, cerr := strconv.Atoi(strings.TrimSpace(status[:min(len(status), 3)]))
	switch {
	case err != nil:
		p.err = err
		return
	case !ok || !strings.HasPrefix(version, "HTTP/1.") || cerr != nil || code < 100:
		p.err = errors.New("this is not HTTP")
		return
	}
	length, err := contentLength(br)
	if err != nil {
		p.err = err
		return
	}
	p.status, p.code = status[:min(len(status), maxStatus)], code
	if p.octets, p.err = io.Copy(io.Discard, br); p.err == nil && p.octets < min(length, maxBody) {
		p.err = fmt.Errorf("%d were announced: %w", length, io.ErrUnexpectedEOF)
	}
}

// contentLength reads the header and takes the length of the body out of it, 0 where it does not say.
func contentLength(br *bufio.Reader) (length int64, err error) {
	for read := 0; ; {
		line, err := br.ReadString('\n')
		if read += len(line); err != nil || read > maxHeader {
			return 0, errors.Join(err, errors.New("the header does not end"))
		}
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if name == "" {
			return length, nil
		}
		if strings.EqualFold(name, "Content-Length") {
			if length, err = strconv.ParseInt(strings.TrimSpace(value), 10, 64); err != nil || length < 0 {
				return 0, errors.New("the header's Content-Length is no number")
			}
		}
	}
}
