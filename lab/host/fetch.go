// SPDX-License-Identifier: MIT

package host

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"oasis6/lab/engine"
)

// FetchOptions may be zero.
type FetchOptions struct {
	ConnectTimeout time.Duration // for each address; 0: 3 s
	Timeout        time.Duration // without any octet, once connected; 0: 10 s
	Only6          bool          // no IPv4 addresses
}

// Attempt is one connection that was tried.
type Attempt struct {
	Source netip.Addr
	Server netip.Addr
	Took   time.Duration
	Err    error // why it did not stand
}

// Page is what a fetch gives.
type Page struct {
	Attempts []Attempt // the last one is what was used
	Status   int
	Body     []byte // its beginning
	Octets   int    // of the whole body
	Took     time.Duration
	Err      error
}

const (
	defaultConnectTimeout = 3 * time.Second
	defaultFetchTimeout   = 10 * time.Second
	keptBody              = 4096
)

// fetch is a page on its way.
type fetch struct {
	h       *Host
	o       FetchOptions
	url     *url.URL
	port    uint16
	addrs   []netip.Addr
	began   time.Time
	head    []byte // up to the empty line
	inBody  bool
	wanted  int // octets of the body; -1: to the end
	page    Page
	conn    *stream
	timer   *engine.Timer
	attempt time.Time
	done    func(Page)
}

// Fetch gets a page by HTTP/1.0. The addresses of the name are tried in the order of RFC 6724, one after the other.
func (h *Host) Fetch(address string, o FetchOptions, done func(Page)) {
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = defaultConnectTimeout
	}
	if o.Timeout == 0 {
		o.Timeout = defaultFetchTimeout
	}
	f := &fetch{h: h, o: o, began: h.e.Now(), wanted: -1, done: done, port: httpPort}
	fail := func(err error) { h.e.Post(func() { f.finish(err) }) }
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || u.Hostname() == "" {
		fail(fmt.Errorf("%q is no http address", address))
		return
	}
	f.url = u
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			fail(fmt.Errorf("%q: %w", address, err))
			return
		}
		f.port = uint16(n)
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		f.addrs = []netip.Addr{a}
		h.e.Post(f.connect)
		return
	}
	h.Resolve(u.Hostname(), func(a Answer) {
		if a.Err != nil {
			f.finish(fmt.Errorf("%s: %w", u.Hostname(), a.Err))
			return
		}
		for _, addr := range a.Addrs {
			if !o.Only6 || addr.Is6() {
				f.addrs = append(f.addrs, addr)
			}
		}
		f.connect()
	})
}

// connect tries the next address.
func (f *fetch) connect() {
	if len(f.addrs) == 0 {
		err := ErrNoName
		if n := len(f.page.Attempts); n > 0 {
			err = f.page.Attempts[n-1].Err
		}
		f.finish(err)
		return
	}
	server := f.addrs[0]
	f.addrs = f.addrs[1:]
	f.attempt = f.h.e.Now()
	f.page.Attempts = append(f.page.Attempts, Attempt{Server: server})
	f.conn = &stream{onConnect: f.request, onEnd: f.missed}
	if err := f.h.dial(netip.AddrPortFrom(server, f.port), f.conn); err != nil {
		f.conn = nil
		f.missed(err)
		return
	}
	if local, err := f.conn.local(); err == nil {
		f.last().Source = local.Addr()
	}
	f.timer = f.h.e.AfterFunc(f.o.ConnectTimeout, func() { f.missed(ErrTimeout) })
}

func (f *fetch) last() *Attempt { return &f.page.Attempts[len(f.page.Attempts)-1] }

// missed is for a connection that does not come to stand.
func (f *fetch) missed(err error) {
	if err == nil {
		err = errors.New("closed by the server")
	}
	f.release()
	f.last().Took, f.last().Err = f.h.e.Now().Sub(f.attempt), err
	f.h.e.Post(f.connect)
}

func (f *fetch) release() {
	if f.timer != nil {
		f.timer.Stop()
	}
	if f.conn != nil {
		f.conn.close()
		f.conn = nil
	}
}

func (f *fetch) request() {
	f.last().Took = f.h.e.Now().Sub(f.attempt)
	f.timer.Stop()
	f.timer = f.h.e.AfterFunc(f.o.Timeout, func() { f.finish(ErrTimeout) })
	f.conn.onData, f.conn.onEnd = f.data, f.finish
	path := f.url.RequestURI()
	f.conn.send(fmt.Appendf(nil, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", path, f.url.Host), false)
}

const maxHead = 16 << 10

func (f *fetch) data(b []byte) {
	f.timer.Reset(f.o.Timeout)
	if !f.inBody {
		f.head = append(f.head, b...)
		i := bytes.Index(f.head, []byte("\r\n\r\n"))
		if i < 0 {
			if len(f.head) > maxHead {
				f.finish(errors.New("the server sends too many header lines"))
			}
			return
		}
		b = f.head[i+4:]
		f.inBody = true
		if err := f.readHead(string(f.head[:i])); err != nil {
			f.finish(err)
			return
		}
	}
	f.page.Octets += len(b)
	f.page.Body = append(f.page.Body, b[:min(len(b), keptBody-len(f.page.Body))]...)
	if f.wanted >= 0 && f.page.Octets >= f.wanted {
		f.finish(nil)
	}
}

func (f *fetch) readHead(head string) error {
	s := bufio.NewScanner(strings.NewReader(head))
	s.Scan()
	fields := strings.Fields(s.Text())
	if len(fields) < 2 || !strings.HasPrefix(fields[0], "HTTP/") {
		return fmt.Errorf("not an HTTP answer: %.40q", s.Text())
	}
	status, err := strconv.Atoi(fields[1])
	if err != nil {
		return fmt.Errorf("not an HTTP status: %.40q", s.Text())
	}
	f.page.Status = status
	for s.Scan() {
		if name, value, ok := strings.Cut(s.Text(), ":"); ok && strings.EqualFold(name, "Content-Length") {
			if f.wanted, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return fmt.Errorf("not a length: %.40q", s.Text())
			}
		}
	}
	return nil
}

func (f *fetch) finish(err error) {
	if f.done == nil {
		return
	}
	done := f.done
	f.done = nil
	f.release()
	switch {
	case err != nil:
	case !f.inBody:
		err = errors.New("the server closed before it answered")
	case f.wanted >= 0 && f.page.Octets < f.wanted:
		err = fmt.Errorf("the server closed after %d of %d octets", f.page.Octets, f.wanted)
	}
	f.page.Took, f.page.Err = f.h.e.Now().Sub(f.began), err
	done(f.page)
}
