// SPDX-License-Identifier: MIT

package httpd

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// conn is one client's connection. One goroutine reads requests from it and answers them, in their order.
type conn struct {
	net.Conn
	srv *Server
	r   *bufio.Reader
	w   *bufio.Writer
}

func newConn(s *Server, nc net.Conn) *conn {
	return &conn{Conn: nc, srv: s, r: newReader(nc), w: bufio.NewWriter(patient{nc})}
}

// patient writes to a reader who may be slow but must not stop.
type patient struct{ net.Conn }

func (p patient) Write(b []byte) (int, error) {
	const piece = 1 << 16
	n := 0
	for n < len(b) {
		if err := p.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return n, err
		}
		m, err := p.Conn.Write(b[n:min(n+piece, len(b))])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// serve answers requests until one side has enough.
func (c *conn) serve(ctx context.Context, s *serving) {
	for c.await(s) {
		r, err := c.read()
		var f *fault
		switch {
		case errors.As(err, &f):
			c.refuse(f)
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.refuse(&fault{408, "the request did not come to its end in time"})
			return
		case err != nil:
			return // the client has gone
		}
		if !c.answer(ctx, r) {
			return
		}
	}
}

// await waits for the first octet of a request; false: there will be none.
func (c *conn) await(s *serving) bool {
	if c.r.Buffered() == 0 {
		if !s.idle(c) || c.SetReadDeadline(time.Now().Add(idleTimeout)) != nil {
			return false
		}
		if _, err := c.r.Peek(1); err != nil {
			return false
		}
	}
	return s.busy(c) && c.SetReadDeadline(time.Now().Add(requestTimeout)) == nil
}

// read reads one request. It tells a client that waits for it to go on (RFC 9110 section 10.1.1).
func (c *conn) read() (*Request, error) {
	r, err := readHead(c.r, c.srv.MaxBody)
	if err != nil {
		return nil, err
	}
	if r.waits && r.length > 0 {
		_, _ = c.w.WriteString("HTTP/1.1 100 Continue\r\n\r\n") // Flush reports it
		if err := c.w.Flush(); err != nil {
			return nil, err
		}
	}
	return r, readBody(c.r, r)
}

// answer says whether another request may follow.
func (c *conn) answer(ctx context.Context, r *Request) bool {
	w := newWriter(c.w, c.srv.Header, r)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop, err := c.watch(cancel)
	if err != nil {
		return false
	}
	err = c.srv.Handler(ctx, w, r)
	stop()
	return w.end(err) == nil && !w.last
}

// watch calls gone if the client ends the connection before stop is called. The octets of a next request stay in the
// reader.
func (c *conn) watch(gone func()) (stop func(), err error) {
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if _, err := c.r.Peek(1); err != nil {
			gone()
		}
	}()
	return func() {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // long ago; fails only if closed, which ends Peek too
		<-ended
	}, nil
}

// refuse answers what is no request of ours, and ends. Where the next request would begin is not known.
func (c *conn) refuse(f *fault) {
	w := newWriter(c.w, c.srv.Header, &Request{})
	w.last = true
	if w.Refuse(f.code, f.why) != nil || w.end(nil) != nil {
		return
	}
	// Octets that nobody reads would make the kernel reset the connection, and the client might never see the answer.
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.SetReadDeadline(time.Now().Add(lingerTimeout)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c.r, maxLinger) // whatever it was
}
